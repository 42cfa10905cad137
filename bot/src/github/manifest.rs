//! GitHub's App manifest flow: what an App asks for, and the exchange of a code for the App that was made.

use super::error::from_answer;
use super::transport::{ApiBase, connect, segment};
use super::{GitHubError, REQUEST_TIMEOUT};
use crate::clock::Clock;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Events that the server handles. Those about installations come to every App.
pub const EVENTS: [&str; 13] = [
    "check_run",
    "check_suite",
    "fork",
    "issue_comment",
    "issues",
    "merge_group",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "star",
];

/// What an App is given. `members` is for teams in CODEOWNERS, `merge_queues` for the event of merge groups.
const PERMISSIONS: [(&str, &str); 7] = [
    ("checks", "write"),
    ("contents", "read"),
    ("issues", "write"),
    ("members", "read"),
    ("merge_queues", "read"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

/// An answer with a key of 4 KiB and an App's description.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// The App as it is to be made. `redirect` is where GitHub sends the browser with a code.
pub fn manifest(name: &str, public_url: &str, redirect: &str) -> Value {
    let permissions: serde_json::Map<String, Value> =
        PERMISSIONS.iter().map(|(name, level)| ((*name).to_owned(), json!(level))).collect();
    json!({
        "name": name,
        "url": public_url,
        "hook_attributes": { "url": format!("{public_url}/github/webhook"), "active": true },
        "redirect_url": redirect,
        "callback_urls": [format!("{public_url}/sign-in/callback")],
        "public": false,
        "default_permissions": permissions,
        "default_events": EVENTS,
    })
}

/// An App that was just made, with its secrets.
#[derive(Debug, Deserialize)]
pub struct NewApp {
    pub id: u64,
    pub slug: String,
    pub html_url: String,
    pub client_id: Option<String>,
    #[serde(default, deserialize_with = "secret_or_none")]
    pub client_secret: Option<SecretString>,
    /// GitHub leaves it out where the manifest named no webhook.
    #[serde(default, deserialize_with = "secret_or_none")]
    pub webhook_secret: Option<SecretString>,
    #[serde(deserialize_with = "secret")]
    pub pem: SecretString,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

fn secret_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
}

/// Exchanges the code for the App. It can be done once, within an hour, and needs no credential.
pub async fn convert(api_url: &str, code: &str) -> Result<NewApp, GitHubError> {
    let base = ApiBase::parse(api_url)?;
    // The code is as good as a key, so it stands in no error.
    let what = "POST /app-manifests/…/conversions";
    let crab = connect(&base.origin())?;
    let uri = format!("{}/app-manifests/{}/conversions", base.prefix, segment(code));
    let head = Request::builder().method(Method::POST).uri(uri);
    let unsent = |why: String| GitHubError::transient(what, why);
    let request = crab.build_request(head, None::<&()>).map_err(|error| unsent(error.to_string()))?;
    let exchange = async {
        let response = crab.execute(request).await.map_err(|error| unsent(error.to_string()))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| unsent(error.to_string()))?.to_bytes();
        Ok((parts, body))
    };
    let settled = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await;
    let (parts, body) = settled.unwrap_or_else(|_| Err(unsent("no answer in time".into())))?;
    if !parts.status.is_success() {
        return Err(from_answer(what, parts.status, &parts.headers, &body, Clock::system().now_ms()));
    }
    serde_json::from_slice(&body).map_err(|error| GitHubError::malformed(what, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_asks_for_what_is_handled() {
        let made = manifest("Paceline", "https://p.example", "http://127.0.0.1:1/created");
        assert_eq!(made["hook_attributes"]["url"], "https://p.example/github/webhook");
        assert_eq!(made["default_permissions"]["checks"], "write");
        assert_eq!(made["public"], false);
        for event in EVENTS {
            assert!(crate::event::handles(event), "{event} is asked for and not handled");
        }
    }
}
