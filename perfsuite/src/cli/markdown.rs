//! A report as Markdown, to be pasted into an issue or a review.

use super::text::{equal, in_words, percent, value};
use crate::model::{Certainty, Comparison, Metric, Report, Scenario, Verdict};
use std::fmt::Write;

/// Rows that are not equal; a longer table is read by programs, which take the JSON.
const ROWS_MAX: usize = 200;

pub(super) fn report(report: &Report) -> String {
    let mut out = String::new();
    // Writing into memory does not fail.
    let _ = write_report(&mut out, report);
    out
}

fn write_report(out: &mut String, report: &Report) -> std::fmt::Result {
    let (base, head) = (report.base.short(), report.head.short());
    writeln!(out, "**Performance** of `{head}` against `{base}`\n")?;
    if let Some(broken) = report.broken_build() {
        writeln!(out, "The {} does not build, so nothing was measured.", broken.side.as_str())?;
        return fenced(out, broken.error.as_deref().unwrap_or_default());
    }
    table(out, report)?;
    if let Some(seen) = equal(report).map(|row| row.smallest_visible).max_by(f64::total_cmp) {
        let count = equal(report).count();
        let seen = seen * 100.0;
        writeln!(out, "{count} equal within 2.5 %; a change of {seen:.1} % would have been seen in each.\n")?;
    }
    let same: Vec<String> = report.same_code().map(code).collect();
    if !same.is_empty() {
        writeln!(out, "Identical machine code, so not run: {}.\n", same.join(", "))?;
    }
    if let Some(clock) = report.clock_against_code() {
        let (agreement, beyond) = (clock.agreement(), clock.disagree.len());
        writeln!(out, "Measured although the machine code is identical: {agreement}, {beyond} beyond.\n")?;
    }
    for only in &report.one_sided {
        let name = code(&only.benchmark.0);
        let other = only.other_name.as_ref().map(|other| format!(", there called {}?", code(&other.0)));
        writeln!(out, "- {name} is only on the {}{}", only.side.as_str(), other.unwrap_or_default())?;
    }
    for failure in &report.failures {
        let what = failure.benchmark.as_ref().map_or(failure.suite.as_str(), |id| &id.0);
        let side = failure.side.map_or(String::new(), |side| format!(" on the {}", side.as_str()));
        writeln!(out, "- {} failed{side}:", code(what))?;
        fenced(out, &failure.output)?;
    }
    for said in report
        .scenarios
        .iter()
        .flat_map(Scenario::in_words)
        .chain(report.environment.warnings.iter().cloned())
    {
        writeln!(out, "- {}", plain(&said))?;
    }
    Ok(())
}

fn table(out: &mut String, report: &Report) -> std::fmt::Result {
    let beside_time = |row: &&Comparison| {
        row.metric == Metric::Instructions && row.certainty != Certainty::InstructionChange
    };
    let told = || report.rows.iter().filter(|row| row.verdict != Verdict::Equal && !beside_time(row));
    if told().next().is_none() {
        return Ok(());
    }
    let (base, head) = (report.base.short(), report.head.short());
    writeln!(out, "| benchmark | metric | base `{base}` | head `{head}` | change (95 % CI) | |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for row in told().take(ROWS_MAX) {
        let unit = row.metric.unit();
        let change = match row.metric {
            Metric::Instructions => percent(row.estimate),
            _ => format!("{} ({} to {})", percent(row.estimate), percent(row.low), percent(row.high)),
        };
        let (base, head) = (value(row.base, unit), value(row.head, unit));
        let (name, metric) = (code(&row.benchmark.0), row.metric.title());
        writeln!(out, "| {name} | {metric} | {base} | {head} | {change} | {} |", in_words(row))?;
    }
    let left = told().count().saturating_sub(ROWS_MAX);
    if left > 0 {
        writeln!(out, "\n{left} more rows are in the JSON.")?;
    }
    writeln!(out)
}

/// Somebody else's text in a code span, which nothing in it can end; a pipe would end the cell.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.replace('|', "\u{2758}");
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Somebody else's words within a line: no markup.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => out.extend(['\\', c]),
            '@' => out.extend([c, '\u{200b}']),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn fenced(out: &mut String, text: &str) -> std::fmt::Result {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    writeln!(out, "\n{fence}text\n{}\n{fence}\n", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        assert_eq!(code("a|b\n`c"), "``a\u{2758}b `c``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(plain("<b> @x [y](z)"), "&lt;b> @\u{200b}x \\[y\\](z)");
    }

    #[test]
    fn a_report_reads_well() {
        insta::assert_snapshot!(report(&super::super::text::sample()));
    }
}
