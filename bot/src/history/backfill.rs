//! `paceline history backfill`: queues commits of a range that were not measured. Asking again leaves out what is
//! measured or waits, so it can be broken off and taken up at any time.

use super::follow::{Order, day_limit_ms, suites_of};
use super::reference;
use crate::assess;
use crate::backup::DatabaseArgs;
use crate::clock::Clock;
use crate::db::history_commits;
use crate::db::jobs;
use crate::db::references;
use crate::db::{Db, Turn, repositories};
use crate::error::UserError;
use crate::facts;
use crate::format;
use crate::git::{History, LineCommit, Mirrors};
use crate::pull::{RepoId, RepoName, Repository};
use crate::queue::{JobState, Place};
use crate::repo_config::RepoConfig;
use anyhow::Context;
use clap::Args;
use perfsuite::model::{JobId, Sha, SuiteSpec, Trust};
use std::collections::BTreeMap;
use std::time::Duration;

/// Commits of one back-fill.
const COMMITS_MAX: i64 = 10_000;
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Measure old commits of the default branch, when the runners have nothing else to do: the newest first, one at a time,
/// within the repository's minutes of a day. What is measured already, or waits, is left out: to go on after a break,
/// ask again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  paceline history backfill --repo acme/gateway --from v1.0.0 --to main --dry-run
  paceline history backfill --repo acme/gateway --from v1.0.0 --to 4f0c3aa --every 5 --wait")]
pub struct BackfillArgs {
    /// The repository
    #[arg(long, value_name = "OWNER/NAME")]
    repo: RepoName,
    /// The first commit: a tag, or seven digits of its id or more
    #[arg(long, value_name = "COMMIT")]
    from: String,
    /// The last commit: the same, or the default branch
    #[arg(long, value_name = "COMMIT")]
    to: String,
    /// Only every so-many-th commit of the range
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: u32,
    /// Say what it would cost, and queue nothing
    #[arg(long)]
    dry_run: bool,
    /// Stay, and tell how far it is, until all of the range is measured
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: BackfillArgs) -> anyhow::Result<()> {
    if args.every == 0 {
        return Err(UserError::new("--every must be 1 or more").into());
    }
    let db = args.database.open().await?;
    let repository = repositories::by_name(&db, &args.repo)
        .await?
        .ok_or_else(|| UserError::new(format!("the server knows no repository {}", args.repo)))?;
    if !repositories::active(&db, repository.id).await? {
        return Err(UserError::new(format!("the App does not see {} any more", args.repo)).into());
    }
    let range = read_range(&args, &repository).await?;
    let states = states(&db, repository.id, &range).await?;
    let missing: Vec<&Wanted> = range.commits.iter().filter(|wanted| !states.covers(wanted)).collect();
    let plan = Plan::of(&db, repository.id, &range, &missing).await?;
    print!("{}", plan.words(&args));
    if args.dry_run {
        return Ok(());
    }
    queue(&db, &repository, &range, &missing).await?;
    if args.wait {
        wait(&db, repository.id, &range).await?;
    }
    Ok(())
}

/// A commit of the range, and what it needs.
struct Wanted {
    commit: LineCommit,
    suites: Option<Vec<SuiteSpec>>,
}

struct Range {
    config: RepoConfig,
    /// The newest first.
    commits: Vec<Wanted>,
}

async fn read_range(args: &BackfillArgs, repository: &Repository) -> anyhow::Result<Range> {
    let mirrors = Mirrors::new(&args.database.data_dir);
    let (id, branch) = (repository.id, repository.default_branch.clone());
    let (from, to, every) = (args.from.clone(), args.to.clone(), i64::from(args.every));
    let read = tokio::task::spawn_blocking(move || {
        let none = |_| UserError::new("there is no mirror of it here yet; its next push makes one");
        let history = mirrors.open(id).map_err(none)?;
        let no_branch =
            |_| UserError::new(format!("the mirror has no {branch} yet; its next push brings it"));
        let tip = history.branch(&branch).map_err(no_branch)?;
        let line = history.line(&tip)?;
        let place = |name: &str| -> anyhow::Result<i64> {
            if name == branch {
                return Ok(line.tip());
            }
            let found = reference::resolve(&history, name)?;
            let found = found.ok_or_else(|| UserError::new(format!("there is no commit {name:?} here")))?;
            let on_line = line.position(&found.sha);
            Ok(on_line.ok_or_else(|| UserError::new(format!("{name:?} is not on {branch}")))?)
        };
        let (from, to) = (place(&from)?, place(&to)?);
        if from > to {
            return Err(UserError::new("--from is newer than --to").into());
        }
        if (to - from) / every >= COMMITS_MAX {
            return Err(UserError::new(format!("more than {COMMITS_MAX} commits; use --every")).into());
        }
        let config = config(&history, &tip)?;
        let mut commits = Vec::new();
        for position in (from..=to).rev().step_by(usize::try_from(every).unwrap_or(1)) {
            let commit = history.line_commit(&line, position)?;
            let suites = suites_of(&history, &config, &commit)?;
            commits.push(Wanted { commit, suites });
        }
        anyhow::Ok(Range { config, commits })
    });
    read.await.context("reading git was ended")?
}

fn config(history: &History, tip: &Sha) -> anyhow::Result<RepoConfig> {
    assess::config_in(&facts::config_at(history, tip)?.0).map_err(|error| {
        let words = format!("{} cannot be used, line {}: {}", error.path, error.line, error.message);
        UserError::new(words).into()
    })
}

/// Where each commit of the range stands, by its worst job.
#[derive(Default)]
struct States(BTreeMap<i64, (Sha, Standing)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Measured,
    Waits,
    /// It failed, was cancelled or left out: to be measured again.
    Missing,
}

