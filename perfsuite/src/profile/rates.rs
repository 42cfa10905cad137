//! By how much samples per unit of work changed, with an interval. Pure, and without random numbers.
//!
//! Samples of two sides that did `U` and `V` units of work are two counts with rates. Given their sum, the head's count
//! is binomial, and the exact interval of its share (Clopper and Pearson, Biometrika 26, 1934) is one of the ratio of
//! the rates (Przyborowski and Wiłeński, Biometrika 31, 1940): it holds for few samples, and for none on one side.
//!
//! Processes differ by more than counting does. So each function's dispersion over the visits of either side is
//! estimated, `φ = Σ (observed − expected)² / expected / degrees of freedom`, and counts are divided by it where it is
//! above one (quasi-likelihood: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989, section 9.2), which
//! widens the interval by its root. It is never taken below one, although regular sampling of regular work varies less
//! than a Poisson count.

use crate::model::profile::Shift;
use statrs::distribution::{Beta, ContinuousCDF};

/// One function's samples on one side, visit by visit, with the units of work of each.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    pub samples: &'a [u32],
    pub units: &'a [f64],
}

impl Counts<'_> {
    pub fn total(&self) -> f64 {
        self.samples.iter().map(|count| f64::from(*count)).sum()
    }

    fn work(&self) -> f64 {
        self.units.iter().filter(|units| units.is_finite() && **units > 0.0).sum()
    }

    /// Samples per unit of work; zero where no work was done.
    pub fn rate(&self) -> f64 {
        let work = self.work();
        if work > 0.0 { self.total() / work } else { 0.0 }
    }

    /// Sum of squares over expectations, and its degrees of freedom.
    fn scatter(&self) -> (f64, f64) {
        let (total, work) = (self.total(), self.work());
        if total <= 0.0 || work <= 0.0 {
            return (0.0, 0.0);
        }
        let mut scatter = (0.0, -1.0);
        for (count, units) in self.samples.iter().zip(self.units) {
            let expected = total * units / work;
            if expected > 0.0 && expected.is_finite() {
                scatter.0 += (f64::from(*count) - expected).powi(2) / expected;
                scatter.1 += 1.0;
            }
        }
        (scatter.0, f64::max(scatter.1, 0.0))
    }
}

/// The change of samples per unit of work from base to head, with an interval at `confidence` (0.95).
pub fn shift(base: Counts, head: Counts, confidence: f64) -> Shift {
    let unknown = Shift { estimate: None, low: -1.0, high: None };
    let (work_base, work_head) = (base.work(), head.work());
    if work_base <= 0.0 || work_head <= 0.0 || base.total() + head.total() <= 0.0 {
        return unknown;
    }
    let dispersion = dispersion(base, head);
    let (of_base, work_base) = thinned(base.total() / dispersion, work_base);
    let (of_head, work_head) = thinned(head.total() / dispersion, work_head);
    let tail = (1.0 - confidence) / 2.0;
    // A share of p among all samples is this ratio of rates, less one.
    let ratio = |share: f64| share / (1.0 - share) * work_base / work_head - 1.0;
    let low = if of_head <= 0.0 { Some(0.0) } else { quantile(of_head, of_base + 1.0, tail) };
    let high = if of_base <= 0.0 { Some(1.0) } else { quantile(of_head + 1.0, of_base, 1.0 - tail) };
    let estimate = (of_base > 0.0).then(|| head.rate() / base.rate() - 1.0);
    Shift {
        estimate: estimate.map(rounded),
        low: low.map_or(-1.0, |share| rounded(ratio(share).max(-1.0))),
        high: high.map(ratio).filter(|high| high.is_finite()).map(rounded),
    }
}

/// Of very many samples a part, with its part of the work: the limits are hardly wider for it, and computing them takes
/// longer the more there are, of which a stranger could claim any number.
fn thinned(samples: f64, work: f64) -> (f64, f64) {
    /// The rate of so many is known to within 1.4 %.
    const SAMPLES_MAX: f64 = 20_000.0;
    if samples > SAMPLES_MAX { (SAMPLES_MAX, work * SAMPLES_MAX / samples) } else { (samples, work) }
}

/// How much more than Poisson counts the visits scatter: one or more.
fn dispersion(base: Counts, head: Counts) -> f64 {
    let ((of_base, base_free), (of_head, head_free)) = (base.scatter(), head.scatter());
    let free = base_free + head_free;
    if free < 1.0 { 1.0 } else { ((of_base + of_head) / free).max(1.0) }
}

fn quantile(a: f64, b: f64, probability: f64) -> Option<f64> {
    let share = Beta::new(a, b).ok()?.inverse_cdf(probability);
    (0.0..=1.0).contains(&share).then_some(share)
}

