//! Searches for the commit behind a confirmed change: comparisons are jobs of their own, one at a time, and what they
//! saw is kept, so that a search goes on after any crash.

use super::follow::Order;
use super::record;
use crate::app::App;
use crate::assess;
use crate::db::bisects::{self, Bisect, NewBisect};
use crate::db::change_points::ChangePoint;
use crate::db::jobs::{self, Job};
use crate::db::renamed_benchmarks::{self, Renames};
use crate::db::series::{self, Key, Series};
use crate::db::{Turn, history_commits, repositories};
use crate::facts;
use crate::queue::{JobState, Place, Purpose};
use crate::repo_config::RepoConfig;
use anyhow::Context;
use perfsuite::bisect::{Ending, Measured, Search, Seen, Step, next, seen};
use perfsuite::model::{BenchmarkId, CriterionSuite, Focus, Metric, Mode, Sha, SuiteKind, SuiteSpec};
use serde::{Deserialize, Serialize};

/// Commits of one search: fourteen comparisons.
const COMMITS_MAX: i64 = 10_000;
/// Most measuring of one comparison: it is about one benchmark.
pub const MINUTES_MAX: f64 = 2.0;

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    Found {
        commit: Sha,
        change: Measured,
    },
    None {
        ends: Measured,
    },
    /// One of these did it, and those before the last cannot be measured.
    Among {
        candidates: Vec<Sha>,
    },
    /// Measured against the one before it, the commit that was come to shows no such change.
    Unconfirmed {
        commit: Sha,
        seen: Measured,
    },
    Broken {
        reason: String,
    },
}

impl Outcome {
    pub fn is_broken(&self) -> bool {
        matches!(self, Outcome::Broken { .. })
    }

    pub fn of(search: &Search, commits: &[Sha]) -> Outcome {
        match &search.ending {
            Ending::Found { at, change } => Outcome::Found { commit: commits[*at].clone(), change: *change },
            Ending::None { ends } => Outcome::None { ends: *ends },
            Ending::Among { from, to } => Outcome::Among { candidates: commits[*from..=*to].to_vec() },
            Ending::Unconfirmed { at, seen } => {
                Outcome::Unconfirmed { commit: commits[*at].clone(), seen: *seen }
            }
        }
    }
}

/// Begins to search between the measured commits on both sides of a change. With none between them the commit is known.
pub async fn begin(app: &App, series: &Series, point: &ChangePoint) -> anyhow::Result<()> {
    let at = |position| history_commits::between(app.db.pool(), series.repository, position, position);
    let (Some(good), Some(bad)) =
        (at(point.before).await?.into_iter().next(), at(point.position).await?.into_iter().next())
    else {
        return Ok(());
    };
    if bad.parent.as_ref() == Some(&good.sha) || point.position - point.before > COMMITS_MAX {
        return Ok(());
    }
    let (mirrors, id, tip) = (app.mirrors.clone(), series.repository, bad.sha.clone());
    let (first, last) = (point.before + 1, point.position);
    let commits = tokio::task::spawn_blocking(move || mirrors.open(id)?.line(&tip)?.between(first, last));
    let commits = commits.await.context("reading git was ended")??;
    let new = NewBisect {
        repository: series.repository,
        series: series.id,
        change_point: &point.id,
        good: &good.sha,
        commits: &commits,
    };
    let mut tx = app.db.begin_turn(Turn::History).await?;
    let begun = bisects::insert(&mut tx, &new, app.clock.now_ms()).await?;
    tx.commit().await?;
    if begun.is_some() {
        tracing::info!(series = series.id, commits = commits.len(), "a search for the commit begins");
        app.wake.history.notify_one();
    }
    Ok(())
}

