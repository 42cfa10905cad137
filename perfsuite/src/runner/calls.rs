//! The runner protocol's requests: each is made once, and its answer becomes an input of the session.

use super::Measure;
use super::work::Logbook;
use crate::http::{Client, HttpError};
use crate::model::wire::{Claim, Finish, HEARTBEAT_LOG_LINES_MAX, Heartbeat, Lease, Orders, Outcome, Stored};
use crate::model::{Fence, JobId};
use crate::session::Input;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the server may hold a claim open: below the idle limits of common proxies.
const CLAIM_WAIT: Duration = Duration::from_secs(25);
/// Small requests, on a server that is busy.
const CALL_MAX: Duration = Duration::from_secs(15);
/// 64 MiB of evidence on a slow line.
const UPLOAD_MAX: Duration = Duration::from_secs(10 * 60);

pub(super) async fn claim(client: Client, measure: Arc<dyn Measure>) -> Input {
    let path = "/runner/v1/claim";
    let sandboxed = measure.sandboxed();
    // Reading the machine's fingerprint looks at many files, and making room removes many.
    let looked = tokio::task::spawn_blocking(move || (measure.environment(), measure.ready())).await;
    let (environment, ready) = match looked {
        Ok(looked) => looked,
        Err(error) => return Input::Refused { message: format!("cannot look at this machine: {error}") },
    };
    let claim = Claim {
        version: env!("CARGO_PKG_VERSION").into(),
        environment,
        sandboxed,
        unable: ready.err(),
        wait_ms: CLAIM_WAIT.as_millis() as u64,
    };
    if let Some(reason) = &claim.unable {
        tracing::error!(reason, "no job can be taken");
    }
    match client.post(path, &claim, CLAIM_WAIT + CALL_MAX).await {
        Ok(None) => Input::NoJob,
        Ok(answer) => match client.parse::<Lease>(path, answer) {
            Ok(lease) => Input::LeaseGranted(Box::new(lease)),
            Err(error) => failed(error),
        },
        Err(error) => match error.status().map(|status| status.as_u16()) {
            // A proxy answers so while the server behind it starts.
            Some(404) => unreachable_for_now(error),
            _ => failed(error),
        },
    }
}

pub(super) async fn heartbeat(client: Client, job: JobId, fence: Fence, logbook: Arc<Logbook>) -> Input {
    let path = format!("/runner/v1/jobs/{job}/heartbeat");
    let log = logbook.take(HEARTBEAT_LOG_LINES_MAX);
    let beat = Heartbeat { fence, progress: logbook.last_progress(), log };
    let answer = match client.post(&path, &beat, CALL_MAX).await {
        Ok(answer) => client.parse::<Orders>(&path, answer),
        Err(error) => Err(error),
    };
    match answer {
        Ok(orders) => Input::OrdersReceived(orders),
        Err(error) if error.status().is_some_and(|status| status.as_u16() == 401) => {
            tracing::warn!(%error, "the token has ended: the job is given up");
            Input::FenceStale
        }
        Err(error) => match failed(error) {
            Input::FenceStale => Input::FenceStale,
            _ => {
                logbook.put_back(beat.log);
                Input::BeatUnanswered
            }
        },
    }
}

pub(super) async fn upload(
    client: Client,
    job: JobId,
    fence: Fence,
    logbook: Arc<Logbook>,
    evidence: PathBuf,
) -> Input {
    last_words(&client, &job, fence, &logbook).await;
    let body = match tokio::fs::read(&evidence).await {
        Ok(body) => body,
        Err(error) => return Input::Refused { message: format!("cannot read the evidence back: {error}") },
    };
    let path = format!("/runner/v1/jobs/{job}/evidence?fence={}", fence.0);
    let answer = match client.put(&path, body.into(), UPLOAD_MAX).await {
        Ok(answer) => client.parse::<Stored>(&path, answer),
        Err(error) => Err(error),
    };
    match answer {
        Ok(stored) => Input::EvidenceStored { digest: stored.digest },
        Err(error) => failed(error),
    }
}

pub(super) async fn finish(
    client: Client,
    job: JobId,
    fence: Fence,
    logbook: Arc<Logbook>,
    outcome: Outcome,
) -> Input {
    last_words(&client, &job, fence, &logbook).await;
    match client.post(&format!("/runner/v1/jobs/{job}/finish"), &Finish { fence, outcome }, CALL_MAX).await {
        Ok(_) => Input::FinishAccepted,
        Err(error) => failed(error),
    }
}

/// Log lines that no heartbeat has carried yet. They may be lost: what counts is in the evidence.
async fn last_words(client: &Client, job: &JobId, fence: Fence, logbook: &Logbook) {
    let log = logbook.take(HEARTBEAT_LOG_LINES_MAX);
    if log.is_empty() {
        return;
    }
    let beat = Heartbeat { fence, progress: logbook.last_progress(), log };
    if let Err(error) = client.post(&format!("/runner/v1/jobs/{job}/heartbeat"), &beat, CALL_MAX).await {
        tracing::debug!(%job, %error, "the last log lines were not taken");
    }
}

/// What an error means to the session. Logged here, once.
pub(super) fn failed(error: HttpError) -> Input {
    match error.status().map(|status| status.as_u16()) {
        // The job is not ours, or is gone.
        Some(409 | 404 | 410) => {
            tracing::info!(%error, "the job is no longer ours");
            Input::FenceStale
        }
        _ if error.is_passing() || matches!(error, HttpError::Nonsense { .. }) => unreachable_for_now(error),
        _ => {
            tracing::warn!(%error, "refused");
            Input::Refused { message: error.to_string() }
        }
    }
}

fn unreachable_for_now(error: HttpError) -> Input {
    tracing::warn!(%error, "the server cannot be reached; trying again");
    Input::ServerUnreachable
}
