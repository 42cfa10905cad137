//! One series as it is shown: what the chart, the JSON and the CSV have of it. Pure.

use super::parts::clean;
use crate::db::bisects::Bisect;
use crate::db::change_points::{ChangePoint, State};
use crate::db::history_commits::HistoryCommit;
use crate::db::points::{self, Link, Point, Ratio};
use crate::db::references::Reference;
use crate::db::series;
use crate::format;
use crate::history::bisect::Outcome;
use crate::history::linked::linked;
use perfsuite::model::{Environment, Metric};
use serde::Serialize;
use std::collections::BTreeMap;

/// Points that a chart begins with, the newest.
const POINTS_FIRST: i64 = 500;
/// Points that a chart draws; of more, every so-many-th, and those at change points.
const POINTS_DRAWN: usize = 1_500;

/// Everything that is known of one series in a window.
pub struct Facts {
    pub series: series::Series,
    /// Oldest first.
    pub points: Vec<Point>,
    pub links: Vec<Link>,
    pub changes: Vec<ChangePoint>,
    /// By change point.
    pub searches: BTreeMap<String, Bisect>,
    pub commits: Vec<HistoryCommit>,
    pub environments: BTreeMap<i64, Environment>,
    pub references: Vec<Reference>,
    pub window: Window,
}

impl Facts {
    pub fn metric(&self) -> Metric {
        // What an older or newer program stored under another name is a number without a unit.
        serde_json::from_value(self.series.key.metric.clone().into()).unwrap_or(Metric::Own)
    }

    pub fn commit(&self, position: i64) -> Option<&HistoryCommit> {
        let at = self.commits.binary_search_by_key(&position, |commit| commit.position).ok()?;
        self.commits.get(at)
    }
}

/// Positions that are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Window {
    /// First and last position, and how many points at most.
    pub fn bounds(self) -> (i64, i64, i64) {
        match (self.from, self.to) {
            (None, None) => (0, i64::MAX, POINTS_FIRST),
            (from, to) => (from.unwrap_or(0), to.unwrap_or(i64::MAX), points::READ_MAX),
        }
    }

    /// The same, from the first commit on where nothing else is said.
    pub fn whole(self) -> Self {
        Self { from: self.from.or(Some(0)), to: self.to }
    }
}

/// Which figure a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Reference,
    Parent,
    Raw,
}

impl View {
    pub const ALL: [View; 3] = [View::Reference, View::Parent, View::Raw];

    /// What is asked for; else the first one that has something to show.
    pub fn from_query(text: &str, facts: &Facts) -> Self {
        let asked = Self::ALL.into_iter().find(|view| view.query() == text);
        asked.unwrap_or_else(|| {
            let shows = |view: &View| drawn(facts, *view).iter().any(|drawn| drawn.y.is_some());
            Self::ALL.into_iter().find(shows).unwrap_or(View::Reference)
        })
    }

    pub fn query(self) -> &'static str {
        match self {
            View::Reference => "reference",
            View::Parent => "parent",
            View::Raw => "raw",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            View::Reference => "to the reference",
            View::Parent => "to the parent",
            View::Raw => "raw",
        }
    }
}

/// A point of a chart. Ratios are told as changes: 0.03 is 3 % more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    pub position: i64,
    pub y: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The points of a view, oldest first, thinned where there are too many for a screen.
pub fn drawn(facts: &Facts, view: View) -> Vec<Drawn> {
    let of = |position, ratio: Option<Ratio>| Drawn {
        position,
        y: ratio.map(|ratio| ratio.ratio - 1.0),
        low: ratio.map(|ratio| ratio.low - 1.0),
        high: ratio.map(|ratio| ratio.high - 1.0),
    };
    let all: Vec<Drawn> = match view {
        View::Reference => {
            let linked = linked(&facts.points, &facts.links);
            linked.iter().map(|point| of(point.position, Some(point.ratio))).collect()
        }
        View::Parent => facts.points.iter().map(|point| of(point.position, point.parent)).collect(),
        View::Raw => {
            let raw = facts.points.iter();
            raw.map(|point| Drawn { y: point.value, ..of(point.position, None) }).collect()
        }
    };
    thinned(all, &facts.changes)
}

