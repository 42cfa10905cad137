//! CHAOSS' Contributor Absence Factor (once "bus factor"): the fewest people who made half of all contributions.

use super::Estimate;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Resamples of the interval: its ends move by less than one person with more.
const RESAMPLES: usize = 200;
/// Above this a Poisson number is as good as a normal one.
const MANY: f64 = 30.0;
/// Always the same draws, so that a page read twice says the same.
const SEED: u64 = 7;

/// The factor, with a 95 % bootstrap interval over contributions; `None` where nobody contributed.
///
/// Each person's contributions are drawn anew as a Poisson number of the same mean, which costs as much as there are
/// people, however many the contributions.
pub fn factor(contributions: &[u64]) -> Option<Estimate> {
    let value = fewest(contributions)?;
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut seen: Vec<usize> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let drawn: Vec<u64> = contributions.iter().map(|many| poisson(&mut rng, *many as f64)).collect();
        seen.extend(fewest(&drawn));
    }
    seen.sort_unstable();
    let last = seen.len().saturating_sub(1) as f64;
    let at = |share: f64| seen.get((last * share).round() as usize).map(|n| *n as f64);
    Some(Estimate { value: value as f64, low: at(0.025), high: at(0.975) })
}

/// The factor alone.
pub fn point(contributions: &[u64]) -> Option<f64> {
    fewest(contributions).map(|people| people as f64)
}

fn poisson(rng: &mut StdRng, mean: f64) -> u64 {
    if mean > MANY {
        let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random_range(0.0..1.0));
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
    }
    // Knuth's: how many uniform numbers multiplied stay above e^-mean.
    let (limit, mut product, mut count) = ((-mean).exp(), 1.0, 0);
    loop {
        product *= rng.random_range(0.0..1.0);
        if product <= limit {
            return count;
        }
        count += 1;
    }
}

fn fewest(contributions: &[u64]) -> Option<usize> {
    let total: u64 = contributions.iter().sum();
    if total == 0 {
        return None;
    }
    let mut sorted = contributions.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let mut reached = 0;
    let enough = |many: &u64| {
        reached += many;
        reached * 2 >= total
    };
    sorted.iter().position(enough).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaoss_own_example() {
        let factor = factor(&[1000, 202, 90, 33, 332, 343, 42, 433]).unwrap();
        assert_eq!(factor.value, 2.0);
        assert_eq!((factor.low, factor.high), (Some(2.0), Some(2.0)), "2,475 contributions are many");
    }

    #[test]
    fn few_contributions_say_little() {
        assert_eq!(factor(&[]), None);
        assert_eq!(factor(&[0, 0]), None);
        assert_eq!(factor(&[5]).unwrap(), Estimate { value: 1.0, low: Some(1.0), high: Some(1.0) });
        let even = factor(&[1, 1, 1, 1]).unwrap();
        assert_eq!(even.value, 2.0);
        assert!(even.low < even.high, "{even:?}");
        assert_eq!(factor(&[1; 10]), factor(&[1; 10]), "the same is said each time");
    }
}
