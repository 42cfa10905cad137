//! `paceline/commits`: findings in messages, what will land, and what types claim.
//!
//! GitHub wants a path of the repository for every annotation, and a commit message has none. Findings in messages point
//! at the first line of `.github/paceline.toml`, where the rules are set that they break: the one file that has to do
//! with every one of them. The finding's own place stands in its text.

use super::{LINE_MAX_GRAPHEMES, ROWS_MAX, completed, rendered};
use crate::judgement::{CommitJudgement, Finding, Landing, Level, Run};
use crate::outgoing::{Annotation, AnnotationLevel, CheckRun, Conclusion};
use crate::render::markdown::{code, fenced_tail, prose, visible};
use crate::repo_config;
use askama::Template;

pub const COMMITS: &str = "paceline/commits";

/// Of one claim: what a configuration would have done to many pull requests takes several lines.
const CLAIM_MAX_GRAPHEMES: usize = 1_500;

/// Annotations of one check run: further ones are counted in the summary. Several requests of 50 carry them.
pub const ANNOTATIONS_MAX: usize = 500;

/// `paceline/commits`. `details` is the address of the page behind the check run.
pub fn commits_check(run: &Run, details: &str) -> CheckRun {
    let commits = &run.commits;
    let (total, clean) = (commits.commits.len(), commits.clean());
    let conclusion = match commits.worst_with_claims() {
        _ if total == 0 => Conclusion::Skipped,
        Level::Off => Conclusion::Success,
        Level::Warn => Conclusion::Neutral,
        Level::Error => Conclusion::Failure,
    };
    let title = match total {
        0 => "No commit was judged".into(),
        1 if clean == 1 => "The commit message follows the convention".into(),
        1 => "The commit message needs a change".into(),
        _ if clean == total => format!("All {total} commit messages follow the convention"),
        _ => format!("{} of {total} commit messages {} a change", total - clean, need(total - clean)),
    };
    let offending: Vec<&CommitJudgement> =
        commits.commits.iter().filter(|c| c.findings.iter().any(|f| f.level >= Level::Warn)).collect();
    let all: Vec<Annotation> =
        offending.iter().flat_map(|commit| commit.findings.iter().map(|f| annotation(commit, f))).collect();
    let left_out = all.len().saturating_sub(ANNOTATIONS_MAX);
    let summary = CommitsSummary {
        clean,
        total,
        offending: offending.iter().take(ROWS_MAX).map(|commit| offence(commit)).collect(),
        left_out: offending.len().saturating_sub(ROWS_MAX),
        annotations_left_out: left_out,
        base: run.base.short(),
        landing: commits.landing.as_ref().and_then(landing),
        squashed: commits.squash_that_counts().is_some(),
        claims: commits.claims.iter().map(|claim| prose(&claim.message, CLAIM_MAX_GRAPHEMES)).collect(),
    };
    CheckRun {
        annotations: all.into_iter().take(ANNOTATIONS_MAX).collect(),
        ..completed(run, COMMITS, details, conclusion, title, rendered(&summary))
    }
}

struct Offence {
    sha: String,
    header: String,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "checks/commits.md")]
struct CommitsSummary<'a> {
    clean: usize,
    total: usize,
    offending: Vec<Offence>,
    left_out: usize,
    annotations_left_out: usize,
    base: &'a str,
    landing: Option<String>,
    /// The squash is what is judged.
    squashed: bool,
    claims: Vec<String>,
}

fn annotation(commit: &CommitJudgement, finding: &Finding) -> Annotation {
    let level = match finding.level {
        Level::Error => AnnotationLevel::Failure,
        Level::Warn => AnnotationLevel::Warning,
        Level::Off => AnnotationLevel::Notice,
    };
    let mut message = format!(
        "{}\n\nCommit {}, line {}, column {}: {}",
        visible(&finding.message),
        commit.sha.short(),
        finding.line,
        finding.column,
        visible(&commit.header)
    );
    if let Some(suggestion) = &finding.suggestion {
        let lines: Vec<String> = suggestion.lines().map(visible).collect();
        message += &format!("\n\nWrite instead:\n{}", lines.join("\n"));
    }
    Annotation {
        path: repo_config::PATH.into(),
        line: 1,
        column: None,
        level,
        title: format!("{}: {}", commit.sha.short(), visible(&finding.rule)),
        message,
    }
}

/// What a squash would land, in Markdown.
fn landing(landing: &Landing) -> Option<String> {
    /// Of a message that is mostly a list of commits.
    const SHOWN_MAX_BYTES: usize = 1_500;
    let squash = landing.squash.as_ref()?;
    let lead = if squash.counts {
        "This repository squashes, so this is what will land and what is judged:".to_owned()
    } else {
        let lines = squash.findings.iter().take(5).map(|finding| prose(&finding.message, LINE_MAX_GRAPHEMES));
        match lines.collect::<Vec<_>>().join(" ") {
            words if words.is_empty() => {
                "Squashed, it would land as this, which follows the convention:".to_owned()
            }
            words => {
                format!("Squashed, it would land as this (not judged, since it may land otherwise): {words}")
            }
        }
    };
    let end = squash.message.floor_char_boundary(SHOWN_MAX_BYTES);
    let more = if end < squash.message.len() { "\n…" } else { "" };
    let shown = fenced_tail(&format!("{}{more}", &squash.message[..end]), 2 * SHOWN_MAX_BYTES);
    Some(format!("{lead}\n\n{shown}"))
}

fn offence(commit: &CommitJudgement) -> Offence {
    let lines = commit.findings.iter().take(10).map(|finding| {
        let sign = if finding.level == Level::Error { "🔴" } else { "⚠️" };
        let suggestion = finding.suggestion.as_deref().filter(|s| finding.line == 1 && !s.contains('\n'));
        let suggestion = suggestion.map(|s| format!(" Write: {}", code(s, 200))).unwrap_or_default();
        let message = prose(&finding.message, LINE_MAX_GRAPHEMES);
        format!("{sign} {message} *({})*{suggestion}", prose(&finding.rule, 40))
    });
    Offence { sha: commit.sha.short().into(), header: code(&commit.header, 100), lines: lines.collect() }
}

fn need(count: usize) -> &'static str {
    if count == 1 { "needs" } else { "need" }
}
