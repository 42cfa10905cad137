//! What the conventions say about commits, for pages. Pure.

use super::parts::{Badge, Kind, Prose, clean};
use crate::format;
use crate::judgement::{CommitsJudgement, Finding, Level};

/// Commits shown on a page; a pull request with more names how many are left out.
pub const COMMITS_SHOWN: usize = 250;

/// One commit with its findings.
pub struct CommitView {
    pub short: String,
    pub header: String,
    pub badge: Badge,
    pub findings: Vec<FindingView>,
}

pub struct FindingView {
    pub level: Badge,
    pub rule: String,
    pub place: String,
    pub message: Prose,
    /// Ready to copy, so byte for byte as it was made.
    pub suggestion: Option<String>,
}

/// All commits of a pull request in one badge.
pub fn badge(judgement: &CommitsJudgement) -> Badge {
    let all = judgement.commits.len();
    let findings = all - judgement.clean();
    match judgement.worst() {
        _ if all == 0 => Badge::new(Kind::Quiet, "no commits"),
        _ if findings == 0 => Badge::new(Kind::Fine, format!("{all} of {all} fine")),
        Level::Error => Badge::new(Kind::Broken, format!("{findings} of {all} to mend")),
        Level::Warn | Level::Off => Badge::new(Kind::Unsure, format!("{findings} of {all} with a hint")),
    }
}

/// The commits, those with findings first; and how many are left out.
pub fn view(judgement: &CommitsJudgement) -> (Vec<CommitView>, usize) {
    let mut commits: Vec<_> = judgement.commits.iter().collect();
    commits.sort_by_key(|commit| commit.findings.iter().all(|finding| finding.level == Level::Off));
    let views = commits
        .iter()
        .take(COMMITS_SHOWN)
        .map(|commit| {
            let findings: Vec<_> =
                commit.findings.iter().filter(|f| f.level > Level::Off).map(finding).collect();
            let badge = match (commit.compliant, commit.findings.iter().map(|f| f.level).max()) {
                (_, Some(Level::Error)) => Badge::new(Kind::Broken, "to mend"),
                (_, Some(Level::Warn)) => Badge::new(Kind::Unsure, "hint"),
                (None, _) => Badge::new(Kind::Quiet, "by git itself"),
                (Some(_), _) => Badge::new(Kind::Fine, "fine"),
            };
            CommitView { short: commit.sha.short().into(), header: clean(&commit.header), badge, findings }
        })
        .collect();
    (views, commits.len().saturating_sub(COMMITS_SHOWN))
}

fn finding(finding: &Finding) -> FindingView {
    let level = match finding.level {
        Level::Error => Badge::new(Kind::Broken, "error"),
        Level::Warn => Badge::new(Kind::Unsure, "hint"),
        Level::Off => Badge::new(Kind::Quiet, "off"),
    };
    let place = format!("line {}, column {}", finding.line, format::thousands(f64::from(finding.column)));
    FindingView {
        level,
        rule: clean(&finding.rule),
        place,
        message: Prose::new(&finding.message),
        suggestion: finding.suggestion.as_deref().map(clean),
    }
}
