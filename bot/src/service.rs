//! Service levels: how fast deliveries were worked on, how long jobs waited, how busy runners were. Loads and sums up.

use crate::db::service::{self, JobTimes};
use crate::db::{Db, deliveries};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is summed up: a day.
pub const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Service {
    /// What follows is of so many hours.
    pub hours: i64,
    pub deliveries: Deliveries,
    pub jobs: Jobs,
    /// Comments, check runs and reactions that GitHub does not show yet.
    pub writes_waiting: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Deliveries {
    pub waiting: i64,
    pub oldest_waiting_seconds: Option<f64>,
    pub done: i64,
    pub ignored: i64,
    pub failed: i64,
    /// Seconds from received to judged and stored.
    pub took: Quantiles,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Jobs {
    pub queued: usize,
    pub running: usize,
    pub done: usize,
    pub failed: usize,
    /// Seconds from queued to claimed; of those that still wait, so far.
    pub waited: Quantiles,
    /// Seconds from claimed to ended.
    pub took: Quantiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Quantiles {
    pub n: usize,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

impl Quantiles {
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.retain(|one| one.is_finite());
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (seconds.len() as f64 * share).ceil() as usize;
            seconds.get(index.max(1) - 1).copied()
        };
        Self { n: seconds.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99) }
    }
}

pub async fn service(db: &Db, now_ms: i64) -> sqlx::Result<Service> {
    let since_ms = now_ms - WINDOW_MS;
    let ended = service::deliveries(db, since_ms).await?;
    let count = |state: &str| ended.get(state).copied().unwrap_or(0);
    let (waiting, oldest_ms) = deliveries::waiting(db.pool()).await?;
    let jobs = service::jobs(db, since_ms).await?;
    Ok(Service {
        hours: WINDOW_MS / 3_600_000,
        deliveries: Deliveries {
            waiting,
            oldest_waiting_seconds: oldest_ms.map(|oldest| (now_ms - oldest).max(0) as f64 / 1_000.0),
            done: count("done"),
            ignored: count("ignored"),
            failed: count("failed"),
            took: Quantiles::of(service::delivery_seconds(db, since_ms).await?),
        },
        jobs: sum_up(&jobs, now_ms),
        writes_waiting: service::writes_waiting(db).await?,
    })
}

fn sum_up(jobs: &[JobTimes], now_ms: i64) -> Jobs {
    let count = |states: &[&str]| jobs.iter().filter(|job| states.contains(&job.state.as_str())).count();
    let seconds = |from: i64, to: i64| (to - from).max(0) as f64 / 1_000.0;
    let waited = jobs.iter().filter_map(|job| match (job.claimed_ms, job.state.as_str()) {
        (Some(claimed_ms), _) => Some(seconds(job.created_ms, claimed_ms)),
        (None, "queued") => Some(seconds(job.created_ms, now_ms)),
        (None, _) => None,
    });
    let took = jobs.iter().filter_map(|job| Some(seconds(job.claimed_ms?, job.finished_ms?)));
    Jobs {
        queued: count(&["queued"]),
        running: count(&["claimed", "building", "measuring"]),
        done: count(&["done"]),
        failed: count(&["failed"]),
        waited: Quantiles::of(waited.collect()),
        took: Quantiles::of(took.collect()),
    }
}

/// How much of the window each runner worked, from none to one.
pub async fn utilisation(db: &Db, now_ms: i64) -> sqlx::Result<BTreeMap<String, f64>> {
    let mut busy: BTreeMap<String, f64> = BTreeMap::new();
    let since_ms = now_ms - WINDOW_MS;
    for job in service::jobs(db, since_ms).await? {
        if let (Some(runner), Some(claimed_ms)) = (job.runner, job.claimed_ms) {
            let worked = job.finished_ms.unwrap_or(now_ms).min(now_ms) - claimed_ms.max(since_ms);
            *busy.entry(runner).or_default() += worked.max(0) as f64 / WINDOW_MS as f64;
        }
    }
    busy.values_mut().for_each(|share| *share = share.min(1.0));
    Ok(busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_there_is() {
        let hundred = Quantiles::of((1..=100).map(f64::from).collect());
        assert_eq!((hundred.p50, hundred.p90, hundred.p99), (Some(50.0), Some(90.0), Some(99.0)));
        assert_eq!(Quantiles::of(vec![3.0]).p99, Some(3.0));
        assert_eq!(Quantiles::of(vec![f64::NAN]), Quantiles { n: 0, p50: None, p90: None, p99: None });
    }

    #[test]
    fn who_still_waits_counts_so_far() {
        let job = |state: &str, claimed_ms, finished_ms| JobTimes {
            state: state.into(),
            runner: None,
            created_ms: 0,
            claimed_ms,
            finished_ms,
        };
        let jobs = sum_up(
            &[
                job("queued", None, None),
                job("done", Some(2_000), Some(5_000)),
                job("superseded", None, Some(1)),
            ],
            10_000,
        );
        assert_eq!((jobs.waited.n, jobs.waited.p99, jobs.took.p50), (2, Some(10.0), Some(3.0)));
        assert_eq!((jobs.queued, jobs.done), (1, 1));
    }
}
