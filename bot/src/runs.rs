//! Puts a run together from what is stored, and queues what GitHub should show of it.

use crate::app::App;
use crate::conventions::claims;
use crate::db::jobs::{Job, Kind};
use crate::db::judgements::{self, Judgement};
use crate::db::pulls::{self, PullRow};
use crate::db::{
    Tx, acceptances, activity, clocks, dossiers, errands, history_commits, jobs, opt_outs, repositories,
    runners, writes,
};
use crate::disk;
use crate::dossier::{self, Scene};
use crate::format;
use crate::judgement::{AuthorRecord, Checks, Performance, RUN_SCHEMA, Run, TestsAsked, TestsJudgement};
use crate::outgoing::{CheckStatus, Conclusion, LabelState, Outgoing};
use crate::pull::{PullRequest, PullState, RepoId, Repository};
use crate::queue::{self, JobState, Purpose};
use perfsuite::model::{JobId, Sha};
use sqlx::AnyConnection;

/// A runner not heard of for this long is not counted as waiting for work.
pub const RUNNER_ALIVE_MS: i64 = 90_000;

/// A run and the job behind its performance part.
pub struct Loaded {
    pub run: Run,
    pub row: PullRow,
    pub job: Option<Job>,
    /// The job behind the tests' part.
    pub check_job: Option<Job>,
    /// The label of a slowdown that blocks.
    pub label: Option<String>,
}

/// Everything known about the present head of a pull request; `None` before it was judged.
pub async fn load(
    on: &mut AnyConnection,
    repository: &Repository,
    number: u64,
    now_ms: i64,
) -> sqlx::Result<Option<Loaded>> {
    let Some(row) = pulls::get(&mut *on, repository.id, number).await? else { return Ok(None) };
    let job = jobs::newest(&mut *on, repository.id, number, &row.pull.head_sha).await?;
    let head = row.pull.head_sha.clone();
    let Some(judgement) = judgements::get(&mut *on, repository.id, number, &head).await? else {
        return Ok(None);
    };
    put_together(on, repository, row, head, judgement, job, now_ms).await.map(Some)
}

/// Everything known about the head that a job measured, which need not be the present one. What is no longer known of
/// its commits is left out.
pub async fn of_job(
    on: &mut AnyConnection,
    repository: &Repository,
    job: Job,
    now_ms: i64,
) -> sqlx::Result<Option<Loaded>> {
    let head = job.head.clone();
    if job.purpose != Purpose::Pull {
        let row = of_history(on, repository, &job).await?;
        return put_together(on, repository, row, head, Judgement::default(), Some(job), now_ms)
            .await
            .map(Some);
    }
    let Some(row) = pulls::get(&mut *on, repository.id, job.number).await? else { return Ok(None) };
    let judgement = judgements::get(&mut *on, repository.id, job.number, &head).await?.unwrap_or_default();
    let job = match Kind::of(&job.spec) {
        Kind::Measure => Some(job),
        Kind::Check => jobs::newest(&mut *on, repository.id, job.number, &head).await?,
    };
    put_together(on, repository, row, head, judgement, job, now_ms).await.map(Some)
}

/// What stands in a pull request's place where a commit of the default branch was measured.
async fn of_history(on: &mut AnyConnection, repository: &Repository, job: &Job) -> sqlx::Result<PullRow> {
    let commit = history_commits::by_sha(&mut *on, repository.id, &job.head).await?;
    let against = match job.purpose {
        Purpose::Reference => "against the reference",
        Purpose::Overlap => "a new reference against the one before it",
        Purpose::Bisect => "searching for a change",
        Purpose::Group => "a merge queue's group",
        Purpose::Asked => "as somebody asked",
        Purpose::Pull | Purpose::Parent => "against its parent",
    };
    let errand = match job.purpose {
        Purpose::Asked => errands::of_job(&mut *on, &job.id).await?,
        _ => None,
    };
    let of_pull = errand.map(|errand| format!("{} of pull request #{}", job.head.short(), errand.number));
    let subject = match (&of_pull, &commit) {
        (Some(of_pull), _) => of_pull.as_str(),
        (None, Some(commit)) => commit.subject.as_str(),
        (None, None) => job.head.short(),
    };
    Ok(PullRow {
        repository: repository.id,
        pull: PullRequest {
            number: 0,
            title: format!("{subject}, {against}"),
            author: commit.as_ref().map(|commit| commit.author.clone()).unwrap_or_default(),
            author_is_bot: false,
            state: PullState::Merged,
            draft: false,
            base_ref: repository.default_branch.clone(),
            base_sha: job.base.clone(),
            head_ref: repository.default_branch.clone(),
            head_sha: job.head.clone(),
            from_fork: false,
            labels: Vec::new(),
            opened_ms: job.created_ms,
        },
        merge_base: Some(job.base.clone()),
        mergeable: None,
        approved_sha: None,
        approved_by: None,
        updated_ms: job.created_ms,
    })
}

