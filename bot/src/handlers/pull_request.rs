//! A pull request was opened, changed or closed: judge its commits, and measure its head if there is reason to.

use super::load_repository;
use crate::app::App;
use crate::conventions::commits;
use crate::db::judgements::{self, Judgement};
use crate::db::pulls::PullRow;
use crate::db::{Tx, jobs, new_id, pulls, repositories};
use crate::event::Place;
use crate::judgement::ConfigError;
use crate::policy;
use crate::pull::{Commit, PullRequest, PullState, Repository};
use crate::queue::JobState;
use crate::repo_config::{self, RepoConfig};
use crate::runs;
use anyhow::Context;
use perfsuite::model::{JobId, JobLimits, JobSpec, Sha, SuiteSpec, Trust};

/// Where the repository's own configuration lives.
pub const CONFIG_PATH: &str = ".github/paceline.toml";
/// Commits of one pull request that are judged; more fail closed, in words.
const COMMITS_MAX: usize = 5_000;

/// Why the facts are loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Something changed: measure only what was not measured.
    Facts,
    /// Somebody wants this head measured again.
    Again,
}

/// What git tells about a pull request.
struct GitFacts {
    merge_base: Sha,
    /// `clean` or `conflict`.
    mergeable: &'static str,
    commits: Vec<Commit>,
    changed: Vec<String>,
    config: Option<Vec<u8>>,
}

/// Loads the facts of a pull request, judges them, and queues what follows.
pub async fn refresh(app: &App, place: &Place, number: u64, ask: Ask) -> anyhow::Result<()> {
    let repository = load_repository(app, place).await?;
    let pull = app.github.pull_request(&repository, number).await?;
    if pull.state != PullState::Open {
        return close(app, &repository, &pull).await;
    }
    let facts = git_facts(app, &repository, &pull).await?;
    let config = facts.config.as_deref().map_or(Ok(RepoConfig::default()), |text| {
        repo_config::parse_bytes(text, CONFIG_PATH).map_err(|errors| errors.into_iter().next())
    });
    let (judgement, suites) = judge(&pull, &facts, config);

    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, &repository, now_ms).await?;
    pulls::upsert(&mut tx, repository.id, &pull, now_ms).await?;
    pulls::set_merge(&mut tx, repository.id, number, &facts.merge_base, facts.mergeable).await?;
    judgements::upsert(&mut tx, repository.id, number, &pull.head_sha, &judgement, now_ms).await?;
    let row = pulls::get(&mut *tx, repository.id, number).await?.context("the row that was just written")?;
    let keep = suites.as_ref().map(|_| (&pull.head_sha, &facts.merge_base));
    jobs::supersede(&mut tx, repository.id, number, keep, now_ms).await?;
    if let Some(plan) = suites
        && row.may_run()
    {
        queue_job(&mut tx, &repository, &row, &facts.merge_base, plan, ask, now_ms).await?;
    }
    runs::publish(&mut tx, app, &repository, number).await?;
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.jobs.notify_waiters();
    Ok(())
}

/// What is to be measured, by the configuration of the base.
struct Plan {
    suites: Vec<SuiteSpec>,
    budget: f64,
    minutes: f64,
}

/// Pure: commits' findings, and the suites to run or the reason why none.
fn judge(
    pull: &PullRequest,
    facts: &GitFacts,
    config: Result<RepoConfig, Option<ConfigError>>,
) -> (Judgement, Option<Plan>) {
    let (config, config_error) = match config {
        Ok(config) => (config, None),
        Err(error) => (RepoConfig::default(), error),
    };
    let planned = if config_error.is_some() {
        Err("the configuration cannot be read".to_owned())
    } else if let Some(reason) = policy::not_measured_because(pull) {
        Err(reason.to_owned())
    } else {
        repo_config::suites_for(&config, &facts.changed)
    };
    let judgement = Judgement {
        commits: commits::judge(&facts.commits, &config.commits),
        config_error,
        skipped: planned.as_ref().err().cloned(),
    };
    let plan = planned.ok().map(|suites| Plan {
        suites,
        budget: config.perf.budget(),
        minutes: config.perf.minutes_per_run,
    });
    (judgement, plan)
}

async fn queue_job(
    tx: &mut Tx,
    repository: &Repository,
    row: &PullRow,
    merge_base: &Sha,
    plan: Plan,
    ask: Ask,
    now_ms: i64,
) -> anyhow::Result<()> {
    let pull = &row.pull;
    let newest = jobs::newest(&mut **tx, repository.id, pull.number, &pull.head_sha).await?;
    let stands = newest.is_some_and(|job| {
        let same = job.base == *merge_base;
        let again = ask == Ask::Again && job.state.ended();
        // A cancelled job stays cancelled until somebody asks; a superseded one is taken up again.
        same && !again && job.state != JobState::Superseded
    });
    if stands {
        return Ok(());
    }
    let spec = JobSpec {
        job: JobId(new_id()),
        repository: repository.name.to_string(),
        base: merge_base.clone(),
        head: pull.head_sha.clone(),
        trust: Trust::Stranger,
        suites: plan.suites,
        limits: JobLimits { measure_seconds: (plan.minutes * 60.0) as u64, ..JobLimits::default() },
        budget: plan.budget,
        seed: rand::random(),
    };
    jobs::insert(tx, repository.id, pull.number, &spec, true, now_ms).await?;
    Ok(())
}

async fn close(app: &App, repository: &Repository, pull: &PullRequest) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    pulls::upsert(&mut tx, repository.id, pull, now_ms).await?;
    if jobs::supersede(&mut tx, repository.id, pull.number, None, now_ms).await? > 0 {
        runs::publish(&mut tx, app, repository, pull.number).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    Ok(())
}

async fn git_facts(app: &App, repository: &Repository, pull: &PullRequest) -> anyhow::Result<GitFacts> {
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let mirrors = app.mirrors.clone();
    let (id, pull) = (repository.id, pull.clone());
    tokio::task::spawn_blocking(move || {
        let mirror = mirrors.fetch(id, &url, Some(&token), &pull)?;
        let merge_base = mirror.merge_base(&pull.base_sha, &pull.head_sha)?;
        Ok(GitFacts {
            mergeable: if mirror.merges_cleanly(&pull.base_sha, &pull.head_sha)? { "clean" } else { "conflict" },
            commits: mirror.commits(&merge_base, &pull.head_sha, COMMITS_MAX)?,
            changed: mirror.changed_paths(&merge_base, &pull.head_sha)?,
            config: mirror.blob_at(&pull.base_sha, CONFIG_PATH, repo_config::CONFIG_MAX_BYTES)?,
            merge_base,
        })
    })
    .await
    .context("reading git was ended")?
}
