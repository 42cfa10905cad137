//! `/{owner}/{name}/compare/{base}...{head}`: what two commits differ by, from stored runs and the history; and the form
//! that asks for two.

use super::access::{AtRange, AtRepository, is_commit_name};
use super::compare_view::{self, Choice};
use super::error::PageError;
use super::{Site, history_list, render};
use crate::compared::{self, Both, Compared};
use crate::db::{history_commits, jobs, points, series};
use crate::pull::Repository;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use perfsuite::model::Sha;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    base: String,
    #[serde(default)]
    head: String,
}

/// `/{owner}/{name}/compare`: asks for two commits, and sends on to what they differ by.
pub async fn choose(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(asked) = asked.unwrap_or_default();
    let (base, head) = (asked.base.trim(), asked.head.trim());
    if is_commit_name(base) && is_commit_name(head) {
        // Digits alone: nothing in them leads elsewhere.
        let to = format!("/{}/compare/{base}...{head}", repository.name);
        return Ok(Redirect::to(&to).into_response());
    }
    let asked = !base.is_empty() || !head.is_empty();
    let lately = lately(&site, &repository).await?;
    Ok(render(&compare_view::form(&repository.name, [base, head], lately, asked))?.into_response())
}

/// Commits that the form offers, the newest.
const OFFERED: i64 = 50;

async fn lately(site: &Site, repository: &Repository) -> Result<Vec<(String, String)>, PageError> {
    let newest = history_commits::newest(site.db.pool(), repository.id, i64::MAX, OFFERED).await?;
    Ok(newest.into_iter().map(|commit| (commit.sha.to_string(), commit.subject)).collect())
}

pub async fn show(
    State(site): State<Site>,
    AtRange { repository, base, head }: AtRange,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(choice) = choice.unwrap_or_default();
    let lately = lately(&site, &repository).await?;
    let found = match (named(&site, &repository, &base).await?, named(&site, &repository, &head).await?) {
        (Named::One(base), Named::One(head)) => Ok(load(&site, &repository, base, head).await?),
        (of_base, of_head) => Err([(base.as_str(), of_base), (head.as_str(), of_head)]
            .into_iter()
            .filter_map(|(name, named)| named.complaint(name))
            .collect()),
    };
    let page = compare_view::page(&repository.name, [&base, &head], found, &choice, lately);
    Ok(render(&page)?.into_response())
}

/// The same for programs, for whom a name that is no one commit's names nothing.
pub async fn found(site: &Site, at: &AtRange) -> Result<Compared, PageError> {
    let AtRange { repository, base, head } = at;
    match (named(site, repository, base).await?, named(site, repository, head).await?) {
        (Named::One(base), Named::One(head)) => load(site, repository, base, head).await,
        _ => Err(PageError::NotFound),
    }
}

/// What a name is the beginning of.
enum Named {
    One(Sha),
    Several,
    None,
}

impl Named {
    fn complaint(&self, name: &str) -> Option<String> {
        match self {
            Named::One(_) => None,
            Named::Several => Some(format!("{name} begins several commits; give more of it.")),
            Named::None => Some(format!("No commit that was measured begins with {name}.")),
        }
    }
}

async fn named(site: &Site, repository: &Repository, name: &str) -> Result<Named, PageError> {
    let pool = site.db.pool();
    let along = history_commits::beginning(pool, repository.id, name).await?;
    let mut found: BTreeSet<Sha> = along.into_iter().map(|commit| commit.sha).collect();
    found.extend(jobs::commits_beginning(pool, repository.id, name).await?);
    let mut found = found.into_iter();
    Ok(match (found.next(), found.next()) {
        (Some(one), None) => Named::One(one),
        (Some(_), Some(_)) => Named::Several,
        (None, _) => Named::None,
    })
}

async fn load(site: &Site, repository: &Repository, base: Sha, head: Sha) -> Result<Compared, PageError> {
    let pool = site.db.pool();
    if let Some(job) = jobs::of_commits(pool, repository.id, &base, &head).await?
        && let Some(report) = &job.report
    {
        return Ok(compared::of_run(base, head, job.id.0, report));
    }
    let along = (
        history_commits::by_sha(pool, repository.id, &base).await?,
        history_commits::by_sha(pool, repository.id, &head).await?,
    );
    let (Some(of_base), Some(of_head)) = along else { return Ok(compared::of_nothing(base, head)) };
    let points = points::at_both(pool, repository.id, [of_base.position, of_head.position]).await?;
    if points.is_empty() {
        return Ok(compared::of_nothing(base, head));
    }
    let all = series::of_repository(pool, repository.id).await?;
    let moved = points.iter().filter(|(_, points)| {
        let numbers = points.each_ref().map(|point| point.as_ref().map(|point| point.reference_number));
        numbers[0] != numbers[1] && numbers.iter().all(Option::is_some)
    });
    let moved: Vec<i64> = moved.map(|(id, _)| *id).collect();
    let links: BTreeMap<i64, Vec<points::Link>> = points::links_of(pool, &moved).await?;
    let both = all.values().filter_map(|series| {
        Some(Both {
            key: &series.key,
            metric: history_list::metric(&series.key),
            points: points.get(&series.id)?,
            links: links.get(&series.id).map(Vec::as_slice).unwrap_or_default(),
        })
    });
    Ok(compared::of_history(base, head, both))
}
