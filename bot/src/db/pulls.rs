//! Pull requests as last seen, with the merge base that we found and the approval of a fork's head.

use super::{Db, Tx, flag, sha};
use crate::pull::{PullRequest, PullState, RepoId};
use perfsuite::model::Sha;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

/// A pull request and what we found out about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRow {
    pub repository: RepoId,
    pub pull: PullRequest,
    pub merge_base: Option<Sha>,
    /// `clean` or `conflict`.
    pub mergeable: Option<String>,
    /// The head that somebody with write permission allowed to run.
    pub approved_sha: Option<String>,
    pub approved_by: Option<String>,
    pub updated_ms: i64,
}

impl PullRow {
    /// Whether this head's code may run: always for branches of the repository itself.
    pub fn may_run(&self) -> bool {
        !self.pull.from_fork || self.approved_sha.as_deref() == Some(self.pull.head_sha.as_str())
    }
}

fn state_name(state: PullState) -> &'static str {
    match state {
        PullState::Open => "open",
        PullState::Closed => "closed",
        PullState::Merged => "merged",
    }
}

pub(super) fn pull_row(row: &AnyRow) -> sqlx::Result<PullRow> {
    let state: String = row.try_get("state")?;
    let merge_base: Option<String> = row.try_get("merge_base")?;
    Ok(PullRow {
        repository: RepoId(row.try_get("repository_id")?),
        pull: PullRequest {
            number: row.try_get::<i64, _>("number")? as u64,
            title: row.try_get("title")?,
            author: row.try_get("author")?,
            author_is_bot: flag(row, "author_is_bot")?,
            state: match state.as_str() {
                "merged" => PullState::Merged,
                "closed" => PullState::Closed,
                _ => PullState::Open,
            },
            draft: flag(row, "draft")?,
            base_ref: row.try_get("base_ref")?,
            base_sha: sha(row, "base_sha")?,
            head_ref: row.try_get("head_ref")?,
            head_sha: sha(row, "head_sha")?,
            from_fork: flag(row, "from_fork")?,
            labels: Vec::new(),
            opened_ms: row.try_get("opened_ms")?,
        },
        merge_base: merge_base.and_then(|text| text.parse().ok()),
        mergeable: row.try_get("mergeable")?,
        approved_sha: row.try_get("approved_sha")?,
        approved_by: row.try_get("approved_by")?,
        updated_ms: row.try_get("updated_ms")?,
    })
}

