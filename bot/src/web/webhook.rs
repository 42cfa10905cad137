//! `POST /github/webhook`: verify, store, answer. No work happens before the answer.

use super::WebError;
use crate::app::App;
use crate::db::deliveries::{self, NewDelivery};
use crate::event;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::sync::Arc;

/// GitHub's own limit of a payload.
pub const BODY_MAX_BYTES: usize = 25 << 20;
/// GUIDs are 36 characters, event names under 50.
const HEADER_MAX_CHARS: usize = 200;

pub async fn receive(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, &'static str), WebError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !signature_is_good(text("x-hub-signature-256"), &body, &app.config.webhook_secrets) {
        metrics::counter!("paceline_webhooks_total", "outcome" => "unsigned").increment(1);
        return Err(WebError::refused(
            StatusCode::UNAUTHORIZED,
            "The signature in X-Hub-Signature-256 is missing or not made with this App's webhook secret.",
        ));
    }
    let header = |name: &str| {
        text(name).filter(|value| !value.is_empty() && value.len() <= HEADER_MAX_CHARS).ok_or_else(|| {
            WebError::refused(StatusCode::BAD_REQUEST, format!("The header {name} is missing or too long."))
        })
    };
    let (guid, event) = (header("x-github-delivery")?, header("x-github-event")?);
    if text("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(WebError::refused(
            StatusCode::BAD_REQUEST,
            "Set the webhook's content type to application/json in the App's settings.",
        ));
    }
    let envelope = event::envelope(&body).map_err(|error| {
        WebError::refused(StatusCode::BAD_REQUEST, format!("The body is no JSON object: {error}"))
    })?;
    let payload = String::from_utf8(body.into())
        .map_err(|_| WebError::refused(StatusCode::BAD_REQUEST, "The body is not UTF-8."))?;
    let delivery = NewDelivery {
        guid: guid.into(),
        event: event.into(),
        action: envelope.action,
        installation_id: envelope.installation_id,
        repository: envelope.repository,
        lane: envelope.lane,
        // PostgreSQL's text cannot hold U+0000; in JSON it can only stand escaped, so nothing is lost here.
        payload: payload.replace('\0', ""),
    };
    let new = deliveries::insert(&app.db, &delivery, app.clock.now_ms()).await?;
    metrics::counter!("paceline_webhooks_total", "outcome" => if new { "new" } else { "seen" }).increment(1);
    tracing::info!(delivery = guid, event, action = delivery.action, lane = delivery.lane, new, "delivery");
    app.wake.deliveries.notify_one();
    Ok((StatusCode::ACCEPTED, if new { "accepted\n" } else { "seen before\n" }))
}

/// HMAC-SHA-256 over the raw bytes, against each secret (several during a rotation), in constant time.
fn signature_is_good(header: Option<&str>, body: &[u8], secrets: &[SecretString]) -> bool {
    let Some(given) = header.and_then(|h| h.strip_prefix("sha256=")).and_then(|h| hex::decode(h).ok()) else {
        return false;
    };
    secrets.iter().any(|secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(body);
        mac.verify_slice(&given).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_own_example_verifies() {
        // From GitHub's page on validating webhook deliveries.
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secrets = |text: &str| vec![SecretString::from(text.to_owned())];
        let secret = "It's a Secret to Everybody";
        assert!(signature_is_good(Some(signature), b"Hello, World!", &secrets(secret)));
        assert!(!signature_is_good(Some(signature), b"Hello, World?", &secrets(secret)));
        assert!(!signature_is_good(Some(signature), b"Hello, World!", &secrets("other")));
        assert!(!signature_is_good(None, b"Hello, World!", &secrets(secret)));
        assert!(!signature_is_good(Some("sha256=zz"), b"Hello, World!", &secrets(secret)));
        let rotating = vec![SecretString::from("new".to_owned()), SecretString::from(secret.to_owned())];
        assert!(signature_is_good(Some(signature), b"Hello, World!", &rotating));
    }
}
