//! What lists show: repositories, pull requests and jobs with what their newest runs say. Reads only.

use super::pulls::{PullRow, pull_row};
use super::series::{self, Key};
use super::{Db, decode, flag, json_option, sha};
use crate::access::Readables;
use crate::judgement::CommitsJudgement;
use crate::pull::{RepoId, RepoName};
use crate::queue::JobState;
use perfsuite::model::wire::Progress;
use perfsuite::model::{JobId, Metric, Report, Sha};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// A public repository and what goes on in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositorySummary {
    pub name: RepoName,
    pub default_branch: String,
    pub open_pulls: i64,
    /// Runs that ended with a report.
    pub runs: i64,
    /// Jobs that wait or run.
    pub active: i64,
    /// Open pull requests whose head has a slowdown that blocks.
    pub blocked: i64,
    pub last_ms: i64,
}

/// How the rows of a finished job fell out. A change that layout alone may have made is neither slower nor faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub slower: i64,
    pub faster: i64,
    pub equal: i64,
    pub inconclusive: i64,
    /// Changed, perhaps by the program's layout alone.
    pub suspect: i64,
    /// Of the slower ones: confirmed, and of a benchmark that gates.
    pub blocking: i64,
}

impl Tally {
    pub fn rows(&self) -> i64 {
        self.slower + self.faster + self.equal + self.inconclusive + self.suspect
    }
}

/// A job without its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSummary {
    pub id: JobId,
    pub base: Sha,
    pub head: Sha,
    pub state: JobState,
    pub attempts: i64,
    pub runner_id: Option<String>,
    pub runner: Option<String>,
    pub progress: Option<Progress>,
    pub error: Option<String>,
    pub created_ms: i64,
    pub claimed_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    pub tally: Tally,
    /// Only where the job has no rows, which the report then explains.
    pub report: Option<Report>,
}

/// A pull request with what is known of its present head.
#[derive(Clone, Debug, PartialEq)]
pub struct PullSummary {
    pub repository: RepoName,
    pub row: PullRow,
    pub commits: Option<CommitsJudgement>,
    pub config_error: bool,
    /// Why there is nothing to measure, when there is not.
    pub skipped: Option<String>,
    pub job: Option<JobSummary>,
}

/// A job that waits or runs, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenJob {
    pub repository_id: RepoId,
    pub repository: RepoName,
    pub private: bool,
    pub number: u64,
    pub job: JobSummary,
}

/// The columns of a [`JobSummary`], of a job `j`.
const JOB_COLUMNS: &str = "
    j.id AS job_id, j.base_sha AS job_base, j.head_sha AS job_head, j.state AS job_state,
    j.attempts AS job_attempts, j.runner_id AS job_runner_id, j.progress AS job_progress, j.error AS job_error,
    j.created_ms AS job_created_ms, j.claimed_ms AS job_claimed_ms, j.finished_ms AS job_finished_ms,
    (SELECT n.name FROM runners n WHERE n.id = j.runner_id) AS job_runner,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.verdict = 'slower'
        AND c.certainty = 'confirmed') AS slower,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.verdict = 'faster'
        AND c.certainty = 'confirmed') AS faster,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.certainty = 'layout-suspect') AS suspect,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.verdict = 'equal') AS equal,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.verdict = 'inconclusive') AS inconclusive,
    (SELECT COUNT(*) FROM comparisons c WHERE c.job_id = j.id AND c.verdict = 'slower'
        AND c.certainty = 'confirmed' AND c.mode = 'gate') AS blocking,
    CASE WHEN EXISTS (SELECT 1 FROM comparisons c WHERE c.job_id = j.id) THEN NULL ELSE j.report END AS job_report";

/// Pull requests `p` of repositories `r`, with the judgement `g` and the newest job `j` of the present head.
const PULLS: &str = "
    FROM pull_requests p
    JOIN repositories r ON r.id = p.repository_id
    LEFT JOIN judgements g ON g.repository_id = p.repository_id AND g.number = p.number AND g.head_sha = p.head_sha
    LEFT JOIN jobs j ON j.id = (
        SELECT n.id FROM jobs n
        WHERE n.repository_id = p.repository_id AND n.number = p.number AND n.head_sha = p.head_sha
          AND n.kind = 'measure'
        ORDER BY n.created_ms DESC, n.id DESC LIMIT 1)";

