//! Rows of the comment's tables.

use crate::{
    format,
    render::{
        facts::Names,
        markdown::{code, inline},
        words,
    },
};
use perfsuite::model::{Certainty, Comparison, Metric};

/// Of a benchmark's name in a table.
pub const NAME_MAX_GRAPHEMES: usize = 80;

/// One line of a table, each part ready for a cell.
pub struct Row {
    pub benchmark: String,
    pub metric: &'static str,
    pub base: String,
    pub head: String,
    pub change: String,
    pub verdict: String,
}

impl Row {
    pub fn of(row: &Comparison, names: &Names<'_>) -> Self {
        let (sign, word) = words::verdict(row);
        let size = format::change(row.estimate);
        let size =
            if row.changed() && row.certainty == Certainty::Confirmed { format!("**{size}**") } else { size };
        Self {
            benchmark: name(row, names),
            metric: row.metric.title(),
            base: format::value(row.metric, row.base),
            head: format::value(row.metric, row.head),
            change: match row.metric {
                Metric::Instructions => size,
                _ => format!("{size} ({})", words::interval(row, "")),
            },
            verdict: format!("{sign} {word}"),
        }
    }
}

pub fn name(row: &Comparison, names: &Names<'_>) -> String {
    code(&names.name(&row.suite, &row.benchmark.0), NAME_MAX_GRAPHEMES)
}

/// `a/b` p99 latency; the time of a benchmark needs no word.
pub fn named_metric(row: &Comparison, names: &Names<'_>) -> String {
    match row.metric {
        Metric::Time => name(row, names),
        metric => format!("{} {}", name(row, names), metric.title()),
    }
}

/// `a/b` p99 latency +18.4 % (95 % CI +15.1 to +22.0)
pub fn sentence(row: &Comparison, names: &Names<'_>) -> String {
    let (size, confidence) = (format::change(row.estimate), words::confidence(row));
    format!("{} {size} ({confidence})", named_metric(row, names))
}

/// A login as a mention where it is one; anything else does nothing.
pub fn person(login: &str) -> String {
    /// GitHub's own bound.
    const LOGIN_MAX: usize = 39;
    let plain = login.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain && !login.is_empty() && login.len() <= LOGIN_MAX {
        format!("@{login}")
    } else {
        inline(login, LOGIN_MAX)
    }
}
