//! Whether two samples are of one level, by their ranks alone (Mann & Whitney, Annals of Mathematical Statistics 18,
//! 1947).

use statrs::distribution::{ContinuousCDF, Normal};

/// With fewer values on one side the exact distribution is used: the normal one is wrong by orders of magnitude where
/// a test of one in ten thousand is wanted.
const EXACT_BELOW: usize = 12;
/// Values of the other side that the exact distribution counts; more change nothing that matters, and cost time.
const EXACT_OTHER_MAX: usize = 60;

/// How likely it is that both samples, `left` ending where `right` begins, came of one distribution: two-sided.
///
/// `inflation` is by how much correlation between neighbours widens the variance; 1 with none.
pub(super) fn doubt(left: &[f64], right: &[f64], inflation: f64) -> f64 {
    let exact = left.len().min(right.len()) < EXACT_BELOW;
    let (left, right) = if exact {
        (&left[left.len().saturating_sub(EXACT_OTHER_MAX)..], &right[..right.len().min(EXACT_OTHER_MAX)])
    } else {
        (left, right)
    };
    let ranks = Ranks::of(left, right);
    let plain = if exact { exact_tails(left.len(), right.len(), ranks.u) } else { ranks.normal_tails(1.0) };
    if inflation <= 1.0 {
        return plain;
    }
    // The same deviate, drawn in by what neighbours repeat of each other.
    let deviate = standard().inverse_cdf((plain / 2.0).max(f64::MIN_POSITIVE)) / inflation.sqrt();
    2.0 * standard().cdf(deviate)
}

struct Ranks {
    sizes: (f64, f64),
    /// Pairs in which the left value is the larger one, equal ones counting half; or the others, if they are fewer.
    u: f64,
    /// Sum over all ties of t³ - t.
    ties: f64,
}

impl Ranks {
    fn of(left: &[f64], right: &[f64]) -> Ranks {
        let mut all: Vec<(f64, bool)> = left.iter().map(|v| (*v, true)).collect();
        all.extend(right.iter().map(|v| (*v, false)));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut sum, mut ties) = (0.0, 0.0);
        let mut at = 0;
        while at < all.len() {
            let end = at + all[at..].iter().take_while(|(value, _)| *value == all[at].0).count();
            let rank = (at + 1 + end) as f64 / 2.0;
            sum += rank * all[at..end].iter().filter(|(_, is_left)| *is_left).count() as f64;
            let tied = (end - at) as f64;
            ties += tied.powi(3) - tied;
            at = end;
        }
        let (m, n) = (left.len() as f64, right.len() as f64);
        let u = sum - m * (m + 1.0) / 2.0;
        Ranks { sizes: (m, n), u: u.min(m * n - u), ties }
    }

    /// By the normal distribution, with the correction for ties and for continuity.
    fn normal_tails(&self, inflation: f64) -> f64 {
        let (m, n) = self.sizes;
        let all = m + n;
        let variance = m * n / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)));
        if variance <= 0.0 {
            return 1.0;
        }
        let deviate = (m * n / 2.0 - self.u - 0.5).max(0.0) / (variance * inflation).sqrt();
        (2.0 * standard().cdf(-deviate)).min(1.0)
    }
}

/// Twice the share of all orders of `m` and `n` values whose U is `u` or less. Ties, which the exact distribution does
/// not know, are on the safe side: halves are rounded up.
fn exact_tails(m: usize, n: usize, u: f64) -> f64 {
    let counts = orders(m, n);
    let all: f64 = counts.iter().sum();
    let upto = (u.ceil() as usize).min(m * n);
    (2.0 * counts[..=upto].iter().sum::<f64>() / all).min(1.0)
}

/// How many orders of `m` and `n` values have each U: the coefficients of the Gaussian binomial, by multiplying with
/// `1 - q^(n+i)` and dividing by `1 - q^i` for each of the `m` values.
fn orders(m: usize, n: usize) -> Vec<f64> {
    let (few, many) = (m.min(n), m.max(n));
    let mut counts = vec![0.0; m * n + 1];
    counts[0] = 1.0;
    for i in 1..=few {
        for u in (many + i..counts.len()).rev() {
            counts[u] -= counts[u - many - i];
        }
        for u in i..counts.len() {
            counts[u] += counts[u - i];
        }
    }
    counts
}

fn standard() -> Normal {
    Normal::standard()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_counted_exactly() {
        assert_eq!(orders(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(orders(3, 4).iter().sum::<f64>(), 35.0);
        assert_eq!(orders(5, 60).iter().sum::<f64>(), 8_259_888.0);
    }

    /// Critical values from the published table of Mann and Whitney, two-sided 5 % and 1 %.
    #[test]
    fn exact_tails_are_those_of_the_table() {
        for (m, n, u, level) in [(8, 8, 13.0, 0.05), (5, 10, 8.0, 0.05), (7, 9, 7.0, 0.01)] {
            assert!(exact_tails(m, n, u) <= level, "{m} {n} {u}");
            assert!(exact_tails(m, n, u + 1.0) > level, "{m} {n} {u}");
        }
    }

    #[test]
    fn both_distributions_agree_where_they_meet() {
        let left: Vec<f64> = (0..12).map(f64::from).collect();
        let right: Vec<f64> = (0..40).map(|i| f64::from(i) * 0.5 - 1.0).collect();
        let ranks = Ranks::of(&left, &right);
        let (exact, normal) = (exact_tails(12, 40, ranks.u), ranks.normal_tails(1.0));
        assert!((exact / normal - 1.0).abs() < 0.1, "{exact} {normal}");
    }

    #[test]
    fn a_step_is_certain_and_equals_are_not() {
        let low: Vec<f64> = (0..30).map(|i| f64::from(i % 5)).collect();
        let high: Vec<f64> = low.iter().map(|v| v + 10.0).collect();
        assert!(doubt(&low, &high, 1.0) < 1e-9);
        assert!(doubt(&low, &low, 1.0) > 0.9);
        assert_eq!(doubt(&[1.0; 20], &[1.0; 20], 1.0), 1.0);
        assert!(doubt(&low, &high[..4], 1.0) < 1e-4);
        assert!(doubt(&low, &high, 3.0) > doubt(&low, &high, 1.0));
        assert!(doubt(&low, &high, 3.0) < 1e-3);
    }

    #[test]
    fn sides_are_alike() {
        let a = [1.0, 4.0, 2.0, 8.0, 5.0];
        let b = [7.0, 1.5, 9.0, 6.0, 11.0, 12.0];
        let reversed = |v: &[f64]| v.iter().rev().copied().collect::<Vec<_>>();
        assert_eq!(doubt(&a, &b, 1.0), doubt(&reversed(&b), &reversed(&a), 1.0));
    }
}
