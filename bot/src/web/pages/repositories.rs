//! `/`: what needs attention first, then every public repository.

use super::error::PageError;
use super::history_series::change_badge;
use super::parts::{Badge, Kind, When, clean};
use super::pull_line::PullLine;
use super::{Page, Site, access, history_list, render};
use crate::calibration;
use crate::db::overview::{self, OpenChange, RepositorySummary};
use crate::db::{calibrations, runners, waiting};
use crate::format;
use crate::measures::DAY_MS;
use crate::measures::health::Targets;
use crate::runs::RUNNER_ALIVE_MS;
use askama::Template;
use axum::extract::State;

/// Repositories listed; an organisation with more has the address bar.
const REPOSITORIES_MAX: i64 = 200;
/// Pull requests that need attention: more than this is no list that anybody works through.
const ATTENTION_MAX: i64 = 20;

/// Changes of default branches that nobody accepted: as long as anybody can be expected to remember them.
const CHANGES_DAYS: i64 = 30;
const CHANGES_MAX: i64 = 10;

/// Pull requests without an answer: the longest wait first.
const WAITING_MAX: i64 = 10;

#[derive(Template)]
#[template(path = "pages/repositories.html")]
struct RepositoriesPage {
    attention: Vec<PullLine>,
    /// Default branches that got slower, which nobody has accepted.
    changes: Vec<ChangeLine>,
    /// Runners that do not work as they should.
    runners: Vec<RunnerLine>,
    /// Pull requests that nobody has answered in time.
    waiting: Vec<WaitingLine>,
    repositories: Vec<Line>,
    /// More than the list shows.
    cut: bool,
}

struct ChangeLine {
    repository: String,
    title: String,
    address: String,
    badge: Badge,
    found: When,
}

struct RunnerLine {
    name: String,
    state: Badge,
    why: String,
}

struct WaitingLine {
    repository: String,
    number: u64,
    title: String,
    author: String,
    opened: When,
}

struct Line {
    name: String,
    default_branch: String,
    open_pulls: i64,
    runs: i64,
    active: i64,
    blocked: i64,
    last: When,
}

pub async fn show(State(site): State<Site>) -> Page {
    let now_ms = site.clock.now_ms();
    let readable = access::readable(&site).await?;
    let attention = overview::attention(&site.db, &readable, ATTENTION_MAX).await?;
    let changes_since_ms = now_ms - CHANGES_DAYS * DAY_MS;
    let changes = overview::open_changes(&site.db, &readable, changes_since_ms, CHANGES_MAX).await?;
    let mut repositories = overview::repositories(&site.db, &readable, REPOSITORIES_MAX + 1).await?;
    let cut = repositories.len() as i64 > REPOSITORIES_MAX;
    repositories.truncate(REPOSITORIES_MAX as usize);
    let waiting_since_ms = now_ms - i64::from(Targets::default().triage_days) * DAY_MS;
    let waiting = waiting::unanswered(&site.db, &readable, waiting_since_ms, WAITING_MAX).await?;
    render(&RepositoriesPage {
        runners: broken_runners(&site, now_ms).await?,
        waiting: waiting
            .into_iter()
            .map(|pull| WaitingLine {
                repository: pull.repository.to_string(),
                number: pull.number,
                title: clean(&pull.title),
                author: clean(&pull.author),
                opened: When::new(pull.opened_ms, now_ms),
            })
            .collect(),
        changes: changes.iter().map(|change| change_line(change, now_ms)).collect(),
        attention: attention.iter().map(|pull| PullLine::new(pull, now_ms)).collect(),
        repositories: repositories.iter().map(|repository| line(repository, now_ms)).collect(),
        cut,
    })
}

fn change_line(change: &OpenChange, now_ms: i64) -> ChangeLine {
    let (name, metric) = (change.repository.to_string(), history_list::metric(&change.key));
    ChangeLine {
        title: clean(&format!("{} {}", change.key.benchmark, metric.title())),
        address: history_list::address(&name, &change.key),
        badge: change_badge(metric, change.size),
        found: When::new(change.found_ms, now_ms),
        repository: name,
    }
}

/// Silent ones, and those in quarantine.
async fn broken_runners(site: &Site, now_ms: i64) -> Result<Vec<RunnerLine>, PageError> {
    let mut broken = Vec::new();
    for runner in runners::all(&site.db).await?.into_iter().filter(|runner| runner.revoked_ms.is_none()) {
        let Some(seen_ms) = runner.seen_ms else { continue };
        let name = clean(&runner.name);
        if seen_ms < now_ms - RUNNER_ALIVE_MS {
            let why = format!("last heard of {}", format::ago(seen_ms, now_ms));
            broken.push(RunnerLine { name, state: Badge::new(Kind::Broken, "silent"), why });
            continue;
        }
        let since_ms = now_ms - calibration::WINDOW_MS;
        let seen = calibrations::of_runner(site.db.pool(), &runner.id, since_ms).await?;
        if let Some(why) = calibration::quarantine(&seen) {
            broken.push(RunnerLine { name, state: Badge::new(Kind::Unsure, "in quarantine"), why });
        }
    }
    Ok(broken)
}

fn line(repository: &RepositorySummary, now_ms: i64) -> Line {
    Line {
        name: repository.name.to_string(),
        default_branch: clean(&repository.default_branch),
        open_pulls: repository.open_pulls,
        runs: repository.runs,
        active: repository.active,
        blocked: repository.blocked,
        last: When::new(repository.last_ms, now_ms),
    }
}
