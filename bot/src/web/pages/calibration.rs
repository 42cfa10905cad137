//! `/{owner}/{name}/calibration`: what runners made of no change at all, benchmark by benchmark.

use super::access::{AtRepository, Readable};
use super::parts::{Badge, Kind, clean};
use super::{Page, Site, render};
use crate::calibration::{Observation, Standing, VISITS_MIN, WINDOW_MS, quarantine, standing};
use crate::db::{calibrations, runners};
use crate::format;
use crate::measures::ratio;
use askama::Template;
use axum::extract::State;
use perfsuite::verdict::{Rule, VISITS_MAX};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The budget that most repositories have: one false alarm in a hundred runs.
const BUDGET: f64 = 0.01;

/// How one runner stands to a repository's benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunnerCalibration {
    pub runner: String,
    /// Why nothing that it measures blocks.
    pub quarantine: Option<String>,
    /// Measurements of identical code in the window, and those that raised an alarm.
    pub measurements: usize,
    pub alarms: usize,
    pub benchmarks: Vec<BenchmarkCalibration>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BenchmarkCalibration {
    pub suite: String,
    pub benchmark: String,
    pub metric: String,
    /// `good`, `noisy`, `biased`, `alarming` or `uncalibrated`.
    pub standing: &'static str,
    pub visits: u64,
    pub spread: Option<f64>,
    /// What no change seemed to be, on average.
    pub bias: Option<f64>,
    pub measurements: usize,
    pub alarms: usize,
    /// The smallest change that a run would find here, by this spread.
    pub smallest_visible: Option<f64>,
}

/// All of a repository's, as page and API show it.
pub async fn load(site: &Site, repository: &Readable) -> Result<Vec<RunnerCalibration>, sqlx::Error> {
    let since_ms = site.clock.now_ms() - WINDOW_MS;
    let mut all = Vec::new();
    for runner in runners::all(&site.db).await? {
        let seen = calibrations::of_repository(site.db.pool(), repository.id, &runner.id, since_ms).await?;
        if seen.is_empty() {
            continue;
        }
        let everything = calibrations::of_runner(site.db.pool(), &runner.id, since_ms).await?;
        all.push(RunnerCalibration {
            runner: runner.name,
            quarantine: quarantine(&everything),
            measurements: seen.len(),
            alarms: seen.iter().filter(|one| one.alarm).count(),
            benchmarks: by_benchmark(&seen),
        });
    }
    Ok(all)
}

fn by_benchmark(seen: &[Observation]) -> Vec<BenchmarkCalibration> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Observation>> = BTreeMap::new();
    for one in seen {
        groups.entry((&one.suite, &one.benchmark.0, &one.metric)).or_default().push(one);
    }
    let rule = Rule::new(BUDGET, u32::try_from(groups.len()).unwrap_or(u32::MAX));
    groups
        .into_iter()
        .map(|((suite, benchmark, metric), group)| {
            let finite: Vec<&&Observation> =
                group.iter().filter(|one| one.estimate.is_finite() && one.spread.is_finite()).collect();
            let visits: u64 = finite.iter().map(|one| u64::from(one.visits)).sum();
            let weighted = |of: fn(&Observation) -> f64| {
                let sum: f64 = finite.iter().map(|one| f64::from(one.visits) * of(one)).sum();
                (visits > 0).then(|| sum / visits as f64)
            };
            let spread = weighted(|one| one.spread * one.spread).map(f64::sqrt);
            BenchmarkCalibration {
                suite: suite.into(),
                benchmark: benchmark.into(),
                metric: metric.into(),
                standing: match standing(group.iter().copied()) {
                    Standing::Good => "good",
                    Standing::Noisy { .. } => "noisy",
                    Standing::Biased { .. } => "biased",
                    Standing::Alarming { .. } => "alarming",
                    Standing::Uncalibrated { .. } => "uncalibrated",
                },
                visits,
                spread,
                bias: weighted(|one| one.estimate),
                measurements: group.len(),
                alarms: group.iter().filter(|one| one.alarm).count(),
                smallest_visible: spread
                    .and_then(|spread| rule.smallest_visible(spread, VISITS_MAX))
                    .map(f64::exp_m1),
            }
        })
        .collect()
}

#[derive(Template)]
#[template(path = "pages/calibration.html")]
struct CalibrationPage {
    name: String,
    tab: &'static str,
    visits_min: u32,
    runners: Vec<RunnerView>,
}

struct RunnerView {
    name: String,
    quarantine: Option<String>,
    rate: String,
    rows: Vec<RowView>,
}

struct RowView {
    suite: String,
    benchmark: String,
    metric: String,
    standing: Badge,
    visits: String,
    spread: String,
    bias: String,
    alarms: String,
    smallest: String,
}

pub async fn show(State(site): State<Site>, AtRepository(repository): AtRepository) -> Page {
    let runners = load(&site, &repository).await?;
    render(&CalibrationPage {
        name: repository.name.to_string(),
        tab: "calibration",
        visits_min: VISITS_MIN,
        runners: runners.iter().map(view).collect(),
    })
}

fn view(one: &RunnerCalibration) -> RunnerView {
    let share = ratio::share(one.alarms, one.measurements);
    let percent = |value: Option<f64>| value.map_or(format::NONE.into(), format::percent);
    RunnerView {
        name: clean(&one.runner),
        quarantine: one.quarantine.as_deref().map(clean),
        rate: match share {
            Some(share) => format!(
                "{} of {} measurements of identical code raised an alarm: {} (95 % interval {} to {}).",
                format::thousands(one.alarms as f64),
                format::thousands(one.measurements as f64),
                format::percent(share.value),
                percent(share.low),
                percent(share.high)
            ),
            None => "Nothing was measured against itself yet.".into(),
        },
        rows: one
            .benchmarks
            .iter()
            .map(|row| RowView {
                suite: clean(&row.suite),
                benchmark: clean(&row.benchmark),
                metric: clean(&row.metric),
                standing: match row.standing {
                    "good" => Badge::new(Kind::Fine, "may block"),
                    "noisy" => Badge::new(Kind::Unsure, "noisy: recorded only"),
                    "biased" => Badge::new(Kind::Unsure, "biased: told only"),
                    "alarming" => Badge::new(Kind::Broken, "false alarms: told only"),
                    _ => Badge::new(Kind::Waiting, "measured too little"),
                },
                visits: format::thousands(row.visits as f64),
                spread: percent(row.spread),
                bias: row.bias.map_or(format::NONE.into(), format::change),
                alarms: format!("{} of {}", row.alarms, row.measurements),
                smallest: percent(row.smallest_visible),
            })
            .collect(),
    }
}
