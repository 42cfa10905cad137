//! JSON twins of the pages, from the same functions: `docs/schema/run.schema.json` describes the answer.

use super::Site;
use super::access::{AtPull, AtRun};
use super::error::{ApiError, PageError};
use crate::judgement::Run;
use crate::runs;
use axum::Json;
use axum::extract::State;

/// `GET /api/v1/runs/{job}`
pub async fn run(State(site): State<Site>, at: Result<AtRun, PageError>) -> Result<Json<Run>, ApiError> {
    let AtRun { repository, job } = at?;
    let mut connection = site.db.pool().acquire().await?;
    let loaded = runs::of_job(&mut connection, &repository, job, site.clock.now_ms()).await?;
    Ok(Json(loaded.ok_or(PageError::NotFound)?.run))
}

/// `GET /api/v1/repositories/{owner}/{name}/pulls/{number}`: the run of the present head.
pub async fn pull(State(site): State<Site>, at: Result<AtPull, PageError>) -> Result<Json<Run>, ApiError> {
    let AtPull { repository, number } = at?;
    let mut connection = site.db.pool().acquire().await?;
    let loaded = runs::load(&mut connection, &repository, number, site.clock.now_ms()).await?;
    Ok(Json(loaded.ok_or(PageError::NotFound)?.run))
}
