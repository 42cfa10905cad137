//! `POST /github/webhook`: verify, store, answer. No work happens before the answer.

use super::WebError;
use crate::app::App;
use crate::db::deliveries::{NewDelivery, Wanted};
use crate::event;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;

/// GitHub's own limit of a payload.
pub const BODY_MAX_BYTES: usize = 25 << 20;
/// GitHub gives a delivery up after this. Until a body is there it holds room that others wait for.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// GUIDs are 36 characters, event names under 50.
const HEADER_MAX_CHARS: usize = 200;

pub async fn receive(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<(StatusCode, &'static str), WebError> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let size = text(&headers, "content-length").and_then(|length| length.parse().ok());
    // Held until the delivery is stored, so that no burst fills the memory.
    let _room = app.inbox.room(size.unwrap_or(BODY_MAX_BYTES)).await?;
    let body = read(body, BODY_WAIT).await?;
    let text = |name: &str| text(&headers, name);
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
        wanted: if envelope.concerns_us(event) { Wanted::Yes } else { Wanted::No },
        action: envelope.action,
        installation_id: envelope.installation_id,
        repository: envelope.repository,
        lane: envelope.lane,
        // PostgreSQL's text cannot hold U+0000; in JSON it can only stand escaped, so nothing is lost here.
        payload: payload.replace('\0', ""),
    };
    let (action, lane, wanted) = (delivery.action.clone(), delivery.lane.clone(), delivery.wanted);
    let new = app.inbox.store(delivery).await?;
    metrics::counter!("paceline_webhooks_total", "outcome" => if new { "new" } else { "seen" }).increment(1);
    tracing::info!(delivery = guid, event, action, lane, new, "delivery");
    if wanted == Wanted::Yes {
        app.wake.deliveries.notify_one();
    }
    Ok((StatusCode::ACCEPTED, if new { "accepted\n" } else { "seen before\n" }))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The whole body, up to the bound.
async fn read(body: axum::body::Body, wait: Duration) -> Result<Bytes, WebError> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    let read = Limited::new(body, BODY_MAX_BYTES).collect();
    let Ok(read) = tokio::time::timeout(wait, read).await else {
        let words = format!("The body did not come within {} s.", wait.as_secs());
        return Err(WebError::refused(StatusCode::REQUEST_TIMEOUT, words));
    };
    match read {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(WebError::refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {BODY_MAX_BYTES} bytes."),
        )),
        Err(error) => Err(WebError::refused(StatusCode::BAD_REQUEST, format!("The body broke off: {error}"))),
    }
}

/// HMAC-SHA-256 over the raw bytes, against each secret (several during a rotation), in constant time.
pub(crate) fn signature_is_good(header: Option<&str>, body: &[u8], secrets: &[SecretString]) -> bool {
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

/// The header that [`signature_is_good`] wants for a body.
pub(crate) fn sign(secret: &SecretString, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body =
            axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let Err(WebError::Refused(status, words)) = read(body, Duration::from_millis(10)).await else {
            panic!("it is refused");
        };
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{words}");
    }

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