async fn put_together(
    on: &mut AnyConnection,
    repository: &Repository,
    row: PullRow,
    head: Sha,
    judgement: Judgement,
    job: Option<Job>,
    now_ms: i64,
) -> sqlx::Result<Loaded> {
    let performance = performance(on, &row, &judgement, job.as_ref(), now_ms).await?;
    let base = job.as_ref().map(|job| job.base.clone());
    let accepted = acceptances::of_head(&mut *on, repository.id, row.pull.number, &head).await?;
    let (tests, check_job) = match judgement.tests {
        None => (None, None),
        Some(asked) => {
            let job = jobs::newest_of(&mut *on, Kind::Check, repository.id, row.pull.number, &head).await?;
            let checks = checks_of(on, &row, &asked, job.as_ref(), now_ms).await?;
            (Some(TestsJudgement { asked, checks }), job)
        }
    };
    let run = claims::with_measured(Run {
        schema: RUN_SCHEMA,
        repository: repository.name.to_string(),
        pull: (row.pull.number > 0).then_some(row.pull.number),
        base: base.or_else(|| row.merge_base.clone()).unwrap_or_else(|| row.pull.base_sha.clone()),
        head,
        commits: judgement.commits,
        config_error: judgement.config_error,
        reviews: judgement.reviews,
        tests,
        accepted,
        performance,
    });
    Ok(Loaded { run, row, job, check_job, label: judgement.label })
}

/// Where the repository's own checks stand.
async fn checks_of(
    on: &mut AnyConnection,
    row: &PullRow,
    asked: &TestsAsked,
    job: Option<&Job>,
    now_ms: i64,
) -> sqlx::Result<Checks> {
    let skipped = |reason: &str| Checks::Skipped { reason: reason.into() };
    let Some(job) = job else {
        return Ok(match &asked.skipped {
            Some(reason) => skipped(reason),
            None if !row.may_run() => Checks::NeedsApproval,
            None => skipped("no job was queued for this head"),
        });
    };
    let by = |fallback: &str| job.error.clone().unwrap_or_else(|| fallback.into());
    Ok(match job.state {
        JobState::Queued => Checks::Queued {
            position: jobs::position(&mut *on, job).await?,
            runners: runners::alive(&mut *on, now_ms - RUNNER_ALIVE_MS).await?,
        },
        JobState::Claimed | JobState::Building | JobState::Measuring => match &job.progress {
            Some(progress) => {
                Checks::Running { text: progress.text.clone(), done: progress.done, total: progress.total }
            }
            None => Checks::Running { text: "a runner prepares".into(), done: 0, total: 0 },
        },
        JobState::Done => match &job.checks {
            Some(report) => Checks::Done { report: Box::new(report.clone()) },
            None => Checks::Failed { message: "the report is missing".into(), output: String::new() },
        },
        JobState::Failed => {
            let error = job.error.clone().unwrap_or_default();
            let (message, output) = error.split_once('\n').unwrap_or((&error, ""));
            Checks::Failed { message: message.into(), output: output.into() }
        }
        JobState::Cancelled => Checks::Cancelled { by: by("a maintainer") },
        JobState::Superseded => match &asked.skipped {
            Some(reason) => skipped(reason),
            None => Checks::Cancelled { by: by("a newer push") },
        },
    })
}

