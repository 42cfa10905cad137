//! A run as its page shows it. Pure.

use super::headline::{self, Headline};
use super::parts::{Badge, When, clean, standing};
use super::table::Table;
use super::under_load::{UnderLoad, under_load};
use crate::db::overview::JobSummary;
use crate::format;
use crate::judgement::Performance;
use crate::pull::RepoName;
use crate::queue::JobState;
use crate::render::{causes, words};
use crate::runs::Loaded;
use askama::Template;
use perfsuite::model::{
    Certainty, Comparison, Environment, Failure, JobId, Metric, ProfileSummary, Report, Sha, Tool, Verdict,
};

/// How often the page of a run under way renews itself.
const REFRESH_SECONDS: u32 = 5;
/// Digits of a commit id in the command to reproduce: unique in any repository that there is.
const COMMIT_DIGITS: usize = 12;

/// Everything that the page is made from.
pub struct Facts<'a> {
    pub name: &'a RepoName,
    pub number: u64,
    pub head: &'a Sha,
    pub loaded: &'a Loaded,
    pub summary: &'a JobSummary,
    /// Its last lines, with their numbers.
    pub log: &'a [(i64, String)],
    /// The newest job of the present head, when that is another one.
    pub newer: Option<&'a JobId>,
    pub now_ms: i64,
}

/// Which rows the table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    All,
    Changed,
    /// Changed rows only where the change is confirmed.
    Only(Verdict),
    /// Changed, perhaps by the program's layout alone.
    Suspect,
    /// What was counted, not timed.
    Instructions,
}

impl Show {
    const CHOICES: [Show; 8] = [
        Show::All,
        Show::Changed,
        Show::Only(Verdict::Slower),
        Show::Only(Verdict::Faster),
        Show::Suspect,
        Show::Only(Verdict::Inconclusive),
        Show::Only(Verdict::Equal),
        Show::Instructions,
    ];

    /// Anything that is no choice shows all.
    pub fn from_query(text: &str) -> Self {
        Self::CHOICES.into_iter().find(|show| show.query() == text).unwrap_or(Show::All)
    }

    fn query(self) -> &'static str {
        match self {
            Show::Suspect => "suspect",
            _ => self.word(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Show::All => "all",
            Show::Changed => "changed",
            Show::Only(verdict) => super::parts::verdict_word(verdict),
            Show::Suspect => "perhaps layout",
            Show::Instructions => "instructions",
        }
    }

    fn takes(self, row: &Comparison) -> bool {
        match self {
            Show::All => true,
            Show::Changed => row.changed() && row.metric != Metric::Instructions,
            Show::Only(verdict) => {
                row.verdict == verdict
                    && row.certainty != Certainty::LayoutSuspect
                    && row.metric != Metric::Instructions
            }
            Show::Instructions => row.metric == Metric::Instructions,
            Show::Suspect => row.certainty == Certainty::LayoutSuspect,
        }
    }
}

#[derive(Template)]
#[template(path = "pages/run.html")]
pub struct RunPage {
    name: String,
    number: u64,
    title: String,
    job: String,
    base: String,
    head: String,
    headline: Headline,
    badges: Vec<Badge>,
    newer: Option<String>,
    times: Vec<Fact>,
    under_way: UnderWay,
    progress: Option<Progress>,
    failed_output: Option<String>,
    report: Option<ReportView>,
    evidence: bool,
    /// Both commits, by their whole ids.
    compare: String,
    reproduce: String,
}

/// A job's log, and how the page follows the job while it is under way.
pub struct UnderWay {
    pub live: bool,
    /// Whether the page follows it, which a visitor may not want.
    pub follows: bool,
    /// Without the script, the page renews itself by so many seconds.
    pub refresh_seconds: u32,
    pub job: String,
    /// The last line's number, from which the script goes on.
    pub after: i64,
    pub log: String,
}

impl UnderWay {
    pub fn new(job: &JobId, live: bool, refresh: bool, log: &[(i64, String)]) -> Self {
        Self {
            live,
            follows: live && refresh,
            refresh_seconds: REFRESH_SECONDS,
            job: job.0.clone(),
            after: log.last().map_or(0, |(number, _)| *number),
            log: log.iter().map(|(_, line)| clean(line)).collect::<Vec<_>>().join("\n"),
        }
    }
}

struct Progress {
    done: u64,
    total: u64,
    words: String,
}

