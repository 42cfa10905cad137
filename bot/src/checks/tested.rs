//! `paceline/tests`: the repository's own checks on the merge result, code without tests, and the proof of a fix.

use super::{
    ANNOTATIONS_MAX, LINE_MAX_GRAPHEMES, OUTPUT_MAX_BYTES, ROWS_MAX, RUN_ACTION, TITLE_MAX_GRAPHEMES,
    completed, rendered,
};
use crate::format;
use crate::judgement::{
    Checks, ChecksReport, CommandReport, Level, PlacedFinding, Proof, ProofReport, Run, TestsJudgement,
};
use crate::outgoing::{Action, Annotation, AnnotationLevel, CheckRun, CheckStatus, Conclusion};
use crate::render::markdown::{code, fenced_tail, inline, prose, visible};
use crate::render::words;
use crate::text;
use askama::Template;
use perfsuite::model::checks::{CommandEnd, ToolLevel};

pub const TESTS: &str = "paceline/tests";

const NAME_MAX_GRAPHEMES: usize = 80;
const PATH_MAX_GRAPHEMES: usize = 120;
/// Names in a sentence.
const NAMED: usize = 5;

/// The check run; `None` where nothing is asked.
pub fn tests_check(run: &Run, details: &str) -> Option<CheckRun> {
    let tests = run.tests.as_ref()?;
    let done = |conclusion, title: String, lead: String| {
        let summary = rendered(&summary(tests, lead));
        completed(run, TESTS, details, conclusion, text::cut(&title, TITLE_MAX_GRAPHEMES), summary)
    };
    Some(match &tests.checks {
        Checks::Skipped { reason } => {
            let reason = reason.trim_end_matches('.');
            let conclusion = match tests.worst() {
                Level::Off => Conclusion::Skipped,
                worst => conclusion(worst),
            };
            let lead = format!("Nothing was run: {}.", prose(reason, LINE_MAX_GRAPHEMES));
            let title = match untested(tests) {
                Some(words) => words,
                None => format!("Nothing to run: {}", visible(reason)),
            };
            done(conclusion, title, lead)
        }
        Checks::NeedsApproval => {
            let action = Action {
                label: "Run this head".into(),
                description: "Allow this fork's code to be run".into(),
                identifier: RUN_ACTION.into(),
            };
            let lead = format!(
                "The code comes from a fork, and nobody with write permission has allowed it to run. Read the change, \
                 then press *Run this head*, or answer `/paceline run {}` on the pull request. The permission holds for \
                 this head only.",
                run.head
            );
            let check =
                done(Conclusion::ActionRequired, "Needs permission to run a fork's code".into(), lead);
            CheckRun { actions: vec![action], ..check }
        }
        Checks::Queued { position, runners } => {
            let lead = match runners {
                0 => "No runner is connected at the moment. The checks start when one is.".to_owned(),
                _ => format!("{} connected.", format::count(*runners as usize, "runner is", "runners are")),
            };
            let title = format!("Waiting for a runner, at position {position} of the queue");
            CheckRun { status: CheckStatus::Queued, ..done(Conclusion::Neutral, title, lead) }
        }
        Checks::Running { text, done: at, total } => {
            let count = if *total > 0 { format!(" ({at} of {total})") } else { String::new() };
            let lead = format!("{}{count}.", inline(text, LINE_MAX_GRAPHEMES));
            let check = done(Conclusion::Neutral, format!("{}{count}", visible(text)), lead);
            CheckRun { status: CheckStatus::InProgress, ..check }
        }
        Checks::Failed { message, output } => {
            let mut lead = format!("{}.", inline(message.trim_end_matches('.'), LINE_MAX_GRAPHEMES));
            if !output.trim().is_empty() {
                lead += &format!("\n\n{}", fenced_tail(output, OUTPUT_MAX_BYTES));
            }
            done(Conclusion::Neutral, "The checks could not be run".into(), lead)
        }
        Checks::Cancelled { by } => {
            let lead =
                "`/paceline retry` on the pull request, or the re-run button, runs them after all.".into();
            done(Conclusion::Cancelled, format!("Cancelled by {}", visible(by)), lead)
        }
        Checks::Done { report } => {
            let lead = format!("On the merge with the base branch, `{}`.", report.commit.short());
            let check = done(conclusion(tests.worst()), title(tests, report), lead);
            let annotations = report.findings.iter().take(ANNOTATIONS_MAX);
            CheckRun { annotations: annotations.map(|placed| annotation(tests, placed)).collect(), ..check }
        }
    })
}

