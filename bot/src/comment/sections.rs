//! What each section of the comment says. Absent sections are empty and leave no trace.

use super::{
    Limits,
    commits::{Offence, offences},
    rows::{self, Row, listed, sentence},
};
use crate::{
    format,
    judgement::{CommentContext, Level, Performance, Run},
    render::{
        facts::{Facts, Names, broken_by_head},
        markdown::{code, fenced_tail, inline, prose},
        words,
    },
};
use perfsuite::model::{Comparison, Metric, Report, Side};

/// Of a reason, a warning, a name of a machine: free text of one line.
const LINE_MAX_GRAPHEMES: usize = 200;
/// Bench executables named in a headline.
const IDENTICAL_SHOWN: usize = 5;

#[derive(Default)]
pub struct Sections<'a> {
    /// One line; a heading where somebody has to act or something changed, else plain.
    pub headline: String,
    /// Size, certainty and action of the first change, as separate words.
    pub weight: String,
    pub next: Vec<String>,
    /// Cells of the summary table: commits, performance. `None` in the calm states.
    pub summary: Option<(String, String)>,
    pub base: &'a str,
    pub head: &'a str,
    pub offences: Vec<Offence>,
    pub offences_left_out: usize,
    pub changes: Vec<Row>,
    pub changes_left_out: usize,
    /// One line each.
    pub notes: Vec<String>,
    pub suspects: Vec<Row>,
    pub failures: Vec<FailureRow>,
    /// A build that broke, or a job that failed: what it printed, fenced.
    pub output: String,
    pub output_title: String,
    pub all: Vec<Row>,
    pub all_title: String,
    pub all_left_out: usize,
    pub measured: Vec<String>,
    pub footer: String,
    /// Whether commands can be answered: not where a local range is reviewed.
    on_github: bool,
}

pub struct FailureRow {
    pub name: String,
    pub what: String,
    pub output: String,
}

impl<'a> Sections<'a> {
    pub fn of(run: &'a Run, context: Option<&CommentContext<'_>>, limits: &Limits) -> Self {
        let mut sections = Self { base: run.base.short(), head: run.head.short(), ..Self::default() };
        sections.on_github = context.is_some();
        (sections.offences, sections.offences_left_out) = offences(&run.commits, limits);
        if let Some(error) = &run.config_error {
            let place = format!("line {}, column {}", error.line, error.column);
            sections.headline = format!("## 🔴 The configuration {} cannot be used", code(&error.path, 100));
            sections.next.push(format!(
                "correct {place} of the file on the base branch: {} Until then only the defaults for commits apply \
                 and nothing is measured.",
                prose(&error.message, LINE_MAX_GRAPHEMES)
            ));
        }
        sections.performance(run, limits);
        sections.commit_messages(run);
        if sections.loud() {
            sections.summary = Some((commits_cell(run), performance_cell(run)));
        }
        sections.footer = context.map(footer).unwrap_or_default();
        sections
    }

    fn loud(&self) -> bool {
        self.headline.starts_with("## ")
    }

    /// Keeps the first heading: sections speak in order of weight.
    fn head_with(&mut self, headline: String) {
        if !self.loud() {
            self.headline = headline;
        }
    }

