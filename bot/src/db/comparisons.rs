//! Judged rows of finished jobs: what tables and history read.

use super::{Db, Tx};
use crate::pull::RepoId;
use perfsuite::model::{Comparison, JobId};
use sqlx::Row;

/// Stores a finished job's rows.
pub async fn insert_all(
    tx: &mut Tx,
    repository: RepoId,
    job: &JobId,
    rows: &[Comparison],
) -> sqlx::Result<()> {
    for row in rows {
        sqlx::query(
            "INSERT INTO comparisons (job_id, repository_id, suite, benchmark, metric, base, head, estimate, low,
                                      high, smallest_visible, spread, visits, verdict, certainty, mode)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(&job.0)
        .bind(repository.0)
        .bind(&row.suite)
        .bind(&row.benchmark.0)
        .bind(row.metric.as_str())
        .bind(row.base)
        .bind(row.head)
        .bind(row.estimate)
        .bind(row.low)
        .bind(row.high)
        .bind(row.smallest_visible)
        .bind(row.spread)
        .bind(i64::from(row.visits))
        .bind(word(&row.verdict))
        .bind(word(&row.certainty))
        .bind(word(&row.mode))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// A unit variant's name on the wire.
fn word<T: serde::Serialize>(value: &T) -> String {
    super::to_json(value).trim_matches('"').to_owned()
}

/// Changed rows by verdict over a repository's finished jobs: (slower, faster).
pub async fn changed_counts(db: &Db, job: &JobId) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query(
        "SELECT COALESCE(SUM(CASE WHEN verdict = 'slower' THEN 1 ELSE 0 END), 0) AS slower,
                COALESCE(SUM(CASE WHEN verdict = 'faster' THEN 1 ELSE 0 END), 0) AS faster
         FROM comparisons WHERE job_id = $1",
    )
    .bind(&job.0)
    .fetch_one(db.pool())
    .await?;
    Ok((row.try_get("slower")?, row.try_get("faster")?))
}
