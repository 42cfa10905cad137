//! The default branch moved: its new commits become part of the history, and are measured, the newest first.

use super::reference::{self, Named};
use crate::app::App;
use crate::assess;
use crate::db::history_commits::{self, HistoryCommit};
use crate::db::jobs::{self, NewJob};
use crate::db::references::{self, Reference};
use crate::db::{Turn, Tx, new_id, repositories};
use crate::facts;
use crate::git::{GitError, History, Line, LineCommit, Wants};
use crate::pull::{RepoId, Repository};
use crate::queue::{Place, Purpose};
use crate::repo_config::{self, RepoConfig, Trigger};
use anyhow::Context;
use perfsuite::model::{Focus, JobId, JobSpec, Sha, SuiteSpec, Trust};

/// Commits of one push that are looked at, the newest: a rebase merge of a long branch. Older ones can be back-filled.
const NEW_MAX: i64 = 50;
/// Jobs of one repository's history that wait; beyond, the oldest commits are left to back-filling.
const WAITING_MAX: usize = 200;

/// Fetches the default branch and queues what is new on it.
pub async fn follow(app: &App, repository: &Repository) -> anyhow::Result<()> {
    let tip = fetch(app, repository).await?;
    let known = known_commits(app, repository.id).await?;
    let references = references::all(app.db.pool(), repository.id).await?;
    let (mirrors, id) = (app.mirrors.clone(), repository.id);
    let seen = tokio::task::spawn_blocking(move || look(&mirrors.open(id)?, &tip, &known))
        .await
        .context("reading git was ended")??;
    let seen = match seen {
        Ok(seen) => with_reference(app, repository, seen, &references).await?,
        Err(unusable) => {
            tracing::warn!(repo = %repository.name, reason = unusable, "the history is not measured");
            return Ok(());
        }
    };
    store(app, repository, &seen, &references).await
}

async fn fetch(app: &App, repository: &Repository) -> anyhow::Result<Sha> {
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let (mirrors, id, branch) = (app.mirrors.clone(), repository.id, repository.default_branch.clone());
    let fetched =
        tokio::task::spawn_blocking(move || mirrors.fetch_branch_and_tags(id, &url, Some(&token), &branch));
    Ok(fetched.await.context("fetching was ended")??)
}

/// Positions and ids of the newest commits that are stored, the newest first.
async fn known_commits(app: &App, repository: RepoId) -> sqlx::Result<Vec<(i64, Sha)>> {
    let newest =
        history_commits::newest(app.db.pool(), repository, i64::MAX, history_commits::READ_MAX).await?;
    Ok(newest.into_iter().map(|commit| (commit.position, commit.sha)).collect())
}

/// What the branch looks like now.
struct Seen {
    config: RepoConfig,
    /// The newest first.
    new: Vec<NewCommit>,
    /// Stored commits from this position on are no longer on the branch.
    gone_from: Option<i64>,
    reference: Option<Named>,
}

struct NewCommit {
    commit: LineCommit,
    /// What is to be measured; `None` where nothing that is measured can have changed.
    suites: Option<Vec<SuiteSpec>>,
}

/// Blocks. An inner error is about the repository, in words.
fn look(history: &History, tip: &Sha, known: &[(i64, Sha)]) -> Result<Result<Seen, String>, GitError> {
    let config = match assess::config_in(&facts::config_at(history, tip)?.0) {
        Ok(config) => config,
        Err(error) => {
            return Ok(Err(format!("{}, line {}: {}", error.path, error.line, error.message)));
        }
    };
    let line = history.line(tip)?;
    let gone_from = gone_from(&line, known);
    let stands = known.iter().find(|(position, _)| gone_from.is_none_or(|from| *position < from));
    let first = match stands {
        Some((position, _)) => position + 1,
        // Nothing was measured yet: history begins with what is newest.
        None => line.tip(),
    };
    let first = first.max(line.tip() - (NEW_MAX - 1));
    let mut new = Vec::new();
    for position in (first..=line.tip()).rev() {
        let commit = history.line_commit(&line, position)?;
        let suites = suites_of(history, &config, &commit)?;
        new.push(NewCommit { commit, suites });
    }
    let reference = reference::resolve(history, &config.perf.reference)?;
    Ok(Ok(Seen { config, new, gone_from, reference }))
}

