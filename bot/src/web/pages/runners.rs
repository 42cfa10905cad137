//! `/runners`: who measures, on what machine, and what waits for them.

use super::parts::{Badge, Kind, When, clean, standing};
use super::{Page, Site, access, render};
use crate::access::Readables;
use crate::calibration::{self, Observation, Summary};
use crate::db::calibrations;
use crate::db::overview::{self, OpenJob};
use crate::db::runners::{self, Runner};
use crate::format;
use crate::queue::JobState;
use crate::runs::RUNNER_ALIVE_MS;
use crate::service;
use askama::Template;
use axum::extract::State;

/// Jobs that are listed; a longer queue says so.
const JOBS_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "pages/runners.html")]
struct RunnersPage {
    runners: Vec<RunnerView>,
    jobs: Vec<JobView>,
    /// How long jobs of the last day waited, in words.
    waited: Option<String>,
    /// Jobs of private repositories, which are not shown.
    hidden: bool,
    cut: bool,
}

struct RunnerView {
    name: String,
    builtin: bool,
    state: Badge,
    seen: Option<When>,
    sandbox: Badge,
    machine: String,
    system: String,
    job: Option<String>,
    /// How much of the last day it worked.
    worked: Option<String>,
    /// Why nothing that it measures blocks.
    quarantine: Option<String>,
    calibration: Option<String>,
}

struct JobView {
    /// Place in the queue, from 1; `None` once a runner has it.
    position: Option<usize>,
    id: String,
    repository: String,
    number: u64,
    head: String,
    badges: Vec<Badge>,
    runner: Option<String>,
    created: When,
}

pub async fn show(State(site): State<Site>) -> Page {
    let now_ms = site.clock.now_ms();
    let runners = runners::all(&site.db).await?;
    let mut jobs = overview::open_jobs(&site.db, JOBS_MAX + 1).await?;
    let cut = jobs.len() as i64 > JOBS_MAX;
    jobs.truncate(JOBS_MAX as usize);
    let readable = access::readable(&site).await?;
    let busy = service::utilisation(&site.db, now_ms).await?;
    let waited = service::service(&site.db, now_ms).await?.jobs.waited;
    let mut views = Vec::new();
    for runner in runners.iter().filter(|runner| runner.revoked_ms.is_none()) {
        let since_ms = now_ms - calibration::WINDOW_MS;
        let seen = calibrations::of_runner(site.db.pool(), &runner.id, since_ms).await?;
        let mut view = runner_view(runner, &jobs, &seen, &readable, now_ms);
        let share = busy.get(&runner.id).copied().unwrap_or(0.0);
        view.worked =
            runner.seen_ms.map(|_| format!("At work for {} of the last day", format::percent(share)));
        views.push(view);
    }
    render(&RunnersPage {
        runners: views,
        waited: waited.p50.zip(waited.p90).map(|(half, most)| {
            let (half, most) = (format::seconds(half), format::seconds(most));
            format!("Of the last day's jobs half waited less than {half}, nine of ten less than {most}.")
        }),
        hidden: jobs.iter().any(|job| !readable.has(job.repository_id, job.private)),
        jobs: job_views(&jobs, &readable, now_ms),
        cut,
    })
}

fn job_views(jobs: &[OpenJob], readable: &Readables, now_ms: i64) -> Vec<JobView> {
    let (waiting, held): (Vec<&OpenJob>, Vec<&OpenJob>) =
        jobs.iter().partition(|open| open.job.state == JobState::Queued);
    let held = held.into_iter().map(|open| (None, open));
    let waiting = waiting.into_iter().enumerate().map(|(index, open)| (Some(index + 1), open));
    held.chain(waiting)
        .filter(|(_, open)| readable.has(open.repository_id, open.private))
        .map(|(position, open)| JobView {
            position,
            id: open.job.id.0.clone(),
            repository: open.repository.to_string(),
            number: open.number,
            head: open.job.head.short().into(),
            badges: standing(&open.job),
            runner: open.job.runner.as_deref().map(clean),
            created: When::new(open.job.created_ms, now_ms),
        })
        .collect()
}

/// What the last month's measurements of benchmarks against themselves come to, in words.
fn calibration_words(seen: &[Observation]) -> Option<String> {
    let summary = Summary::of(seen);
    if summary.measurements == 0 {
        return None;
    }
    let standings = [
        (summary.good, "may block"),
        (summary.noisy, "noisy, so recorded only"),
        (summary.doubtful, "doubtful, so told only"),
        (summary.uncalibrated, "measured too little"),
    ];
    let standings = standings.into_iter().filter(|(count, _)| *count > 0);
    let standings: Vec<String> =
        standings.map(|(count, words)| format!("{} {words}", format::thousands(count as f64))).collect();
    Some(format!(
        "Benchmarks: {}. {} of {} of identical code raised an alarm.",
        standings.join(", "),
        format::thousands(summary.alarms as f64),
        format::count(summary.measurements, "measurement", "measurements")
    ))
}

fn runner_view(
    runner: &Runner,
    jobs: &[OpenJob],
    seen: &[Observation],
    readable: &Readables,
    now_ms: i64,
) -> RunnerView {
    let quarantine = calibration::quarantine(seen);
    let current = jobs.iter().find(|open| open.job.runner_id.as_deref() == Some(runner.id.as_str()));
    let alive = runner.seen_ms.is_some_and(|seen_ms| seen_ms >= now_ms - RUNNER_ALIVE_MS);
    let state = match (runner.seen_ms, alive, current) {
        (None, ..) => Badge::new(Kind::Waiting, "never heard of"),
        (_, false, _) => Badge::new(Kind::Broken, "silent"),
        (_, true, _) if quarantine.is_some() => Badge::new(Kind::Unsure, "in quarantine"),
        (_, true, Some(_)) => Badge::new(Kind::Running, "at work"),
        (_, true, None) => Badge::new(Kind::Fine, "ready"),
    };
    let environment = runner.environment.clone().unwrap_or_default();
    let mut machine = Vec::new();
    if !environment.cpu_model.is_empty() {
        machine.push(clean(&environment.cpu_model));
    }
    if environment.cpu_cores > 0 {
        machine.push(format::count(environment.cpu_cores as usize, "core", "cores"));
    }
    if environment.memory_bytes > 0 {
        machine.push(format::bytes(environment.memory_bytes));
    }
    let system = [environment.os, environment.kernel, environment.rustc.unwrap_or_default()];
    RunnerView {
        name: clean(&runner.name),
        builtin: runner.builtin,
        state,
        seen: runner.seen_ms.map(|seen_ms| When::new(seen_ms, now_ms)),
        sandbox: if runner.sandboxed {
            Badge::new(Kind::Fine, "sandboxed")
        } else {
            Badge::new(Kind::Unsure, "no sandbox: own code only")
        },
        machine: machine.join(", "),
        system: system
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| clean(text))
            .collect::<Vec<_>>()
            .join(", "),
        worked: None,
        quarantine,
        calibration: calibration_words(seen),
        job: current
            .filter(|open| readable.has(open.repository_id, open.private))
            .map(|open| open.job.id.0.clone()),
    }
}
