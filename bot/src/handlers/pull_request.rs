//! A pull request was opened, changed or closed: judge its commits, and measure its head if there is reason to.

use super::{load_repository_and_settings, mirrored, reviews, trial, what_if};
use crate::activity;
use crate::app::App;
use crate::assess::{self, Assessment, Plan, Whose};
use crate::conventions::landing::Opened;
use crate::db::jobs::{Job, Kind, NewJob};
use crate::db::judgements::{self, Judgement};
use crate::db::pulls::PullRow;
use crate::db::{Tx, clocks, dossiers, jobs, opt_outs, pulls, repositories, repository_settings};
use crate::dossier;
use crate::errands;
use crate::event::Place;
use crate::facts::GitFacts;
use crate::history::follow;
use crate::judgement::ReviewsJudgement;
use crate::policy;
use crate::pull::{PullRequest, PullState, Repository};
use crate::queue::{self, JobState, Purpose};
use crate::repo_config::Trigger;
use crate::runs;
use anyhow::Context;
use perfsuite::model::{Sha, SuiteSpec, Trust};

/// Why the facts are loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Something changed: measure only what was not measured.
    Facts,
    /// Somebody wants this head measured again.
    Again,
    /// Somebody wants its checks run again.
    Checks,
    /// Both.
    All,
}

impl Ask {
    pub fn measures_again(self) -> bool {
        matches!(self, Ask::Again | Ask::All)
    }

    pub fn checks_again(self) -> bool {
        matches!(self, Ask::Checks | Ask::All)
    }
}

/// Loads the facts of a pull request, judges them, and queues what follows.
pub async fn refresh(app: &App, place: &Place, number: u64, ask: Ask) -> anyhow::Result<()> {
    load_and_judge(app, place, number, ask, None).await.map(drop)
}

/// The same where somebody asks for one suite. The inner error says in words why it is not measured.
pub async fn refresh_suite(
    app: &App,
    place: &Place,
    number: u64,
    suite: &str,
) -> anyhow::Result<Result<(), String>> {
    load_and_judge(app, place, number, Ask::Again, Some(suite)).await
}

async fn load_and_judge(
    app: &App,
    place: &Place,
    number: u64,
    ask: Ask,
    suite: Option<&str>,
) -> anyhow::Result<Result<(), String>> {
    let (repository, settings) = load_repository_and_settings(app, place).await?;
    let (pull, text) = app.github.pull_request_and_text(&repository, number).await?;
    if pull.state != PullState::Open {
        close(app, &repository, &pull).await?;
        return Ok(Err("The pull request is closed.".into()));
    }
    let found = match git_facts(app, &repository, &pull).await? {
        Ok(facts) => {
            let opened = Opened {
                number,
                head: pull.head_sha.clone(),
                title: pull.title.clone(),
                body: text.body,
                settings,
                auto_merge: text.auto_merge,
            };
            let what_if = what_if::ask(app, &repository, &pull, &facts).await?;
            let whose = Whose::Opened { author: &pull.author, opened: &opened, what_if: what_if.as_ref() };
            let assessment = assess::assess(&facts, whose, trigger(&pull, ask, suite));
            // What is there already stays as it is.
            if let (Some(_), Err(reason)) = (suite, &assessment.plan) {
                return Ok(Err(format!("Nothing is measured: {reason}.")));
            }
            let reviews = reviews::judge(app, &repository, &pull, &facts, &assessment.config.reviews).await?;
            let (asked, config) = (assessment.tests.as_ref(), &assessment.config);
            let trial = trial::plan(app, &repository, &pull, &facts, asked, config, ask).await?;
            let merge = Some((facts.merge_base.clone(), facts.mergeable()));
            let (reviews, of_reviews) = reviews.unzip();
            let untried = match &trial {
                trial::Plan::Skipped(reason) => Some(reason.clone()),
                _ => None,
            };
            let kept = dossier::Facts {
                base_tip: pull.base_sha.clone(),
                head: pull.head_sha.clone(),
                author: pull.author.clone(),
                labels: pull.labels.clone(),
                asked: ask.measures_again(),
                suite: suite.map(str::to_owned),
                opened,
                reviews: of_reviews,
                what_if,
                untried,
            };
            Found { assessment, reviews, trial, merge, kept: Some((kept, facts.config_id)) }
        }
        Err(reason) => Found {
            assessment: assess::unreadable(&pull, &reason),
            reviews: None,
            trial: trial::Plan::Nothing,
            merge: None,
            kept: None,
        },
    };
    decide(app, &repository, &pull, found, ask).await.map(Ok)
}