/// Inserts or renews what GitHub says; the approval stays as it was.
pub async fn upsert(tx: &mut Tx, repository: RepoId, pull: &PullRequest, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO pull_requests (repository_id, number, title, author, author_is_bot, state, draft, from_fork,
                                    base_ref, base_sha, head_ref, head_sha, opened_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (repository_id, number) DO UPDATE SET title = excluded.title, author = excluded.author,
             author_is_bot = excluded.author_is_bot, state = excluded.state, draft = excluded.draft,
             from_fork = excluded.from_fork, base_ref = excluded.base_ref, base_sha = excluded.base_sha,
             head_ref = excluded.head_ref, head_sha = excluded.head_sha, opened_ms = excluded.opened_ms,
             updated_ms = excluded.updated_ms",
    )
    .bind(repository.0)
    .bind(pull.number as i64)
    .bind(&pull.title)
    .bind(&pull.author)
    .bind(i64::from(pull.author_is_bot))
    .bind(state_name(pull.state))
    .bind(i64::from(pull.draft))
    .bind(i64::from(pull.from_fork))
    .bind(&pull.base_ref)
    .bind(pull.base_sha.as_str())
    .bind(&pull.head_ref)
    .bind(pull.head_sha.as_str())
    .bind(pull.opened_ms)
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

pub async fn set_merge(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    merge_base: &Sha,
    mergeable: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE pull_requests SET merge_base = $1, mergeable = $2 WHERE repository_id = $3 AND number = $4",
    )
    .bind(merge_base.as_str())
    .bind(mergeable)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Allows one head of a fork to run. False when the pull request's head is another by now.
pub async fn approve(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    head: &Sha,
    by: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE pull_requests SET approved_sha = $1, approved_by = $2
         WHERE repository_id = $3 AND number = $4 AND head_sha = $1",
    )
    .bind(head.as_str())
    .bind(by)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Holds a pull request until the transaction ends: who changes what its comment shows and who writes that comment
/// take turns, so that the newest body is made of the newest facts. To be called first in such a transaction; where a
/// pull request is inserted or renewed, that holds it as well.
pub async fn hold(tx: &mut Tx, repository: RepoId, number: u64) -> sqlx::Result<()> {
    sqlx::query("UPDATE pull_requests SET number = number WHERE repository_id = $1 AND number = $2")
        .bind(repository.0)
        .bind(number as i64)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

pub async fn get<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
) -> sqlx::Result<Option<PullRow>> {
    let row = sqlx::query("SELECT * FROM pull_requests WHERE repository_id = $1 AND number = $2")
        .bind(repository.0)
        .bind(number as i64)
        .fetch_optional(on)
        .await?;
    row.map(|row| pull_row(&row)).transpose()
}

/// Pull requests of a repository, the last touched first.
pub async fn of_repository(db: &Db, repository: RepoId, limit: i64) -> sqlx::Result<Vec<PullRow>> {
    let rows = sqlx::query(
        "SELECT * FROM pull_requests WHERE repository_id = $1 ORDER BY updated_ms DESC, number DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(pull_row).collect()
}

/// The open pull requests of a repository.
pub async fn open(db: &Db, repository: RepoId, limit: i64) -> sqlx::Result<Vec<PullRow>> {
    let rows = sqlx::query(
        "SELECT * FROM pull_requests WHERE repository_id = $1 AND state = 'open' ORDER BY number LIMIT $2",
    )
    .bind(repository.0)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(pull_row).collect()
}

/// Pull requests by this author up to and including this one.
pub async fn count_by_author<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    author: &str,
    number: u64,
) -> sqlx::Result<u32> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS pulls FROM pull_requests WHERE repository_id = $1 AND author = $2 AND number <= $3",
    )
    .bind(repository.0)
    .bind(author)
    .bind(number as i64)
    .fetch_one(on)
    .await?;
    Ok(row.try_get::<i64, _>("pulls")? as u32)
}

/// Merged pull requests by this author with a lower number.
pub async fn count_merged<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    author: &str,
    number: u64,
) -> sqlx::Result<u32> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS pulls FROM pull_requests
         WHERE repository_id = $1 AND author = $2 AND number < $3 AND state = 'merged'",
    )
    .bind(repository.0)
    .bind(author)
    .bind(number as i64)
    .fetch_one(on)
    .await?;
    Ok(u32::try_from(row.try_get::<i64, _>("pulls")?).unwrap_or(u32::MAX))
}

/// Numbers of the open pull requests by this author from this one on.
pub async fn open_by_author(db: &Db, repository: RepoId, author: &str, from: u64) -> sqlx::Result<Vec<u64>> {
    let rows = sqlx::query(
        "SELECT number FROM pull_requests
         WHERE repository_id = $1 AND author = $2 AND number >= $3 AND state = 'open' ORDER BY number LIMIT 50",
    )
    .bind(repository.0)
    .bind(author)
    .bind(from as i64)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok(row.try_get::<i64, _>("number")? as u64)).collect()
}

/// Whether an open pull request has this head.
pub async fn any_open_with_head(tx: &mut Tx, repository: RepoId, head: &Sha) -> sqlx::Result<bool> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS pulls FROM pull_requests
         WHERE repository_id = $1 AND head_sha = $2 AND state = 'open'",
    )
    .bind(repository.0)
    .bind(head.as_str())
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.try_get::<i64, _>("pulls")? > 0)
}

/// Numbers of the open pull requests that have this head.
pub async fn open_with_head(db: &Db, repository: RepoId, head: &Sha) -> sqlx::Result<Vec<u64>> {
    let rows = sqlx::query(
        "SELECT number FROM pull_requests WHERE repository_id = $1 AND head_sha = $2 AND state = 'open' LIMIT 100",
    )
    .bind(repository.0)
    .bind(head.as_str())
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok(row.try_get::<i64, _>("number")? as u64)).collect()
}