fn job_summary(row: &AnyRow) -> sqlx::Result<JobSummary> {
    let state: String = row.try_get("job_state")?;
    Ok(JobSummary {
        id: JobId(row.try_get("job_id")?),
        base: sha(row, "job_base")?,
        head: sha(row, "job_head")?,
        state: state.parse().map_err(|error| sqlx::Error::ColumnDecode {
            index: "job_state".into(),
            source: Box::new(error),
        })?,
        attempts: row.try_get("job_attempts")?,
        runner_id: row.try_get("job_runner_id")?,
        runner: row.try_get("job_runner")?,
        progress: json_option(row, "job_progress")?,
        error: row.try_get("job_error")?,
        created_ms: row.try_get("job_created_ms")?,
        claimed_ms: row.try_get("job_claimed_ms")?,
        finished_ms: row.try_get("job_finished_ms")?,
        tally: Tally {
            slower: row.try_get("slower")?,
            faster: row.try_get("faster")?,
            equal: row.try_get("equal")?,
            inconclusive: row.try_get("inconclusive")?,
            suspect: row.try_get("suspect")?,
            blocking: row.try_get("blocking")?,
        },
        report: json_option(row, "job_report")?,
    })
}

fn repo_name(row: &AnyRow) -> sqlx::Result<RepoName> {
    Ok(RepoName { owner: row.try_get("repo_owner")?, name: row.try_get("repo_name")? })
}

fn pull_summary(row: &AnyRow) -> sqlx::Result<PullSummary> {
    let commits: Option<String> = row.try_get("judged_commits")?;
    let config_error: Option<String> = row.try_get("judged_config_error")?;
    let job: Option<String> = row.try_get("job_id")?;
    Ok(PullSummary {
        repository: repo_name(row)?,
        row: pull_row(row)?,
        commits: commits.map(|text| decode("judged_commits", &text)).transpose()?,
        config_error: config_error.is_some(),
        skipped: row.try_get("judged_skipped")?,
        job: job.map(|_| job_summary(row)).transpose()?,
    })
}

/// Repositories that may be named: those where something blocks first, then those where something runs, then the last touched.
///
/// A name with `#` was taken over by another repository; nobody can reach such a page.
pub async fn repositories(db: &Db, allowed: &Readables, limit: i64) -> sqlx::Result<Vec<RepositorySummary>> {
    let allowed = allowed.sql("o");
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT * FROM (
             SELECT o.owner AS repo_owner, o.name AS repo_name, o.default_branch AS default_branch,
                 (SELECT COUNT(*) FROM pull_requests p WHERE p.repository_id = o.id AND p.state = 'open') AS open_pulls,
                 (SELECT COUNT(*) FROM jobs d WHERE d.repository_id = o.id AND d.state = 'done'
                     AND d.kind = 'measure') AS runs,
                 (SELECT COUNT(*) FROM jobs a WHERE a.repository_id = o.id
                     AND a.state IN ('queued', 'claimed', 'building', 'measuring')) AS active,
                 (SELECT COUNT(*) {PULLS} WHERE p.repository_id = o.id AND p.state = 'open' AND {BLOCKING}) AS blocked,
                 COALESCE((SELECT MAX(p.updated_ms) FROM pull_requests p WHERE p.repository_id = o.id), o.seen_ms)
                     AS last_ms
             FROM repositories o WHERE {allowed} AND o.name NOT LIKE '%#%') AS listed
         ORDER BY blocked DESC, active DESC, last_ms DESC, repo_owner, repo_name LIMIT $1"
    )))
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RepositorySummary {
                name: repo_name(row)?,
                default_branch: row.try_get("default_branch")?,
                open_pulls: row.try_get("open_pulls")?,
                runs: row.try_get("runs")?,
                active: row.try_get("active")?,
                blocked: row.try_get("blocked")?,
                last_ms: row.try_get("last_ms")?,
            })
        })
        .collect()
}

/// Whether the job `j` has a row that fails the check run.
const BLOCKING: &str = "EXISTS (SELECT 1 FROM comparisons b WHERE b.job_id = j.id AND b.verdict = 'slower'
    AND b.certainty = 'confirmed' AND b.mode = 'gate')";

fn select_pulls(rest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT r.owner AS repo_owner, r.name AS repo_name, p.*, g.commits AS judged_commits,
                g.config_error AS judged_config_error, g.skipped AS judged_skipped, {JOB_COLUMNS} {PULLS} {rest}"
    ))
}

