//! What a repository's history is measured against: the references that it had, and the one that holds.

use super::{Tx, sha};
use crate::pull::RepoId;
use perfsuite::model::Sha;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

/// References that are read of one repository: one a week for twenty years.
const READ_MAX: i64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// From 1; the greatest holds.
    pub number: i64,
    pub sha: Sha,
    /// A tag, or as the configuration has it.
    pub name: String,
    pub since_ms: i64,
}

fn reference(row: &AnyRow) -> sqlx::Result<Reference> {
    Ok(Reference {
        number: row.try_get("number")?,
        sha: sha(row, "sha")?,
        name: row.try_get("name")?,
        since_ms: row.try_get("since_ms")?,
    })
}

pub async fn insert(tx: &mut Tx, repository: RepoId, new: &Reference) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO history_references (repository_id, number, sha, name, since_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(repository.0)
    .bind(new.number)
    .bind(new.sha.as_str())
    .bind(&new.name)
    .bind(new.since_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// All of them, the oldest first.
pub async fn all<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<Vec<Reference>> {
    let rows = sqlx::query(
        "SELECT * FROM (SELECT * FROM history_references WHERE repository_id = $1 ORDER BY number DESC LIMIT $2) AS last
         ORDER BY number",
    )
    .bind(repository.0)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(reference).collect()
}
