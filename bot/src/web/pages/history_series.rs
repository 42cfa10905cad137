//! The page of one series: its chart, its change points, its newest points. Pure.

use super::history_shown::{Drawn, Facts, View, drawn, run_of};
use super::parts::{Badge, Kind, When, clean};
use crate::db::bisects::Bisect;
use crate::db::change_points::State;
use crate::db::history_commits::HistoryCommit;
use crate::format;
use crate::history::bisect::Outcome;
use crate::pull::Repository;
use askama::Template;
use perfsuite::model::{Direction, Metric, Sha};
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of the table below the chart, the newest.
const ROWS: usize = 30;

#[derive(Template)]
#[template(path = "pages/history_series.html")]
pub struct SeriesPage {
    name: String,
    suite: String,
    benchmark: String,
    metric: &'static str,
    sample: bool,
    views: Vec<ViewLink>,
    /// The address without the view.
    address: String,
    csv: String,
    api: String,
    /// For the chart's script; no `<` in it.
    data: String,
    shown: usize,
    /// The newest commits, and all of them.
    newest: String,
    all: String,
    reference: Option<(String, String)>,
    changes: Vec<ChangeRow>,
    rows: Vec<PointRow>,
    unlinked: usize,
}

struct ViewLink {
    title: &'static str,
    query: &'static str,
    chosen: bool,
}

struct ChangeRow {
    badge: Badge,
    state: Badge,
    commit: CommitShown,
    before: Option<String>,
    search: Option<String>,
    suspects: Vec<String>,
    found: When,
}

struct CommitShown {
    short: String,
    subject: String,
    author: String,
    pull: Option<u64>,
    run: Option<String>,
}

struct PointRow {
    commit: CommitShown,
    when: When,
    value: String,
    parent: String,
    reference: String,
    environment: Option<i64>,
}

/// What the script draws: columns, since a row each would say every name again.
#[derive(Serialize)]
struct ChartData {
    view: &'static str,
    percent: bool,
    unit: perfsuite::model::Unit,
    higher_is_better: bool,
    x: Vec<i64>,
    y: Vec<Option<f64>>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
    told: Vec<String>,
    commit: Vec<String>,
    subject: Vec<String>,
    author: Vec<String>,
    pull: Vec<Option<u64>>,
    day: Vec<String>,
    run: Vec<Option<String>>,
    environment: Vec<Option<i64>>,
    environments: BTreeMap<i64, String>,
    changes: Vec<Mark>,
}

#[derive(Serialize)]
struct Mark {
    x: i64,
    before: i64,
    worse: bool,
    confirmed: bool,
    label: String,
}

pub fn page(repository: &Repository, facts: &Facts, view: View, now_ms: i64) -> SeriesPage {
    let key = &facts.series.key;
    let metric = facts.metric();
    let name = repository.name.to_string();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
    let points = drawn(facts, view);
    let measured = facts.points.iter().filter(|point| point.reference.is_some()).count();
    let mut window = String::new();
    for (word, value) in [("from", facts.window.from), ("to", facts.window.to)] {
        if let Some(value) = value {
            window += &format!("&{word}={value}");
        }
    }
    SeriesPage {
        suite: clean(&key.suite),
        benchmark: clean(&key.benchmark),
        metric: metric.title(),
        sample: facts.series.sample,
        views: View::ALL
            .into_iter()
            .map(|choice| ViewLink { title: choice.title(), query: choice.query(), chosen: choice == view })
            .collect(),
        csv: format!("/{name}/history.csv?{query}{window}"),
        api: format!("/api/v1/repositories/{name}/history?{query}{window}"),
        address: format!("/{name}/history?{query}{window}"),
        data: data(facts, view, metric, &points),
        shown: points.iter().filter(|point| point.y.is_some()).count(),
        newest: format!("/{name}/history?{query}&view={}", view.query()),
        all: format!("/{name}/history?{query}&view={}&from=0", view.query()),
        reference: facts
            .references
            .last()
            .map(|reference| (clean(&reference.name), reference.sha.short().to_owned())),
        changes: changes(facts, metric, now_ms),
        rows: rows(facts, metric, now_ms),
        unlinked: measured.saturating_sub(crate::history::linked::linked(&facts.points, &facts.links).len()),
        name,
    }
}

