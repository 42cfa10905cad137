//! Check runs: created once, found again by their external id, annotations sent in GitHub's portions.

use super::pulls::repo_path;
use super::text::{cut_line, cut_markdown};
use super::transport::segment;
use super::{GitHub, GitHubError, wire};
use crate::outgoing::{ANNOTATIONS_PER_REQUEST, Annotation, CheckRun, CheckStatus, TEXT_MAX_CHARS};
use crate::pull::Repository;
use http::Method;
use perfsuite::model::Sha;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// GitHub's limits, in characters: a title, an annotation's message, a button's three texts.
const TITLE_MAX_CHARS: usize = 255;
const MESSAGE_MAX_CHARS: usize = 16_000;
const LABEL_MAX_CHARS: usize = 20;
const DESCRIPTION_MAX_CHARS: usize = 40;
const IDENTIFIER_MAX_CHARS: usize = 20;
const ACTIONS_MAX: usize = 3;
/// Twenty requests. A pull request with more findings than this is not read finding by finding.
const ANNOTATIONS_MAX: usize = 1_000;

impl GitHub {
    /// Our newest check run on a commit with this name and external id.
    pub async fn find_check_run(
        &self,
        repo: &Repository,
        sha: &Sha,
        name: &str,
        external_id: &str,
    ) -> Result<Option<i64>, GitHubError> {
        let path = format!(
            "{}/commits/{sha}/check-runs?check_name={}&filter=all&app_id={}",
            repo_path(&repo.name),
            segment(name),
            self.app_id()
        );
        let all = self.list(repo.installation, &path, |page: wire::CheckRuns| page.check_runs).await?;
        let ours = |run: &wire::CheckRun| {
            let by_us = run.app.as_ref().is_some_and(|app| app.id == self.app_id());
            by_us && run.external_id.as_deref() == Some(external_id)
        };
        Ok(all.items.iter().filter(|r| ours(r)).map(|r| r.id).max())
    }

    /// All of our check runs on a commit.
    pub async fn check_runs(&self, repo: &Repository, sha: &Sha) -> Result<Vec<SeenCheckRun>, GitHubError> {
        let path =
            format!("{}/commits/{sha}/check-runs?filter=all&app_id={}", repo_path(&repo.name), self.app_id());
        let all = self.list(repo.installation, &path, |page: wire::CheckRuns| page.check_runs).await?;
        let seen = all.items.into_iter().map(|run| SeenCheckRun {
            id: run.id,
            status: run.status.unwrap_or_default(),
            conclusion: run.conclusion,
        });
        Ok(seen.collect())
    }

    /// The new check run's id. The run exists from the first request on: after an error, look with
    /// [`GitHub::find_check_run`] and go on with [`GitHub::update_check_run`], which sends what is missing.
    pub async fn create_check_run(&self, repo: &Repository, run: &CheckRun) -> Result<i64, GitHubError> {
        let path = format!("{}/check-runs", repo_path(&repo.name));
        let annotations: Vec<&Annotation> = run.annotations.iter().take(ANNOTATIONS_MAX).collect();
        let (first, rest) = annotations.split_at(annotations.len().min(ANNOTATIONS_PER_REQUEST));
        let mut body = state(run, first);
        body.insert("head_sha".into(), json!(run.head_sha));
        body.insert("external_id".into(), json!(run.external_id));
        let made: wire::Made = self.write(repo.installation, Method::POST, &path, &body).await?;
        self.send_annotations(repo, made.id, run, rest).await?;
        Ok(made.id)
    }

    /// Brings a check run to the wanted state. Annotations that are there already are not sent again (GitHub would
    /// show them twice), so this can be repeated after any fault.
    pub async fn update_check_run(
        &self,
        repo: &Repository,
        id: i64,
        run: &CheckRun,
    ) -> Result<(), GitHubError> {
        let known = match run.annotations.is_empty() {
            true => HashSet::new(),
            false => self.known_annotations(repo, id).await?,
        };
        let wanted = run.annotations.iter().take(ANNOTATIONS_MAX);
        let missing: Vec<&Annotation> = wanted.filter(|a| !known.contains(&identity(a))).collect();
        if missing.is_empty() {
            return self.patch(repo, id, &state(run, &[])).await;
        }
        self.send_annotations(repo, id, run, &missing).await
    }

