//! A report as plain text for a terminal.

use super::profile::told::cause_in_words;
use crate::model::{Certainty, Comparison, Environment, Metric, Report, Scenario, Side, Unit, Verdict};
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
    for profile in &report.profiles {
        let unit = profile.unit.as_str();
        if let Some(cause) = &profile.cause {
            writeln!(out, "{}: {}", profile.benchmark, cause_in_words(cause, unit))?;
        }
        if let Some(doubt) = &profile.doubt {
            writeln!(out, "{}: counter-evidence: {doubt}", profile.benchmark)?;
        }
    }
    for name in report.same_code() {
        writeln!(out, "identical machine code, not run: {name}")?;
    }
    clock_against_code(out, report)?;
    for only in &report.one_sided {
        match (only.side, &only.other_name) {
            // Told once, with the older name.
            (Side::Head, Some(_)) => {}
            (Side::Base, Some(other)) => writeln!(
                out,
                "renamed, by its machine code, so not compared: {} is now {other} ({})",
                only.benchmark, only.suite
            )?,
            (side, None) => {
                let other = if side == Side::Base { "removed" } else { "added" };
                writeln!(out, "{other}, so nothing to compare with: {} ({})", only.benchmark, only.suite)?;
            }
        }
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
        let counting = match report.count_seconds {
            seconds if seconds > 0.0 => format!(" ({seconds:.0} s of it counting instructions)"),
            _ => String::new(),
        };
        writeln!(
            out,
            "{} judged pairs share a budget of {} false alarms a run; {:.0} s of measuring{counting}, {:.0} s of building",
            report.judged_pairs, report.budget, report.measure_seconds, report.build_seconds
        )?;
    }
    let machine = machine(&report.environment);
    if !machine.is_empty() {
        writeln!(out, "machine: {machine}")?;
    }
    writeln!(out, "sandbox: {}", report.environment.sandbox)?;
    for missing in &report.environment.missing {
        writeln!(out, "not shown: {} (install the package {})", missing.hides, missing.package)?;
    }
    for said in report
        .scenarios
        .iter()
        .flat_map(Scenario::in_words)
        .chain(report.environment.warnings.iter().cloned())
    {
        writeln!(out, "note: {said}")?;
    }
    Ok(())
}

