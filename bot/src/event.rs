//! GitHub's webhook payloads as our own events: only what handlers need, everything optional that may be missing.

use crate::pull::{InstallationId, RepoId, RepoName};
use perfsuite::model::Sha;
use serde::Deserialize;

/// What happened, in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something about a pull request changed: its facts are to be loaded again.
    PullRequest { place: Place, number: u64 },
    /// Somebody reviewed a pull request, or took a review back.
    Review { place: Place, number: u64, author: String, by_bot: bool },
    /// Somebody wrote on a pull request.
    Comment { place: Place, number: u64, comment_id: i64, author: String, by_bot: bool, body: String },
    /// A re-run button, or one of our own buttons, on a check run.
    CheckRun { place: Place, head: Sha, request: CheckRequest, by: String },
    /// A merge queue wants to know whether a group may land.
    MergeGroup { place: Place, base: Sha, head: Sha },
    /// A merge queue's group is no more: it landed, or was taken apart.
    MergeGroupGone { place: Place, head: Sha },
    /// A branch has other commits.
    Push { place: Place, branch: String },
    /// The App was installed, suspended or removed somewhere, or sees other repositories now.
    Installation { installation: InstallationId },
    /// A repository has another name, owner or visibility, or is gone.
    Repository { place: Place },
    /// Recorded, nothing to do.
    Other,
}

impl Event {
    /// The repository that it is about.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Event::PullRequest { place, .. }
            | Event::Review { place, .. }
            | Event::Comment { place, .. }
            | Event::CheckRun { place, .. }
            | Event::MergeGroup { place, .. }
            | Event::MergeGroupGone { place, .. }
            | Event::Push { place, .. }
            | Event::Repository { place } => Some(place),
            Event::Installation { .. } | Event::Other => None,
        }
    }
}

/// Where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub installation: InstallationId,
    pub repository: RepoId,
    pub name: RepoName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckRequest {
    Rerun { name: Option<String> },
    Action { identifier: String },
}

/// What the inbox needs to know of a payload before any work: the lane and the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub action: Option<String>,
    pub installation_id: Option<i64>,
    pub repository: Option<String>,
    /// Of a push: whether the branch is the default one, and is still there.
    pub default_branch: bool,
    /// Deliveries of one lane are worked on one at a time, in order.
    pub lane: String,
}

impl Envelope {
    /// Whether there may be something to do for this event; what is not is only recorded.
    pub fn concerns_us(&self, event: &str) -> bool {
        let action = self.action.as_deref().unwrap_or_default();
        if event == "push" && !self.default_branch {
            return false;
        }
        HANDLED.iter().any(|(name, actions)| *name == event && actions.contains(&action))
    }
}

/// What is handled, by event and action.
const HANDLED: &[(&str, &[&str])] = &[
    ("pull_request", PULL_ACTIONS),
    ("pull_request_review", REVIEW_ACTIONS),
    ("issue_comment", &["created"]),
    ("check_run", &["rerequested", "requested_action"]),
    ("check_suite", &["rerequested"]),
    ("merge_group", &["checks_requested", "destroyed"]),
    // These say what people do, and ask for nothing; a fork has no action.
    ("pull_request_review_comment", &["created"]),
    ("issues", &["opened", "closed", "reopened"]),
    ("star", &["created", "deleted"]),
    ("fork", &[""]),
    ("release", &["published"]),
    ("push", &[""]),
    ("installation", &["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"]),
    ("installation_repositories", &["added", "removed"]),
    (
        "repository",
        &[
            "renamed",
            "transferred",
            "deleted",
            "privatized",
            "publicized",
            "edited",
            "archived",
            "unarchived",
        ],
    ),
];

/// Whether any action of an event is handled.
pub fn handles(event: &str) -> bool {
    HANDLED.iter().any(|(name, _)| *name == event)
}

#[derive(Deserialize)]
struct Payload {
    action: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    installation: Option<WithId>,
    repository: Option<RepositoryPayload>,
    pull_request: Option<WithNumber>,
    issue: Option<IssuePayload>,
    comment: Option<CommentPayload>,
    check_run: Option<CheckRunPayload>,
    check_suite: Option<CheckSuitePayload>,
    merge_group: Option<MergeGroupPayload>,
    review: Option<ReviewPayload>,
    requested_action: Option<RequestedAction>,
    sender: Option<UserPayload>,
}

#[derive(Deserialize)]
struct WithId {
    id: i64,
}

#[derive(Deserialize)]
struct RepositoryPayload {
    id: i64,
    full_name: String,
}

#[derive(Deserialize)]
struct ReviewPayload {
    user: Option<UserPayload>,
}

#[derive(Deserialize)]
struct WithNumber {
    number: u64,
}