/// For a merge queue's group: its pull requests were checked before they came in.
pub fn tested_before(run: &Run, details: &str) -> CheckRun {
    let title = "Checked in the pull requests".into();
    let summary =
        "The repository's own checks run for each pull request, merged with its base, before it enters the \
                   merge queue."
            .into();
    completed(run, TESTS, details, Conclusion::Success, title, summary)
}

/// Where a head's tests stand, in one line without Markdown.
pub fn told(tests: &TestsJudgement) -> String {
    match &tests.checks {
        Checks::Done { report } => title(tests, report),
        Checks::Skipped { reason } => {
            untested(tests).unwrap_or_else(|| format!("nothing was run: {}", visible(reason)))
        }
        Checks::NeedsApproval => "waiting for permission to run a fork's code".into(),
        Checks::Queued { position, .. } => format!("waiting, at position {position} of the queue"),
        Checks::Running { text, .. } => visible(text),
        Checks::Failed { message, .. } => format!("could not be run: {}", visible(message)),
        Checks::Cancelled { by } => format!("cancelled by {}", visible(by)),
    }
}

fn conclusion(worst: Level) -> Conclusion {
    match worst {
        Level::Off => Conclusion::Success,
        Level::Warn => Conclusion::Neutral,
        Level::Error => Conclusion::Failure,
    }
}

fn annotation(tests: &TestsJudgement, placed: &PlacedFinding) -> Annotation {
    let finding = &placed.finding;
    let level = match tests.level_of(finding) {
        Level::Error => AnnotationLevel::Failure,
        Level::Warn => AnnotationLevel::Warning,
        Level::Off => AnnotationLevel::Notice,
    };
    let title = match finding.code.is_empty() {
        true => visible(&placed.check),
        false => format!("{}: {}", visible(&placed.check), visible(&finding.code)),
    };
    Annotation {
        path: finding.path.clone(),
        line: finding.line,
        column: (finding.column > 0).then_some(finding.column),
        level,
        title,
        message: finding.message.lines().map(visible).collect::<Vec<_>>().join("\n"),
    }
}

