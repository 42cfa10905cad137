//! What holds of change points whatever the series.

use super::generate::Shape;
use super::*;
use proptest::prelude::*;

fn told(points: &[Point]) -> Vec<ChangePoint> {
    change_points(points, &Rule::default())
}

fn points(values: &[f64]) -> Vec<Point> {
    values.iter().enumerate().map(|(i, value)| Point { index: i as i64, value: *value }).collect()
}

/// `before` points around 100, then `after` points around `level`; noise of 0.6 % that repeats after 11 points.
fn step(before: usize, after: usize, level: f64) -> Vec<Point> {
    let noise = |i: usize| 1.0 + 0.002 * ((i * 7 % 11) as f64 - 5.0) * 0.6;
    let value = |i: usize| noise(i) * if i < before { 100.0 } else { level };
    points(&(0..before + after).map(value).collect::<Vec<_>>())
}

#[test]
fn a_step_is_told_where_it_is() {
    let told = told(&step(40, 40, 103.0));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].index, told[0].state), (40, State::Confirmed));
    assert!((told[0].size - 0.03).abs() < 0.003, "{told:?}");
}

#[test]
fn the_end_of_a_series_is_provisional() {
    let states =
        |after: usize| told(&step(60, after, 105.0)).iter().map(|c| (c.at, c.state)).collect::<Vec<_>>();
    assert_eq!(states(3), []);
    assert_eq!(states(4), [(60, State::Provisional)]);
    assert_eq!(states(7), [(60, State::Provisional)]);
    assert_eq!(states(8), [(60, State::Confirmed)]);
}

#[test]
fn a_burst_at_the_end_is_unsaid() {
    let mut series = step(60, 4, 120.0);
    assert_eq!(told(&series)[0].state, State::Provisional);
    series.extend(step(20, 0, 0.0).iter().map(|point| Point { index: point.index + 64, ..*point }));
    assert_eq!(told(&series), []);
}

#[test]
fn small_changes_and_slopes_are_not_told() {
    assert_eq!(told(&step(80, 80, 100.7)), []);
    let small = Rule { size_min: 0.005, ..Rule::default() };
    assert_eq!(change_points(&step(80, 80, 100.7), &small).len(), 1);
    let slope: Vec<f64> =
        step(80, 80, 100.0).iter().map(|p| p.value * (1.0 + 1e-4 * p.index as f64)).collect();
    assert_eq!(told(&points(&slope)), []);
}

#[test]
fn exact_counts_have_exact_changes() {
    let mut counts = vec![1_000_000.0; 30];
    counts.extend([1_020_000.0; 30]);
    counts[7] = 3_000_000.0;
    let told = told(&points(&counts));
    assert_eq!(told.iter().map(|change| change.at).collect::<Vec<_>>(), [30]);
    assert!((told[0].size - 0.02).abs() < 1e-12);
}

#[test]
fn short_series_and_extremes_are_answered() {
    for values in
        [&[][..], &[5.0], &[5.0, 9.0], &[1.0; 9], &[1e-300, 1e300, 1.0, 1e-300, 1e300, 2.0, 3.0, 4.0, 1e9]]
    {
        assert_eq!(told(&points(values)), [], "{values:?}");
    }
}

#[test]
fn long_series_are_answered() {
    let shape = Shape { points: 100_000, steps: 100, outliers: 0.02, ..Shape::default() };
    let made = shape.series(3);
    let told = told(&made.points);
    assert!((95..=105).contains(&told.len()), "{} of {}", told.len(), made.steps.len());
    // Nothing but steps: the worst that can be asked of the pruning.
    let saw: Vec<f64> = (0..100_000).map(|i| if i / 6 % 2 == 0 { 100.0 } else { 110.0 }).collect();
    assert!(change_points(&points(&saw), &Rule::default()).len() <= 100_000 / 6);
}

/// Told from its end, a history has the same changes the other way round.
fn assert_the_same_backwards(seed: u64) {
    let made = Shape { points: 160, spread: 0.004, ..Shape::default() }.series(seed).points;
    let back: Vec<f64> = made.iter().rev().map(|point| point.value).collect();
    let (forth, mut back) = (told(&made), told(&points(&back)));
    back.reverse();
    assert_eq!(forth.len(), back.len(), "seed {seed}");
    for (a, b) in forth.iter().zip(&back) {
        // A point that fits neither level may be counted to either side.
        assert!((a.at as i64 - (160 - b.at as i64)).abs() <= 2, "{} {}, seed {seed}", a.at, b.at);
        assert!(((1.0 + a.size) * (1.0 + b.size) - 1.0).abs() < 0.004, "seed {seed}");
    }
}

/// An outlier right at a step, and two steps the same way of which one is not certain for all the outliers beside it.
#[test]
fn outliers_beside_a_step_move_nothing() {
    for seed in [154_053, 5_240, 12_772, 14_560, 1_988, 6_672] {
        assert_the_same_backwards(seed);
    }
    // Outliers have made one of these steps uncertain; the other must not move to its place.
    let made = Shape { points: 160, spread: 0.004, ..Shape::default() }.series(1_988);
    let told = told(&made.points);
    assert!(
        told.iter().all(|change| made.steps.iter().any(|(at, _)| at.abs_diff(change.at) <= 2)),
        "{told:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn units_and_indexes_do_not_matter(seed in 0u64..1_000_000, power in -12i32..12, offset in -1_000_000i64..1_000_000) {
        let made = Shape { points: 120, ..Shape::default() }.series(seed).points;
        let other: Vec<Point> = made
            .iter()
            .map(|point| Point { index: 3 * point.index + offset, value: point.value * 2f64.powi(power) })
            .collect();
        let (here, there) = (told(&made), told(&other));
        prop_assert_eq!(here.len(), there.len());
        for (a, b) in here.iter().zip(&there) {
            prop_assert_eq!((a.at, a.state, 3 * a.index + offset), (b.at, b.state, b.index));
            prop_assert!((a.size - b.size).abs() < 1e-9);
        }
    }

    #[test]
    fn backwards_is_the_same(seed in 0u64..1_000_000) {
        assert_the_same_backwards(seed);
    }

    #[test]
    fn whatever_comes_is_answered(values in prop::collection::vec(prop_oneof![
        4 => 90.0f64..110.0,
        1 => Just(100.0f64),
        1 => (0u64..0x7fe0_0000_0000_0000).prop_map(|bits| f64::from_bits(bits.max(1))),
    ], 0..200)) {
        let told = told(&points(&values));
        for pair in told.windows(2) {
            prop_assert!(pair[0].at + SEGMENT_MIN <= pair[1].at);
        }
        for change in &told {
            prop_assert!(change.at >= END_MIN && change.at + END_MIN <= values.len());
            prop_assert!(change.size.abs() >= 0.01 * (1.0 - 1e-9));
            let open = values.len() - change.at < CONFIRMED_AFTER;
            prop_assert_eq!(change.state == State::Provisional, open);
        }
    }
}
