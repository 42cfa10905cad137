//! Benchmarks that are recorded only, because somebody said so.

use super::{Tx, new_id};
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

/// Of one repository at one moment: a suite with more in quarantine is not measured at all.
const READ_MAX: i64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub suite: String,
    pub benchmark: String,
    pub by: String,
    pub reason: String,
    pub since_ms: i64,
}

fn quarantined(row: &AnyRow) -> sqlx::Result<Quarantined> {
    Ok(Quarantined {
        suite: row.try_get("suite")?,
        benchmark: row.try_get("benchmark")?,
        by: row.try_get("login")?,
        reason: row.try_get("reason")?,
        since_ms: row.try_get("since_ms")?,
    })
}

/// Those of a repository at a moment, by name: what has ended since counts too.
pub async fn at<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    at_ms: i64,
) -> sqlx::Result<Vec<Quarantined>> {
    let rows = sqlx::query(
        "SELECT * FROM quarantined_benchmarks
         WHERE repository_id = $1 AND since_ms <= $2 AND (until_ms IS NULL OR until_ms > $2)
         ORDER BY suite, benchmark, since_ms, id LIMIT $3",
    )
    .bind(repository.0)
    .bind(at_ms)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(quarantined).collect()
}

/// A benchmark's that lasts.
pub async fn of<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    suite: &str,
    benchmark: &str,
) -> sqlx::Result<Option<Quarantined>> {
    let row = sqlx::query(
        "SELECT * FROM quarantined_benchmarks
         WHERE repository_id = $1 AND suite = $2 AND benchmark = $3 AND until_ms IS NULL
         ORDER BY since_ms, id LIMIT 1",
    )
    .bind(repository.0)
    .bind(suite)
    .bind(benchmark)
    .fetch_optional(on)
    .await?;
    row.map(|row| quarantined(&row)).transpose()
}

pub async fn insert(tx: &mut Tx, repository: RepoId, new: &Quarantined) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO quarantined_benchmarks (id, repository_id, suite, benchmark, login, reason, since_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new_id())
    .bind(repository.0)
    .bind(&new.suite)
    .bind(&new.benchmark)
    .bind(&new.by)
    .bind(&new.reason)
    .bind(new.since_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Ends a benchmark's, and those of the names that it had before. `false`: there was none.
pub async fn end(
    tx: &mut Tx,
    repository: RepoId,
    suite: &str,
    benchmark: &str,
    now_ms: i64,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE quarantined_benchmarks SET until_ms = $4
         WHERE repository_id = $1 AND suite = $2 AND until_ms IS NULL AND (benchmark = $3 OR benchmark IN (
             SELECT r.benchmark FROM renamed_benchmarks r
             WHERE r.repository_id = $1 AND r.suite = $2 AND r.renamed_to = $3))",
    )
    .bind(repository.0)
    .bind(suite)
    .bind(benchmark)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}
