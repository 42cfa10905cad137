//! A report as plain text for a terminal.

use crate::model::{Certainty, Comparison, Report, Side, Unit, Verdict};
use std::fmt::Write;

/// Rows that are equal are counted; the others stand in a table.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let _ = write_report(&mut text, report);
    text
}

fn write_report(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{} against {} in {}", report.head.short(), report.base.short(), report.repository)?;
    if let Some(broken) = report.broken_build() {
        writeln!(out, "\nThe {} ({}) does not build:", broken.side.as_str(), broken.commit.short())?;
        writeln!(out, "{}", broken.error.as_deref().unwrap_or_default())?;
    }
    table(out, report)?;
    for name in report.same_code() {
        writeln!(out, "identical machine code, not run: {name}")?;
    }
    for only in &report.one_sided {
        let other = if only.side == Side::Base { "removed" } else { "added" };
        writeln!(out, "{other}, so nothing to compare with: {} ({})", only.benchmark, only.suite)?;
    }
    for failure in &report.failures {
        let what = failure.benchmark.as_ref().map_or(failure.suite.as_str(), |b| b.0.as_str());
        let side = failure.side.map_or(String::new(), |side| format!(" on {}", side.as_str()));
        writeln!(out, "failed{side}: {what}")?;
        for line in failure.output.lines() {
            writeln!(out, "    {line}")?;
        }
    }
    if !report.rows.is_empty() {
        writeln!(
            out,
            "{} judged pairs share a budget of {} false alarms a run; {:.0} s of measuring, {:.0} s of building",
            report.judged_pairs, report.budget, report.measure_seconds, report.build_seconds
        )?;
    }
    writeln!(out, "sandbox: {}", report.environment.sandbox)?;
    for missing in &report.environment.missing {
        writeln!(out, "not shown: {} (install the package {})", missing.hides, missing.package)?;
    }
    for warning in &report.environment.warnings {
        writeln!(out, "note: {warning}")?;
    }
    Ok(())
}

fn table(out: &mut String, report: &Report) -> std::fmt::Result {
    let rows: Vec<[String; 6]> = report
        .rows
        .iter()
        .filter(|row| row.verdict != Verdict::Equal)
        .map(|row| {
            [
                row.benchmark.to_string(),
                row.metric.title().to_owned(),
                value(row.base, row.metric.unit()),
                value(row.head, row.metric.unit()),
                format!("{} ({} to {})", percent(row.estimate), percent(row.low), percent(row.high)),
                in_words(row),
            ]
        })
        .collect();
    let widths: Vec<usize> =
        (0..6).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    let equal: Vec<&Comparison> = report.rows.iter().filter(|row| row.verdict == Verdict::Equal).collect();
    let Some(seen) = equal.iter().map(|row| row.smallest_visible).max_by(f64::total_cmp) else {
        return Ok(());
    };
    writeln!(
        out,
        "{} equal within 2.5 %; a change of {:.1} % would have been seen in each",
        equal.len(),
        seen * 100.0
    )
}

fn in_words(row: &Comparison) -> String {
    let word = match row.verdict {
        _ if !row.metric.judged() => return "shown, never judged".into(),
        Verdict::Slower if row.certainty == Certainty::LayoutSuspect => "slower, or only laid out otherwise",
        Verdict::Faster if row.certainty == Certainty::LayoutSuspect => "faster, or only laid out otherwise",
        Verdict::Slower => "SLOWER",
        Verdict::Faster => "faster",
        Verdict::Equal => "equal",
        Verdict::Inconclusive => "inconclusive",
    };
    let counted = row.instructions.map(|change| format!(", instructions {:+.1} %", change * 100.0));
    let word = format!("{word}{}", counted.unwrap_or_default());
    match row.minutes_to_settle {
        Some(minutes) => format!("{word}, about {:.0} min would settle it", minutes.ceil()),
        None => word,
    }
}