/// The outcome in one line, without Markdown: the worst first.
fn title(tests: &TestsJudgement, report: &ChecksReport) -> String {
    let failing: Vec<String> =
        report.commands.iter().filter(|command| !command.passed()).map(failing_in_words).collect();
    let mut parts = Vec::new();
    if !failing.is_empty() {
        parts.push(words::listed(failing.into_iter(), NAMED));
    }
    if let Some(proof) = &report.proof
        && !proof.proof.proven()
    {
        parts.push(
            match proof.proof {
                Proof::Unclear { .. } => "it cannot be told whether the fix is proven",
                _ => "the fix does not prove itself",
            }
            .into(),
        );
    }
    if let Some(words) = findings_in_words(report) {
        parts.push(words);
    }
    parts.extend(untested(tests));
    if !parts.is_empty() {
        return sentence_case(&parts.join("; "));
    }
    let passed: Vec<String> = report.commands.iter().map(|command| visible(&command.name)).collect();
    let proven = report.proof.is_some();
    match (passed.len(), proven) {
        (0, true) => "The fix proves itself".into(),
        (0, false) => "Nothing was asked".into(),
        (1, _) => format!("{} passes{}", passed[0], if proven { ", and the fix proves itself" } else { "" }),
        _ => format!(
            "{} pass{}",
            words::listed(passed.into_iter(), NAMED),
            if proven { ", and the fix proves itself" } else { "" }
        ),
    }
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `test fails (2 of 40 tests)`, without Markdown.
fn failing_in_words(command: &CommandReport) -> String {
    let name = visible(&command.name);
    match (&command.end, command.tests) {
        (CommandEnd::Passed, _) => format!("{name} passes"),
        (CommandEnd::Failed { .. }, Some(tests)) if tests.failed > 0 => {
            format!("{name} fails ({} of {} tests)", tests.failed, tests.failed + tests.passed)
        }
        (CommandEnd::Failed { .. }, _) => format!("{name} fails"),
        (CommandEnd::TimedOut, _) => format!("{name} takes longer than it may"),
        (CommandEnd::Killed { .. }, _) => format!("{name} was ended"),
        (CommandEnd::Missing { .. }, _) => format!("{name} could not be run"),
    }
}

fn findings_in_words(report: &ChecksReport) -> Option<String> {
    let count = report.findings.len();
    (count > 0).then(|| format!("{} on changed lines", format::count(count, "finding", "findings")))
}

fn untested(tests: &TestsJudgement) -> Option<String> {
    let lacking = tests.asked.lacking();
    (lacking > 0)
        .then(|| format!("{} without a test", format::count(lacking, "file changed", "files changed")))
}

/// Whether a fix proves itself, in Markdown: also for the comment.
pub fn proof_sentence(report: &ProofReport) -> String {
    let tests_of =
        |tests: &[String]| words::listed(tests.iter().map(|test| code(test, NAME_MAX_GRAPHEMES)), NAMED);
    match &report.proof {
        Proof::Proven { tests, .. } => {
            let count = format::count(tests.len(), "test fails", "tests fail");
            let runs = report.runs;
            format!(
                "✅ The fix proves itself: without it {count} by assertion, with it they pass, {runs} times of {runs}: {}.",
                tests_of(tests)
            )
        }
        Proof::NoTests => "⚠️ The fix brings no test, so nothing shows that it mends anything.".into(),
        Proof::PassesWithout { tests } => format!(
            "⚠️ The tests pass without the fix, so they show nothing of it: {}. A test that fails without it would.",
            tests_of(tests)
        ),
        Proof::DoesNotCompile { .. } => {
            "⚠️ The tests do not compile without the fix, so they show nothing of it. Where the fix brings new functions, \
             test it through one that was there before."
                .into()
        }
        Proof::FailsWith { tests, .. } => format!(
            "⚠️ These tests fail without the fix, and do not always pass with it: {}.",
            tests_of(tests)
        ),
        Proof::Unclear { reason } => {
            format!("❔ Whether the fix is proven cannot be told: {}.", inline(reason, LINE_MAX_GRAPHEMES))
        }
    }
}

/// What is wrong with a head's tests, a sentence each, in Markdown, with the end of what was printed: for the comment.
pub fn complaints(tests: &TestsJudgement) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(report) = tests.report() {
        for command in report.commands.iter().filter(|command| !command.passed()) {
            let name = code(&command.name, NAME_MAX_GRAPHEMES);
            let rest = failing_in_words(command);
            let rest = rest.strip_prefix(&visible(&command.name)).unwrap_or(&rest).trim_start().to_owned();
            let why = match &command.end {
                CommandEnd::Killed { words } | CommandEnd::Missing { words } => {
                    format!(": {}", inline(words, LINE_MAX_GRAPHEMES))
                }
                _ => String::new(),
            };
            found.push((format!("{name} {rest}{why}."), command.output.clone()));
        }
        if let Some(words) = findings_in_words(report) {
            found.push((format!("{words}, in the check run `{TESTS}`."), String::new()));
        }
    }
    if tests.asked.lacking() > 0 {
        let paths = tests.asked.untested.iter().map(|path| code(path, PATH_MAX_GRAPHEMES));
        let listed = words::listed(paths, NAMED);
        found.push((format!("{}: {listed}.", untested(tests).unwrap_or_default()), String::new()));
    }
    found
}

