//! What the sweep of a disk that is nearly full must know of jobs.

use super::Db;
use crate::pull::RepoId;
use sqlx::Row;
use std::collections::HashSet;

/// Digests of the evidence of jobs that ended since.
pub async fn evidence_since(db: &Db, since_ms: i64) -> sqlx::Result<HashSet<String>> {
    let rows =
        sqlx::query("SELECT DISTINCT evidence FROM jobs WHERE evidence IS NOT NULL AND finished_ms >= $1")
            .bind(since_ms)
            .fetch_all(db.pool())
            .await?;
    rows.iter().map(|row| row.try_get("evidence")).collect()
}

/// Pull requests whose jobs wait, the longest waiting first.
pub async fn waiting_pulls(db: &Db, limit: i64) -> sqlx::Result<Vec<(RepoId, u64)>> {
    let rows = sqlx::query(
        "SELECT repository_id, number FROM jobs WHERE state = 'queued' ORDER BY created_ms, id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| Ok((RepoId(row.try_get("repository_id")?), row.try_get::<i64, _>("number")? as u64)))
        .collect()
}