fn percent(change: f64) -> String {
    if change.abs() >= 10.0 {
        return if change > 0.0 { "+∞".into() } else { "−∞".into() };
    }
    format!("{:+.1} %", change * 100.0)
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds if value >= 1e9 => format!("{:.3} s", value / 1e9),
        Unit::Nanoseconds if value >= 1e6 => format!("{:.3} ms", value / 1e6),
        Unit::Nanoseconds if value >= 1e3 => format!("{:.3} µs", value / 1e3),
        Unit::Nanoseconds => format!("{value:.2} ns"),
        Unit::RequestsPerSecond => format!("{value:.0}/s"),
        Unit::Instructions => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BenchmarkId, Environment, Failure, FailureReason, JobId, Metric, Mode, OneSided,
        comparison::REPORT_SCHEMA,
    };

    fn row(name: &str, metric: Metric, estimate: f64, verdict: Verdict, certainty: Certainty) -> Comparison {
        Comparison {
            suite: "routing".into(),
            benchmark: BenchmarkId(name.into()),
            metric,
            base: 1234.5,
            head: 1234.5 * (1.0 + estimate),
            estimate,
            low: estimate - 0.02,
            high: estimate + 0.02,
            verdict,
            certainty,
            mode: Mode::Gate,
            smallest_visible: 0.031,
            spread: 0.02,
            visits: 20,
            instructions: None,
            minutes_to_settle: (verdict == Verdict::Inconclusive).then_some(2.2),
        }
    }

    #[test]
    fn a_report_reads_well() {
        let rows = vec![
            row("route/match/1000", Metric::Time, 0.184, Verdict::Slower, Certainty::Confirmed),
            row("route/build", Metric::Time, -0.03, Verdict::Faster, Certainty::LayoutSuspect),
            row("proxy", Metric::LatencyP99, 0.01, Verdict::Inconclusive, Certainty::NotApplicable),
            row("limit/one", Metric::Time, 0.001, Verdict::Equal, Certainty::NotApplicable),
        ];
        let sample = Report {
            schema: REPORT_SCHEMA,
            job: JobId("j".into()),
            repository: ".".into(),
            base: "a".repeat(40).parse().unwrap(),
            head: "b".repeat(40).parse().unwrap(),
            rows,
            failures: vec![Failure {
                suite: "routing".into(),
                benchmark: Some(BenchmarkId("route/panics".into())),
                side: Some(Side::Head),
                reason: FailureReason::Panicked,
                output: "thread 'main' panicked\n(exit code 101)".into(),
            }],
            one_sided: vec![OneSided {
                suite: "routing".into(),
                benchmark: BenchmarkId("route/new".into()),
                side: Side::Head,
            }],
            builds: vec![],
            identical: vec!["gateway/limit".into()],
            unaffected: vec![],
            environment: Environment { sandbox: "none: switched off".into(), ..Environment::default() },
            judged_pairs: 4,
            budget: 0.01,
            alpha: 0.00125,
            measure_seconds: 61.0,
            build_seconds: 12.0,
        };
        insta::assert_snapshot!(report(&sample), @r"
        bbbbbbb against aaaaaaa in .
        route/match/1000  time         1.234 µs  1.462 µs  +18.4 % (+16.4 % to +20.4 %)  SLOWER
        route/build       time         1.234 µs  1.197 µs  -3.0 % (-5.0 % to -1.0 %)     faster, or only laid out otherwise
        proxy             p99 latency  1.234 µs  1.247 µs  +1.0 % (-1.0 % to +3.0 %)     inconclusive, about 3 min would settle it
        1 equal within 2.5 %; a change of 3.1 % would have been seen in each
        identical machine code, not run: gateway/limit
        added, so nothing to compare with: route/new (routing)
        failed on head: route/panics
            thread 'main' panicked
            (exit code 101)
        4 judged pairs share a budget of 0.01 false alarms a run; 61 s of measuring, 12 s of building
        sandbox: none: switched off
        ");
    }
}
