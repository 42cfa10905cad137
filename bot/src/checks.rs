//! Check runs: facts in, conclusion, Markdown and annotations out. Pure.

mod commits;
mod reviews;
mod tested;

pub use commits::{ANNOTATIONS_MAX, COMMITS, commits_check};
pub use reviews::{REVIEWS, reviewed_before, reviews_check, sentence as reviews_sentence};
pub use tested::{TESTS, complaints, proof_sentence, tested_before, tests_check, told};

use crate::{
    format,
    judgement::{Acceptance, Performance, Run},
    outgoing::{Action, Annotation, AnnotationLevel, CheckRun, CheckStatus, Conclusion, TEXT_MAX_CHARS},
    render::{
        facts::{Facts, Names, broken_by_head},
        markdown::{code, fenced_tail, inline, prose, tidy, visible},
        words,
    },
    repo_config, text,
};
use askama::Template;
use perfsuite::model::{Report, Side};

pub const PERFORMANCE: &str = "paceline/performance";
pub const CONFIG: &str = "paceline/config";

/// The names of all check runs.
pub const ALL: [&str; 5] = [COMMITS, TESTS, REVIEWS, PERFORMANCE, CONFIG];

/// The identifier of the button that allows a fork's head to run.
pub const RUN_ACTION: &str = "run";

/// GitHub cuts longer titles of check runs.
const TITLE_MAX_GRAPHEMES: usize = 200;
const LINE_MAX_GRAPHEMES: usize = 300;
/// Bytes of the end of a program's output.
const OUTPUT_MAX_BYTES: usize = 8_000;
/// Rows of the table; the run's page has all.
const ROWS_MAX: usize = 100;

/// The marker that finds a check run again: unique for head and name within its repository, and without the
/// repository's name, which may change.
pub fn external_id(run: &Run, name: &str) -> String {
    format!("{name}:{}", run.head)
}

/// `paceline/performance`.
pub fn performance_check(run: &Run, details: &str) -> CheckRun {
    let done = |conclusion, title: String, summary: String| {
        completed(run, PERFORMANCE, details, conclusion, title, summary)
    };
    match &run.performance {
        Performance::Queued { position, runners, because, wait_minutes } => {
            let summary = match (because, runners) {
                (Some(reason), _) => inline(reason, LINE_MAX_GRAPHEMES),
                (None, 0) => "No runner is connected at the moment. The run starts when one is.".to_owned(),
                (None, _) => {
                    format!("{} connected.", format::count(*runners as usize, "runner is", "runners are"))
                }
            };
            let wait = wait_minutes.map(|minutes| format!(", about {minutes} min")).unwrap_or_default();
            let title = format!("Waiting for a runner, at position {position} of the queue{wait}");
            CheckRun { status: CheckStatus::Queued, ..done(Conclusion::Neutral, title, summary) }
        }
        Performance::Running { text, done: at, total } => {
            let count = if *total > 0 { format!(" ({at} of {total})") } else { String::new() };
            let title = text::cut(&visible(text), TITLE_MAX_GRAPHEMES) + &count;
            let summary = format!("{}{count}.", inline(text, LINE_MAX_GRAPHEMES));
            CheckRun { status: CheckStatus::InProgress, ..done(Conclusion::Neutral, title, summary) }
        }
        Performance::Done { report } => judged(run, details, report),
        Performance::Failed { message, output } => {
            let mut summary = format!("{}.", inline(message.trim_end_matches('.'), LINE_MAX_GRAPHEMES));
            if !output.trim().is_empty() {
                summary += &format!("\n\n{}", fenced_tail(output, OUTPUT_MAX_BYTES));
            }
            done(Conclusion::Neutral, "Could not be measured".into(), summary)
        }
        Performance::NeedsApproval { head } => {
            let summary = format!(
                "The code comes from a fork, and nobody with write permission has allowed it to run. Read the change, \
                 then press *Run this head*, or answer `/paceline run {head}` on the pull request. The permission holds \
                 for this head only."
            );
            let action = Action {
                label: "Run this head".into(),
                description: "Allow this fork's code to be measured".into(),
                identifier: RUN_ACTION.into(),
            };
            let title = "Needs permission to run a fork's code".into();
            CheckRun { actions: vec![action], ..done(Conclusion::ActionRequired, title, summary) }
        }
        Performance::Skipped { reason } => {
            let reason = reason.trim_end_matches('.');
            let title = text::cut(&format!("Not measured: {}", visible(reason)), TITLE_MAX_GRAPHEMES);
            done(Conclusion::Skipped, title, format!("Not measured: {}.", inline(reason, LINE_MAX_GRAPHEMES)))
        }
        Performance::Cancelled { by } => {
            let title = text::cut(&format!("Cancelled by {}", visible(by)), TITLE_MAX_GRAPHEMES);
            let summary = "`/paceline bench` on the pull request measures this head after all.".into();
            done(Conclusion::Cancelled, title, summary)
        }
    }
}

