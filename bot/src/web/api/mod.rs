//! `/api/v1`: what the pages show, as JSON, from the same functions. [`openapi`] describes every address in here.

mod etag;
mod handlers;
mod limit;
pub mod openapi;
mod query;

pub use limit::Peer;

use super::pages::Site;
use super::pages::error::{ApiError, PageError};
use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

/// Every address of the API. Each of these is in [`openapi::ENDPOINTS`], as a test sees to.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Site: FromRef<S>,
{
    Router::new()
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/repositories", get(handlers::repositories))
        .route("/api/v1/repositories/{owner}/{name}", get(handlers::repository))
        .route("/api/v1/repositories/{owner}/{name}/pulls", get(handlers::pulls))
        .route("/api/v1/repositories/{owner}/{name}/pulls/{number}", get(handlers::pull))
        .route("/api/v1/repositories/{owner}/{name}/pulls/{number}/story", get(handlers::story))
        .route("/api/v1/repositories/{owner}/{name}/health", get(handlers::health))
        .route("/api/v1/repositories/{owner}/{name}/contributors", get(handlers::contributors))
        .route("/api/v1/repositories/{owner}/{name}/contributors/{login}", get(handlers::contributor))
        .route("/api/v1/repositories/{owner}/{name}/calibration", get(handlers::calibration))
        .route("/api/v1/repositories/{owner}/{name}/counts", get(handlers::counts))
        .route("/api/v1/repositories/{owner}/{name}/history", get(handlers::history))
        .route("/api/v1/repositories/{owner}/{name}/compare/{range}", get(handlers::compare))
        .route("/api/v1/runs/{job}", get(handlers::run))
        .route("/api/v1/service", get(handlers::service))
        .route("/api/v1/{*rest}", get(unknown))
        .layer(from_fn(etag::layer))
        .layer(from_fn_with_state(limit::Limiter::default(), limit::layer))
}

/// Any address of the API that is none.
async fn unknown() -> ApiError {
    PageError::NotFound.into()
}
