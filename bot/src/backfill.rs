//! `paceline backfill`: reads what happened before the App was installed, through the API, within its limits; goes on where
//! it stopped.

use crate::activity::NewEvent;
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, ServeArgs};
use crate::db::backfills::{self, Backfill};
use crate::db::{Db, Tx, activity, counts, opt_outs, pulls, repositories};
use crate::error::UserError;
use crate::format;
use crate::github::{GitHub, GitHubError, PastList};
use crate::pull::{RepoName, Repository};
use anyhow::Context;
use clap::Args;
use std::collections::BTreeSet;
use std::time::Duration;

/// Half of what an installation has in an hour: the server goes on working beside us.
const REQUESTS_AN_HOUR: u32 = 2_500;
/// A fault that passes is waited out so often in a row.
const TRIES_MAX: u32 = 6;
/// The longest pause after such a fault.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    paceline backfill --repo acme/gateway --since 2025-01-01 --config /etc/paceline/paceline-server.toml\n\n\
    Reads pull requests, reviews, comments, issues, releases and counts, and stores what is not known yet. Stopped at any \
    time, it goes on where it was; run again when it is done, it reads what is new. The server may run meanwhile.\n\n\
    Exit code: 0 done, 2 could not be done.")]
pub struct BackfillArgs {
    /// The repository
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: String,
    /// How far back: a day, such as 2025-01-01
    #[arg(long, value_name = "DATE")]
    pub since: String,
    /// How much of GitHub's hourly limit may be used
    #[arg(long, value_name = "N", default_value_t = REQUESTS_AN_HOUR)]
    pub requests_per_hour: u32,
    /// Begin anew, whatever was read before
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub serve: ServeArgs,
}

pub async fn run(args: BackfillArgs) -> anyhow::Result<()> {
    let name: RepoName = args.repo.parse().map_err(|_| {
        UserError::new(format!("--repo is {:?}; it wants OWNER/NAME, such as acme/gateway", args.repo))
    })?;
    let since_ms = since_ms(&args.since)?;
    let config = Config::load(&args.serve, |name| std::env::var(name).ok())?;
    let clock = Clock::system();
    let db = app::open_database(&config).await?;
    let github = app::connect(&config, clock.clone())?;
    let wish = Wish { name, since_ms, requests_per_hour: args.requests_per_hour, restart: args.restart };
    let done = backfill(&db, &github, &clock, &wish, |line| eprintln!("{line}")).await;
    db.close().await;
    let done = done?;
    println!(
        "{}: {} and {} are known since {}.",
        wish.name,
        format::count(done.pulls as usize, "pull request", "pull requests"),
        format::count(done.events as usize, "event", "events"),
        format::exact(done.since_ms)
    );
    Ok(())
}

/// Midnight of a day, in UTC.
fn since_ms(text: &str) -> Result<i64, UserError> {
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let at = day.and_then(|day| Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()));
    at.filter(|at| (0..=Clock::system().now_ms()).contains(at)).ok_or_else(|| {
        UserError::new(format!("--since is {text:?}; it wants a day of the past, such as 2025-01-01"))
    })
}

/// What is to be read.
pub struct Wish {
    pub name: RepoName,
    pub since_ms: i64,
    pub requests_per_hour: u32,
    pub restart: bool,
}

/// What is read one after the other.
const STAGES: [&str; 6] = ["pulls", "issues", "comments", "review-comments", "releases", "counts"];
const DONE: &str = "done";

/// Reads until all is read. `tell` gets a line for each page.
pub async fn backfill(
    db: &Db,
    github: &GitHub,
    clock: &Clock,
    wish: &Wish,
    tell: impl Fn(&str),
) -> anyhow::Result<Backfill> {
    let pace = Pace { gap: Duration::from_secs_f64(3_600.0 / f64::from(wish.requests_per_hour.max(1))) };
    let found = pace.ask(&tell, async || github.installation_for(&wish.name).await).await;
    let installation = found.with_context(|| format!("the App is not installed on {}", wish.name))?;
    let repository = pace.ask(&tell, async || github.repository(installation, &wish.name).await).await?;
    let now_ms = clock.now_ms();
    let mut tx = db.begin().await?;
    repositories::upsert(&mut tx, &repository, now_ms).await?;
    tx.commit().await?;
    let known = backfills::get(db, repository.id).await?;
    let goes_on = |known: &Backfill| !wish.restart && known.stage != DONE && known.since_ms == wish.since_ms;
    let mut state = match known.filter(goes_on) {
        Some(known) => {
            tell(&format!("going on with {}, page {}", known.stage, known.page));
            known
        }
        None => Backfill {
            since_ms: wish.since_ms,
            stage: STAGES[0].into(),
            page: 1,
            pulls: 0,
            events: 0,
            started_ms: now_ms,
        },
    };
    while state.stage != DONE {
        let reader = Reader { db, github, clock, repository: &repository, pace: &pace };
        let more = reader.page(&mut state, &tell).await?;
        tell(&format!(
            "{}: page {}; {} pull requests, {} events so far",
            state.stage, state.page, state.pulls, state.events
        ));
        if more {
            state.page += 1;
        } else {
            let at = STAGES.iter().position(|stage| *stage == state.stage).unwrap_or(STAGES.len());
            state.stage = STAGES.get(at + 1).copied().unwrap_or(DONE).into();
            state.page = 1;
        }
        let mut tx = db.begin().await?;
        backfills::put(&mut tx, repository.id, &state, clock.now_ms()).await?;
        tx.commit().await?;
    }
    Ok(state)
}

