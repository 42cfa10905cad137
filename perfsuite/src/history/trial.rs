//! How often change points are right, on generated histories whose changes are known. Pure.

use super::generate::{Noisy, Shape};
use super::{ChangePoint, Rule, State, change_points};
use crate::verdict::sample::median;
use serde::Serialize;

/// Only this near the true place is a change found. In points.
pub const TOLERANCE: usize = 2;
/// The same, for those to whom that is near enough.
pub const WIDE_TOLERANCE: usize = 5;
/// Series that are also watched point by point, of a scenario: each is judged as often as it has points.
const WATCHED_MAX: u64 = 500;
/// Longer ones are not watched.
const WATCHED_POINTS_MAX: usize = 400;

/// A kind of history.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub shape: Shape,
}

/// Histories with steps, and histories without any, of the same noise.
pub fn scenarios() -> Vec<Scenario> {
    let usual = Shape::default();
    let of = |name, shape| Scenario { name, shape };
    vec![
        of("3 % steps, 1 % noise, 4 % outliers", usual),
        of("the same, 0.5 % noise", Shape { spread: 0.005, ..usual }),
        of("the same, 1.5 % noise", Shape { spread: 0.015, ..usual }),
        of("the same, 2 % noise", Shape { spread: 0.02, gap: 40, ..usual }),
        of("10 % outliers", Shape { outliers: 0.1, ..usual }),
        of("outliers in bursts of up to 4", Shape { noisy: Noisy::Bursts(4), ..usual }),
        of("heavy tails (t, 3 degrees)", Shape { noisy: Noisy::HeavyTailed, ..usual }),
        of("neighbours correlated by 0.3", Shape { noisy: Noisy::Correlated(0.3), gap: 30, ..usual }),
        of("neighbours correlated by 0.5", Shape { noisy: Noisy::Correlated(0.5), gap: 40, ..usual }),
        of("values rounded to 1 %", Shape { noisy: Noisy::Rounded(0.01), ..usual }),
        of("a drift of 1 %", Shape { noisy: Noisy::Drift(0.01), ..usual }),
        of("60 points, 1 step", Shape { points: 60, steps: 1, gap: 12, ..usual }),
        of("1,000 points, 6 steps", Shape { points: 1_000, steps: 6, ..usual }),
    ]
}

/// What came of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    pub name: &'static str,
    pub series: u64,
    /// Steps that there are, changes that were told, and those of them that are right.
    pub steps: usize,
    pub told: usize,
    pub right: usize,
    /// Of the right ones, those at the very point.
    pub exact: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// With the wide tolerance.
    pub f1_wide: f64,
    /// Of the right ones, the median error of the size, in points of a hundred.
    pub size_error: f64,
    /// Of histories without a step, judged once: the share with any change told; with a confirmed one.
    pub alarms: f64,
    pub alarms_confirmed: f64,
    /// Of histories without a step, judged anew after every point: the share with any change ever told; confirmed.
    pub watched: u64,
    pub watched_alarms: f64,
    pub watched_confirmed: f64,
    /// Points after a step until it is told, and until it is confirmed: medians of what was found.
    pub told_after: f64,
    pub confirmed_after: f64,
}

/// Judges `series` histories with steps, and as many without.
pub fn tally(scenario: &Scenario, rule: &Rule, series: u64, seed: u64) -> Tally {
    let mut tally = Tally { name: scenario.name, series, ..Tally::default() };
    let (mut errors, mut wide) = (Vec::new(), 0);
    for i in 0..series {
        let made = scenario.shape.series(seed.wrapping_add(i));
        let told = change_points(&made.points, rule);
        tally.steps += made.steps.len();
        tally.told += told.len();
        wide += matched(&told, &made.steps, WIDE_TOLERANCE).len();
        for (change, size) in matched(&told, &made.steps, TOLERANCE) {
            tally.right += 1;
            tally.exact += usize::from(made.steps.iter().any(|(at, _)| *at == change.at));
            errors.push((change.size - size).abs());
        }
    }
    let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    tally.precision = share(tally.right, tally.told);
    tally.recall = share(tally.right, tally.steps);
    tally.f1 = share(2 * tally.right, tally.told + tally.steps);
    tally.f1_wide = share(2 * wide, tally.told + tally.steps);
    tally.size_error = median(&errors).unwrap_or_default() * 100.0;

    let calm = Shape { steps: 0, ..scenario.shape };
    let (mut any, mut confirmed) = (0, 0);
    for i in 0..series {
        let told = change_points(&calm.series(seed.wrapping_add(i)).points, rule);
        any += usize::from(!told.is_empty());
        confirmed += usize::from(told.iter().any(|change| change.state == State::Confirmed));
    }
    tally.alarms = share(any, series as usize);
    tally.alarms_confirmed = share(confirmed, series as usize);
    watch(scenario, rule, seed, &mut tally);
    tally
}