/// Whether a change of this sign is for the worse.
pub fn is_worse(metric: Metric, size: f64) -> bool {
    (size > 0.0) == (metric.direction() == Direction::LowerIsBetter)
}

pub fn change_badge(metric: Metric, size: f64) -> Badge {
    let (kind, word) = match (metric, is_worse(metric, size)) {
        (Metric::Instructions | Metric::Own, true) => (Kind::Slower, "more"),
        (Metric::Instructions | Metric::Own, false) => (Kind::Faster, "less"),
        (_, true) => (Kind::Slower, "slower"),
        (_, false) => (Kind::Faster, "faster"),
    };
    Badge::new(kind, format!("{} {word}", format::change(size)))
}

pub fn state_badge(state: State) -> Badge {
    match state {
        State::Provisional => Badge::new(Kind::Unsure, "provisional"),
        State::Confirmed => Badge::new(Kind::Fine, "confirmed"),
        State::Withdrawn => Badge::new(Kind::Quiet, "withdrawn"),
    }
}

fn commit(facts: &Facts, position: i64) -> CommitShown {
    match facts.commit(position) {
        Some(commit) => known(commit),
        None => CommitShown {
            short: format!("commit {position}"),
            subject: String::new(),
            author: String::new(),
            pull: None,
            run: None,
        },
    }
}

fn known(commit: &HistoryCommit) -> CommitShown {
    CommitShown {
        short: commit.sha.short().into(),
        subject: clean(&commit.subject),
        author: clean(&commit.author),
        pull: commit.pull,
        run: run_of(commit).map(str::to_owned),
    }
}

fn changes(facts: &Facts, metric: Metric, now_ms: i64) -> Vec<ChangeRow> {
    let newest_first = facts.changes.iter().rev();
    newest_first
        .map(|change| {
            let search = facts.searches.get(&change.id);
            ChangeRow {
                badge: change_badge(metric, change.size),
                state: state_badge(change.state),
                commit: commit(facts, change.position),
                before: facts
                    .commit(change.before)
                    .filter(|before| {
                        facts
                            .commit(change.position)
                            .is_some_and(|at| at.parent.as_ref() != Some(&before.sha))
                    })
                    .map(|before| before.sha.short().to_owned()),
                search: search.map(search_words),
                suspects: search.map(suspects).unwrap_or_default(),
                found: When::new(change.found_ms, now_ms),
            }
        })
        .collect()
}

/// How the search for the commit stands.
fn search_words(search: &Bisect) -> String {
    let comparisons = format::count(search.seen.len(), "comparison", "comparisons");
    let commits = format::count(search.commits.len(), "commit", "commits");
    let measured = |change: &perfsuite::bisect::Measured| {
        format!("{} ({})", format::change(change.estimate), format::interval(change.low, change.high))
    };
    match &search.outcome {
        None => format!("searching among {commits}, {comparisons} so far"),
        Some(Outcome::Found { commit, change }) => {
            format!("{} did it: {} against its parent ({comparisons})", commit.short(), measured(change))
        }
        Some(Outcome::None { ends }) => {
            format!("the search found none: the ends differ by {} ({comparisons})", measured(ends))
        }
        Some(Outcome::Among { candidates }) => format!(
            "one of {}, of which only the last can be measured ({comparisons})",
            format::count(candidates.len(), "commit", "commits")
        ),
        Some(Outcome::Unconfirmed { commit, seen }) => format!(
            "the search led to {}, which by itself shows {}: a drift, or noise ({comparisons})",
            commit.short(),
            measured(seen)
        ),
        Some(Outcome::Broken { reason }) => format!("the search was ended: {}", clean(reason)),
    }
}

fn suspects(search: &Bisect) -> Vec<String> {
    let short = |sha: &Sha| sha.short().to_owned();
    match &search.outcome {
        Some(Outcome::Among { candidates }) => candidates.iter().map(short).collect(),
        _ => Vec::new(),
    }
}

