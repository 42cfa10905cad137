//! Histories whose changes are known: levels with steps, noise, outliers. The same seed gives the same series.

use super::Point;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;

/// What a series looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub points: usize,
    /// Of each step, up or down, as a fraction.
    pub size: f64,
    pub steps: usize,
    /// Points at least between two steps, and between a step and an end.
    pub gap: usize,
    /// Standard deviation of the noise, as a fraction.
    pub spread: f64,
    /// Share of points that are outliers.
    pub outliers: f64,
    pub noisy: Noisy,
}

/// Of what kind the noise is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noisy {
    Normal,
    /// Student's t with 3 degrees of freedom, of the given standard deviation.
    HeavyTailed,
    /// Neighbours correlate so much (an autoregression).
    Correlated(f64),
    /// Outliers come several at a time, up to so many.
    Bursts(usize),
    /// The level drifts by so much over the series.
    Drift(f64),
    /// Values are rounded to multiples of so much of the level.
    Rounded(f64),
}

impl Default for Shape {
    /// Four of a hundred points are off by up to a half, as on a machine that others use too.
    fn default() -> Self {
        Shape {
            points: 200,
            size: 0.03,
            steps: 2,
            gap: 20,
            spread: 0.01,
            outliers: 0.04,
            noisy: Noisy::Normal,
        }
    }
}

/// A series and the truth about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    pub points: Vec<Point>,
    /// The first point after each step, and its size.
    pub steps: Vec<(usize, f64)>,
}

impl Shape {
    pub fn series(&self, seed: u64) -> Generated {
        let mut rng = StdRng::seed_from_u64(seed);
        let steps = self.places(&mut rng);
        // Between 30 ns and 3 ms.
        let mut level = (rng.random_range(0.0..5.0) * 10f64.ln() + 30f64.ln()).exp();
        let mut points = Vec::with_capacity(self.points);
        let mut correlated = normal(&mut rng);
        let mut burst = 0;
        let unit = level;
        for at in 0..self.points {
            if let Some((_, size)) = steps.iter().find(|(place, _)| *place == at) {
                level *= 1.0 + size;
            }
            let mut log = self.spread
                * match self.noisy {
                    Noisy::HeavyTailed => heavy_tailed(&mut rng),
                    Noisy::Correlated(r) => {
                        correlated = r * correlated + (1.0 - r * r).sqrt() * normal(&mut rng);
                        correlated
                    }
                    _ => normal(&mut rng),
                };
            if let Noisy::Drift(all) = self.noisy {
                log += all * at as f64 / self.points as f64;
            }
            let lasts = if let Noisy::Bursts(most) = self.noisy { most.max(1) } else { 1 };
            // As many outliers in all, however many come together.
            if burst == 0 && rng.random_bool((self.outliers * 2.0 / (1 + lasts) as f64).min(1.0)) {
                burst = rng.random_range(1..=lasts);
            }
            if burst > 0 {
                burst -= 1;
                // A disturbed run is slower, mostly.
                let size: f64 = rng.random_range(0.05..0.5);
                log += if rng.random_bool(0.8) { size } else { -size };
            }
            let mut value = level * log.exp();
            if let Noisy::Rounded(share) = self.noisy {
                let grain = unit * share;
                value = (value / grain).round().max(1.0) * grain;
            }
            points.push(Point { index: at as i64, value });
        }
        Generated { points, steps }
    }

    /// Where the steps are: anywhere, as far apart as they must be; fewer than wanted where they have no room.
    fn places(&self, rng: &mut StdRng) -> Vec<(usize, f64)> {
        let room = self.points / self.gap.max(1);
        let steps = self.steps.min(room.saturating_sub(1));
        let free = self.points - (steps + 1) * self.gap.min(self.points / (steps + 1));
        let mut places: Vec<usize> = (0..steps).map(|_| rng.random_range(0..=free)).collect();
        places.sort_unstable();
        let up = |rng: &mut StdRng| if rng.random_bool(0.5) { self.size } else { -self.size };
        places.iter().enumerate().map(|(i, place)| (place + (i + 1) * self.gap, up(rng))).collect()
    }
}

/// A standard normal deviate (Box & Muller, 1958).
fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * rng.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
    radius * (TAU * rng.random_range(0.0..1.0)).cos()
}

/// Student's t with 3 degrees of freedom, over its standard deviation of sqrt(3).
fn heavy_tailed(rng: &mut StdRng) -> f64 {
    let squares: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
    normal(rng) / (squares / 3.0).sqrt() / 3f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_what_its_shape_says() {
        let shape = Shape { points: 100, steps: 3, gap: 20, outliers: 0.0, spread: 1e-9, ..Shape::default() };
        for seed in 0..50 {
            let made = shape.series(seed);
            assert_eq!((made.points.len(), made.steps.len()), (100, 3));
            assert_eq!(made, shape.series(seed));
            let bounds: Vec<usize> =
                [0].into_iter().chain(made.steps.iter().map(|s| s.0)).chain([100]).collect();
            assert!(bounds.windows(2).all(|pair| pair[1] - pair[0] >= 20), "{bounds:?}");
            for (at, size) in &made.steps {
                let seen = made.points[*at].value / made.points[at - 1].value - 1.0;
                assert!((seen - size).abs() < 1e-6 && size.abs() == 0.03);
            }
        }
        let crowded = Shape { points: 30, steps: 9, gap: 10, ..Shape::default() };
        assert_eq!(crowded.series(1).steps.len(), 2);
    }
}