/// Judges histories anew after every point, as a server does.
fn watch(scenario: &Scenario, rule: &Rule, seed: u64, tally: &mut Tally) {
    if scenario.shape.points > WATCHED_POINTS_MAX {
        return;
    }
    tally.watched = tally.series.min(WATCHED_MAX);
    let (mut any, mut confirmed) = (0usize, 0usize);
    let (mut told_after, mut confirmed_after) = (Vec::new(), Vec::new());
    for i in 0..tally.watched {
        let calm = Shape { steps: 0, ..scenario.shape }.series(seed.wrapping_add(i));
        let states: Vec<State> = (1..=calm.points.len())
            .flat_map(|upto| change_points(&calm.points[..upto], rule))
            .map(|change| change.state)
            .collect();
        any += usize::from(!states.is_empty());
        confirmed += usize::from(states.contains(&State::Confirmed));

        let made = Shape { steps: 1, ..scenario.shape }.series(seed.wrapping_add(i));
        let Some((at, _)) = made.steps.first() else { continue };
        let mut first = [None, None];
        for upto in at + 1..=made.points.len().min(at + 60) {
            let told = change_points(&made.points[..upto], rule);
            for (change, _) in matched(&told, &made.steps, TOLERANCE) {
                first[0].get_or_insert(upto - at);
                if change.state == State::Confirmed {
                    first[1].get_or_insert(upto - at);
                }
            }
        }
        told_after.extend(first[0].map(|points| points as f64));
        confirmed_after.extend(first[1].map(|points| points as f64));
    }
    let of = tally.watched.max(1) as f64;
    tally.watched_alarms = any as f64 / of;
    tally.watched_confirmed = confirmed as f64 / of;
    tally.told_after = median(&told_after).unwrap_or_default();
    tally.confirmed_after = median(&confirmed_after).unwrap_or_default();
}

/// What was told and is true, each step by one change only, with the step's size.
fn matched(told: &[ChangePoint], steps: &[(usize, f64)], tolerance: usize) -> Vec<(ChangePoint, f64)> {
    let mut free: Vec<&ChangePoint> = told.iter().collect();
    let mut pairs = Vec::new();
    for (at, size) in steps {
        let near = (0..free.len()).filter(|i| free[*i].at.abs_diff(*at) <= tolerance);
        let near = near.filter(|i| free[*i].size.signum() == size.signum());
        if let Some(i) = near.min_by_key(|i| free[*i].at.abs_diff(*at)) {
            pairs.push((*free.remove(i), *size));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: usize, size: f64) -> ChangePoint {
        ChangePoint { index: at as i64, at, size, state: State::Confirmed }
    }

    #[test]
    fn a_step_is_found_once_near_its_place_and_with_its_sign() {
        let steps = [(50, 0.03), (100, -0.03)];
        let found = |told: &[ChangePoint]| {
            matched(told, &steps, TOLERANCE).iter().map(|(c, _)| c.at).collect::<Vec<_>>()
        };
        assert_eq!(found(&[change(49, 0.03), change(51, 0.03), change(50, 0.02)]), [50]);
        assert_eq!(found(&[change(53, 0.03), change(98, -0.02)]), [98]);
        assert_eq!(found(&[change(50, -0.03)]), Vec::<usize>::new());
    }

    /// The promise, on fewer series than `scripts/history-accuracy` takes.
    #[test]
    fn the_usual_history_is_told_right() {
        let usual = &scenarios()[0];
        let tally = tally(usual, &Rule::default(), 60, 11);
        assert!(tally.f1 >= 0.95, "{tally:?}");
        assert!(tally.alarms <= 0.02, "{tally:?}");
    }
}
