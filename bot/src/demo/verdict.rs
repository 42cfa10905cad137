//! Whether the comment says what was put in: pure.

use super::edits::Story;
use super::watch::Seen;
use crate::judgement::{Level, Performance};
use perfsuite::model::{Certainty, Comparison, Metric, Report, Verdict};

/// What is not as it should be; empty when all is well.
pub fn problems(story: &Story, seen: &Seen) -> Vec<String> {
    let mut problems = Vec::new();
    if seen.comments != 1 {
        problems.push(format!("the pull request has {} comments, not one", seen.comments));
    }
    let Performance::Done { report } = &seen.run.performance else {
        problems.push(format!("nothing was measured: {:?}", seen.run.performance));
        return problems;
    };
    problems.extend(report.broken_build().map(|build| format!("the {} did not build", build.side.as_str())));
    problems.extend(report.failures.iter().map(|failure| format!("a benchmark failed: {failure:?}")));
    let touched = [story.slower(), story.faster()].concat();
    expect_verdict(&mut problems, seen, report, Verdict::Slower, story.slower(), &touched);
    expect_verdict(&mut problems, seen, report, Verdict::Faster, story.faster(), &touched);
    expect_conventions(&mut problems, story, seen);
    if story.breaks_convention() {
        for metric in [Metric::QpsPerCore, Metric::LatencyP50, Metric::LatencyP99] {
            if !report.rows.iter().any(|row| row.metric == metric) || !seen.comment.contains(metric.title()) {
                problems.push(format!("there is no row for {}", metric.title()));
            }
        }
    }
    // Where the kernel lets nobody sample, the report says so.
    if story.breaks_convention() && perfsuite::profile::available().is_ok() {
        if report.profiles.is_empty() {
            problems.push("nothing that changed was profiled".into());
        } else if !seen.comment.contains("/profile/0/difference.svg") {
            problems.push("the comment links no flame graph".into());
        }
    }
    problems
}

/// Benchmarks of the changed function are called changed, and no other one is.
///
/// One that runs changed code without running the part that was made dear may go either way: the compiler lays out the
/// rest of the function anew (`route/host/unknown` got 12 % faster when what comes after it got slower).
fn expect_verdict(
    problems: &mut Vec<String>,
    seen: &Seen,
    report: &Report,
    verdict: Verdict,
    expected: &[&str],
    touched: &[&str],
) {
    let word = if verdict == Verdict::Slower { "slower" } else { "faster" };
    let about = |row: &Comparison| expected.iter().any(|start| row.benchmark.0.starts_with(start));
    // A server's figures move with every part of it, so they say nothing about a single function.
    let called = |row: &&Comparison| {
        row.metric == Metric::Time && row.verdict == verdict && row.certainty == Certainty::Confirmed
    };
    let (right, others): (Vec<&Comparison>, Vec<&Comparison>) =
        report.rows.iter().filter(called).partition(|row| about(row));
    for row in others.iter().filter(|row| !touched.iter().any(|start| row.benchmark.0.starts_with(start))) {
        problems.push(format!(
            "{} is called {word} ({:+.1} %), and is not",
            row.benchmark,
            row.estimate * 100.0
        ));
    }
    if expected.is_empty() {
        return;
    }
    let main = expected.first().copied().unwrap_or_default();
    if !right.iter().any(|row| row.benchmark.0.starts_with(main)) {
        problems.push(format!("no benchmark of {main} is called {word}"));
    }
    if !right.iter().any(|row| seen.comment.contains(&row.benchmark.0)) {
        problems.push(format!("the comment names no {word} benchmark"));
    }
}

fn expect_conventions(problems: &mut Vec<String>, story: &Story, seen: &Seen) {
    let commits = &seen.run.commits.commits;
    let bad: Vec<_> = commits.iter().filter(|c| c.findings.iter().any(|f| f.level == Level::Error)).collect();
    if bad.len() != usize::from(story.breaks_convention()) {
        problems.push(format!("{} of {} commits have findings", bad.len(), commits.len()));
    }
    for commit in bad {
        if !seen.comment.contains(commit.sha.short()) {
            problems.push(format!("the comment does not name the commit {}", commit.sha.short()));
        }
    }
}
