//! The page of one series: its chart, its change points, its newest points. Pure.

use super::history_shown::{Chart, Drawn, Facts, Other, View, over, run_of};
use super::parts::{Badge, Kind, When, clean};
use super::{history_chart, history_list};
use crate::db::bisects::Bisect;
use crate::db::change_points::State;
use crate::db::history_commits::HistoryCommit;
use crate::format;
use crate::history::bisect::Outcome;
use crate::pull::Repository;
use askama::Template;
use perfsuite::model::{Direction, Metric, Sha};
use std::collections::BTreeMap;

/// Points of the table below the chart, the newest.
pub const ROWS: i64 = 30;

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
    others: Vec<OtherLine>,
    /// For the chart's script; no `<` in it.
    data: String,
    shown: usize,
    /// How many there are, where not all are drawn.
    of: Option<String>,
    /// The newest commits, and all of them.
    newest: String,
    all: String,
    reference: Option<(String, String)>,
    changes: Vec<ChangeRow>,
    rows: Vec<PointRow>,
    unlinked: usize,
    /// Markdown for a README.
    snippet: String,
    quarantined: Option<HeldLine>,
    /// Where the visitor may say something of this history.
    forms: Option<Forms>,
}

/// Where a page is asked for from, and by whom.
pub struct Asked<'a> {
    pub public_url: &'a str,
    /// For the forms of somebody who may command here.
    pub csrf: Option<String>,
    pub now_ms: i64,
}

struct HeldLine {
    by: String,
    reason: String,
    since: When,
}

/// What every form of the page has in it: the series as the database has it.
struct Forms {
    csrf: String,
    suite: String,
    benchmark: String,
    metric: String,
}

/// That a change was taken.
struct Accepted {
    by: String,
    reason: String,
    when: When,
}

/// Another series in the chart.
struct OtherLine {
    benchmark: String,
    metric: &'static str,
    suite: String,
    /// Its own page.
    address: String,
    /// This page without it.
    without: String,
}

struct ViewLink {
    title: &'static str,
    query: &'static str,
    chosen: bool,
}

struct ChangeRow {
    id: String,
    /// It is for the worse, stands, and nobody has taken it.
    open: bool,
    accepted: Option<Accepted>,
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

pub fn page(
    repository: &Repository,
    facts: &Facts,
    chart: &Chart,
    Asked { public_url, csrf, now_ms }: Asked<'_>,
) -> SeriesPage {
    let view = chart.view;
    let key = &facts.series.key;
    let metric = facts.metric();
    let name = repository.name.to_string();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
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
        address: format!("/{name}/history?{query}{window}{}", with(chart, None)),
        others: others(&name, &format!("/{name}/history?{query}{window}&view={}", view.query()), chart),
        data: history_chart::data(facts, chart, metric),
        shown: chart.drawn.len(),
        of: (chart.of > chart.drawn.len()).then(|| format::thousands(chart.of as f64)),
        newest: format!("/{name}/history?{query}&view={}", view.query()),
        all: format!("/{name}/history?{query}&view={}&from=0", view.query()),
        reference: facts
            .references
            .last()
            .map(|reference| (clean(&reference.name), reference.sha.short().to_owned())),
        changes: changes(facts, metric, now_ms),
        rows: rows(facts, metric, now_ms),
        unlinked: chart.unlinked,
        snippet: format!(
            "[![{}]({public_url}/{name}/history.svg?{query})]({public_url}/{name}/history?{query})",
            // Within the brackets of Markdown.
            clean(&key.benchmark).replace(['[', ']', '\n'], " ")
        ),
        quarantined: facts.quarantined.as_ref().map(|held| HeldLine {
            by: clean(&held.by),
            reason: clean(&held.reason),
            since: When::new(held.since_ms, now_ms),
        }),
        forms: csrf.map(|csrf| Forms {
            csrf,
            suite: key.suite.clone(),
            benchmark: key.benchmark.clone(),
            metric: key.metric.clone(),
        }),
        name,
    }
}

/// The part of an address that names the other series, all but one.
fn with(chart: &Chart, without: Option<i64>) -> String {
    let others = chart.others.iter().map(|other| other.series.id).filter(|id| Some(*id) != without);
    let numbers: Vec<String> = others.map(|id| id.to_string()).collect();
    if numbers.is_empty() { String::new() } else { format!("&with={}", numbers.join(",")) }
}

fn others(name: &str, here: &str, chart: &Chart) -> Vec<OtherLine> {
    let line = |other: &Other| OtherLine {
        benchmark: clean(&other.series.key.benchmark),
        metric: history_list::metric(&other.series.key).title(),
        suite: clean(&other.series.key.suite),
        address: history_list::address(name, &other.series.key),
        without: format!("{here}{}", with(chart, Some(other.series.id))),
    };
    chart.others.iter().map(line).collect()
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
            let accepted = facts.accepted.get(&change.id);
            ChangeRow {
                id: change.id.clone(),
                open: accepted.is_none() && change.state != State::Withdrawn && is_worse(metric, change.size),
                accepted: accepted.map(|accepted| Accepted {
                    by: clean(&accepted.by),
                    reason: clean(&accepted.reason),
                    when: When::new(accepted.at_ms, now_ms),
                }),
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
    let linked: BTreeMap<i64, Drawn> = crate::history::linked::linked(&facts.points, &facts.links)
        .into_iter()
        .map(|point| (point.position, over(point.position, point.ratio)))
        .collect();
    let told = |point: Option<(f64, f64, f64)>| match point {
        Some((y, low, high)) => format!("{} ({})", format::change(y), format::interval(low, high)),
        None => format::NONE.into(),
    };
    let newest_first = facts.points.iter().rev();
    newest_first
        .map(|point| {
            let commit_row = facts.commit(point.position);
            let parent = point.parent.map(|ratio| (ratio.ratio - 1.0, ratio.low - 1.0, ratio.high - 1.0));
            let reference =
                linked.get(&point.position).and_then(|drawn| Some((drawn.y, drawn.low?, drawn.high?)));
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