    fn performance(&mut self, run: &'a Run, limits: &Limits) {
        match &run.performance {
            Performance::Done { report } => self.report(report, limits),
            Performance::Queued { position, runners: 0 } => self.head_with(format!(
                "⏳ **Performance:** waiting, at position {position} of the queue. No runner is connected at the moment."
            )),
            Performance::Queued { position, .. } => {
                self.head_with(format!("⏳ **Performance:** waiting for a runner, at position {position} of the queue."));
            }
            Performance::Running { text, done, total } => {
                let count = if *total > 0 { format!(" ({done} of {total})") } else { String::new() };
                let text = inline(text, LINE_MAX_GRAPHEMES);
                self.head_with(format!("⏳ **Performance:** {text}{count}."));
            }
            Performance::Failed { message, output } => {
                self.head_with("## ❔ Performance could not be measured".into());
                self.notes.push(format!("**Why:** {}.", sentence_of(message)));
                self.next.push(if self.on_github {
                    "`/paceline retry` measures again, once the cause is gone.".into()
                } else {
                    "remove the cause, then review again.".into()
                });
                self.output("The end of the output", output, limits);
            }
            Performance::NeedsApproval { head } => {
                self.head_with("## ⏸️ Waiting for permission to run this fork's code".into());
                self.next.push(format!(
                    "somebody with write permission reads the change, then answers `/paceline run {head}` or presses \
                     *Run this head* on the check run. The permission holds for this head only."
                ));
            }
            Performance::Skipped { reason } => {
                self.head_with(format!("**Performance:** not measured: {}.", sentence_of(reason)));
            }
            Performance::Cancelled { by } => {
                self.head_with(format!("**Performance:** cancelled by {}.", inline(by, LINE_MAX_GRAPHEMES)));
                if self.on_github {
                    self.next.push("`/paceline bench` measures this head after all.".into());
                }
            }
        }
    }

    fn report(&mut self, report: &'a Report, limits: &Limits) {
        if let Some(build) = report.broken_build() {
            match build.side {
                Side::Head => {
                    self.head_with("## 🔴 The head does not build, so nothing was measured".into());
                    self.next.push("make it build; the end of the compiler's output is below.".into());
                }
                Side::Base => {
                    self.head_with(
                        "## ❔ The base does not build, so there is nothing to compare with".into(),
                    );
                    let again = if self.on_github { "answer `/paceline retry`" } else { "review again" };
                    self.next.push(format!(
                        "repair the base branch and rebase, or {again} if the cause was elsewhere."
                    ));
                }
            }
            let title =
                format!("The end of the build of the {}, `{}`", build.side.as_str(), build.commit.short());
            self.output(&title, build.error.as_deref().unwrap_or_default(), limits);
            self.measured = measured(report, &Facts::of(report), limits);
            return;
        }
        let (facts, names) = (Facts::of(report), Names::of(report));
        self.verdict(report, &facts, &names);
        self.tables(&facts, &names, limits);
        self.failures(report, &names, limits);
        self.notes(report, &facts, &names, limits);
        let rows: Vec<&Comparison> = facts.all_judged().chain(facts.shown.iter().copied()).collect();
        if rows.len() > self.changes.len() + self.suspects.len() {
            self.all_title = match rows.len() {
                1 => "The one row".into(),
                count => format!("All {} rows", format::thousands(count as f64)),
            };
            self.all = rows.iter().take(limits.rows).map(|row| Row::of(row, &names)).collect();
            self.all_left_out = rows.len() - self.all.len();
        }
        self.measured = measured(report, &facts, limits);
    }

