//! How much a series varies from point to point, steps and outliers aside.

use crate::verdict::sample::median;

/// Makes the median absolute deviation an estimate of a normal distribution's standard deviation.
const MAD_TO_SD: f64 = 1.4826;
/// Makes the mean of the smaller nine tenths of |normal deviates| 1; where the median of differences is 0.
const TRIMMED: f64 = 0.9;
const TRIMMED_TO_SD: f64 = 1.0 / 0.633;
/// A series that varies less than this is taken to vary by this: exact counts, on which any step would be infinitely
/// certain. Well below any change that is told.
const SPREAD_MIN: f64 = 5e-4;
/// Fewer points have no spread to speak of.
const POINTS_MIN: usize = 8;
/// Differences of points so far apart are free of what joins neighbours, and still of the same level mostly.
const APART: [usize; 2] = [4, 5];
/// More correlation than this cannot be told from a drift.
const CORRELATION_MAX: f64 = 0.8;
/// Standard errors of the estimated correlation (about 1.7 / sqrt(n), by simulation) that are forgiven as chance.
const FORGIVEN: f64 = 1.7;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    /// Standard deviation of a point around its level.
    pub(super) spread: f64,
    /// Of neighbouring points, at least 0.
    pub(super) correlation: f64,
}

impl Noise {
    /// Of logarithms in order; `None` with too few.
    ///
    /// From differences, in which a step shows once and a drift hardly; their median absolute value is moved little by
    /// outliers. Where neighbours resemble each other (a machine that is slow for a day),
    /// differences of neighbours are smaller than those of points farther apart, which gives their correlation:
    /// `var(x[i+1] - x[i]) = 2 s² (1 - r)`.
    pub(super) fn of(logs: &[f64]) -> Option<Noise> {
        if logs.len() < POINTS_MIN {
            return None;
        }
        let near = difference(logs, 1).max(SPREAD_MIN);
        let apart = APART.map(|lag| difference(logs, lag)).iter().sum::<f64>() / APART.len() as f64;
        let spread = near.max(apart);
        let chance = FORGIVEN / (logs.len() as f64).sqrt();
        let correlation = (1.0 - (near / spread).powi(2) - chance).clamp(0.0, CORRELATION_MAX);
        Some(Noise { spread, correlation })
    }

    /// By how much correlation widens the variance of a mean: `(1 + r) / (1 - r)`.
    pub(super) fn inflation(&self) -> f64 {
        (1.0 + self.correlation) / (1.0 - self.correlation)
    }
}

/// The standard deviation of a point, from the differences of points `lag` apart.
fn difference(logs: &[f64], lag: usize) -> f64 {
    let mut sizes: Vec<f64> = logs.iter().zip(&logs[lag..]).map(|(a, b)| (b - a).abs()).collect();
    let by_median = median(&sizes).unwrap_or_default() * MAD_TO_SD;
    // Of coarse values more than half of the differences are 0, which is no spread of 0.
    let by_mean = if by_median > 0.0 {
        by_median
    } else {
        sizes.sort_by(f64::total_cmp);
        let kept = ((sizes.len() as f64 * TRIMMED) as usize).max(1);
        sizes[..kept].iter().sum::<f64>() / kept as f64 * TRIMMED_TO_SD
    };
    by_mean / 2f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::generate::{Noisy, Shape};

    fn noise(shape: Shape) -> Noise {
        let logs: Vec<f64> = shape.series(5).points.iter().map(|point| point.value.ln()).collect();
        Noise::of(&logs).unwrap()
    }

    #[test]
    fn steps_and_outliers_do_not_move_it() {
        let plain = Shape { points: 4_000, spread: 0.01, outliers: 0.0, steps: 0, ..Shape::default() };
        let steps = Shape { steps: 20, size: 0.5, ..plain };
        // Of ten points in a hundred each makes two differences large, which widens the spread by a third.
        for (shape, most) in [(plain, 0.0115), (steps, 0.0115), (Shape { outliers: 0.1, ..plain }, 0.014)] {
            let noise = noise(shape);
            assert!((0.0085..most).contains(&noise.spread), "{shape:?}: {noise:?}");
            assert!(noise.correlation < 0.05, "{shape:?}: {noise:?}");
        }
    }

    #[test]
    fn correlation_is_seen() {
        let noisy = Noisy::Correlated(0.5);
        let shape = Shape { points: 4_000, outliers: 0.0, steps: 0, noisy, ..Shape::default() };
        let noise = noise(shape);
        assert!((0.35..0.6).contains(&noise.correlation), "{noise:?}");
        assert!((noise.spread - shape.spread).abs() < 0.15 * shape.spread, "{noise:?}");
    }

    #[test]
    fn exact_and_coarse_values_have_a_spread() {
        assert_eq!(Noise::of(&[0.5; 20]).unwrap().spread, SPREAD_MIN);
        let coarse: Vec<f64> = (0..100).map(|i| if i % 7 == 0 { 0.02 } else { 0.0 }).collect();
        let noise = Noise::of(&coarse).unwrap();
        assert!((0.002..0.02).contains(&noise.spread), "{noise:?}");
        assert_eq!(Noise::of(&[0.0; 7]), None);
    }
}
