//! `/{owner}/{name}/history`: what benchmarks cost along the default branch; one series as a chart, CSV and JSON. CSV and
//! JSON without a series list what there is.

use super::access::AtRepository;
use super::error::{ApiError, PageError};
use super::history_list::{self, HistoryPage};
use super::history_series::{self, SeriesPage};
use super::history_shown::{self, Facts, Shown, View, Window};
use super::{Site, render};
use crate::db::change_points::ChangePoint;
use crate::db::series::{self, Key, Series};
use crate::db::{bisects, change_points, environments, history_commits, points, references};
use crate::pull::Repository;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Series on one page of the list.
pub const LISTED: usize = 100;
/// Commits that a sparkline goes back.
const SPARK_COMMITS: i64 = 60;
/// A filter's text: longer than any benchmark's name.
const FILTER_MAX_CHARS: usize = 200;

#[derive(Debug, Default, Deserialize)]
pub struct Choice {
    #[serde(default)]
    suite: String,
    #[serde(default)]
    benchmark: String,
    #[serde(default)]
    metric: String,
    #[serde(default)]
    view: String,
    /// Positions, of a zoom.
    from: Option<i64>,
    to: Option<i64>,
    /// Of the list: what a name must have in it.
    #[serde(default)]
    q: String,
    /// Of the list: series that were on the pages before.
    after: Option<usize>,
}

impl Choice {
    fn key(&self) -> Option<Key> {
        let given = !self.suite.is_empty() && !self.benchmark.is_empty() && !self.metric.is_empty();
        given.then(|| Key {
            suite: self.suite.clone(),
            benchmark: self.benchmark.clone(),
            metric: self.metric.clone(),
        })
    }

    fn window(&self) -> Window {
        Window { from: self.from, to: self.to }
    }
}

pub async fn show(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    // A query that cannot be read shows the list.
    let Query(choice) = choice.unwrap_or_default();
    match choice.key() {
        Some(key) => {
            let facts = load(&site, &repository, &key, choice.window()).await?;
            let view = View::from_query(&choice.view, &facts);
            let page: SeriesPage = history_series::page(&repository, &facts, view, site.clock.now_ms());
            Ok(render(&page)?.into_response())
        }
        None => Ok(render(&list(&site, &repository, &choice).await?)?.into_response()),
    }
}

/// Everything that is known of one series in a window.
async fn load(site: &Site, repository: &Repository, key: &Key, window: Window) -> Result<Facts, PageError> {
    let series = series::by_key(site.db.pool(), repository.id, key).await?.ok_or(PageError::NotFound)?;
    let pool = site.db.pool();
    let (from, to, limit) = window.bounds();
    let points = points::between(pool, series.id, from, to, limit).await?;
    let links = points::links(pool, series.id).await?;
    let changes = change_points::of_series(pool, series.id).await?;
    let mut searches = BTreeMap::new();
    for change in &changes {
        if let Some(search) = bisects::of_change_point(pool, &change.id).await? {
            searches.insert(change.id.clone(), search);
        }
    }
    let first = points.first().map_or(0, |point| point.position);
    let first = changes.iter().map(|change| change.before.min(change.position)).fold(first, i64::min);
    let last = points.last().map_or(-1, |point| point.position);
    let last = changes.iter().map(|change| change.position).fold(last, i64::max);
    let commits = history_commits::between(pool, repository.id, first, last).await?;
    let mut known = BTreeMap::new();
    for id in commits.iter().filter_map(|commit| commit.environment) {
        if let std::collections::btree_map::Entry::Vacant(place) = known.entry(id)
            && let Some(environment) = environments::get(pool, id).await?
        {
            place.insert(environment);
        }
    }
    let references = references::all(pool, repository.id).await?;
    Ok(Facts { series, points, links, changes, searches, commits, environments: known, references, window })
}

async fn list(site: &Site, repository: &Repository, choice: &Choice) -> Result<HistoryPage, PageError> {
    let pool = site.db.pool();
    let wanted: String = choice.q.chars().take(FILTER_MAX_CHARS).collect();
    let all: Vec<Series> = series::of_repository(pool, repository.id).await?.into_values().collect();
    let changes = change_points::of_repository(pool, repository.id).await?;
    let newest = history_commits::newest(pool, repository.id, i64::MAX, history_list::COMMITS).await?;
    let matching: Vec<&Series> = all
        .iter()
        .filter(|series| series.key.benchmark.contains(&wanted) || series.key.suite.contains(&wanted))
        .collect();
    let after = choice.after.unwrap_or(0).min(matching.len());
    let end = matching.len().min(after + LISTED);
    let tip = newest.first().map_or(0, |commit| commit.position);
    let mut listed = Vec::new();
    for series in &matching[after..end] {
        let from = tip.saturating_sub(SPARK_COMMITS);
        let points = points::between(pool, series.id, from, i64::MAX, SPARK_COMMITS).await?;
        let links = points::links(pool, series.id).await?;
        listed.push(((*series).clone(), points, links));
    }
    let mut named: Vec<(ChangePoint, Key)> = Vec::new();
    for change in changes.into_iter().take(history_list::CHANGES) {
        if let Some(series) = all.iter().find(|series| series.id == change.series) {
            named.push((change, series.key.clone()));
        }
    }
    let references = references::all(pool, repository.id).await?;
    Ok(history_list::page(&history_list::Facts {
        repository,
        listed: &listed,
        matching: matching.len(),
        sample: all.iter().any(|series| series.sample),
        after,
        wanted: &wanted,
        changes: &named,
        commits: &newest,
        reference: references.last(),
        now_ms: site.clock.now_ms(),
    }))
}

/// `/{owner}/{name}/history.csv`
pub async fn csv(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(choice) = choice.unwrap_or_default();
    let text = match choice.key() {
        Some(key) => history_shown::csv(&load(&site, &repository, &key, choice.window().whole()).await?),
        None => history_shown::names_csv(&names(&site, &repository).await?),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"history.csv\""),
    ];
    Ok((headers, text).into_response())
}

/// What series there are, by name.
async fn names(site: &Site, repository: &Repository) -> Result<Vec<Key>, PageError> {
    Ok(series::of_repository(site.db.pool(), repository.id).await?.into_keys().collect())
}

/// `GET /api/v1/repositories/{owner}/{name}/history`
pub async fn json(
    State(site): State<Site>,
    at: Result<AtRepository, PageError>,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Json<Shown>, ApiError> {
    let AtRepository(repository) = at?;
    let Query(choice) = choice.unwrap_or_default();
    Ok(Json(match choice.key() {
        Some(key) => {
            let facts = load(&site, &repository, &key, choice.window().whole()).await?;
            Shown::One(Box::new(history_shown::series(&facts)))
        }
        None => Shown::of_names(names(&site, &repository).await?),
    }))
}
