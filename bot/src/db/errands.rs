//! What somebody asked for by a command and that takes more than one step: a row each, one job at a time.

use super::{Db, Tx, json, new_id, sha, to_json};
use crate::errands::Errand;
use crate::pull::RepoId;
use perfsuite::model::{JobId, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

#[derive(Clone, Debug, PartialEq)]
pub struct ErrandRow {
    pub id: String,
    pub repository: RepoId,
    /// The pull request.
    pub number: u64,
    /// The command, which is answered.
    pub comment: i64,
    /// Of the pull request, when it was asked for.
    pub head: Sha,
    pub errand: Errand,
    pub running: bool,
    /// Under way, or the last one.
    pub job: JobId,
    pub created_ms: i64,
}

fn errand(row: &AnyRow) -> sqlx::Result<ErrandRow> {
    let state: String = row.try_get("state")?;
    Ok(ErrandRow {
        id: row.try_get("id")?,
        repository: RepoId(row.try_get("repository_id")?),
        number: row.try_get::<i64, _>("number")? as u64,
        comment: row.try_get("comment_id")?,
        head: sha(row, "head_sha")?,
        errand: json(row, "errand")?,
        running: state == "running",
        job: JobId(row.try_get("job_id")?),
        created_ms: row.try_get("created_ms")?,
    })
}

/// What is to be done, and the job that it begins with.
#[derive(Clone, Debug)]
pub struct NewErrand<'a> {
    pub repository: RepoId,
    pub number: u64,
    pub comment: i64,
    pub head: &'a Sha,
    pub errand: &'a Errand,
    pub job: &'a JobId,
}

/// Begins one. `None` when this command has begun one already: GitHub told of it twice.
pub async fn insert(tx: &mut Tx, new: &NewErrand<'_>, now_ms: i64) -> sqlx::Result<Option<ErrandRow>> {
    let row = sqlx::query(
        "INSERT INTO errands (id, repository_id, number, comment_id, head_sha, errand, state, job_id, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $8)
         ON CONFLICT (repository_id, comment_id) DO NOTHING RETURNING *",
    )
    .bind(new_id())
    .bind(new.repository.0)
    .bind(new.number as i64)
    .bind(new.comment)
    .bind(new.head.as_str())
    .bind(to_json(new.errand))
    .bind(&new.job.0)
    .bind(now_ms)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| errand(&row)).transpose()
}

/// Whether a command has begun one.
pub async fn known<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    comment: i64,
) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT 1 AS one FROM errands WHERE repository_id = $1 AND comment_id = $2");
    Ok(row.bind(repository.0).bind(comment).fetch_optional(on).await?.is_some())
}

/// The one that a job is part of; of an old job of a search, `None`.
pub async fn of_job<'e, E: Executor<'e, Database = Any>>(
    on: E,
    job: &JobId,
) -> sqlx::Result<Option<ErrandRow>> {
    let row = sqlx::query("SELECT * FROM errands WHERE job_id = $1").bind(&job.0).fetch_optional(on).await?;
    row.map(|row| errand(&row)).transpose()
}

/// Those under way whose job has ended.
pub async fn due(db: &Db, limit: i64) -> sqlx::Result<Vec<ErrandRow>> {
    let rows = sqlx::query(
        "SELECT e.* FROM errands e WHERE e.state = 'running' AND NOT EXISTS (
             SELECT 1 FROM jobs j WHERE j.id = e.job_id
               AND j.state IN ('queued', 'claimed', 'building', 'measuring'))
         ORDER BY e.created_ms, e.id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(errand).collect()
}

/// Those of a pull request that are under way.
pub async fn running(tx: &mut Tx, repository: RepoId, number: u64) -> sqlx::Result<Vec<ErrandRow>> {
    let rows = sqlx::query(
        "SELECT * FROM errands WHERE repository_id = $1 AND number = $2 AND state = 'running'
         ORDER BY created_ms, id",
    )
    .bind(repository.0)
    .bind(number as i64)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(errand).collect()
}

/// Goes on with another job. False when somebody else took this step.
pub async fn step(tx: &mut Tx, before: &ErrandRow, errand: &Errand, job: &JobId) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE errands SET errand = $1, job_id = $2 WHERE id = $3 AND state = 'running' AND job_id = $4",
    )
    .bind(to_json(errand))
    .bind(&job.0)
    .bind(&before.id)
    .bind(&before.job.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends one. False when somebody else did.
pub async fn end(tx: &mut Tx, before: &ErrandRow, errand: &Errand, now_ms: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE errands SET errand = $1, state = 'ended', finished_ms = $2
         WHERE id = $3 AND state = 'running' AND job_id = $4",
    )
    .bind(to_json(errand))
    .bind(now_ms)
    .bind(&before.id)
    .bind(&before.job.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
