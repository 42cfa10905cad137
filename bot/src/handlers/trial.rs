//! Whether a head is to be tried by the repository's own checks, and with which commits.

use super::Ask;
use crate::app::App;
use crate::db::jobs::{self, Kind};
use crate::db::pulls::{self, PullRow};
use crate::db::{Tx, new_id};
use crate::facts::GitFacts;
use crate::judgement::TestsAsked;
use crate::policy;
use crate::proof::trial::{self, Trial};
use crate::pull::{PullRequest, Repository};
use crate::queue::JobState;
use crate::repo_config::RepoConfig;
use anyhow::Context;
use perfsuite::model::{JobId, JobSpec, Sha, Trust};

/// What is to be done about a head's tests.
pub enum Plan {
    /// Nothing is asked, or it waits for a permission.
    Nothing,
    /// Its job is there.
    Stands,
    /// Nothing can be run, and why.
    Skipped(String),
    New(Box<Trial>),
}

/// Decides, and makes the commits where there is something to try.
pub async fn plan(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    facts: &GitFacts,
    asked: Option<&TestsAsked>,
    config: &RepoConfig,
    ask: Ask,
) -> anyhow::Result<Plan> {
    if asked.is_none() {
        return Ok(Plan::Nothing);
    }
    if let Some(reason) = policy::not_measured_because(pull) {
        return Ok(Plan::Skipped(reason.into()));
    }
    let row = pulls::get(app.db.pool(), repository.id, pull.number).await?;
    let allowed = row.is_some_and(|row| row.approved_sha.as_deref() == Some(pull.head_sha.as_str()));
    if pull.from_fork && !allowed {
        return Ok(Plan::Nothing);
    }
    let newest =
        jobs::newest_of(app.db.pool(), Kind::Check, repository.id, pull.number, &pull.head_sha).await?;
    let stands = newest.is_some_and(|job| {
        let again = ask.checks_again() && job.state.ended();
        job.base == facts.merge_base && !again && job.state != JobState::Superseded
    });
    if stands {
        return Ok(Plan::Stands);
    }
    let (mirrors, id) = (app.mirrors.clone(), repository.id);
    let (facts, config, pull) = (facts.clone(), config.tests.clone(), pull.clone());
    let planned = tokio::task::spawn_blocking(move || {
        let fix = trial::is_fix(&facts, Some(&pull.title));
        trial::plan(&mirrors.open(id)?, &facts, (&pull.base_sha, &pull.head_sha), &config, fix)
    })
    .await
    .context("planning checks was ended")?;
    Ok(match planned {
        Ok(Ok(trial)) => Plan::New(Box::new(trial)),
        Ok(Err(reason)) => Plan::Skipped(reason),
        // What git cannot do with such a tree (names that are no UTF-8, too many files) is said, and ends nothing else.
        Err(error) => Plan::Skipped(format!("its files cannot be tried: {error}")),
    })
}

/// Queues the job, in the transaction that judges; jobs of older heads go.
pub async fn queue(
    tx: &mut Tx,
    app: &App,
    repository: &Repository,
    row: &PullRow,
    plan: Plan,
    config: &RepoConfig,
) -> anyhow::Result<Vec<Sha>> {
    let pull = &row.pull;
    let now_ms = app.clock.now_ms();
    let wanted = matches!(plan, Plan::Stands | Plan::New(_));
    let keep = row.merge_base.as_ref().filter(|_| wanted).map(|base| (&pull.head_sha, base));
    let by = "a newer push";
    let outdated = jobs::supersede(tx, Kind::Check, repository.id, pull.number, keep, by, now_ms).await?;
    if let Plan::New(trial) = plan {
        // Another delivery may have been sooner, in another lane.
        let newest =
            jobs::newest_of(&mut **tx, Kind::Check, repository.id, pull.number, &pull.head_sha).await?;
        if newest.is_some_and(|job| !job.state.ended()) {
            return Ok(outdated);
        }
        let base = row.merge_base.clone().context("a merge base was just stored")?;
        let spec = JobSpec {
            job: JobId(new_id()),
            repository: repository.name.to_string(),
            base: trial.base,
            head: trial.head,
            trust: app.config.trust,
            suites: Vec::new(),
            limits: config.perf.limits(),
            budget: config.perf.budget.probability(),
            seed: 0,
            all: false,
            checks: Some(trial.spec),
            focus: None,
        };
        let stranger = spec.trust == Trust::Stranger;
        let of = (&base, &pull.head_sha);
        jobs::insert_for(tx, repository.id, pull.number, of, &spec, stranger, now_ms).await?;
    }
    Ok(outdated)
}
