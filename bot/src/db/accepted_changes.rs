//! Changes of a history that were taken with a reason.

use super::Tx;
use crate::judgement::Acceptance;
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use std::collections::BTreeMap;

/// What people wrote by hand in years.
const READ_MAX: i64 = 1_000;

/// Stores it. `false`: somebody took it before, and those words stay.
pub async fn insert(tx: &mut Tx, change_point: &str, acceptance: &Acceptance) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO accepted_changes (change_point_id, login, reason, at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (change_point_id) DO NOTHING",
    )
    .bind(change_point)
    .bind(&acceptance.by)
    .bind(&acceptance.reason)
    .bind(acceptance.at_ms)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Those of a series, by change point.
pub async fn of_series<'e, E: Executor<'e, Database = Any>>(
    on: E,
    series: i64,
) -> sqlx::Result<BTreeMap<String, Acceptance>> {
    let rows = sqlx::query(
        "SELECT a.* FROM change_points c JOIN accepted_changes a ON a.change_point_id = c.id
         WHERE c.series_id = $1 LIMIT $2",
    )
    .bind(series)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(accepted).collect()
}

/// The newest of a repository, by change point.
pub async fn of_repository<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<BTreeMap<String, Acceptance>> {
    let rows = sqlx::query(
        "SELECT a.* FROM accepted_changes a JOIN change_points c ON c.id = a.change_point_id
             JOIN history_series s ON s.id = c.series_id
         WHERE s.repository_id = $1 ORDER BY a.at_ms DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(accepted).collect()
}

fn accepted(row: &AnyRow) -> sqlx::Result<(String, Acceptance)> {
    let acceptance = Acceptance {
        by: row.try_get("login")?,
        reason: row.try_get("reason")?,
        at_ms: row.try_get("at_ms")?,
    };
    Ok((row.try_get("change_point_id")?, acceptance))
}
