//! What stands around the verdict: the summary's cells, how it was measured, the footer.

use super::{Limits, rows};
use crate::{
    format,
    judgement::{Checks, CommentContext, Level, Performance, ReviewsJudgement, Run, TestsJudgement},
    render::{facts::Facts, markdown::inline, words},
};
use perfsuite::model::{Report, Scenario, Tool};

/// Of a warning, a name of a machine: free text of one line.
const LINE_MAX_GRAPHEMES: usize = 200;

pub fn commits_cell(run: &Run) -> String {
    let (total, clean) = (run.commits.commits.len(), run.commits.clean());
    match run.commits.worst() {
        _ if total == 0 => "not judged".into(),
        Level::Off => format!("✅ {clean} of {total}"),
        Level::Warn => format!("⚠️ {clean} of {total} clean"),
        Level::Error => format!("🔴 {} of {total} to reword", total - clean),
    }
}

pub fn reviews_cell(reviews: &ReviewsJudgement) -> String {
    match (reviews.lacking(), reviews.owned) {
        (_, 0) => "nobody owns what changed".into(),
        (0, owned) => format!("✅ {owned} of {owned} files"),
        (lacking, owned) => format!("⏳ {} of {owned} files", owned - lacking),
    }
}

pub fn tests_cell(tests: &TestsJudgement) -> String {
    let lacking = match tests.asked.lacking() {
        0 => String::new(),
        count => format!("{} without a test", format::count(count, "file", "files")),
    };
    let warned = |words: String| if words.is_empty() { String::new() } else { format!(" · ⚠️ {words}") };
    let report = match &tests.checks {
        Checks::Done { report } => report,
        Checks::Skipped { .. } if lacking.is_empty() => return "nothing to run".into(),
        Checks::Skipped { .. } => return format!("⚠️ {lacking}"),
        Checks::NeedsApproval => return "⏸️ needs permission".into(),
        Checks::Queued { .. } => return "⏳ waiting".to_owned() + &warned(lacking),
        Checks::Running { .. } => return "⏳ running".to_owned() + &warned(lacking),
        Checks::Failed { .. } => return "❔ not run".to_owned() + &warned(lacking),
        Checks::Cancelled { .. } => return "cancelled".to_owned() + &warned(lacking),
    };
    let (passed, all) = (report.commands.iter().filter(|c| c.passed()).count(), report.commands.len());
    let mut parts = Vec::new();
    if all > 0 {
        let sign = match passed == all {
            true => "✅",
            false if tests.worst() == Level::Error => "🔴",
            false => "⚠️",
        };
        parts.push(format!("{sign} {passed} of {all} pass"));
    }
    if let Some(proof) = &report.proof {
        parts.push(if proof.proof.proven() { "✅ proven" } else { "⚠️ not proven" }.into());
    }
    if !report.findings.is_empty() {
        parts.push(format!("⚠️ {}", format::count(report.findings.len(), "finding", "findings")));
    }
    if !lacking.is_empty() {
        parts.push(format!("⚠️ {lacking}"));
    }
    if parts.is_empty() { "nothing to run".into() } else { parts.join(" · ") }
}

pub fn performance_cell(run: &Run) -> String {
    let report = match &run.performance {
        Performance::Done { report } => report,
        Performance::Queued { .. } => return "⏳ waiting".into(),
        Performance::Running { .. } => return "⏳ running".into(),
        Performance::Failed { .. } => return "❔ not measured".into(),
        Performance::NeedsApproval { .. } => return "⏸️ needs permission".into(),
        Performance::Skipped { .. } => return "not measured".into(),
        Performance::Cancelled { .. } => return "cancelled".into(),
    };
    if report.broken_build().is_some() {
        return "❔ not measured".into();
    }
    let facts = Facts::of(report);
    let counts = [
        (facts.blocking.len(), "🔴", " slower"),
        (facts.advised.len(), "🟠", " slower"),
        (report.failures.len(), "💥", " failed"),
        (facts.faster.len(), "🟢", " faster"),
        (facts.suspects.len(), "◽", " layout"),
        (facts.instruction_changes.len(), "🔹", " instructions only"),
        (facts.equal.len(), "⚪", " equal"),
        (facts.inconclusive.len(), "❔", " inconclusive"),
        (report.one_sided.len(), "➕", " without a base or a head"),
    ];
    let shown = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, sign, word)| format!("{sign} {count}{word}"));
    let cell = shown.collect::<Vec<_>>().join(" · ");
    if cell.is_empty() { "nothing to compare".into() } else { cell }
}

