//! What was decided about a pull request: the facts that comment, check runs, pages and `review` show.

use crate::pull::{PullRequest, RepoId, RepoName};
use perfsuite::model::{Report, Sha};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the JSON that `paceline review --format json` and a run's JSON share.
pub const RUN_SCHEMA: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Off,
    Warn,
    Error,
}

/// One thing wrong with one commit message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's name (`header-form`, `type-enum`, …).
    pub rule: String,
    pub level: Level,
    /// From 1, within the commit message.
    pub line: u32,
    /// From 1, in graphemes.
    pub column: u32,
    pub message: String,
    /// The corrected line, ready to copy, where one can be made.
    pub suggestion: Option<String>,
}

/// One commit and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitJudgement {
    pub sha: Sha,
    /// First line, cut for display.
    pub header: String,
    /// `None`: git's own message (merge, revert, fixup), which Conventional Commits does not speak of.
    pub compliant: Option<bool>,
    pub findings: Vec<Finding>,
}

/// All commits of a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitsJudgement {
    pub commits: Vec<CommitJudgement>,
}

impl CommitsJudgement {
    pub fn clean(&self) -> usize {
        self.commits.iter().filter(|c| c.findings.iter().all(|f| f.level < Level::Warn)).count()
    }

    pub fn worst(&self) -> Level {
        self.commits.iter().flat_map(|c| &c.findings).map(|f| f.level).max().unwrap_or(Level::Off)
    }
}

/// A configuration that could not be used, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigError {
    pub path: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub message: String,
    /// The nearest known key, for an unknown one.
    pub nearest: Option<String>,
}

/// Where the performance part stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Performance {
    /// Waiting for a runner; `position` from 1.
    Queued {
        position: u32,
        runners: u32,
        /// Why it waits though a runner may be free, in words: the server's disk is nearly full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    Running {
        text: String,
        done: u64,
        total: u64,
    },
    Done {
        report: Box<Report>,
    },
    /// The job could not be done.
    Failed {
        message: String,
        output: String,
    },
    /// A fork's head that nobody with write permission has allowed to run.
    NeedsApproval {
        head: Sha,
    },
    /// Nothing to measure, and why (only documentation changed, no benchmarks, draft).
    Skipped {
        reason: String,
    },
    Cancelled {
        by: String,
    },
}

/// Everything known about one head of a pull request, or of a local range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    pub schema: u32,
    pub repository: String,
    /// `None` for a local review.
    pub pull: Option<u64>,
    pub base: Sha,
    pub head: Sha,
    pub commits: CommitsJudgement,
    pub config_error: Option<ConfigError>,
    pub performance: Performance,
}

/// What the comment needs beside the run.
#[derive(Clone, Debug)]
pub struct CommentContext<'a> {
    pub id: RepoId,
    pub name: &'a RepoName,
    pub pull: &'a PullRequest,
    /// Base of the pages, without a trailing slash.
    pub public_url: &'a str,
    /// The job that the run's link leads to.
    pub job: Option<&'a str>,
    /// How many pull requests by this author the bot has seen here, this one included.
    pub author_pulls: u32,
}
