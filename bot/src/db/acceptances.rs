//! Slowdowns that were taken with a reason, head by head; they stay.

use super::{Tx, new_id};
use crate::judgement::Acceptance;
use crate::pull::RepoId;
use perfsuite::model::Sha;
use sqlx::{Any, Executor, Row};

pub async fn insert(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    head: &Sha,
    acceptance: &Acceptance,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO acceptances (id, repository_id, number, head_sha, login, reason, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new_id())
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .bind(&acceptance.by)
    .bind(&acceptance.reason)
    .bind(acceptance.at_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// The newest of a head.
pub async fn of_head<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
    head: &Sha,
) -> sqlx::Result<Option<Acceptance>> {
    let row = sqlx::query(
        "SELECT login, reason, at_ms FROM acceptances
         WHERE repository_id = $1 AND number = $2 AND head_sha = $3 ORDER BY id DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .fetch_optional(on)
    .await?;
    row.map(|row| {
        Ok(Acceptance {
            by: row.try_get("login")?,
            reason: row.try_get("reason")?,
            at_ms: row.try_get("at_ms")?,
        })
    })
    .transpose()
}
