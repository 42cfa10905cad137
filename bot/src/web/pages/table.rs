//! The table of comparisons: what a run says, row by row. Pure.

use super::interval::{IntervalBar, Scale};
use super::parts::{self, Badge, clean};
use crate::format;
use askama::Template;
use askama::filters::HtmlSafe;
use perfsuite::model::{Comparison, Mode};
use perfsuite::verdict::sequential::EQUAL_WITHIN;

/// A benchmark whose visits spread more than this is named as noisy.
const NOISY_SPREAD: f64 = 0.04;

#[derive(Template)]
#[template(path = "pages/parts/table.html")]
pub struct Table {
    caption: String,
    scale: String,
    equal: String,
    rows: Vec<Row>,
}

impl HtmlSafe for Table {}

struct Row {
    /// Where every visit is.
    address: String,
    /// Only where the run has several suites.
    suite: Option<String>,
    benchmark: String,
    metric: &'static str,
    base: String,
    head: String,
    change: String,
    interval: String,
    bar: Option<IntervalBar>,
    verdict: Badge,
    notes: Vec<String>,
    smallest_visible: String,
    visits: String,
    spread: String,
    changed: bool,
}

impl Table {
    /// `all` decides scale and columns, so that a filtered table reads like the whole one. Each row that is shown comes
    /// with its place among them, by which its page is found.
    pub fn new<'a>(
        caption: &str,
        job: &str,
        all: &[Comparison],
        shown: impl Iterator<Item = (usize, &'a Comparison)>,
    ) -> Self {
        let scale = Scale::for_rows(all.iter());
        let several = all.first().is_some_and(|first| all.iter().any(|row| row.suite != first.suite));
        Self {
            caption: caption.into(),
            scale: format!("{:.0} %", scale.end * 100.0),
            equal: format::percent(EQUAL_WITHIN),
            rows: shown
                .map(|(place, row)| view(format!("/runs/{job}/visits/{place}"), row, scale, several))
                .collect(),
        }
    }
}

fn view(address: String, row: &Comparison, scale: Scale, several: bool) -> Row {
    Row {
        address,
        suite: several.then(|| clean(&row.suite)),
        benchmark: clean(&row.benchmark.0),
        metric: row.metric.title(),
        base: format::value(row.metric, row.base),
        head: format::value(row.metric, row.head),
        change: format::change(row.estimate),
        interval: format::interval(row.low, row.high),
        bar: IntervalBar::new(row, scale),
        verdict: parts::verdict(row),
        notes: notes(row),
        smallest_visible: format::percent(row.smallest_visible),
        visits: format::thousands(f64::from(row.visits)),
        spread: format::percent(row.spread),
        changed: row.changed(),
    }
}

/// What else a person should know of this row.
fn notes(row: &Comparison) -> Vec<String> {
    let mut notes = Vec::new();
    if row.blocks() {
        notes.push("blocks the check".into());
    }
    match row.mode {
        Mode::Gate => {}
        Mode::Advise => notes.push("advises only".into()),
        Mode::Record => notes.push("recorded only".into()),
    }
    notes.extend(row.mode_reason.as_deref().map(clean));
    if !row.metric.judged() {
        notes.push("shown, not judged".into());
    }
    if row.spread > NOISY_SPREAD {
        notes.push("noisy".into());
    }
    if let Some(minutes) = row.minutes_to_settle.filter(|minutes| minutes.is_finite()) {
        notes.push(format!("{} more would settle it", format::seconds(minutes * 60.0)));
    }
    notes
}