/// Short enough that JSON gives it back as it was, and far below what sampling can tell.
pub(super) fn rounded(value: f64) -> f64 {
    const STEP: f64 = 1e6;
    if value.abs() < 1e9 { (value * STEP).round() / STEP } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn of<'a>(samples: &'a [u32], units: &'a [f64]) -> Counts<'a> {
        Counts { samples, units }
    }

    #[test]
    fn twice_the_samples_in_the_same_work_is_a_hundred_percent_more() {
        let found = shift(of(&[500, 500], &[10.0, 10.0]), of(&[1000, 1000], &[10.0, 10.0]), 0.95);
        assert_eq!(found.estimate, Some(1.0));
        // exp(± 1.96 √(1/1000 + 1/2000)) around 2.
        assert!((found.low - 0.85).abs() < 0.02 && (found.high.unwrap() - 1.16).abs() < 0.02, "{found:?}");
        let half = shift(of(&[500], &[10.0]), of(&[500], &[20.0]), 0.95);
        assert_eq!(half.estimate, Some(-0.5), "in twice the work");
    }

    /// The exact limits of a share, by the standard tables: 0 of 10, 10 of 10.
    #[test]
    fn no_sample_on_a_side_has_one_bound() {
        let gone = shift(of(&[10], &[1.0]), of(&[0], &[1.0]), 0.95);
        assert_eq!((gone.estimate, gone.low), (Some(-1.0), -1.0));
        assert!((gone.high.unwrap() - (0.3085 / 0.6915 - 1.0)).abs() < 1e-3, "{gone:?}");
        let new = shift(of(&[0], &[1.0]), of(&[10], &[1.0]), 0.95);
        assert_eq!((new.estimate, new.high), (None, None));
        assert!((new.low - (0.6915 / 0.3085 - 1.0)).abs() < 1e-3, "{new:?}");
        let nothing = shift(of(&[0], &[1.0]), of(&[0], &[1.0]), 0.95);
        assert_eq!((nothing.estimate, nothing.low, nothing.high), (None, -1.0, None));
        assert_eq!(shift(of(&[5], &[0.0]), of(&[5], &[1.0]), 0.95).estimate, None, "no work");
    }

    #[test]
    fn visits_that_scatter_widen_the_interval() {
        let units = [1.0; 4];
        let even = shift(of(&[100, 100, 100, 100], &units), of(&[100, 100, 100, 100], &units), 0.95);
        let uneven = shift(of(&[20, 180, 30, 170], &units), of(&[100, 100, 100, 100], &units), 0.95);
        assert!(uneven.high.unwrap() > 3.0 * even.high.unwrap(), "{even:?} {uneven:?}");
        assert_eq!(uneven.estimate, Some(0.0));
    }

    /// Of a thousand experiments with a true ratio, at least 950 intervals hold it (the exact one is cautious), with
    /// Poisson visits and with visits whose rate itself varies by a fifth.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        for (spread, least) in [(0.0, 940), (0.2, 920)] {
            let mut rng = StdRng::seed_from_u64(7);
            let units = [3.0; 12];
            let mut held = 0;
            for _ in 0..1_000 {
                let mut draw =
                    |mean: f64| -> Vec<u32> { (0..12).map(|_| poisson(&mut rng, mean, spread)).collect() };
                let (base, head) = (draw(20.0), draw(30.0));
                let found = shift(of(&base, &units), of(&head, &units), 0.95);
                held += usize::from(found.low <= 0.5 && found.high.is_none_or(|high| high >= 0.5));
            }
            assert!(held >= least, "{held} of 1000 hold it at a spread of {spread}");
        }
    }

    fn poisson(rng: &mut StdRng, mean: f64, spread: f64) -> u32 {
        let mean = mean * (1.0 + spread * (rng.random::<f64>() * 2.0 - 1.0) * 3_f64.sqrt());
        // Knuth's: products of uniform numbers.
        let (mut count, mut left, limit) = (0, 1.0, (-mean).exp());
        loop {
            left *= rng.random::<f64>();
            if left <= limit {
                return count;
            }
            count += 1;
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_estimate(
            base in prop::collection::vec(0_u32..5_000, 1..8),
            head in prop::collection::vec(0_u32..5_000, 1..8),
            work in 0.001_f64..1e9,
        ) {
            let (base_units, head_units) = (vec![work; base.len()], vec![work; head.len()]);
            let found = shift(of(&base, &base_units), of(&head, &head_units), 0.95);
            prop_assert!(found.low >= -1.0);
            if let Some(estimate) = found.estimate {
                prop_assert!(found.low <= estimate + 1e-6, "{:?}", found);
                prop_assert!(found.high.is_none_or(|high| high >= estimate - 1e-6), "{:?}", found);
            }
            let text = serde_json::to_string(&found).unwrap();
            prop_assert_eq!(serde_json::from_str::<crate::model::profile::Shift>(&text).unwrap(), found);
        }
    }
}
