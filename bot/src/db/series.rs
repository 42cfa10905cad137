//! Series of a history: a repository's benchmark and metric, by a dense number that its points carry.

use super::{Db, Tx, flag};
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, Row};
use std::collections::BTreeMap;

/// Series of one repository that are read: 1,000 benchmarks with seven metrics.
const READ_MAX: i64 = 10_000;

/// What a series is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub suite: String,
    pub benchmark: String,
    /// As `perfsuite::model::Metric` has it on the wire.
    pub metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub id: i64,
    pub repository: RepoId,
    pub key: Key,
    /// Grows with every point.
    pub version: i64,
    /// Made to be looked at, not measured.
    pub sample: bool,
}

/// What a series is of, of a row that has its columns.
pub(super) fn key(row: &AnyRow) -> sqlx::Result<Key> {
    Ok(Key {
        suite: row.try_get("suite")?,
        benchmark: row.try_get("benchmark")?,
        metric: row.try_get("metric")?,
    })
}

fn series(row: &AnyRow) -> sqlx::Result<Series> {
    Ok(Series {
        id: row.try_get("id")?,
        repository: RepoId(row.try_get("repository_id")?),
        key: key(row)?,
        version: row.try_get("version")?,
        sample: flag(row, "sample")?,
    })
}

/// All series of a repository, by name.
pub async fn of_repository<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<BTreeMap<Key, Series>> {
    let rows = sqlx::query(
        "SELECT * FROM history_series WHERE repository_id = $1 ORDER BY suite, benchmark, metric LIMIT $2",
    )
    .bind(repository.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(|row| series(row).map(|series| (series.key.clone(), series))).collect()
}

/// Series whose suite or benchmark has a text in its name, whatever its case, by name, after the first `after`.
pub async fn named(
    pool: &AnyPool,
    repository: RepoId,
    wanted: &str,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Series>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT * FROM history_series WHERE {NAMED} ORDER BY suite, benchmark, metric LIMIT $3 OFFSET $4"
    )))
    .bind(repository.0)
    .bind(pattern(wanted))
    .bind(limit)
    .bind(after)
    .fetch_all(pool)
    .await?;
    rows.iter().map(series).collect()
}

const NAMED: &str =
    "repository_id = $1 AND (LOWER(benchmark) LIKE $2 ESCAPE '!' OR LOWER(suite) LIKE $2 ESCAPE '!')";

/// What has a text in it.
fn pattern(wanted: &str) -> String {
    let plain = wanted.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{plain}%")
}

/// How many those are, and whether some of all were made to be looked at.
pub async fn count(pool: &AnyPool, repository: RepoId, wanted: &str) -> sqlx::Result<(usize, bool)> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT COUNT(*) AS matching,
                (SELECT COUNT(*) FROM history_series s WHERE s.repository_id = $1 AND s.sample = 1) AS samples
         FROM history_series WHERE {NAMED}"
    )))
    .bind(repository.0)
    .bind(pattern(wanted))
    .fetch_one(pool)
    .await?;
    let (matching, samples): (i64, i64) = (row.try_get("matching")?, row.try_get("samples")?);
    Ok((matching as usize, samples > 0))
}

pub async fn by_key<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    key: &Key,
) -> sqlx::Result<Option<Series>> {
    let row = sqlx::query(
        "SELECT * FROM history_series
         WHERE repository_id = $1 AND suite = $2 AND benchmark = $3 AND metric = $4",
    )
    .bind(repository.0)
    .bind(&key.suite)
    .bind(&key.benchmark)
    .bind(&key.metric)
    .fetch_optional(on)
    .await?;
    row.map(|row| series(&row)).transpose()
}

pub async fn by_id<'e, E: Executor<'e, Database = Any>>(on: E, id: i64) -> sqlx::Result<Option<Series>> {
    let row = sqlx::query("SELECT * FROM history_series WHERE id = $1").bind(id).fetch_optional(on).await?;
    row.map(|row| series(&row)).transpose()
}

/// A new series. The transaction has the turn of histories, since the number is the next one.
pub async fn insert(tx: &mut Tx, repository: RepoId, key: &Key, sample: bool) -> sqlx::Result<Series> {
    let row = sqlx::query(
        "INSERT INTO history_series (id, repository_id, suite, benchmark, metric, sample)
         SELECT COALESCE(MAX(id), 0) + 1, CAST($1 AS BIGINT), $2, $3, $4, CAST($5 AS BIGINT) FROM history_series
         RETURNING *",
    )
    .bind(repository.0)
    .bind(&key.suite)
    .bind(&key.benchmark)
    .bind(&key.metric)
    .bind(i64::from(sample))
    .fetch_one(&mut **tx)
    .await?;
    series(&row)
}

/// That points came or went.
pub async fn changed(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE history_series SET version = version + 1 WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// Series whose points changed since change points were looked for.
pub async fn unjudged(db: &Db, limit: i64) -> sqlx::Result<Vec<Series>> {
    let rows =
        sqlx::query("SELECT * FROM history_series WHERE version > judged_version ORDER BY id LIMIT $1")
            .bind(limit)
            .fetch_all(db.pool())
            .await?;
    rows.iter().map(series).collect()
}

/// That change points were looked for in the points of this version.
pub async fn judged(tx: &mut Tx, id: i64, version: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE history_series SET judged_version = $1 WHERE id = $2 AND judged_version < $1")
        .bind(version)
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}
