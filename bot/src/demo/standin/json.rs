//! GitHub's JSON of the things that the stand-in keeps; the same for the API and for webhooks.

use super::state::{App, CheckRun, Comment, Pull, Repo, Review, State};
use crate::pull::PullState;
use serde_json::{Value, json};

/// `2026-01-31T12:00:00Z`.
pub(super) fn time(ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

pub(super) fn user(state: &State, login: &str) -> Value {
    let bot = login.ends_with("[bot]");
    json!({
        "login": login,
        "id": state.users.get(login).copied().unwrap_or(0),
        "type": if bot { "Bot" } else { "User" },
        "site_admin": false,
    })
}

pub(super) fn app(id: u64, app: &App) -> Value {
    json!({
        "id": id,
        "slug": app.slug,
        "name": app.slug,
        "permissions": app.permissions,
        "events": app.events,
    })
}

pub(super) fn installation(state: &State, id: i64) -> Value {
    let Some(installation) = state.installations.get(&id) else { return Value::Null };
    let slug = state.apps.get(&installation.app).map(|a| a.slug.clone());
    json!({
        "id": id,
        "account": user(state, &installation.account),
        "app_id": installation.app,
        "app_slug": slug,
        "repository_selection": "selected",
        "permissions": installation.permissions,
        "suspended_at": installation.suspended_ms.map(time),
    })
}

pub(super) fn repository(state: &State, repo: &Repo, url: &str) -> Value {
    let mut value = json!({
        "id": repo.id,
        "name": repo.name.name,
        "full_name": repo.name.to_string(),
        "private": repo.private,
        "owner": user(state, &repo.name.owner),
        "html_url": format!("{url}/{}", repo.name),
        "clone_url": format!("{url}/{}.git", repo.name),
        "default_branch": repo.default_branch,
        "stargazers_count": repo.counts.0,
        "forks_count": repo.counts.1,
        "subscribers_count": repo.counts.2,
        "fork": false,
        "archived": false,
        "allow_merge_commit": true,
        "allow_squash_merge": true,
        "allow_rebase_merge": true,
        "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
        "squash_merge_commit_message": "COMMIT_MESSAGES",
    });
    for (name, field) in &repo.merging {
        value[name] = field.clone();
    }
    value
}

/// A short form of a repository, within a pull request's sides.
fn side(state: &State, repo: Option<&Repo>, name: &str, sha: &str, url: &str) -> Value {
    let owner = repo.map(|r| r.name.owner.clone()).unwrap_or_default();
    json!({
        "label": format!("{owner}:{name}"),
        "ref": name,
        "sha": sha,
        "user": repo.map(|r| user(state, &r.name.owner)),
        "repo": repo.map(|r| repository(state, r, url)),
    })
}

pub(super) fn pull(state: &State, repo: &Repo, pull: &Pull, base_sha: &str, url: &str) -> Value {
    let head_repo = pull.head_repo.and_then(|id| state.repos.get(&id));
    json!({
        "id": pull.id,
        "number": pull.number,
        "title": pull.title,
        "body": pull.body,
        "user": user(state, &pull.author),
        "state": if pull.state == PullState::Open { "open" } else { "closed" },
        "merged": pull.state == PullState::Merged,
        "merged_at": (pull.state == PullState::Merged).then(|| time(pull.updated_ms)),
        "closed_at": (pull.state != PullState::Open).then(|| time(pull.updated_ms)),
        "draft": pull.draft,
        "locked": pull.locked,
        "labels": pull.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "created_at": time(pull.created_ms),
        "updated_at": time(pull.updated_ms),
        "html_url": format!("{url}/{}/pull/{}", repo.name, pull.number),
        "base": side(state, Some(repo), &pull.base_ref, base_sha, url),
        "head": side(state, head_repo, &pull.head_ref, pull.head_sha.as_str(), url),
    })
}

pub(super) fn comment(state: &State, repo: &Repo, comment: &Comment, url: &str) -> Value {
    let app = comment.app.and_then(|id| state.apps.get(&id).map(|a| app(id, a)));
    json!({
        "id": comment.id,
        "user": user(state, &comment.author),
        "body": comment.body,
        "created_at": time(comment.created_ms),
        "updated_at": time(comment.updated_ms),
        "html_url": format!("{url}/{}/pull/{}#issuecomment-{}", repo.name, comment.number, comment.id),
        "performed_via_github_app": app,
    })
}

pub(super) fn review(state: &State, review: &Review) -> Value {
    json!({
        "id": review.id,
        "user": user(state, &review.author),
        "body": "",
        "state": review.state,
        "commit_id": review.commit,
        "submitted_at": time(review.at_ms),
    })
}

pub(super) fn check_run(state: &State, repo: &Repo, run: &CheckRun, url: &str) -> Value {
    let mut value = Value::Object(run.fields.clone());
    value["id"] = json!(run.id);
    value["app"] = state.apps.get(&run.app).map_or(Value::Null, |a| app(run.app, a));
    value["html_url"] = json!(format!("{url}/{}/runs/{}", repo.name, run.id));
    value["started_at"] = json!(time(run.created_ms));
    // As on GitHub, empty for a head in a fork.
    let head = value["head_sha"].as_str().unwrap_or("").to_owned();
    let pulls = repo.pulls.values().filter(|p| p.head_sha.as_str() == head && p.head_repo == Some(repo.id));
    value["pull_requests"] = pulls.map(|p| json!({ "number": p.number })).collect();
    if value["output"].is_null() {
        value["output"] = json!({ "title": null, "summary": null, "text": null });
    }
    value["output"]["annotations_count"] = json!(run.annotations.len());
    value
}
