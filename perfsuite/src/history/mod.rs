//! A benchmark's history: where along a series of commits its level changed. Pure.
//!
//! Four steps, each with its reason:
//!
//! 1. Logarithms, so that a step of 3 % is as high at 10 ns as at 10 s, and a spread that resists outliers and steps
//!    (`spread.rs`).
//! 2. The cheapest piecewise constant level under a loss that stops growing: an outlier costs what it costs, however
//!    far away it lies, and cannot buy a segment of its own (`segment.rs`).
//! 3. A rank test of what lies on both sides of every step; the least certain one goes, its neighbours are asked again,
//!    until all that are left are beyond doubt (`ranks.rs`). Ranks assume nothing about the noise's distribution.
//! 4. Close to the end of a series a step is *provisional*: some more points may still unsay it.
//!
//! How often that is right is measured by `trial.rs`; the figures are in `docs/accuracy.md`.

pub mod generate;
mod ranks;
pub mod read;
mod segment;
mod spread;
pub mod trial;

use crate::verdict::sample::median;
use serde::{Deserialize, Serialize};
use spread::Noise;

/// One measurement: its place in the history, and its value, which is positive (a time, a count, a ratio).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub index: i64,
    pub value: f64,
}

/// Whether more points may still unsay a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Provisional,
    Confirmed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Of the first point after the change.
    pub index: i64,
    /// The same as a position among the points.
    pub at: usize,
    /// Level after the change over the level before it, less 1: 0.03 is 3 % more.
    pub size: f64,
    pub state: State,
}

/// What a change has to be to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Changes smaller than this, as a fraction, are not told.
    pub size_min: f64,
    /// What an additional step has to save, in squared spreads, for each natural logarithm of the number of points.
    pub penalty: f64,
    /// The level of the rank test for a series of one point; it falls as the series gets longer.
    pub certainty: f64,
}

impl Default for Rule {
    /// - 1 %, as the verdict on a single pull request has it.
    /// - A little more than plain normal noise needs (2: Yao, Statistics & Probability Letters 6, 1988): a step that is
    ///   missed here is missed for good, and one too many is taken out by the rank test.
    /// - The place of a step was chosen as the best of many, so the level is far below the share of false alarms that
    ///   comes of it. Chosen by `trial.rs`.
    fn default() -> Self {
        Rule { size_min: 0.01, penalty: 2.5, certainty: 1e-2 }
    }
}

/// Points after the last change that make it confirmed: with 8 of them a burst of outliers is over.
const CONFIRMED_AFTER: usize = 8;
/// Shorter segments between two changes are bursts of outliers.
const SEGMENT_MIN: usize = 5;
/// Fewer points after the last change are not told, not even provisionally.
const END_MIN: usize = 4;
/// A rank test looks at so many points of each side, the nearest ones: beyond, it is certain anyway, and what is far
/// away in time says little about now.
const NEAREST: usize = 200;

/// Places of a step whose costs differ by less fit alike: what adding up costs leaves.
const ALIKE: f64 = 1e-9;
/// Of so many places that fit alike the best is looked for; more outliers in a row are a level of their own.
const ALIKE_MAX: usize = 8;

/// The changes of a series whose points are in order, oldest first.
///
/// The same for a series of `c * value`; points that are not positive and finite must have been left out.
pub fn change_points(points: &[Point], rule: &Rule) -> Vec<ChangePoint> {
    let logs: Vec<f64> = points.iter().map(|point| point.value.ln()).collect();
    let Some(noise) = Noise::of(&logs) else { return vec![] };
    let inflation = noise.inflation();
    let penalty = rule.penalty * inflation * (logs.len() as f64).ln();
    let centre = median(&logs).unwrap_or_default();
    let scaled: Vec<f64> = logs.iter().map(|log| (log - centre) / noise.spread).collect();
    let mut steps = Steps {
        logs: &logs,
        noise,
        size_min: rule.size_min,
        doubt_max: rule.certainty / logs.len() as f64,
        bounds: segment::segment(&scaled, penalty),
    };
    steps.settle();
    steps.prune();
    steps.settle();
    steps.prune();
    let bounds = &steps.bounds;
    let told = (1..bounds.len() - 1).map(|i| {
        let [from, at, to] = [bounds[i - 1], bounds[i], bounds[i + 1]];
        let level = |range| median(&logs[range]).unwrap_or_default();
        let open = to == logs.len() && to - at < CONFIRMED_AFTER;
        ChangePoint {
            index: points[at].index,
            at,
            size: (level(at..to) - level(from..at)).exp_m1(),
            state: if open { State::Provisional } else { State::Confirmed },
        }
    });
    told.collect()
}

/// Segments of a series, by their bounds: 0, the first point of every further segment, the length.
struct Steps<'a> {
    logs: &'a [f64],
    noise: Noise,
    size_min: f64,
    /// A rank test that leaves more doubt takes the step out.
    doubt_max: f64,
    bounds: Vec<usize>,
}

