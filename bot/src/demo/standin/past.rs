//! Lists of the past: what `paceline backfill` reads.

use super::access::Need;
use super::answer::Answer;
use super::call::Call;
use super::json;
use serde_json::{Value, json};

/// Issues, oldest first, since a time.
pub(super) fn issues(call: &mut Call<'_>, repo: Option<i64>) -> Result<Answer, Answer> {
    let id = call.allowed(repo, "issues", Need::Read)?;
    let (repo, since) = (&call.state.repos[&id], since(call));
    let shown = repo.issues.iter().filter(|(_, issue)| issue.closed_ms.unwrap_or(issue.created_ms) >= since);
    let shown = shown.map(|(number, issue)| {
        json!({
            "number": number,
            "title": "An issue",
            "user": json::user(call.state, &issue.author),
            "state": if issue.closed_ms.is_some() { "closed" } else { "open" },
            "created_at": json::time(issue.created_ms),
            "closed_at": issue.closed_ms.map(json::time),
        })
    });
    // As on GitHub, pull requests are issues too.
    let pulls = repo.pulls.values().filter(|pull| pull.updated_ms >= since).map(|pull| {
        json!({
            "number": pull.number,
            "user": json::user(call.state, &pull.author),
            "created_at": json::time(pull.created_ms),
            "pull_request": { "url": format!("{}/repos/{}/pulls/{}", call.url, repo.name, pull.number) },
        })
    });
    let shown: Vec<Value> = shown.chain(pulls).collect();
    Ok(call.page(id, "issues", shown))
}

/// Comments on issues and pull requests, oldest first, since a time.
pub(super) fn comments(call: &mut Call<'_>, repo: Option<i64>) -> Result<Answer, Answer> {
    let id = call.allowed(repo, "issues", Need::Read)?;
    let (repo, since) = (&call.state.repos[&id], since(call));
    let shown = repo.comments.values().filter(|comment| comment.updated_ms >= since).map(|comment| {
        let mut value = json::comment(call.state, repo, comment, &call.url);
        value["issue_url"] = json!(format!("{}/repos/{}/issues/{}", call.url, repo.name, comment.number));
        value
    });
    let shown: Vec<Value> = shown.collect();
    Ok(call.page(id, "issues/comments", shown))
}

/// A list that has nothing here.
pub(super) fn none(call: &mut Call<'_>, repo: Option<i64>, rest: &str) -> Result<Answer, Answer> {
    let id = call.allowed(repo, "pull_requests", Need::Read)?;
    Ok(call.page(id, rest, Vec::new()))
}

fn since(call: &Call<'_>) -> i64 {
    let given =
        call.asked.query.get("since").and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    given.map_or(i64::MIN, |at| at.timestamp_millis())
}
