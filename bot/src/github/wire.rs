//! The few fields of GitHub's JSON that we read. octocrab's own models reject some of GitHub's answers.

use super::error::GitHubError;
use crate::pull::{self, ChangeKind, ChangedPath, InstallationId, PullRequest, PullState, RepoId, RepoName};
use perfsuite::model::Sha;
use serde::Deserialize;
use std::collections::BTreeMap;

/// GitHub shows a deleted account under this name.
const GHOST: &str = "ghost";

#[derive(Deserialize)]
pub(super) struct App {
    pub id: u64,
    pub slug: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    #[serde(default)]
    pub events: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Installation {
    pub id: i64,
    #[serde(default)]
    pub suspended_at: Option<String>,
}

impl Installation {
    pub(super) fn standing(&self) -> super::Standing {
        if self.suspended_at.is_some() { super::Standing::Suspended } else { super::Standing::Active }
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub token: String,
    pub expires_at: String,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub login: String,
    #[serde(rename = "type", default)]
    pub kind: String,
}

impl User {
    pub(super) fn is_bot(&self) -> bool {
        self.kind == "Bot"
    }
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub id: i64,
    pub full_name: String,
    #[serde(default)]
    pub private: bool,
    #[serde(default)]
    pub default_branch: String,
    // GitHub shows these to Apps that may write contents; to others it may leave them out.
    #[serde(default)]
    allow_merge_commit: Option<bool>,
    #[serde(default)]
    allow_squash_merge: Option<bool>,
    #[serde(default)]
    allow_rebase_merge: Option<bool>,
    #[serde(default)]
    squash_merge_commit_title: Option<String>,
    #[serde(default)]
    squash_merge_commit_message: Option<String>,
}

impl Repository {
    pub(super) fn settings(&self) -> pull::MergeSettings {
        pull::MergeSettings {
            merge: self.allow_merge_commit,
            squash: self.allow_squash_merge,
            rebase: self.allow_rebase_merge,
            squash_title: match self.squash_merge_commit_title.as_deref() {
                Some("PR_TITLE") => pull::SquashTitle::PullTitle,
                _ => pull::SquashTitle::CommitOrPull,
            },
            squash_body: match self.squash_merge_commit_message.as_deref() {
                Some("PR_BODY") => pull::SquashBody::Pull,
                Some("BLANK") => pull::SquashBody::Blank,
                _ => pull::SquashBody::Commits,
            },
        }
    }