/// A label and what stands beside it.
struct Fact {
    label: &'static str,
    text: String,
    when: Option<When>,
}

struct FilterLink {
    query: &'static str,
    word: &'static str,
    count: String,
    chosen: bool,
}

struct FailureView {
    what: String,
    reason: String,
    output: String,
}

struct ProfileView {
    place: usize,
    benchmark: String,
    cause: String,
}

struct BuildView {
    side: &'static str,
    commit: String,
    took: String,
    error: Option<String>,
}

struct ReportView {
    table: Table,
    shown: usize,
    any: bool,
    filters: Vec<FilterLink>,
    profiles: Vec<ProfileView>,
    scenarios: Vec<UnderLoad>,
    failures: Vec<FailureView>,
    one_sided: Vec<String>,
    identical: Vec<String>,
    builds: Vec<BuildView>,
    method: Vec<Fact>,
    environment: Vec<Fact>,
    missing: Vec<MissingView>,
    warnings: Vec<String>,
}

struct MissingView {
    tool: &'static str,
    hides: String,
    package: String,
}

pub fn page(facts: &Facts<'_>, show: Show, refresh: bool) -> RunPage {
    let run = &facts.loaded.run;
    let job = facts.summary;
    let digits = |sha: &Sha| sha.as_str()[..COMMIT_DIGITS].to_owned();
    let report = match &run.performance {
        Performance::Done { report } => Some(report_view(&job.id.0, report, show)),
        _ => None,
    };
    RunPage {
        name: facts.name.to_string(),
        number: facts.number,
        title: clean(&facts.loaded.row.pull.title),
        job: job.id.0.clone(),
        base: run.base.short().into(),
        head: facts.head.short().into(),
        headline: headline::of(run),
        badges: standing(job),
        newer: facts.newer.map(|id| id.0.clone()),
        times: times(job, facts.now_ms),
        under_way: UnderWay::new(&job.id, !job.state.ended(), refresh, facts.log),
        progress: progress(&run.performance),
        failed_output: match &run.performance {
            Performance::Failed { output, .. } if !output.trim().is_empty() => Some(clean(output)),
            _ => None,
        },
        evidence: facts.loaded.job.as_ref().is_some_and(|job| job.evidence.is_some()),
        compare: format!("/{}/compare/{}...{}", facts.name, run.base, run.head),
        reproduce: format!("paceline review {}..{}", digits(&run.base), digits(&run.head)),
        report,
    }
}

fn progress(performance: &Performance) -> Option<Progress> {
    let Performance::Running { done, total, .. } = performance else { return None };
    let words = match total {
        0 => String::new(),
        total => format!("{} of {}", format::thousands(*done as f64), format::thousands(*total as f64)),
    };
    Some(Progress { done: (*done).min(*total), total: *total, words })
}

fn times(job: &JobSummary, now_ms: i64) -> Vec<Fact> {
    let when = |label, at_ms| Fact { label, text: String::new(), when: Some(When::new(at_ms, now_ms)) };
    let text = |label, text| Fact { label, text, when: None };
    let mut facts = vec![when("Queued", job.created_ms)];
    if let Some(claimed_ms) = job.claimed_ms {
        facts.push(when("Started", claimed_ms));
    }
    if let Some(finished_ms) = job.finished_ms {
        facts.push(when("Ended", finished_ms));
    }
    if let Some((from, to)) = job.claimed_ms.zip(job.finished_ms.or((!job.state.ended()).then_some(now_ms)))
        && job.state != JobState::Queued
    {
        facts.push(text(
            if job.state.ended() { "Took" } else { "Running for" },
            format::seconds((to - from) as f64 / 1_000.0),
        ));
    }
    if let Some(runner) = &job.runner {
        facts.push(text("Runner", clean(runner)));
    }
    if job.attempts > 1 {
        facts.push(text("Attempts", job.attempts.to_string()));
    }
    facts
}

