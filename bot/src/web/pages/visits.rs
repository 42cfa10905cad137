//! `/runs/{job}/visits/{place}`: one row of a run with every visit behind it, from the stored evidence.

use super::access::{AtPlace, AtRun};
use super::error::PageError;
use super::profile::{self, DRAWING};
use super::visits_view::{self, Facts};
use super::{Page, Site, render};
use crate::db::renamed_benchmarks::series_called;
use crate::db::series::Key;
use axum::extract::State;
use perfsuite::model::{Comparison, Series};

pub async fn show(
    State(site): State<Site>,
    AtPlace { run: AtRun { repository, job }, place, .. }: AtPlace,
) -> Page {
    let (id, number, evidence) = (job.id.clone(), job.number, job.evidence.clone());
    let report = profile::report(&site, &repository, job).await?;
    let row = report.rows.get(place).ok_or(PageError::NotFound)?;
    let seen = match evidence {
        Some(digest) => visits_of(&site, digest, row).await?,
        None => None,
    };
    let key = Key {
        suite: row.suite.clone(),
        benchmark: row.benchmark.0.clone(),
        metric: row.metric.as_str().into(),
    };
    let has_history = series_called(site.db.pool(), repository.id, &key).await?.is_some();
    render(&visits_view::page(&Facts {
        name: &repository.name,
        number,
        job: &id,
        report: &report,
        row,
        seen: seen.as_ref(),
        history: has_history.then_some(&key),
    }))
}

/// What was measured of a row; `None` where the evidence is no longer kept, and of rows that were counted only.
async fn visits_of(site: &Site, digest: String, row: &Comparison) -> Result<Option<Series>, PageError> {
    let _turn = DRAWING.acquire().await.map_err(anyhow::Error::from)?;
    let (store, row) = (site.evidence.clone(), row.clone());
    let read = tokio::task::spawn_blocking(move || {
        let Some(_) = store.open(&digest)? else { return Ok(None) };
        let same = |series: &Series| {
            series.suite == row.suite && series.benchmark == row.benchmark && series.metric == row.metric
        };
        Ok(store.get(&digest)?.series.into_iter().find(same))
    });
    read.await.map_err(anyhow::Error::from)?.map_err(PageError::Internal)
}
