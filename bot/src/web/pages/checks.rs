//! `/runs/{job}` of a job of checks: each command, every finding on changed lines, the proof, the log.

use super::error::PageError;
use super::parts::{Badge, Kind, When, clean};
use super::run_view::UnderWay;
use super::{Page, Site, render};
use crate::db::job_log;
use crate::db::jobs::Job;
use crate::format;
use crate::judgement::{ChecksReport, Proof, ProofReport};
use crate::pull::Repository;
use crate::queue::JobState;
use askama::Template;
use axum::response::IntoResponse;
use axum::response::Response;
use perfsuite::model::checks::{CommandEnd, ToolLevel};

/// Log lines on the page: the end.
const LOG_LINES: i64 = 200;

#[derive(Template)]
#[template(path = "pages/checks.html")]
struct ChecksPage {
    name: String,
    number: u64,
    head: String,
    commit: String,
    state: Badge,
    created: When,
    commands: Vec<CommandView>,
    findings: Vec<FindingView>,
    left_out: u64,
    elsewhere: u64,
    proof: Option<(Badge, String)>,
    failed: Option<String>,
    under_way: UnderWay,
    evidence: Option<String>,
}

struct CommandView {
    name: String,
    badge: Badge,
    result: String,
    took: String,
    output: String,
}

struct FindingView {
    badge: Badge,
    place: String,
    check: String,
    code: String,
    message: String,
}

pub async fn show(
    site: &Site,
    repository: &Repository,
    job: Job,
    refresh: bool,
) -> Result<Response, PageError> {
    let now_ms = site.clock.now_ms();
    let log = job_log::ending(&site.db, &job.id, LOG_LINES).await?;
    let report = job.checks.as_ref();
    let page = ChecksPage {
        name: repository.name.to_string(),
        number: job.number,
        head: job.head.short().into(),
        commit: job.spec.head.short().into(),
        state: state(job.state),
        created: When::new(job.created_ms, now_ms),
        commands: report.map(commands).unwrap_or_default(),
        findings: report.map(findings).unwrap_or_default(),
        left_out: report.map_or(0, |report| report.findings_left_out),
        elsewhere: report.map_or(0, |report| report.elsewhere),
        proof: report.and_then(|report| report.proof.as_ref()).map(proof),
        failed: job.error.as_deref().map(lines),
        under_way: UnderWay::new(&job.id, !job.state.ended(), refresh, &log),
        evidence: job.evidence.is_some().then(|| format!("/runs/{}/evidence", job.id)),
    };
    let page: Page = render(&page);
    Ok(page?.into_response())
}

fn state(state: JobState) -> Badge {
    let kind = match state {
        JobState::Queued => Kind::Waiting,
        JobState::Claimed | JobState::Building | JobState::Measuring => Kind::Running,
        JobState::Done => Kind::Fine,
        JobState::Failed => Kind::Broken,
        JobState::Cancelled | JobState::Superseded => Kind::Quiet,
    };
    let word = match state {
        JobState::Building | JobState::Measuring => "running",
        other => other.as_str(),
    };
    Badge::new(kind, word)
}

/// Text of several lines, without what does not show.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", clean(line))).collect()
}

fn commands(report: &ChecksReport) -> Vec<CommandView> {
    let view = |command: &crate::judgement::CommandReport| {
        let (kind, result) = match &command.end {
            CommandEnd::Passed => (Kind::Fine, "passed".to_owned()),
            CommandEnd::Failed { code } => (Kind::Broken, format!("failed with exit code {code}")),
            CommandEnd::TimedOut => (Kind::Broken, "ended at its time limit".into()),
            CommandEnd::Killed { words } => (Kind::Broken, clean(words)),
            CommandEnd::Missing { words } => (Kind::Unsure, clean(words)),
        };
        let counts = command.tests.map(|counts| {
            format!(": {} passed, {} failed, {} ignored", counts.passed, counts.failed, counts.ignored)
        });
        CommandView {
            name: clean(&command.name),
            badge: Badge::new(kind, if command.passed() { "passed" } else { "failed" }),
            result: result + &counts.unwrap_or_default(),
            took: format::seconds(command.seconds),
            output: lines(&command.output),
        }
    };
    report.commands.iter().map(view).collect()
}

fn findings(report: &ChecksReport) -> Vec<FindingView> {
    let view = |placed: &crate::judgement::PlacedFinding| {
        let finding = &placed.finding;
        FindingView {
            badge: match finding.level {
                ToolLevel::Error => Badge::new(Kind::Broken, "error"),
                ToolLevel::Warning => Badge::new(Kind::Unsure, "warning"),
            },
            place: format!("{}:{}", clean(&finding.path), finding.line),
            check: clean(&placed.check),
            code: clean(&finding.code),
            message: clean(finding.message.lines().next().unwrap_or_default()),
        }
    };
    report.findings.iter().map(view).collect()
}

fn proof(report: &ProofReport) -> (Badge, String) {
    let (badge, words) = match &report.proof {
        Proof::Proven { tests, words } => (
            Badge::new(Kind::Fine, "proven"),
            format!(
                "Without the fix these tests fail, with it they pass, {} times of {}:\n{}\n\n{words}",
                report.runs,
                report.runs,
                tests.join("\n")
            ),
        ),
        Proof::NoTests => (Badge::new(Kind::Unsure, "not proven"), "The fix brings no test.".into()),
        Proof::PassesWithout { tests } => (
            Badge::new(Kind::Unsure, "not proven"),
            format!("The tests pass without the fix:\n{}", tests.join("\n")),
        ),
        Proof::DoesNotCompile { output } => (
            Badge::new(Kind::Unsure, "not proven"),
            format!("The tests do not compile without the fix:\n{output}"),
        ),
        Proof::FailsWith { tests, words } => (
            Badge::new(Kind::Broken, "not proven"),
            format!(
                "These fail without the fix, and do not always pass with it:\n{}\n\n{words}",
                tests.join("\n")
            ),
        ),
        Proof::Unclear { reason } => (Badge::new(Kind::Unsure, "cannot be told"), reason.clone()),
    };
    (badge, lines(&words))
}