fn report_view(job: &str, report: &Report, show: Show) -> ReportView {
    let shown = report.rows.iter().filter(|row| show.takes(row)).count();
    let filters = Show::CHOICES
        .into_iter()
        .map(|choice| (choice, report.rows.iter().filter(|row| choice.takes(row)).count()))
        .filter(|(choice, count)| {
            *count > 0 || matches!(choice, Show::All | Show::Changed) || *choice == show
        })
        .map(|(choice, count)| FilterLink {
            query: choice.query(),
            word: choice.word(),
            count: format::thousands(count as f64),
            chosen: choice == show,
        })
        .collect();
    ReportView {
        table: Table::new(
            "Every benchmark and metric",
            job,
            &report.rows,
            report.rows.iter().enumerate().filter(|(_, row)| show.takes(row)),
        ),
        shown,
        any: !report.rows.is_empty(),
        filters,
        profiles: report.profiles.iter().enumerate().map(profile).collect(),
        scenarios: report.scenarios.iter().map(under_load).collect(),
        failures: report.failures.iter().map(failure).collect(),
        one_sided: report
            .one_sided
            .iter()
            .map(|row| {
                let (suite, name) = (clean(&row.suite), clean(&row.benchmark.0));
                let other = row.other_name.as_ref().map(|other| {
                    format!("; {} runs the same machine code on the other side: renamed?", clean(&other.0))
                });
                let other = other.unwrap_or_default();
                format!("{suite}/{name}: on the {} only{other}", row.side.as_str())
            })
            .collect(),
        identical: report.same_code().map(clean).collect(),
        builds: report
            .builds
            .iter()
            .map(|build| BuildView {
                side: build.side.as_str(),
                commit: build.commit.short().into(),
                took: format::seconds(build.seconds),
                error: build.error.as_deref().map(clean),
            })
            .collect(),
        method: method(report),
        environment: environment(&report.environment),
        missing: report
            .environment
            .missing
            .iter()
            .map(|missing| MissingView {
                tool: match missing.tool {
                    Tool::Bubblewrap => "bubblewrap",
                    Tool::Perf => "perf",
                    Tool::Valgrind => "valgrind",
                },
                hides: clean(&missing.hides),
                package: clean(&missing.package),
            })
            .collect(),
        warnings: report.environment.warnings.iter().map(|warning| clean(warning)).collect(),
    }
}

fn profile((place, profile): (usize, &ProfileSummary)) -> ProfileView {
    let unit = profile.unit.as_str();
    ProfileView {
        place,
        benchmark: clean(&profile.benchmark.0),
        cause: profile.cause.as_ref().map(|cause| clean(&causes::plain(cause, unit))).unwrap_or_default(),
    }
}

fn failure(failure: &Failure) -> FailureView {
    let mut what = clean(&failure.suite);
    if let Some(benchmark) = &failure.benchmark {
        what = format!("{what}/{}", clean(&benchmark.0));
    }
    FailureView { what, reason: words::failure(failure.reason, failure.side), output: clean(&failure.output) }
}

fn method(report: &Report) -> Vec<Fact> {
    let fact = |label, text| Fact { label, text, when: None };
    let pairs = format::count(report.judged_pairs as usize, "judged pair", "judged pairs");
    vec![
        fact("Measuring took", format::seconds(report.measure_seconds)),
        fact("Building took", format::seconds(report.build_seconds)),
        fact("False alarms", format!("at most {} runs, over {}", words::odds(report.budget), pairs)),
    ]
}

fn environment(environment: &Environment) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |label, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            facts.push(Fact { label, text: clean(&text), when: None });
        }
    };
    add("Machine", Some(environment.hostname.clone()));
    add("Processor", Some(environment.cpu_model.clone()));
    add("Cores", (environment.cpu_cores > 0).then(|| environment.cpu_cores.to_string()));
    add("Memory", (environment.memory_bytes > 0).then(|| format::bytes(environment.memory_bytes)));
    add("System", Some(environment.os.clone()));
    add("Kernel", Some(environment.kernel.clone()));
    add("Compiler", environment.rustc.clone());
    add("Microcode", environment.microcode.clone());
    add("Frequency governor", environment.governor.clone());
    add("Multithreading", environment.smt.map(on_or_off));
    add("Time stolen", environment.steal.map(format::percent));
    add("Load before", environment.load_before.map(|load| format!("{load:.2}")));
    add("Load after", environment.load_after.map(|load| format!("{load:.2}")));
    add("Used by others meanwhile", environment.others.map(format::percent));
    add("Faster while cool (turbo)", environment.turbo.map(on_or_off));
    add("Virtual machine", environment.virtualised.map(|yes| if yes { "yes" } else { "no" }.into()));
    add("Kept on one core", environment.pinning.map(|yes| if yes { "yes" } else { "not possible" }.into()));
    add("Sandbox", Some(environment.sandbox.clone()));
    facts
}

fn on_or_off(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}
