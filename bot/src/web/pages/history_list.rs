//! The list of a repository's series, its change points, and the commits that were measured. Pure.

use super::history_series::{change_badge, state_badge};
use super::history_shown::run_of;
use super::parts::{Badge, When, clean};
use crate::db::change_points::ChangePoint;
use crate::db::history_commits::HistoryCommit;
use crate::db::points::{Link, Point};
use crate::db::references::Reference;
use crate::db::series::{Key, Series};
use crate::format;
use crate::history::linked::linked;
use crate::pull::Repository;
use askama::Template;
use perfsuite::model::Metric;

/// Change points on the page, the newest.
pub const CHANGES: usize = 20;
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
    commit: String,
    found: When,
}

struct SeriesRow {
    suite: String,
    benchmark: String,
    metric: &'static str,
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

/// A small drawing of where a series went.
#[derive(Template)]
#[template(
    source = "<svg class=\"spark\" viewBox=\"0 0 120 24\" aria-hidden=\"true\" focusable=\"false\"><path d=\"{{ path }}\"/><circle cx=\"{{ x }}\" cy=\"{{ y }}\" r=\"2\"/></svg>",
    ext = "html"
)]
struct Spark {
    path: String,
    x: String,
    y: String,
}

impl askama::filters::HtmlSafe for Spark {}

impl Spark {
    /// `None` with fewer than two points.
    fn of(points: &[(i64, f64)]) -> Option<Self> {
        let ((first, _), (last, _)) = (points.first()?, points.last()?);
        let low = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        // Less than 2 % from end to end is drawn as that little.
        let middle = (low + high) / 2.0;
        let height = (high - low).max(middle.abs() * 0.02).max(f64::MIN_POSITIVE);
        let place = |(position, value): &(i64, f64)| {
            let x = 2.0 + 116.0 * (position - first) as f64 / (last - first) as f64;
            let y = 12.0 - 18.0 * (value - middle) / height;
            (format!("{x:.1}"), format!("{y:.1}"))
        };
        if points.len() < 2 || first == last {
            return None;
        }
        let places: Vec<(String, String)> = points.iter().map(place).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x} {y}")).collect();
        let (x, y) = places.last()?.clone();
        Some(Self { path: format!("M{}", path.join("L")), x, y })
    }
}

fn address(name: &str, key: &Key) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
    format!("/{name}/history?{query}")
}

fn metric(key: &Key) -> Metric {
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
        series: facts.listed.iter().map(|listed| series_row(&name, listed)).collect(),
        matching: format::count(facts.matching, "series", "series"),
        wanted: clean(facts.wanted),
        newer: (facts.after > 0).then(|| page(facts.after.saturating_sub(super::history::LISTED))),
        older: (end < facts.matching).then(|| page(end)),
        commits: facts.commits.iter().map(|commit| commit_row(commit, facts.now_ms)).collect(),
        name,
    }
}

fn change_row(facts: &Facts<'_>, name: &str, change: &ChangePoint, key: &Key) -> ChangeRow {
    let commit = facts.commits.iter().find(|commit| commit.position == change.position);
    ChangeRow {
        title: clean(&format!("{} {}", key.benchmark, metric(key).title())),
        address: address(name, key),
        badge: change_badge(metric(key), change.size),
        state: state_badge(change.state),
        commit: commit
            .map_or_else(|| format!("commit {}", change.position), |commit| commit.sha.short().to_owned()),
        found: When::new(change.found_ms, facts.now_ms),
    }
}

fn series_row(name: &str, (series, points, links): &(Series, Vec<Point>, Vec<Link>)) -> SeriesRow {
    let metric = metric(&series.key);
    let over = linked(points, links);
    let value = points.iter().rev().find_map(|point| point.value);
    let drawn: Vec<(i64, f64)> = over.iter().map(|point| (point.position, point.ratio.ratio)).collect();
    SeriesRow {
        suite: clean(&series.key.suite),
        benchmark: clean(&series.key.benchmark),
        metric: metric.title(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_needs_two_points_and_stays_in_its_box() {
        assert!(Spark::of(&[]).is_none());
        assert!(Spark::of(&[(3, 1.0)]).is_none());
        for points in [vec![(1, 1.0), (2, 1.0)], vec![(1, 1.0), (5, 2.0), (9, 1e-9)]] {
            let spark = Spark::of(&points).unwrap();
            for number in spark.path.split(['M', 'L', ' ']).filter(|part| !part.is_empty()) {
                let number: f64 = number.parse().unwrap();
                assert!((0.0..=120.0).contains(&number), "{}", spark.path);
            }
        }
    }
}
