//! What a webhook tells of people's work, as events of our own: what is kept for measures and stories. Pure.

use serde_json::Value;

/// GitHub's logins have 39 characters, those of bots a few more.
const LOGIN_MAX_CHARS: usize = 100;
/// Issues that one pull request closes by its text; more is no sensible list.
const LINKS_MAX: usize = 20;
/// Of a text, what is searched for such words.
const TEXT_MAX_BYTES: usize = 64 << 10;
const DETAIL_MAX_CHARS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Opened,
    Pushed,
    Ready,
    Closed,
    Merged,
    Reopened,
    Review,
    Comment,
    ReviewComment,
    Linked,
    IssueOpened,
    IssueClosed,
    Star,
    Unstar,
    Fork,
    Release,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Opened,
        Kind::Pushed,
        Kind::Ready,
        Kind::Closed,
        Kind::Merged,
        Kind::Reopened,
        Kind::Review,
        Kind::Comment,
        Kind::ReviewComment,
        Kind::Linked,
        Kind::IssueOpened,
        Kind::IssueClosed,
        Kind::Star,
        Kind::Unstar,
        Kind::Fork,
        Kind::Release,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Pushed => "pushed",
            Kind::Ready => "ready",
            Kind::Closed => "closed",
            Kind::Merged => "merged",
            Kind::Reopened => "reopened",
            Kind::Review => "review",
            Kind::Comment => "comment",
            Kind::ReviewComment => "review-comment",
            Kind::Linked => "linked",
            Kind::IssueOpened => "issue-opened",
            Kind::IssueClosed => "issue-closed",
            Kind::Star => "star",
            Kind::Unstar => "unstar",
            Kind::Fork => "fork",
            Kind::Release => "release",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: Kind,
    /// Names the event among those of its kind.
    pub source: String,
    pub number: Option<u64>,
    pub login: String,
    pub bot: bool,
    pub detail: Option<String>,
    pub sha: Option<String>,
    pub at_ms: i64,
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub kind: Kind,
    pub number: Option<u64>,
    pub login: String,
    pub bot: bool,
    pub detail: Option<String>,
    pub sha: Option<String>,
    pub at_ms: i64,
}

/// GitHub shows a deleted account under this name.
pub const GHOST: &str = "ghost";

/// The events that say something of people's work.
pub fn told_by(event: &str) -> bool {
    matches!(
        event,
        "pull_request"
            | "pull_request_review"
            | "pull_request_review_comment"
            | "issue_comment"
            | "issues"
            | "star"
            | "fork"
            | "release"
    )
}

/// What a payload tells. `received_ms` is when it came, for what has no time of its own.
pub fn events(event: &str, payload: &Value, received_ms: i64) -> Vec<NewEvent> {
    let action = payload["action"].as_str().unwrap_or_default();
    let mut events = Vec::new();
    match (event, action) {
        ("pull_request", action) => {
            of_pull(&payload["pull_request"], action, payload, received_ms, &mut events)
        }
        ("pull_request_review", "submitted") => {
            let number = payload["pull_request"]["number"].as_u64();
            events.extend(number.and_then(|number| review(number, &payload["review"])));
        }
        ("pull_request_review_comment", "created") => {
            let number = payload["pull_request"]["number"].as_u64();
            events
                .extend(number.and_then(|number| comment(Kind::ReviewComment, number, &payload["comment"])));
        }
        ("issue_comment", "created") => {
            let number = payload["issue"]["number"].as_u64();
            events.extend(number.and_then(|number| comment(Kind::Comment, number, &payload["comment"])));
        }
        ("issues", "opened" | "closed" | "reopened") => events.extend(issue(&payload["issue"])),
        ("star", "created" | "deleted") => {
            let at_ms = time(&payload["starred_at"]).unwrap_or(received_ms);
            let kind = if action == "created" { Kind::Star } else { Kind::Unstar };
            let (login, bot) = person(&payload["sender"]);
            let source = format!("{login}@{at_ms}");
            events.push(NewEvent { kind, source, number: None, login, bot, detail: None, sha: None, at_ms });
        }
        ("fork", _) => {
            let (login, bot) = person(&payload["forkee"]["owner"]);
            let source = payload["forkee"]["id"].as_i64().map_or_else(|| login.clone(), |id| id.to_string());
            let at_ms = time(&payload["forkee"]["created_at"]).unwrap_or(received_ms);
            let kind = Kind::Fork;
            events.push(NewEvent { kind, source, number: None, login, bot, detail: None, sha: None, at_ms });
        }
        ("release", "published") => events.extend(release(&payload["release"])),
        _ => {}
    }
    events
}

