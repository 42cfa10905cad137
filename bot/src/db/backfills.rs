//! How far each repository's back-fill is.

use super::{Db, Tx};
use crate::pull::RepoId;
use sqlx::Row;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    pub since_ms: i64,
    /// What is read now; `done` at the end.
    pub stage: String,
    /// The next page, from 1.
    pub page: u32,
    pub pulls: i64,
    pub events: i64,
    pub started_ms: i64,
}

pub async fn get(db: &Db, repository: RepoId) -> sqlx::Result<Option<Backfill>> {
    let row = sqlx::query(
        "SELECT since_ms, stage, page, pulls, events, started_ms FROM backfills WHERE repository_id = $1",
    )
    .bind(repository.0)
    .fetch_optional(db.pool())
    .await?;
    row.map(|row| {
        Ok(Backfill {
            since_ms: row.try_get("since_ms")?,
            stage: row.try_get("stage")?,
            page: u32::try_from(row.try_get::<i64, _>("page")?).unwrap_or(1),
            pulls: row.try_get("pulls")?,
            events: row.try_get("events")?,
            started_ms: row.try_get("started_ms")?,
        })
    })
    .transpose()
}

pub async fn put(tx: &mut Tx, repository: RepoId, state: &Backfill, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO backfills (repository_id, since_ms, stage, page, pulls, events, started_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (repository_id) DO UPDATE SET since_ms = excluded.since_ms, stage = excluded.stage,
             page = excluded.page, pulls = excluded.pulls, events = excluded.events,
             started_ms = excluded.started_ms, updated_ms = excluded.updated_ms",
    )
    .bind(repository.0)
    .bind(state.since_ms)
    .bind(&state.stage)
    .bind(i64::from(state.page))
    .bind(state.pulls)
    .bind(state.events)
    .bind(state.started_ms)
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}
