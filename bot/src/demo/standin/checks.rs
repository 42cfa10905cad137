//! Check runs, with GitHub's refusals: portions of annotations, lengths, unknown commits, missing fields.

use super::access::Need;
use super::answer::Answer;
use super::call::Call;
use super::state::CheckRun;
use super::{git_store, json};
use serde_json::{Map, Value, json};

const ANNOTATIONS_MAX: usize = 50;
const TEXT_MAX_CHARS: usize = 65_535;
const ACTIONS_MAX: usize = 3;
const STATUSES: [&str; 3] = ["queued", "in_progress", "completed"];
const CONCLUSIONS: [&str; 7] =
    ["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"];
/// The fields of a check run that a request may set.
const FIELDS: [&str; 8] =
    ["name", "head_sha", "details_url", "external_id", "status", "conclusion", "completed_at", "actions"];

pub(super) fn create(call: &mut Call<'_>, repo: Option<i64>) -> Result<Answer, Answer> {
    let repo = call.allowed(repo, "checks", Need::Write)?;
    let app = call.caller.acting_app(call.state)?;
    let sent = call.asked.json()?;
    let head = sent["head_sha"].as_str().unwrap_or("");
    if sent["name"].as_str().unwrap_or("").is_empty() {
        return Err(invalid("name", "is missing"));
    }
    if !git_store::has_commit(&call.state.repos[&repo], head) {
        return Err(Answer::refuse(422, &format!("No commit found for SHA: {head}")));
    }
    let id = call.state.next_id();
    let run = CheckRun { id, app, fields: Map::new(), annotations: Vec::new(), created_ms: call.now_ms };
    let run = with(run, &sent)?;
    let shown = json::check_run(call.state, &call.state.repos[&repo], &run, &call.url);
    if let Some(repo) = call.state.repos.get_mut(&repo) {
        repo.check_runs.insert(id, run);
    }
    Ok(Answer::created(shown))
}

pub(super) fn update(call: &mut Call<'_>, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
    let repo = call.allowed(repo, "checks", Need::Write)?;
    let app = call.caller.acting_app(call.state)?;
    let sent = call.asked.json()?;
    let known = known(call, repo, id)?;
    if known.app != app {
        return Err(Answer::refuse(
            403,
            "Invalid app_id - check run can only be modified by the GitHub App that created it.",
        ));
    }
    let mut sent = sent;
    // A head cannot be changed.
    if let Some(fields) = sent.as_object_mut() {
        fields.remove("head_sha");
    }
    let copy = CheckRun {
        id: known.id,
        app,
        fields: known.fields.clone(),
        annotations: known.annotations.clone(),
        created_ms: known.created_ms,
    };
    let run = with(copy, &sent)?;
    let shown = json::check_run(call.state, &call.state.repos[&repo], &run, &call.url);
    if let Some(repo) = call.state.repos.get_mut(&repo) {
        repo.check_runs.insert(run.id, run);
    }
    Ok(Answer::ok(shown))
}

pub(super) fn get(call: &mut Call<'_>, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
    let repo = call.allowed(repo, "checks", Need::Read)?;
    let run = known(call, repo, id)?;
    Ok(Answer::ok(json::check_run(call.state, &call.state.repos[&repo], run, &call.url)))
}

pub(super) fn annotations(call: &mut Call<'_>, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
    let repo = call.allowed(repo, "checks", Need::Read)?;
    let annotations = known(call, repo, id)?.annotations.clone();
    Ok(call.page(repo, &format!("check-runs/{id}/annotations"), annotations))
}

pub(super) fn of_commit(call: &mut Call<'_>, repo: Option<i64>, sha: &str) -> Result<Answer, Answer> {
    let id = call.allowed(repo, "checks", Need::Read)?;
    let repo = &call.state.repos[&id];
    if !git_store::has_commit(repo, sha) {
        return Err(Answer::refuse(422, &format!("No commit found for SHA: {sha}")));
    }
    let query = &call.asked.query;
    let wants = |run: &&CheckRun| {
        run.fields.get("head_sha").and_then(Value::as_str) == Some(sha)
            && query
                .get("check_name")
                .is_none_or(|name| run.fields.get("name").and_then(Value::as_str) == Some(name))
            && query.get("app_id").is_none_or(|app| run.app.to_string() == *app)
    };
    let mut runs: Vec<&CheckRun> = repo.check_runs.values().rev().filter(wants).collect();
    if query.get("filter").map(String::as_str) != Some("all") {
        // `latest`: the newest of each name.
        let mut seen = std::collections::BTreeSet::new();
        runs.retain(|run| seen.insert(run.fields.get("name").map(Value::to_string)));
    }
    let shown = runs.iter().map(|run| json::check_run(call.state, repo, run, &call.url)).collect();
    let path = format!("/repositories/{id}/commits/{sha}/check-runs");
    Ok(Answer::page(
        call.asked,
        &path,
        shown,
        |total, page| json!({ "total_count": total, "check_runs": page }),
    ))
}

