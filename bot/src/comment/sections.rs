//! What each section of the comment says. Absent sections are empty and leave no trace.

mod tested;

use super::{
    Limits, author,
    commits::{Offence, offences},
    rows::{self, Row, sentence},
    sentences::{how_to_mend, server_lines, unchanged, weight},
    surroundings::{commits_cell, footer, measured, performance_cell, reviews_cell, tests_cell, tool},
};
use crate::{
    checks::reviews_sentence,
    format,
    judgement::{Acceptance, CommentContext, Level, Performance, Run},
    render::{
        causes,
        facts::{Facts, Names, broken_by_head},
        markdown::{code, fenced_tail, inline, prose},
        words,
    },
};
use perfsuite::model::{BenchmarkId, Comparison, Metric, Mode, Report, Side};

/// Of a reason, a warning, a name of a machine: free text of one line.
const LINE_MAX_GRAPHEMES: usize = 200;

#[derive(Default)]
pub struct Sections<'a> {
    /// One line; a heading where somebody has to act or something changed, else plain.
    pub headline: String,
    /// Size, certainty and action of the first change, as separate words.
    pub weight: String,
    pub next: Vec<String>,
    /// Columns of the summary table, each with its cell. None in the calm states.
    pub summary: Vec<(&'static str, String)>,
    /// What types claim and the change does not bear out, where that is an error: one line each.
    pub claims: Vec<String>,
    /// Who must still approve, in a sentence. Empty where nothing is asked or nothing lacks.
    pub reviews: String,
    /// That this has waited too long. Empty in time.
    pub reminder: String,
    /// What the repository's own checks say, and whether a fix proves itself: one line each, with the end of what was
    /// printed, fenced.
    pub tests: Vec<(String, String)>,
    pub base: &'a str,
    pub head: &'a str,
    pub offences: Vec<Offence>,
    pub offences_left_out: usize,
    pub changes: Vec<Row>,
    pub changes_left_out: usize,
    /// Which functions the changes come from, one line each.
    pub causes: Vec<String>,
    /// One line each.
    pub notes: Vec<String>,
    pub suspects: Vec<Row>,
    pub instruction_changes: Vec<Row>,
    pub failures: Vec<FailureRow>,
    /// A build that broke, or a job that failed: what it printed, fenced.
    pub output: String,
    pub output_title: String,
    pub all: Vec<Row>,
    pub all_title: String,
    pub all_left_out: usize,
    pub measured: Vec<String>,
    pub footer: String,
    /// For who comes for the first time. Else empty.
    pub welcome: String,
    /// What the author's earlier pull requests came to, a line each.
    pub record: Vec<String>,
    accepted: Option<&'a Acceptance>,
    /// Whether commands can be answered: not where a local range is reviewed.
    on_github: bool,
    /// Of the run's page.
    run_url: Option<String>,
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
        sections.run_url =
            context.and_then(|context| Some(format!("{}/runs/{}", context.public_url, context.job?)));
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
        sections.accepted = run.accepted.as_ref();
        sections.tests(run, limits);
        sections.performance(run, limits);
        sections.commit_messages(run);
        sections.untold_tests(run);
        if sections.loud() {
            sections.summary.push(("commits", commits_cell(run)));
            sections.summary.extend(run.tests.as_ref().map(|tests| ("tests", tests_cell(tests))));
            sections.summary.extend(run.reviews.as_ref().map(|reviews| ("reviews", reviews_cell(reviews))));
            sections.summary.push(("performance", performance_cell(run)));
        }
        let claims = run.commits.claims.iter().filter(|claim| claim.level == Level::Error);
        sections.claims = claims.map(|claim| prose(&claim.message, LINE_MAX_GRAPHEMES)).collect();
        if let Some(reviews) = run.reviews.as_ref().filter(|reviews| reviews.lacking() > 0) {
            sections.reviews = format!("⏳ **Reviews:** {}", reviews_sentence(reviews));
        }
        sections.reminder = context.and_then(|context| context.stages?.reminder()).unwrap_or_default();
        sections.footer = context.map(footer).unwrap_or_default();
        sections.welcome = context.map(|context| author::welcome(run, context)).unwrap_or_default();
        sections.record = context.map(author::record).unwrap_or_default();
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
            Performance::Queued { position, because: Some(reason), .. } => self.head_with(format!(
                "⏳ **Performance:** waiting, at position {position} of the queue. {}",
                inline(reason, LINE_MAX_GRAPHEMES)
            )),
            Performance::Queued { position, runners: 0, .. } => self.head_with(format!(
                "⏳ **Performance:** waiting, at position {position} of the queue. No runner is connected at the moment."
            )),
            Performance::Queued { position, wait_minutes, .. } => {
                let wait = wait_minutes.map(|minutes| format!(", about {minutes} min")).unwrap_or_default();
                self.head_with(format!(
                    "⏳ **Performance:** waiting for a runner, at position {position} of the queue{wait}."
                ));
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
        self.causes(report, &names, limits);
        self.failures(report, &names, limits);
        self.notes(report, &facts, &names, limits);
        let rows: Vec<&Comparison> = facts.all_judged().chain(facts.shown.iter().copied()).collect();
        if rows.len() > self.changes.len() + self.suspects.len() + self.instruction_changes.len() {
            self.all_title = match rows.len() {
                1 => "The one row".into(),
                count => format!("All {} rows", format::thousands(count as f64)),
            };
            self.all = rows.iter().take(limits.rows).map(|row| Row::of(row, &names)).collect();
            self.all_left_out = rows.len() - self.all.len();
        }
        self.measured.extend(measured(report, &facts, limits));
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
        if let Some((accepted, row)) = self.accepted.zip(facts.blocking.first()) {
            self.head_with(format!("## 🟠 Slower, accepted: {}", first(&facts.blocking)));
            self.weight = weight(row, "accepted for this head");
            let by = code(&accepted.by, LINE_MAX_GRAPHEMES);
            self.notes
                .push(format!("**Accepted** by {by}: {}", inline(&accepted.reason, LINE_MAX_GRAPHEMES)));
        } else if let Some(row) = facts.blocking.first() {
            self.head_with(format!("## 🔴 Slower: {}", first(&facts.blocking)));
            self.weight = weight(row, "blocks the merge");
            self.next.push(format!(
                "make it fast again{}. If this is the price of something wanted, set `mode = \"advise\"` for {} in \
                 `.github/paceline.toml` on the base branch.",
                if self.on_github { ", or answer `/paceline accept REASON` for this head" } else { "" },
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
                let action = match &row.mode_reason {
                    Some(reason) => format!("only told: {}", inline(reason, LINE_MAX_GRAPHEMES)),
                    None => "only told, by the configuration".to_owned(),
                };
                self.weight = weight(row, &action);
            }
        }
        let suspects: Vec<&Comparison> = facts.slower_suspects().collect();
        if let Some(row) = suspects.first() {
            self.head_with(format!("## ◽ Slower, perhaps only by code layout: {}", first(&suspects)));
            if self.weight.is_empty() {
                self.weight = weight(row, "not blocking");
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
        let of =
            |rows: &[&Comparison]| rows.iter().take(limits.changes).map(|row| Row::of(row, names)).collect();
        self.suspects = of(&facts.suspects);
        self.instruction_changes = of(&facts.instruction_changes);
        // Who looks at a change of a server wants its other figures beside it.
        if !changed.is_empty() {
            let servers =
                facts.inconclusive.iter().chain(&facts.equal).filter(|row| row.metric != Metric::Time);
            self.changes.extend(servers.take(limits.items / 2).map(|row| Row::of(row, names)));
        } else {
            self.notes.extend(server_lines(facts, names, limits));
        }
    }

    /// The function that each profiled change comes from, with the way to its flame graph.
    fn causes(&mut self, report: &Report, names: &Names<'_>, limits: &Limits) {
        for (place, profile) in report.profiles.iter().enumerate().take(limits.items) {
            let words = causes::markdown(profile);
            let name = code(&names.name(&profile.suite, &profile.benchmark.0), rows::NAME_MAX_GRAPHEMES);
            let link = self.run_url.as_ref().map(|url| {
                format!(
                    " [Flame graph]({url}/profile/{place}/difference.svg), [functions]({url}/profile/{place})"
                )
            });
            self.causes.push(format!("{name} is {words}{}", link.unwrap_or_default()));
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
            let named = rows
                .map(|row| format!("{} ({})", rows::named_metric(row, names), words::interval(row, " %")));
            let mut note = format!("❔ **Inconclusive:** {}.", words::listed(named, limits.items / 2));
            if let Some(minutes) = facts.minutes_to_settle() {
                note +=
                    &format!(" About {} more of measuring would settle it.", format::seconds(minutes * 60.0));
            }
            self.notes.push(note);
        }
        let blind = facts.blind();
        if blind > 0 {
            let rows = format::count(blind, "comparison has", "comparisons have");
            self.notes.push(format!("{rows} too few visits to see any change."));
        }
        if let Some((low, high)) = facts.smallest_visible() {
            let share = if facts.judged() == 1 { "" } else { ", by benchmark" };
            self.notes.push(format!(
                "The smallest change that this run would have seen: {}{share}.",
                words::range(low, high)
            ));
        }
        // Where nothing else was there to judge, the headline says it.
        if report.has_same_code() && (facts.judged() > 0 || !report.failures.is_empty()) {
            let names = report.same_code().map(|name| code(name, rows::NAME_MAX_GRAPHEMES));
            self.notes.push(format!(
                "**Identical machine code:** {}. Nothing can have changed there, so nothing of it was run.",
                words::listed(names, limits.items)
            ));
        }
        self.clock_against_code(report, names, limits);
        self.modes(report, names, limits);
        let renamed = report.one_sided.iter().filter(|one| one.side == Side::Base);
        let renamed: Vec<String> = renamed
            .filter_map(|one| {
                let name = |id: &BenchmarkId| code(&names.name(&one.suite, &id.0), rows::NAME_MAX_GRAPHEMES);
                Some(format!("{} to {}", name(&one.benchmark), name(one.other_name.as_ref()?)))
            })
            .collect();
        if !renamed.is_empty() {
            let renamed = words::listed(renamed.into_iter(), limits.items);
            self.notes.push(format!(
                "**Renamed**, by the same machine code under another name (so without a verdict): {renamed}."
            ));
        }
        for side in Side::BOTH {
            let on = report.one_sided.iter().filter(|one| one.side == side && one.other_name.is_none());
            let named: Vec<String> = on
                .map(|one| code(&names.name(&one.suite, &one.benchmark.0), rows::NAME_MAX_GRAPHEMES))
                .collect();
            if !named.is_empty() {
                let how = match side {
                    Side::Base => "removed or renamed",
                    Side::Head => "added or renamed",
                };
                let named = words::listed(named.into_iter(), limits.items);
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

    /// Benchmarks that do less than the configuration asks for, by reason.
    fn modes(&mut self, report: &Report, names: &Names<'_>, limits: &Limits) {
        let moved = || {
            let rows = report.rows.iter().filter(|row| !report.is_unaffected(row));
            rows.filter_map(|row| Some((row, row.mode_reason.as_deref()?)))
        };
        let noisy: Vec<String> = moved()
            .filter(|(row, _)| row.mode == Mode::Record)
            .map(|(row, why)| format!("{} ({})", rows::name(row, names), inline(why, LINE_MAX_GRAPHEMES)))
            .collect();
        if !noisy.is_empty() {
            let noisy = words::listed(noisy.into_iter(), limits.items / 2);
            self.notes.push(format!("**Recorded only, without a verdict:** {noisy}."));
        }
        let mut reasons: Vec<(&str, usize)> = vec![];
        for (_, why) in moved().filter(|(row, _)| row.mode == Mode::Advise) {
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => reasons.push((why, 1)),
            }
        }
        for (why, count) in reasons.into_iter().take(limits.items / 2) {
            let count = format::count(count, "comparison does", "comparisons do");
            self.measured.push(format!("{count} not block: {}.", inline(why, LINE_MAX_GRAPHEMES)));
        }
    }

    /// Benchmarks that were measured although their machine code is the same: whether both say the same.
    fn clock_against_code(&mut self, report: &Report, names: &Names<'_>, limits: &Limits) {
        let Some(clock) = report.clock_against_code() else { return };
        let mut note = format!("**Measured although the machine code is identical:** {}", clock.agreement());
        if !clock.disagree.is_empty() {
            let named = clock
                .disagree
                .iter()
                .map(|row| format!("{} {}", rows::name(row, names), format::change(row.estimate)));
            let named = words::listed(named, limits.items / 2);
            note += &format!(", and beyond it {named}: layout still, or a false alarm, never this change");
        }
        self.notes.push(note + ".");
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

/// Somebody's sentence without its full stop.
fn sentence_of(text: &str) -> String {
    inline(text.trim().trim_end_matches('.'), LINE_MAX_GRAPHEMES)
}
