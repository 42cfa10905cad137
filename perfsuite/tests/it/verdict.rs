//! What the verdict promises, as properties and as simulated runs with a fixed seed.
//!
//! The bounds are far from the expected counts, so that only a broken rule fails them.

use perfsuite::verdict::sequential::VISITS_MIN;
use perfsuite::verdict::{Decision, Rule, VISITS_MAX, judge_ratios};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How one machine's log-ratios scatter around the true change.
#[derive(Clone, Copy, Debug)]
enum Noise {
    Normal,
    /// One visit in ten is five times as wild: a neighbour woke up.
    Contaminated,
    /// Every process lands in one of two layouts.
    Bimodal,
}

const NOISES: [Noise; 3] = [Noise::Normal, Noise::Contaminated, Noise::Bimodal];

impl Noise {
    fn draw(self, rng: &mut StdRng) -> f64 {
        let normal = gauss(rng);
        match self {
            Noise::Normal => normal,
            Noise::Contaminated if rng.random_bool(0.1) => 5.0 * normal,
            Noise::Contaminated => normal,
            // Difference of two processes, each in layout 0 or 1: -1, 0, 0, +1, with a little noise.
            Noise::Bimodal => {
                let layout = |rng: &mut StdRng| if rng.random_bool(0.5) { 1.0 } else { 0.0 };
                layout(rng) - layout(rng) + 0.2 * normal
            }
        }
    }
}

/// Box and Muller's transform.
fn gauss(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// One benchmark, measured to the cap; the rule decides how much of it is looked at.
fn simulate(rng: &mut StdRng, noise: Noise, change: f64, spread: f64) -> Vec<f64> {
    (0..VISITS_MAX).map(|_| change.ln_1p() + spread * noise.draw(rng)).collect()
}

fn count(runs: usize, mut happens: impl FnMut() -> bool) -> usize {
    (0..runs).filter(|_| happens()).count()
}

#[test]
fn identical_sides_raise_no_alarm() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(1);
    for noise in NOISES {
        for spread in [0.02, 0.06] {
            let alarms =
                count(1_500, || rule.decide(&simulate(&mut rng, noise, 0.0, spread)) == Decision::Changed);
            // 5e-5 each: 0.08 expected.
            assert!(alarms <= 2, "{noise:?} at {spread}: {alarms} alarms in 1,500");
        }
    }
}

#[test]
fn a_slowdown_of_ten_percent_is_found_at_four_percent_spread() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(2);
    let mut visits = 0;
    let found = count(500, || {
        let judged = judge_ratios(&rule, &simulate(&mut rng, Noise::Normal, 0.10, 0.04));
        visits += judged.visits;
        judged.decision == Decision::Changed && judged.mean > 0.0
    });
    assert!(found >= 499, "{found} of 500");
    assert!(visits < 30 * 500, "stops early: {} visits on average", visits / 500);
}

#[test]
fn a_slowdown_of_three_percent_is_found_at_four_percent_spread() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(3);
    let found =
        count(500, || rule.decide(&simulate(&mut rng, Noise::Normal, 0.03, 0.04)) == Decision::Changed);
    assert!(found >= 475, "{found} of 500");
}

#[test]
fn a_true_change_is_not_called_equal() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(4);
    for noise in NOISES {
        for spread in [0.02, 0.03, 0.04, 0.06] {
            for change in [0.03, -0.03] {
                let equal =
                    count(500, || rule.decide(&simulate(&mut rng, noise, change, spread)) == Decision::Equal);
                assert!(equal <= 10, "{noise:?} at {spread}: {change} called equal {equal} times in 500");
                let equal = count(500, || {
                    let ratios = simulate(&mut rng, noise, change, spread);
                    let time_ran_out = rng.random_range(VISITS_MIN..VISITS_MAX);
                    judge_ratios(&rule, &ratios[..time_ran_out]).at_the_end().decision == Decision::Equal
                });
                assert!(
                    equal <= 10,
                    "{noise:?} at {spread}: {change} called equal {equal} times in 500, cut"
                );
            }
        }
    }
}

