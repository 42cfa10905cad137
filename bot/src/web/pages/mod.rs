//! The pages and their JSON twins: read-only views of what is stored. Nothing in here reaches GitHub or writes.

mod access;
mod api;
mod commits;
mod error;
mod headline;
mod interval;
mod parts;
mod pull;
mod pull_line;
mod repositories;
mod repository;
mod run;
mod run_view;
mod runners;
mod secure;
mod table;

use super::assets;
use crate::app::App;
use crate::clock::Clock;
use crate::db::Db;
use crate::evidence::EvidenceStore;
use axum::Router;
use axum::extract::FromRef;
use axum::response::Html;
use axum::routing::get;
use error::PageError;
use std::sync::Arc;

/// What the pages see of the server.
#[derive(Clone)]
pub struct Site {
    pub db: Db,
    pub evidence: EvidenceStore,
    pub clock: Clock,
}

impl FromRef<Arc<App>> for Site {
    fn from_ref(app: &Arc<App>) -> Self {
        Self { db: app.db.clone(), evidence: app.evidence.clone(), clock: app.clock.clone() }
    }
}

/// Every page, with the answer to unknown addresses. An owner named like one of our own folders (`runs`, `assets`)
/// could not be shown; GitHub's reserved names keep that from mattering.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Site: FromRef<S>,
{
    Router::new()
        .route("/", get(repositories::show))
        .route("/runners", get(runners::show))
        .route("/runs/{job}", get(run::show))
        .route("/runs/{job}/evidence", get(run::evidence))
        .route("/{owner}/{name}", get(repository::show))
        .route("/{owner}/{name}/pull/{number}", get(pull::show))
        .route("/api/v1/runs/{job}", get(api::run))
        .route("/api/v1/repositories/{owner}/{name}/pulls/{number}", get(api::pull))
        .route("/assets/{file}", get(assets::serve))
        .fallback(error::unknown_address)
        .layer(axum::middleware::from_fn(secure::headers))
}

/// A handler's answer.
type Page = Result<Html<String>, PageError>;

/// Renders a page. The templates' own mistakes are caught at compile time; what is left is logged.
fn render(template: &impl askama::Template) -> Page {
    Ok(Html(template.render().map_err(anyhow::Error::from)?))
}
