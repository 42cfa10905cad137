//! Webhooks as GitHub sends them: signed, with its headers, and payloads of its shape.

use super::state::{Delivery, State};
use super::{Shared, StandIn, git_store, json};
use crate::pull::{InstallationId, RepoId};
use anyhow::Context;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use perfsuite::model::Sha;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

/// GitHub waits ten seconds for an answer to a delivery.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any server should answer to a delivery.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    Ping,
    /// `opened`, `synchronize`, `reopened`, `closed`, `ready_for_review`, …
    PullRequest {
        repo: RepoId,
        number: u64,
        action: String,
    },
    IssueComment {
        repo: RepoId,
        number: u64,
        comment: i64,
        action: String,
    },
    /// A merge queue asks for the checks of a group.
    MergeGroup {
        repo: RepoId,
        base: Sha,
        head: Sha,
    },
    /// It landed, or was taken apart.
    MergeGroupDestroyed {
        repo: RepoId,
        base: Sha,
        head: Sha,
    },
    /// `submitted`, `edited` or `dismissed`.
    PullRequestReview {
        repo: RepoId,
        number: u64,
        review: i64,
        action: String,
    },
    /// `rerequested`, or `requested_action` with a button's identifier.
    CheckRun {
        repo: RepoId,
        check_run: i64,
        action: String,
        button: Option<String>,
        sender: String,
    },
    /// `rerequested`: all checks of a head again.
    CheckSuite {
        repo: RepoId,
        head: Sha,
        action: String,
        sender: String,
    },
    Push {
        repo: RepoId,
        branch: String,
        before: Sha,
        after: Sha,
        pusher: String,
    },
    /// `created`, `deleted`, …
    Installation {
        installation: InstallationId,
        action: String,
    },
    /// `added` or `removed`.
    InstallationRepositories {
        installation: InstallationId,
        repo: RepoId,
        action: String,
    },
    /// `renamed`, `transferred`, `privatized`, `publicized`, `deleted`, …
    Repository {
        repo: RepoId,
        action: String,
    },
}

/// How a delivery was received.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub guid: String,
    pub status: u16,
    pub body: String,
}

impl StandIn {
    /// Sends one event of an App to its webhook address.
    pub async fn deliver(&self, app_id: u64, url: &str, event: &Event) -> anyhow::Result<Delivered> {
        self.post(self.compose(app_id, url, event)?).await
    }

    /// An event as it is now, to be sent or lost later.
    pub fn compose(&self, app_id: u64, url: &str, event: &Event) -> anyhow::Result<Parcel> {
        let state = self.shared.state();
        let (name, payload) = payload(&state, app_id, event, &self.shared.url())?;
        Ok(Parcel {
            app: app_id,
            url: url.to_owned(),
            event: name.to_owned(),
            guid: uuid::Uuid::now_v7().to_string(),
            payload: payload.to_string().into_bytes(),
        })
    }

    /// Sends what was composed.
    pub async fn post(&self, parcel: Parcel) -> anyhow::Result<Delivered> {
        send(&self.shared, parcel, Redelivery::No).await
    }

    /// What was composed found nobody at the webhook address. Returns its GUID.
    pub fn lose(&self, parcel: Parcel) -> String {
        let mut state = self.shared.state();
        let (id, guid) = (state.next_id(), parcel.guid.clone());
        state.deliveries.push(Delivery {
            id,
            app: parcel.app,
            url: parcel.url,
            guid: parcel.guid,
            event: parcel.event,
            payload: parcel.payload,
            status: 0,
            at_ms: self.shared.clock.now_ms(),
            redelivery: false,
        });
        guid
    }

    /// Sends an earlier delivery again, with the same GUID, as GitHub does.
    pub async fn redeliver(&self, guid: &str) -> anyhow::Result<Delivered> {
        redeliver(&self.shared, guid).await
    }
}