    /// Headline, weight and next step of what was measured.
    fn verdict(&mut self, report: &Report, facts: &Facts<'_>, names: &Names<'_>) {
        let broken = broken_by_head(report);
        let first = |rows: &[&Comparison]| {
            let more = match rows.len() - 1 {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            format!("{}{more}", sentence(rows[0], names))
        };
        if let Some(row) = facts.blocking.first() {
            self.head_with(format!("## 🔴 Slower: {}", first(&facts.blocking)));
            self.weight = weight(row, "blocks the merge");
            self.next.push(format!(
                "make it fast again. If this is the price of something wanted, set `mode = \"advise\"` for {} in \
                 `.github/paceline.toml` on the base branch.",
                if facts.blocking.len() == 1 { "the benchmark" } else { "the benchmarks" }
            ));
        }
        if broken > 0 {
            let benchmarks = format::count(broken, "benchmark fails", "benchmarks fail");
            self.head_with(format!("## 🔴 {benchmarks} on the head"));
            let it = if broken == 1 { "it" } else { "them" };
            self.next.push(format!("repair {it}: what does not run is not known to be as fast as before."));
        }
        if let Some(row) = facts.advised.first() {
            self.head_with(format!("## 🟠 Slower, not blocking: {}", first(&facts.advised)));
            if self.weight.is_empty() {
                self.weight = weight(row, "only told, by the configuration");
            }
        }
        if let Some(row) = facts.faster.first() {
            self.head_with(format!("## 🟢 Faster: {}", first(&facts.faster)));
            if self.weight.is_empty() {
                self.weight = weight(row, "none needed");
            }
        }
        self.head_with(unchanged(report, facts));
    }

    fn tables(&mut self, facts: &Facts<'_>, names: &Names<'_>, limits: &Limits) {
        let changed: Vec<&Comparison> = facts.changed().collect();
        self.changes = changed.iter().take(limits.changes).map(|row| Row::of(row, names)).collect();
        self.changes_left_out = changed.len() - self.changes.len();
        self.suspects = facts.suspects.iter().take(limits.changes).map(|row| Row::of(row, names)).collect();
        // Who looks at a change of a server wants its other figures beside it.
        if !changed.is_empty() {
            let servers =
                facts.inconclusive.iter().chain(&facts.equal).filter(|row| row.metric != Metric::Time);
            self.changes.extend(servers.take(limits.items / 2).map(|row| Row::of(row, names)));
        } else {
            self.notes.extend(server_lines(facts, names, limits));
        }
    }

    fn failures(&mut self, report: &Report, names: &Names<'_>, limits: &Limits) {
        for failure in report.failures.iter().take(limits.items) {
            let name = match &failure.benchmark {
                Some(benchmark) => names.name(&failure.suite, &benchmark.0),
                None => failure.suite.clone(),
            };
            let whole = if failure.benchmark.is_none() { " (the whole suite)" } else { "" };
            let output = failure.output.trim();
            self.failures.push(FailureRow {
                name: code(&name, rows::NAME_MAX_GRAPHEMES) + whole,
                what: words::failure(failure.reason, failure.side),
                output: if output.is_empty() {
                    String::new()
                } else {
                    fenced_tail(output, limits.output_bytes / limits.items)
                },
            });
        }
        if report.failures.len() > limits.items {
            self.notes.push(format!(
                "{} more failures are on the run's page.",
                report.failures.len() - limits.items
            ));
        }
    }

    fn notes(&mut self, report: &Report, facts: &Facts<'_>, names: &Names<'_>, limits: &Limits) {
        if !facts.inconclusive.is_empty() {
            let rows = facts.inconclusive.iter();
            let named = rows.map(|row| {
                format!("{} ({} %)", rows::named_metric(row, names), format::interval(row.low, row.high))
            });
            let mut note = format!("❔ **Inconclusive:** {}.", listed(named, limits.items / 2));
            if let Some(minutes) = facts.minutes_to_settle() {
                note +=
                    &format!(" About {} more of measuring would settle it.", format::seconds(minutes * 60.0));
            }
            self.notes.push(note);
        }
        if let Some((low, high)) = facts.smallest_visible() {
            let share = if facts.judged() == 1 { "" } else { ", by benchmark" };
            self.notes.push(format!(
                "The smallest change that this run would have seen: {}{share}.",
                words::range(low, high)
            ));
        }
        // Where nothing else was there to judge, the headline says it.
        if !report.identical.is_empty() && (facts.judged() > 0 || !report.failures.is_empty()) {
            let names = report.identical.iter().map(|name| code(name, rows::NAME_MAX_GRAPHEMES));
            self.notes.push(format!(
                "**Identical machine code:** {}. Both sides built the same bytes, so nothing can have changed and nothing \
                 was run.",
                listed(names, limits.items)
            ));
        }
        for side in Side::BOTH {
            let on = report.one_sided.iter().filter(|one| one.side == side);
            let named: Vec<String> = on
                .map(|one| code(&names.name(&one.suite, &one.benchmark.0), rows::NAME_MAX_GRAPHEMES))
                .collect();
            if !named.is_empty() {
                let how = match side {
                    Side::Base => "removed or renamed",
                    Side::Head => "added or renamed",
                };
                let named = listed(named.into_iter(), limits.items);
                self.notes.push(format!(
                    "**Only on the {}** ({how}, so without a verdict): {named}.",
                    side.as_str()
                ));
            }
        }
        for missing in report.environment.missing.iter().take(limits.items) {
            self.notes.push(format!(
                "*Not shown here:* {}. `{}` is not installed on the runner; package {}.",
                inline(missing.hides.trim_end_matches('.'), LINE_MAX_GRAPHEMES),
                tool(missing.tool),
                code(&missing.package, 60)
            ));
        }
    }

    fn commit_messages(&mut self, run: &Run) {
        let (total, clean) = (run.commits.commits.len(), run.commits.clean());
        let bad = total - clean;
        if bad > 0 {
            let of = if total == 1 {
                "The commit message".into()
            } else {
                format!("{bad} of {total} commit messages")
            };
            let verb = if bad == 1 { "needs" } else { "need" };
            if run.commits.worst() == Level::Error {
                self.head_with(format!("## 🔴 {of} {verb} a change"));
                self.next.extend(how_to_mend(run));
            } else {
                self.headline += &format!(" ⚠️ {of} could be better.");
            }
        } else if total > 0 && !self.loud() {
            self.headline += match total {
                1 => " The commit message follows the convention.".to_owned(),
                2 => " Both commit messages follow the convention.".to_owned(),
                _ => format!(" All {total} commit messages follow the convention."),
            }
            .as_str();
        }
    }

    fn output(&mut self, title: &str, output: &str, limits: &Limits) {
        if !output.trim().is_empty() {
            self.output_title = title.to_owned();
            self.output = fenced_tail(output, limits.output_bytes);
        }
    }
}

/// Nothing slower, nothing faster: how sure that is.
fn unchanged(report: &Report, facts: &Facts<'_>) -> String {
    let (judged, open) = (facts.judged(), facts.inconclusive.len());
    if judged == 0 {
        return if !report.failures.is_empty() {
            "## ❔ Performance could not be measured".into()
        } else if !report.identical.is_empty() {
            let names = report.identical.iter().map(|name| code(name, rows::NAME_MAX_GRAPHEMES));
            let names = listed(names, IDENTICAL_SHOWN);
            format!(
                "✅ **Performance cannot have changed:** both sides build to identical machine code ({names}), so nothing was run."
            )
        } else if !report.one_sided.is_empty() {
            "**Performance:** no benchmark is on both sides, so there is no verdict.".into()
        } else {
            "**Performance:** no benchmark was found.".into()
        };
    }
    let suspects = match facts.suspects.len() {
        0 => String::new(),
        count => format!(", {count} perhaps changed by code layout only"),
    };
    let equal = facts.equal.len();
    if open == judged && judged == 1 {
        "## ❔ No verdict: the one comparison is inconclusive".into()
    } else if open == judged {
        format!("## ❔ No verdict: all {judged} comparisons are inconclusive")
    } else if open > 0 {
        format!(
            "✅ **No change found in performance:** {equal} of {judged} comparisons equal, {open} inconclusive{suspects}."
        )
    } else {
        let count = format::count(equal, "comparison", "comparisons");
        format!("✅ **No change in performance:** {count} equal{suspects}.")
    }
}

/// The commands that change messages and fold commits, for what has errors.
fn how_to_mend(run: &Run) -> Vec<String> {
    let errors = |fixup: bool| {
        let offending = run.commits.commits.iter().filter(move |commit| {
            commit.findings.iter().any(|f| f.level == Level::Error && (f.rule == "fixup") == fixup)
        });
        offending.count()
    };
    let base = run.base.short();
    let mut steps = Vec::new();
    match errors(false) {
        0 => {}
        count => steps.push(format!(
            "reword {}: `git rebase -i {base}`, `reword` in front of the commit, then `git push --force-with-lease`.",
            if count == 1 { "it" } else { "them" }
        )),
    }
    if errors(true) > 0 {
        steps.push(format!(
            "fold the `fixup!` commits before the merge: `git rebase -i --autosquash {base}`."
        ));
    }
    steps
}

fn weight(row: &Comparison, action: &str) -> String {
    format!("**Size:** {} · **Certainty:** confirmed · **Action:** {action}", words::size(row.estimate))
}

/// QPS and latency of each server, one line each, where nothing changed.
fn server_lines(facts: &Facts<'_>, names: &Names<'_>, limits: &Limits) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for row in facts
        .all_judged()
        .filter(|row| matches!(row.metric, Metric::QpsPerCore | Metric::LatencyP50 | Metric::LatencyP99))
    {
        let name = rows::name(row, names);
        let (base, head) = (format::value(row.metric, row.base), format::value(row.metric, row.head));
        let figure = format!("{} {base} → {head} ({})", row.metric.title(), format::change(row.estimate));
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, figures)) => figures.push(figure),
            None => lines.push((name, vec![figure])),
        }
    }
    lines
        .into_iter()
        .take(limits.items)
        .map(|(name, figures)| format!("{name}: {}", figures.join(" · ")))
        .collect()
}