async fn performance(
    on: &mut AnyConnection,
    row: &PullRow,
    judgement: &Judgement,
    job: Option<&Job>,
    now_ms: i64,
) -> sqlx::Result<Performance> {
    let Some(job) = job else {
        return Ok(match &judgement.skipped {
            Some(reason) => Performance::Skipped { reason: reason.clone() },
            None if !row.may_run() => Performance::NeedsApproval { head: row.pull.head_sha.clone() },
            None => Performance::Skipped { reason: "no job was queued for this head".into() },
        });
    };
    let held = |fallback: &str| match &job.progress {
        Some(progress) => {
            Performance::Running { text: progress.text.clone(), done: progress.done, total: progress.total }
        }
        None => Performance::Running { text: fallback.into(), done: 0, total: 0 },
    };
    Ok(match job.state {
        JobState::Queued => queued(on, job, now_ms).await?,
        JobState::Claimed => held("a runner prepares"),
        JobState::Building => held("building base and head"),
        JobState::Measuring => held("measuring"),
        JobState::Done => match &job.report {
            Some(report) => Performance::Done { report: Box::new(report.clone()) },
            None => Performance::Failed { message: "the report is missing".into(), output: String::new() },
        },
        JobState::Failed => {
            let error = job.error.clone().unwrap_or_default();
            let (message, output) = error.split_once('\n').unwrap_or((&error, ""));
            Performance::Failed { message: message.into(), output: output.into() }
        }
        JobState::Cancelled => {
            Performance::Cancelled { by: job.error.clone().unwrap_or_else(|| "a maintainer".into()) }
        }
        JobState::Superseded => match &judgement.skipped {
            Some(reason) => Performance::Skipped { reason: reason.clone() },
            None => Performance::Cancelled { by: job.error.clone().unwrap_or_else(|| "a newer push".into()) },
        },
    })
}

async fn queued(on: &mut AnyConnection, job: &Job, now_ms: i64) -> sqlx::Result<Performance> {
    let position = jobs::position(&mut *on, job).await?;
    let runners = runners::alive(&mut *on, now_ms - RUNNER_ALIVE_MS).await?;
    let wait_ms = queue::expected_wait_ms(position, runners, jobs::lately_ms(&mut *on).await?);
    let because = match job.day_limit_ms {
        Some(limit_ms) => {
            let spent_ms = jobs::spent_ms(&mut *on, job.repository, now_ms).await?;
            (spent_ms >= limit_ms).then(|| used_up(limit_ms))
        }
        None => None,
    };
    Ok(Performance::Queued {
        position,
        runners,
        // Until midnight, nobody can tell how many others there will be.
        wait_minutes: wait_ms.filter(|_| because.is_none()).map(|ms| (ms.max(0) as u64).div_ceil(60_000)),
        because,
    })
}

/// That a day's measuring is used up, and what to do.
fn used_up(limit_ms: i64) -> String {
    format!(
        "Today's {} of measuring for this repository are used up (minutes-per-day). It goes on at 00:00 UTC; \
         \"/paceline bench\" measures this one now.",
        format::seconds(limit_ms as f64 / 1_000.0)
    )
}

/// Queues comment and check runs as they should now stand. Called in the transaction that changed what they show and
/// that holds the pull request ([`pulls::hold`]).
pub async fn publish(tx: &mut Tx, app: &App, repository: &Repository, number: u64) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let Some(mut loaded) = load(tx, repository, number, now_ms).await? else { return Ok(()) };
    if let Performance::Queued { because, .. } = &mut loaded.run.performance
        && let Some(shortage) = disk::shortage(app)
    {
        *because = Some(format!("{shortage} The run starts when there is room."));
    }
    let author_pulls =
        pulls::count_by_author(&mut **tx, repository.id, &loaded.row.pull.author, number).await?;
    let id_of = |job: &Option<Job>| job.as_ref().map(|job| job.id.clone());
    let scene = Scene {
        repository: repository.clone(),
        pull: loaded.row.pull.clone(),
        base: loaded.run.base.clone(),
        public_url: app.public_url.clone(),
        job: id_of(&loaded.job),
        check_job: id_of(&loaded.check_job),
        performance: match &loaded.run.performance {
            Performance::Done { .. } => None,
            other => Some(other.clone()),
        },
        checks: match loaded.run.tests.as_ref().map(|tests| &tests.checks) {
            None | Some(Checks::Done { .. }) => None,
            Some(other) => Some(other.clone()),
        },
        accepted: loaded.run.accepted.clone(),
        author_pulls,
        author: author(tx, repository, &loaded.row).await?,
        stages: clocks::get(&mut **tx, repository.id, number, loaded.row.pull.opened_ms).await?,
    };
    let wanted = scene.texts(&loaded.run);
    let head = &loaded.run.head;
    dossiers::shown(tx, repository.id, number, head, &scene, &dossier::digests(&wanted)).await?;
    let mut wanted = wanted;
    wanted.extend(label(tx, repository, number, &loaded).await?);
    for body in &wanted {
        writes::want(tx, repository.installation, repository.id, body, now_ms).await?;
    }
    Ok(())
}

