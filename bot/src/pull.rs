//! Our vocabulary for what GitHub and git tell us: repositories, pull requests, commits. No outside types.

use perfsuite::model::Sha;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RepoName {
    pub owner: String,
    pub name: String,
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not owner/name")]
pub struct BadRepoName(String);

impl FromStr for RepoName {
    type Err = BadRepoName;

    /// GitHub's own alphabet: letters, digits, `-`, `_`, `.`; neither part empty, `.` or `..`.
    fn from_str(text: &str) -> Result<Self, BadRepoName> {
        let bad = || BadRepoName(text.chars().take(200).collect());
        let (owner, name) = text.split_once('/').ok_or_else(bad)?;
        for part in [owner, name] {
            let alphabet = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if part.is_empty() || part.len() > 100 || !alphabet || part == "." || part == ".." {
                return Err(bad());
            }
        }
        Ok(Self { owner: owner.into(), name: name.into() })
    }
}

/// GitHub's number of a repository; survives renames and transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoId(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(pub i64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    pub id: RepoId,
    pub installation: InstallationId,
    pub name: RepoName,
    pub private: bool,
    pub default_branch: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullState {
    Open,
    Closed,
    Merged,
}

/// A pull request as GitHub has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    pub number: u64,
    pub title: String,
    pub author: String,
    pub author_is_bot: bool,
    pub state: PullState,
    pub draft: bool,
    pub base_ref: String,
    /// Tip of the base branch.
    pub base_sha: Sha,
    pub head_ref: String,
    pub head_sha: Sha,
    /// Head repository differs from the base repository, or is gone.
    pub from_fork: bool,
    pub labels: Vec<String>,
    pub opened_ms: i64,
}

/// A commit of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub sha: Sha,
    /// Whole message; bytes that are no UTF-8 are replaced.
    pub message: String,
    /// Merge commits have two or more.
    pub parents: usize,
    pub author_name: String,
}

/// One path that differs between two commits. Bytes of a name that are no UTF-8 are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPath {
    pub path: String,
    /// The name before, where GitHub saw a rename. git's own list shows a rename as removed and added.
    pub previous: Option<String>,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    Added,
    Modified,
    Removed,
    Renamed,
}

/// How a pull request can land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MergeMethod {
    Merge,
    Squash,
    Rebase,
}

/// What a repository allows, as far as GitHub tells an App.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeSettings {
    pub merge: Option<bool>,
    pub squash: Option<bool>,
    pub rebase: Option<bool>,
    pub squash_title: SquashTitle,
    pub squash_body: SquashBody,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SquashTitle {
    /// Of the one commit, else of the pull request: GitHub's default.
    #[default]
    CommitOrPull,
    PullTitle,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SquashBody {
    /// GitHub's default.
    #[default]
    Commits,
    Pull,
    Blank,
}

/// What GitHub knows of how a pull request will land.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullText {
    pub body: String,
    pub auto_merge: Option<MergeMethod>,
}

/// One review of a pull request, as GitHub has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub id: i64,
    pub login: String,
    pub state: ReviewState,
    /// The head that was looked at; GitHub forgets some.
    pub commit: Option<Sha>,
    pub submitted_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewState {
    Approved,
    ChangesRequested,
    /// Taken back, by whoever may.
    Dismissed,
    /// A comment, or not sent yet.
    Other,
}

/// The permission of a person on a repository, by GitHub's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    None,
    Read,
    Triage,
    Write,
    Maintain,
    Admin,
}