impl States {
    fn covers(&self, wanted: &Wanted) -> bool {
        let of = self.0.get(&wanted.commit.position).filter(|(sha, _)| *sha == wanted.commit.sha);
        wanted.suites.is_none() || of.is_some_and(|(_, standing)| *standing < Standing::Missing)
    }

    fn count(&self, range: &Range, standing: Standing) -> usize {
        let of = |wanted: &&Wanted| self.0.get(&wanted.commit.position).is_some_and(|at| at.1 == standing);
        range.commits.iter().filter(|wanted| wanted.suites.is_some()).filter(of).count()
    }
}

async fn states(db: &Db, repository: RepoId, range: &Range) -> anyhow::Result<States> {
    let (Some(newest), Some(oldest)) = (range.commits.first(), range.commits.last()) else {
        return Ok(States::default());
    };
    let (from, to) = (oldest.commit.position, newest.commit.position);
    let mut all = BTreeMap::new();
    for commit in history_commits::between(db.pool(), repository, from, to).await? {
        let mut standing = Standing::Measured;
        let ids = [&commit.parent_job, &commit.reference_job];
        if ids.iter().all(|id| id.is_none()) {
            standing = Standing::Missing;
        }
        for id in ids.into_iter().flatten() {
            let job = jobs::get(db.pool(), &JobId(id.clone())).await?;
            standing = standing.max(match job.map(|job| job.state) {
                Some(JobState::Done) => Standing::Measured,
                Some(state) if !state.ended() => Standing::Waits,
                _ => Standing::Missing,
            });
        }
        all.insert(commit.position, (commit.sha, standing));
    }
    Ok(States(all))
}

/// What it will take.
struct Plan {
    commits: usize,
    missing: usize,
    /// Those of the range in which nothing that is measured changed.
    needless: usize,
    jobs: u64,
    /// Of measuring, of one job.
    job_ms: i64,
    /// From jobs that ended; else by the configuration, at most.
    seen: bool,
    day_ms: i64,
}

impl Plan {
    async fn of(db: &Db, repository: RepoId, range: &Range, missing: &[&Wanted]) -> anyhow::Result<Plan> {
        let lately = jobs::measuring_lately_ms(db.pool(), repository).await?;
        let limits = range.config.perf.limits();
        let reference = references::all(db.pool(), repository).await?.pop();
        let jobs = missing.iter().map(|wanted| {
            let parent = wanted.commit.parent.as_ref();
            let other = reference.as_ref().map(|reference| &reference.sha);
            u64::from(parent.is_some()) + u64::from(other.is_some() && other != parent)
        });
        Ok(Plan {
            commits: range.commits.len(),
            missing: missing.len(),
            needless: range.commits.iter().filter(|wanted| wanted.suites.is_none()).count(),
            jobs: jobs.sum(),
            job_ms: lately.unwrap_or(limits.measure_seconds as i64 * 1_000),
            seen: lately.is_some(),
            day_ms: day_limit_ms(range.config.perf.minutes_per_day),
        })
    }

    fn words(&self, args: &BackfillArgs) -> String {
        let mut out = format!(
            "{} of {} to {}: {} to measure, {} measured or waiting, {} that change nothing that is measured.\n",
            format::count(self.commits, "commit", "commits"),
            args.from,
            args.to,
            self.missing,
            self.commits - self.missing - self.needless,
            self.needless,
        );
        if self.missing == 0 {
            return out;
        }
        let total_ms = self.job_ms.saturating_mul(i64::try_from(self.jobs).unwrap_or(i64::MAX));
        let by = if self.seen { "as runs here lately took" } else { "at most, by minutes-per-run" };
        out += &format!(
            "{} of {} measuring each ({by}): {} in all, and the builds.\n",
            format::count(usize::try_from(self.jobs).unwrap_or(usize::MAX), "run", "runs"),
            format::seconds(self.job_ms as f64 / 1_000.0),
            format::seconds(total_ms as f64 / 1_000.0),
        );
        if self.day_ms <= 0 {
            out += "minutes-per-day is 0: nothing of it will be measured.\n";
        } else {
            let days = total_ms.saturating_add(self.day_ms - 1) / self.day_ms;
            out += &format!(
                "With {} a day for all of the repository: {} at least.\n",
                format::seconds(self.day_ms as f64 / 1_000.0),
                format::count(usize::try_from(days).unwrap_or(usize::MAX), "day", "days"),
            );
        }
        out
    }
}

async fn queue(db: &Db, repository: &Repository, range: &Range, missing: &[&Wanted]) -> anyhow::Result<()> {
    let now_ms = Clock::system().now_ms();
    let order = Order { repository, config: &range.config, trust: Trust::Stranger, focus: None, now_ms };
    let Some(reference) = references::all(db.pool(), repository.id).await?.pop() else {
        let words = "the history has no reference yet; the next push to the default branch begins it";
        return Err(UserError::new(words).into());
    };
    // A transaction each: a server beside us waits for none of them for long, and what is queued stays when this ends.
    for wanted in missing {
        let mut tx = db.begin_turn(Turn::History).await?;
        let place = Place::backfill(wanted.commit.committed_ms);
        order.measure(&mut tx, &wanted.commit, wanted.suites.as_deref(), Some(&reference), place).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn wait(db: &Db, repository: RepoId, range: &Range) -> anyhow::Result<()> {
    let mut told = None;
    loop {
        let states = states(db, repository, range).await?;
        let now = [Standing::Measured, Standing::Waits, Standing::Missing].map(|of| states.count(range, of));
        let [measured, waiting, failed] = now;
        if told != Some(now) {
            println!("{measured} measured, {waiting} to go, {failed} that could not be measured");
            told = Some(now);
        }
        if waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