    async fn send_annotations(
        &self,
        repo: &Repository,
        id: i64,
        run: &CheckRun,
        annotations: &[&Annotation],
    ) -> Result<(), GitHubError> {
        for portion in annotations.chunks(ANNOTATIONS_PER_REQUEST) {
            self.patch(repo, id, &state(run, portion)).await?;
        }
        Ok(())
    }

    async fn patch(&self, repo: &Repository, id: i64, body: &Map<String, Value>) -> Result<(), GitHubError> {
        let path = format!("{}/check-runs/{id}", repo_path(&repo.name));
        let _: wire::Made = self.write(repo.installation, Method::PATCH, &path, body).await?;
        Ok(())
    }

    async fn known_annotations(&self, repo: &Repository, id: i64) -> Result<HashSet<Identity>, GitHubError> {
        let path = format!("{}/check-runs/{id}/annotations", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::Annotation>| page).await?;
        let known = all
            .items
            .into_iter()
            .map(|a| (a.path, a.start_line, a.title.unwrap_or_default(), a.message.unwrap_or_default()));
        Ok(known.collect())
    }
}

/// One of our check runs as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCheckRun {
    pub id: i64,
    status: String,
    conclusion: Option<String>,
}

impl SeenCheckRun {
    /// Whether it stands as we wanted it.
    pub fn stands_as(&self, wanted: CheckStatus) -> bool {
        let wanted = json!(wanted);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        text(&wanted["status"]).as_deref() == Some(&self.status)
            && (self.status != "completed" || text(&wanted["conclusion"]) == self.conclusion)
    }
}

/// What makes two annotations the same to a reader.
type Identity = (String, u32, String, String);

fn identity(a: &Annotation) -> Identity {
    (a.path.clone(), a.line.max(1), title_of(a), message_of(a))
}

fn title_of(a: &Annotation) -> String {
    cut_line(&a.title, TITLE_MAX_CHARS)
}

fn message_of(a: &Annotation) -> String {
    // GitHub refuses an empty message.
    if a.message.is_empty() { "(no text)".into() } else { cut_line(&a.message, MESSAGE_MAX_CHARS) }
}

/// The wanted state as GitHub's JSON, with one portion of the annotations.
fn state(run: &CheckRun, annotations: &[&Annotation]) -> Map<String, Value> {
    let mut output = json!({
        "title": cut_line(&run.title, TITLE_MAX_CHARS),
        "summary": cut_markdown(&run.summary, TEXT_MAX_CHARS),
        "text": cut_markdown(&run.text, TEXT_MAX_CHARS),
    });
    if !annotations.is_empty() {
        output["annotations"] = annotations.iter().map(|a| annotation(a)).collect();
    }
    let actions = run.actions.iter().take(ACTIONS_MAX).map(|a| {
        json!({
            "label": cut_line(&a.label, LABEL_MAX_CHARS),
            "description": cut_line(&a.description, DESCRIPTION_MAX_CHARS),
            "identifier": cut_line(&a.identifier, IDENTIFIER_MAX_CHARS),
        })
    });
    let mut body = Map::new();
    body.insert("name".into(), json!(run.name));
    body.insert("output".into(), output);
    body.insert("actions".into(), actions.collect());
    if let Some(url) = &run.details_url {
        body.insert("details_url".into(), json!(url));
    }
    match run.status {
        CheckStatus::Queued => body.insert("status".into(), json!("queued")),
        CheckStatus::InProgress => body.insert("status".into(), json!("in_progress")),
        CheckStatus::Completed(conclusion) => {
            body.insert("conclusion".into(), json!(conclusion));
            body.insert("status".into(), json!("completed"))
        }
    };
    body
}

fn annotation(a: &Annotation) -> Value {
    let line = a.line.max(1);
    let mut value = json!({
        "path": a.path,
        "start_line": line,
        "end_line": line,
        "annotation_level": a.level,
        "title": title_of(a),
        "message": message_of(a),
    });
    if let Some(column) = a.column.filter(|c| *c > 0) {
        value["start_column"] = json!(column);
        value["end_column"] = json!(column);
    }
    value
}
