//! `paceline replay`: judges what a delivery led to once more, from the stored evidence, offline, and says whether that
//! gives the same bytes.

use crate::backup::DatabaseArgs;
use crate::calibration::{self, Observation};
use crate::db::jobs::{self, Job};
use crate::db::{Db, calibrations, deliveries};
use crate::error::UserError;
use crate::evidence::{self, EvidenceStore};
use anyhow::Context;
use clap::Args;
use perfsuite::cli::{Format, rendered};
use perfsuite::model::{JobId, Report, Sha};
use perfsuite::verdict::judge;
use serde_json::Value;
use std::process::ExitCode;

/// Jobs of one head that are looked at, the newest first.
const JOBS_MAX: i64 = 200;

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    paceline replay 72d3162e-cc78-11e3-81ab-4c9367dc0958       a delivery, as GitHub's page of them names it\n  \
    paceline replay 0198c0de-0000-7000-8000-000000000001 --format markdown    a run, as its page's address does")]
pub struct ReplayArgs {
    /// GUID of a webhook delivery, or id of a run
    guid: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Prints the report. Exit code 0: byte for byte what was stored, 1: something else, 2: there is nothing to judge.
pub async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let db = args.database.open().await?;
    let job = job_of(&db, &args.guid).await?;
    let (replayed, stored) = replay(&db, &args.database.evidence(), &job).await?;
    print!("{}", rendered(&replayed, args.format)?);
    // The form in which it was stored, whatever is printed.
    let same = serde_json::to_string(&replayed)? == serde_json::to_string(&stored)?;
    let of = format!("run {} of pull request #{}, head {}", job.id, job.number, job.head.short());
    Ok(if same {
        eprintln!("{of}: byte for byte the report that was stored");
        ExitCode::SUCCESS
    } else {
        eprintln!(
            "{of}: not the report that was stored; this program judges otherwise than the one that stored it"
        );
        ExitCode::from(1)
    })
}

/// The report that the stored evidence gives now, and the one that was stored.
pub async fn replay(db: &Db, store: &EvidenceStore, job: &Job) -> anyhow::Result<(Report, Report)> {
    let nothing = |why: String| UserError::new(format!("run {} cannot be replayed: {why}", job.id));
    let (Some(digest), Some(stored)) = (&job.evidence, &job.report) else {
        return Err(nothing(format!("it is {}, and has no evidence", job.state)).into());
    };
    if store.open(digest)?.is_none() {
        return Err(nothing(format!("its evidence {digest} is no longer kept")).into());
    }
    let bytes = store.bytes(digest)?;
    let is = perfsuite::evidence::digest(&bytes);
    if is != *digest {
        return Err(nothing(format!("its evidence was changed: it is named {digest} and has {is}")).into());
    }
    let evidence = evidence::decode_for(&bytes, &job.spec).map_err(|why| nothing(format!("{why:#}")))?;
    let mut report = judge(&evidence);
    settle(db, job, &mut report).await?;
    Ok((report, stored.clone()))
}

/// Modes as they were lowered when the run ended: by what its runner had been seen to make of no change until then.
async fn settle(db: &Db, job: &Job, report: &mut Report) -> anyhow::Result<()> {
    let ended_ms = job.finished_ms.context("a run with a report has an end")?;
    let runner = job.runner.as_deref().unwrap_or_default();
    let before = calibrations::Before {
        since_ms: ended_ms - calibration::WINDOW_MS,
        until_ms: ended_ms,
        job: &job.id,
    };
    let own: Vec<Observation> = report.calibration.iter().map(Observation::from).collect();
    let mut seen = calibrations::of_repository_before(db.pool(), job.repository, runner, &before).await?;
    seen.extend(own.iter().cloned());
    let mut all = calibrations::of_runner_before(db.pool(), runner, &before).await?;
    all.extend(own);
    calibration::apply(report, &seen, calibration::quarantine(&all).as_deref());
    Ok(())
}

/// The run of that id, or the one that a delivery led to: of the head that it names, or else the first one that was
/// queued in its pull request after it came.
async fn job_of(db: &Db, guid: &str) -> anyhow::Result<Job> {
    if let Some(job) = jobs::get(db.pool(), &JobId(guid.to_owned())).await? {
        return Ok(job);
    }
    let Some(delivery) = deliveries::get(db, guid).await? else {
        return Err(UserError::new(format!("there is no delivery and no run {guid:?} here")).into());
    };
    let what = format!("delivery {guid} ({})", delivery.event);
    let pull = delivery.lane.split_once('/').and_then(|(repository, number)| {
        Some((crate::pull::RepoId(repository.parse().ok()?), number.parse::<u64>().ok()?))
    });
    let Some((repository, number)) = pull else {
        return Err(UserError::new(format!("{what} is of no pull request, so it led to no run")).into());
    };
    let mut of_pull = jobs::of_pull(db, repository, number, JOBS_MAX).await?;
    let head = head_of(&delivery.payload);
    of_pull.retain(|job| match &head {
        Some(head) => job.head == *head,
        None => job.created_ms >= delivery.received_ms,
    });
    // The newest first. Of one head, the newest is what its page shows; after a command, the oldest is its answer.
    let job = if head.is_some() { of_pull.into_iter().next() } else { of_pull.pop() };
    let nothing = || UserError::new(format!("{what} led to no run of pull request #{number}"));
    Ok(job.ok_or_else(nothing)?)
}

/// The head that a payload is about.
fn head_of(payload: &str) -> Option<Sha> {
    let payload: Value = serde_json::from_str(payload).ok()?;
    let places = ["/pull_request/head/sha", "/check_run/head_sha", "/check_suite/head_sha"];
    places.iter().find_map(|place| payload.pointer(place)?.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_may_name_its_head() {
        let sha = "a".repeat(40);
        let named = |text: String| head_of(&text).map(|sha| sha.to_string());
        assert_eq!(
            named(format!("{{\"pull_request\":{{\"head\":{{\"sha\":\"{sha}\"}}}}}}")),
            Some(sha.clone())
        );
        assert_eq!(named(format!("{{\"check_run\":{{\"head_sha\":\"{sha}\"}}}}")), Some(sha));
        for other in ["{}", "", "{\"pull_request\":{\"head\":{\"sha\":\"x\"}}}"] {
            assert_eq!(named(other.into()), None, "{other}");
        }
    }
}
