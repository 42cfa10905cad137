//! Benchmarks that go on under another name: what each was called, and what became of its series.

use super::Tx;
use super::series::{self, Key, Series};
use crate::pull::RepoId;
use sqlx::{Any, AnyPool, Executor, Row};
use std::collections::BTreeMap;

/// Names of one repository that are read.
const READ_MAX: i64 = 10_000;

/// Present names by suite and former name.
pub type Renames = BTreeMap<(String, String), String>;

pub async fn of_repository<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<Renames> {
    let rows = sqlx::query(
        "SELECT suite, benchmark, renamed_to FROM renamed_benchmarks WHERE repository_id = $1
         ORDER BY at_ms DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| Ok(((row.try_get("suite")?, row.try_get("benchmark")?), row.try_get("renamed_to")?)))
        .collect()
}

/// A series by its name, or by one that its benchmark had before.
pub async fn series_called(pool: &AnyPool, repository: RepoId, key: &Key) -> sqlx::Result<Option<Series>> {
    if let Some(series) = series::by_key(pool, repository, key).await? {
        return Ok(Some(series));
    }
    let row = sqlx::query(
        "SELECT renamed_to FROM renamed_benchmarks
         WHERE repository_id = $1 AND suite = $2 AND benchmark = $3",
    )
    .bind(repository.0)
    .bind(&key.suite)
    .bind(&key.benchmark)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let key = Key { benchmark: row.try_get("renamed_to")?, ..key.clone() };
    series::by_key(pool, repository, &key).await
}

/// Another name for a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Rename<'a> {
    pub suite: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub by: &'a str,
    pub at_ms: i64,
}

/// Stores it. What was called so before leads to the newest name at once, and that name to nothing.
pub async fn put(tx: &mut Tx, repository: RepoId, rename: &Rename<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE renamed_benchmarks SET renamed_to = $4
         WHERE repository_id = $1 AND suite = $2 AND renamed_to = $3",
    )
    .bind(repository.0)
    .bind(rename.suite)
    .bind(rename.from)
    .bind(rename.to)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO renamed_benchmarks (repository_id, suite, benchmark, renamed_to, login, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (repository_id, suite, benchmark) DO UPDATE SET renamed_to = excluded.renamed_to,
             login = excluded.login, at_ms = excluded.at_ms",
    )
    .bind(repository.0)
    .bind(rename.suite)
    .bind(rename.from)
    .bind(rename.to)
    .bind(rename.by)
    .bind(rename.at_ms)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM renamed_benchmarks WHERE repository_id = $1 AND suite = $2 AND benchmark = $3")
        .bind(repository.0)
        .bind(rename.suite)
        .bind(rename.to)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// A commit at which both series have a point.
pub async fn shared_place(tx: &mut Tx, one: i64, other: i64) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query(
        "SELECT p.position AS position FROM history_points p
             JOIN history_points q ON q.series_id = $2 AND q.position = p.position
         WHERE p.series_id = $1 ORDER BY p.position LIMIT 1",
    )
    .bind(one)
    .bind(other)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row.try_get("position")).transpose()
}

/// Gives a series another benchmark's name, which no series has.
pub async fn call(tx: &mut Tx, series: i64, benchmark: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE history_series SET benchmark = $1, version = version + 1 WHERE id = $2")
        .bind(benchmark)
        .bind(series)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// Moves all of one series into another one, which has points at other commits, and forgets it.
pub async fn merge(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    for sql in [
        "UPDATE history_points SET series_id = $2 WHERE series_id = $1",
        "DELETE FROM history_links WHERE series_id = $1
           AND reference_number IN (SELECT l.reference_number FROM history_links l WHERE l.series_id = $2)",
        "UPDATE history_links SET series_id = $2 WHERE series_id = $1",
        "UPDATE change_points SET series_id = $2 WHERE series_id = $1",
        "UPDATE bisects SET series_id = $2 WHERE series_id = $1",
        "DELETE FROM history_series WHERE id = $1 AND id <> $2",
    ] {
        sqlx::query(sql).bind(from).bind(into).execute(&mut **tx).await?;
    }
    series::changed(tx, into).await
}
