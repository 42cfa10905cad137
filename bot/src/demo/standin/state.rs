//! What the stand-in remembers, and the views of it that tests read.

use super::fault::Faults;
use crate::pull::{Permission, PullState, RepoName};
use perfsuite::model::Sha;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// Requests remembered; the oldest go first.
const REQUESTS_MAX: usize = 20_000;

#[derive(Default)]
pub(super) struct State {
    pub apps: BTreeMap<u64, App>,
    pub installations: BTreeMap<i64, Installation>,
    pub tokens: BTreeMap<String, Token>,
    pub repos: BTreeMap<i64, Repo>,
    pub users: BTreeMap<String, i64>,
    /// Manifests that somebody confirmed, by the code that their App can be had for.
    pub manifests: BTreeMap<String, Value>,
    /// Who sits at the browser that is sent to GitHub.
    pub at_the_browser: Option<String>,
    /// Sign-ins that somebody agreed to, by the code that the browser was given.
    pub codes: BTreeMap<String, Code>,
    /// Logins by the tokens of people.
    pub people: BTreeMap<String, String>,
    /// Logins by organisation and team.
    pub teams: BTreeMap<(String, String), Vec<String>>,
    pub deliveries: Vec<Delivery>,
    /// GUIDs that the API was asked to send again.
    pub redeliveries_asked: Vec<String>,
    /// Names that repositories had before, lower-case `owner/name`.
    pub moved: BTreeMap<String, i64>,
    pub requests: VecDeque<RequestSeen>,
    pub faults: Faults,
    pub traps: Vec<Trap>,
    /// All requests, by method; those of git apart.
    pub totals: BTreeMap<String, usize>,
    last_id: i64,
}

/// A sign-in that GitHub and a person agreed to.
pub(super) struct Code {
    pub app: u64,
    pub login: String,
    /// By PKCE: the digest of what must come with the code.
    pub challenge: String,
    pub redirect: String,
}

/// What happens after a request.
pub(super) struct Trap {
    pub method: String,
    pub part: String,
    pub act: Box<dyn FnOnce() + Send>,
}

pub(super) struct App {
    pub slug: String,
    /// PKCS#1 DER.
    pub public_key: Vec<u8>,
    pub webhook_secret: String,
    pub permissions: BTreeMap<String, String>,
    pub events: Vec<String>,
}

pub(super) struct Installation {
    pub app: u64,
    pub account: String,
    pub repos: BTreeSet<i64>,
    pub permissions: BTreeMap<String, String>,
    /// Requests left in this hour.
    pub quota: i64,
    pub suspended_ms: Option<i64>,
}

pub(super) struct Token {
    pub installation: i64,
    pub expires_ms: i64,
}

pub(super) struct Repo {
    pub id: i64,
    pub name: RepoName,
    pub private: bool,
    pub default_branch: String,
    pub path: PathBuf,
    pub people: BTreeMap<String, Permission>,
    pub pulls: BTreeMap<u64, Pull>,
    pub comments: BTreeMap<i64, Comment>,
    pub check_runs: BTreeMap<i64, CheckRun>,
    pub reviews: BTreeMap<i64, Review>,
    /// Stars, forks, watchers.
    pub counts: (i64, i64, i64),
    pub issues: BTreeMap<u64, Issue>,
    /// Fields of the repository's JSON that say how pull requests may land.
    pub merging: serde_json::Map<String, Value>,
}

pub(super) struct Pull {
    pub id: i64,
    pub number: u64,
    pub title: String,
    pub body: String,
    pub author: String,
    pub state: PullState,
    pub draft: bool,
    pub locked: bool,
    pub base_ref: String,
    pub head_ref: String,
    pub head_sha: Sha,
    /// `None`: the fork was deleted.
    pub head_repo: Option<i64>,
    pub labels: Vec<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
}

pub(super) struct Comment {
    pub id: i64,
    pub number: u64,
    pub author: String,
    pub app: Option<u64>,
    pub body: String,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub edits: usize,
    /// Who, what.
    pub reactions: Vec<(i64, String, String)>,
}

pub(super) struct Issue {
    pub author: String,
    pub created_ms: i64,
    pub closed_ms: Option<i64>,
}