pub fn measured(report: &Report, facts: &Facts<'_>, limits: &Limits) -> Vec<String> {
    let environment = &report.environment;
    let line = |text: &str| inline(text, LINE_MAX_GRAPHEMES);
    let mut lines = Vec::new();
    if let Some((low, high)) = facts.visits() {
        let visits = match (low, high) {
            (1, 1) => "1 visit".into(),
            (low, high) if low == high => format!("{low} visits"),
            (low, high) => format!("{low} to {high} visits"),
        };
        lines.push(format!(
            "{visits} a comparison; in each visit a fresh process of base and of head takes turns with the other."
        ));
    }
    let building = format::seconds(report.build_seconds);
    if facts.judged() > 0 {
        let counting = match report.count_seconds {
            seconds if seconds > 0.0 => {
                format!(" ({} of it counting instructions)", format::seconds(seconds))
            }
            _ => String::new(),
        };
        lines.push(format!(
            "{} of measuring{counting}, {building} of building.",
            format::seconds(report.measure_seconds)
        ));
        lines.push(format!("At most {} runs raises a false alarm.", words::odds(report.budget)));
    } else {
        lines.push(format!("{building} of building."));
    }
    let mut machine =
        vec![line(&environment.cpu_model), format::count(environment.cpu_cores as usize, "core", "cores")];
    machine.push(format!("{} {}", line(&environment.os), line(&environment.kernel)));
    machine.extend(environment.rustc.as_deref().map(line));
    machine.retain(|part| !part.trim().is_empty());
    lines.push(format!("Machine: {}.", machine.join(", ")));
    if !environment.sandbox.is_empty() {
        lines.push(format!("Sandbox: {}.", line(environment.sandbox.trim_end_matches('.'))));
    }
    if let Some(steal) = environment.steal.filter(|steal| *steal >= 0.001) {
        lines.push(format!(
            "{} of the time was taken by other guests of the same host.",
            format::percent(steal)
        ));
    }
    if let Some(others) = environment.others.filter(|others| *others >= 0.001) {
        lines.push(format!(
            "{} of the machine was used by other programs meanwhile.",
            format::percent(others)
        ));
    }
    if let Some((before, after)) = environment.load_before.zip(environment.load_after) {
        lines.push(format!("Load average {before:.1} before, {after:.1} after."));
    }
    let scenarios = report.scenarios.iter().flat_map(Scenario::in_words);
    lines.extend(scenarios.take(limits.items).map(|said| format!("{}.", line(&said))));
    lines.extend(
        environment
            .warnings
            .iter()
            .take(limits.items)
            .map(|w| format!("⚠️ {}.", line(w.trim_end_matches('.')))),
    );
    lines.push(format!(
        "Measure it yourself: `paceline review {}..{}`",
        report.base.short(),
        report.head.short()
    ));
    lines
}

pub fn tool(tool: Tool) -> &'static str {
    match tool {
        Tool::Bubblewrap => "bwrap",
        Tool::Perf => "perf",
        Tool::Valgrind => "valgrind",
    }
}

pub fn footer(context: &CommentContext<'_>) -> String {
    let mut parts = Vec::new();
    if !context.pull.author_is_bot {
        let person = rows::person(&context.pull.author);
        parts.push(match context.author_pulls {
            0 | 1 => format!("{person}'s first pull request seen here"),
            count => format!("{person}'s {} pull request seen here", words::ordinal(count)),
        });
    }
    parts.extend(context.stages.map(|stages| stages.in_words()).filter(|words| !words.is_empty()));
    let (public_url, name) = (context.public_url, context.name);
    if let Some(job) = context.job {
        parts.push(format!("[the run]({public_url}/runs/{job})"));
    }
    parts.push(format!("[the pull request's page]({public_url}/{name}/pull/{})", context.pull.number));
    parts.join(" · ")
}
