//! Judged rows of finished jobs: what tables and history read.

use super::Tx;
use crate::pull::RepoId;
use perfsuite::model::{Comparison, JobId};

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
