//! A series as ratios to one reference, over all changes of it. Pure.

use crate::db::points::{Link, Point, Ratio};
use std::collections::BTreeMap;

/// A point of a linked series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linked {
    pub position: i64,
    /// Over the newest reference that the series has points of.
    pub ratio: Ratio,
}

/// The points that are linked to the newest one, oldest first: those before a change of the reference that nothing
/// links are left out, and so are points that were not measured against any.
pub fn linked(points: &[Point], links: &[Link]) -> Vec<Linked> {
    let ratio_of: BTreeMap<i64, f64> = links
        .iter()
        .filter(|link| link.ratio.is_finite() && link.ratio > 0.0)
        .map(|link| (link.reference_number, link.ratio))
        .collect();
    let measured = points.iter().filter_map(|point| Some((point, point.reference?, point.reference_number?)));
    let newest = measured.clone().map(|(.., number)| number).max();
    let Some(newest) = newest else { return Vec::new() };
    let oldest = measured.clone().map(|(.., number)| number).min().unwrap_or(newest);
    // What a reference is over the newest one, going back as far as links go.
    let mut over_newest = BTreeMap::from([(newest, 1.0)]);
    let mut factor = 1.0;
    for number in (oldest..newest).rev() {
        let Some(link) = ratio_of.get(&(number + 1)) else { break };
        factor /= link;
        over_newest.insert(number, factor);
    }
    let reachable = measured.filter_map(|(point, ratio, number)| {
        let factor = over_newest.get(&number)?;
        Some(Linked { position: point.position, ratio: ratio.times(*factor) })
    });
    reachable.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(position: i64, reference: f64, number: i64) -> Point {
        Point {
            position,
            value: None,
            parent: None,
            reference: Ratio::new(reference, reference * 0.99, reference * 1.01),
            reference_number: Some(number),
        }
    }

    fn ratios(points: &[Point], links: &[Link]) -> Vec<f64> {
        linked(points, links).iter().map(|linked| (linked.ratio.ratio * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn a_new_reference_moves_nothing() {
        // The second reference is twice as slow as the first: what took 1.0 of the first takes 0.5 of it.
        let points = [point(1, 1.0, 1), point(2, 1.1, 1), point(3, 0.55, 2), point(4, 0.55, 2)];
        let links = [Link { reference_number: 2, ratio: 2.0 }];
        assert_eq!(ratios(&points, &links), [0.5, 0.55, 0.55, 0.55]);
    }

    #[test]
    fn what_nothing_links_is_left_out() {
        let points = [point(1, 1.0, 1), point(2, 0.55, 2), point(3, 0.6, 3)];
        assert_eq!(ratios(&points, &[]), [0.6]);
        let link = |reference_number| Link { reference_number, ratio: 2.0 };
        assert_eq!(ratios(&points, &[link(3)]), [0.275, 0.6]);
        assert_eq!(ratios(&points, &[link(2)]), [0.6], "a chain with a gap");
        assert_eq!(ratios(&points, &[link(2), link(3)]), [0.25, 0.275, 0.6]);
        let broken = Link { reference_number: 3, ratio: f64::NAN };
        assert_eq!(ratios(&points, &[link(2), broken]), [0.6]);
        assert_eq!(ratios(&[], &[]), [] as [f64; 0]);
        let unmeasured = Point { reference: None, ..point(1, 1.0, 1) };
        assert_eq!(ratios(&[unmeasured, point(5, 0.7, 1)], &[]), [0.7]);
    }
}