#[derive(Template)]
#[template(path = "checks/tests.md")]
struct Summary {
    lead: String,
    commands: Vec<CommandRow>,
    outputs: Vec<(String, String)>,
    findings: Option<String>,
    proof: Option<(String, String)>,
    untested: Vec<String>,
    untested_left_out: usize,
}

struct CommandRow {
    name: String,
    result: String,
    time: String,
}

fn summary(tests: &TestsJudgement, lead: String) -> Summary {
    let report = tests.report();
    let commands = report.map(|report| report.commands.as_slice()).unwrap_or_default();
    Summary {
        lead,
        commands: commands.iter().take(ROWS_MAX).map(|command| row(tests, command)).collect(),
        outputs: commands
            .iter()
            .filter(|command| !command.passed() && !command.output.trim().is_empty())
            .map(|command| {
                let output = fenced_tail(&command.output, OUTPUT_MAX_BYTES / 2);
                (code(&command.name, NAME_MAX_GRAPHEMES), output)
            })
            .collect(),
        findings: report.and_then(findings_summary),
        proof: report.and_then(|report| report.proof.as_ref()).map(|proof| {
            let said = match &proof.proof {
                Proof::Proven { words, .. } | Proof::FailsWith { words, .. } => words.as_str(),
                Proof::DoesNotCompile { output } => output.as_str(),
                _ => "",
            };
            let said = match said.trim().is_empty() {
                true => String::new(),
                false => fenced_tail(said, OUTPUT_MAX_BYTES / 2),
            };
            (proof_sentence(proof), said)
        }),
        untested: tests.asked.untested.iter().map(|path| code(path, PATH_MAX_GRAPHEMES)).collect(),
        untested_left_out: tests.asked.untested_left_out,
    }
}

fn findings_summary(report: &ChecksReport) -> Option<String> {
    let (count, left_out) = (report.findings.len(), report.findings_left_out);
    if count == 0 && report.elsewhere == 0 {
        return None;
    }
    let errors = report.findings.iter().filter(|placed| placed.finding.level == ToolLevel::Error).count();
    let mut words = format!(
        "{} on changed lines, {errors} of them errors; {} on other lines, which are not told one by one.",
        format::count(count, "finding", "findings"),
        format::thousands(report.elsewhere as f64)
    );
    if left_out > 0 || count > ANNOTATIONS_MAX {
        words += &format!(
            " Only the first {ANNOTATIONS_MAX} have annotations; {} more are left out.",
            format::thousands(left_out as f64)
        );
    }
    Some(words)
}

fn row(tests: &TestsJudgement, command: &CommandReport) -> CommandRow {
    let sign = match tests.level_of_command(command) {
        Level::Off if command.passed() => "✅",
        Level::Off => "▫️",
        Level::Warn => "⚠️",
        Level::Error => "🔴",
    };
    let result = match (&command.end, command.tests) {
        (CommandEnd::Passed, Some(counts)) => {
            format!("{} passed", format::count(counts.passed as usize, "test", "tests"))
        }
        (CommandEnd::Passed, None) => "passed".into(),
        (CommandEnd::Failed { .. }, Some(counts)) if counts.failed > 0 => {
            format!("{} of {} tests failed", counts.failed, counts.failed + counts.passed)
        }
        (CommandEnd::Failed { code }, _) => format!("failed with exit code {code}"),
        (CommandEnd::TimedOut, _) => "ended at its time limit".into(),
        (CommandEnd::Killed { words } | CommandEnd::Missing { words }, _) => {
            inline(words, LINE_MAX_GRAPHEMES)
        }
    };
    CommandRow {
        name: code(&command.name, NAME_MAX_GRAPHEMES),
        result: format!("{sign} {result}"),
        time: format::seconds(command.seconds),
    }
}
