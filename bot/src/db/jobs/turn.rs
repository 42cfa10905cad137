//! Whose turn it is among the jobs that wait, and what a repository's day has left.

use super::{Job, job};
use crate::db::{Db, Turn, Tx};
use crate::pull::RepoId;
use crate::queue::{Place, Purpose, day_start};
use perfsuite::model::JobId;
use sqlx::{Any, AssertSqlSafe, Executor, Row};

/// Place in the queue, from 1: those that are handed out no later.
pub async fn position<'e, E: Executor<'e, Database = Any>>(on: E, job: &Job) -> sqlx::Result<u32> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS ahead FROM jobs
         WHERE state = 'queued' AND (priority < $1 OR (priority = $1 AND (turn < $2 OR (turn = $2 AND id <= $3))))",
    )
    .bind(job.place.priority)
    .bind(job.place.turn)
    .bind(&job.id.0)
    .fetch_one(on)
    .await?;
    Ok(row.try_get::<i64, _>("ahead")? as u32)
}

/// How long jobs lately took, in the mean; `None` before one has ended.
pub async fn lately_ms<'e, E: Executor<'e, Database = Any>>(on: E) -> sqlx::Result<Option<i64>> {
    let rows = sqlx::query(
        "SELECT finished_ms - claimed_ms AS took FROM jobs
         WHERE state = 'done' AND claimed_ms IS NOT NULL ORDER BY created_ms DESC LIMIT 20",
    )
    .fetch_all(on)
    .await?;
    let took: Vec<i64> = rows.iter().map(|row| row.try_get("took")).collect::<sqlx::Result<_>>()?;
    Ok(i64::try_from(took.len())
        .ok()
        .filter(|count| *count > 0)
        .map(|count| took.iter().sum::<i64>() / count))
}

/// The measuring that a job of a repository's history lately took, in the mean; `None` before one has ended.
pub async fn measuring_lately_ms<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
) -> sqlx::Result<Option<i64>> {
    let rows = sqlx::query(
        "SELECT cost_ms FROM jobs WHERE repository_id = $1 AND state = 'done' AND purpose IN ('parent', 'reference')
         ORDER BY created_ms DESC LIMIT 20",
    )
    .bind(repository.0)
    .fetch_all(on)
    .await?;
    let took: Vec<i64> = rows.iter().map(|row| row.try_get("cost_ms")).collect::<sqlx::Result<_>>()?;
    Ok(i64::try_from(took.len())
        .ok()
        .filter(|count| *count > 0)
        .map(|count| took.iter().sum::<i64>() / count))
}

/// What jobs `s` took of measuring: as it was where they are done; others no longer than they ran, or may. `now` is the
/// place of the time among the parameters.
fn spent(now: &str) -> String {
    let ran = format!("COALESCE(s.finished_ms, {now}) - s.claimed_ms");
    format!(
        "SELECT COALESCE(SUM(CASE WHEN s.state <> 'done' AND {ran} < s.cost_ms THEN {ran} ELSE s.cost_ms END), 0)
         FROM jobs s WHERE s.state <> 'queued' AND s.claimed_ms IS NOT NULL"
    )
}

/// What a repository's jobs took of this day's measuring, in milliseconds.
pub async fn spent_ms<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    now_ms: i64,
) -> sqlx::Result<i64> {
    let spent = spent("$3");
    let sql =
        format!("SELECT CAST(({spent} AND s.repository_id = $1 AND s.claimed_ms >= $2) AS BIGINT) AS spent");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(repository.0).bind(day_start(now_ms)).bind(now_ms);
    query.fetch_one(on).await?.try_get("spent")
}

/// Gives the queued job whose turn it is to a runner, with a new fence. A runner without a sandbox gets no stranger's
/// code; a repository whose minutes of the day are used up waits for the next day; of its history, one job at a time.
pub async fn claim(
    db: &Db,
    runner: &str,
    sandboxed: bool,
    now_ms: i64,
    lease_ms: i64,
) -> sqlx::Result<Option<Job>> {
    let mut tx = db.begin_turn(Turn::Jobs).await?;
    let spent = spent("$2");
    let history = listed(Purpose::ALL.into_iter().filter(|purpose| purpose.of_history()));
    let sql = format!(
        "UPDATE jobs SET state = 'claimed', fence = fence + 1, attempts = attempts + 1, runner_id = $1,
                claimed_ms = $2, lease_until_ms = $3, progress = NULL
         WHERE state = 'queued' AND id = (
             SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.stranger <= $4
               AND (j.purpose NOT IN ({history}) OR NOT EXISTS (
                   SELECT 1 FROM jobs h WHERE h.repository_id = j.repository_id
                     AND h.purpose IN ({history})
                     AND h.state IN ('claimed', 'building', 'measuring')))
               AND (j.day_limit_ms IS NULL OR j.day_limit_ms > (
                   {spent} AND s.repository_id = j.repository_id AND s.claimed_ms >= $5))
             ORDER BY j.priority, j.turn, j.id LIMIT 1)
         RETURNING *"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(runner)
        .bind(now_ms)
        .bind(now_ms + lease_ms)
        .bind(i64::from(sandboxed))
        .bind(day_start(now_ms))
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    row.map(|row| job(&row)).transpose()
}

/// Purposes, as SQL lists them.
fn listed(purposes: impl IntoIterator<Item = Purpose>) -> String {
    let words = purposes.into_iter().map(|purpose| format!("'{}'", purpose.as_str()));
    words.collect::<Vec<String>>().join(", ")
}

/// Jobs for these purposes that wait, the least urgent first.
pub async fn waiting_for(tx: &mut Tx, repository: RepoId, purposes: &[Purpose]) -> sqlx::Result<Vec<Job>> {
    let sql = format!(
        "SELECT * FROM jobs WHERE repository_id = $1 AND state = 'queued' AND purpose IN ({})
         ORDER BY priority DESC, turn DESC, id DESC",
        listed(purposes.iter().copied())
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(repository.0).fetch_all(&mut **tx).await?;
    rows.iter().map(job).collect()
}

/// Gives a job that waits another place.
pub async fn move_to(tx: &mut Tx, id: &JobId, place: Place) -> sqlx::Result<()> {
    sqlx::query("UPDATE jobs SET priority = $1, turn = $2 WHERE id = $3 AND state = 'queued'")
        .bind(place.priority)
        .bind(place.turn)
        .bind(&id.0)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// That a person asked for a job: the day's limit does not hold it up.
pub async fn lift_limit(tx: &mut Tx, id: &JobId) -> sqlx::Result<()> {
    sqlx::query("UPDATE jobs SET day_limit_ms = NULL WHERE id = $1 AND state = 'queued'")
        .bind(&id.0)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}
