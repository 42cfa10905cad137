//! What Paceline writes to GitHub, as wanted state: the comment, check runs, reactions.

use perfsuite::model::Sha;
use serde::{Deserialize, Serialize};

/// GitHub's limit of characters of a comment, and of a check run's summary and text.
pub const TEXT_MAX_CHARS: usize = 65_535;
/// GitHub's limit of annotations of one request; more go out in further requests.
pub const ANNOTATIONS_PER_REQUEST: usize = 50;

/// One write: the state that must exist on GitHub, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outgoing {
    /// The one comment of a pull request. The body holds its marker.
    Comment {
        number: u64,
        body: String,
    },
    /// An answer to somebody's comment `to`, as a comment of its own.
    Reply {
        number: u64,
        to: i64,
        body: String,
    },
    CheckRun(CheckRun),
    /// A label of a pull request, set or taken away.
    Label {
        number: u64,
        label: String,
        state: LabelState,
    },
    /// A receipt on somebody's comment (`eyes`, `+1`, `-1`, `confused`).
    Reaction {
        comment_id: i64,
        content: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelState {
    Present,
    Absent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    /// `paceline/commits`, `paceline/performance`, …
    pub name: String,
    pub head_sha: Sha,
    /// The marker that finds it again: unique for repository, head and name.
    pub external_id: String,
    pub status: CheckStatus,
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// Markdown, may be empty.
    pub text: String,
    pub details_url: Option<String>,
    pub annotations: Vec<Annotation>,
    /// At most three buttons.
    pub actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", content = "conclusion", rename_all = "snake_case")]
pub enum CheckStatus {
    Queued,
    InProgress,
    Completed(Conclusion),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    Success,
    Failure,
    Neutral,
    Cancelled,
    Skipped,
    ActionRequired,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    pub path: String,
    /// From 1.
    pub line: u32,
    /// From 1, when known.
    pub column: Option<u32>,
    pub level: AnnotationLevel,
    pub title: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationLevel {
    Notice,
    Warning,
    Failure,
}

/// A button on a check run. GitHub's limits: label 20, description 40, identifier 20 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub label: String,
    pub description: String,
    pub identifier: String,
}