fn thinned(all: Vec<Drawn>, changes: &[ChangePoint]) -> Vec<Drawn> {
    let step = all.len().div_ceil(POINTS_DRAWN).max(1);
    let marked =
        |position: i64| changes.iter().any(|change| change.position == position || change.before == position);
    let last = all.len().saturating_sub(1);
    let kept = all.into_iter().enumerate();
    kept.filter(|(i, point)| i % step == 0 || *i == last || marked(point.position))
        .map(|(_, point)| point)
        .collect()
}

/// What the JSON answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Shown {
    One(Box<Series>),
    All { series: Vec<Named> },
}

/// What a series is asked for by.
#[derive(Debug, Serialize)]
pub struct Named {
    suite: String,
    benchmark: String,
    metric: String,
}

impl Shown {
    pub fn of_names(keys: Vec<series::Key>) -> Self {
        let named =
            |key: series::Key| Named { suite: key.suite, benchmark: key.benchmark, metric: key.metric };
        Self::All { series: keys.into_iter().map(named).collect() }
    }
}

/// The names of series as a table.
pub fn names_csv(keys: &[series::Key]) -> String {
    let line = |key: &series::Key| {
        [&key.suite, &key.benchmark, &key.metric].map(|text| quoted(&clean(text))).join(",") + "\n"
    };
    format!("suite,benchmark,metric\n{}", keys.iter().map(line).collect::<String>())
}

/// A series as JSON.
#[derive(Debug, Serialize)]
pub struct Series {
    suite: String,
    benchmark: String,
    metric: String,
    unit: perfsuite::model::Unit,
    /// Made to be looked at, not measured.
    sample: bool,
    /// What `reference` is over; ratios to earlier ones are linked to it.
    reference: Option<ReferenceShown>,
    points: Vec<PointShown>,
    changes: Vec<ChangeShown>,
}

#[derive(Debug, Serialize)]
struct ReferenceShown {
    name: String,
    commit: String,
}

#[derive(Debug, Serialize)]
struct PointShown {
    position: i64,
    commit: Option<String>,
    subject: Option<String>,
    author: Option<String>,
    pull: Option<u64>,
    committed: Option<String>,
    value: Option<f64>,
    parent: Option<RatioShown>,
    reference: Option<RatioShown>,
    run: Option<String>,
    environment: Option<i64>,
}

#[derive(Debug, Serialize)]
struct RatioShown {
    ratio: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Serialize)]
struct ChangeShown {
    /// Of the first measured commit after it.
    position: i64,
    commit: Option<String>,
    /// Of the last measured commit before it.
    before: i64,
    size: f64,
    state: &'static str,
    search: Option<Outcome>,
}

fn ratio(ratio: Ratio) -> RatioShown {
    RatioShown { ratio: ratio.ratio, low: ratio.low, high: ratio.high }
}

pub fn series(facts: &Facts) -> Series {
    let key = &facts.series.key;
    let over: BTreeMap<i64, Ratio> =
        linked(&facts.points, &facts.links).into_iter().map(|point| (point.position, point.ratio)).collect();
    let points = facts.points.iter().map(|point| {
        let commit = facts.commit(point.position);
        PointShown {
            position: point.position,
            commit: commit.map(|commit| commit.sha.to_string()),
            subject: commit.map(|commit| commit.subject.clone()),
            author: commit.map(|commit| commit.author.clone()),
            pull: commit.and_then(|commit| commit.pull),
            committed: commit.map(|commit| format::iso(commit.committed_ms)),
            value: point.value,
            parent: point.parent.map(ratio),
            reference: over.get(&point.position).copied().map(ratio),
            run: commit.and_then(|commit| run_of(commit).map(str::to_owned)),
            environment: commit.and_then(|commit| commit.environment),
        }
    });
    let standing = facts.changes.iter().filter(|change| change.state != State::Withdrawn);
    Series {
        suite: key.suite.clone(),
        benchmark: key.benchmark.clone(),
        metric: key.metric.clone(),
        unit: facts.metric().unit(),
        sample: facts.series.sample,
        reference: facts.references.last().map(|reference| ReferenceShown {
            name: reference.name.clone(),
            commit: reference.sha.to_string(),
        }),
        points: points.collect(),
        changes: standing
            .map(|change| ChangeShown {
                position: change.position,
                commit: facts.commit(change.position).map(|commit| commit.sha.to_string()),
                before: change.before,
                size: change.size,
                state: change.state.as_str(),
                search: facts.searches.get(&change.id).and_then(|search| search.outcome.clone()),
            })
            .collect(),
    }
}

