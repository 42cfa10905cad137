//! When each request is due and which side gets it: pure, seeded, fixed before the first byte is sent.

pub use crate::model::job::Spacing;

use crate::model::Side;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Requests of one schedule: a minute at 30,000 a second; more would only cost memory (24 bytes each).
pub const SCHEDULE_REQUESTS_MAX: usize = 2_000_000;

/// What a schedule is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSpec {
    /// Over all sides together.
    pub rate_per_second: f64,
    pub window_ns: u64,
    pub spacing: Spacing,
    /// One side, or two that share the requests by a fair coin.
    pub sides: Vec<Side>,
    /// How many request templates there are; each arrival takes one of them at random.
    pub templates: u32,
    pub seed: u64,
}

/// One request: due so long after the start, to this side, by this template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at_ns: u64,
    pub side: Side,
    pub template: u32,
}

/// All requests of the window, in order of time. Empty when the rate is not a positive number or nobody is there to
/// send to; cut at [`SCHEDULE_REQUESTS_MAX`].
pub fn schedule(spec: &ScheduleSpec) -> Vec<Due> {
    if !spec.rate_per_second.is_finite() || spec.rate_per_second <= 0.0 || spec.sides.is_empty() {
        return Vec::new();
    }
    let mut rng = StdRng::seed_from_u64(spec.seed);
    let gap_ns = 1e9 / spec.rate_per_second;
    let expected = (spec.window_ns as f64 / gap_ns).ceil() as usize;
    let mut dues = Vec::with_capacity(expected.min(SCHEDULE_REQUESTS_MAX));
    let mut at_ns = 0.0;
    while dues.len() < SCHEDULE_REQUESTS_MAX {
        match spec.spacing {
            // Multiplied, not summed: a million small rounding errors would bend the rate.
            Spacing::Constant => at_ns = dues.len() as f64 * gap_ns,
            // 1 - u is in (0, 1], so the logarithm is finite.
            Spacing::Poisson => at_ns += -(1.0 - rng.random::<f64>()).ln() * gap_ns,
        }
        if at_ns >= spec.window_ns as f64 {
            break;
        }
        let side = spec.sides[rng.random_range(0..spec.sides.len())];
        let template = rng.random_range(0..spec.templates.max(1));
        dues.push(Due { at_ns: at_ns as u64, side, template });
    }
    dues
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(rate: f64, spacing: Spacing, seed: u64) -> ScheduleSpec {
        ScheduleSpec {
            rate_per_second: rate,
            window_ns: 2_000_000_000,
            spacing,
            sides: Side::BOTH.to_vec(),
            templates: 3,
            seed,
        }
    }

    #[test]
    fn the_coin_is_fair_and_the_templates_are_shared() {
        let dues = schedule(&spec(20_000.0, Spacing::Constant, 7));
        let head = dues.iter().filter(|d| d.side == Side::Head).count() as f64;
        let n = dues.len() as f64;
        // Five standard deviations of a fair coin.
        assert!((head - n / 2.0).abs() < 5.0 * (n / 4.0).sqrt(), "{head} of {n} went to head");
        for template in 0..3 {
            let share = dues.iter().filter(|d| d.template == template).count() as f64 / n;
            assert!((share - 1.0 / 3.0).abs() < 0.02, "template {template} has a share of {share}");
        }
    }

    #[test]
    fn a_rate_that_is_no_rate_gives_no_requests() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(schedule(&spec(rate, Spacing::Constant, 1)).is_empty());
        }
        assert!(schedule(&ScheduleSpec { sides: vec![], ..spec(10.0, Spacing::Poisson, 1) }).is_empty());
    }

    proptest! {
        // Each case makes tens of thousands of requests.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn times_grow_within_the_window_at_the_rate(
            rate in 100.0f64..20_000.0,
            poisson in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let spacing = if poisson { Spacing::Poisson } else { Spacing::Constant };
            let spec = spec(rate, spacing, seed);
            let dues = schedule(&spec);
            prop_assert!(dues.windows(2).all(|w| w[0].at_ns <= w[1].at_ns));
            prop_assert!(dues.iter().all(|d| d.at_ns < spec.window_ns && d.template < 3));
            let expected = rate * 2.0;
            // A Poisson count has its mean as its variance: six deviations; a constant one is exact up to an end.
            let slack = if poisson { 6.0 * expected.sqrt() } else { 1.0 };
            prop_assert!((dues.len() as f64 - expected).abs() <= slack);
            prop_assert_eq!(schedule(&spec), dues);
        }
    }
}