/// What a pull request tells by itself, as the API or a webhook has it: opened, merged or closed, which issues.
pub fn pull(found: &Value) -> Vec<NewEvent> {
    let mut events = Vec::new();
    of_pull(found, "", &Value::Null, 0, &mut events);
    events
}

fn of_pull(pull: &Value, action: &str, payload: &Value, received_ms: i64, events: &mut Vec<NewEvent>) {
    let Some(number) = pull["number"].as_u64() else { return };
    let head = pull["head"]["sha"].as_str().map(|sha| bounded(sha, 64));
    let event = |kind, source: String, (login, bot): (String, bool), at_ms| NewEvent {
        kind,
        source,
        number: Some(number),
        login,
        bot,
        detail: None,
        sha: head.clone(),
        at_ms,
    };
    if let Some(at_ms) = time(&pull["created_at"]) {
        // The head is another one by now.
        let opened = event(Kind::Opened, number.to_string(), person(&pull["user"]), at_ms);
        events.push(if action == "opened" { opened } else { NewEvent { sha: None, ..opened } });
    }
    let sender = || person(&payload["sender"]);
    if let Some(at_ms) = time(&pull["merged_at"]) {
        let by = if pull["merged_by"].is_object() { person(&pull["merged_by"]) } else { sender() };
        events.push(event(Kind::Merged, number.to_string(), by, at_ms));
    } else if let Some(at_ms) = time(&pull["closed_at"]) {
        events.push(event(Kind::Closed, format!("{number}@{at_ms}"), sender(), at_ms));
    }
    let now_ms = time(&pull["updated_at"]).unwrap_or(received_ms);
    match action {
        "synchronize" => {
            if let Some(head) = &head {
                events.push(event(Kind::Pushed, format!("{number}@{head}"), sender(), now_ms));
            }
        }
        "ready_for_review" => events.push(event(Kind::Ready, format!("{number}@{now_ms}"), sender(), now_ms)),
        "reopened" => events.push(event(Kind::Reopened, format!("{number}@{now_ms}"), sender(), now_ms)),
        _ => {}
    }
    let text = [&pull["title"], &pull["body"]].map(|part| part.as_str().unwrap_or_default()).join("\n");
    let created_ms = time(&pull["created_at"]).unwrap_or(received_ms);
    for issue in closes(&text) {
        let linked = event(Kind::Linked, format!("{number}:{issue}"), person(&pull["user"]), created_ms);
        events.push(NewEvent { detail: Some(issue.to_string()), sha: None, ..linked });
    }
}

/// A review as the API or a webhook has it; one that was not sent yet is none.
pub fn review(number: u64, review: &Value) -> Option<NewEvent> {
    let (login, bot) = person(&review["user"]);
    Some(NewEvent {
        kind: Kind::Review,
        source: review["id"].as_i64()?.to_string(),
        number: Some(number),
        login,
        bot,
        detail: review["state"].as_str().map(|state| bounded(&state.to_lowercase().replace('_', "-"), 40)),
        sha: review["commit_id"].as_str().map(|sha| bounded(sha, 64)),
        at_ms: time(&review["submitted_at"])?,
    })
}

pub fn comment(kind: Kind, number: u64, comment: &Value) -> Option<NewEvent> {
    let (login, bot) = person(&comment["user"]);
    Some(NewEvent {
        kind,
        source: comment["id"].as_i64()?.to_string(),
        number: Some(number),
        login,
        bot,
        detail: None,
        sha: comment["commit_id"].as_str().map(|sha| bounded(sha, 64)),
        at_ms: time(&comment["created_at"])?,
    })
}

/// Opened, and closed if it is. What the API lists among issues and is a pull request is none.
pub fn issue(issue: &Value) -> Vec<NewEvent> {
    let Some(number) = issue["number"].as_u64().filter(|_| issue["pull_request"].is_null()) else {
        return Vec::new();
    };
    let (login, bot) = person(&issue["user"]);
    let event = |kind, source, at_ms| NewEvent {
        kind,
        source,
        number: Some(number),
        login: login.clone(),
        bot,
        detail: None,
        sha: None,
        at_ms,
    };
    let opened = time(&issue["created_at"]).map(|at_ms| event(Kind::IssueOpened, number.to_string(), at_ms));
    let closed =
        time(&issue["closed_at"]).map(|at_ms| event(Kind::IssueClosed, format!("{number}@{at_ms}"), at_ms));
    opened.into_iter().chain(closed).collect()
}

