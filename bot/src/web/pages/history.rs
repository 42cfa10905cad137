//! `/{owner}/{name}/history`: what benchmarks cost along the default branch; one series as a chart, CSV and JSON. CSV and
//! JSON without a series list what there is.

use super::access::AtRepository;
use super::error::PageError;
use super::history_export::{self, Shown};
use super::history_list::{self, HistoryPage};
use super::history_series::{self, Asked, SeriesPage};
use super::history_shown::{self, Chart, Facts, Other, View, Window};
use super::spark;
use super::{Site, render};
use crate::db::history_commits::HistoryCommit;
use crate::db::renamed_benchmarks::series_called;
use crate::db::series::{self, Key, Series};
use crate::db::{
    accepted_changes, bisects, change_points, environments, history_commits, points, quarantined_benchmarks,
    references,
};
use crate::history::linked::linked;
use crate::pull::Repository;
use crate::web::frame;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use perfsuite::model::Environment;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Series on one page of the list.
pub const LISTED: usize = 50;
/// Commits that a sparkline goes back.
const SPARK_COMMITS: i64 = 60;
/// Series in one chart beside the first: as many as lines can be told apart.
const OTHERS_MAX: usize = 4;
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
    /// Numbers of series that are drawn beside it.
    #[serde(default)]
    with: String,
    /// Of the list: what a name must have in it.
    #[serde(default)]
    q: String,
    /// Of the list: series that were on the pages before.
    after: Option<usize>,
}

impl Choice {
    fn key(&self) -> Option<Key> {
        // PostgreSQL's text has no U+0000.
        let named = |text: &String| !text.is_empty() && !text.contains('\0');
        let given = [&self.suite, &self.benchmark, &self.metric].into_iter().all(named);
        given.then(|| Key {
            suite: self.suite.clone(),
            benchmark: self.benchmark.clone(),
            metric: self.metric.clone(),
        })
    }

    fn others(&self) -> Vec<i64> {
        numbers(self.with.split(','))
    }

    fn window(&self) -> Window {
        Window { from: self.from, to: self.to }
    }
}

/// Each number once, as many as one chart has and one more.
fn numbers<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    for number in texts.filter_map(|text| text.trim().parse().ok()) {
        if !all.contains(&number) && all.len() <= OTHERS_MAX {
            all.push(number);
        }
    }
    all
}

/// `/{owner}/{name}/history/together?with=…`: series that were chosen on the list, in one chart.
pub async fn together(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    let chosen: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "with")
        .map(|(_, number)| number.into_owned())
        .collect();
    let mut chosen = numbers(chosen.iter().map(String::as_str)).into_iter();
    let first = match chosen.next() {
        Some(first) => of_repository(&site, &repository, first).await?,
        None => None,
    };
    let name = repository.name.to_string();
    let to = match first {
        Some(first) => {
            let rest: Vec<String> = chosen.map(|number| number.to_string()).collect();
            format!("{}&with={}", history_list::address(&name, &first.key), rest.join(","))
        }
        None => format!("/{name}/history"),
    };
    Ok(Redirect::to(&to).into_response())
}

/// A series of this repository by its number; those of others are none of its visitors' business.
async fn of_repository(
    site: &Site,
    repository: &Repository,
    number: i64,
) -> Result<Option<Series>, PageError> {
    let found = series::by_id(site.db.pool(), number).await?;
    Ok(found.filter(|series| series.repository == repository.id))
}

/// What is drawn beside a chart, at the same commits.
async fn others(
    site: &Site,
    repository: &Repository,
    choice: &Choice,
    facts: &Facts,
    chart: &Chart,
) -> Result<Vec<Other>, PageError> {
    let pool = site.db.pool();
    let positions: Vec<i64> = chart.drawn.iter().map(|drawn| drawn.position).collect();
    let mut others = Vec::new();
    for number in choice.others().into_iter().filter(|number| *number != facts.series.id).take(OTHERS_MAX) {
        let Some(series) = of_repository(site, repository, number).await? else { continue };
        let points = points::levels_at(pool, number, chart.view.figure(), &positions).await?;
        let links = points::links(pool, number).await?;
        let drawn = history_shown::figures(chart.view, &points, &links);
        others.push(Other { series, drawn });
    }
    Ok(others)
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
            let (facts, chart) = seen(&site, &repository, &key, &choice).await?;
            let asked = Asked {
                public_url: site.access.public_url(),
                csrf: csrf(&site, &repository).await,
                now_ms: site.clock.now_ms(),
            };
            let page: SeriesPage = history_series::page(&repository, &facts, &chart, asked);
            Ok(render(&page)?.into_response())
        }
        None => Ok(render(&list(&site, &repository, &choice).await?)?.into_response()),
    }
}

