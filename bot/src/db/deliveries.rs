//! Webhook deliveries: the durable inbox, taken one at a time within a lane.

use super::{Db, Turn, new_id};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// A delivery as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub installation_id: Option<i64>,
    pub repository: Option<String>,
    pub lane: String,
    pub payload: String,
}

/// A delivery that this process works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub guid: String,
    /// Names this one taking of it: who lost it to another stores nothing any more.
    pub holder: String,
    pub event: String,
    pub payload: String,
    pub attempts: i64,
    pub received_ms: i64,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// Recorded, nothing to do for this event.
    Ignored,
    Failed,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Ignored => "ignored",
            Ending::Failed => "failed",
        }
    }
}

/// Whether the delivery is new; the same GUID twice is one piece of work.
pub async fn insert(db: &Db, delivery: &NewDelivery, now_ms: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO deliveries (guid, event, action, installation_id, repository, lane, payload, received_ms,
                                 state, not_before_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $8)
         ON CONFLICT (guid) DO NOTHING",
    )
    .bind(&delivery.guid)
    .bind(&delivery.event)
    .bind(&delivery.action)
    .bind(delivery.installation_id)
    .bind(&delivery.repository)
    .bind(&delivery.lane)
    .bind(&delivery.payload)
    .bind(now_ms)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes the oldest delivery whose lane is free. Within a lane only the oldest may be taken, so order is kept
/// whoever asks. `worker` is noted, for people who look.
pub async fn claim(db: &Db, worker: &str, now_ms: i64, lease_ms: i64) -> sqlx::Result<Option<Delivery>> {
    let mut tx = db.begin_turn(Turn::Deliveries).await?;
    let row = sqlx::query(
        "UPDATE deliveries
         SET state = 'working', claimed_by = $1, lease_until_ms = $2, attempts = attempts + 1
         WHERE state = 'queued' AND guid = (
             SELECT d.guid FROM deliveries d
             WHERE d.state = 'queued' AND d.not_before_ms <= $3
               AND NOT EXISTS (
                   SELECT 1 FROM deliveries o
                   WHERE o.lane = d.lane
                     AND (o.state = 'working'
                          OR (o.state = 'queued'
                              AND (o.received_ms < d.received_ms
                                   OR (o.received_ms = d.received_ms AND o.guid < d.guid)))))
             ORDER BY d.received_ms, d.guid LIMIT 1)
         RETURNING guid, claimed_by, event, payload, attempts, received_ms",
    )
    .bind(format!("{worker}/{}", new_id()))
    .bind(now_ms + lease_ms)
    .bind(now_ms)
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| delivery(&row)).transpose()
}

fn delivery(row: &AnyRow) -> sqlx::Result<Delivery> {
    Ok(Delivery {
        guid: row.try_get("guid")?,
        holder: row.try_get("claimed_by")?,
        event: row.try_get("event")?,
        payload: row.try_get("payload")?,
        attempts: row.try_get("attempts")?,
        received_ms: row.try_get("received_ms")?,
    })
}

/// Keeps a delivery that takes long.
pub async fn extend(db: &Db, delivery: &Delivery, until_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE deliveries SET lease_until_ms = $1 WHERE guid = $2 AND state = 'working' AND claimed_by = $3",
    )
    .bind(until_ms)
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Ends a delivery, if it is still held.
pub async fn finish(
    db: &Db,
    delivery: &Delivery,
    ending: Ending,
    error: Option<&str>,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE deliveries SET state = $1, error = $2, finished_ms = $3, claimed_by = NULL, lease_until_ms = NULL
         WHERE guid = $4 AND state = 'working' AND claimed_by = $5",
    )
    .bind(ending.as_str())
    .bind(error)
    .bind(now_ms)
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Whether a try that was put off is one of those that a delivery has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Counts,
    /// GitHub limits all of our requests: no failure of this one.
    Free,
}

/// Puts a delivery back, to be tried again at `not_before_ms`, if it is still held.
pub async fn retry(
    db: &Db,
    delivery: &Delivery,
    error: &str,
    not_before_ms: i64,
    attempt: Attempt,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE deliveries
         SET state = 'queued', error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL,
             attempts = attempts - $3
         WHERE guid = $4 AND state = 'working' AND claimed_by = $5",
    )
    .bind(error)
    .bind(not_before_ms)
    .bind(i64::from(attempt == Attempt::Free))
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Puts back what a dead process had taken. Returns how many.
pub async fn requeue_expired(db: &Db, now_ms: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE deliveries SET state = 'queued', claimed_by = NULL, lease_until_ms = NULL
         WHERE state = 'working' AND lease_until_ms < $1",
    )
    .bind(now_ms)
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected())
}

/// Whether a delivery of this GUID was stored.
pub async fn known(db: &Db, guid: &str) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT COUNT(*) AS stored FROM deliveries WHERE guid = $1")
        .bind(guid)
        .fetch_one(db.pool())
        .await?;
    Ok(row.try_get::<i64, _>("stored")? > 0)
}

/// Count and age of what waits, for metrics.
pub async fn waiting(pool: &AnyPool) -> sqlx::Result<(i64, Option<i64>)> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS waiting, MIN(received_ms) AS oldest FROM deliveries
         WHERE state = 'queued' OR state = 'working'",
    )
    .fetch_one(pool)
    .await?;
    Ok((row.try_get("waiting")?, row.try_get("oldest")?))
}

/// The error of the last delivery that was given up.
pub async fn newest_failure(db: &Db) -> sqlx::Result<Option<String>> {
    let row =
        sqlx::query("SELECT error FROM deliveries WHERE state = 'failed' ORDER BY finished_ms DESC LIMIT 1")
            .fetch_optional(db.pool())
            .await?;
    row.map_or(Ok(None), |row| row.try_get("error"))
}
