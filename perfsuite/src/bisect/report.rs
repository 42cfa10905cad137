//! What a report says of one benchmark and metric, for a search.

use super::{Measured, Seen};
use crate::model::{Metric, Report, Side};

/// What a comparison saw of the benchmark.
pub fn seen(report: &Report, suite: &str, benchmark: &str, metric: Metric) -> Seen {
    let of = |row_suite: &str, row_benchmark: &str| row_suite == suite && row_benchmark == benchmark;
    if let Some(broken) = report.broken_build() {
        let side = if broken.side == Side::Head { "it" } else { "what it is measured against" };
        let why = first_line(broken.error.as_deref().unwrap_or_default());
        return Seen::Skipped(format!("{side} does not build: {why}"));
    }
    let row = report.rows.iter().find(|row| of(&row.suite, &row.benchmark.0) && row.metric == metric);
    if let Some(row) = row {
        let measured =
            Measured { verdict: row.verdict, estimate: row.estimate, low: row.low, high: row.high };
        let finite = [row.estimate, row.low, row.high].iter().all(|value| value.is_finite());
        return match row.visits {
            0 => Seen::Skipped("there was no time to measure it".into()),
            _ if !finite => Seen::Skipped("what was measured is no number".into()),
            _ => Seen::Measured(measured),
        };
    }
    let failed = |failed: Option<&str>| failed.is_none_or(|name| name == benchmark);
    if let Some(failure) =
        report.failures.iter().find(|failure| failed(failure.benchmark.as_ref().map(|id| id.0.as_str())))
    {
        return Seen::Skipped(format!("it fails: {}", first_line(&failure.output)));
    }
    if report.one_sided.iter().any(|row| row.benchmark.0 == benchmark) {
        return Seen::Skipped("it has no such benchmark".into());
    }
    let same = report.unaffected.iter().any(|row| of(&row.suite, &row.benchmark.0));
    // Of an executable that is the same on both sides the benchmarks are not listed.
    if same || !report.identical.is_empty() {
        return Seen::Measured(Measured::SAME);
    }
    Seen::Skipped("it has no such benchmark".into())
}

fn first_line(text: &str) -> String {
    /// A compiler's first line can be a whole command.
    const CHARS_MAX: usize = 300;
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().take(CHARS_MAX).collect()
}
