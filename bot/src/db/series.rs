//! Series of a history: a repository's benchmark and metric, by a dense number that its points carry.

use super::{Db, Tx, flag};
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
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

fn series(row: &AnyRow) -> sqlx::Result<Series> {
    Ok(Series {
        id: row.try_get("id")?,
        repository: RepoId(row.try_get("repository_id")?),
        key: Key {
            suite: row.try_get("suite")?,
            benchmark: row.try_get("benchmark")?,
            metric: row.try_get("metric")?,
        },
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
