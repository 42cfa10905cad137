//! The pages and their JSON twins: views of what is stored. Forms alone write (`me.rs`, `curate.rs`, `sign_in.rs`).

pub mod access;
mod badge;
pub mod calibration;
mod checks;
mod commits;
pub mod compare;
mod compare_view;
mod contributor;
mod contributors;
mod curate;
pub mod error;
mod figure;
mod headline;
pub mod history;
mod history_chart;
pub mod history_export;
mod history_list;
mod history_reach;
mod history_series;
pub mod history_shown;
mod interval;
pub mod live;
mod me;
pub(in crate::web) mod parts;
mod profile;
mod profile_view;
mod pull;
mod pull_line;
mod repositories;
mod repository;
mod run;
mod run_view;
mod runners;
mod secure;
mod service;
mod sign_in;
mod spark;
pub mod story;
mod table;
mod under_load;
mod visits;
mod visits_view;

use super::{api, assets, frame};
use crate::access::Access;
use crate::app::App;
use crate::clock::Clock;
use crate::db::Db;
use crate::evidence::EvidenceStore;
use crate::listeners::Listeners;
use axum::Router;
use axum::extract::FromRef;
use axum::response::Html;
use axum::routing::{get, post};
use error::PageError;
use std::sync::Arc;

/// What the pages see of the server.
#[derive(Clone)]
pub struct Site {
    pub db: Db,
    pub evidence: EvidenceStore,
    pub clock: Clock,
    pub access: Access,
    pub live: Listeners,
}

impl FromRef<Arc<App>> for Site {
    fn from_ref(app: &Arc<App>) -> Self {
        Self {
            db: app.db.clone(),
            evidence: app.evidence.clone(),
            clock: app.clock.clone(),
            access: app.access.clone(),
            live: app.live.clone(),
        }
    }
}

/// Every page, with the answer to unknown addresses. An owner named like one of our own folders (`runs`, `assets`)
/// could not be shown; GitHub's reserved names keep that from mattering.
pub fn routes<S>(site: Site) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Site: FromRef<S>,
{
    let pages = Router::new()
        .route("/", get(repositories::show))
        .route("/runners", get(runners::show))
        .route("/runs/{job}", get(run::show))
        .route("/runs/{job}/evidence", get(run::evidence))
        .route("/runs/{job}/live", get(live::show))
        .route("/runs/{job}/visits/{place}", get(visits::show))
        .route("/service", get(service::show))
        .route("/sign-in", get(sign_in::begin))
        .route("/sign-in/callback", get(sign_in::finish))
        .route("/sign-out", post(sign_in::end))
        .route("/me", get(me::show))
        .route("/me/leave-out", post(me::leave_out))
        .route("/me/take-in", post(me::take_in))
        .route("/me/delete", post(me::delete))
        .route("/runs/{job}/profile/{place}", get(profile::show))
        .route("/runs/{job}/profile/{place}/{file}", get(profile::file))
        .route("/{owner}/{name}", get(repository::show))
        .route("/{owner}/{name}/contributors", get(contributors::show))
        .route("/{owner}/{name}/contributors/{login}", get(contributor::show))
        .route("/{owner}/{name}/calibration", get(calibration::show))
        .route("/{owner}/{name}/badge/{what}", get(badge::show))
        .route("/{owner}/{name}/history", get(history::show))
        .route("/{owner}/{name}/history/together", get(history::together))
        .route("/{owner}/{name}/history.csv", get(history::csv))
        .route("/{owner}/{name}/history.svg", get(history::svg))
        .route("/{owner}/{name}/history/accept", post(curate::accept))
        .route("/{owner}/{name}/history/rename", post(curate::rename))
        .route("/{owner}/{name}/history/quarantine", post(curate::quarantine))
        .route("/{owner}/{name}/history/release", post(curate::release))
        .route("/{owner}/{name}/compare", get(compare::choose))
        .route("/{owner}/{name}/compare/{range}", get(compare::show))
        .route("/{owner}/{name}/pull/{number}/story", get(story::show))
        .route("/{owner}/{name}/pull/{number}", get(pull::show))
        .merge(api::routes())
        .route("/assets/{file}", get(assets::serve))
        .fallback(error::unknown_address);
    framed(site, pages)
}

/// Knows who asks, and answers with the headers that every page has.
pub fn framed<S>(site: Site, pages: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    pages
        .layer(axum::middleware::from_fn_with_state(site, frame::layer))
        .layer(axum::middleware::from_fn(secure::headers))
}

/// A handler's answer.
type Page = Result<Html<String>, PageError>;

/// Renders a page. The templates' own mistakes are caught at compile time; what is left is logged.
fn render(template: &impl askama::Template) -> Page {
    Ok(Html(template.render().map_err(anyhow::Error::from)?))
}