/// Takes a search one step further: stores what its comparison saw, and asks for the next one or ends.
pub async fn advance(app: &App, search: &Bisect) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let series = series::by_id(app.db.pool(), search.series).await?.context("a search's series")?;
    let renames = renamed_benchmarks::of_repository(app.db.pool(), search.repository).await?;
    let mut all = search.seen.clone();
    let mut broken = None;
    if let Some(id) = &search.job {
        match jobs::get(app.db.pool(), id).await? {
            Some(job) => match seen_in(job, &series, &renames) {
                Ok(seen) => all.push(seen),
                Err(reason) => broken = Some(reason),
            },
            None => broken = Some("its job is gone".to_owned()),
        }
    }
    let stepped = match broken {
        Some(reason) => Err(reason),
        None => next(search.commits.len(), &all).map_err(|error| error.to_string()),
    };
    let wanted = match &stepped {
        Ok(Step::Compare { before, at }) => {
            let base = before.map_or(&search.good, |before| &search.commits[before]);
            Some((base.clone(), search.commits[*at].clone()))
        }
        Ok(Step::Ended(_)) | Err(_) => None,
    };
    let (repository, config) = match &wanted {
        Some(_) => settings(app, search).await?,
        None => (None, RepoConfig::default()),
    };
    let mut tx = app.db.begin_turn(Turn::History).await?;
    let mut job = None;
    let outcome = match (&stepped, &wanted, &repository) {
        (Ok(Step::Ended(ended)), ..) => Some(Outcome::of(ended, &search.commits)),
        (Err(reason), ..) => Some(Outcome::Broken { reason: reason.clone() }),
        (Ok(Step::Compare { .. }), Some((base, head)), Some(repository)) => {
            let focus = Some(focus_under_every_name(&series, &renames));
            let order = Order { repository, config: &config, trust: app.config.trust, focus, now_ms };
            let suite = suite_of(&config, &series.key.suite);
            let place = Place::bisect(now_ms);
            job = Some(order.queue(&mut tx, Purpose::Bisect, (base, head), &[suite], place).await?);
            None
        }
        (Ok(Step::Compare { .. }), ..) => {
            Some(Outcome::Broken { reason: "the repository is not seen any more".into() })
        }
    };
    if !bisects::step(&mut tx, search, &all, job.as_ref()).await? {
        return Ok(());
    }
    if let Some(outcome) = &outcome {
        tracing::info!(bisect = search.id, ?outcome, "a search has ended");
        bisects::end(&mut tx, &search.id, outcome, now_ms).await?;
    }
    tx.commit().await?;
    app.wake.jobs.notify_waiters();
    if outcome.is_none() && job.is_none() {
        app.wake.history.notify_one();
    }
    Ok(())
}

/// What the comparison saw. Commits of before a rename have the benchmark's former name.
fn seen_in(mut job: Job, series: &Series, renames: &Renames) -> Result<Seen, String> {
    job.report = job.report.map(|report| record::renamed(&report, renames));
    let metric: Option<Metric> = serde_json::from_value(series.key.metric.clone().into()).ok();
    let metric = metric.ok_or_else(|| format!("there is no metric {:?}", series.key.metric))?;
    seen_by(&job, &series.key.suite, &series.key.benchmark, metric)
}

/// What a comparison saw; an error when it says nothing of the commit.
pub fn seen_by(job: &Job, suite: &str, benchmark: &str, metric: Metric) -> Result<Seen, String> {
    match (job.state, &job.report) {
        (JobState::Done, Some(report)) => Ok(seen(report, suite, benchmark, metric)),
        (JobState::Failed, _) => {
            let error = job.error.as_deref().unwrap_or("the comparison failed");
            Ok(Seen::Skipped(error.lines().next().unwrap_or_default().to_owned()))
        }
        _ => Err(format!("a comparison was {}", job.state)),
    }
}

/// A comparison is about one benchmark: nothing else is measured.
pub fn focus_on(benchmark: &str) -> Focus {
    Focus { benchmarks: vec![BenchmarkId(benchmark.to_owned())], ..Focus::default() }
}

/// The same of a benchmark that had other names, one of which the commits of the search may know.
fn focus_under_every_name(series: &Series, renames: &Renames) -> Focus {
    let Key { suite, benchmark, .. } = &series.key;
    let mut focus = focus_on(benchmark);
    let former = renames.iter().filter(|((of, _), now)| of == suite && *now == benchmark);
    focus.benchmarks.extend(former.map(|((_, former), _)| BenchmarkId(former.clone())));
    focus
}

/// The repository, if it is still seen, and the configuration of the newest commit of the range, with a comparison's
/// measuring bounded.
async fn settings(
    app: &App,
    search: &Bisect,
) -> anyhow::Result<(Option<crate::pull::Repository>, RepoConfig)> {
    if !repositories::active(&app.db, search.repository).await? {
        return Ok((None, RepoConfig::default()));
    }
    let repository = repositories::by_id(app.db.pool(), search.repository).await?;
    let newest = search.commits.last().cloned().context("a search has commits")?;
    let (mirrors, id) = (app.mirrors.clone(), search.repository);
    let text = tokio::task::spawn_blocking(move || facts::config_at(&mirrors.open(id)?, &newest));
    let text = text.await.context("reading git was ended")??;
    let mut config = assess::config_in(&text.0).unwrap_or_default();
    config.perf.minutes_per_run = config.perf.minutes_per_run.min(MINUTES_MAX);
    Ok((repository, config))
}

/// The suite that has the benchmark: the configured one, else the benches of the package that it is named after.
pub fn suite_of(config: &RepoConfig, suite: &str) -> SuiteSpec {
    let configured = config.perf.suite.iter().find(|configured| configured.name == suite);
    configured.cloned().unwrap_or_else(|| SuiteSpec {
        name: suite.to_owned(),
        kind: SuiteKind::Criterion(CriterionSuite {
            package: Some(suite.to_owned()),
            bench: None,
            features: Vec::new(),
        }),
        paths: Vec::new(),
        on: "push".into(),
        mode: Mode::default(),
        metrics: Default::default(),
        benchmarks: Default::default(),
    })
}
