//! What the script of a series' chart is given, as JSON within the page. Pure.

use super::history_list;
use super::history_series::is_worse;
use super::history_shown::{Chart, Drawn, Facts, View, run_of};
use super::parts::clean;
use crate::db::change_points::State;
use crate::db::history_commits::HistoryCommit;
use crate::format;
use perfsuite::model::{Direction, Metric};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the script draws: columns, since a row each would say every name again.
#[derive(Serialize)]
struct ChartData {
    view: &'static str,
    percent: bool,
    unit: perfsuite::model::Unit,
    higher_is_better: bool,
    /// Points in the window; where more than are drawn, a zoom asks for what is between.
    of: usize,
    x: Vec<i64>,
    y: Vec<f64>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
    told: Vec<String>,
    commit: Vec<String>,
    subject: Vec<String>,
    /// Places among the authors.
    author: Vec<usize>,
    authors: Vec<String>,
    pull: Vec<Option<u64>>,
    day: Vec<String>,
    run: Vec<Option<String>>,
    environment: Vec<Option<i64>>,
    environments: BTreeMap<i64, String>,
    /// What the scale shows at first, where not all of it.
    reach: Option<(f64, f64)>,
    /// The first and the newest place of the series: no zoom and no move leads beyond.
    ends: (i64, i64),
    changes: Vec<Mark>,
    others: Vec<OtherData>,
}

/// Another series, at the same places.
#[derive(Serialize)]
struct OtherData {
    name: String,
    y: Vec<Option<f64>>,
}

/// Characters of a subject that the chart says; the table has all of it.
const SUBJECT_MAX_CHARS: usize = 80;

#[derive(Serialize)]
struct Mark {
    x: i64,
    before: i64,
    worse: bool,
    confirmed: bool,
    label: String,
}

/// No `<` is in it.
pub fn data(facts: &Facts, chart: &Chart, metric: Metric) -> String {
    let (view, points) = (chart.view, &chart.drawn);
    let of = |position: i64| facts.commit(position);
    let percent = view != View::Raw;
    let scale = if percent { 100.0 } else { 1.0 };
    let scaled = |value: Option<f64>| value.map(|value| shown(value * scale));
    let told = |point: &Drawn| match (point.low, point.high) {
        (Some(low), Some(high)) => {
            format!("{} ({})", format::change(point.y), format::interval(low, high))
        }
        _ => format::value(metric, point.y),
    };
    let text = |position: i64, of_commit: &dyn Fn(&HistoryCommit) -> String| {
        of(position).map(of_commit).unwrap_or_default()
    };
    let subject = |commit: &HistoryCommit| -> String {
        clean(&commit.subject).chars().take(SUBJECT_MAX_CHARS).collect()
    };
    let authors: BTreeSet<String> = facts.commits.iter().map(|commit| clean(&commit.author)).collect();
    let authors: Vec<String> = std::iter::once(String::new()).chain(authors).collect();
    let author = |point: &Drawn| {
        let name = text(point.position, &|commit| clean(&commit.author));
        authors.binary_search(&name).unwrap_or(0)
    };
    let standing = facts.changes.iter().filter(|change| change.state != State::Withdrawn);
    let data = ChartData {
        view: view.query(),
        percent,
        unit: metric.unit(),
        higher_is_better: metric.direction() == Direction::HigherIsBetter,
        of: chart.of,
        x: points.iter().map(|point| point.position).collect(),
        y: points.iter().map(|point| shown(point.y * scale)).collect(),
        low: points.iter().map(|point| scaled(point.low)).collect(),
        high: points.iter().map(|point| scaled(point.high)).collect(),
        told: points.iter().map(told).collect(),
        commit: points.iter().map(|p| text(p.position, &|c| c.sha.short().to_owned())).collect(),
        subject: points.iter().map(|p| text(p.position, &subject)).collect(),
        author: points.iter().map(author).collect(),
        pull: points.iter().map(|p| of(p.position).and_then(|commit| commit.pull)).collect(),
        day: points.iter().map(|p| text(p.position, &|c| format::day(c.committed_ms))).collect(),
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
        authors,
        reach: chart.reach_of_all().map(|(low, high)| (shown(low * scale), shown(high * scale))),
        ends: facts.ends,
        others: chart
            .others
            .iter()
            .map(|other| {
                let at: BTreeMap<i64, f64> =
                    other.drawn.iter().map(|point| (point.position, point.y)).collect();
                let key = &other.series.key;
                OtherData {
                    name: clean(&format!("{} {}", key.benchmark, history_list::metric(key).title())),
                    y: points.iter().map(|point| scaled(at.get(&point.position).copied())).collect(),
                }
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

/// A number to as many digits as a chart shows: five that count.
fn shown(number: f64) -> f64 {
    let digits = 4 - number.abs().max(f64::MIN_POSITIVE).log10().floor().clamp(-300.0, 300.0) as i32;
    let scale = 10f64.powi(digits.clamp(-300, 300));
    let rounded = (number * scale).round() / scale;
    if rounded.is_finite() { rounded } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sent_as_far_as_they_can_be_seen() {
        for (number, expect) in
            [(1.234_567_8, 1.234_6), (-0.001_234_567_8, -0.001_234_6), (123_456.7, 123_460.0), (0.0, 0.0)]
        {
            assert!((shown(number) - expect).abs() <= f64::EPSILON * number.abs() * 4.0, "{}", shown(number));
        }
        for odd in [f64::MAX, f64::MIN_POSITIVE, -1e-320, 1e300] {
            assert!(shown(odd).is_finite(), "{odd}");
        }
    }
}
