//! The list of a repository's series, its change points, and the commits that were measured. Pure.

use super::history_series::{change_badge, state_badge};
use super::history_shown::run_of;
use super::parts::{Badge, Kind, When, clean};
use super::spark::Spark;
use crate::db::change_points::ChangePoint;
use crate::db::history_commits::HistoryCommit;
use crate::db::points::{Link, Point};
use crate::db::quarantined_benchmarks::Quarantined;
use crate::db::references::Reference;
use crate::db::series::{Key, Series};
use crate::format;
use crate::history::linked::linked;
use crate::judgement::Acceptance;
use crate::pull::Repository;
use askama::Template;
use perfsuite::model::Metric;
use std::collections::BTreeMap;

/// Change points on the page, the newest.
pub const CHANGES: i64 = 20;
/// Commits on the page, the newest.
pub const COMMITS: i64 = 20;

pub struct Facts<'a> {
    pub repository: &'a Repository,
    pub listed: &'a [(Series, Vec<Point>, Vec<Link>)],
    /// Series that the filter leaves.
    pub matching: usize,
    pub sample: bool,
    pub after: usize,
    pub wanted: &'a str,
    pub changes: &'a [(ChangePoint, Key)],
    /// The commits of those changes.
    pub changed: &'a [HistoryCommit],
    /// By change point.
    pub accepted: &'a BTreeMap<String, Acceptance>,
    pub quarantined: &'a [Quarantined],
    pub commits: &'a [HistoryCommit],
    pub reference: Option<&'a Reference>,
    pub now_ms: i64,
}

#[derive(Template)]
#[template(path = "pages/history.html")]
pub struct HistoryPage {
    name: String,
    branch: String,
    sample: bool,
    reference: Option<(String, String)>,
    changes: Vec<ChangeRow>,
    series: Vec<SeriesRow>,
    matching: String,
    wanted: String,
    newer: Option<String>,
    older: Option<String>,
    commits: Vec<CommitRow>,
}

struct ChangeRow {
    title: String,
    address: String,
    badge: Badge,
    state: Badge,
    accepted: Option<Badge>,
    commit: String,
    found: When,
}

struct SeriesRow {
    number: i64,
    suite: String,
    benchmark: String,
    metric: &'static str,
    held: Option<Badge>,
    address: String,
    value: String,
    over: String,
    spark: Option<Spark>,
}

struct CommitRow {
    short: String,
    subject: String,
    author: String,
    pull: Option<u64>,
    when: When,
    runs: Vec<(&'static str, String)>,
}

/// The page of a series.
pub fn address(name: &str, key: &Key) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
    format!("/{name}/history?{query}")
}

/// A series' metric; one of another program's has no unit.
pub fn metric(key: &Key) -> Metric {
    serde_json::from_value(key.metric.clone().into()).unwrap_or(Metric::Own)
}

pub fn page(facts: &Facts<'_>) -> HistoryPage {
    let name = facts.repository.name.to_string();
    let page = |after: usize| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", facts.wanted)
            .append_pair("after", &after.to_string())
            .finish();
        format!("/{name}/history?{query}")
    };
    let end = facts.after + facts.listed.len();
    HistoryPage {
        branch: clean(&facts.repository.default_branch),
        sample: facts.sample,
        reference: facts
            .reference
            .map(|reference| (clean(&reference.name), reference.sha.short().to_owned())),
        changes: facts.changes.iter().map(|(change, key)| change_row(facts, &name, change, key)).collect(),
        series: facts.listed.iter().map(|listed| series_row(facts, &name, listed)).collect(),
        matching: format::count(facts.matching, "series", "series"),
        wanted: clean(facts.wanted),
        newer: (facts.after > 0).then(|| page(facts.after.saturating_sub(super::history::LISTED))),
        older: (end < facts.matching).then(|| page(end)),
        commits: facts.commits.iter().map(|commit| commit_row(commit, facts.now_ms)).collect(),
        name,
    }
}

fn change_row(facts: &Facts<'_>, name: &str, change: &ChangePoint, key: &Key) -> ChangeRow {
    let commit = facts.changed.iter().find(|commit| commit.position == change.position);
    ChangeRow {
        title: clean(&format!("{} {}", key.benchmark, metric(key).title())),
        address: address(name, key),
        badge: change_badge(metric(key), change.size),
        state: state_badge(change.state),
        accepted: facts.accepted.contains_key(&change.id).then(|| Badge::new(Kind::Fine, "accepted")),
        commit: commit
            .map_or_else(|| format!("commit {}", change.position), |commit| commit.sha.short().to_owned()),
        found: When::new(change.found_ms, facts.now_ms),
    }
}

fn series_row(
    facts: &Facts<'_>,
    name: &str,
    (series, points, links): &(Series, Vec<Point>, Vec<Link>),
) -> SeriesRow {
    let metric = metric(&series.key);
    let over = linked(points, links);
    let value = points.iter().rev().find_map(|point| point.value);
    let drawn: Vec<(i64, f64)> = over.iter().map(|point| (point.position, point.ratio.ratio)).collect();
    SeriesRow {
        number: series.id,
        suite: clean(&series.key.suite),
        benchmark: clean(&series.key.benchmark),
        metric: metric.title(),
        held: facts
            .quarantined
            .iter()
            .any(|held| held.suite == series.key.suite && held.benchmark == series.key.benchmark)
            .then(|| Badge::new(Kind::Unsure, "in quarantine")),
        address: address(name, &series.key),
        value: value.map_or_else(|| format::NONE.into(), |value| format::value(metric, value)),
        over: over
            .last()
            .map_or_else(|| format::NONE.into(), |point| format::change(point.ratio.ratio - 1.0)),
        spark: Spark::of(&drawn),
    }
}

fn commit_row(commit: &HistoryCommit, now_ms: i64) -> CommitRow {
    let mut runs = Vec::new();
    if let Some(job) = run_of(commit) {
        let both = commit.parent_job == commit.reference_job;
        let word = match (&commit.parent_job, both) {
            (Some(_), true) => "against parent and reference",
            (Some(_), false) => "against its parent",
            (None, _) => "against the reference",
        };
        runs.push((word, job.to_owned()));
    }
    if let (Some(parent), Some(reference)) = (&commit.parent_job, &commit.reference_job)
        && parent != reference
    {
        runs.push(("against the reference", reference.clone()));
    }
    CommitRow {
        short: commit.sha.short().into(),
        subject: clean(&commit.subject),
        author: clean(&commit.author),
        pull: commit.pull,
        when: When::new(commit.committed_ms, now_ms),
        runs,
    }
}