/// `paceline/config`, where the configuration cannot be used: points at its line.
pub fn config_check(run: &Run, details: &str) -> Option<CheckRun> {
    let error = run.config_error.as_ref()?;
    let title = text::cut(&visible(&error.message), TITLE_MAX_GRAPHEMES);
    let summary = format!(
        "{} cannot be used: line {}, column {}: {}\n\nThe file is read from the base branch. Until it is corrected there, \
         commits are judged by the defaults and nothing is measured. `paceline config check {}` says the same before a \
         push.",
        code(&error.path, 100),
        error.line,
        error.column,
        prose(&error.message, LINE_MAX_GRAPHEMES),
        repo_config::PATH,
    );
    let annotation = Annotation {
        path: error.path.clone(),
        line: error.line,
        column: Some(error.column),
        level: AnnotationLevel::Failure,
        title: "Not a valid configuration".into(),
        message: visible(&error.message),
    };
    let check = completed(run, CONFIG, details, Conclusion::Failure, title, summary);
    Some(CheckRun { annotations: vec![annotation], ..check })
}

/// The conclusion of a finished report, as the check run and the merge button see it.
pub fn conclusion(report: &Report) -> Conclusion {
    let facts = Facts::of(report);
    match report.broken_build() {
        Some(build) if build.side == Side::Head => return Conclusion::Failure,
        // Without a base there is nothing to hold against the head.
        Some(_) => return Conclusion::Neutral,
        None => {}
    }
    if !facts.blocking.is_empty() || broken_by_head(report) > 0 {
        Conclusion::Failure
    } else if !facts.advised.is_empty()
        || facts.slower_suspects().next().is_some()
        || !facts.inconclusive.is_empty()
        || !report.failures.is_empty()
        || !report.one_sided.is_empty()
        || (facts.judged() == 0 && !report.has_same_code())
    {
        Conclusion::Neutral
    } else {
        Conclusion::Success
    }
}

/// The same for a run: slowdowns that were accepted block no more. What is broken still does.
fn concluded(run: &Run, report: &Report) -> Conclusion {
    match conclusion(report) {
        Conclusion::Failure
            if run.accepted.is_some() && report.broken_build().is_none() && broken_by_head(report) == 0 =>
        {
            Conclusion::Neutral
        }
        conclusion => conclusion,
    }
}