/// For the forms of somebody who may say something of the history.
async fn csrf(site: &Site, repository: &Repository) -> Option<String> {
    let visitor = frame::visitor()?;
    site.access.may_command(repository, &visitor.person).await.then_some(visitor.csrf)
}

/// What is known of a series apart from its points and their commits. What a benchmark was called before leads to it.
async fn known(site: &Site, repository: &Repository, key: &Key, window: Window) -> Result<Facts, PageError> {
    let pool = site.db.pool();
    let series = series_called(pool, repository.id, key).await?.ok_or(PageError::NotFound)?;
    let changes = change_points::of_series(pool, series.id).await?;
    Ok(Facts {
        points: Vec::new(),
        links: points::links(pool, series.id).await?,
        accepted: if changes.is_empty() {
            BTreeMap::new()
        } else {
            accepted_changes::of_series(pool, series.id).await?
        },
        quarantined: quarantined_benchmarks::of(
            pool,
            repository.id,
            &series.key.suite,
            &series.key.benchmark,
        )
        .await?,
        searches: if changes.is_empty() {
            BTreeMap::new()
        } else {
            bisects::of_series(pool, series.id).await?
        },
        changes,
        commits: Vec::new(),
        environments: BTreeMap::new(),
        references: references::all(pool, repository.id).await?,
        window,
        ends: points::ends(pool, series.id).await?.unwrap_or_default(),
        series,
    })
}

/// What the page of a series shows: of a long one not every point, and of the commits only those that it names.
async fn seen(
    site: &Site,
    repository: &Repository,
    key: &Key,
    choice: &Choice,
) -> Result<(Facts, Chart), PageError> {
    let pool = site.db.pool();
    let mut facts = known(site, repository, key, choice.window()).await?;
    let (from, to, limit) = facts.window.bounds();
    facts.points = points::between(pool, facts.series.id, from, to, history_series::ROWS).await?;
    let view = View::from_query(&choice.view, &facts.points);
    let levels = points::levels(pool, facts.series.id, view.figure(), from, to, limit).await?;
    let mut chart = Chart::of(view, &levels, &facts.links, &facts.changes);
    if view != View::Raw {
        let drawn: Vec<i64> = chart.drawn.iter().map(|drawn| drawn.position).collect();
        chart.give_intervals(&points::figures_at(pool, facts.series.id, view.figure(), &drawn).await?);
    }
    chart.others = others(site, repository, choice, &facts, &chart).await?;
    let mut named: Vec<i64> = chart.drawn.iter().map(|drawn| drawn.position).collect();
    named.extend(facts.points.iter().map(|point| point.position));
    named.extend(facts.changes.iter().flat_map(|change| [change.before, change.position]));
    facts.commits = history_commits::at(pool, repository.id, &named).await?;
    facts.environments = environments_of(site, &facts.commits).await?;
    Ok((facts, chart))
}

/// Every point of a window, with its commit.
async fn whole(site: &Site, repository: &Repository, key: &Key, window: Window) -> Result<Facts, PageError> {
    let pool = site.db.pool();
    let mut facts = known(site, repository, key, window.whole()).await?;
    let (from, to, limit) = facts.window.bounds();
    facts.points = points::between(pool, facts.series.id, from, to, limit).await?;
    let first = facts.points.first().map_or(0, |point| point.position);
    let last = facts.points.last().map_or(-1, |point| point.position);
    let mut commits = history_commits::between(pool, repository.id, first, last).await?;
    let outside = facts.changes.iter().map(|change| change.position);
    let outside: Vec<i64> = outside.filter(|position| !(first..=last).contains(position)).collect();
    commits.extend(history_commits::at(pool, repository.id, &outside).await?);
    commits.sort_by_key(|commit| commit.position);
    facts.commits = commits;
    Ok(facts)
}