fn rows(facts: &Facts, metric: Metric, now_ms: i64) -> Vec<PointRow> {
    let over: BTreeMap<i64, Drawn> =
        drawn(facts, View::Reference).into_iter().map(|point| (point.position, point)).collect();
    let told = |point: Option<(f64, f64, f64)>| match point {
        Some((y, low, high)) => format!("{} ({})", format::change(y), format::interval(low, high)),
        None => format::NONE.into(),
    };
    let newest_first = facts.points.iter().rev().take(ROWS);
    newest_first
        .map(|point| {
            let commit_row = facts.commit(point.position);
            let parent = point.parent.map(|ratio| (ratio.ratio - 1.0, ratio.low - 1.0, ratio.high - 1.0));
            let reference =
                over.get(&point.position).and_then(|drawn| Some((drawn.y?, drawn.low?, drawn.high?)));
            PointRow {
                commit: commit(facts, point.position),
                when: When::new(commit_row.map_or(0, |commit| commit.committed_ms), now_ms),
                value: point.value.map_or_else(|| format::NONE.into(), |value| format::value(metric, value)),
                parent: told(parent),
                reference: told(reference),
                environment: commit_row.and_then(|commit| commit.environment),
            }
        })
        .collect()
}

fn data(facts: &Facts, view: View, metric: Metric, points: &[Drawn]) -> String {
    let of = |position: i64| facts.commit(position);
    let percent = view != View::Raw;
    let scale = if percent { 100.0 } else { 1.0 };
    let scaled = |value: Option<f64>| value.map(|value| value * scale);
    let told = |point: &Drawn| match (point.y, point.low, point.high) {
        (Some(y), Some(low), Some(high)) => {
            format!("{} ({})", format::change(y), format::interval(low, high))
        }
        (Some(y), ..) => format::value(metric, y),
        _ => "not measured".into(),
    };
    let text = |position: i64, of_commit: &dyn Fn(&HistoryCommit) -> String| {
        of(position).map(of_commit).unwrap_or_default()
    };
    let standing = facts.changes.iter().filter(|change| change.state != State::Withdrawn);
    let data = ChartData {
        view: view.query(),
        percent,
        unit: metric.unit(),
        higher_is_better: metric.direction() == Direction::HigherIsBetter,
        x: points.iter().map(|point| point.position).collect(),
        y: points.iter().map(|point| scaled(point.y)).collect(),
        low: points.iter().map(|point| scaled(point.low)).collect(),
        high: points.iter().map(|point| scaled(point.high)).collect(),
        told: points.iter().map(told).collect(),
        commit: points.iter().map(|p| text(p.position, &|c| c.sha.short().to_owned())).collect(),
        subject: points.iter().map(|p| text(p.position, &|c| clean(&c.subject))).collect(),
        author: points.iter().map(|p| text(p.position, &|c| clean(&c.author))).collect(),
        pull: points.iter().map(|p| of(p.position).and_then(|commit| commit.pull)).collect(),
        day: points
            .iter()
            .map(|p| text(p.position, &|c| format::iso(c.committed_ms)[..10].to_owned()))
            .collect(),
        run: points.iter().map(|p| of(p.position).and_then(run_of).map(str::to_owned)).collect(),
        environment: points.iter().map(|p| of(p.position).and_then(|commit| commit.environment)).collect(),
        environments: facts
            .environments
            .iter()
            .map(|(id, environment)| {
                let words = [&environment.cpu_model, &environment.kernel];
                let words: Vec<String> =
                    words.into_iter().filter(|text| !text.is_empty()).map(|text| clean(text)).collect();
                (*id, words.join(", "))
            })
            .collect(),
        changes: standing
            .map(|change| Mark {
                x: change.position,
                before: change.before,
                worse: is_worse(metric, change.size),
                confirmed: change.state == State::Confirmed,
                label: format!("{}, {}", format::change(change.size), change.state.as_str()),
            })
            .collect(),
    };
    // Within a script element nothing may look like its end, or like a comment.
    crate::db::to_json(&data).replace('<', "\\u003c")
}