/// The least stored position whose commit is no longer there. `known` has the newest first.
fn gone_from(line: &Line, known: &[(i64, Sha)]) -> Option<i64> {
    let off = known.iter().take_while(|(position, sha)| line.at(*position).as_ref() != Some(sha));
    off.last().map(|(position, _)| *position)
}

/// The suites that a commit of the default branch starts; `None` where it needs none.
pub(super) fn suites_of(
    history: &History,
    config: &RepoConfig,
    commit: &LineCommit,
) -> Result<Option<Vec<SuiteSpec>>, GitError> {
    let changed = history.changed_by(&commit.sha)?;
    // The root changes everything, and a merge may change nothing against its first parent.
    if commit.parent.is_none() {
        return Ok(Some(all_suites(config)));
    }
    Ok(repo_config::select(config, &changed, Trigger::Push { labels: &[] }).ok())
}

/// Those that a push starts.
fn all_suites(config: &RepoConfig) -> Vec<SuiteSpec> {
    config.perf.suite.iter().filter(|suite| suite.on == "push").cloned().collect()
}

/// Fetches a reference that is named by its whole id and lies elsewhere.
async fn with_reference(
    app: &App,
    repository: &Repository,
    mut seen: Seen,
    known: &[Reference],
) -> anyhow::Result<Seen> {
    let wanted = seen.config.perf.reference.clone();
    if seen.reference.is_some() || wanted == reference::LATEST_RELEASE {
        return Ok(seen);
    }
    if let Ok(sha) = wanted.parse::<Sha>() {
        let token = app.github.installation_token(repository.installation).await?;
        let url = app.github.git_url(&repository.name);
        let (mirrors, id) = (app.mirrors.clone(), repository.id);
        let wants = Wants { commits: vec![sha.clone()], ..Wants::default() };
        let fetched =
            tokio::task::spawn_blocking(move || mirrors.fetch(id, &url, Some(&token), &wants)).await;
        if fetched.context("fetching was ended")?.is_ok() {
            seen.reference = Some(Named { name: sha.short().to_owned(), sha });
            return Ok(seen);
        }
    }
    let kept = known.last().map_or("none yet", |reference| reference.name.as_str());
    tracing::warn!(repo = %repository.name, wanted, kept, "the configured reference is not there");
    Ok(seen)
}

/// What every job of a repository's history has.
pub(super) struct Order<'a> {
    pub repository: &'a Repository,
    pub config: &'a RepoConfig,
    pub trust: Trust,
    /// The benchmarks that it is about, where that is not all.
    pub focus: Option<Focus>,
    pub now_ms: i64,
}

impl Order<'_> {
    pub(super) async fn queue(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        (base, head): (&Sha, &Sha),
        suites: &[SuiteSpec],
        place: Place,
    ) -> sqlx::Result<JobId> {
        let perf = &self.config.perf;
        let spec = JobSpec {
            job: JobId(new_id()),
            repository: self.repository.name.to_string(),
            base: base.clone(),
            head: head.clone(),
            trust: self.trust,
            suites: suites.to_vec(),
            limits: perf.limits(),
            budget: perf.budget(),
            // Within what JSON numbers carry everywhere.
            seed: u64::from(rand::random::<u32>()),
            all: perf.all,
            checks: None,
            focus: self.focus.clone(),
        };
        let new = NewJob {
            repository: self.repository.id,
            purpose,
            number: 0,
            spec: &spec,
            stranger: spec.trust == Trust::Stranger,
            place,
            day_limit_ms: Some(day_limit_ms(perf.minutes_per_day)),
        };
        jobs::queue(tx, &new, self.now_ms).await?;
        Ok(spec.job)
    }

    /// Queues what a commit's point needs, and stores the commit.
    pub(super) async fn measure(
        &self,
        tx: &mut Tx,
        commit: &LineCommit,
        suites: Option<&[SuiteSpec]>,
        reference: Option<&Reference>,
        place: Place,
    ) -> sqlx::Result<()> {
        let mut row = HistoryCommit {
            position: commit.position,
            sha: commit.sha.clone(),
            parent: commit.parent.clone(),
            author: commit.author.clone(),
            subject: commit.subject.clone(),
            committed_ms: commit.committed_ms,
            pull: commit.pull,
            environment: None,
            parent_job: None,
            reference_job: None,
            reference_number: reference.map(|reference| reference.number),
        };
        if let Some(suites) = suites {
            if let Some(parent) = &commit.parent {
                let sides = (parent, &commit.sha);
                row.parent_job = Some(self.queue(tx, Purpose::Parent, sides, suites, place).await?.0);
            }
            row.reference_job = match reference {
                // Against itself there is nothing to measure.
                Some(reference) if reference.sha == commit.sha => None,
                Some(reference) if Some(&reference.sha) == commit.parent.as_ref() => row.parent_job.clone(),
                Some(reference) => {
                    let sides = (&reference.sha, &commit.sha);
                    Some(self.queue(tx, Purpose::Reference, sides, suites, place).await?.0)
                }
                None => None,
            };
        }
        history_commits::upsert(tx, self.repository.id, &row).await
    }
}

