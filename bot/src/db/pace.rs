//! How fast an installation may be written to: GitHub's spacing, its own waits, and its bounds by minute and hour.

use super::{Tx, new_id};
use crate::pull::InstallationId;
use sqlx::Row;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What an installation bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between one write and the next.
    pub spacing_ms: i64,
    pub minute_max: i64,
    pub hour_max: i64,
}

impl Pace {
    /// GitHub wants a second between writes and allows 80 a minute and 500 an hour that create content; the rest of
    /// these is for check runs whose annotations take more than one request.
    pub const GITHUB: Pace = Pace { spacing_ms: 1_000, minute_max: 70, hour_max: 450 };

    /// For a GitHub without limits: an Enterprise Server where they are switched off, or a stand-in.
    pub const fn unlimited(spacing_ms: i64) -> Self {
        Self { spacing_ms, minute_max: i64::MAX, hour_max: i64::MAX }
    }
}

/// Counts a write that goes out now, and says when the next may.
pub async fn spend(tx: &mut Tx, installation: InstallationId, now_ms: i64, pace: Pace) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO sent_writes (id, installation_id, at_ms) VALUES ($1, $2, $3)")
        .bind(new_id())
        .bind(installation.0)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM sent_writes WHERE installation_id = $1 AND at_ms <= $2")
        .bind(installation.0)
        .bind(now_ms - HOUR_MS)
        .execute(&mut **tx)
        .await?;
    let mut next_ms = now_ms + pace.spacing_ms;
    for (max, span_ms) in [(pace.minute_max, MINUTE_MS), (pace.hour_max, HOUR_MS)] {
        if let Some(at_ms) = nth_newest(tx, installation, max).await? {
            next_ms = next_ms.max(at_ms + span_ms);
        }
    }
    wait(tx, installation, next_ms).await
}

/// When the `n`th newest write went out, if there were as many in the last hour.
async fn nth_newest(tx: &mut Tx, installation: InstallationId, n: i64) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query(
        "SELECT at_ms FROM sent_writes WHERE installation_id = $1 ORDER BY at_ms DESC LIMIT 1 OFFSET $2",
    )
    .bind(installation.0)
    .bind(n - 1)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row.try_get("at_ms")).transpose()
}

/// No write to this installation before `next_ms`; a later time that was set before stays.
pub async fn wait(tx: &mut Tx, installation: InstallationId, next_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO pace (installation_id, next_ms) VALUES ($1, $2)
         ON CONFLICT (installation_id) DO UPDATE SET next_ms =
             CASE WHEN excluded.next_ms > pace.next_ms THEN excluded.next_ms ELSE pace.next_ms END",
    )
    .bind(installation.0)
    .bind(next_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}
