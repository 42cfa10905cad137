//! Draws decisions from measured visits, as if live, and counts how often they are right. Pure.
//!
//! Visits are drawn in blocks of successive ones, since neighbours in time resemble each other (moving-block bootstrap:
//! Künsch, Annals of Statistics 17, 1989), from the series taken as a circle, so that each is as likely as any other.

use crate::model::{Metric, Series};
use crate::verdict::comparison::{CONFIRMED_BY_SIZE, log_ratio};
use crate::verdict::sample::{Moments, median};
use crate::verdict::sequential::VISITS_MIN;
use crate::verdict::{Decision, Rule, VISITS_MAX, judge_ratios};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF};

/// Visits of a block: of 24 benchmarks in turn, neighbours of one lie about two seconds apart, and what lasts longer
/// than ten is drawn whole.
const BLOCK: usize = 5;
/// A decision within this time is in time: what a change of 3 % may cost a benchmark. In seconds.
pub const IN_TIME_S: f64 = 4.0;

/// How decisions are drawn.
#[derive(Clone, Debug)]
pub struct Trial {
    pub rule: Rule,
    /// Of each benchmark.
    pub decisions: u32,
    pub seed: u64,
}

/// Of one benchmark, or of several together: how often which answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Answers {
    pub decisions: u32,
    pub slower: u32,
    pub faster: u32,
    pub equal: u32,
    pub inconclusive: u32,
    /// Of the changes, those large enough to be confirmed whatever the instructions: between identical sides, what would
    /// have failed a check run.
    pub blocking: u32,
    /// Of the changes, those found within four seconds of machine time.
    pub in_time: u32,
    pub visits_mean: f64,
    pub seconds_mean: f64,
}

/// One benchmark's calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    pub repository: String,
    pub benchmark: String,
    pub relinked: bool,
    /// Time of one iteration of the base.
    pub base_ns: f64,
    /// Usable visits that were drawn from.
    pub visits: usize,
    /// Standard deviation of a visit's log-ratio, winsorised.
    pub spread: f64,
    /// The change over all visits, as a fraction, and its standard error: of identical sides the bias.
    pub change: f64,
    pub change_se: f64,
    /// Machine time of one visit.
    pub seconds_per_visit: f64,
    pub answers: Answers,
}

impl Trial {
    /// Draws from one series; `None` where it has too few usable visits for a decision.
    pub fn of(&self, repository: &str, relinked: bool, series: &Series) -> Option<Calibrated> {
        let ratios: Vec<f64> = series.visits.iter().filter_map(log_ratio).collect();
        if ratios.len() < VISITS_MIN || series.metric != Metric::Time {
            return None;
        }
        let moments = Moments::of(&ratios)?;
        let seconds_per_visit = series.seconds / series.visits.len() as f64;
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut answers = Answers::default();
        let mut drawn = Vec::with_capacity(VISITS_MAX);
        for _ in 0..self.decisions {
            drawn.clear();
            while drawn.len() < VISITS_MAX {
                let from = rng.random_range(0..ratios.len());
                let wanted = BLOCK.min(VISITS_MAX - drawn.len());
                drawn.extend((from..from + wanted).map(|at| ratios[at % ratios.len()]));
            }
            answers.add(&self.rule, &drawn, seconds_per_visit);
        }
        Some(Calibrated {
            repository: repository.to_owned(),
            benchmark: series.benchmark.0.clone(),
            relinked,
            base_ns: median(&series.visits.iter().map(|visit| visit.base).collect::<Vec<_>>())?,
            visits: ratios.len(),
            spread: moments.sd,
            change: moments.mean.exp_m1(),
            change_se: moments.se,
            seconds_per_visit,
            answers: answers.means(),
        })
    }

    /// Counts decisions that were made live.
    pub fn live(&self, series: &[Series]) -> Answers {
        let mut answers = Answers::default();
        for series in series.iter().filter(|series| series.metric == Metric::Time) {
            let ratios: Vec<f64> = series.visits.iter().filter_map(log_ratio).collect();
            answers.add(&self.rule, &ratios, series.seconds / series.visits.len().max(1) as f64);
        }
        answers.means()
    }
}

impl Calibrated {
    /// Decisions that called the change with the sign that all visits together have.
    pub fn found(&self) -> u32 {
        if self.change > 0.0 { self.answers.slower } else { self.answers.faster }
    }
}

