//! The stand-in's door: one handler that takes a request apart, lets faults happen, and remembers what was asked.

use super::answer::{Answer, Asked};
use super::api;
use super::call::Call;
use super::fault::{self, FaultKind};
use super::state::RequestSeen;
use super::{Shared, access, git_http, webhook};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, header};
use std::sync::Arc;

/// Larger than any request GitHub takes.
const BODY_MAX_BYTES: usize = 64 << 20;
/// What Enterprise Server puts before every path of its API.
const PREFIX: &str = "/api/v3";

pub(super) async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let router = Router::new().fallback(handle).with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the GitHub stand-in stopped");
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let fault = shared.state().faults.take(&method, &target);
    let seen = RequestSeen {
        method: method.clone(),
        target: target.clone(),
        authorized: request.headers().contains_key(header::AUTHORIZATION),
        compressed: request.headers().contains_key(header::CONTENT_ENCODING),
        status: 0,
    };
    let asked = match take_apart(&shared, request).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    if fault == Some(FaultKind::Hang) {
        shared.state().saw(seen.clone());
        shared.stopped.cancelled().await;
    }
    let response = match fault {
        Some(kind) if kind != FaultKind::BadGatewayAfter => fault::answer(kind).into_response(&asked),
        late => {
            let carried_out = carry_out(&shared, &asked).await;
            late.map_or(carried_out, |kind| fault::answer(kind).into_response(&asked))
        }
    };
    let write = seen.method != "GET";
    let (asked_again, trap) = {
        let mut state = shared.state();
        state.saw(RequestSeen { status: response.status().as_u16(), ..seen });
        let sprung = state.traps.iter().position(|trap| trap.method == method && target.contains(&trap.part));
        let trap = sprung.map(|at| state.traps.remove(at));
        (std::mem::take(&mut state.redeliveries_asked), trap)
    };
    if let Some(trap) = trap {
        (trap.act)();
    }
    for guid in asked_again {
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = webhook::redeliver(&shared, &guid).await {
                tracing::warn!(guid, %error, "redelivery failed");
            }
        });
    }
    // Last of all: who asked may be gone by then, and this with it.
    if write && !shared.answer_writes_after.is_zero() {
        tokio::time::sleep(shared.answer_writes_after).await;
    }
    response
}

async fn carry_out(shared: &Arc<Shared>, asked: &Asked) -> Response<Body> {
    let now_ms = shared.clock.now_ms();
    if let Some(wanted) = git_http::wanted(asked) {
        return git_http::answer(shared, asked, wanted, now_ms).await;
    }
    let mut state = shared.state();
    let caller = match access::caller(&state, &asked.headers, now_ms) {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(asked),
    };
    let quota = match caller.count(&mut state, asked, now_ms) {
        Ok(quota) => quota,
        Err(refused) => return refused.into_response(asked),
    };
    let mut answer: Answer =
        api::answer(Call { state: &mut state, asked, caller, url: shared.url(), now_ms });
    answer.headers.extend(quota);
    let response = answer.into_response(asked);
    if response.status() == axum::http::StatusCode::NOT_MODIFIED {
        caller.give_back(&mut state);
    }
    response
}

async fn take_apart(shared: &Shared, request: Request) -> Result<Asked, Response<Body>> {
    let (parts, body) = request.into_parts();
    let (prefix, path) = match parts.uri.path().strip_prefix(PREFIX) {
        Some(rest) if rest.starts_with('/') => (PREFIX, rest),
        _ => ("", parts.uri.path()),
    };
    let decoded = |segment: &str| {
        // A form's decoding, with `+` left alone as in a path.
        let guarded = segment.replace('+', "%2B");
        url::form_urlencoded::parse(guarded.as_bytes())
            .next()
            .map(|(name, _)| name.into_owned())
            .unwrap_or_default()
    };
    let mut asked = Asked {
        method: parts.method,
        base: format!("{}{prefix}", shared.url()),
        segments: path.split('/').skip(1).map(decoded).collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body: Vec::new(),
    };
    match axum::body::to_bytes(body, BODY_MAX_BYTES).await {
        Ok(bytes) => asked.body = bytes.into(),
        Err(_) => return Err(Answer::refuse(413, "Payload Too Large").into_response(&asked)),
    }
    Ok(asked)
}
