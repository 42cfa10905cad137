//! Jobs: leases, fencing and outcomes. Every change of state is compare-and-set.

use super::{Db, Turn, Tx, flag, json, json_option, sha, to_json};
use crate::judgement::ChecksReport;
use crate::pull::RepoId;
use crate::queue::{ATTEMPTS_MAX, JobState};
use perfsuite::model::wire::Progress;
use perfsuite::model::{Fence, JobId, JobSpec, Report, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub repository: RepoId,
    pub number: u64,
    pub base: Sha,
    pub head: Sha,
    pub spec: JobSpec,
    pub stranger: bool,
    pub state: JobState,
    pub fence: Fence,
    pub attempts: i64,
    pub runner: Option<String>,
    pub progress: Option<Progress>,
    /// Digest of the stored evidence.
    pub evidence: Option<String>,
    pub report: Option<Report>,
    /// What a job of checks came to.
    pub checks: Option<ChecksReport>,
    pub error: Option<String>,
    pub created_ms: i64,
    pub claimed_ms: Option<i64>,
    pub finished_ms: Option<i64>,
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Measure,
    /// The repository's own checks, on the merge result.
    Check,
}

impl Kind {
    pub fn of(spec: &JobSpec) -> Self {
        if spec.checks.is_some() { Kind::Check } else { Kind::Measure }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Measure => "measure",
            Kind::Check => "check",
        }
    }
}

fn job(row: &AnyRow) -> sqlx::Result<Job> {
    let state: String = row.try_get("state")?;
    Ok(Job {
        id: JobId(row.try_get("id")?),
        repository: RepoId(row.try_get("repository_id")?),
        number: row.try_get::<i64, _>("number")? as u64,
        base: sha(row, "base_sha")?,
        head: sha(row, "head_sha")?,
        spec: json(row, "spec")?,
        stranger: flag(row, "stranger")?,
        state: state
            .parse()
            .map_err(|error| sqlx::Error::ColumnDecode { index: "state".into(), source: Box::new(error) })?,
        fence: Fence(row.try_get("fence")?),
        attempts: row.try_get("attempts")?,
        runner: row.try_get("runner_id")?,
        progress: json_option(row, "progress")?,
        evidence: row.try_get("evidence")?,
        report: json_option(row, "report")?,
        checks: json_option(row, "checks")?,
        error: row.try_get("error")?,
        created_ms: row.try_get("created_ms")?,
        claimed_ms: row.try_get("claimed_ms")?,
        finished_ms: row.try_get("finished_ms")?,
    })
}

/// Queues a job that measures a pull request.
pub async fn insert(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    spec: &JobSpec,
    stranger: bool,
    now_ms: i64,
) -> sqlx::Result<()> {
    insert_for(tx, repository, number, (&spec.base, &spec.head), spec, stranger, now_ms).await
}

/// The same for a pull request's merge base and head, which need not be the two commits that the runner gets.
pub async fn insert_for(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    (base, head): (&Sha, &Sha),
    spec: &JobSpec,
    stranger: bool,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO jobs (id, repository_id, number, base_sha, head_sha, spec, stranger, state, created_ms, kind)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', $8, $9)",
    )
    .bind(&spec.job.0)
    .bind(repository.0)
    .bind(number as i64)
    .bind(base.as_str())
    .bind(head.as_str())
    .bind(to_json(spec))
    .bind(i64::from(stranger))
    .bind(now_ms)
    .bind(Kind::of(spec).as_str())
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

pub async fn get<'e, E: Executor<'e, Database = Any>>(on: E, id: &JobId) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query("SELECT * FROM jobs WHERE id = $1").bind(&id.0).fetch_optional(on).await?;
    row.map(|row| job(&row)).transpose()
}

/// The newest job that measures a pull request's head.
pub async fn newest<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
    head: &Sha,
) -> sqlx::Result<Option<Job>> {
    newest_of(on, Kind::Measure, repository, number, head).await
}

/// The newest job of a kind.
pub async fn newest_of<'e, E: Executor<'e, Database = Any>>(
    on: E,
    kind: Kind,
    repository: RepoId,
    number: u64,
    head: &Sha,
) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query(
        "SELECT * FROM jobs WHERE repository_id = $1 AND number = $2 AND head_sha = $3 AND kind = $4
         ORDER BY created_ms DESC, id DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .bind(kind.as_str())
    .fetch_optional(on)
    .await?;
    row.map(|row| job(&row)).transpose()
}

/// Jobs that measure a pull request, the newest first.
pub async fn of_pull(db: &Db, repository: RepoId, number: u64, limit: i64) -> sqlx::Result<Vec<Job>> {
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE repository_id = $1 AND number = $2 AND kind = 'measure'
         ORDER BY created_ms DESC, id DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(job).collect()
}

/// Place in the queue, from 1: jobs that were queued no later.
pub async fn position<'e, E: Executor<'e, Database = Any>>(on: E, job: &Job) -> sqlx::Result<u32> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS ahead FROM jobs
         WHERE state = 'queued' AND (created_ms < $1 OR (created_ms = $1 AND id <= $2))",
    )
    .bind(job.created_ms)
    .bind(&job.id.0)
    .fetch_one(on)
    .await?;
    Ok(row.try_get::<i64, _>("ahead")? as u32)
}

