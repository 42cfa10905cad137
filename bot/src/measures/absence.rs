//! CHAOSS' Contributor Absence Factor (once "bus factor"): the fewest people who made half of all contributions.

use super::Estimate;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Resamples of the interval: its ends move by less than one person with more.
const RESAMPLES: usize = 200;
/// Contributions that one resample draws at most; more do not make the interval narrower by a person.
const DRAWS_MAX: u64 = 4_000;
/// Always the same draws, so that a page read twice says the same.
const SEED: u64 = 7;

/// The factor, with a 95 % bootstrap interval over contributions; `None` where nobody contributed.
pub fn factor(contributions: &[u64]) -> Option<Estimate> {
    let value = fewest(contributions)?;
    let total: u64 = contributions.iter().sum();
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut ends = Vec::with_capacity(total.min(DRAWS_MAX) as usize);
    let mut reached = 0;
    for many in contributions {
        reached += many;
        ends.push(reached);
    }
    let mut seen: Vec<usize> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut drawn = vec![0; contributions.len()];
        for _ in 0..total.min(DRAWS_MAX) {
            let at = rng.random_range(0..total);
            drawn[ends.partition_point(|end| *end <= at)] += 1;
        }
        seen.extend(fewest(&drawn));
    }
    seen.sort_unstable();
    let at = |share: f64| seen.get(((seen.len() - 1) as f64 * share).round() as usize).map(|n| *n as f64);
    Some(Estimate { value: value as f64, low: at(0.025), high: at(0.975) })
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
