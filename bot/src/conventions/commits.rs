//! Judges the commits of a pull request: the specification first, then the rules of style.

use super::{
    footers::{self, Footer},
    header::{self, Header},
    message::{self, Fault, Kind, MESSAGE_MAX_BYTES, Message, Text},
    style,
};
use crate::{
    judgement::{CommitJudgement, CommitsJudgement, Finding, Level},
    pull::Commit,
    repo_config::{CommitsConfig, FixupPolicy},
    text,
};

/// Of a header as it is shown in tables.
const HEADER_SHOWN_GRAPHEMES: usize = 100;

/// Judges every commit. At level `off` nothing is judged, so that nothing is shown as checked.
pub fn judge(commits: &[Commit], config: &CommitsConfig) -> CommitsJudgement {
    if config.level == Level::Off {
        return CommitsJudgement::default();
    }
    CommitsJudgement {
        commits: commits.iter().map(|commit| judge_one(commit, config)).collect(),
        ..CommitsJudgement::default()
    }
}

fn judge_one(commit: &Commit, config: &CommitsConfig) -> CommitJudgement {
    let judged = judge_message(&commit.message, config);
    CommitJudgement {
        sha: commit.sha.clone(),
        header: text::cut(judged.header, HEADER_SHOWN_GRAPHEMES),
        compliant: judged.message.compliant(),
        findings: judged.findings,
    }
}

/// A message with what was read of it and what was found in it.
pub struct Judged<'a> {
    /// Its first line that is neither empty nor a comment.
    pub header: &'a str,
    pub message: Message,
    /// Also of a message whose header cannot be read.
    pub footers: Vec<Footer>,
    /// In order of their places.
    pub findings: Vec<Finding>,
}

/// Judges one message. At level `off` it is read all the same, and has no findings.
pub fn judge_message<'a>(message: &'a str, config: &CommitsConfig) -> Judged<'a> {
    let text = Text::new(message);
    let below = footers::split(&text);
    let message = message::read(&text, &below);
    let mut findings = match message.kind {
        _ if config.level == Level::Off => Vec::new(),
        Kind::Merge | Kind::Revert => Vec::new(),
        Kind::Fixup => fixup(config),
        Kind::Ordinary => {
            let header = header::scan(text.header()).ok();
            let mut findings: Vec<Finding> =
                message.faults.iter().map(|fault| against_specification(fault, config)).collect();
            findings.extend(style::check(&text, header, &below, config));
            findings
        }
    };
    if text.cut && config.level > Level::Off {
        findings.push(Finding {
            rule: "message-size".into(),
            level: Level::Warn.min(config.level),
            line: text.line_number(text.lines.len().saturating_sub(1)),
            column: 1,
            message: format!("Only the first {} KiB of the message were judged.", MESSAGE_MAX_BYTES >> 10),
            suggestion: None,
        });
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
    let footers = if message.kind == Kind::Ordinary { below.footers } else { Vec::new() };
    Judged { header: text.header(), message, footers, findings }
}

fn against_specification(fault: &Fault, config: &CommitsConfig) -> Finding {
    let suggestion = fault.suggestion.clone();
    Finding {
        rule: fault.rule.into(),
        level: config.level,
        line: fault.line,
        column: fault.column,
        message: fault.message.clone(),
        suggestion: if fault.rule == "header-form" { styled(suggestion, config) } else { suggestion },
    }
}

/// A suggestion that mends the form is held to the rules of style too, so that it need not be mended twice.
fn styled(suggestion: Option<String>, config: &CommitsConfig) -> Option<String> {
    let suggestion = suggestion?;
    let header: Header = header::scan(&suggestion).ok()?;
    header::offered(&style::corrected(header, config))
}

fn fixup(config: &CommitsConfig) -> Vec<Finding> {
    let message = match config.fixup {
        FixupPolicy::Allow => return Vec::new(),
        FixupPolicy::BlockMerge => {
            "This commit wants to be squashed before the merge (`git rebase --autosquash`)."
        }
        FixupPolicy::Error => {
            "Commits that want to be squashed are not allowed here (`git rebase --autosquash`)."
        }
    };
    vec![Finding {
        rule: "fixup".into(),
        level: config.level,
        line: 1,
        column: 1,
        message: message.into(),
        suggestion: None,
    }]
}

#[cfg(test)]
mod tests;
