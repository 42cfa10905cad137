//! Repositories that the App is installed on, by GitHub's number.

use super::{Db, flag};
use crate::pull::{InstallationId, RepoId, RepoName, Repository};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

fn repository(row: &AnyRow) -> sqlx::Result<Repository> {
    Ok(Repository {
        id: RepoId(row.try_get("id")?),
        installation: InstallationId(row.try_get("installation_id")?),
        name: RepoName { owner: row.try_get("owner")?, name: row.try_get("name")? },
        private: flag(row, "private")?,
        default_branch: row.try_get("default_branch")?,
    })
}

/// Inserts or renews. A name that another row holds is stale there (renamed away): that row's name is dropped.
pub async fn upsert(tx: &mut super::Tx, repository: &Repository, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE repositories SET name = name || '#' || id WHERE owner = $1 AND name = $2 AND id <> $3",
    )
    .bind(&repository.name.owner)
    .bind(&repository.name.name)
    .bind(repository.id.0)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO repositories (id, installation_id, owner, name, private, default_branch, seen_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET installation_id = excluded.installation_id, owner = excluded.owner,
             name = excluded.name, private = excluded.private, default_branch = excluded.default_branch,
             seen_ms = excluded.seen_ms",
    )
    .bind(repository.id.0)
    .bind(repository.installation.0)
    .bind(&repository.name.owner)
    .bind(&repository.name.name)
    .bind(i64::from(repository.private))
    .bind(&repository.default_branch)
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

pub async fn by_id<'e, E: Executor<'e, Database = Any>>(
    on: E,
    id: RepoId,
) -> sqlx::Result<Option<Repository>> {
    let row = sqlx::query(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories WHERE id = $1",
    )
    .bind(id.0)
    .fetch_optional(on)
    .await?;
    row.map(|row| repository(&row)).transpose()
}

pub async fn by_name(db: &Db, name: &RepoName) -> sqlx::Result<Option<Repository>> {
    let row = sqlx::query(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories
         WHERE LOWER(owner) = LOWER($1) AND LOWER(name) = LOWER($2)",
    )
    .bind(&name.owner)
    .bind(&name.name)
    .fetch_optional(db.pool())
    .await?;
    row.map(|row| repository(&row)).transpose()
}

/// Every repository, by name.
pub async fn all(db: &Db, limit: i64) -> sqlx::Result<Vec<Repository>> {
    let rows = sqlx::query(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories
         ORDER BY owner, name LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(repository).collect()
}
