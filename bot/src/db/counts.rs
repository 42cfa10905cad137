//! Stars, forks and watchers of repositories, by the hour.

use super::{Db, Tx};
use crate::measures::health::Counts;
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

/// Samples of two years by the hour.
const READ_MAX: i64 = 20_000;

pub async fn insert(tx: &mut Tx, repository: RepoId, counts: &Counts) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO repository_counts (repository_id, at_ms, stars, forks, watchers) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (repository_id, at_ms) DO NOTHING",
    )
    .bind(repository.0)
    .bind(counts.at_ms)
    .bind(counts.stars)
    .bind(counts.forks)
    .bind(counts.watchers)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

fn counts(row: &AnyRow) -> sqlx::Result<Counts> {
    Ok(Counts {
        at_ms: row.try_get("at_ms")?,
        stars: row.try_get("stars")?,
        forks: row.try_get("forks")?,
        watchers: row.try_get("watchers")?,
    })
}

/// In order of time.
pub async fn since(db: &Db, repository: RepoId, since_ms: i64) -> sqlx::Result<Vec<Counts>> {
    let rows = sqlx::query(
        "SELECT at_ms, stars, forks, watchers FROM repository_counts WHERE repository_id = $1 AND at_ms >= $2
         ORDER BY at_ms LIMIT $3",
    )
    .bind(repository.0)
    .bind(since_ms)
    .bind(READ_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(counts).collect()
}

pub async fn newest<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<Option<Counts>> {
    let row = sqlx::query(
        "SELECT at_ms, stars, forks, watchers FROM repository_counts WHERE repository_id = $1
         ORDER BY at_ms DESC LIMIT 1",
    )
    .bind(repository.0)
    .fetch_optional(on)
    .await?;
    row.map(|row| counts(&row)).transpose()
}

/// Forgets samples that are older.
pub async fn forget(tx: &mut Tx, repository: RepoId, before_ms: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM repository_counts WHERE repository_id = $1 AND at_ms < $2")
        .bind(repository.0)
        .bind(before_ms)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}