fn known<'a>(call: &'a Call<'_>, repo: i64, id: &str) -> Result<&'a CheckRun, Answer> {
    let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
    call.state.repos.get(&repo).and_then(|r| r.check_runs.get(&id)).ok_or_else(Answer::not_found)
}

/// The run after a request, or GitHub's refusal of the whole request.
fn with(mut run: CheckRun, sent: &Value) -> Result<CheckRun, Answer> {
    for field in FIELDS {
        if let Some(value) = sent.get(field).filter(|v| !v.is_null()) {
            run.fields.insert(field.into(), value.clone());
        }
    }
    if sent.get("conclusion").is_some_and(|c| !c.is_null()) {
        run.fields.insert("status".into(), json!("completed"));
    } else if sent.get("status").is_some_and(|s| s != "completed") {
        run.fields.remove("conclusion");
    }
    let status = run.fields.entry("status").or_insert_with(|| json!("queued")).clone();
    if !STATUSES.iter().any(|s| status == *s) {
        return Err(invalid("status", "is not included in the list"));
    }
    match run.fields.get("conclusion") {
        Some(conclusion) if !CONCLUSIONS.iter().any(|c| conclusion == *c) => {
            return Err(invalid("conclusion", "is not included in the list"));
        }
        None if status == "completed" => return Err(invalid("conclusion", "is missing")),
        _ => {}
    }
    actions(sent)?;
    if let Some(output) = sent.get("output").and_then(Value::as_object) {
        let mut shown = output.clone();
        for (field, needed) in [("title", true), ("summary", true), ("text", false)] {
            let text = output.get(field).and_then(Value::as_str);
            if needed && text.is_none() {
                return Err(invalid(field, "is missing"));
            }
            if text.is_some_and(|t| t.chars().count() > TEXT_MAX_CHARS) {
                return Err(invalid(field, "exceeds a maximum size of 65535 characters"));
            }
        }
        if let Some(Value::Array(added)) = shown.remove("annotations") {
            annotations_fit(&added)?;
            run.annotations.extend(added);
        }
        run.fields.insert("output".into(), Value::Object(shown));
    }
    Ok(run)
}

fn annotations_fit(added: &[Value]) -> Result<(), Answer> {
    if added.len() > ANNOTATIONS_MAX {
        return Err(invalid("annotations", "exceeds a maximum quantity of 50"));
    }
    for annotation in added {
        let line = |name: &str| annotation[name].as_u64().filter(|n| *n > 0);
        let text = |name: &str| annotation[name].as_str().filter(|t| !t.is_empty());
        let level = ["notice", "warning", "failure"].iter().any(|l| annotation["annotation_level"] == *l);
        let (Some(start), Some(end)) = (line("start_line"), line("end_line")) else {
            return Err(invalid("annotations", "start_line and end_line are required"));
        };
        if text("path").is_none() || text("message").is_none() || !level || end < start {
            return Err(invalid("annotations", "path, message, annotation_level or lines are wrong"));
        }
        if annotation.get("start_column").is_some() && start != end {
            return Err(invalid("annotations", "columns need start_line and end_line to be the same"));
        }
    }
    Ok(())
}

fn actions(sent: &Value) -> Result<(), Answer> {
    let Some(actions) = sent.get("actions").and_then(Value::as_array) else { return Ok(()) };
    let fits = |action: &Value, name: &str, max: usize| {
        action[name].as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= max)
    };
    let whole = |a: &Value| fits(a, "label", 20) && fits(a, "description", 40) && fits(a, "identifier", 20);
    match actions.len() <= ACTIONS_MAX && actions.iter().all(whole) {
        true => Ok(()),
        false => Err(invalid("actions", "has too many or too long entries")),
    }
}

fn invalid(field: &str, why: &str) -> Answer {
    Answer::invalid("CheckRun", field, why)
}
