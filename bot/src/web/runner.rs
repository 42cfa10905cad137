//! The runner protocol's server side; `perfsuite::model::wire` has the table of requests.

use super::WebError;
use crate::app::App;
use crate::calibration::{self, Observation};
use crate::conventions::checked;
use crate::db::jobs::{End, Job};
use crate::db::runners::{self, Runner};
use crate::db::{calibrations, comparisons, job_log, jobs, pulls, quarantined_benchmarks, repositories};
use crate::disk;
use crate::errands;
use crate::evidence;
use crate::history::settle;
use crate::notify;
use crate::pull::RepoId;
use crate::queue::{HEARTBEAT_MS, JobState, Purpose};
use crate::runs;
use anyhow::Context;
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use perfsuite::model::wire::{
    Claim, EVIDENCE_MAX_BYTES, Finish, HEARTBEAT_LOG_LINES_MAX, Heartbeat, LOG_LINE_CHARS_MAX, Lease, Orders,
    Outcome, Stored,
};
use perfsuite::model::{Evidence, Fence, JobId, Report};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A claim is held open at most this long, below common proxies' limits.
const CLAIM_WAIT_MAX: Duration = Duration::from_secs(25);
/// A failed job's words and output.
const ERROR_MAX_CHARS: usize = 20_000;

/// The runner whose token the request carries. Named before the body among a handler's arguments, it is looked up
/// before any of the body is read.
pub struct Caller(Runner);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        let token = parts
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        runners::by_token(&app.db, token).await?.map(Caller).ok_or_else(|| {
            WebError::refused(
                StatusCode::UNAUTHORIZED,
                "The runner's token is unknown or revoked. Make one with `paceline runner add NAME`.",
            )
        })
    }
}