fn judged(run: &Run, details: &str, report: &Report) -> CheckRun {
    let (facts, names) = (Facts::of(report), Names::of(report));
    let build = report.broken_build();
    let rows: Vec<_> = match build {
        None => facts.all_judged().chain(facts.shown.iter().copied()).collect(),
        Some(_) => Vec::new(),
    };
    let summary = PerformanceSummary {
        build: build.map(|build| {
            let output = fenced_tail(build.error.as_deref().unwrap_or_default(), OUTPUT_MAX_BYTES);
            (build.side.as_str(), output)
        }),
        rows: rows.iter().take(ROWS_MAX).map(|row| cells(row, &names)).collect(),
        left_out: rows.len().saturating_sub(ROWS_MAX),
        failures: report
            .failures
            .iter()
            .take(ROWS_MAX)
            .map(|f| {
                let name = f.benchmark.as_ref().map_or(&f.suite, |benchmark| &benchmark.0);
                format!("{} {}", code(name, 80), words::failure(f.reason, f.side))
            })
            .collect(),
        one_sided: report
            .one_sided
            .iter()
            .take(ROWS_MAX)
            .filter(|one| one.side == Side::Base || one.other_name.is_none())
            .map(|one| match &one.other_name {
                Some(other) => {
                    let (from, to) = (code(&one.benchmark.0, 80), code(&other.0, 80));
                    format!("{from} is called {to} on the head, by its machine code")
                }
                None => format!("{} is only on the {}", code(&one.benchmark.0, 80), one.side.as_str()),
            })
            .collect(),
        notes: run.accepted.iter().map(acceptance).chain(notes(report, &facts)).collect(),
        base: report.base.short(),
        head: report.head.short(),
    };
    let title = match &run.accepted {
        Some(accepted) if report.blocks() => {
            let words = format!("Accepted by {}: {}", visible(&accepted.by), title(report, &facts));
            text::cut(&words, TITLE_MAX_GRAPHEMES)
        }
        _ => title(report, &facts),
    };
    completed(run, PERFORMANCE, details, concluded(run, report), title, rendered(&summary))
}

fn acceptance(accepted: &Acceptance) -> String {
    format!("**Accepted** by {}: {}", code(&accepted.by, 60), inline(&accepted.reason, LINE_MAX_GRAPHEMES))
}

/// Sentences below the table. Never none: GitHub refuses a check run without a summary.
fn notes(report: &Report, facts: &Facts<'_>) -> Vec<String> {
    /// Of names in a sentence, and of sentences about missing tools.
    const LISTED: usize = 20;
    let mut notes = Vec::new();
    if let Some((low, high)) = facts.smallest_visible() {
        notes
            .push(format!("The smallest change that this run would have seen: {}.", words::range(low, high)));
    }
    if report.has_same_code() {
        let names = words::listed(report.same_code().map(|name| code(name, 80)), LISTED);
        notes.push(format!("Identical machine code on both sides, so nothing was run: {names}."));
    }
    if !facts.instruction_changes.is_empty() {
        let named = facts.instruction_changes.iter();
        let named =
            named.map(|row| format!("{} {}", code(&row.benchmark.0, 80), format::change(row.estimate)));
        let named = words::listed(named, LISTED);
        notes.push(format!("Other instructions in the same time: {named}."));
    }
    if let Some(row) = facts.advised.iter().find(|row| row.mode_reason.is_some()) {
        let reason = row.mode_reason.as_deref().unwrap_or_default();
        let (name, reason) = (code(&row.benchmark.0, 80), inline(reason, LINE_MAX_GRAPHEMES));
        notes.push(format!("{name} does not block: {reason}."));
    }
    if let Some(clock) = report.clock_against_code() {
        let beyond = match clock.disagree.len() {
            0 => String::new(),
            count => format!(", {count} beyond, which is layout still or a false alarm"),
        };
        notes
            .push(format!("Measured although the machine code is identical: {}{beyond}.", clock.agreement()));
    }
    for missing in report.environment.missing.iter().take(LISTED) {
        notes.push(format!(
            "Not shown here: {} (package {}).",
            inline(missing.hides.trim_end_matches('.'), LINE_MAX_GRAPHEMES),
            code(&missing.package, 60)
        ));
    }
    let silent = report.failures.is_empty() && report.one_sided.is_empty() && report.broken_build().is_none();
    if facts.judged() == 0 && notes.is_empty() && silent {
        notes.push("No benchmark was found on either side.".into());
    }
    notes
}

