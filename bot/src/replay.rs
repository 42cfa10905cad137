//! `paceline replay`: judges what a delivery led to once more, from what was kept, offline, and says whether that gives the
//! same bytes: the report, the comment, the check runs.

mod texts;

use crate::backup::DatabaseArgs;
use crate::calibration::{self, Observation};
use crate::db::jobs::{self, Job};
use crate::db::{Db, calibrations, deliveries, quarantined_benchmarks};
use crate::error::UserError;
use crate::evidence::{self, EvidenceStore};
use crate::git::Mirrors;
use crate::pull::RepoId;
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
    /// Print the comment and the check runs, a line of JSON each, instead of the report
    #[arg(long)]
    texts: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Prints the report, or the texts. Exit code 0: byte for byte what was stored, 1: something else, 2: there is nothing to
/// judge.
pub async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let db = args.database.open().await?;
    let found = found(&db, &args.guid).await?;
    let store = args.database.evidence();
    let mut same = true;
    if let Some(job) = found.job.as_ref().filter(|_| !args.texts) {
        let of = format!("run {} of pull request #{}, head {}", job.id, job.number, job.head.short());
        same &= match job.spec.checks {
            None => {
                let (replayed, stored) = replay(&db, &store, job).await?;
                print!("{}", rendered(&replayed, args.format)?);
                // The form in which it was stored, whatever is printed.
                told(&of, serde_json::to_string(&replayed)? == serde_json::to_string(&stored)?)
            }
            Some(_) => {
                let replayed = texts::checks_again(&store, job)?;
                println!("{}", serde_json::to_string_pretty(&replayed)?);
                told(&of, job.checks.as_ref() == Some(&replayed))
            }
        };
    }
    let mirrors = Mirrors::new(&args.database.data_dir);
    let made =
        texts::texts(&db, &mirrors, &store, found.repository, found.number, found.head.as_ref()).await?;
    match made {
        Some(texts) => {
            if args.texts {
                for text in &texts.made {
                    println!("{}", serde_json::to_string(text)?);
                }
            }
            let differing = texts.differing();
            let count = texts.made.len();
            let (number, by) = (found.number, texts.by());
            same &= differing.is_empty();
            match differing.is_empty() {
                true => eprintln!(
                    "comment and check runs of pull request #{number}, {count} texts, {by}: byte for byte"
                ),
                false => {
                    eprintln!("pull request #{number}, {by}: not what was shown: {}", differing.join(", "))
                }
            }
        }
        None if found.job.is_some() && !args.texts => {}
        None => {
            let words = format!("nothing is kept of how pull request #{} was judged then", found.number);
            return Err(UserError::new(words).into());
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn told(of: &str, same: bool) -> bool {
    match same {
        true => eprintln!("{of}: byte for byte the report that was stored"),
        false => eprintln!(
            "{of}: not the report that was stored; this program judges otherwise than the one that stored it"
        ),
    }
    same
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
    let held = quarantined_benchmarks::at(db.pool(), job.repository, ended_ms).await?;
    calibration::hold(report, &held);
    calibration::apply(report, &seen, calibration::quarantine(&all).as_deref());
    Ok(())
}

/// What a name leads to.
struct Found {
    repository: RepoId,
    number: u64,
    /// `None`: the head that was judged last.
    head: Option<Sha>,
    /// The newest run of it, where one was queued.
    job: Option<Job>,
}

/// The run of that id, or what a delivery led to: the run of the head that it names, or else the first one that was
/// queued in its pull request after it came.
async fn found(db: &Db, guid: &str) -> anyhow::Result<Found> {
    if let Some(job) = jobs::get(db.pool(), &JobId(guid.to_owned())).await? {
        let (repository, number, head) = (job.repository, job.number, Some(job.head.clone()));
        return Ok(Found { repository, number, head, job: Some(job) });
    }
    let Some(delivery) = deliveries::get(db, guid).await? else {
        return Err(UserError::new(format!("there is no delivery and no run {guid:?} here")).into());
    };
    let what = format!("delivery {guid} ({})", delivery.event);
    let pull = delivery.lane.split_once('/').and_then(|(repository, number)| {
        Some((RepoId(repository.parse().ok()?), number.parse::<u64>().ok()?))
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
    let head = head.or_else(|| job.as_ref().map(|job| job.head.clone()));
    // What came to no evidence has no report; its texts can be made again all the same.
    let job = job.filter(|job| job.evidence.is_some());
    Ok(Found { repository, number, head, job })
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
