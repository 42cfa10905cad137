//! The ledger of approvals: what each approving review approved, file by file, by patch-id.

use super::{Tx, json, to_json};
use crate::pull::RepoId;
use perfsuite::model::Sha;
use sqlx::{Any, Executor, Row};
use std::collections::BTreeMap;

/// One approving review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// GitHub's number of the review.
    pub review: i64,
    pub login: String,
    pub commit: Sha,
    /// Patch ids by path.
    pub patches: BTreeMap<String, String>,
}

/// Writes what was approved. Once written it stays: whatever is pushed later, this is what was looked at.
pub async fn insert(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    entry: &Entry,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO approvals (repository_id, number, review_id, login, commit_sha, patches, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository_id, number, review_id) DO NOTHING",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(entry.review)
    .bind(&entry.login)
    .bind(entry.commit.as_str())
    .bind(to_json(&entry.patches))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// All of a pull request's.
pub async fn of_pull<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query(
        "SELECT review_id, login, commit_sha, patches FROM approvals
         WHERE repository_id = $1 AND number = $2 ORDER BY review_id",
    )
    .bind(repository.0)
    .bind(number as i64)
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                review: row.try_get("review_id")?,
                login: row.try_get("login")?,
                commit: super::sha(row, "commit_sha")?,
                patches: json(row, "patches")?,
            })
        })
        .collect()
}
