//! Repositories that the App is installed on, by GitHub's number.

use super::{Db, flag};
use crate::access::Readables;
use crate::pull::{InstallationId, RepoId, RepoName, Repository};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor, Row};

fn repository(row: &AnyRow) -> sqlx::Result<Repository> {
    Ok(Repository {
        id: RepoId(row.try_get("id")?),
        installation: InstallationId(row.try_get("installation_id")?),
        name: RepoName { owner: row.try_get("owner")?, name: row.try_get("name")? },
        private: flag(row, "private")?,
        default_branch: row.try_get("default_branch")?,
    })
}

/// Inserts or renews what the App sees. A name that another row holds is stale there (renamed away): that row's name is dropped.
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
             seen_ms = excluded.seen_ms, inactive = NULL",
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

/// Why the App no longer sees a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inactive {
    /// Uninstalled, taken out of the installation, transferred away, or deleted.
    Removed,
    /// The installation is suspended: it may come back.
    Suspended,
}

impl Inactive {
    fn as_str(self) -> &'static str {
        match self {
            Inactive::Removed => "removed",
            Inactive::Suspended => "suspended",
        }
    }
}

/// Puts a repository aside: its writes wait, and a page says so. False when it was aside for this reason already.
pub async fn put_aside(tx: &mut super::Tx, id: RepoId, why: Inactive) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE repositories SET inactive = $1 WHERE id = $2 AND (inactive IS NULL OR inactive <> $1)",
    )
    .bind(why.as_str())
    .bind(id.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the App sees a repository, as far as we know; an unknown one it does not.
pub async fn active(db: &Db, id: RepoId) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT COUNT(*) AS seen FROM repositories WHERE id = $1 AND inactive IS NULL")
        .bind(id.0)
        .fetch_one(db.pool())
        .await?;
    Ok(row.try_get::<i64, _>("seen")? > 0)
}

/// The repositories of an installation that are not put aside as removed.
pub async fn of_installation(db: &Db, installation: InstallationId) -> sqlx::Result<Vec<RepoId>> {
    let rows = sqlx::query(
        "SELECT id FROM repositories WHERE installation_id = $1 AND (inactive IS NULL OR inactive = 'suspended')",
    )
    .bind(installation.0)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok(RepoId(row.try_get("id")?))).collect()
}

/// The installations that have repositories which are not put aside.
pub async fn installations(db: &Db) -> sqlx::Result<Vec<InstallationId>> {
    let rows = sqlx::query("SELECT DISTINCT installation_id FROM repositories WHERE inactive IS NULL")
        .fetch_all(db.pool())
        .await?;
    rows.iter().map(|row| Ok(InstallationId(row.try_get("installation_id")?))).collect()
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

/// The private repositories that the App sees, the last seen first.
pub async fn private(db: &Db, limit: i64) -> sqlx::Result<Vec<Repository>> {
    let rows = sqlx::query(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories
         WHERE private = 1 AND inactive IS NULL ORDER BY seen_ms DESC, id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(repository).collect()
}

/// Every repository that the App sees.
pub async fn active_all(db: &Db, limit: i64) -> sqlx::Result<Vec<Repository>> {
    let rows = sqlx::query(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories
         WHERE inactive IS NULL ORDER BY seen_ms DESC, id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(repository).collect()
}

/// Repositories that may be named, by name, after this one.
pub async fn after(
    db: &Db,
    readable: &Readables,
    owner: &str,
    name: &str,
    limit: i64,
) -> sqlx::Result<Vec<Repository>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT id, installation_id, owner, name, private, default_branch FROM repositories o
         WHERE {} AND name NOT LIKE '%#%' AND (owner > $1 OR (owner = $1 AND name > $2))
         ORDER BY owner, name LIMIT $3",
        readable.sql("o")
    )))
    .bind(owner)
    .bind(name)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(repository).collect()
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
