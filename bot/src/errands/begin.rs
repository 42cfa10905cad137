//! The beginning of an errand: is there such a thing to do, may it be done, and with which commits.

use super::pick::{Picked, pick};
use super::{Errand, Order, RUNNING_MAX, Search, SearchCommit, queue, reply, spec, tell};
use crate::app::App;
use crate::assess;
use crate::db::errands::{self, NewErrand};
use crate::db::{jobs, pulls, repositories};
use crate::facts;
use crate::git::{GitError, History, Wants};
use crate::handlers::mirrored;
use crate::history::bisect::{MINUTES_MAX, suite_of};
use crate::history::reference::{self, Named};
use crate::policy;
use crate::pull::{PullRequest, Repository};
use crate::queue::Place;
use crate::render::markdown::prose;
use crate::repo_config::{self, RepoConfig, Trigger};
use anyhow::Context;
use perfsuite::bisect::{Step, next};
use perfsuite::model::{BenchmarkId, Focus, JobLimits, Report, Sha};
use std::collections::HashSet;

/// Commits of a pull request that are searched: as many as are judged.
const COMMITS_MAX: usize = 5_000;
/// Most measuring of a profile's job: it is about one benchmark, and the clock is not asked.
const PROFILE_SECONDS_MAX: u64 = 60;
const REASON_MAX_GRAPHEMES: usize = 600;
const SUBJECT_MAX_CHARS: usize = 100;