/// A day's minutes of the configuration.
pub fn day_limit_ms(minutes: f64) -> i64 {
    (minutes * 60_000.0) as i64
}

async fn store(
    app: &App,
    repository: &Repository,
    seen: &Seen,
    references: &[Reference],
) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let order = Order { repository, config: &seen.config, trust: app.config.trust, focus: None, now_ms };
    let mut tx = app.db.begin_turn(Turn::History).await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    if let Some(from) = seen.gone_from {
        tracing::info!(repo = %repository.name, from, "the default branch was rewritten");
        for job in history_commits::forget_from(&mut tx, repository.id, from).await? {
            jobs::drop_one(&mut tx, &job, "the default branch no longer has this commit", now_ms).await?;
        }
    }
    let reference = renew_reference(&mut tx, &order, seen, references).await?;
    let waiting = jobs::waiting_for(&mut tx, repository.id, &MEASURING).await?;
    if !seen.new.is_empty() {
        for job in waiting.iter().filter(|job| job.place.priority == Place::MAIN) {
            let commit = history_commits::by_sha(&mut *tx, repository.id, &job.head).await?;
            let committed_ms = commit.map_or(job.created_ms, |commit| commit.committed_ms);
            jobs::move_to(&mut tx, &job.id, Place::fill(committed_ms)).await?;
        }
    }
    for (age, new) in seen.new.iter().enumerate() {
        let place = match age {
            0 => Place::main(now_ms),
            _ => Place::fill(new.commit.committed_ms),
        };
        order.measure(&mut tx, &new.commit, new.suites.as_deref(), reference.as_ref(), place).await?;
    }
    let mut waiting = jobs::waiting_for(&mut tx, repository.id, &MEASURING).await?;
    waiting.retain(|job| job.place.priority < Place::BACKFILL);
    for job in waiting.iter().take(waiting.len().saturating_sub(WAITING_MAX)) {
        jobs::drop_one(&mut tx, &job.id, "newer commits; `paceline history backfill` measures it", now_ms)
            .await?;
    }
    tx.commit().await?;
    app.wake.jobs.notify_waiters();
    app.wake.history.notify_one();
    Ok(())
}

const MEASURING: [Purpose; 2] = [Purpose::Parent, Purpose::Reference];

/// The reference that holds: a new one where the configuration's word means another commit now, with a run that links
/// it to the one before. Without any, the first measured commit's parent.
async fn renew_reference(
    tx: &mut Tx,
    order: &Order<'_>,
    seen: &Seen,
    known: &[Reference],
) -> anyhow::Result<Option<Reference>> {
    let held = known.last();
    let wanted = match (&seen.reference, held) {
        (Some(named), Some(held)) if named.sha == held.sha => return Ok(Some(held.clone())),
        (Some(named), _) => named.clone(),
        (None, Some(held)) => return Ok(Some(held.clone())),
        (None, None) => {
            let Some(new) = seen.new.first() else { return Ok(None) };
            let sha = new.commit.parent.clone().unwrap_or_else(|| new.commit.sha.clone());
            Named { sha, name: "where the history begins".into() }
        }
    };
    let number = held.map_or(1, |held| held.number + 1);
    let new = Reference { number, sha: wanted.sha, name: wanted.name, since_ms: order.now_ms };
    references::insert(tx, order.repository.id, &new).await?;
    if let Some(held) = held {
        let (suites, place) = (all_suites(order.config), Place::main(order.now_ms));
        order.queue(tx, Purpose::Overlap, (&held.sha, &new.sha), &suites, place).await?;
    }
    Ok(Some(new))
}