/// What was found out about a pull request's head.
struct Found {
    assessment: Assessment,
    reviews: Option<ReviewsJudgement>,
    trial: trial::Plan,
    /// The merge base, and whether it merges; `None` where git's facts cannot be judged.
    merge: Option<(Sha, &'static str)>,
    /// What it was judged by, beside git's facts, and git's id of the configuration.
    kept: Option<(dossier::Facts, Option<Sha>)>,
}

fn trigger<'a>(pull: &'a PullRequest, ask: Ask, suite: Option<&'a str>) -> Trigger<'a> {
    match ask {
        Ask::Facts | Ask::Checks => Trigger::Push { labels: &pull.labels },
        Ask::Again | Ask::All => Trigger::Command { suite },
    }
}

/// Stores what was found, supersedes what is out of date, queues the job and the writes: one transaction.
async fn decide(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    found: Found,
    ask: Ask,
) -> anyhow::Result<()> {
    let Found { assessment, reviews, trial, merge, kept } = found;
    let unwanted = policy::not_measured_because(pull)
        .or_else(|| policy::fork_not_measured_because(pull, assessment.config.perf.forks));
    let plan = match unwanted {
        Some(reason) => Err(reason.to_owned()),
        None => assessment.plan,
    };
    let mut tests = assessment.tests;
    if let (Some(tests), trial::Plan::Skipped(reason)) = (&mut tests, &trial) {
        tests.skipped = Some(reason.clone());
    }
    let judgement = Judgement {
        commits: assessment.commits,
        config_error: assessment.config_error,
        reviews,
        tests,
        label: Some(assessment.config.labels.perf_regression.clone()),
        skipped: plan.as_ref().err().cloned(),
    };
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    let new = pulls::get(&mut *tx, repository.id, pull.number).await?.is_none();
    pulls::upsert(&mut tx, repository.id, pull, now_ms).await?;
    if let Some((merge_base, mergeable)) = &merge {
        pulls::set_merge(&mut tx, repository.id, pull.number, merge_base, mergeable).await?;
    }
    judgements::upsert(&mut tx, repository.id, pull.number, &pull.head_sha, &judgement, now_ms).await?;
    if merge.is_some() && judgement.config_error.is_none() && pull.base_ref == repository.default_branch {
        let settings = (&assessment.config).into();
        repository_settings::upsert(&mut tx, repository.id, &settings, now_ms).await?;
    }
    if let Some((facts, config)) = &kept {
        dossiers::judged(&mut tx, repository.id, dossier::RULES, config.as_ref(), facts, now_ms).await?;
    }
    if merge.is_some() {
        let config = &assessment.config.reviews;
        clocks::targets(&mut tx, repository.id, pull.number, config.triage_days, config.review_days).await?;
        clocks::ended(&mut tx, repository.id, pull.number, None).await?;
        if let Some(reviews) = &judgement.reviews {
            let approved = reviews.owned > 0 && reviews.lacking() == 0;
            clocks::approved(&mut tx, repository.id, pull.number, approved, now_ms).await?;
        }
    }
    let row =
        pulls::get(&mut *tx, repository.id, pull.number).await?.context("the row that was just written")?;
    let keep = plan.is_ok().then_some(merge.as_ref()).flatten().map(|(base, _)| (&pull.head_sha, base));
    let by = if plan.is_ok() { "a newer push" } else { "a change of the pull request" };
    let mut outdated =
        jobs::supersede(&mut tx, Kind::Measure, repository.id, pull.number, keep, by, now_ms).await?;
    let (head, by_push) = (Some(&pull.head_sha), "a newer push");
    errands::leave_behind(&mut tx, repository, pull.number, head, by_push, now_ms).await?;
    // Before what is measured: checks end sooner, and say more of whether the rest is worth it.
    outdated.extend(trial::queue(&mut tx, app, repository, &row, trial, &assessment.config).await?);
    for head in outdated.iter().filter(|head| **head != pull.head_sha) {
        runs::retire(&mut tx, app, repository, head).await?;
    }
    if let Ok(plan) = plan
        && row.may_run()
    {
        queue_job(&mut tx, app, repository, &row, plan, ask).await?;
    }
    runs::publish(&mut tx, app, repository, pull.number).await?;
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.jobs.notify_waiters();
    if new {
        count_anew(app, repository, pull).await?;
    }
    Ok(())
}

/// The comments say which of their author's pull requests they are about. Deliveries come in any order, so those of
/// later ones may have been written first, or at the same time.
async fn count_anew(app: &App, repository: &Repository, pull: &PullRequest) -> anyhow::Result<()> {
    for number in pulls::open_by_author(&app.db, repository.id, &pull.author, pull.number).await? {
        runs::republish(app, repository.id, number).await?;
    }
    Ok(())
}

async fn queue_job(
    tx: &mut Tx,
    app: &App,
    repository: &Repository,
    row: &PullRow,
    plan: Plan,
    ask: Ask,
) -> anyhow::Result<()> {
    let pull = &row.pull;
    let merge_base = row.merge_base.clone().context("a merge base was just stored")?;
    let newest = jobs::newest(&mut **tx, repository.id, pull.number, &pull.head_sha).await?;
    if let Some(job) = newest.as_ref().filter(|job| stands(job, &merge_base, &plan.suites, ask)) {
        if ask.measures_again() {
            jobs::lift_limit(tx, &job.id).await?;
        }
        return Ok(());
    }
    let now_ms = app.clock.now_ms();
    if let Some(narrower) = newest.filter(|job| !job.state.ended()) {
        jobs::drop_one(tx, &narrower.id, "a run of more suites", now_ms).await?;
    }
    let minutes_per_day = plan.minutes_per_day;
    let spec = mirrored::job(app, repository, plan, (merge_base, pull.head_sha.clone()));
    let new = NewJob {
        repository: repository.id,
        purpose: Purpose::Pull,
        number: pull.number,
        spec: &spec,
        stranger: spec.trust == Trust::Stranger,
        place: queue::Place::pull(now_ms, jobs::cost_ms(&spec)),
        // Who asks for a run has it, whatever the day's minutes.
        day_limit_ms: (!ask.measures_again()).then_some(follow::day_limit_ms(minutes_per_day)),
    };
    jobs::queue(tx, &new, now_ms).await?;
    Ok(())
}

/// Whether a job of this head does what is wanted. A label may have brought more suites since.
fn stands(job: &Job, merge_base: &Sha, suites: &[SuiteSpec], ask: Ask) -> bool {
    let again = ask.measures_again() && job.state.ended();
    let has = |wanted: &SuiteSpec| job.spec.suites.iter().any(|suite| suite.name == wanted.name);
    // Without any, a job measures whatever the workspace has.
    let covers = job.spec.suites.is_empty() || (!suites.is_empty() && suites.iter().all(has));
    // A cancelled job stays cancelled until somebody asks; a superseded one is taken up again.
    job.base == *merge_base && !again && job.state != JobState::Superseded && covers
}

async fn close(app: &App, repository: &Repository, pull: &PullRequest) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    let mut kept = pull.clone();
    if opt_outs::has(&mut *tx, &pull.author).await? {
        kept.author = activity::GHOST.into();
    }
    pulls::upsert(&mut tx, repository.id, &kept, now_ms).await?;
    let by = match pull.state {
        PullState::Merged => "the merge of the pull request",
        _ => "the closing of the pull request",
    };
    clocks::ended(&mut tx, repository.id, pull.number, Some(now_ms)).await?;
    let mut ended = Vec::new();
    for kind in [Kind::Measure, Kind::Check] {
        ended.extend(jobs::supersede(&mut tx, kind, repository.id, pull.number, None, by, now_ms).await?);
    }
    errands::leave_behind(&mut tx, repository, pull.number, None, by, now_ms).await?;
    if !ended.is_empty() {
        runs::publish(&mut tx, app, repository, pull.number).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    if pull.state == PullState::Merged {
        // It counts in the record that the comments of later ones tell.
        count_anew(app, repository, pull).await?;
    }
    Ok(())
}

/// The facts, or in words why they are beyond what is judged.
async fn git_facts(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
) -> anyhow::Result<Result<GitFacts, String>> {
    let (base, head) = (pull.base_sha.clone(), pull.head_sha.clone());
    mirrored::read(app, repository, mirrored::wants_of(pull), move |history| {
        GitFacts::read(history, &base, &head)
    })
    .await
}
