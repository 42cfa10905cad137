//! One series as programs get it: JSON and CSV. Pure.

use super::history_shown::{Facts, run_of};
use super::parts::clean;
use crate::db::change_points::State;
use crate::db::points::Ratio;
use crate::db::series;
use crate::format;
use crate::history::bisect::Outcome;
use crate::history::linked::linked;
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// Recorded only, because somebody said so.
    quarantined: bool,
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
    id: String,
    /// Of the first measured commit after it.
    position: i64,
    commit: Option<String>,
    /// Of the last measured commit before it.
    before: i64,
    size: f64,
    state: &'static str,
    /// By whom it was taken, and why.
    accepted: Option<AcceptedShown>,
    search: Option<Outcome>,
}

#[derive(Debug, Serialize)]
struct AcceptedShown {
    by: String,
    reason: String,
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
        quarantined: facts.quarantined.is_some(),
        points: points.collect(),
        changes: standing
            .map(|change| ChangeShown {
                id: change.id.clone(),
                position: change.position,
                commit: facts.commit(change.position).map(|commit| commit.sha.to_string()),
                before: change.before,
                size: change.size,
                state: change.state.as_str(),
                accepted: facts
                    .accepted
                    .get(&change.id)
                    .map(|one| AcceptedShown { by: one.by.clone(), reason: one.reason.clone() }),
                search: facts.searches.get(&change.id).and_then(|search| search.outcome.clone()),
            })
            .collect(),
    }
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
    fn a_name_is_no_formula() {
        assert_eq!(quoted("Ada"), "\"Ada\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("a\"b\nc"), "\"a\"\"b c\"");
    }
}