    pub(super) fn known(self, installation: InstallationId) -> Result<pull::Repository, GitHubError> {
        let name: RepoName = self
            .full_name
            .parse()
            .map_err(|e: pull::BadRepoName| GitHubError::malformed("a repository", e.to_string()))?;
        let default_branch = self.default_branch;
        Ok(pull::Repository {
            id: RepoId(self.id),
            installation,
            name,
            private: self.private,
            default_branch,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Repositories {
    pub repositories: Vec<Repository>,
}

#[derive(Deserialize)]
pub(super) struct Side {
    #[serde(rename = "ref")]
    name: String,
    sha: Sha,
    repo: Option<SideRepo>,
}

#[derive(Deserialize)]
struct SideRepo {
    id: i64,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Pull {
    number: u64,
    title: String,
    user: Option<User>,
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merged_at: Option<String>,
    created_at: String,
    base: Side,
    head: Side,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    auto_merge: Option<AutoMerge>,
}

#[derive(Deserialize)]
struct AutoMerge {
    merge_method: String,
}

impl Pull {
    /// Takes what is no part of a pull request in our words.
    pub(super) fn text(&mut self) -> pull::PullText {
        let method = self.auto_merge.as_ref().and_then(|auto| match auto.merge_method.as_str() {
            "merge" => Some(pull::MergeMethod::Merge),
            "squash" => Some(pull::MergeMethod::Squash),
            "rebase" => Some(pull::MergeMethod::Rebase),
            _ => None,
        });
        pull::PullText { body: self.body.take().unwrap_or_default(), auto_merge: method }
    }
}

impl From<Pull> for PullRequest {
    fn from(from: Pull) -> Self {
        let from_fork = match (&from.head.repo, &from.base.repo) {
            (Some(head), Some(base)) => head.id != base.id,
            _ => true,
        };
        let state = match (from.state.as_str(), from.merged_at.is_some()) {
            (_, true) => PullState::Merged,
            ("open", _) => PullState::Open,
            _ => PullState::Closed,
        };
        PullRequest {
            number: from.number,
            // No text to PostgreSQL, and nothing that anybody sees.
            title: from.title.replace('\0', ""),
            author_is_bot: from.user.as_ref().is_some_and(User::is_bot),
            author: from.user.map_or_else(|| GHOST.to_owned(), |u| u.login),
            state,
            draft: from.draft,
            base_ref: from.base.name,
            base_sha: from.base.sha,
            head_ref: from.head.name,
            head_sha: from.head.sha,
            from_fork,
            labels: from.labels.into_iter().map(|l| l.name).collect(),
            opened_ms: time_ms(&from.created_at).unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Commit {
    sha: Sha,
    commit: CommitText,
    #[serde(default)]
    parents: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    author: Option<CommitAuthor>,
}

#[derive(Deserialize)]
struct CommitAuthor {
    #[serde(default)]
    name: String,
}

impl From<Commit> for pull::Commit {
    fn from(from: Commit) -> Self {
        pull::Commit {
            sha: from.sha,
            message: from.commit.message,
            parents: from.parents.len(),
            author_name: from.commit.author.map(|a| a.name).unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct File {
    filename: String,
    status: String,
    #[serde(default)]
    previous_filename: Option<String>,
}

impl From<File> for ChangedPath {
    fn from(from: File) -> Self {
        let kind = match from.status.as_str() {
            "added" | "copied" => ChangeKind::Added,
            "removed" => ChangeKind::Removed,
            "renamed" => ChangeKind::Renamed,
            _ => ChangeKind::Modified,
        };
        ChangedPath { path: from.filename, previous: from.previous_filename, kind }
    }
}

#[derive(Deserialize)]
pub(super) struct PermissionAnswer {
    #[serde(default)]
    pub permission: String,
    #[serde(default)]
    pub role_name: String,
    #[serde(default)]
    pub user: Option<SignedIn>,
}

/// A person, by number and present name.
#[derive(Deserialize)]
pub(super) struct SignedIn {
    pub id: i64,
    pub login: String,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub id: i64,
    pub user: Option<User>,
    #[serde(default)]
    pub body: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Made {
    pub id: i64,
}

#[derive(Deserialize)]
pub(super) struct CheckRuns {
    pub check_runs: Vec<CheckRun>,
}

#[derive(Deserialize)]
pub(super) struct CheckRun {
    pub id: i64,
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub conclusion: Option<String>,
    #[serde(default)]
    pub app: Option<CheckApp>,
}

#[derive(Deserialize)]
pub(super) struct CheckApp {
    pub id: u64,
}

#[derive(Deserialize)]
pub(super) struct Review {
    id: i64,
    user: Option<User>,
    state: String,
    #[serde(default)]
    commit_id: Option<Sha>,
    #[serde(default)]
    submitted_at: Option<String>,
}

impl From<Review> for pull::Review {
    fn from(from: Review) -> Self {
        pull::Review {
            id: from.id,
            login: from.user.map_or_else(|| GHOST.to_owned(), |u| u.login),
            state: match from.state.to_ascii_uppercase().as_str() {
                "APPROVED" => pull::ReviewState::Approved,
                "CHANGES_REQUESTED" => pull::ReviewState::ChangesRequested,
                "DISMISSED" => pull::ReviewState::Dismissed,
                _ => pull::ReviewState::Other,
            },
            commit: from.commit_id,
            submitted_ms: from.submitted_at.as_deref().and_then(time_ms).unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Member {
    pub login: String,
}

/// One attempt to deliver a webhook.
#[derive(Deserialize)]
pub(super) struct HookDelivery {
    pub id: i64,
    pub guid: String,
    pub event: String,
    pub delivered_at: String,
    /// What our webhook answered; zero when it did not.
    #[serde(default)]
    pub status_code: u16,
}

/// An annotation as GitHub has it: enough to know one of ours again.
#[derive(Deserialize)]
pub(super) struct Annotation {
    pub path: String,
    pub start_line: u32,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

/// Milliseconds since the epoch of `2026-01-31T12:00:00Z`.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_millis())
}