pub async fn claim(
    State(app): State<Arc<App>>,
    Caller(runner): Caller,
    Json(claim): Json<Claim>,
) -> Result<Response, WebError> {
    runners::seen(&app.db, &runner.id, Some(&claim.environment), Some(claim.sandboxed), app.clock.now_ms())
        .await?;
    let deadline = tokio::time::Instant::now() + CLAIM_WAIT_MAX.min(Duration::from_millis(claim.wait_ms));
    if let Some(reason) = &claim.unable {
        tracing::warn!(runner = runner.name, reason, "the runner can take no job");
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    loop {
        let called = app.wake.jobs.notified();
        // Its evidence could not be kept; the comment says why it waits.
        let job = match disk::shortage(&app) {
            Some(_) => None,
            None => {
                let now_ms = app.clock.now_ms();
                jobs::claim(&app.db, &runner.id, claim.sandboxed, now_ms, app.config.lease_ms).await?
            }
        };
        if let Some(job) = job {
            tracing::info!(job = %job.id, runner = runner.name, fence = job.fence.0, "claimed");
            runs::republish_job(&app, &job).await?;
            let mut spec = job.spec;
            if spec.checks.is_none() {
                spec.limits.calibrate_seconds = calibrate_seconds(&app, job.repository, &runner).await?;
            }
            let lease = Lease {
                spec,
                fence: job.fence,
                lease_ms: app.config.lease_ms as u64,
                heartbeat_ms: HEARTBEAT_MS.min(app.config.lease_ms / 4) as u64,
            };
            return Ok(Json(lease).into_response());
        }
        if app.stop.is_cancelled() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        if tokio::time::timeout_at(deadline.min(tokio::time::Instant::now() + Duration::from_secs(1)), called)
            .await
            .is_err()
            && tokio::time::Instant::now() >= deadline
        {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
}

/// What of a job's spare time goes to bases against themselves on this runner.
async fn calibrate_seconds(app: &App, repository: RepoId, runner: &Runner) -> anyhow::Result<u64> {
    let newest = calibrations::newest(app.db.pool(), repository, &runner.id).await?;
    let fresh_ms = app.clock.now_ms() - calibration::FRESH_MS;
    Ok(match newest {
        Some(at_ms) if at_ms >= fresh_ms => calibration::CONTROL_SECONDS,
        _ => calibration::CALIBRATE_SECONDS,
    })
}

fn stale() -> WebError {
    WebError::refused(StatusCode::CONFLICT, "Another attempt holds this job, or it has ended.")
}

/// The job, if the runner's attempt is the newest. It may have ended by an order from our side.
async fn attempt(app: &App, runner: &Runner, id: &JobId, fence: Fence) -> Result<Job, WebError> {
    let job = jobs::get(app.db.pool(), id).await?;
    let job = job.ok_or_else(|| WebError::refused(StatusCode::NOT_FOUND, "There is no such job."))?;
    if job.fence != fence || job.runner.as_deref() != Some(runner.id.as_str()) {
        return Err(stale());
    }
    Ok(job)
}

/// The same, while the job is still to be worked on.
async fn held(app: &App, runner: &Runner, id: &JobId, fence: Fence) -> Result<Job, WebError> {
    let job = attempt(app, runner, id, fence).await?;
    if job.state.held() { Ok(job) } else { Err(stale()) }
}

pub async fn heartbeat(
    State(app): State<Arc<App>>,
    Path(id): Path<JobId>,
    Caller(runner): Caller,
    Json(beat): Json<Heartbeat>,
) -> Result<Json<Orders>, WebError> {
    let job = attempt(&app, &runner, &id, beat.fence).await?;
    if matches!(job.state, JobState::Superseded | JobState::Cancelled) {
        return Ok(Json(Orders::Stop { reason: job.state.to_string() }));
    }
    let now_ms = app.clock.now_ms();
    let state = JobState::of_phase(beat.progress.phase);
    if !jobs::heartbeat(&app.db, &id, beat.fence, state, &beat.progress, now_ms + app.config.lease_ms).await?
    {
        return Err(stale());
    }
    runners::seen(&app.db, &runner.id, None, None, now_ms).await?;
    let lines: Vec<String> = beat
        .log
        .iter()
        .take(HEARTBEAT_LOG_LINES_MAX)
        .map(|line| line.chars().filter(|c| *c != '\0').take(LOG_LINE_CHARS_MAX).collect())
        .collect();
    job_log::append(&app.db, &id, &lines, now_ms).await?;
    if state != job.state {
        // GitHub hears of changes of state, not of every step: writes are few.
        runs::republish_job(&app, &job).await?;
    }
    Ok(Json(Orders::Continue))
}

#[derive(Deserialize)]
pub struct Fenced {
    fence: Fence,
}

pub async fn source(
    State(app): State<Arc<App>>,
    Path(id): Path<JobId>,
    Query(Fenced { fence }): Query<Fenced>,
    Caller(runner): Caller,
) -> Result<Response, WebError> {
    let job = held(&app, &runner, &id, fence).await?;
    let (mirrors, dir) = (app.mirrors.clone(), app.config.data_dir.join("bundles"));
    let bundle = tokio::task::spawn_blocking(move || {
        mirrors.open(job.repository)?.bundle(&job.spec.base, &job.spec.head, &dir)
    })
    .await
    .context("bundling was ended")??;
    let file = tokio::fs::File::open(&bundle).await.context("cannot open the bundle")?;
    let length = file.metadata().await.context("cannot read the bundle")?.len();
    // The open file outlives its name: the temporary file is removed when `bundle` goes out of scope.
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(file));
    let headers =
        [("content-type", "application/x-git-bundle".to_owned()), ("content-length", length.to_string())];
    Ok((headers, body).into_response())
}

/// Bodies are read only once the sender is known to hold the job, and few are unpacked at a time: each may take
/// [`evidence::DECODED_MAX_BYTES`] of memory, and some more as values.
static UNPACKING: Semaphore = Semaphore::const_new(2);

pub async fn evidence(
    State(app): State<Arc<App>>,
    Path(id): Path<JobId>,
    Query(Fenced { fence }): Query<Fenced>,
    Caller(runner): Caller,
    body: Body,
) -> Result<(StatusCode, Json<Stored>), WebError> {
    let job = held(&app, &runner, &id, fence).await?;
    let _turn = UNPACKING.acquire().await.context("the server is stopping")?;
    let body = axum::body::to_bytes(body, EVIDENCE_MAX_BYTES).await.map_err(|error| {
        let words =
            format!("The evidence is over the bound of {EVIDENCE_MAX_BYTES} bytes, or broke off: {error}");
        WebError::refused(StatusCode::PAYLOAD_TOO_LARGE, words)
    })?;
    let store = app.evidence.clone();
    let stored = tokio::task::spawn_blocking(move || match evidence::decode_for(&body, &job.spec) {
        Ok(_) => Ok(store.put(&body)),
        Err(unsound) => Err(unsound),
    })
    .await
    .context("storing evidence was ended")?;
    let put = stored.map_err(|unsound| {
        tracing::warn!(job = %id, runner = runner.name, reason = format!("{unsound:#}"), "refused evidence");
        WebError::refused(StatusCode::UNPROCESSABLE_ENTITY, format!("{unsound:#}"))
    })?;
    // Sound, and cannot be kept (no disk): the runner tries again later.
    Ok((StatusCode::CREATED, Json(Stored { digest: put.context("cannot keep evidence")? })))
}

pub async fn finish(
    State(app): State<Arc<App>>,
    Path(id): Path<JobId>,
    Caller(runner): Caller,
    Json(finish): Json<Finish>,
) -> Result<StatusCode, WebError> {
    let job = held(&app, &runner, &id, finish.fence).await?;
    let now_ms = app.clock.now_ms();
    let ended = match finish.outcome {
        Outcome::HandedBack => {
            let back = jobs::hand_back(&app.db, &id, finish.fence).await?;
            app.wake.jobs.notify_waiters();
            runs::republish_job(&app, &job).await?;
            back
        }
        Outcome::Failed { message, output } => {
            let error: String = format!("{message}\n{output}").chars().filter(|c| *c != '\0').collect();
            let error = tail(&error, ERROR_MAX_CHARS);
            end(&app, &job, finish.fence, &End::Failed { error }, now_ms).await?
        }
        Outcome::Measured { digest } if job.spec.checks.is_some() => {
            let (evidence, _turn) = read_evidence(&app, &job, &digest).await?;
            let asked = job.spec.checks.as_ref().zip(evidence.checks.as_ref());
            let (asked, found) = asked.context("evidence of checks was held against its job")?;
            let checks = checked::decide(&job.spec.head, asked, found);
            let done = End::Checked { evidence: &digest, checks: &checks };
            end(&app, &job, finish.fence, &done, now_ms).await?
        }
        Outcome::Measured { digest } => {
            // The verdict is ours, from the samples: a runner's opinion is never asked.
            let (evidence, _turn) = read_evidence(&app, &job, &digest).await?;
            let mut report = tokio::task::spawn_blocking(move || perfsuite::verdict::judge(&evidence))
                .await
                .context("judging was ended")?;
            settle_modes(&app, &job, &mut report, now_ms).await?;
            end(&app, &job, finish.fence, &End::Done { evidence: &digest, report: &report }, now_ms).await?
        }
    };
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(stale()) }
}

/// Stored evidence, held against its job once more; and the turn, kept as long as it is in memory.
async fn read_evidence(
    app: &App,
    job: &Job,
    digest: &str,
) -> Result<(Evidence, SemaphorePermit<'static>), WebError> {
    let (store, digest, spec) = (app.evidence.clone(), digest.to_owned(), job.spec.clone());
    let turn = UNPACKING.acquire().await.context("the server is stopping")?;
    let read = tokio::task::spawn_blocking(move || evidence::decode_for(&store.bytes(&digest)?, &spec))
        .await
        .context("reading evidence was ended")?;
    match read {
        Ok(evidence) => Ok((evidence, turn)),
        Err(error) => Err(WebError::refused(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}"))),
    }
}

/// Lets block only what the runner is calibrated for, this run's own measurements of nothing included.
async fn settle_modes(app: &App, job: &Job, report: &mut Report, now_ms: i64) -> anyhow::Result<()> {
    let runner = job.runner.as_deref().unwrap_or_default();
    let since_ms = now_ms - calibration::WINDOW_MS;
    let own: Vec<Observation> = report.calibration.iter().map(Observation::from).collect();
    let mut seen = calibrations::of_repository(app.db.pool(), job.repository, runner, since_ms).await?;
    seen.extend(own.iter().cloned());
    let mut all = calibrations::of_runner(app.db.pool(), runner, since_ms).await?;
    all.extend(own);
    let held = quarantined_benchmarks::at(app.db.pool(), job.repository, now_ms).await?;
    calibration::hold(report, &held);
    calibration::apply(report, &seen, calibration::quarantine(&all).as_deref());
    Ok(())
}

/// The end of a text, on a character boundary.
fn tail(text: &str, chars_max: usize) -> &str {
    let skip = text.chars().count().saturating_sub(chars_max);
    text.char_indices().nth(skip).map_or(text, |(at, _)| &text[at..])
}

async fn end(app: &App, job: &Job, fence: Fence, end: &End<'_>, now_ms: i64) -> anyhow::Result<bool> {
    let mut tx = settle::begin(app, job).await?;
    pulls::hold(&mut tx, job.repository, job.number).await?;
    if !jobs::end(&mut tx, &job.id, fence, end, now_ms).await? {
        return Ok(false);
    }
    if let End::Done { report, .. } = end {
        comparisons::insert_all(&mut tx, job.repository, &job.id, &report.rows).await?;
        let runner = job.runner.as_deref().unwrap_or_default();
        let seen = &report.calibration;
        calibrations::insert_all(&mut tx, job.repository, &job.id, runner, seen, now_ms).await?;
        settle::ended(&mut tx, job, report).await?;
    }
    if let Some(repository) = repositories::by_id(&mut *tx, job.repository).await? {
        match job.purpose {
            Purpose::Group => runs::publish_group(&mut tx, app, &repository, &job.id).await?,
            Purpose::Asked => {}
            _ => runs::publish(&mut tx, app, &repository, job.number).await?,
        }
        if let End::Done { report, .. } = end
            && job.purpose == Purpose::Pull
            && let Some(notice) =
                notify::of_run(&app.public_url, &repository, job.number, &job.id, report, now_ms)
        {
            notify::want(&mut tx, app, &notice).await?;
        }
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.history.notify_one();
    app.wake.notices.notify_one();
    // Another one of the same history may have waited for it.
    app.wake.jobs.notify_waiters();
    tracing::info!(job = %job.id, pr = job.number, "ended");
    if job.purpose == Purpose::Asked {
        // Tried again by period, so that a runner need not.
        if let Err(error) = errands::once(app).await {
            tracing::error!(error = format!("{error:#}"), "errands wait for the next period");
        }
    }
    tell_who_waits(app, job, now_ms).await?;
    Ok(true)
}

/// Those whose repository's minutes of the day are used up by now are told so.
async fn tell_who_waits(app: &App, job: &Job, now_ms: i64) -> anyhow::Result<()> {
    /// Comments that one end of a job may change.
    const TOLD_MAX: usize = 50;
    let spent_ms = jobs::spent_ms(app.db.pool(), job.repository, now_ms).await?;
    let mut tx = app.db.begin().await?;
    let mut waiting = jobs::waiting_for(&mut tx, job.repository, &[Purpose::Pull]).await?;
    tx.rollback().await?;
    waiting.retain(|job| job.day_limit_ms.is_some_and(|limit_ms| limit_ms <= spent_ms));
    for waiting in waiting.iter().take(TOLD_MAX) {
        runs::republish(app, waiting.repository, waiting.number).await?;
    }
    Ok(())
}