impl Answers {
    /// Sums; turned into means at the end.
    fn add(&mut self, rule: &Rule, ratios: &[f64], seconds_per_visit: f64) {
        let judged = judge_ratios(rule, ratios);
        let seconds = judged.visits as f64 * seconds_per_visit;
        self.decisions += 1;
        self.visits_mean += judged.visits as f64;
        self.seconds_mean += seconds;
        match judged.decision {
            Decision::Equal => self.equal += 1,
            Decision::Inconclusive | Decision::Go => self.inconclusive += 1,
            Decision::Changed => {
                let side = if judged.mean > 0.0 { &mut self.slower } else { &mut self.faster };
                *side += 1;
                self.blocking += u32::from(judged.mean.abs() >= CONFIRMED_BY_SIZE.ln_1p());
                self.in_time += u32::from(seconds <= IN_TIME_S);
            }
        }
    }

    fn means(mut self) -> Answers {
        let count = f64::from(self.decisions.max(1));
        self.visits_mean /= count;
        self.seconds_mean /= count;
        self
    }

    pub fn changed(&self) -> u32 {
        self.slower + self.faster
    }

    /// Of several benchmarks together.
    pub fn sum(all: impl Iterator<Item = Answers>) -> Answers {
        let mut sum = Answers::default();
        for one in all {
            let count = f64::from(one.decisions);
            sum.decisions += one.decisions;
            sum.slower += one.slower;
            sum.faster += one.faster;
            sum.equal += one.equal;
            sum.inconclusive += one.inconclusive;
            sum.blocking += one.blocking;
            sum.in_time += one.in_time;
            sum.visits_mean += one.visits_mean * count;
            sum.seconds_mean += one.seconds_mean * count;
        }
        sum.means()
    }
}

/// The rate that `count` of `of` does not exceed, with 95 % confidence (one-sided; Clopper & Pearson, Biometrika 26,
/// 1934); 1 of nothing.
pub fn upper_bound(count: u32, of: u32) -> f64 {
    if count >= of {
        return 1.0;
    }
    let shape = Beta::new(f64::from(count) + 1.0, f64::from(of - count));
    shape.map_or(1.0, |beta| beta.inverse_cdf(0.95))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BenchmarkId, Side, Visit};

    /// 250 visits of 20 ms around `change` with some noise that repeats after 40.
    fn series(change: f64, noise: f64) -> Series {
        let visits = (0..250).map(|i| {
            let wave = f64::from((i * 17) % 40) / 39.0 - 0.5;
            Visit::single(Side::Base, 100.0, 100.0 * (1.0 + change) * (noise * wave).exp())
        });
        Series {
            suite: "s".into(),
            benchmark: BenchmarkId("b".into()),
            metric: Metric::Time,
            visits: visits.collect(),
            seconds: 250.0 * 0.02,
            instructions: None,
        }
    }

    fn trial() -> Trial {
        Trial { rule: Rule::new(0.01, 100), decisions: 400, seed: 7 }
    }

    #[test]
    fn identical_sides_are_equal_and_a_change_is_found() {
        let same = trial().of("r", false, &series(0.0, 0.02)).unwrap();
        assert_eq!((same.answers.equal, same.answers.changed()), (400, 0), "{same:?}");
        assert!(same.change.abs() < 0.001 && same.spread > 0.005, "{same:?}");
        let slow = trial().of("r", false, &series(0.10, 0.02)).unwrap();
        assert_eq!((slow.answers.slower, slow.answers.blocking, slow.answers.in_time), (400, 400, 400));
        assert!((slow.answers.seconds_mean - slow.answers.visits_mean * 0.02).abs() < 1e-9);
        let small = trial().of("r", false, &series(0.05, 0.02)).unwrap();
        assert_eq!((small.answers.slower, small.answers.blocking), (400, 0), "below 8 %");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let noisy = series(0.03, 0.1);
        assert_eq!(trial().of("r", false, &noisy), trial().of("r", false, &noisy));
        let other = Trial { seed: 8, ..trial() };
        assert_ne!(trial().of("r", false, &noisy), other.of("r", false, &noisy));
    }

    #[test]
    fn too_few_visits_are_no_calibration() {
        let mut short = series(0.0, 0.02);
        short.visits.truncate(9);
        assert_eq!(trial().of("r", false, &short), None);
    }

    #[test]
    fn sums_weigh_by_decisions() {
        let one = |decisions, visits_mean| Answers { decisions, visits_mean, ..Answers::default() };
        let sum = Answers::sum([one(100, 10.0), one(300, 20.0)].into_iter());
        assert_eq!((sum.decisions, sum.visits_mean), (400, 17.5));
    }

    /// The rule of three, and a value from tables of the exact interval.
    #[test]
    fn bounds_are_the_exact_ones() {
        assert!((upper_bound(0, 30_000) - 0.999_857e-4).abs() < 2e-7, "{}", upper_bound(0, 30_000));
        assert!((upper_bound(2, 20) - 0.282_6).abs() < 5e-4, "{}", upper_bound(2, 20));
        assert_eq!(upper_bound(0, 0), 1.0);
    }
}