async fn environments_of(
    site: &Site,
    commits: &[HistoryCommit],
) -> Result<BTreeMap<i64, Environment>, PageError> {
    let mut known = BTreeMap::new();
    for id in commits.iter().filter_map(|commit| commit.environment) {
        if let std::collections::btree_map::Entry::Vacant(place) = known.entry(id)
            && let Some(environment) = environments::get(site.db.pool(), id).await?
        {
            place.insert(environment);
        }
    }
    Ok(known)
}

async fn list(site: &Site, repository: &Repository, choice: &Choice) -> Result<HistoryPage, PageError> {
    let pool = site.db.pool();
    // PostgreSQL's text has no U+0000.
    let wanted: String = choice.q.chars().filter(|c| *c != '\0').take(FILTER_MAX_CHARS).collect();
    let (matching, sample) = series::count(pool, repository.id, &wanted).await?;
    let after = choice.after.unwrap_or(0).min(matching);
    let series = series::named(pool, repository.id, &wanted, after as i64, LISTED as i64).await?;
    let changes = change_points::newest(pool, repository.id, history_list::CHANGES).await?;
    let newest = history_commits::newest(pool, repository.id, i64::MAX, history_list::COMMITS).await?;
    let changed: Vec<i64> = changes.iter().map(|(change, _)| change.position).collect();
    let changed = history_commits::at(pool, repository.id, &changed).await?;
    let from = newest.first().map_or(0, |commit| commit.position).saturating_sub(SPARK_COMMITS);
    let ids: Vec<i64> = series.iter().map(|series| series.id).collect();
    let mut points = points::recent(pool, &ids, from).await?;
    let mut links = points::links_of(pool, &ids).await?;
    let listed: Vec<_> = series
        .into_iter()
        .map(|series| {
            let (points, links) = (points.remove(&series.id), links.remove(&series.id));
            (series, points.unwrap_or_default(), links.unwrap_or_default())
        })
        .collect();
    let references = references::all(pool, repository.id).await?;
    let now_ms = site.clock.now_ms();
    Ok(history_list::page(&history_list::Facts {
        repository,
        listed: &listed,
        matching,
        sample,
        after,
        wanted: &wanted,
        changes: &changes,
        changed: &changed,
        accepted: &accepted_changes::of_repository(pool, repository.id).await?,
        quarantined: &quarantined_benchmarks::at(pool, repository.id, now_ms).await?,
        commits: &newest,
        reference: references.last(),
        now_ms,
    }))
}

/// `/{owner}/{name}/history.svg`: where a series went lately, for a README.
pub async fn svg(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(choice) = choice.unwrap_or_default();
    let key = choice.key().ok_or(PageError::NotFound)?;
    let pool = site.db.pool();
    let series = series_called(pool, repository.id, &key).await?.ok_or(PageError::NotFound)?;
    let points = points::between(pool, series.id, 0, i64::MAX, SPARK_COMMITS).await?;
    let links = points::links(pool, series.id).await?;
    let references = references::all(pool, repository.id).await?;
    let reference = references.last().map(|reference| reference.name.as_str());
    let drawing = spark::Alone::of(&series.key, reference, &linked(&points, &links));
    Ok(super::badge::picture(&repository, drawing.to_string()))
}

/// `/{owner}/{name}/history.csv`
pub async fn csv(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(choice) = choice.unwrap_or_default();
    let text = match choice.key() {
        Some(key) => history_export::csv(&whole(&site, &repository, &key, choice.window()).await?),
        None => history_export::names_csv(&names(&site, &repository).await?),
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

/// The same for programs.
pub async fn shown(site: &Site, repository: &Repository, choice: &Choice) -> Result<Shown, PageError> {
    Ok(match choice.key() {
        Some(key) => {
            let facts = whole(site, repository, &key, choice.window()).await?;
            Shown::One(Box::new(history_export::series(&facts)))
        }
        None => Shown::of_names(names(site, repository).await?),
    })
}
