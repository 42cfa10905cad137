//! Searches for the one commit of a range that changed a benchmark: a row each, with all that was seen so far.

use super::{Db, Tx, json, json_option, new_id, sha, to_json};
use crate::history::bisect::Outcome;
use crate::pull::RepoId;
use perfsuite::bisect::Seen;
use perfsuite::model::{JobId, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Bisect {
    pub id: String,
    pub repository: RepoId,
    pub series: i64,
    pub change_point: String,
    pub good: Sha,
    /// After the good one, oldest first.
    pub commits: Vec<Sha>,
    /// What each comparison saw, in their order.
    pub seen: Vec<Seen>,
    pub running: bool,
    /// The comparison under way.
    pub job: Option<JobId>,
    pub outcome: Option<Outcome>,
    pub created_ms: i64,
    pub finished_ms: Option<i64>,
}

fn bisect(row: &AnyRow) -> sqlx::Result<Bisect> {
    let state: String = row.try_get("state")?;
    Ok(Bisect {
        id: row.try_get("id")?,
        repository: RepoId(row.try_get("repository_id")?),
        series: row.try_get("series_id")?,
        change_point: row.try_get("change_point_id")?,
        good: sha(row, "good_sha")?,
        commits: json(row, "commits")?,
        seen: json(row, "seen")?,
        running: state == "running",
        job: row.try_get::<Option<String>, _>("job_id")?.map(JobId),
        outcome: json_option(row, "outcome")?,
        created_ms: row.try_get("created_ms")?,
        finished_ms: row.try_get("finished_ms")?,
    })
}

/// What is to be searched.
#[derive(Clone, Debug)]
pub struct NewBisect<'a> {
    pub repository: RepoId,
    pub series: i64,
    pub change_point: &'a str,
    pub good: &'a Sha,
    pub commits: &'a [Sha],
}

/// Begins a search. `None` when there is one of this change point.
pub async fn insert(tx: &mut Tx, new: &NewBisect<'_>, now_ms: i64) -> sqlx::Result<Option<String>> {
    let id = new_id();
    let done = sqlx::query(
        "INSERT INTO bisects (id, repository_id, series_id, change_point_id, good_sha, commits, seen, state, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, '[]', 'running', $7) ON CONFLICT (change_point_id) DO NOTHING",
    )
    .bind(&id)
    .bind(new.repository.0)
    .bind(new.series)
    .bind(new.change_point)
    .bind(new.good.as_str())
    .bind(to_json(&new.commits))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok((done.rows_affected() == 1).then_some(id))
}

/// Those under way whose comparison has ended, or was not asked for yet.
pub async fn due(db: &Db, limit: i64) -> sqlx::Result<Vec<Bisect>> {
    let rows = sqlx::query(
        "SELECT b.* FROM bisects b WHERE b.state = 'running' AND NOT EXISTS (
             SELECT 1 FROM jobs j WHERE j.id = b.job_id
               AND j.state IN ('queued', 'claimed', 'building', 'measuring'))
         ORDER BY b.created_ms, b.id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(bisect).collect()
}

/// One step on. False when somebody else made it.
pub async fn step(tx: &mut Tx, before: &Bisect, seen: &[Seen], job: Option<&JobId>) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE bisects SET seen = $1, job_id = $2
         WHERE id = $3 AND state = 'running' AND COALESCE(job_id, '') = $4",
    )
    .bind(to_json(&seen))
    .bind(job.map(|job| job.0.as_str()))
    .bind(&before.id)
    .bind(before.job.as_ref().map_or("", |job| job.0.as_str()))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn end(tx: &mut Tx, id: &str, outcome: &Outcome, now_ms: i64) -> sqlx::Result<()> {
    let state = if outcome.is_broken() { "broken" } else { "done" };
    sqlx::query(
        "UPDATE bisects SET state = $1, outcome = $2, finished_ms = $3 WHERE id = $4 AND state = 'running'",
    )
    .bind(state)
    .bind(to_json(outcome))
    .bind(now_ms)
    .bind(id)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// The searches about a series' change points, by change point.
pub async fn of_series<'e, E: Executor<'e, Database = Any>>(
    on: E,
    series: i64,
) -> sqlx::Result<BTreeMap<String, Bisect>> {
    /// One for each change point that is read.
    const READ_MAX: i64 = 500;
    let rows = sqlx::query("SELECT * FROM bisects WHERE series_id = $1 ORDER BY created_ms DESC LIMIT $2")
        .bind(series)
        .bind(READ_MAX)
        .fetch_all(on)
        .await?;
    rows.iter().map(|row| bisect(row).map(|search| (search.change_point.clone(), search))).collect()
}
