//! How often somebody may ask: by person when signed in, else by address. In each process for itself.

use crate::web::frame;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Requests in a burst, and in each minute after it: a dashboard of fifty panels that renews itself every ten seconds.
const BURST: f64 = 300.0;
const A_SECOND: f64 = 5.0;
/// People and addresses remembered; who was forgotten begins anew, full.
const KNOWN_MAX: usize = 50_000;

/// Where a connection comes from, as [`crate::web::listen`] saw it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Person(i64),
    Address(Option<IpAddr>),
}

struct Bucket {
    left: f64,
    at: Instant,
}

/// Clones share what is known.
#[derive(Clone, Default)]
pub struct Limiter(Arc<Mutex<HashMap<Who, Bucket>>>);

impl Limiter {
    /// How many are left after this one, or after how many seconds one is.
    fn take(&self, who: Who, now: Instant) -> Result<u32, u32> {
        // Nothing panics while it is held.
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if known.len() >= KNOWN_MAX && !known.contains_key(&who) {
            known.retain(|_, bucket| {
                bucket.left + now.saturating_duration_since(bucket.at).as_secs_f64() * A_SECOND < BURST
            });
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
        }
        let bucket = known.entry(who).or_insert(Bucket { left: BURST, at: now });
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * A_SECOND;
        bucket.left = (bucket.left + gained).min(BURST);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            Ok(bucket.left as u32)
        } else {
            Err(((1.0 - bucket.left) / A_SECOND).ceil() as u32)
        }
    }
}

pub async fn layer(State(limiter): State<Limiter>, request: Request, next: Next) -> Response {
    let who = match frame::visitor() {
        Some(visitor) => Who::Person(visitor.person.id),
        None => Who::Address(address(request.extensions().get::<Peer>().copied(), request.headers())),
    };
    let (mut response, left) = match limiter.take(who, Instant::now()) {
        Ok(left) => (next.run(request).await, left),
        Err(seconds) => {
            let body = serde_json::json!({
                "error": "Too many requests",
                "message": format!("Ask again in {seconds} s."),
                "id": null,
            });
            let retry = [(header::RETRY_AFTER, seconds.to_string())];
            ((StatusCode::TOO_MANY_REQUESTS, retry, Json(body)).into_response(), 0)
        }
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("ratelimit-limit"), HeaderValue::from(BURST as u32));
    headers.insert(HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(left));
    response
}

/// The peer's; behind a proxy on the same machine, whom the proxy saw, which is the last that the header names.
fn address(peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer?.0;
    if !peer.is_loopback() {
        return Some(peer);
    }
    let forwarded = headers.get_all("x-forwarded-for").into_iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_asks_too_often_waits_and_nobody_else() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let (ann, bob) = (Who::Person(1), Who::Person(2));
        for left in (0..300).rev() {
            assert_eq!(limiter.take(ann.clone(), now), Ok(left));
        }
        assert_eq!(limiter.take(ann.clone(), now), Err(1));
        assert_eq!(limiter.take(bob, now), Ok(299));
        assert_eq!(limiter.take(ann, now + Duration::from_secs(2)), Ok(9));
    }

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 192.0.2.7".parse().unwrap());
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let far: IpAddr = "198.51.100.1".parse().unwrap();
        assert_eq!(address(Some(Peer(local)), &headers), "192.0.2.7".parse().ok());
        assert_eq!(address(Some(Peer(far)), &headers), Some(far));
        assert_eq!(address(Some(Peer(local)), &HeaderMap::new()), Some(local));
        assert_eq!(address(None, &headers), None);
    }
}
