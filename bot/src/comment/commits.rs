//! The commits' part of the comment: who must change which line, and to what.

use super::Limits;
use crate::{
    judgement::{CommitsJudgement, Finding, Level},
    render::markdown::{code, prose},
};

const HEADER_MAX_GRAPHEMES: usize = 100;
const MESSAGE_MAX_GRAPHEMES: usize = 300;
const SUGGESTION_MAX_GRAPHEMES: usize = 200;
/// Findings shown of one commit; a message with more is read again from the first.
const FINDINGS_SHOWN: usize = 6;

/// A commit with findings.
pub struct Offence {
    pub sha: String,
    pub header: String,
    pub findings: Vec<String>,
    /// The corrected line as a fenced block, indented as the list's.
    pub suggestion: Option<String>,
}

/// The commits with findings, errors before warnings, at most as many as the limits allow; and how many are left out.
pub fn offences(commits: &CommitsJudgement, limits: &Limits) -> (Vec<Offence>, usize) {
    let worst = |findings: &[Finding]| findings.iter().map(|f| f.level).max().unwrap_or(Level::Off);
    let mut offending: Vec<_> =
        commits.commits.iter().filter(|c| worst(&c.findings) >= Level::Warn).collect();
    offending.sort_by_key(|c| std::cmp::Reverse(worst(&c.findings)));
    let left_out = offending.len().saturating_sub(limits.items);
    let shown = offending.into_iter().take(limits.items).map(|commit| {
        let mut findings: Vec<String> = commit.findings.iter().take(FINDINGS_SHOWN).map(finding).collect();
        if commit.findings.len() > FINDINGS_SHOWN {
            findings.push(format!("and {} more", commit.findings.len() - FINDINGS_SHOWN));
        }
        Offence {
            sha: commit.sha.short().to_owned(),
            header: code(&commit.header, HEADER_MAX_GRAPHEMES),
            findings,
            suggestion: commit.mended_header().map(|line| code(line, SUGGESTION_MAX_GRAPHEMES)),
        }
    });
    (shown.collect(), left_out)
}

fn finding(finding: &Finding) -> String {
    let sign = if finding.level == Level::Error { "🔴" } else { "⚠️" };
    let message = prose(&finding.message, MESSAGE_MAX_GRAPHEMES);
    let place = if finding.line == 1 {
        format!("column {}", finding.column)
    } else {
        format!("line {}, column {}", finding.line, finding.column)
    };
    format!("{sign} {message} *({}, {place})*", prose(&finding.rule, 40))
}
