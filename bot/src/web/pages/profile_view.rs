//! A profile as its page shows it. Pure.

use super::parts::clean;
use crate::format;
use crate::pull::RepoName;
use crate::render::causes;
use askama::Template;
use perfsuite::model::profile::{FunctionChange, ProfileSummary, TouchedBy};
use perfsuite::model::{JobId, Metric, Report};
use perfsuite::profile::summary::in_percent;

#[derive(Template)]
#[template(path = "pages/profile.html")]
pub struct ProfilePage {
    name: String,
    number: u64,
    job: String,
    place: usize,
    base: String,
    head: String,
    benchmark: String,
    unit: &'static str,
    /// What got dearer, and by what; empty where no function explains it.
    cause: String,
    doubt: Option<String>,
    whole: String,
    functions: Vec<Line>,
    samples: String,
    notes: Vec<String>,
}

struct Line {
    function: String,
    base: String,
    head: String,
    change: String,
    total: String,
    touched: &'static str,
    changed: bool,
}

pub fn page(
    name: &RepoName,
    number: u64,
    job: &JobId,
    place: usize,
    report: &Report,
    summary: &ProfileSummary,
) -> ProfilePage {
    let unit = summary.unit.as_str();
    ProfilePage {
        name: name.to_string(),
        number,
        job: job.0.clone(),
        place,
        base: report.base.short().into(),
        head: report.head.short().into(),
        benchmark: clean(&summary.benchmark.0),
        unit,
        cause: summary.cause.as_ref().map(|cause| clean(&causes::plain(cause, unit))).unwrap_or_default(),
        doubt: summary.doubt.as_deref().map(clean),
        whole: format!(
            "{} on the base, {} on the head: {}",
            time(summary.base_ns),
            time(summary.head_ns),
            in_percent(&summary.change)
        ),
        functions: summary.functions.iter().map(line).collect(),
        samples: format!(
            "{} samples of the base and {} of the head, over {} visits in turns",
            format::thousands(summary.base_samples as f64),
            format::thousands(summary.head_samples as f64),
            summary.visits
        ),
        notes: summary.notes.iter().map(|note| clean(note)).collect(),
    }
}

fn line(function: &FunctionChange) -> Line {
    let own = function.base_ns + function.head_ns > 0.0;
    Line {
        function: clean(&function.name),
        base: time(function.base_ns),
        head: time(function.head_ns),
        change: if own { in_percent(&function.change) } else { "none of its own".into() },
        total: in_percent(&function.total_change),
        touched: match function.touched {
            Some(TouchedBy::Code) => "its code changed",
            Some(TouchedBy::File) => "its file changed",
            None => "",
        },
        changed: function.changed,
    }
}

fn time(ns: f64) -> String {
    format::value(Metric::Time, ns)
}