/// The verdict in one line, without Markdown.
fn title(report: &Report, facts: &Facts<'_>) -> String {
    let named = |rows: &[&perfsuite::model::Comparison]| {
        let row = rows[0];
        let more = if rows.len() > 1 { format!(" and {} more", rows.len() - 1) } else { String::new() };
        let (name, change) = (visible(&row.benchmark.0), format::change(row.estimate));
        format!("{name} {} {change}{more}", row.metric.title())
    };
    let broken = broken_by_head(report);
    let suspects: Vec<_> = facts.slower_suspects().collect();
    let line = if let Some(build) = report.broken_build() {
        format!("The {} does not build", build.side.as_str())
    } else if !facts.blocking.is_empty() {
        format!("Slower: {}", named(&facts.blocking))
    } else if broken > 0 {
        format!("{} on the head", format::count(broken, "benchmark fails", "benchmarks fail"))
    } else if !facts.advised.is_empty() {
        format!("Slower, not blocking: {}", named(&facts.advised))
    } else if !suspects.is_empty() {
        format!("Slower, perhaps only by code layout: {}", named(&suspects))
    } else if !facts.faster.is_empty() {
        format!("Faster: {}", named(&facts.faster))
    } else if facts.judged() == 0 && report.has_same_code() {
        "Identical machine code on both sides".into()
    } else if facts.judged() == 0 {
        "Nothing to compare".into()
    } else if facts.inconclusive.len() == facts.judged() {
        "No verdict: every comparison is inconclusive".into()
    } else if facts.inconclusive.is_empty() {
        format!("No change: {} equal", format::count(facts.equal.len(), "comparison", "comparisons"))
    } else {
        format!(
            "No change found; {} of {} comparisons inconclusive",
            facts.inconclusive.len(),
            facts.judged()
        )
    };
    text::cut(&line, TITLE_MAX_GRAPHEMES)
}

fn cells(row: &perfsuite::model::Comparison, names: &Names<'_>) -> [String; 6] {
    let (sign, word) = words::verdict(row);
    [
        code(&names.name(&row.suite, &row.benchmark.0), 80),
        row.metric.title().into(),
        format::value(row.metric, row.base),
        format::value(row.metric, row.head),
        format!("{} ({})", format::change(row.estimate), words::interval(row, "")),
        format!("{sign} {word}"),
    ]
}

fn completed(
    run: &Run,
    name: &str,
    details: &str,
    conclusion: Conclusion,
    title: String,
    summary: String,
) -> CheckRun {
    CheckRun {
        name: name.into(),
        head_sha: run.head.clone(),
        external_id: external_id(run, name),
        status: CheckStatus::Completed(conclusion),
        title,
        summary: bounded(summary),
        text: String::new(),
        details_url: (!details.is_empty()).then(|| details.to_owned()),
        annotations: Vec::new(),
        actions: Vec::new(),
    }
}

/// Templates write into memory and call nothing that fails.
fn rendered(template: &impl Template) -> String {
    tidy(&template.render().unwrap_or_default())
}

/// Every part is bounded, so that this cuts only where very many are long.
fn bounded(summary: String) -> String {
    if summary.encode_utf16().count() <= TEXT_MAX_CHARS {
        return summary;
    }
    let mut kept = String::new();
    for line in summary.lines() {
        if kept.len() + line.len() > TEXT_MAX_CHARS - 200 {
            break;
        }
        kept += line;
        kept.push('\n');
    }
    kept + "\n*The rest is on the run's page.*"
}

#[derive(Template)]
#[template(path = "checks/performance.md")]
struct PerformanceSummary<'a> {
    build: Option<(&'static str, String)>,
    rows: Vec<[String; 6]>,
    left_out: usize,
    failures: Vec<String>,
    one_sided: Vec<String>,
    notes: Vec<String>,
    base: &'a str,
    head: &'a str,
}

#[cfg(test)]
mod tests;
