//! `/{owner}/{name}/pull/{number}`: where a pull request stands, and every run that it had.

use super::access::AtPull;
use super::commits::{self, CommitView};
use super::error::PageError;
use super::headline::{self, Headline};
use super::parts::{Badge, When, clean, standing};
use super::table::Table;
use super::{Page, Site, pull_line, render};
use crate::db::overview::{self, JobSummary};
use crate::db::pulls;
use crate::format;
use crate::judgement::{ConfigError, Performance, Run};
use crate::runs;
use askama::Template;
use axum::extract::State;
use perfsuite::model::Verdict;

/// Runs of one pull request that the page lists, the newest.
const JOBS_MAX: i64 = 100;
/// Rows of the summary; the run's page has all.
const ROWS_MAX: usize = 12;

#[derive(Template)]
#[template(path = "pages/pull.html")]
struct PullPage {
    name: String,
    number: u64,
    title: String,
    author: String,
    state: Badge,
    base_ref: String,
    base: String,
    head_ref: String,
    head: String,
    from_fork: bool,
    conflict: bool,
    opened: When,
    /// `None` before the head was looked at.
    judged: Option<Judged>,
    jobs: Vec<JobLine>,
}

struct Judged {
    headline: Headline,
    job: Option<String>,
    /// Changed and undecided rows.
    table: Option<Table>,
    /// Rows that the summary leaves out.
    rest: usize,
    config_error: Option<ConfigError>,
    commits_badge: Badge,
    commits: Vec<CommitView>,
    commits_left_out: usize,
}

struct JobLine {
    id: String,
    badges: Vec<Badge>,
    base: String,
    head: String,
    present: bool,
    created: When,
    took: Option<String>,
    runner: Option<String>,
    attempts: i64,
}

pub async fn show(State(site): State<Site>, AtPull { repository, number }: AtPull) -> Page {
    let now_ms = site.clock.now_ms();
    let row = pulls::get(site.db.pool(), repository.id, number).await?.ok_or(PageError::NotFound)?;
    let loaded = {
        let mut connection = site.db.pool().acquire().await?;
        runs::load(&mut connection, &repository, number, now_ms).await?
    };
    let jobs = overview::jobs_of_pull(&site.db, repository.id, number, JOBS_MAX).await?;
    let pull = &row.pull;
    let base = row.merge_base.as_ref().unwrap_or(&pull.base_sha);
    render(&PullPage {
        name: repository.name.to_string(),
        number,
        title: clean(&pull.title),
        author: clean(&pull.author),
        state: pull_line::state(pull),
        base_ref: clean(&pull.base_ref),
        base: base.short().into(),
        head_ref: clean(&pull.head_ref),
        head: pull.head_sha.short().into(),
        from_fork: pull.from_fork,
        conflict: row.mergeable.as_deref() == Some("conflict"),
        opened: When::new(pull.opened_ms, now_ms),
        judged: loaded.map(|loaded| judged(loaded.run, loaded.job.map(|job| job.id.0))),
        jobs: jobs.iter().map(|job| job_line(job, pull.head_sha.as_str(), now_ms)).collect(),
    })
}

fn judged(run: Run, job: Option<String>) -> Judged {
    let headline = headline::of(&run);
    let (commits, commits_left_out) = commits::view(&run.commits);
    let (table, rest) = match &run.performance {
        Performance::Done { report } => {
            let rows = report.rows.iter().enumerate();
            let shown: Vec<_> =
                rows.filter(|(_, row)| row.verdict != Verdict::Equal).take(ROWS_MAX).collect();
            let rest = report.rows.len() - shown.len();
            let of = job.as_deref().unwrap_or_default();
            let table = (!shown.is_empty())
                .then(|| Table::new("What changed or is undecided", of, &report.rows, shown.into_iter()));
            (table, rest)
        }
        _ => (None, 0),
    };
    Judged {
        headline,
        job,
        table,
        rest,
        config_error: run.config_error.map(|error| ConfigError {
            path: clean(&error.path),
            message: clean(&error.message),
            nearest: error.nearest.as_deref().map(clean),
            ..error
        }),
        commits_badge: commits::badge(&run.commits),
        commits,
        commits_left_out,
    }
}

fn job_line(job: &JobSummary, present_head: &str, now_ms: i64) -> JobLine {
    let took =
        job.claimed_ms.zip(job.finished_ms).map(|(from, to)| format::seconds((to - from) as f64 / 1_000.0));
    JobLine {
        id: job.id.0.clone(),
        badges: standing(job),
        base: job.base.short().into(),
        head: job.head.short().into(),
        present: job.head.as_str() == present_head,
        created: When::new(job.created_ms, now_ms),
        took,
        runner: job.runner.as_deref().map(clean),
        attempts: job.attempts,
    }
}