fn measured(report: &Report, facts: &Facts<'_>, limits: &Limits) -> Vec<String> {
    let environment = &report.environment;
    let line = |text: &str| inline(text, LINE_MAX_GRAPHEMES);
    let mut lines = Vec::new();
    if let Some((low, high)) = facts.visits() {
        let visits = if low == high { low.to_string() } else { format!("{low} to {high}") };
        lines.push(format!(
            "{visits} visits a comparison; in each visit a fresh process of base and of head takes turns with the other."
        ));
    }
    let building = format::seconds(report.build_seconds);
    if facts.judged() > 0 {
        lines.push(format!(
            "{} of measuring, {building} of building.",
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

fn commits_cell(run: &Run) -> String {
    let (total, clean) = (run.commits.commits.len(), run.commits.clean());
    match run.commits.worst() {
        _ if total == 0 => "not judged".into(),
        Level::Off => format!("✅ {clean} of {total}"),
        Level::Warn => format!("⚠️ {clean} of {total} clean"),
        Level::Error => format!("🔴 {} of {total} to reword", total - clean),
    }
}

fn performance_cell(run: &Run) -> String {
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

fn footer(context: &CommentContext<'_>) -> String {
    let mut parts = Vec::new();
    if !context.pull.author_is_bot {
        let person = rows::person(&context.pull.author);
        parts.push(match context.author_pulls {
            0 | 1 => format!("{person}'s first pull request seen here"),
            count => format!("{person}'s {} pull request seen here", words::ordinal(count)),
        });
    }
    let (public_url, name) = (context.public_url, context.name);
    if let Some(job) = context.job {
        parts.push(format!("[the run]({public_url}/runs/{job})"));
    }
    parts.push(format!("[the pull request's page]({public_url}/{name}/pull/{})", context.pull.number));
    parts.join(" · ")
}

fn tool(tool: perfsuite::model::Tool) -> &'static str {
    match tool {
        perfsuite::model::Tool::Bubblewrap => "bwrap",
        perfsuite::model::Tool::Perf => "perf",
        perfsuite::model::Tool::Valgrind => "valgrind",
    }
}

/// Somebody's sentence without its full stop.
fn sentence_of(text: &str) -> String {
    inline(text.trim().trim_end_matches('.'), LINE_MAX_GRAPHEMES)
}
