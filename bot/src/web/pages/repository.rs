//! `/{owner}/{name}`: a repository's pull requests, the newest first.

use super::access::AtRepository;
use super::pull_line::PullLine;
use super::{Page, Site, render};
use crate::db::overview;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

/// Pull requests on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "pages/repository.html")]
struct RepositoryPage {
    name: String,
    default_branch: String,
    pulls: Vec<PullLine>,
    /// The first page, where an empty list means that there is nothing at all.
    first: bool,
    /// Where the next page begins.
    older: Option<u64>,
}

#[derive(Deserialize)]
pub struct Window {
    before: Option<u64>,
}

pub async fn show(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    window: Result<Query<Window>, QueryRejection>,
) -> Page {
    // A page number that is none shows the first page.
    let before = window.ok().and_then(|Query(window)| window.before);
    let now_ms = site.clock.now_ms();
    let mut pulls =
        overview::pulls(&site.db, repository.id, before.unwrap_or(u64::MAX), PAGE as i64 + 1).await?;
    let more = pulls.len() > PAGE;
    pulls.truncate(PAGE);
    render(&RepositoryPage {
        name: repository.name.to_string(),
        default_branch: super::parts::clean(&repository.default_branch),
        older: pulls.last().filter(|_| more).map(|last| last.row.pull.number),
        pulls: pulls.iter().map(|pull| PullLine::new(pull, now_ms)).collect(),
        first: before.is_none(),
    })
}
