//! What runners made of no change at all: benchmarks measured against themselves.

use super::{Tx, flag, new_id};
use crate::calibration::Observation;
use crate::pull::RepoId;
use perfsuite::model::{BenchmarkId, Calibration, JobId};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

/// Rows that are read of one runner: of 300 benchmarks, each measured against itself in each of 60 runs.
const READ_MAX: i64 = 20_000;

/// Stores what one job saw.
pub async fn insert_all(
    tx: &mut Tx,
    repository: RepoId,
    job: &JobId,
    runner: &str,
    seen: &[Calibration],
    now_ms: i64,
) -> sqlx::Result<()> {
    for one in seen {
        sqlx::query(
            "INSERT INTO calibrations (id, job_id, repository_id, runner_id, suite, benchmark, metric, estimate,
                                       spread, visits, alarm, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(new_id())
        .bind(&job.0)
        .bind(repository.0)
        .bind(runner)
        .bind(&one.suite)
        .bind(&one.benchmark.0)
        .bind(one.metric.as_str())
        .bind(one.estimate)
        .bind(one.spread)
        .bind(i64::from(one.visits))
        .bind(i64::from(one.alarm))
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// What a runner saw of a repository's benchmarks since then, the newest first.
pub async fn of_repository<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    runner: &str,
    since_ms: i64,
) -> sqlx::Result<Vec<Observation>> {
    let rows = sqlx::query(
        "SELECT * FROM calibrations WHERE repository_id = $1 AND runner_id = $2 AND at_ms >= $3
         ORDER BY at_ms DESC, id DESC LIMIT $4",
    )
    .bind(repository.0)
    .bind(runner)
    .bind(since_ms)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(observation).collect()
}

/// What a runner saw of all benchmarks since then, the newest first.
pub async fn of_runner<'e, E: Executor<'e, Database = Any>>(
    on: E,
    runner: &str,
    since_ms: i64,
) -> sqlx::Result<Vec<Observation>> {
    let rows = sqlx::query(
        "SELECT * FROM calibrations WHERE runner_id = $1 AND at_ms >= $2 ORDER BY at_ms DESC, id DESC LIMIT $3",
    )
    .bind(runner)
    .bind(since_ms)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(observation).collect()
}

/// What had been seen when a job ended, without what it saw itself.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    pub since_ms: i64,
    pub until_ms: i64,
    pub job: &'a JobId,
}

/// As [`of_repository`] was then.
pub async fn of_repository_before<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    runner: &str,
    before: &Before<'_>,
) -> sqlx::Result<Vec<Observation>> {
    let rows = sqlx::query(
        "SELECT * FROM calibrations WHERE repository_id = $1 AND runner_id = $2 AND at_ms >= $3 AND at_ms <= $4
                AND job_id <> $5
         ORDER BY at_ms DESC, id DESC LIMIT $6",
    )
    .bind(repository.0)
    .bind(runner)
    .bind(before.since_ms)
    .bind(before.until_ms)
    .bind(&before.job.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(observation).collect()
}

/// As [`of_runner`] was then.
pub async fn of_runner_before<'e, E: Executor<'e, Database = Any>>(
    on: E,
    runner: &str,
    before: &Before<'_>,
) -> sqlx::Result<Vec<Observation>> {
    let rows = sqlx::query(
        "SELECT * FROM calibrations WHERE runner_id = $1 AND at_ms >= $2 AND at_ms <= $3 AND job_id <> $4
         ORDER BY at_ms DESC, id DESC LIMIT $5",
    )
    .bind(runner)
    .bind(before.since_ms)
    .bind(before.until_ms)
    .bind(&before.job.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(observation).collect()
}

/// When a runner last measured a repository's benchmarks against themselves.
pub async fn newest<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    runner: &str,
) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query(
        "SELECT at_ms FROM calibrations WHERE repository_id = $1 AND runner_id = $2 ORDER BY at_ms DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(runner)
    .fetch_optional(on)
    .await?;
    row.map(|row| row.try_get("at_ms")).transpose()
}

fn observation(row: &AnyRow) -> sqlx::Result<Observation> {
    Ok(Observation {
        suite: row.try_get("suite")?,
        benchmark: BenchmarkId(row.try_get("benchmark")?),
        metric: row.try_get("metric")?,
        estimate: row.try_get("estimate")?,
        spread: row.try_get("spread")?,
        visits: u32::try_from(row.try_get::<i64, _>("visits")?).unwrap_or(0),
        alarm: flag(row, "alarm")?,
    })
}