pub(super) async fn redeliver(shared: &Shared, guid: &str) -> anyhow::Result<Delivered> {
    let parcel = {
        let state = shared.state();
        let known = state.deliveries.iter().find(|d| d.guid == guid).context("no such delivery")?;
        Parcel {
            app: known.app,
            url: known.url.clone(),
            event: known.event.clone(),
            guid: known.guid.clone(),
            payload: known.payload.clone(),
        }
    };
    send(shared, parcel, Redelivery::Yes).await
}

/// One delivery, ready to be sent.
#[derive(Clone, Debug)]
pub struct Parcel {
    app: u64,
    url: String,
    event: String,
    pub guid: String,
    payload: Vec<u8>,
}

async fn send(shared: &Shared, parcel: Parcel, redelivery: Redelivery) -> anyhow::Result<Delivered> {
    let Parcel { app, url, event, guid, payload } = parcel;
    let secret = {
        let state = shared.state();
        state.apps.get(&app).context("no such App")?.webhook_secret.clone()
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(&payload);
    let request = http::Request::post(&url)
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/standin")
        .header("x-github-delivery", &guid)
        .header("x-github-event", &event)
        .header("x-github-hook-installation-target-type", "integration")
        .header("x-github-hook-installation-target-id", app.to_string())
        .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
        .body(Full::new(Bytes::from(payload.clone())))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let response = client.request(request).await?;
        let status = response.status().as_u16();
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!(e))?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
    let answered = answered.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    let mut state = shared.state();
    let id = state.next_id();
    state.deliveries.push(Delivery {
        id,
        app,
        url,
        guid: guid.clone(),
        event,
        payload,
        status: answered.as_ref().map_or(0, |(status, _)| *status),
        at_ms: shared.clock.now_ms(),
        redelivery: redelivery == Redelivery::Yes,
    });
    let (status, body) = answered?;
    Ok(Delivered { guid, status, body })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Redelivery {
    Yes,
    No,
}

/// The event's name and its payload.
fn payload(state: &State, app: u64, event: &Event, url: &str) -> anyhow::Result<(&'static str, Value)> {
    let repo_of = |id: &RepoId| state.repos.get(&id.0).context("no such repository");
    let installation_of = |id: &RepoId| {
        let covers = |i: &&super::state::Installation| i.app == app && i.repos.contains(&id.0);
        let found = state.installations.iter().find(|(_, i)| covers(i));
        found.map(|(id, _)| json!({ "id": id })).unwrap_or(Value::Null)
    };
    let common = |id: &RepoId, sender: &str| -> anyhow::Result<Value> {
        Ok(json!({
            "repository": json::repository(state, repo_of(id)?, url),
            "installation": installation_of(id),
            "sender": json::user(state, sender),
        }))
    };
    Ok(match event {
        Event::Ping => {
            let hook = json!({ "type": "App", "id": 1, "app_id": app, "active": true });
            ("ping", json!({ "zen": "Keep it logically awesome.", "hook_id": 1, "hook": hook }))
        }
        Event::PullRequest { repo, number, action } => {
            let known = repo_of(repo)?;
            let pull = known.pulls.get(number).context("no such pull request")?;
            let mut payload = common(repo, &pull.author)?;
            payload["action"] = json!(action);
            payload["number"] = json!(number);
            payload["pull_request"] = json::pull(state, known, pull, &git_store::base_sha(known, pull), url);
            ("pull_request", payload)
        }
        Event::IssueComment { repo, number, comment, action } => {
            let known = repo_of(repo)?;
            let pull = known.pulls.get(number).context("no such pull request")?;
            let comment = known.comments.get(comment).context("no such comment")?;
            let mut payload = common(repo, &comment.author)?;
            payload["action"] = json!(action);
            payload["issue"] = json!({
                "number": number,
                "title": pull.title,
                "user": json::user(state, &pull.author),
                "state": "open",
                "pull_request": { "html_url": format!("{url}/{}/pull/{number}", known.name) },
            });
            payload["comment"] = json::comment(state, known, comment, url);
            ("issue_comment", payload)
        }
        Event::MergeGroup { repo, base, head } | Event::MergeGroupDestroyed { repo, base, head } => {
            let known = repo_of(repo)?;
            let mut payload = common(repo, &known.name.owner)?;
            payload["action"] = match event {
                Event::MergeGroup { .. } => json!("checks_requested"),
                _ => json!("destroyed"),
            };
            payload["merge_group"] = json!({
                "head_sha": head,
                "head_ref": format!("refs/heads/gh-readonly-queue/{}/pr-1-{base}", known.default_branch),
                "base_sha": base,
                "base_ref": format!("refs/heads/{}", known.default_branch),
            });
            ("merge_group", payload)
        }
        Event::PullRequestReview { repo, number, review, action } => {
            let known = repo_of(repo)?;
            let pull = known.pulls.get(number).context("no such pull request")?;
            let review = known.reviews.get(review).context("no such review")?;
            let mut payload = common(repo, &review.author)?;
            payload["action"] = json!(action);
            payload["pull_request"] = json::pull(state, known, pull, &git_store::base_sha(known, pull), url);
            payload["review"] = json::review(state, review);
            // The webhook has it in lower case, the API in upper case.
            payload["review"]["state"] = json!(review.state.to_lowercase());
            ("pull_request_review", payload)
        }
        Event::CheckRun { repo, check_run, action, button, sender } => {
            let known = repo_of(repo)?;
            let run = known.check_runs.get(check_run).context("no such check run")?;
            let mut payload = common(repo, sender)?;
            payload["action"] = json!(action);
            payload["check_run"] = json::check_run(state, known, run, url);
            if let Some(button) = button {
                payload["requested_action"] = json!({ "identifier": button });
            }
            ("check_run", payload)
        }
        Event::CheckSuite { repo, head, action, sender } => {
            let mut payload = common(repo, sender)?;
            payload["action"] = json!(action);
            payload["check_suite"] = json!({ "head_sha": head, "status": "completed" });
            ("check_suite", payload)
        }
        Event::Push { repo, branch, before, after, pusher } => {
            let mut payload = common(repo, pusher)?;
            payload["ref"] = json!(format!("refs/heads/{branch}"));
            payload["before"] = json!(before);
            payload["after"] = json!(after);
            payload["deleted"] = json!(false);
            payload["pusher"] = json!({ "name": pusher });
            payload["commits"] = json!([]);
            ("push", payload)
        }
        Event::Installation { installation, action } => {
            let known = state.installations.get(&installation.0).context("no such installation")?;
            let repos = known.repos.iter().filter_map(|id| state.repos.get(id)).map(|r| {
                json!({
                    "id": r.id,
                    "name": r.name.name,
                    "full_name": r.name.to_string(),
                    "private": r.private,
                })
            });
            let payload = json!({
                "action": action,
                "installation": json::installation(state, installation.0),
                "repositories": repos.collect::<Vec<_>>(),
                "sender": json::user(state, &known.account),
            });
            ("installation", payload)
        }
        Event::InstallationRepositories { installation, repo, action } => {
            let known = state.installations.get(&installation.0).context("no such installation")?;
            let (listed, none) = (json::repository(state, repo_of(repo)?, url), json!([]));
            let added = action == "added";
            let payload = json!({
                "action": action,
                "installation": json::installation(state, installation.0),
                "repository_selection": "selected",
                "repositories_added": if added { json!([listed]) } else { none.clone() },
                "repositories_removed": if added { none } else { json!([listed]) },
                "sender": json::user(state, &known.account),
            });
            ("installation_repositories", payload)
        }
        Event::Repository { repo, action } => {
            let mut payload = common(repo, &repo_of(repo)?.name.owner)?;
            payload["action"] = json!(action);
            ("repository", payload)
        }
    })
}
