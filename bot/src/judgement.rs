//! What was decided about a pull request: the facts that comment, check runs, pages and `review` show.

mod tested;

pub use tested::{
    Checks, ChecksReport, CommandReport, Habits, PlacedFinding, Proof, ProofReport, TestsAsked,
    TestsJudgement,
};

use crate::pull::{MergeMethod, PullRequest, RepoId, RepoName};
use crate::stages::Stages;
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

impl CommitJudgement {
    /// The first line as it should read, where one line can say it.
    pub fn mended_header(&self) -> Option<&str> {
        let of_header = self.findings.iter().filter(|finding| finding.line == 1);
        of_header.filter_map(|finding| finding.suggestion.as_deref()).find(|line| !line.contains('\n'))
    }
}

/// All commits of a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitsJudgement {
    pub commits: Vec<CommitJudgement>,
    /// How they will land, where GitHub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing: Option<Landing>,
    /// What types claim and the change does not bear out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// What is to be held against the report, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingClaims>,
}

/// Claims that only a measurement can bear out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingClaims {
    pub level: Level,
    /// Commits that say `perf`.
    pub perf: Vec<Sha>,
    /// Changed files of benchmarks.
    pub benches: Vec<String>,
}

/// One claim that the change does not bear out, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    pub level: Level,
    pub message: String,
}

/// How a pull request will land.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Landing {
    /// The ways that are open; none where GitHub does not tell.
    pub methods: Vec<MergeMethod>,
    /// What a squash would make of it, where one can happen.
    pub squash: Option<SquashJudgement>,
}

/// The one commit that a squash makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SquashJudgement {
    /// Its beginning, when it is long.
    pub message: String,
    pub findings: Vec<Finding>,
    /// Nothing else can happen, so this is what is judged.
    pub counts: bool,
}

impl CommitsJudgement {
    /// The squash, where it is what counts.
    pub fn squash_that_counts(&self) -> Option<&SquashJudgement> {
        self.landing.as_ref()?.squash.as_ref().filter(|squash| squash.counts)
    }

    pub fn clean(&self) -> usize {
        self.commits.iter().filter(|c| c.findings.iter().all(|f| f.level < Level::Warn)).count()
    }

    pub fn worst(&self) -> Level {
        self.commits.iter().flat_map(|c| &c.findings).map(|f| f.level).max().unwrap_or(Level::Off)
    }

    /// The same with claims that are errors; others are told and weigh nothing.
    pub fn worst_with_claims(&self) -> Level {
        match self.claims.iter().any(|claim| claim.level == Level::Error) {
            true => Level::Error,
            false => self.worst(),
        }
    }
}

/// A line that GitHub skips, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct BadLine {
    /// From 1.
    pub line: u32,
    pub message: String,
}

/// Who has approved a change, and who still must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewsJudgement {
    /// Of a file that lacks approvals.
    pub level: Level,
    /// Changed files that somebody owns.
    pub owned: usize,
    /// Changed files that nobody owns: nothing is asked for them.
    pub unowned: usize,
    /// Files that lack approvals; further ones are counted.
    pub short: Vec<ShortFile>,
    pub short_left_out: usize,
    /// The fewest people whose approvals would cover every file as far as that can be.
    pub smallest_set: Vec<String>,
    /// Whether no smaller set can do.
    pub exact: bool,
    /// Files with fewer eligible owners than they want; further ones are counted.
    pub impossible: Vec<String>,
    pub impossible_left_out: usize,
    /// Approvals that stand, in the order of their people's names.
    pub approvals: Vec<Approval>,
    /// Lines of CODEOWNERS that are skipped.
    pub bad_lines: Vec<BadLine>,
    /// What could not be known, in sentences.
    pub notes: Vec<String>,
}

impl ReviewsJudgement {
    /// Files that lack approvals.
    pub fn lacking(&self) -> usize {
        self.short.len() + self.short_left_out
    }
}

/// A changed file that lacks approvals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShortFile {
    pub path: String,
    /// Owners who approved it as it is now.
    pub have: usize,
    pub need: usize,
    /// Owners who could still approve it; at most twenty are named.
    pub candidates: Vec<String>,
}

/// What somebody's approvals are worth now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    pub login: String,
    /// Changed files that are as they were when this person approved them.
    pub files: usize,
    /// Changed files that have changed since, or came since.
    pub outdated: usize,
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
        /// By what runs lately took; absent where nobody can tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait_minutes: Option<u64>,
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

/// That a slowdown is taken, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acceptance {
    pub by: String,
    pub reason: String,
    pub at_ms: i64,
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
    /// `None` where nothing is asked: no CODEOWNERS, switched off, a local review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<ReviewsJudgement>,
    /// `None` where nothing is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestsJudgement>,
    /// A slowdown that somebody took for this head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
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
    /// What the author's earlier pull requests came to; `None` for bots and for who asked to be left out.
    pub author: Option<AuthorRecord>,
    /// When it came to its stages, where that is known.
    pub stages: Option<Stages>,
}

/// What somebody's earlier pull requests here came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorRecord {
    pub merged: u32,
    /// Benchmarks that those changed for certain.
    pub faster: u32,
    pub slower: u32,
}