impl Steps<'_> {
    /// Takes out the least certain step, until all that are left hold.
    fn prune(&mut self) {
        let mut doubts: Vec<f64> = (0..self.bounds.len()).map(|i| self.doubt(i)).collect();
        loop {
            let worst = (0..doubts.len()).max_by(|a, b| doubts[*a].total_cmp(&doubts[*b]));
            let Some(worst) = worst.filter(|worst| doubts[*worst] > self.doubt_max) else { return };
            self.bounds.remove(worst);
            doubts.remove(worst);
            for near in [worst - 1, worst] {
                doubts[near] = self.doubt(near);
            }
        }
    }

    /// How likely what is on both sides of a bound is of one level; 0 for the ends, which are no steps, and more than 1
    /// for what is no step whatever its ranks.
    fn doubt(&self, i: usize) -> f64 {
        if i == 0 || i + 1 >= self.bounds.len() {
            return 0.0;
        }
        let [from, at, to] = [self.bounds[i - 1], self.bounds[i], self.bounds[i + 1]];
        let after_min = if to == self.logs.len() { END_MIN } else { SEGMENT_MIN };
        let before_min = if from == 0 { END_MIN } else { SEGMENT_MIN };
        let missing = after_min.saturating_sub(to - at) + before_min.saturating_sub(at - from);
        if missing > 0 {
            // The shortest goes first.
            return 2.0 + missing as f64;
        }
        let level = |range| median(&self.logs[range]).unwrap_or_default();
        if (level(at..to) - level(from..at)).exp_m1().abs() < self.size_min {
            return 2.0;
        }
        let left = &self.logs[from.max(at.saturating_sub(NEAREST))..at];
        let right = &self.logs[at..to.min(at + NEAREST)];
        if self.is_slope(left, right) {
            return 2.0;
        }
        ranks::doubt(left, right, self.noise.inflation())
    }

    /// Whether a straight line fits both sides together better than a level for each: a drift, which has no place. The
    /// line is Tukey's resistant one (Exploratory Data Analysis, 1977): through the medians of the outer thirds.
    fn is_slope(&self, left: &[f64], right: &[f64]) -> bool {
        let levels = [left, right].map(|side| median(side).unwrap_or_default());
        let all: Vec<f64> = left.iter().chain(right).copied().collect();
        let third = all.len() / 3;
        let [first, last] =
            [&all[..third], &all[all.len() - third..]].map(|part| median(part).unwrap_or_default());
        let slope = (last - first) / (all.len() - third).max(1) as f64;
        let rests: Vec<f64> = all.iter().enumerate().map(|(i, log)| log - slope * i as f64).collect();
        let start = median(&rests).unwrap_or_default();
        let cost = |distance: f64| segment::loss(distance / self.noise.spread);
        let line: f64 = rests.iter().map(|rest| cost(rest - start)).sum();
        let sides = [left, right].into_iter().zip(levels);
        let step: f64 =
            sides.flat_map(|(side, level)| side.iter().map(move |log| log - level)).map(cost).sum();
        line < step
    }

    /// Moves every step to where the levels on both sides fit best, since what was taken out may have lain beside it: a
    /// burst, so no further than one is long. Of two steps one of which was not certain, the other stays where it is.
    /// Outliers beside a step fit neither level, so several places may fit alike: of those the one where the sides are
    /// least likely of one level, so that an outlier weakens neither side, and the first of a series is not another
    /// than the last of the same one backwards.
    fn settle(&mut self) {
        for i in 1..self.bounds.len().saturating_sub(1) {
            let [from, at, to] = [self.bounds[i - 1], self.bounds[i], self.bounds[i + 1]];
            let level = |range| median(&self.logs[range]).unwrap_or_default();
            let (before, after) = (level(from..at), level(at..to));
            let cost = |log: f64, level: f64| segment::loss((log - level) / self.noise.spread);
            // What moving the bound to each place costs, against having it at `from`.
            let mut sum = 0.0;
            let mut least = f64::INFINITY;
            let mut best: Vec<usize> = vec![at];
            for (place, log) in (from..to).zip(&self.logs[from..to]) {
                if place > from && place.abs_diff(at) <= SEGMENT_MIN {
                    if sum < least - ALIKE {
                        least = sum;
                        best.clear();
                    }
                    if sum <= least + ALIKE {
                        best.push(place);
                    }
                }
                sum += cost(*log, before) - cost(*log, after);
            }
            best.truncate(ALIKE_MAX);
            let doubts = best.into_iter().map(|place| {
                self.bounds[i] = place;
                (self.doubt(i), place)
            });
            let settled = doubts.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(at, |(_, place)| place);
            self.bounds[i] = settled;
        }
    }
}

#[cfg(test)]
mod tests;
