//! Jobs: leases, fencing and outcomes. Every change of state is compare-and-set.

use super::{Db, Turn, Tx, flag, json, json_option, sha, to_json};
use crate::judgement::ChecksReport;
use crate::pull::RepoId;
use crate::queue::{ATTEMPTS_MAX, JobState, Place, Purpose, day_start};
use perfsuite::model::wire::Progress;
use perfsuite::model::{Fence, JobId, JobSpec, Report, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, Row};

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

/// The newest job that measured these two commits against each other.
pub async fn of_commits(
    pool: &AnyPool,
    repository: RepoId,
    base: &Sha,
    head: &Sha,
) -> sqlx::Result<Option<Job>> {
    let row = sqlx::query(
        "SELECT * FROM jobs WHERE repository_id = $1 AND base_sha = $2 AND head_sha = $3 AND kind = 'measure'
           AND state = 'done' ORDER BY created_ms DESC, id DESC LIMIT 1",
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
    let sql = format!(
        "UPDATE jobs SET state = 'claimed', fence = fence + 1, attempts = attempts + 1, runner_id = $1,
                claimed_ms = $2, lease_until_ms = $3, progress = NULL
         WHERE state = 'queued' AND id = (
             SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.stranger <= $4
               AND (j.purpose IN ('pull', 'group') OR NOT EXISTS (
                   SELECT 1 FROM jobs h WHERE h.repository_id = j.repository_id
                     AND h.purpose NOT IN ('pull', 'group')
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
    let took_ms = match end {
        End::Done { report, .. } => Some((report.measure_seconds * 1_000.0) as i64),
        End::Checked { .. } | End::Failed { .. } => None,
    };
    let done = sqlx::query(
        "UPDATE jobs SET state = $1, evidence = $2, report = $3, error = $4, finished_ms = $5, lease_until_ms = NULL,
                checks = $8, cost_ms = COALESCE($9, cost_ms)
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
    .bind(took_ms)
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

/// Gives jobs of silent runners to others; those out of attempts fail. Returns them as they are now.
pub async fn expire_leases(db: &Db, now_ms: i64) -> sqlx::Result<Vec<Job>> {
    let rows = sqlx::query(
        "UPDATE jobs SET
             state = CASE WHEN attempts >= $1 THEN 'failed' ELSE 'queued' END,
             error = CASE WHEN attempts >= $1 THEN 'the runner was lost on every attempt' ELSE error END,
             finished_ms = CASE WHEN attempts >= $1 THEN $2 ELSE NULL END,
             runner_id = NULL, lease_until_ms = NULL, progress = NULL
         WHERE state IN ('claimed', 'building', 'measuring') AND lease_until_ms < $2
         RETURNING *",
    )
    .bind(ATTEMPTS_MAX)
    .bind(now_ms)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(job).collect()
}

/// Jobs of a kind that wait, the least urgent first.
pub async fn waiting_for(tx: &mut Tx, repository: RepoId, purposes: &[Purpose]) -> sqlx::Result<Vec<Job>> {
    let words: Vec<String> = purposes.iter().map(|purpose| format!("'{}'", purpose.as_str())).collect();
    let sql = format!(
        "SELECT * FROM jobs WHERE repository_id = $1 AND state = 'queued' AND purpose IN ({})
         ORDER BY priority DESC, turn DESC, id DESC",
        words.join(", ")
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

/// Ends a job that waits or runs, because of what made it pointless.
pub async fn drop_one(tx: &mut Tx, id: &JobId, by: &str, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET state = 'superseded', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE id = $3 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(&id.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
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