#[test]
fn interval_covers_at_any_stop() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(5);
    for noise in NOISES {
        for spread in [0.01, 0.08] {
            for change in [0.0, 0.03, 0.10, 0.25] {
                let covered = count(300, || {
                    let judged = judge_ratios(&rule, &simulate(&mut rng, noise, change, spread));
                    (judged.mean - f64::ln_1p(change)).abs() <= judged.half_width
                });
                assert!(covered >= 275, "{noise:?} at {spread}, {change}: covered {covered} of 300");
            }
        }
    }
}

#[test]
fn the_smallest_visible_change_is_visible() {
    let rule = Rule::new(0.01, 100);
    let mut rng = StdRng::seed_from_u64(6);
    for spread in [0.01, 0.06] {
        let stated = judge_ratios(&rule, &simulate(&mut rng, Noise::Normal, 0.0, spread)).smallest_visible;
        let found = count(300, || {
            let ratios = simulate(&mut rng, Noise::Normal, stated.exp_m1(), spread);
            rule.decide(&ratios) == Decision::Changed
        });
        assert!(found >= 255, "at {spread}: {stated} was found {found} times in 300");
    }
}

/// Ratios around a change, on one of the scales that real benchmarks have.
fn ratios() -> impl Strategy<Value = Vec<f64>> {
    (any::<u64>(), -0.2..0.2f64, 0.0005..0.1f64, 0..=140usize).prop_map(|(seed, change, spread, count)| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..count).map(|_| change + spread * gauss(&mut rng)).collect()
    })
}

proptest! {
    #[test]
    fn swapping_the_sides_mirrors_the_verdict(ratios in ratios()) {
        let rule = Rule::new(0.01, 20);
        let swapped: Vec<f64> = ratios.iter().map(|d| -d).collect();
        let (one, other) = (judge_ratios(&rule, &ratios), judge_ratios(&rule, &swapped));
        prop_assert_eq!(one.decision, other.decision);
        prop_assert_eq!(one.visits, other.visits);
        prop_assert!((one.mean + other.mean).abs() < 1e-12);
        prop_assert!(one.half_width == other.half_width || (one.half_width - other.half_width).abs() < 1e-12);
    }

    #[test]
    fn order_within_a_look_does_not_matter(ratios in ratios()) {
        let rule = Rule::new(0.01, 20);
        let mut turned = ratios.clone();
        let within = turned.len().min(10);
        turned[..within].reverse();
        prop_assert_eq!(judge_ratios(&rule, &ratios), judge_ratios(&rule, &turned));
    }

    #[test]
    fn a_larger_budget_never_finds_less(ratios in ratios(), small in 1e-6..0.1f64, factor in 1.0..100.0f64) {
        if Rule::new(small, 20).decide(&ratios) == Decision::Changed {
            prop_assert_eq!(Rule::new(small * factor, 20).decide(&ratios), Decision::Changed);
        }
    }

    #[test]
    fn more_judged_pairs_never_find_more(ratios in ratios(), pairs in 1..500u32, more in 0..500u32) {
        if Rule::new(0.01, pairs + more).decide(&ratios) == Decision::Changed {
            prop_assert_eq!(Rule::new(0.01, pairs).decide(&ratios), Decision::Changed);
        }
    }

    #[test]
    fn words_and_interval_never_contradict(ratios in ratios()) {
        let judged = judge_ratios(&Rule::new(0.01, 20), &ratios);
        match judged.decision {
            Decision::Changed => prop_assert!(judged.mean.abs() > judged.half_width),
            Decision::Equal => prop_assert!(judged.mean.abs() + judged.half_width < 0.025),
            Decision::Inconclusive => {}
            Decision::Go => prop_assert!(false, "a replay always answers"),
        }
    }
}
