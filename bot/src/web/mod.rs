//! All of axum: the routes and what they share.

pub mod api;
pub mod assets;
pub mod frame;
pub mod health;
pub mod listen;
pub mod pages;
pub mod runner;
pub mod setup;
pub mod webhook;

use crate::app::App;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use perfsuite::model::wire::EVIDENCE_MAX_BYTES;
use std::sync::Arc;
use std::time::Duration;

/// Bodies of small JSON requests; heartbeats carry 200 lines of 2,000 characters.
const JSON_MAX_BYTES: usize = 4 << 20;
/// Longer than the database ever waits for its write lock and its connections together.
const REQUEST_WAIT: Duration = Duration::from_secs(60);
/// The largest evidence at 1 Mbit/s.
const TRANSFER_WAIT: Duration = Duration::from_secs(10 * 60);

/// Everything that the server answers.
pub fn router(app: Arc<App>) -> Router {
    let site = pages::Site::from_ref(&app);
    let setup = Router::new().route("/setup", get(setup::show));
    Router::new()
        // Reads its body itself, within its own bound.
        .route("/github/webhook", post(webhook::receive))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/runner/v1/claim", post(runner::claim))
        .route("/runner/v1/jobs/{job}/heartbeat", post(runner::heartbeat))
        .route("/runner/v1/jobs/{job}/finish", post(runner::finish))
        .layer(DefaultBodyLimit::max(JSON_MAX_BYTES))
        .merge(pages::framed(site.clone(), setup))
        .merge(pages::routes(site))
        .layer(from_fn(|request, next| within(REQUEST_WAIT, request, next)))
        .merge(transfers())
        .with_state(app)
}

/// What moves much: sources are bundled before the first byte, evidence is stored after the last.
fn transfers() -> Router<Arc<App>> {
    Router::new()
        .route("/runner/v1/jobs/{job}/source", get(runner::source))
        .route(
            "/runner/v1/jobs/{job}/evidence",
            put(runner::evidence).layer(DefaultBodyLimit::max(EVIDENCE_MAX_BYTES)),
        )
        .layer(from_fn(|request, next| within(TRANSFER_WAIT, request, next)))
}

/// Gives up a request, body and answer together, that takes longer: who trickles a body holds no connection.
async fn within(wait: Duration, request: Request, next: Next) -> Response {
    tokio::time::timeout(wait, next.run(request)).await.unwrap_or_else(|_| {
        let words = format!("The request took more than {} s.", wait.as_secs());
        WebError::refused(StatusCode::REQUEST_TIMEOUT, words).into_response()
    })
}

/// An error at the door: what the caller is told, and what is only logged.
pub enum WebError {
    /// The caller's mistake, in words.
    Refused(StatusCode, String),
    /// Ours: logged with an id, of which the caller is told.
    Internal(anyhow::Error),
}

impl WebError {
    pub fn refused(status: StatusCode, words: impl Into<String>) -> Self {
        Self::Refused(status, words.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for WebError {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        match self {
            WebError::Refused(status, words) => (status, format!("{words}\n")).into_response(),
            WebError::Internal(error) => {
                let id = crate::db::new_id();
                tracing::error!(error_id = id, error = format!("{error:#}"), "a request failed");
                let words = format!("Something failed here. The log has it under {id}.\n");
                (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, Bytes};
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_body_that_trickles_is_given_up() {
        let router = Router::new()
            .route("/", post(|_body: Bytes| async { "read" }))
            .layer(from_fn(|request, next| within(Duration::from_millis(10), request, next)));
        let trickle = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        for (body, status) in
            [(Body::from("all"), StatusCode::OK), (Body::from_stream(trickle), StatusCode::REQUEST_TIMEOUT)]
        {
            let request = Request::post("/").body(body).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status);
        }
    }
}
