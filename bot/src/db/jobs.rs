//! Jobs: what is stored of each, how they are queued and found. `turn` hands them out, `ending` ends them; every change of
//! state is compare-and-set.

mod ending;
mod turn;

pub use ending::{
    End, cancel, cancel_all, cancel_one, drop_one, end, expire_leases, hand_back, heartbeat, supersede,
};
pub use turn::{claim, lately_ms, lift_limit, measuring_lately_ms, move_to, position, spent_ms, waiting_for};

use super::{Db, Tx, flag, json, json_option, sha, to_json};
use crate::judgement::ChecksReport;
use crate::pull::RepoId;
use crate::queue::{JobState, Place, Purpose};
use perfsuite::model::wire::Progress;
use perfsuite::model::{Fence, JobId, JobSpec, Report, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, Executor, Row};

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub repository: RepoId,
    pub purpose: Purpose,
    /// The pull request; 0 of other kinds.
    pub number: u64,
    pub base: Sha,
    pub head: Sha,
    pub spec: JobSpec,
    pub stranger: bool,
    pub state: JobState,
    pub place: Place,
    /// Most measuring of one day, all jobs of the repository; `None` where a person asked.
    pub day_limit_ms: Option<i64>,
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
    let purpose: String = row.try_get("purpose")?;
    Ok(Job {
        id: JobId(row.try_get("id")?),
        repository: RepoId(row.try_get("repository_id")?),
        purpose: purpose.parse().map_err(|error| sqlx::Error::ColumnDecode {
            index: "purpose".into(),
            source: Box::new(error),
        })?,
        number: row.try_get::<i64, _>("number")? as u64,
        base: sha(row, "base_sha")?,
        head: sha(row, "head_sha")?,
        spec: json(row, "spec")?,
        stranger: flag(row, "stranger")?,
        state: state
            .parse()
            .map_err(|error| sqlx::Error::ColumnDecode { index: "state".into(), source: Box::new(error) })?,
        place: Place { priority: row.try_get("priority")?, turn: row.try_get("turn")? },
        day_limit_ms: row.try_get("day_limit_ms")?,
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

/// A job to be queued.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    pub repository: RepoId,
    pub purpose: Purpose,
    /// The pull request; 0 of other purposes.
    pub number: u64,
    pub spec: &'a JobSpec,
    pub stranger: bool,
    pub place: Place,
    pub day_limit_ms: Option<i64>,
}

/// Queues a job that measures a pull request, without a limit of the day.
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
    of: (&Sha, &Sha),
    spec: &JobSpec,
    stranger: bool,
    now_ms: i64,
) -> sqlx::Result<()> {
    let (purpose, place) = (Purpose::Pull, Place::pull(now_ms, cost_ms(spec)));
    let new = NewJob { repository, purpose, number, spec, stranger, place, day_limit_ms: None };
    queue_for(tx, of, &new, now_ms).await
}

/// What a job takes of a day's budget, as planned: checks take nothing of it.
pub fn cost_ms(spec: &JobSpec) -> i64 {
    match Kind::of(spec) {
        Kind::Measure => {
            i64::try_from(spec.limits.measure_seconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
        }
        Kind::Check => 0,
    }
}

pub async fn queue(tx: &mut Tx, new: &NewJob<'_>, now_ms: i64) -> sqlx::Result<()> {
    queue_for(tx, (&new.spec.base, &new.spec.head), new, now_ms).await
}

async fn queue_for(
    tx: &mut Tx,
    (base, head): (&Sha, &Sha),
    new: &NewJob<'_>,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO jobs (id, repository_id, number, base_sha, head_sha, spec, stranger, state, created_ms, kind,
                           purpose, priority, turn, cost_ms, day_limit_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(&new.spec.job.0)
    .bind(new.repository.0)
    .bind(new.number as i64)
    .bind(base.as_str())
    .bind(head.as_str())
    .bind(to_json(new.spec))
    .bind(i64::from(new.stranger))
    .bind(now_ms)
    .bind(Kind::of(new.spec).as_str())
    .bind(new.purpose.as_str())
    .bind(new.place.priority)
    .bind(new.place.turn)
    .bind(cost_ms(new.spec))
    .bind(new.day_limit_ms)
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

/// The newest job that measured these two commits against each other; one that is about a few benchmarks only where there
/// is no other.
pub async fn of_commits(
    pool: &AnyPool,
    repository: RepoId,
    base: &Sha,
    head: &Sha,
) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query(
        "SELECT * FROM jobs WHERE repository_id = $1 AND base_sha = $2 AND head_sha = $3 AND kind = 'measure'
           AND state = 'done'
         ORDER BY CASE WHEN purpose IN ('bisect', 'asked') THEN 1 ELSE 0 END, created_ms DESC, id DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(base.as_str())
    .bind(head.as_str())
    .fetch_optional(pool)
    .await?;
    row.map(|row| job(&row)).transpose()
}

/// Measured commits whose ids begin so; more than one where it is too short.
pub async fn commits_beginning(
    pool: &AnyPool,
    repository: RepoId,
    beginning: &str,
) -> sqlx::Result<Vec<Sha>> {
    // `g` follows every digit of an id.
    let rows = sqlx::query(
        "SELECT DISTINCT named.sha AS sha FROM (
             SELECT base_sha AS sha FROM jobs
             WHERE repository_id = $1 AND kind = 'measure' AND base_sha >= $2 AND base_sha < $3
             UNION SELECT head_sha AS sha FROM jobs
             WHERE repository_id = $1 AND kind = 'measure' AND head_sha >= $2 AND head_sha < $3) AS named
         ORDER BY named.sha LIMIT 2",
    )
    .bind(repository.0)
    .bind(beginning)
    .bind(format!("{beginning}g"))
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| sha(row, "sha")).collect()
}

/// The newest job of a merge queue's group. What it measured may have landed since, and be a commit of a history too.
pub async fn newest_of_group<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    head: &Sha,
) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query(
        "SELECT * FROM jobs WHERE repository_id = $1 AND number = 0 AND head_sha = $2 AND purpose = $3
         ORDER BY created_ms DESC, id DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(head.as_str())
    .bind(Purpose::Group.as_str())
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
