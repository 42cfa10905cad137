//! What somebody asks for by a command and that takes more than one step: a comparison with another commit, a profile, a
//! search for the commit of a pull request that changed a benchmark.
//!
//! Its answer is the reply to the command, renewed as it goes on; nothing of it weighs in a check. All of its state is in
//! its row, so that it goes on after a crash.

mod begin;
mod pick;
mod reply;

pub use begin::{Request, Wanted, begin};

use crate::app::App;
use crate::db::errands::{self, ErrandRow};
use crate::db::jobs::{self, Job, NewJob};
use crate::db::{Tx, new_id, repositories, writes};
use crate::history::bisect::{Outcome, focus_on, seen_by};
use crate::outgoing::Outgoing;
use crate::pull::Repository;
use crate::queue::{JobState, Place, Purpose};
use crate::runs;
use anyhow::Context;
use perfsuite::bisect::{Seen, Step, next};
use perfsuite::model::{Focus, JobId, JobLimits, JobSpec, Metric, Sha, SuiteSpec, Trust};
use serde::{Deserialize, Serialize};

/// Errands that are taken further before others get their turn to write.
const AT_ONCE: i64 = 50;

/// Errands of one pull request that may be under way: a person reads one answer at a time.
const RUNNING_MAX: usize = 5;

/// What was asked for, and what was seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Errand {
    /// The head against another commit than its merge base.
    Against { base: Sha, name: String },
    /// Where the time of one benchmark goes, on both sides.
    Profile { base: Sha, benchmark: String },
    /// Which commit of the pull request changed a benchmark.
    Bisect(Box<Search>),
}

/// A search, as far as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    pub benchmark: String,
    pub metric: Metric,
    /// The merge base.
    pub good: Sha,
    /// After it, oldest first.
    pub commits: Vec<SearchCommit>,
    /// What each comparison saw, in their order.
    pub seen: Vec<Seen>,
    pub order: Order,
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

/// A commit with what people know it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchCommit {
    pub sha: Sha,
    pub subject: String,
}

/// How an errand's jobs measure, by the configuration of the base as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub suites: Vec<SuiteSpec>,
    pub limits: JobLimits,
    pub budget: f64,
}

impl Search {
    /// The two commits of a comparison.
    fn sides(&self, before: Option<usize>, at: usize) -> (Sha, Sha) {
        let base = before.map_or(&self.good, |before| &self.commits[before].sha);
        (base.clone(), self.commits[at].sha.clone())
    }

    /// What its comparison is about. Once it is of two of the pull request's own commits, nothing of it is kept.
    fn focus(&self, before: Option<usize>) -> Focus {
        Focus { passing_base: before.is_some(), ..focus_on(&self.benchmark) }
    }

    fn shas(&self) -> Vec<Sha> {
        self.commits.iter().map(|commit| commit.sha.clone()).collect()
    }

    /// Takes in what a comparison saw, and says which is wanted next; `None` once it has ended.
    fn take(&mut self, job: &Job) -> Option<(Option<usize>, usize)> {
        let suite = self.order.suites.first().map(|suite| suite.name.as_str()).unwrap_or_default();
        let stepped = seen_by(job, suite, &self.benchmark, self.metric).and_then(|seen| {
            self.seen.push(seen);
            next(self.commits.len(), &self.seen).map_err(|error| error.to_string())
        });
        self.outcome = match stepped {
            Ok(Step::Compare { before, at }) => return Some((before, at)),
            Ok(Step::Ended(search)) => Some(Outcome::of(&search, &self.shas())),
            Err(reason) => Some(Outcome::Broken { reason }),
        };
        None
    }
}

/// Takes every errand further whose job has ended.
pub async fn once(app: &App) -> anyhow::Result<()> {
    for row in errands::due(&app.db, AT_ONCE).await? {
        if let Err(error) = settle(app, &row).await {
            // The others do not wait for it.
            tracing::error!(
                errand = row.id,
                error = format!("{error:#}"),
                "an errand is stuck; tried again by period"
            );
        }
    }
    Ok(())
}