/// What is asked for, and where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub number: u64,
    /// The command, which is answered.
    pub comment: i64,
    pub wanted: Wanted<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Against { suite: Option<&'a str>, name: &'a str },
    Profile { benchmark: Option<&'a str> },
    Bisect { benchmark: Option<&'a str> },
}

/// Begins it, with a reply that is renewed later. The inner error is why not, as Markdown.
pub async fn begin(
    app: &App,
    repository: &Repository,
    request: Request<'_>,
) -> anyhow::Result<Result<(), String>> {
    let refuse = |reason: String| Ok(Err(prose(&reason, REASON_MAX_GRAPHEMES)));
    if errands::known(app.db.pool(), repository.id, request.comment).await? {
        return Ok(Ok(()));
    }
    let pull = app.github.pull_request(repository, request.number).await?;
    if let Some(reason) = policy::not_measured_because(&pull) {
        return refuse(format!("Nothing is measured: {reason}."));
    }
    let approved = pulls::get(app.db.pool(), repository.id, pull.number).await?;
    let approved = approved.and_then(|row| row.approved_sha);
    if pull.from_fork && approved.as_deref() != Some(pull.head_sha.as_str()) {
        return refuse(format!(
            "Nobody has allowed this fork's head to run. Look at it, then write `/paceline run {}`.",
            pull.head_sha
        ));
    }
    let report = jobs::newest(app.db.pool(), repository.id, pull.number, &pull.head_sha).await?;
    let report = report.and_then(|job| job.report);
    let plan = match plan(app, repository, &pull, request.wanted, report).await? {
        Ok(plan) => plan,
        Err(reason) => return refuse(reason),
    };
    let now_ms = app.clock.now_ms();
    let spec = spec(app, repository, (&plan.base, &plan.head), &plan.order, plan.focus);
    let place = match plan.errand {
        Errand::Bisect(_) => Place::bisect(now_ms),
        _ => Place::pull(now_ms, jobs::cost_ms(&spec)),
    };
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    if errands::running(&mut tx, repository.id, pull.number).await?.len() >= RUNNING_MAX {
        return refuse(format!(
            "{RUNNING_MAX} such requests are under way for this pull request already; `/paceline cancel` ends them."
        ));
    }
    queue(&mut tx, repository, &spec, place, now_ms).await?;
    let new = NewErrand {
        repository: repository.id,
        number: pull.number,
        comment: request.comment,
        head: &pull.head_sha,
        errand: &plan.errand,
        job: &spec.job,
    };
    let Some(row) = errands::insert(&mut tx, &new, now_ms).await? else { return Ok(Ok(())) };
    let url = format!("{}/runs/{}", app.public_url, spec.job);
    tell(&mut tx, repository, &row, reply::begun(&plan.errand, &pull.head_sha, &url), now_ms).await?;
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.jobs.notify_waiters();
    Ok(Ok(()))
}

/// An errand and its first job.
struct Plan {
    errand: Errand,
    base: Sha,
    head: Sha,
    order: Order,
    focus: Focus,
}

/// The inner error says in words why there is nothing to do.
async fn plan(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    wanted: Wanted<'_>,
    report: Option<Report>,
) -> anyhow::Result<Result<Plan, String>> {
    let picked = match wanted {
        Wanted::Against { .. } => None,
        Wanted::Profile { benchmark } | Wanted::Bisect { benchmark } => {
            match pick(report.as_ref(), benchmark) {
                Ok(picked) => Some(picked),
                Err(reason) => return Ok(Err(reason)),
            }
        }
    };
    let base = match fetched(app, repository, pull, wanted).await? {
        Ok(base) => base,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mirrors, id, pull) = (app.mirrors.clone(), repository.id, pull.clone());
    let suite = match wanted {
        Wanted::Against { suite, .. } => suite.map(str::to_owned),
        _ => None,
    };
    let searches = matches!(wanted, Wanted::Bisect { .. });
    let planned = move || -> anyhow::Result<Result<Plan, String>> {
        let history = mirrors.open(id)?;
        let config = match assess::config_in(&facts::config_at(&history, &pull.base_sha)?.0) {
            Ok(config) => config,
            Err(error) => return Ok(Err(format!("{} cannot be used: {}", error.path, error.message))),
        };
        if let Some(reason) = policy::fork_not_measured_because(&pull, config.perf.forks) {
            return Ok(Err(format!("Nothing is measured: {reason}.")));
        }
        let merge_base = history.merge_base(&pull.base_sha, &pull.head_sha)?;
        match picked {
            None => against(&config, suite.as_deref(), base, &pull),
            Some(picked) if searches => {
                let commits = line(&history, &merge_base, &pull.head_sha)?;
                bisect(&config, picked, merge_base, commits)
            }
            Some(picked) => Ok(Ok(profile(&config, picked, merge_base, &pull))),
        }
    };
    let planned = tokio::task::spawn_blocking(planned).await.context("planning was ended")?;
    // What git says of such a range is for the person.
    planned.or_else(|error| match error.downcast_ref::<GitError>() {
        Some(known @ (GitError::TooMany { .. } | GitError::NoMergeBase(_) | GitError::Range(_))) => {
            Ok(Err(known.to_string()))
        }
        _ => Err(error),
    })
}

fn profile(config: &RepoConfig, picked: Picked, merge_base: Sha, pull: &PullRequest) -> Plan {
    let limits = config.perf.limits();
    let measure_seconds = limits.measure_seconds.min(PROFILE_SECONDS_MAX);
    Plan {
        order: order(config, &picked, JobLimits { measure_seconds, ..limits }),
        focus: Focus {
            benchmarks: vec![BenchmarkId(picked.benchmark.clone())],
            profile: true,
            ..Focus::default()
        },
        errand: Errand::Profile { base: merge_base.clone(), benchmark: picked.benchmark },
        base: merge_base,
        head: pull.head_sha.clone(),
    }
}

fn bisect(
    config: &RepoConfig,
    picked: Picked,
    good: Sha,
    commits: Vec<SearchCommit>,
) -> anyhow::Result<Result<Plan, String>> {
    if let [only] = commits.as_slice() {
        let sha = only.sha.short();
        return Ok(Err(format!("The pull request has one commit, `{sha}`: there is nothing to search.")));
    }
    let mut perf = config.perf.clone();
    perf.minutes_per_run = perf.minutes_per_run.min(MINUTES_MAX);
    let search = Search {
        order: order(config, &picked, perf.limits()),
        benchmark: picked.benchmark,
        metric: picked.metric,
        good,
        commits,
        seen: Vec::new(),
        outcome: None,
    };
    let Step::Compare { before, at } = next(search.commits.len(), &search.seen)? else {
        anyhow::bail!("a search begins with a comparison");
    };
    let (base, head) = search.sides(before, at);
    let (order, focus) = (search.order.clone(), search.focus(before));
    Ok(Ok(Plan { errand: Errand::Bisect(Box::new(search)), base, head, order, focus }))
}

/// The suite of one benchmark.
fn order(config: &RepoConfig, picked: &Picked, limits: JobLimits) -> Order {
    let suites = vec![suite_of(config, &picked.suite)];
    Order { suites, limits, budget: config.perf.budget.probability() }
}

fn against(
    config: &RepoConfig,
    suite: Option<&str>,
    base: Option<Base>,
    pull: &PullRequest,
) -> anyhow::Result<Result<Plan, String>> {
    let base = base.context("a comparison has a base")?;
    if base.named.sha == pull.head_sha {
        return Ok(Err("That is the head itself: there is nothing to compare.".into()));
    }
    let suites = match repo_config::select(config, &[], Trigger::Command { suite }) {
        Ok(suites) => suites,
        Err(reason) => return Ok(Err(format!("Nothing is measured: {reason}."))),
    };
    Ok(Ok(Plan {
        errand: Errand::Against { base: base.named.sha.clone(), name: base.named.name },
        base: base.named.sha,
        head: pull.head_sha.clone(),
        order: Order { suites, limits: config.perf.limits(), budget: config.perf.budget.probability() },
        focus: Focus { passing_base: !base.taken, ..Focus::default() },
    }))
}

/// What a person named to measure against.
struct Base {
    named: Named,
    /// A commit of the branch that the pull request goes to.
    taken: bool,
}

/// Brings what is wanted into the mirror. The base, where one was named; the inner error says why it cannot be one.
async fn fetched(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    wanted: Wanted<'_>,
) -> anyhow::Result<Result<Option<Base>, String>> {
    if let Err(reason) = mirrored::read(app, repository, mirrored::wants_of(pull), |_| Ok(())).await? {
        return Ok(Err(reason));
    }
    let Wanted::Against { name, .. } = wanted else { return Ok(Ok(None)) };
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let (mirrors, id, pull, name) = (app.mirrors.clone(), repository.id, pull.clone(), name.to_owned());
    let find = move || -> anyhow::Result<Result<Option<Base>, String>> {
        mirrors.fetch_branch_and_tags(id, &url, Some(&token), &pull.base_ref)?;
        let named = match reference::resolve(&mirrors.open(id)?, &name)? {
            Some(named) => named,
            None => {
                // A branch, then; what is no name at all is not there either.
                let wants = Wants { branches: vec![name.clone()], ..Wants::default() };
                match mirrors.fetch(id, &url, Some(&token), &wants) {
                    Ok(fetched) => match fetched.branches.get(&name) {
                        Some(sha) => Named { sha: sha.clone(), name: name.clone() },
                        None => return Ok(Err(no_such(&name))),
                    },
                    Err(error) if error.absent() => return Ok(Err(no_such(&name))),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let history = mirrors.open(id)?;
        let within = |tip: &Sha| history.merge_base(&named.sha, tip).is_ok_and(|base| base == named.sha);
        let taken = within(&pull.base_sha);
        // By its digits alone any commit can be named that was ever seen, also of a fork that nobody allowed to run.
        let by_digits = named.sha.as_str().starts_with(&name.to_ascii_lowercase());
        if by_digits && !taken && !within(&pull.head_sha) {
            return Ok(Err(format!(
                "`{}` is a commit neither of `{}` nor of this pull request. Name a branch or a tag that has it.",
                named.sha.short(),
                pull.base_ref
            )));
        }
        Ok(Ok(Some(Base { named, taken })))
    };
    tokio::task::spawn_blocking(find).await.context("fetching was ended")?
}

fn no_such(name: &str) -> String {
    format!("There is no tag, branch or commit {}.", crate::text::quoted(name))
}

/// The pull request's own commits along first parents, oldest first.
fn line(history: &History, base: &Sha, head: &Sha) -> Result<Vec<SearchCommit>, GitError> {
    let own: HashSet<Sha> =
        history.commits(base, head, COMMITS_MAX)?.into_iter().map(|commit| commit.sha).collect();
    let line = history.line(head)?;
    let mut commits = Vec::new();
    for position in (0..=line.tip()).rev() {
        let commit = history.line_commit(&line, position)?;
        if !own.contains(&commit.sha) {
            break;
        }
        let subject = commit.subject.chars().take(SUBJECT_MAX_CHARS).collect();
        commits.push(SearchCommit { sha: commit.sha, subject });
    }
    commits.reverse();
    Ok(commits)
}