fn table(out: &mut String, report: &Report) -> std::fmt::Result {
    let rows: Vec<[String; 6]> = report
        .rows
        .iter()
        .filter(|row| row.verdict != Verdict::Equal && !stands_beside_time(row))
        .map(|row| {
            [
                row.benchmark.to_string(),
                row.metric.title().to_owned(),
                value(row.base, row.metric.unit()),
                value(row.head, row.metric.unit()),
                match row.metric {
                    Metric::Instructions => format!("{} (counted exactly)", percent(row.estimate)),
                    _ => format!("{} ({} to {})", percent(row.estimate), percent(row.low), percent(row.high)),
                },
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
    let equal: Vec<&Comparison> = equal(report).collect();
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

/// The machine in one line: what it is, and how quiet it was.
fn machine(environment: &Environment) -> String {
    let mut parts = vec![environment.cpu_model.clone()];
    if environment.cpu_cores > 0 {
        parts.push(format!("{} cores", environment.cpu_cores));
    }
    parts.extend([environment.os.clone(), environment.kernel.clone()]);
    parts.extend(environment.rustc.clone());
    parts.extend(environment.governor.as_ref().map(|governor| format!("governor {governor}")));
    parts.extend(environment.load_before.map(|load| format!("load before {load:.1}")));
    let share = |share: f64, words: &str| format!("{:.0} % {words}", share * 100.0);
    parts.extend(environment.others.map(|others| share(others, "used by others")));
    parts.extend(environment.steal.map(|steal| share(steal, "stolen")));
    parts.retain(|part| !part.trim().is_empty());
    parts.join(", ")
}

/// Instructions whose change is told with that of the time.
fn stands_beside_time(row: &Comparison) -> bool {
    row.metric == Metric::Instructions && row.certainty != Certainty::InstructionChange
}

/// Rows that are equal by what was measured; those of identical code are told apart, for them the bound is another.
pub(super) fn equal(report: &Report) -> impl Iterator<Item = &Comparison> {
    report.rows.iter().filter(|row| {
        row.verdict == Verdict::Equal && row.metric != Metric::Instructions && !report.is_unaffected(row)
    })
}

/// Benchmarks that were measured although their machine code is the same.
fn clock_against_code(out: &mut String, report: &Report) -> std::fmt::Result {
    let Some(clock) = report.clock_against_code() else { return Ok(()) };
    writeln!(out, "identical machine code, measured all the same: {}", clock.agreement())?;
    for row in clock.disagree {
        writeln!(
            out,
            "identical machine code, and yet the time differs by {}: {} (layout, or a false alarm)",
            percent(row.estimate),
            row.benchmark
        )?;
    }
    Ok(())
}

pub(super) fn in_words(row: &Comparison) -> String {
    let word = match row.verdict {
        Verdict::Slower if row.certainty == Certainty::InstructionChange => {
            "more instructions, in the same time"
        }
        Verdict::Faster if row.certainty == Certainty::InstructionChange => {
            "fewer instructions, in the same time"
        }
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

pub(super) fn percent(change: f64) -> String {
    if change.abs() >= 10.0 {
        return if change > 0.0 { "+∞".into() } else { "−∞".into() };
    }
    format!("{:+.1} %", change * 100.0)
}

pub(super) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds if value >= 1e9 => format!("{:.3} s", value / 1e9),
        Unit::Nanoseconds if value >= 1e6 => format!("{:.3} ms", value / 1e6),
        Unit::Nanoseconds if value >= 1e3 => format!("{:.3} µs", value / 1e3),
        Unit::Nanoseconds => format!("{value:.2} ns"),
        Unit::RequestsPerSecond => format!("{value:.0}/s"),
        Unit::Instructions => format!("{value:.0}"),
        Unit::Own => format!("{value:.3}"),
    }
}

#[cfg(test)]
pub(super) use tests::sample;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BenchmarkId, Failure, FailureReason, JobId, Mode, OneSided, comparison::REPORT_SCHEMA,
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
            mode_reason: None,
            smallest_visible: 0.031,
            spread: 0.02,
            visits: 20,
            instructions: None,
            minutes_to_settle: (verdict == Verdict::Inconclusive).then_some(2.2),
        }
    }

    /// Every kind of row and line once.
    pub(in crate::cli) fn sample() -> Report {
        let rows = vec![
            row("route/match/1000", Metric::Time, 0.184, Verdict::Slower, Certainty::Confirmed),
            row("route/build", Metric::Time, -0.03, Verdict::Faster, Certainty::LayoutSuspect),
            row("proxy", Metric::LatencyP99, 0.01, Verdict::Inconclusive, Certainty::NotApplicable),
            row("limit/one", Metric::Time, 0.001, Verdict::Equal, Certainty::NotApplicable),
            row("limit/one", Metric::Instructions, 0.03, Verdict::Slower, Certainty::InstructionChange),
            row("route/build", Metric::Instructions, 0.0, Verdict::Equal, Certainty::NotApplicable),
        ];
        Report {
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
                other_name: None,
            }],
            builds: vec![],
            identical: vec!["gateway/limit".into()],
            unaffected: vec![],
            profiles: vec![],
            scenarios: vec![],
            calibration: vec![],
            environment: Environment { sandbox: "none: switched off".into(), ..Environment::default() },
            judged_pairs: 4,
            budget: 0.01,
            alpha: 0.00125,
            measure_seconds: 61.0,
            count_seconds: 0.0,
            build_seconds: 12.0,
        }
    }

    #[test]
    fn a_report_reads_well() {
        insta::assert_snapshot!(report(&sample()), @r"
        bbbbbbb against aaaaaaa in .
        route/match/1000  time          1.234 µs  1.462 µs  +18.4 % (+16.4 % to +20.4 %)  SLOWER
        route/build       time          1.234 µs  1.197 µs  -3.0 % (-5.0 % to -1.0 %)     faster, or only laid out otherwise
        proxy             p99 latency   1.234 µs  1.247 µs  +1.0 % (-1.0 % to +3.0 %)     inconclusive, about 3 min would settle it
        limit/one         instructions  1234      1272      +3.0 % (counted exactly)      more instructions, in the same time
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