/// The run whose page tells more of a commit.
pub fn run_of(commit: &HistoryCommit) -> Option<&str> {
    commit.parent_job.as_deref().or(commit.reference_job.as_deref())
}

/// The points of a series as a table; `index` and the ratio to the reference are what `perfsuite changepoints` reads.
pub fn csv(facts: &Facts) -> String {
    let over: BTreeMap<i64, Ratio> =
        linked(&facts.points, &facts.links).into_iter().map(|point| (point.position, point.ratio)).collect();
    let mut out = String::from(
        "index,commit,committed,author,pull,value,parent,parent_low,parent_high,reference,reference_low,\
         reference_high,change\n",
    );
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for point in &facts.points {
        let commit = facts.commit(point.position);
        let reference = over.get(&point.position).copied();
        let change = facts
            .changes
            .iter()
            .find(|change| change.position == point.position && change.state != State::Withdrawn);
        let three = |ratio: Option<Ratio>| {
            [ratio.map(|ratio| ratio.ratio), ratio.map(|ratio| ratio.low), ratio.map(|ratio| ratio.high)]
                .map(number)
                .join(",")
        };
        let cells = [
            point.position.to_string(),
            commit.map(|commit| commit.sha.to_string()).unwrap_or_default(),
            commit.map(|commit| format::iso(commit.committed_ms)).unwrap_or_default(),
            quoted(&commit.map(|commit| clean(&commit.author)).unwrap_or_default()),
            commit.and_then(|commit| commit.pull).map(|pull| pull.to_string()).unwrap_or_default(),
            number(point.value),
            three(point.parent),
            three(reference),
            change.map(|change| change.state.as_str()).unwrap_or_default().to_owned(),
        ];
        out += &cells.join(",");
        out.push('\n');
    }
    out
}

/// A cell of a name: quoted, and no formula to a spreadsheet.
fn quoted(text: &str) -> String {
    let text = text.replace('"', "\"\"").replace(['\n', '\r'], " ");
    let guard = if text.starts_with(['=', '+', '-', '@', '\t']) { "'" } else { "" };
    format!("\"{guard}{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_and_keeps_its_changes() {
        let point = |position| Drawn { position, y: Some(0.0), low: None, high: None };
        let change = ChangePoint {
            id: "c".into(),
            series: 1,
            position: 4_321,
            before: 4_320,
            size: 0.03,
            state: State::Confirmed,
            found_ms: 0,
            confirmed_ms: None,
        };
        let kept = thinned((0..10_000).map(point).collect(), std::slice::from_ref(&change));
        assert!(kept.len() <= POINTS_DRAWN + 3, "{}", kept.len());
        for position in [0, 4_320, 4_321, 9_999] {
            assert!(kept.iter().any(|drawn| drawn.position == position), "{position}");
        }
        assert_eq!(thinned(vec![point(7)], &[]).len(), 1);
        assert_eq!(thinned(Vec::new(), &[change]), []);
    }

    #[test]
    fn a_name_is_no_formula() {
        assert_eq!(quoted("Ada"), "\"Ada\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("a\"b\nc"), "\"a\"\"b c\"");
    }
}