pub(super) struct Review {
    pub id: i64,
    pub number: u64,
    pub author: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED`.
    pub state: String,
    pub commit: Sha,
    pub at_ms: i64,
}

pub(super) struct CheckRun {
    pub id: i64,
    pub app: u64,
    /// The fields as they were sent, without annotations.
    pub fields: serde_json::Map<String, Value>,
    pub annotations: Vec<Value>,
    pub created_ms: i64,
}

pub(super) struct Delivery {
    pub id: i64,
    pub app: u64,
    pub url: String,
    pub guid: String,
    pub event: String,
    pub payload: Vec<u8>,
    pub status: u16,
    pub at_ms: i64,
    pub redelivery: bool,
}

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSeen {
    pub method: String,
    /// Path and query as they were asked.
    pub target: String,
    /// Whether there was an `Authorization` header.
    pub authorized: bool,
    /// Whether the body came compressed.
    pub compressed: bool,
    /// Zero while it is under way or when nothing was answered.
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentSeen {
    pub id: i64,
    pub author: String,
    pub body: String,
    /// `eyes`, `+1`, …
    pub reactions: Vec<String>,
    /// How often it was edited.
    pub edits: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRunSeen {
    pub id: i64,
    pub name: String,
    pub head_sha: String,
    pub external_id: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub title: String,
    pub summary: String,
    pub text: String,
    pub details_url: Option<String>,
    pub annotations: Vec<AnnotationSeen>,
    /// Identifiers of the buttons.
    pub actions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationSeen {
    pub path: String,
    pub line: u64,
    pub level: String,
    pub title: String,
    pub message: String,
}

impl State {
    /// Ids count up over everything, as a test would hope not to rely on.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        1_000 + self.last_id
    }

    pub(super) fn user_id(&mut self, login: &str) -> i64 {
        if let Some(id) = self.users.get(login) {
            return *id;
        }
        let id = self.next_id();
        self.users.insert(login.to_owned(), id);
        id
    }

    pub(super) fn repo_by_name(&self, owner: &str, name: &str) -> Option<i64> {
        let same =
            |r: &&Repo| r.name.owner.eq_ignore_ascii_case(owner) && r.name.name.eq_ignore_ascii_case(name);
        self.repos.values().find(same).map(|r| r.id)
    }

    /// The repository that had this name once and has another now.
    pub(super) fn moved_from(&self, owner: &str, name: &str) -> Option<i64> {
        let former = format!("{owner}/{name}").to_ascii_lowercase();
        match self.repo_by_name(owner, name) {
            Some(_) => None,
            None => self.moved.get(&former).copied().filter(|id| self.repos.contains_key(id)),
        }
    }

    pub(super) fn saw(&mut self, request: RequestSeen) {
        let kind = match (request.target.contains(".git/"), request.status) {
            (true, _) => "git",
            (false, 304) => "304",
            _ => &request.method,
        };
        *self.totals.entry(kind.to_owned()).or_default() += 1;
        if self.requests.len() == REQUESTS_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}

impl Comment {
    pub(super) fn seen(&self) -> CommentSeen {
        CommentSeen {
            id: self.id,
            author: self.author.clone(),
            body: self.body.clone(),
            reactions: self.reactions.iter().map(|(_, _, content)| content.clone()).collect(),
            edits: self.edits,
        }
    }
}

impl CheckRun {
    pub(super) fn seen(&self) -> CheckRunSeen {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
        let output = |name: &str| text(self.fields.get("output").and_then(|o| o.get(name)));
        let annotation = |a: &Value| AnnotationSeen {
            path: text(a.get("path")),
            line: a.get("start_line").and_then(Value::as_u64).unwrap_or(0),
            level: text(a.get("annotation_level")),
            title: text(a.get("title")),
            message: text(a.get("message")),
        };
        let actions = self.fields.get("actions").and_then(Value::as_array);
        CheckRunSeen {
            id: self.id,
            name: text(self.fields.get("name")),
            head_sha: text(self.fields.get("head_sha")),
            external_id: text(self.fields.get("external_id")),
            status: text(self.fields.get("status")),
            conclusion: self.fields.get("conclusion").and_then(Value::as_str).map(str::to_owned),
            title: output("title"),
            summary: output("summary"),
            text: output("text"),
            details_url: self.fields.get("details_url").and_then(Value::as_str).map(str::to_owned),
            annotations: self.annotations.iter().map(annotation).collect(),
            actions: actions.into_iter().flatten().map(|a| text(a.get("identifier"))).collect(),
        }
    }
}