/// Gives the oldest queued job to a runner, with a new fence. A runner without a sandbox gets no stranger's code.
pub async fn claim(
    db: &Db,
    runner: &str,
    sandboxed: bool,
    now_ms: i64,
    lease_ms: i64,
) -> sqlx::Result<Option<Job>> {
    let mut tx = db.begin_turn(Turn::Jobs).await?;
    let row = sqlx::query(
        "UPDATE jobs SET state = 'claimed', fence = fence + 1, attempts = attempts + 1, runner_id = $1,
                claimed_ms = $2, lease_until_ms = $3, progress = NULL
         WHERE state = 'queued' AND id = (
             SELECT id FROM jobs WHERE state = 'queued' AND stranger <= $4 ORDER BY created_ms, id LIMIT 1)
         RETURNING *",
    )
    .bind(runner)
    .bind(now_ms)
    .bind(now_ms + lease_ms)
    .bind(i64::from(sandboxed))
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| job(&row)).transpose()
}

/// Keeps the lease and stores progress. False when this attempt no longer holds the job.
pub async fn heartbeat(
    db: &Db,
    id: &JobId,
    fence: Fence,
    state: JobState,
    progress: &Progress,
    lease_until_ms: i64,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = $1, progress = $2, lease_until_ms = $3
         WHERE id = $4 AND fence = $5 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(state.as_str())
    .bind(to_json(progress))
    .bind(lease_until_ms)
    .bind(&id.0)
    .bind(fence.0)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How a held job ends.
pub enum End<'a> {
    Done { evidence: &'a str, report: &'a Report },
    Checked { evidence: &'a str, checks: &'a ChecksReport },
    Failed { error: &'a str },
}

/// Ends a held job. False when this attempt no longer holds it.
pub async fn end(tx: &mut Tx, id: &JobId, fence: Fence, end: &End<'_>, now_ms: i64) -> sqlx::Result<bool> {
    let (state, evidence, error) = match end {
        End::Done { evidence, .. } | End::Checked { evidence, .. } => (JobState::Done, Some(*evidence), None),
        End::Failed { error } => (JobState::Failed, None, Some(*error)),
    };
    let (report, checks) = match end {
        End::Done { report, .. } => (Some(to_json(report)), None),
        End::Checked { checks, .. } => (None, Some(to_json(checks))),
        End::Failed { .. } => (None, None),
    };
    let done = sqlx::query(
        "UPDATE jobs SET state = $1, evidence = $2, report = $3, error = $4, finished_ms = $5, lease_until_ms = NULL,
                checks = $8
         WHERE id = $6 AND fence = $7 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(state.as_str())
    .bind(evidence)
    .bind(report)
    .bind(error)
    .bind(now_ms)
    .bind(&id.0)
    .bind(fence.0)
    .bind(checks)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A runner that stops gives its job back, to be taken at once; the attempt does not count.
pub async fn hand_back(db: &Db, id: &JobId, fence: Fence) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = 'queued', attempts = attempts - 1, runner_id = NULL, lease_until_ms = NULL,
                progress = NULL
         WHERE id = $1 AND fence = $2 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(&id.0)
    .bind(fence.0)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every job of a kind of a pull request that is not for this head and merge base (`None`: every one). `by` says
/// what made them pointless. Returns their heads.
pub async fn supersede(
    tx: &mut Tx,
    kind: Kind,
    repository: RepoId,
    number: u64,
    keep: Option<(&Sha, &Sha)>,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<Vec<Sha>> {
    let (head, base) = keep.map_or(("", ""), |(head, base)| (head.as_str(), base.as_str()));
    let rows = sqlx::query(
        "UPDATE jobs SET state = 'superseded', finished_ms = $1, lease_until_ms = NULL, error = $6
         WHERE repository_id = $2 AND number = $3 AND NOT (head_sha = $4 AND base_sha = $5) AND kind = $7
           AND state IN ('queued', 'claimed', 'building', 'measuring')
         RETURNING head_sha",
    )
    .bind(now_ms)
    .bind(repository.0)
    .bind(number as i64)
    .bind(head)
    .bind(base)
    .bind(by)
    .bind(kind.as_str())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| sha(row, "head_sha")).collect()
}

/// Cancels what runs or waits for a pull request.
pub async fn cancel(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE repository_id = $3 AND number = $4 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}

/// Cancels what runs or waits for a whole repository.
pub async fn cancel_all(tx: &mut Tx, repository: RepoId, by: &str, now_ms: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE repository_id = $3 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(repository.0)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}

/// Gives jobs of silent runners to others; those out of attempts fail. Returns the pull requests concerned.
pub async fn expire_leases(db: &Db, now_ms: i64) -> sqlx::Result<Vec<(RepoId, u64)>> {
    let rows = sqlx::query(
        "UPDATE jobs SET
             state = CASE WHEN attempts >= $1 THEN 'failed' ELSE 'queued' END,
             error = CASE WHEN attempts >= $1 THEN 'the runner was lost on every attempt' ELSE error END,
             finished_ms = CASE WHEN attempts >= $1 THEN $2 ELSE NULL END,
             runner_id = NULL, lease_until_ms = NULL, progress = NULL
         WHERE state IN ('claimed', 'building', 'measuring') AND lease_until_ms < $2
         RETURNING repository_id, number",
    )
    .bind(ATTEMPTS_MAX)
    .bind(now_ms)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| Ok((RepoId(row.try_get("repository_id")?), row.try_get::<i64, _>("number")? as u64)))
        .collect()
}

/// Jobs by state that are not ended, for metrics.
pub async fn open_counts(db: &Db) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query(
        "SELECT state, COUNT(*) AS jobs FROM jobs
         WHERE state IN ('queued', 'claimed', 'building', 'measuring') GROUP BY state",
    )
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get("jobs")?))).collect()
}