/// Open pull requests of repositories that may be named, that somebody should look at: blocked, failed, running or waiting.
pub async fn attention(db: &Db, allowed: &Readables, limit: i64) -> sqlx::Result<Vec<PullSummary>> {
    let allowed = allowed.sql("r");
    let rows = sqlx::query(select_pulls(&format!(
        "WHERE {allowed} AND r.name NOT LIKE '%#%' AND p.state = 'open'
           AND (j.state IN ('queued', 'claimed', 'building', 'measuring', 'failed') OR {BLOCKING})
         ORDER BY CASE WHEN j.state = 'done' THEN 0 WHEN j.state = 'failed' THEN 1 ELSE 2 END,
                  p.updated_ms DESC, p.number DESC LIMIT $1"
    )))
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(pull_summary).collect()
}

/// Pull requests of a repository with a number below `before`, the newest first.
pub async fn pulls(db: &Db, repository: RepoId, before: u64, limit: i64) -> sqlx::Result<Vec<PullSummary>> {
    let rows = sqlx::query(select_pulls(
        "WHERE p.repository_id = $1 AND p.number < $2 ORDER BY p.number DESC LIMIT $3",
    ))
    .bind(repository.0)
    .bind(i64::try_from(before).unwrap_or(i64::MAX))
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(pull_summary).collect()
}

/// A change for the worse on a default branch that nobody has taken or held back.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenChange {
    pub repository: RepoName,
    pub key: Key,
    pub size: f64,
    pub found_ms: i64,
}

/// Those that were confirmed and found since then, in repositories that may be named, the newest first. What was made to
/// be looked at is none.
pub async fn open_changes(
    db: &Db,
    allowed: &Readables,
    since_ms: i64,
    limit: i64,
) -> sqlx::Result<Vec<OpenChange>> {
    let allowed = allowed.sql("r");
    let more_is_worse = format!("s.metric <> '{}'", Metric::QpsPerCore.as_str());
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT r.owner AS repo_owner, r.name AS repo_name, s.suite AS suite, s.benchmark AS benchmark,
                s.metric AS metric, c.size AS size, c.found_ms AS found_ms
         FROM change_points c JOIN history_series s ON s.id = c.series_id
             JOIN repositories r ON r.id = s.repository_id
         WHERE c.state = 'confirmed' AND c.found_ms >= $1 AND s.sample = 0 AND {allowed}
           AND r.name NOT LIKE '%#%'
           AND ((c.size > 0 AND {more_is_worse}) OR (c.size < 0 AND NOT {more_is_worse}))
           AND NOT EXISTS (SELECT 1 FROM accepted_changes a WHERE a.change_point_id = c.id)
           AND NOT EXISTS (SELECT 1 FROM quarantined_benchmarks q WHERE q.repository_id = s.repository_id
               AND q.suite = s.suite AND q.benchmark = s.benchmark AND q.until_ms IS NULL)
         ORDER BY c.found_ms DESC, c.id DESC LIMIT $2"
    )))
    .bind(since_ms)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(OpenChange {
                repository: repo_name(row)?,
                key: series::key(row)?,
                size: row.try_get("size")?,
                found_ms: row.try_get("found_ms")?,
            })
        })
        .collect()
}

/// Jobs of a pull request, the newest first.
pub async fn jobs_of_pull(
    db: &Db,
    repository: RepoId,
    number: u64,
    limit: i64,
) -> sqlx::Result<Vec<JobSummary>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {JOB_COLUMNS} FROM jobs j
         WHERE j.repository_id = $1 AND j.number = $2 AND j.kind = 'measure'
         ORDER BY j.created_ms DESC, j.id DESC LIMIT $3"
    )))
    .bind(repository.0)
    .bind(number as i64)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(job_summary).collect()
}

/// Jobs that wait or run, of private repositories too, in the order of the queue.
pub async fn open_jobs(db: &Db, limit: i64) -> sqlx::Result<Vec<OpenJob>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT r.id AS repo_id, r.owner AS repo_owner, r.name AS repo_name, r.private AS repo_private, j.number AS job_number,
                {JOB_COLUMNS}
         FROM jobs j JOIN repositories r ON r.id = j.repository_id
         WHERE j.state IN ('queued', 'claimed', 'building', 'measuring')
         ORDER BY j.priority, j.turn, j.id LIMIT $1"
    )))
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(OpenJob {
                repository_id: RepoId(row.try_get("repo_id")?),
                repository: repo_name(row)?,
                private: flag(row, "repo_private")?,
                number: row.try_get::<i64, _>("job_number")? as u64,
                job: job_summary(row)?,
            })
        })
        .collect()
}

/// One job, as lists show it.
pub async fn job(db: &Db, id: &JobId) -> sqlx::Result<Option<JobSummary>> {
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {JOB_COLUMNS} FROM jobs j WHERE j.id = $1")))
        .bind(&id.0)
        .fetch_optional(db.pool())
        .await?;
    row.map(|row| job_summary(&row)).transpose()
}