/// What the author's earlier pull requests came to: those with a lower number that were merged.
async fn author(
    on: &mut AnyConnection,
    repository: &Repository,
    row: &PullRow,
) -> sqlx::Result<Option<AuthorRecord>> {
    let pull = &row.pull;
    if pull.author_is_bot || opt_outs::has(&mut *on, &pull.author).await? {
        return Ok(None);
    }
    let merged = pulls::count_merged(&mut *on, repository.id, &pull.author, pull.number).await?;
    let mut record = AuthorRecord { merged, ..AuthorRecord::default() };
    if merged > 0 {
        let impact = activity::impact(&mut *on, repository.id, &pull.author).await?;
        for one in impact.iter().filter(|one| one.merged && one.number < pull.number) {
            *(if one.faster { &mut record.faster } else { &mut record.slower }) += 1;
        }
    }
    Ok(Some(record))
}

/// The label of a slowdown, as it should stand once a report is there; taken away only where it was set.
async fn label(
    tx: &mut Tx,
    repository: &Repository,
    number: u64,
    loaded: &Loaded,
) -> anyhow::Result<Option<Outgoing>> {
    let (Some(label), Performance::Done { report }) = (&loaded.label, &loaded.run.performance) else {
        return Ok(None);
    };
    let blocks = report.blocks() && loaded.run.accepted.is_none();
    let state = if blocks { LabelState::Present } else { LabelState::Absent };
    let wanted = Outgoing::Label { number, label: label.clone(), state };
    let known = writes::known(tx, &writes::target(repository.id, &wanted)).await?;
    Ok((blocks || known).then_some(wanted))
}

/// Queues what a merge queue should see of its group's measuring.
pub async fn publish_group(
    tx: &mut Tx,
    app: &App,
    repository: &Repository,
    job: &JobId,
) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let Some(job) = jobs::get(&mut **tx, job).await? else { return Ok(()) };
    let details = format!("{}/runs/{}", app.public_url, job.id);
    let Some(loaded) = of_job(tx, repository, job, now_ms).await? else { return Ok(()) };
    let check = Outgoing::CheckRun(crate::checks::performance_check(&loaded.run, &details));
    writes::want(tx, repository.installation, repository.id, &check, now_ms).await?;
    Ok(())
}

/// A head that was left behind while it was measured: what GitHub shows of it must not wait for ever, and what it does
/// not show yet need not come. Nothing happens while another open pull request has that head.
pub async fn retire(tx: &mut Tx, app: &App, repository: &Repository, head: &Sha) -> anyhow::Result<()> {
    if pulls::any_open_with_head(tx, repository.id, head).await? {
        return Ok(());
    }
    for mut check in writes::drop_unsent_checks(tx, repository.id, head).await? {
        if matches!(check.status, CheckStatus::Completed(_)) {
            continue;
        }
        check.status = CheckStatus::Completed(Conclusion::Cancelled);
        check.title = "Superseded by a newer push".into();
        check.summary = "This head was left behind before it was measured.".into();
        (check.text, check.actions) = (String::new(), Vec::new());
        let wanted = Outgoing::CheckRun(check);
        writes::want(tx, repository.installation, repository.id, &wanted, app.clock.now_ms()).await?;
    }
    Ok(())
}

/// The same for a job of any kind.
pub async fn republish_job(app: &App, job: &Job) -> anyhow::Result<()> {
    match job.purpose {
        Purpose::Pull => republish(app, job.repository, job.number).await,
        Purpose::Group => {
            let mut tx = app.db.begin().await?;
            if let Some(repository) = repositories::by_id(&mut *tx, job.repository).await? {
                publish_group(&mut tx, app, &repository, &job.id).await?;
            }
            tx.commit().await?;
            app.wake.writes.notify_one();
            Ok(())
        }
        // They have pages, and nothing on GitHub before their end.
        Purpose::Parent | Purpose::Reference | Purpose::Overlap | Purpose::Bisect | Purpose::Asked => Ok(()),
    }
}

/// Publishes in a transaction of its own, after something outside of one changed.
pub async fn republish(app: &App, repository: RepoId, number: u64) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    pulls::hold(&mut tx, repository, number).await?;
    if let Some(repository) = repositories::by_id(&mut *tx, repository).await? {
        publish(&mut tx, app, &repository, number).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    Ok(())
}
