//! A job of a history has ended: its report becomes points, in the transaction that ends it.

use super::record;
use crate::app::App;
use crate::db::history_commits::{self, HistoryCommit};
use crate::db::jobs::Job;
use crate::db::points::{self, Against, Ratio};
use crate::db::series::{self, Key, Series};
use crate::db::{Turn, Tx, environments, references, renamed_benchmarks};
use crate::queue::Purpose;
use perfsuite::model::Report;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whether a job's end makes points: such a transaction has the turn of histories from its beginning.
pub async fn begin(app: &App, job: &Job) -> sqlx::Result<Tx> {
    match job.purpose.of_history() {
        true => app.db.begin_turn(Turn::History).await,
        false => app.db.begin().await,
    }
}

/// Stores what a finished job says of its commit.
pub async fn ended(tx: &mut Tx, job: &Job, report: &Report) -> sqlx::Result<()> {
    match job.purpose {
        Purpose::Parent | Purpose::Reference => commit_ended(tx, job, report).await,
        Purpose::Overlap => overlap_ended(tx, job, report).await,
        // Searches are taken further by `watch.rs`, which sees that their comparison has ended.
        Purpose::Pull | Purpose::Group | Purpose::Bisect | Purpose::Asked => Ok(()),
    }
}

async fn commit_ended(tx: &mut Tx, job: &Job, report: &Report) -> sqlx::Result<()> {
    let found = history_commits::of_job(tx, job.repository, job.purpose, &job.head, &job.id).await?;
    // The branch was rewritten meanwhile, or the commit is measured anew.
    let Some(commit) = found else { return Ok(()) };
    let environment = environments::number_of(tx, &report.environment).await?;
    history_commits::set_environment(tx, job.repository, commit.position, environment).await?;
    let references = references::all(&mut **tx, job.repository).await?;
    let is_reference = references
        .iter()
        .find(|reference| Some(reference.number) == commit.reference_number && reference.sha == commit.sha);
    let mut known = series::of_repository(&mut **tx, job.repository).await?;
    let report = &called_as_now(tx, job, report).await?;
    for row in record::rows(report, known.clone().keys()) {
        let series = known_or_new(tx, job, &mut known, &row.key).await?;
        for against in against(job, &commit, row.ratio, is_reference.is_some()) {
            points::put(tx, series, commit.position, row.value, against).await?;
        }
        series::changed(tx, series).await?;
    }
    Ok(())
}

/// What a job's ratio is over: the parent, the reference, or both where they are one commit. The reference itself is
/// what it is.
fn against(job: &Job, commit: &HistoryCommit, ratio: Ratio, is_reference: bool) -> Vec<Against> {
    let mut all = Vec::new();
    let mine = |of: &Option<String>| of.as_deref() == Some(job.id.0.as_str());
    if mine(&commit.parent_job) {
        all.push(Against::Parent(ratio));
    }
    if let Some(number) = commit.reference_number {
        if mine(&commit.reference_job) {
            all.push(Against::Reference(ratio, number));
        } else if is_reference {
            all.push(Against::Reference(Ratio::SAME, number));
        }
    }
    all
}

async fn overlap_ended(tx: &mut Tx, job: &Job, report: &Report) -> sqlx::Result<()> {
    let references = references::all(&mut **tx, job.repository).await?;
    let new = references.windows(2).rev().find(|pair| pair[0].sha == job.base && pair[1].sha == job.head);
    let Some([_, new]) = new else { return Ok(()) };
    let mut known = series::of_repository(&mut **tx, job.repository).await?;
    let report = &called_as_now(tx, job, report).await?;
    for row in record::rows(report, known.clone().keys()) {
        let series = known_or_new(tx, job, &mut known, &row.key).await?;
        points::put_link(tx, series, new.number, row.ratio, &job.id).await?;
        series::changed(tx, series).await?;
    }
    Ok(())
}

/// A commit of before a rename has the benchmark's former name.
async fn called_as_now<'r>(tx: &mut Tx, job: &Job, report: &'r Report) -> sqlx::Result<Cow<'r, Report>> {
    let renames = renamed_benchmarks::of_repository(&mut **tx, job.repository).await?;
    Ok(if renames.is_empty() { Cow::Borrowed(report) } else { Cow::Owned(record::renamed(report, &renames)) })
}

async fn known_or_new(
    tx: &mut Tx,
    job: &Job,
    known: &mut BTreeMap<Key, Series>,
    key: &Key,
) -> sqlx::Result<i64> {
    if let Some(series) = known.get(key) {
        return Ok(series.id);
    }
    let new = series::insert(tx, job.repository, key, false).await?;
    let id = new.id;
    known.insert(key.clone(), new);
    Ok(id)
}
