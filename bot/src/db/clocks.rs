//! When pull requests came to their stages.

use super::{Db, Tx};
use crate::pull::RepoId;
use crate::stages::Stages;
use sqlx::{Any, Executor, Row};

/// Keeps the targets, and starts the clock where there is none.
pub async fn targets(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    triage_days: u32,
    review_days: u32,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO clocks (repository_id, number, triage_days, review_days) VALUES ($1, $2, $3, $4)
         ON CONFLICT (repository_id, number) DO UPDATE SET triage_days = excluded.triage_days,
             review_days = excluded.review_days",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(i64::from(triage_days))
    .bind(i64::from(review_days))
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Somebody answered, unless it is the author. The first time counts. Whether this was it.
pub async fn responded(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    login: &str,
    at_ms: i64,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE clocks SET responded_ms = $1
         WHERE repository_id = $2 AND number = $3 AND responded_ms IS NULL AND EXISTS (
             SELECT 1 FROM pull_requests p WHERE p.repository_id = $2 AND p.number = $3
               AND LOWER(p.author) <> LOWER($4))",
    )
    .bind(at_ms)
    .bind(repository.0)
    .bind(number as i64)
    .bind(login)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether every file has its approvals now.
pub async fn approved(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    approved: bool,
    at_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE clocks SET approved_ms = CASE WHEN $1 = 0 THEN NULL ELSE COALESCE(approved_ms, $2) END
         WHERE repository_id = $3 AND number = $4",
    )
    .bind(i64::from(approved))
    .bind(at_ms)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// It was merged or closed, or opened again (`None`).
pub async fn ended(tx: &mut Tx, repository: RepoId, number: u64, at_ms: Option<i64>) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE clocks SET ended_ms = CASE WHEN $1 < 0 THEN NULL ELSE COALESCE(ended_ms, $1) END
         WHERE repository_id = $2 AND number = $3",
    )
    .bind(at_ms.unwrap_or(-1))
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
    opened_ms: i64,
) -> sqlx::Result<Option<Stages>> {
    let row = sqlx::query(
        "SELECT triage_days, review_days, responded_ms, approved_ms, ended_ms, reminded_ms FROM clocks
         WHERE repository_id = $1 AND number = $2",
    )
    .bind(repository.0)
    .bind(number as i64)
    .fetch_optional(on)
    .await?;
    row.map(|row| {
        Ok(Stages {
            opened_ms,
            triage_days: u32::try_from(row.try_get::<i64, _>("triage_days")?).unwrap_or(0),
            review_days: u32::try_from(row.try_get::<i64, _>("review_days")?).unwrap_or(0),
            responded_ms: row.try_get("responded_ms")?,
            approved_ms: row.try_get("approved_ms")?,
            ended_ms: row.try_get("ended_ms")?,
            reminded_ms: row.try_get("reminded_ms")?,
        })
    })
    .transpose()
}

/// Open pull requests that have missed a target ([`Stages::overdue`] says which) and of which nobody was reminded.
pub async fn waiting(db: &Db, now_ms: i64, limit: i64) -> sqlx::Result<Vec<(RepoId, u64, i64)>> {
    let rows = sqlx::query(
        "SELECT c.repository_id, c.number, p.opened_ms FROM clocks c
         JOIN pull_requests p ON p.repository_id = c.repository_id AND p.number = c.number
         JOIN repositories r ON r.id = c.repository_id AND r.inactive IS NULL
         WHERE c.reminded_ms IS NULL AND c.ended_ms IS NULL AND c.approved_ms IS NULL AND p.state = 'open' AND p.draft = 0
           AND ((c.responded_ms IS NULL AND c.triage_days > 0 AND p.opened_ms < $1 - c.triage_days * 86400000)
                OR (c.review_days > 0 AND p.opened_ms < $1 - c.review_days * 86400000))
         ORDER BY p.opened_ms LIMIT $2",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            let number = row.try_get::<i64, _>("number")? as u64;
            Ok((RepoId(row.try_get("repository_id")?), number, row.try_get("opened_ms")?))
        })
        .collect()
}

/// Reminds, once. Whether nobody else did.
pub async fn remind(tx: &mut Tx, repository: RepoId, number: u64, at_ms: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE clocks SET reminded_ms = $1 WHERE repository_id = $2 AND number = $3 AND reminded_ms IS NULL",
    )
    .bind(at_ms)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