struct Reader<'a> {
    db: &'a Db,
    github: &'a GitHub,
    clock: &'a Clock,
    repository: &'a Repository,
    pace: &'a Pace,
}

impl Reader<'_> {
    /// Reads one page of the stage; whether there is another.
    async fn page(&self, state: &mut Backfill, tell: &impl Fn(&str)) -> anyhow::Result<bool> {
        let list = match state.stage.as_str() {
            "pulls" => return self.pulls(state, tell).await,
            "issues" => PastList::Issues,
            "comments" => PastList::Comments,
            "review-comments" => PastList::ReviewComments,
            "releases" => PastList::Releases,
            _ => {
                let now = self.pace.ask(tell, async || self.github.counts(self.repository).await).await?;
                let mut tx = self.db.begin().await?;
                counts::insert(&mut tx, self.repository.id, &now).await?;
                tx.commit().await?;
                return Ok(false);
            }
        };
        let since = format::iso(state.since_ms);
        let page = state.page;
        let found = self
            .pace
            .ask(tell, async || self.github.past_events(self.repository, list, &since, page).await)
            .await?;
        let mut tx = self.db.begin().await?;
        state.events += self.store(&mut tx, &found.items, state.since_ms).await?;
        tx.commit().await?;
        Ok(found.more)
    }

    async fn pulls(&self, state: &mut Backfill, tell: &impl Fn(&str)) -> anyhow::Result<bool> {
        let page = state.page;
        let found = self.pace.ask(tell, async || self.github.past_pulls(self.repository, page).await).await?;
        let oldest_ms = found.items.last().map_or(i64::MIN, |past| past.pull.opened_ms);
        for past in found.items.iter().filter(|past| past.pull.opened_ms >= state.since_ms) {
            let number = past.pull.number;
            let reviews =
                self.pace.ask(tell, async || self.github.past_reviews(self.repository, number).await).await?;
            let mut tx = self.db.begin().await?;
            if pulls::get(&mut *tx, self.repository.id, number).await?.is_none() {
                pulls::upsert(&mut tx, self.repository.id, &past.pull, past.updated_ms).await?;
            }
            state.events += self.store(&mut tx, &past.events, state.since_ms).await?;
            state.events += self.store(&mut tx, &reviews, state.since_ms).await?;
            tx.commit().await?;
            state.pulls += 1;
        }
        Ok(found.more && oldest_ms >= state.since_ms)
    }

    /// How many were not known.
    async fn store(&self, tx: &mut Tx, events: &[NewEvent], since_ms: i64) -> anyhow::Result<i64> {
        let left_out: BTreeSet<String> = opt_outs::all(&mut **tx).await?;
        let mut new = 0;
        let now_ms = self.clock.now_ms();
        for event in events.iter().filter(|event| (since_ms..=now_ms).contains(&event.at_ms)) {
            new += i64::from(activity::insert(tx, self.repository.id, event, &left_out).await?);
        }
        Ok(new)
    }
}

/// How fast GitHub is asked.
struct Pace {
    gap: Duration,
}

impl Pace {
    /// Asks, waits for as long as GitHub wants, and asks again after faults that pass.
    async fn ask<T>(
        &self,
        tell: &impl Fn(&str),
        question: impl AsyncFn() -> Result<T, GitHubError>,
    ) -> anyhow::Result<T> {
        let mut tries = 0;
        loop {
            tokio::time::sleep(self.gap).await;
            let error = match question().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let now_ms = Clock::system().now_ms();
            if let Some(until_ms) = error.silent_until_ms() {
                let wait = Duration::from_millis((until_ms - now_ms).max(1_000) as u64);
                tell(&format!("GitHub wants a pause of {}", format::seconds(wait.as_secs_f64())));
                tokio::time::sleep(wait).await;
                continue;
            }
            tries += 1;
            if !matches!(error, GitHubError::Transient { .. }) || tries >= TRIES_MAX {
                return Err(error.into());
            }
            tell(&format!("asking again: {error}"));
            tokio::time::sleep(Duration::from_secs(1 << tries).min(PAUSE_MAX)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_of_the_past() {
        assert_eq!(since_ms("1970-01-02").unwrap(), 86_400_000);
        for bad in ["9999-01-01", "yesterday", "2025-13-01", "", "-1"] {
            assert!(since_ms(bad).is_err(), "{bad}");
        }
    }
}
