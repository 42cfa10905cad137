//! `/`: what needs attention first, then every public repository.

use super::parts::When;
use super::pull_line::PullLine;
use super::{Page, Site, render};
use crate::db::overview::{self, RepositorySummary};
use askama::Template;
use axum::extract::State;

/// Repositories listed; an organisation with more has the address bar.
const REPOSITORIES_MAX: i64 = 200;
/// Pull requests that need attention: more than this is no list that anybody works through.
const ATTENTION_MAX: i64 = 20;

#[derive(Template)]
#[template(path = "pages/repositories.html")]
struct RepositoriesPage {
    attention: Vec<PullLine>,
    repositories: Vec<Line>,
    /// More than the list shows.
    cut: bool,
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
    let attention = overview::attention(&site.db, ATTENTION_MAX).await?;
    let mut repositories = overview::repositories(&site.db, REPOSITORIES_MAX + 1).await?;
    let cut = repositories.len() as i64 > REPOSITORIES_MAX;
    repositories.truncate(REPOSITORIES_MAX as usize);
    render(&RepositoriesPage {
        attention: attention.iter().map(|pull| PullLine::new(pull, now_ms)).collect(),
        repositories: repositories.iter().map(|repository| line(repository, now_ms)).collect(),
        cut,
    })
}

fn line(repository: &RepositorySummary, now_ms: i64) -> Line {
    Line {
        name: repository.name.to_string(),
        default_branch: super::parts::clean(&repository.default_branch),
        open_pulls: repository.open_pulls,
        runs: repository.runs,
        active: repository.active,
        blocked: repository.blocked,
        last: When::new(repository.last_ms, now_ms),
    }
}