pub fn release(release: &Value) -> Option<NewEvent> {
    let (login, bot) = person(&release["author"]);
    Some(NewEvent {
        kind: Kind::Release,
        source: release["id"].as_i64()?.to_string(),
        number: None,
        login,
        bot,
        detail: release["tag_name"].as_str().map(|tag| bounded(tag, DETAIL_MAX_CHARS)),
        sha: None,
        at_ms: time(&release["published_at"])?,
    })
}

fn person(user: &Value) -> (String, bool) {
    match user["login"].as_str().filter(|login| !login.is_empty()) {
        Some(login) => (bounded(login, LOGIN_MAX_CHARS), user["type"] == "Bot" || login.ends_with("[bot]")),
        None => (GHOST.into(), false),
    }
}

fn bounded(text: &str, max: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(max).collect()
}

fn time(value: &Value) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|at| at.timestamp_millis())
}

/// The issues that GitHub closes with a pull request by its text: `fixes #12`.
pub fn closes(text: &str) -> Vec<u64> {
    const WORDS: [&str; 9] =
        ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
    let end = text.floor_char_boundary(TEXT_MAX_BYTES);
    let mut found = Vec::new();
    let words: Vec<&str> = text[..end].split_whitespace().collect();
    for two in words.windows(2) {
        let keyword = two[0].trim_end_matches(':').trim_start_matches(['(', '*', '-']).to_lowercase();
        let number = two[1]
            .strip_prefix('#')
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).take(12).collect::<String>());
        let number = number.and_then(|digits| digits.parse::<u64>().ok()).filter(|number| *number > 0);
        if let Some(number) = number.filter(|n| WORDS.contains(&keyword.as_str()) && !found.contains(n)) {
            found.push(number);
        }
        if found.len() == LINKS_MAX {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn issues_that_a_text_closes() {
        assert_eq!(closes("fix: one\n\nFixes #12, closes: #13. See #14; resolve #12"), [12, 13]);
        assert_eq!(closes("fixes#1 prefixes #2 fixes #0 fixes #"), [0u64; 0]);
    }

    #[test]
    fn a_pull_request_tells_its_stations_once() {
        let pull = json!({
            "number": 7, "title": "fix #3", "body": null, "user": { "login": "ann", "type": "User" },
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
            "merged_at": null, "closed_at": null, "head": { "sha": "abc" },
        });
        let told = |action: &str, pull: &Value| {
            let payload = json!({ "action": action, "pull_request": pull, "sender": { "login": "bob" } });
            events("pull_request", &payload, 5)
        };
        let opened = told("opened", &pull);
        assert_eq!(opened[0].sha.as_deref(), Some("abc"));
        assert_eq!((opened[0].login.as_str(), opened[1].kind), ("ann", Kind::Linked));
        let pushed = told("synchronize", &pull);
        assert_eq!((pushed[0].kind, &pushed[0].source), (Kind::Opened, &opened[0].source));
        assert_eq!((pushed[1].kind, pushed[1].login.as_str()), (Kind::Pushed, "bob"));
        let mut merged = pull.clone();
        merged["merged_at"] = json!("2026-01-03T00:00:00Z");
        merged["merged_by"] = json!({ "login": "carol" });
        let merged = told("closed", &merged);
        assert_eq!((merged[1].kind, merged[1].login.as_str()), (Kind::Merged, "carol"));
        assert_eq!(told("opened", &json!({ "number": -1 })), []);
    }

    #[test]
    fn what_others_tell_is_kept_as_theirs() {
        let review = json!({
            "action": "submitted", "pull_request": { "number": 7 },
            "review": { "id": 5, "user": { "login": "x[bot]", "type": "Bot" }, "state": "CHANGES_REQUESTED",
                        "submitted_at": "2026-01-01T00:00:00Z", "commit_id": "abc" },
        });
        let review = &events("pull_request_review", &review, 5)[0];
        assert!(review.bot);
        assert_eq!(review.detail.as_deref(), Some("changes-requested"));
        let star = json!({ "action": "created", "starred_at": null, "sender": { "login": "ann" } });
        assert_eq!(events("star", &star, 5)[0].at_ms, 5);
        let deleted = json!({ "action": "created", "issue": { "number": 7 },
            "comment": { "id": 1, "user": null, "created_at": "2026-01-01T00:00:00Z" } });
        assert_eq!(events("issue_comment", &deleted, 5)[0].login, GHOST);
        let odd = json!({ "action": 3, "issue": [], "comment": null, "release": "x", "forkee": 1 });
        for event in ["issues", "issue_comment", "release", "pull_request", "star", "nonsense"] {
            assert_eq!(events(event, &odd, 5), [], "{event}");
        }
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
    }
}
