//! Judges the commits of a pull request: the specification first, then the rules of style.

use super::{
    footers,
    header::{self, Header},
    message::{self, Kind, MESSAGE_MAX_BYTES, Text},
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
    CommitsJudgement { commits: commits.iter().map(|commit| judge_one(commit, config)).collect() }
}

fn judge_one(commit: &Commit, config: &CommitsConfig) -> CommitJudgement {
    let text = Text::new(&commit.message);
    let below = footers::split(&text);
    let message = message::read(&text, &below);
    let findings = match message.kind {
        Kind::Merge | Kind::Revert => Vec::new(),
        Kind::Fixup => fixup(config),
        Kind::Ordinary => {
            let header = header::scan(text.header()).ok();
            let faults = message.faults.iter().map(|fault| Finding {
                rule: fault.rule.into(),
                level: config.level,
                line: fault.line,
                column: fault.column,
                message: fault.message.clone(),
                suggestion: styled(fault.suggestion.clone(), config),
            });
            let mut findings: Vec<Finding> = faults.collect();
            findings.extend(style::check(&text, header, &below, config));
            findings
        }
    };
    let mut findings = findings;
    if text.cut {
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
    CommitJudgement {
        sha: commit.sha.clone(),
        header: text::cut(text.header(), HEADER_SHOWN_GRAPHEMES),
        compliant: message.compliant(),
        findings,
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