#[derive(Deserialize)]
struct IssuePayload {
    number: u64,
    /// Present when the issue is a pull request.
    pull_request: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct CommentPayload {
    id: i64,
    body: Option<String>,
    user: Option<UserPayload>,
}

#[derive(Deserialize)]
struct UserPayload {
    login: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct CheckRunPayload {
    name: String,
    head_sha: String,
}

#[derive(Deserialize)]
struct CheckSuitePayload {
    head_sha: String,
}

#[derive(Deserialize)]
struct MergeGroupPayload {
    head_sha: String,
    base_sha: String,
}

#[derive(Deserialize)]
struct RequestedAction {
    identifier: String,
}

/// Reads what the inbox needs. Errors only when the body is no JSON object.
pub fn envelope(body: &[u8]) -> Result<Envelope, serde_json::Error> {
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
    let at = |path: &[&str]| {
        let mut found = value.get(path[0])?;
        for key in &path[1..] {
            found = found.get(key)?;
        }
        Some(found)
    };
    let repository_id = at(&["repository", "id"]).and_then(|v| v.as_i64());
    let installation_id = at(&["installation", "id"]).and_then(|v| v.as_i64());
    let number =
        at(&["pull_request", "number"]).or_else(|| at(&["issue", "number"])).and_then(|v| v.as_u64());
    let lane = match (repository_id, number, installation_id) {
        (Some(repository), Some(number), _) => format!("{repository}/{number}"),
        (Some(repository), None, _) => format!("{repository}"),
        (None, _, Some(installation)) => format!("installation {installation}"),
        (None, _, None) => "app".to_owned(),
    };
    let text = |path: &[&str]| at(path).and_then(|v| v.as_str()).map(str::to_owned);
    let pushed = text(&["ref"]).and_then(|name| name.strip_prefix("refs/heads/").map(str::to_owned));
    let deleted = at(&["deleted"]).and_then(|v| v.as_bool()).unwrap_or_default();
    let default = text(&["repository", "default_branch"]);
    Ok(Envelope {
        default_branch: pushed.is_some() && pushed == default && !deleted,
        action: text(&["action"]),
        installation_id,
        repository: text(&["repository", "full_name"]),
        lane,
    })
}

/// Actions of `pull_request` after which facts are loaded again.
const PULL_ACTIONS: &[&str] = &[
    "opened",
    "reopened",
    "synchronize",
    "ready_for_review",
    "converted_to_draft",
    "edited",
    "closed",
    "labeled",
    "unlabeled",
];

/// Actions of `pull_request_review` after which who approved may be others.
const REVIEW_ACTIONS: &[&str] = &["submitted", "edited", "dismissed"];

/// An event that we handle lacks what it must have: trying again changes nothing.
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be used: {0}")]
pub struct Unreadable(String);

/// Translates a payload.
pub fn parse(event: &str, payload: &str) -> Result<Event, Unreadable> {
    read(event, payload).map_err(|error| Unreadable(format!("{error:#}")))
}

fn read(event: &str, payload: &str) -> anyhow::Result<Event> {
    if !handles(event) {
        return Ok(Event::Other);
    }
    let payload: Payload = serde_json::from_str(payload)?;
    let action = payload.action.as_deref().unwrap_or_default();
    if let ("installation" | "installation_repositories", Some(installation)) = (event, &payload.installation)
    {
        return Ok(Event::Installation { installation: InstallationId(installation.id) });
    }
    let (Some(installation), Some(repository)) = (&payload.installation, &payload.repository) else {
        return Ok(Event::Other);
    };
    let place = Place {
        installation: InstallationId(installation.id),
        repository: RepoId(repository.id),
        name: repository.full_name.parse()?,
    };
    let sender = payload.sender.map(|user| user.login).unwrap_or_default();
    Ok(match (event, action) {
        ("pull_request", action) if PULL_ACTIONS.contains(&action) => match payload.pull_request {
            Some(pull) => Event::PullRequest { place, number: pull.number },
            None => Event::Other,
        },
        ("pull_request_review", action) if REVIEW_ACTIONS.contains(&action) => match payload.pull_request {
            Some(pull) => {
                let user = payload.review.and_then(|review| review.user);
                Event::Review {
                    place,
                    number: pull.number,
                    by_bot: user.as_ref().is_none_or(|user| user.kind.as_deref() == Some("Bot")),
                    author: user.map(|user| user.login).unwrap_or_default(),
                }
            }
            None => Event::Other,
        },
        ("issue_comment", "created") => match (payload.issue, payload.comment) {
            (Some(issue), Some(comment)) if issue.pull_request.is_some() => {
                let user = comment.user;
                Event::Comment {
                    place,
                    number: issue.number,
                    comment_id: comment.id,
                    by_bot: user.as_ref().is_none_or(|user| user.kind.as_deref() == Some("Bot")),
                    author: user.map(|user| user.login).unwrap_or_default(),
                    body: comment.body.unwrap_or_default(),
                }
            }
            _ => Event::Other,
        },
        ("check_run", "rerequested") => match payload.check_run {
            Some(check) => Event::CheckRun {
                place,
                head: check.head_sha.parse()?,
                request: CheckRequest::Rerun { name: Some(check.name) },
                by: sender,
            },
            None => Event::Other,
        },
        ("check_run", "requested_action") => match (payload.check_run, payload.requested_action) {
            (Some(check), Some(action)) => Event::CheckRun {
                place,
                head: check.head_sha.parse()?,
                request: CheckRequest::Action { identifier: action.identifier },
                by: sender,
            },
            _ => Event::Other,
        },
        ("check_suite", "rerequested") => match payload.check_suite {
            Some(suite) => Event::CheckRun {
                place,
                head: suite.head_sha.parse()?,
                request: CheckRequest::Rerun { name: None },
                by: sender,
            },
            None => Event::Other,
        },
        ("merge_group", "checks_requested") => match payload.merge_group {
            Some(group) => {
                Event::MergeGroup { place, base: group.base_sha.parse()?, head: group.head_sha.parse()? }
            }
            None => Event::Other,
        },
        ("merge_group", "destroyed") => match payload.merge_group {
            Some(group) => Event::MergeGroupGone { place, head: group.head_sha.parse()? },
            None => Event::Other,
        },
        ("push", _) => match payload.reference.as_deref().and_then(|name| name.strip_prefix("refs/heads/")) {
            Some(branch) => Event::Push { place, branch: branch.to_owned() },
            None => Event::Other,
        },
        ("repository", _) => Event::Repository { place },
        _ => Event::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_keep_events_of_one_pull_request_together() {
        let check = |body: &str, expect: &str| assert_eq!(envelope(body.as_bytes()).unwrap().lane, expect);
        check(r#"{"repository":{"id":7},"pull_request":{"number":3}}"#, "7/3");
        check(r#"{"repository":{"id":7},"issue":{"number":3}}"#, "7/3");
        check(r#"{"repository":{"id":7}}"#, "7");
        check(r#"{"installation":{"id":9}}"#, "installation 9");
        check(r#"{"zen":"Keep it logically awesome."}"#, "app");
        check(r#"{"repository":"text","issue":[]}"#, "app");
        assert!(envelope(b"[1]").is_err());
        assert!(envelope(b"{").is_err());
    }

    #[test]
    fn only_what_is_handled_concerns_us() {
        let check = |event: &str, body: &str, expect: bool| {
            assert_eq!(envelope(body.as_bytes()).unwrap().concerns_us(event), expect, "{event} {body}");
        };
        check("pull_request", r#"{"action":"synchronize"}"#, true);
        check("pull_request", r#"{"action":"assigned"}"#, false);
        check("pull_request", "{}", false);
        check("issue_comment", r#"{"action":"created"}"#, true);
        check("pull_request_review", r#"{"action":"dismissed"}"#, true);
        check("installation", r#"{"action":"suspend"}"#, true);
        check("repository", r#"{"action":"renamed"}"#, true);
        check("check_run", r#"{"action":"created"}"#, false);
        check("push", "{}", false);
        let push = |branch: &str, deleted: bool| {
            format!(
                r#"{{"ref":"refs/{branch}","deleted":{deleted},"repository":{{"id":7,"default_branch":"main"}}}}"#
            )
        };
        check("push", &push("heads/main", false), true);
        check("push", &push("heads/topic", false), false);
        check("push", &push("tags/main", false), false);
        check("push", &push("heads/main", true), false);
    }

    #[test]
    fn payloads_become_events() {
        let place =
            r#""installation":{"id":9},"repository":{"id":7,"full_name":"o/r"},"sender":{"login":"ann"}"#;
        let pull = format!(r#"{{"action":"synchronize",{place},"pull_request":{{"number":3}}}}"#);
        assert!(matches!(parse("pull_request", &pull).unwrap(), Event::PullRequest { number: 3, .. }));
        let assigned = format!(r#"{{"action":"assigned",{place},"pull_request":{{"number":3}}}}"#);
        assert_eq!(parse("pull_request", &assigned).unwrap(), Event::Other);
        let reviewed = format!(r#"{{"action":"submitted",{place},"pull_request":{{"number":4}}}}"#);
        assert!(matches!(parse("pull_request_review", &reviewed).unwrap(), Event::Review { number: 4, .. }));
        let issue = format!(
            r#"{{"action":"created",{place},"issue":{{"number":3}},"comment":{{"id":1,"body":"/paceline help"}}}}"#
        );
        assert_eq!(parse("issue_comment", &issue).unwrap(), Event::Other, "an issue is no pull request");
        assert_eq!(parse("gollum", "not even JSON").unwrap(), Event::Other);
        let removed = r#"{"action":"deleted","installation":{"id":9},"repositories":[]}"#;
        let expect = Event::Installation { installation: InstallationId(9) };
        assert_eq!(parse("installation", removed).unwrap(), expect);
        let renamed = format!(r#"{{"action":"renamed",{place}}}"#);
        assert!(
            matches!(parse("repository", &renamed).unwrap(), Event::Repository { place } if place.repository == RepoId(7))
        );
    }
}
