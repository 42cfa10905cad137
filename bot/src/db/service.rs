//! How well the server serves: how long deliveries and jobs took, what failed, how busy runners were. Reads only.

use super::Db;
use sqlx::Row;
use std::collections::BTreeMap;

/// What a quantile is made of: the newest ones; more do not move it.
const READ_MAX: i64 = 5_000;

/// A delivery that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub repository: Option<String>,
    pub error: String,
    pub received_ms: i64,
    pub attempts: i64,
}

/// How many deliveries ended how since then, by state.
pub async fn deliveries(db: &Db, since_ms: i64) -> sqlx::Result<BTreeMap<String, i64>> {
    let rows =
        sqlx::query("SELECT state, COUNT(*) AS n FROM deliveries WHERE received_ms >= $1 GROUP BY state")
            .bind(since_ms)
            .fetch_all(db.pool())
            .await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get("n")?))).collect()
}

/// Seconds from received to done, of the newest deliveries.
pub async fn delivery_seconds(db: &Db, since_ms: i64) -> sqlx::Result<Vec<f64>> {
    let rows = sqlx::query(
        "SELECT finished_ms - received_ms AS took_ms FROM deliveries
         WHERE state = 'done' AND received_ms >= $1 AND finished_ms IS NOT NULL
         ORDER BY received_ms DESC LIMIT $2",
    )
    .bind(since_ms)
    .bind(READ_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok(row.try_get::<i64, _>("took_ms")?.max(0) as f64 / 1_000.0)).collect()
}

/// Deliveries that were given up, the newest first.
pub async fn failed(db: &Db, limit: i64) -> sqlx::Result<Vec<FailedDelivery>> {
    let rows = sqlx::query(
        "SELECT guid, event, action, repository, error, received_ms, attempts FROM deliveries WHERE state = 'failed'
         ORDER BY received_ms DESC, guid LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(FailedDelivery {
                guid: row.try_get("guid")?,
                event: row.try_get("event")?,
                action: row.try_get("action")?,
                repository: row.try_get("repository")?,
                error: row.try_get::<Option<String>, _>("error")?.unwrap_or_default(),
                received_ms: row.try_get("received_ms")?,
                attempts: row.try_get("attempts")?,
            })
        })
        .collect()
}

/// A job's times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTimes {
    pub state: String,
    pub runner: Option<String>,
    pub created_ms: i64,
    pub claimed_ms: Option<i64>,
    pub finished_ms: Option<i64>,
}

/// Of the jobs that were queued since then, the newest first.
pub async fn jobs(db: &Db, since_ms: i64) -> sqlx::Result<Vec<JobTimes>> {
    let rows = sqlx::query(
        "SELECT state, runner_id, created_ms, claimed_ms, finished_ms FROM jobs WHERE created_ms >= $1
         ORDER BY created_ms DESC LIMIT $2",
    )
    .bind(since_ms)
    .bind(READ_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(JobTimes {
                state: row.try_get("state")?,
                runner: row.try_get("runner_id")?,
                created_ms: row.try_get("created_ms")?,
                claimed_ms: row.try_get("claimed_ms")?,
                finished_ms: row.try_get("finished_ms")?,
            })
        })
        .collect()
}

/// Writes that GitHub does not show yet.
pub async fn writes_waiting(db: &Db) -> sqlx::Result<i64> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM writes WHERE version > written_version")
        .fetch_one(db.pool())
        .await?;
    row.try_get("n")
}
