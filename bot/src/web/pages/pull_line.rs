//! A pull request as a line of a list. Pure.

use super::commits;
use super::parts::{Badge, Kind, When, clean, standing};
use crate::db::overview::PullSummary;
use crate::pull::{PullRequest, PullState};

pub struct PullLine {
    /// `owner/name`
    pub repository: String,
    pub number: u64,
    pub title: String,
    pub author: String,
    /// Only where it is not simply open.
    pub state: Option<Badge>,
    pub commits: Badge,
    pub performance: Vec<Badge>,
    pub job: Option<String>,
    pub updated: When,
}

impl PullLine {
    pub fn new(summary: &PullSummary, now_ms: i64) -> Self {
        let pull = &summary.row.pull;
        Self {
            repository: summary.repository.to_string(),
            number: pull.number,
            title: clean(&pull.title),
            author: clean(&pull.author),
            state: (pull.state != PullState::Open || pull.draft).then(|| state(pull)),
            commits: match &summary.commits {
                Some(judgement) => commits::badge(judgement),
                None => Badge::new(Kind::Waiting, "not looked at yet"),
            },
            performance: performance(summary),
            job: summary.job.as_ref().map(|job| job.id.0.clone()),
            updated: When::new(summary.row.updated_ms, now_ms),
        }
    }
}

/// Open, draft, closed or merged.
pub fn state(pull: &PullRequest) -> Badge {
    match pull.state {
        PullState::Open if pull.draft => Badge::new(Kind::Quiet, "draft"),
        PullState::Open => Badge::new(Kind::Running, "open"),
        PullState::Closed => Badge::new(Kind::Quiet, "closed"),
        PullState::Merged => Badge::new(Kind::Fine, "merged"),
    }
}

fn performance(summary: &PullSummary) -> Vec<Badge> {
    if let Some(job) = &summary.job {
        return standing(job);
    }
    vec![match summary {
        _ if summary.config_error => Badge::new(Kind::Broken, "configuration error"),
        _ if summary.skipped.is_some() => Badge::new(Kind::Quiet, "not measured"),
        _ if !summary.row.may_run() => Badge::new(Kind::Waiting, "waiting for approval"),
        _ => Badge::new(Kind::Quiet, "no run"),
    }]
}
