//! How much of its scale a chart shows, where a few points far out would flatten all others. Pure.

use super::history_shown::Drawn;

/// A point is held against the median of itself and its neighbours, so many in all: what four of them share is a level.
const TOGETHER: usize = 7;
/// The noise, in how far from its median half of the points are: about five standard deviations of what is normal.
const NOISE: f64 = 8.0;
/// Newest points, which are always shown: whether they are a new level, nobody knows yet.
const NEWEST: usize = 3;
/// Where more than this share of the points is far out, they are what the series is like.
const OUTLIERS_MAX: f64 = 0.125;
/// A scale is cut only where that makes all else so many times as large.
const FLATTENED: f64 = 2.0;

/// From where to where the levels of these points go, with their noise; `None` where nothing is to be cut. Points that
/// are `kept` are within.
pub fn reach(points: &[Drawn], kept: impl Fn(i64) -> bool) -> Option<(f64, f64)> {
    if points.len() < TOGETHER {
        return None;
    }
    let levels: Vec<f64> = (0..points.len()).map(|at| level(points, at)).collect();
    let mut noise: Vec<f64> =
        points.iter().zip(&levels).map(|(point, level)| (point.y - level).abs()).collect();
    let usual = *noise.select_nth_unstable_by(points.len() / 2, f64::total_cmp).1 * NOISE;
    let always = points
        .iter()
        .enumerate()
        .filter(|(at, point)| at + NEWEST >= points.len() || kept(point.position))
        .map(|(_, point)| (point.y, point.y));
    let within = levels.iter().map(|level| (level - usual, level + usual)).chain(always);
    let (low, high) = span(within)?;
    let (least, most) = whole(points)?;
    let outliers = points.iter().filter(|point| !(low..=high).contains(&point.y)).count();
    let few = outliers as f64 <= points.len() as f64 * OUTLIERS_MAX;
    (outliers > 0 && few && most - least >= FLATTENED * (high - low)).then_some((low, high))
}

/// From the lowest to the highest, with their intervals.
pub fn whole(points: &[Drawn]) -> Option<(f64, f64)> {
    span(points.iter().map(|point| (point.low.unwrap_or(point.y), point.high.unwrap_or(point.y))))
}

fn span(all: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    all.reduce(|(least, most), (low, high)| (least.min(low), most.max(high)))
}

/// The median of a point and its nearest neighbours.
fn level(points: &[Drawn], at: usize) -> f64 {
    let first = at.saturating_sub(TOGETHER / 2).min(points.len() - TOGETHER);
    let mut near: [f64; TOGETHER] = std::array::from_fn(|n| points[first + n].y);
    near.sort_unstable_by(f64::total_cmp);
    near[TOGETHER / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level of zero with some noise, and what is said of some places.
    fn series(points: i64, of: impl Fn(i64) -> Option<f64>) -> Vec<Drawn> {
        let noise = |n: i64| ((n * 7_919) % 100) as f64 / 10_000.0;
        let y = |n| of(n).unwrap_or_else(|| noise(n));
        (0..points).map(|n| Drawn { position: n, y: y(n), low: None, high: None }).collect()
    }

    #[track_caller]
    fn check(points: &[Drawn], expect: Option<std::ops::Range<f64>>) {
        let found = reach(points, |_| false);
        match expect {
            None => assert_eq!(found, None),
            Some(highest) => {
                let (low, high) = found.expect("something is cut");
                assert!((-0.05..=0.0).contains(&low) && highest.contains(&high), "{low} to {high}");
            }
        }
    }

    #[test]
    fn single_points_far_out_are_cut_and_levels_are_not() {
        check(&series(500, |_| None), None);
        check(&series(500, |n| (n == 250).then_some(5.0)), Some(0.01..0.1));
        check(
            &series(500, |n| (n % 25 == 3).then_some(if n % 2 == 0 { 5.0 } else { -5.0 })),
            Some(0.01..0.1),
        );
        // A new level is seen, long or short, old or new; beside an outlier, too.
        check(&series(500, |n| (n >= 495).then_some(1.0)), None);
        check(&series(500, |n| (100..106).contains(&n).then_some(1.0)), None);
        check(&series(500, |n| [(400, 1.0)].iter().find(|(from, _)| n >= *from).map(|(_, y)| *y)), None);
        let both = |n: i64| if n == 60 { Some(20.0) } else { (n >= 400).then_some(1.0) };
        check(&series(500, both), Some(1.0..1.1));
    }

    #[test]
    fn the_newest_points_and_those_of_changes_stay() {
        check(&series(500, |n| (n == 499).then_some(5.0)), None);
        let points = series(500, |n| [20, 250].contains(&n).then_some(if n == 20 { 9.0 } else { 0.5 }));
        let (_, high) = reach(&points, |position| position == 250).unwrap();
        assert!((0.5..0.6).contains(&high), "{high}");
    }

    #[test]
    fn what_is_usual_is_no_outlier() {
        // Each fifth point is far out.
        check(&series(500, |n| (n % 5 == 0).then_some(3.0)), None);
        // Somewhat further than the others, and nothing is gained.
        check(&series(500, |n| (n == 250).then_some(0.06)), None);
        check(&series(6, |n| (n == 3).then_some(3.0)), None);
        check(&[], None);
        // All but one are the same.
        let flat: Vec<Drawn> =
            (0..50).map(|n| Drawn { position: n, y: f64::from(n == 9), low: None, high: None }).collect();
        assert_eq!(reach(&flat, |_| false), Some((0.0, 0.0)));
    }
}
