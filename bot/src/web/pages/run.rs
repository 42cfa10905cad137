//! `/runs/{job}`: one run, live while it is under way; and its raw evidence.

use super::access::AtRun;
use super::error::PageError;
use super::run_view::{self, Facts, Show};
use super::{Site, checks, render};
use crate::db::jobs::Kind;
use crate::db::{job_log, jobs, overview};
use crate::runs;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use perfsuite::model::Sha;
use serde::Deserialize;
use tokio_util::io::ReaderStream;

/// Log lines on the page: the end, which is what people look for. The whole log has thousands.
const LOG_LINES: i64 = 200;

#[derive(Default, Deserialize)]
pub struct Choice {
    #[serde(default)]
    show: String,
    /// `off` stops the page from renewing itself.
    #[serde(default)]
    refresh: String,
}

impl Choice {
    fn refreshes(&self) -> bool {
        self.refresh != "off"
    }
}

pub async fn show(
    State(site): State<Site>,
    AtRun { repository, job }: AtRun,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, PageError> {
    if Kind::of(&job.spec) == Kind::Check {
        return checks::show(&site, &repository, job, choice.unwrap_or_default().0.refreshes()).await;
    }
    let Query(choice) = choice.unwrap_or_default();
    let now_ms = site.clock.now_ms();
    let (id, number, head) = (job.id.clone(), job.number, job.head.clone());
    let (loaded, newest) = {
        let mut connection = site.db.pool().acquire().await?;
        let loaded =
            runs::of_job(&mut connection, &repository, job, now_ms).await?.ok_or(PageError::NotFound)?;
        let present: Sha = loaded.row.pull.head_sha.clone();
        (loaded, jobs::newest(&mut *connection, repository.id, number, &present).await?)
    };
    let summary = overview::job(&site.db, &id).await?.ok_or(PageError::NotFound)?;
    let log = job_log::ending(&site.db, &id, LOG_LINES).await?;
    // A commit of the default branch has several runs, none of which takes another's place.
    let newer = newest.map(|job| job.id).filter(|newest| *newest != id && number > 0);
    let facts = Facts {
        name: &repository.name,
        number,
        head: &head,
        loaded: &loaded,
        summary: &summary,
        log: &log,
        newer: newer.as_ref(),
        now_ms,
    };
    let page = render(&run_view::page(&facts, Show::from_query(&choice.show), choice.refreshes()))?;
    Ok(page.into_response())
}

/// `/runs/{job}/evidence`: the stored bytes as the runner sent them, passed on piece by piece.
pub async fn evidence(State(site): State<Site>, AtRun { job, .. }: AtRun) -> Result<Response, PageError> {
    let digest = job.evidence.ok_or(PageError::NotFound)?;
    let store = site.evidence.clone();
    let (read, tag) = (digest.clone(), format!("\"{digest}\""));
    let file = tokio::task::spawn_blocking(move || store.open(&read))
        .await
        .map_err(anyhow::Error::from)??
        .ok_or(PageError::NotFound)?;
    let file = tokio::fs::File::from_std(file);
    let length = file.metadata().await.map_err(anyhow::Error::from)?.len();
    let headers = [
        (header::CONTENT_TYPE, "application/zstd".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"paceline-{}.json.zst\"", job.id)),
        (header::ETAG, tag),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}