async fn settle(app: &App, row: &ErrandRow) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    let repository =
        repositories::by_id(&mut *tx, row.repository).await?.context("an errand's repository")?;
    let job = jobs::get(&mut *tx, &row.job).await?.context("an errand's job")?;
    let mut errand = row.errand.clone();
    let url = format!("{}/runs/{}", app.public_url, job.id);
    let stopped = matches!(job.state, JobState::Cancelled | JobState::Superseded);
    let wanted = match &mut errand {
        Errand::Bisect(search) if !stopped => search.take(&job),
        _ => None,
    };
    let body = if let (Some((before, at)), Errand::Bisect(search)) = (wanted, &errand) {
        let (base, head) = search.sides(before, at);
        let spec = spec(app, &repository, (&base, &head), &search.order, search.focus(before));
        queue(&mut tx, &repository, &spec, Place::bisect(now_ms), now_ms).await?;
        if !errands::step(&mut tx, row, &errand, &spec.job).await? {
            return Ok(());
        }
        reply::searching(search, (&base, &head), &format!("{}/runs/{}", app.public_url, spec.job))
    } else {
        if !errands::end(&mut tx, row, &errand, now_ms).await? {
            return Ok(());
        }
        match &errand {
            _ if stopped => reply::stopped(&job, &row.head),
            Errand::Bisect(search) => reply::searched(search),
            Errand::Against { .. } | Errand::Profile { .. } => {
                let loaded = runs::of_job(&mut tx, &repository, job, now_ms).await?;
                let run = loaded.context("a job of a known repository has a run")?.run;
                match &errand {
                    Errand::Profile { benchmark, .. } => reply::profiled(&run, benchmark, &url),
                    _ => reply::compared(&run, &errand, &url),
                }
            }
        }
    };
    tell(&mut tx, &repository, row, body, now_ms).await?;
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.jobs.notify_waiters();
    Ok(())
}

/// Cancels what runs or waits of a pull request's errands: how many jobs. [`once`] tells it.
pub async fn cancel(
    tx: &mut Tx,
    repository: &Repository,
    number: u64,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<u64> {
    let mut cancelled = 0;
    for row in errands::running(tx, repository.id, number).await? {
        cancelled += u64::from(jobs::cancel_one(tx, &row.job, by, now_ms).await?);
    }
    Ok(cancelled)
}

/// Ends those that are about another head than this one (`None`: all), because of what made them pointless.
pub async fn leave_behind(
    tx: &mut Tx,
    repository: &Repository,
    number: u64,
    keep: Option<&Sha>,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<()> {
    for row in errands::running(tx, repository.id, number).await? {
        if keep != Some(&row.head) {
            jobs::drop_one(tx, &row.job, by, now_ms).await?;
        }
    }
    Ok(())
}

/// A job of an errand.
fn spec(
    app: &App,
    repository: &Repository,
    (base, head): (&Sha, &Sha),
    order: &Order,
    focus: Focus,
) -> JobSpec {
    JobSpec {
        job: JobId(new_id()),
        repository: repository.name.to_string(),
        base: base.clone(),
        head: head.clone(),
        trust: app.config.trust,
        suites: order.suites.clone(),
        limits: order.limits,
        budget: order.budget,
        // Within what JSON numbers carry everywhere.
        seed: u64::from(rand::random::<u32>()),
        // A flame graph is wanted of what did not change, too.
        all: focus.profile,
        checks: None,
        focus: Some(focus),
    }
}

/// Queues it. Who asks for a run has it, whatever the day's minutes.
async fn queue(
    tx: &mut Tx,
    repository: &Repository,
    spec: &JobSpec,
    place: Place,
    now_ms: i64,
) -> sqlx::Result<()> {
    let new = NewJob {
        repository: repository.id,
        purpose: Purpose::Asked,
        number: 0,
        spec,
        stranger: spec.trust == Trust::Stranger,
        place,
        day_limit_ms: None,
    };
    jobs::queue(tx, &new, now_ms).await
}

/// The reply as it should now read.
async fn tell(
    tx: &mut Tx,
    repository: &Repository,
    row: &ErrandRow,
    body: String,
    now_ms: i64,
) -> sqlx::Result<()> {
    let reply = Outgoing::Reply { number: row.number, to: row.comment, body };
    writes::want(tx, repository.installation, repository.id, &reply, now_ms).await
}
