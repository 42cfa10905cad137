//! What two commits differ by, as far as it is known: from a run that measured exactly those two, else from their places
//! in the history. Pure.

use crate::db::points::{Link, Point, Ratio};
use crate::db::series::Key;
use crate::history::linked::linked;
use perfsuite::model::{Certainty, Comparison, Direction, Metric, Report, Sha, Verdict};
use perfsuite::verdict::sequential::{CHANGE_MIN, EQUAL_WITHIN};
use schemars::JsonSchema;
use serde::Serialize;

/// Two commits, and every benchmark that is known of both.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Compared {
    #[schemars(with = "String")]
    pub base: Sha,
    #[schemars(with = "String")]
    pub head: Sha,
    pub basis: Basis,
    /// What changed first, the largest change first.
    pub rows: Vec<Difference>,
    /// Benchmarks and metrics of which only one commit is known.
    pub one_sided: usize,
}

/// Where the figures come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Basis {
    /// One run measured both in lock-step, and judged them.
    Run { job: String },
    /// Each was measured in a run of its own against the same reference, and the two ratios are divided.
    History,
    /// They were not measured against each other, and not both along the default branch.
    Nothing,
}

/// One benchmark and metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    pub suite: String,
    pub benchmark: String,
    #[schemars(with = "String")]
    pub metric: Metric,
    /// Raw, in the metric's unit; of a history perhaps by different machines.
    pub base: Option<f64>,
    pub head: Option<f64>,
    /// Relative: 0.1 is ten percent more than the base.
    pub change: f64,
    /// 95 % interval.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
    /// Confirmed by both witnesses; of a history nothing is.
    pub confirmed: bool,
    /// Its place among the run's rows.
    pub place: Option<usize>,
}

impl Difference {
    pub fn changed(&self) -> bool {
        matches!(self.verdict, Verdict::Slower | Verdict::Faster)
    }
}

/// As a run judged it.
pub fn of_run(base: Sha, head: Sha, job: String, report: &Report) -> Compared {
    let rows = report.rows.iter().enumerate().map(|(place, row)| of_row(place, row)).collect();
    let basis = Basis::Run { job };
    Compared { base, head, basis, rows: ordered(rows), one_sided: report.one_sided.len() }
}

fn of_row(place: usize, row: &Comparison) -> Difference {
    Difference {
        suite: row.suite.clone(),
        benchmark: row.benchmark.0.clone(),
        metric: row.metric,
        base: Some(row.base),
        head: Some(row.head),
        change: row.estimate,
        low: row.low,
        high: row.high,
        verdict: row.verdict,
        confirmed: row.certainty == Certainty::Confirmed,
        place: Some(place),
    }
}

/// A series with its points at both commits, and its links where the reference changed between them.
pub struct Both<'a> {
    pub key: &'a Key,
    pub metric: Metric,
    pub points: &'a [Option<Point>; 2],
    pub links: &'a [Link],
}

/// As the history has it.
pub fn of_history<'a>(base: Sha, head: Sha, all: impl Iterator<Item = Both<'a>>) -> Compared {
    let (mut rows, mut one_sided) = (Vec::new(), 0);
    for both in all {
        match of_points(&both) {
            Some(row) => rows.push(row),
            None => one_sided += 1,
        }
    }
    Compared { base, head, basis: Basis::History, rows: ordered(rows), one_sided }
}

/// Neither.
pub fn of_nothing(base: Sha, head: Sha) -> Compared {
    Compared { base, head, basis: Basis::Nothing, rows: Vec::new(), one_sided: 0 }
}

fn of_points(both: &Both<'_>) -> Option<Difference> {
    let [Some(base), Some(head)] = both.points else { return None };
    let same = base.position == head.position;
    let mut points = vec![base.clone(), head.clone()];
    points.sort_by_key(|point| point.position);
    let over = linked(&points, both.links);
    let at = |position: i64| over.iter().find(|point| point.position == position).map(|point| point.ratio);
    let ratio = if same { Ratio::SAME } else { divided(at(head.position)?, at(base.position)?)? };
    let (change, low, high) = (ratio.ratio - 1.0, ratio.low - 1.0, ratio.high - 1.0);
    Some(Difference {
        suite: both.key.suite.clone(),
        benchmark: both.key.benchmark.clone(),
        metric: both.metric,
        base: base.value,
        head: head.value,
        change,
        low,
        high,
        verdict: verdict(both.metric, change, low, high),
        confirmed: false,
        place: None,
    })
}

/// One ratio over another, both to the same. The two come of different runs, so that their errors are independent: of
/// logarithms, half widths add like the sides of a right angle.
fn divided(head: Ratio, base: Ratio) -> Option<Ratio> {
    let half = |ratio: Ratio| (ratio.high / ratio.low).ln() / 2.0;
    let (ratio, half) = (head.ratio / base.ratio, half(head).hypot(half(base)));
    Ratio::new(ratio, ratio * (-half).exp(), ratio * half.exp())
}

/// By the interval alone, with the bounds that a run's rows have.
fn verdict(metric: Metric, change: f64, low: f64, high: f64) -> Verdict {
    let excludes_none = low > 0.0 || high < 0.0;
    if excludes_none && change.abs() > CHANGE_MIN {
        let worse = (change > 0.0) == (metric.direction() == Direction::LowerIsBetter);
        if worse { Verdict::Slower } else { Verdict::Faster }
    } else if low >= -EQUAL_WITHIN && high <= EQUAL_WITHIN {
        Verdict::Equal
    } else {
        Verdict::Inconclusive
    }
}

fn ordered(mut rows: Vec<Difference>) -> Vec<Difference> {
    rows.sort_by(|a, b| {
        let by_change = b.changed().cmp(&a.changed()).then(b.change.abs().total_cmp(&a.change.abs()));
        by_change.then_with(|| (&a.suite, &a.benchmark, a.metric).cmp(&(&b.suite, &b.benchmark, b.metric)))
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(digit: char) -> Sha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn point(position: i64, ratio: f64, half: f64, number: i64) -> Option<Point> {
        Some(Point {
            position,
            value: Some(100.0 * ratio),
            parent: None,
            reference: Ratio::new(ratio, ratio * (-half).exp(), ratio * half.exp()),
            reference_number: Some(number),
        })
    }

    fn compared(points: [Option<Point>; 2], links: &[Link]) -> Compared {
        let key = Key { suite: "s".into(), benchmark: "b".into(), metric: "time".into() };
        let both = Both { key: &key, metric: Metric::Time, points: &points, links };
        of_history(sha('a'), sha('b'), std::iter::once(both))
    }

    #[test]
    fn two_ratios_to_one_reference_are_divided() {
        let found = compared([point(3, 1.1, 0.003, 1), point(9, 1.21, 0.004, 1)], &[]);
        let [row] = &found.rows[..] else { panic!("{found:?}") };
        assert!((row.change - 0.1).abs() < 1e-12, "{row:?}");
        assert!((row.high.ln_1p() - row.low.ln_1p() - 2.0 * 0.005).abs() < 1e-12, "3, 4 and 5: {row:?}");
        assert_eq!((row.verdict, row.confirmed), (Verdict::Slower, false));
        assert!(row.base.unwrap() < row.head.unwrap(), "raw values as they were: {row:?}");
        // And back.
        let back = compared([point(9, 1.21, 0.003, 1), point(3, 1.1, 0.004, 1)], &[]);
        assert_eq!(back.rows[0].verdict, Verdict::Faster);
    }

    #[test]
    fn a_new_reference_between_them_moves_nothing_where_it_is_linked() {
        let points = [point(3, 1.1, 0.001, 1), point(9, 0.55, 0.001, 2)];
        let linked = compared(points.clone(), &[Link { reference_number: 2, ratio: 2.0 }]);
        assert!(
            linked.rows[0].change.abs() < 1e-12 && linked.rows[0].verdict == Verdict::Equal,
            "{linked:?}"
        );
        let unlinked = compared(points, &[]);
        assert_eq!((unlinked.rows.len(), unlinked.one_sided), (0, 1));
    }

    #[test]
    fn what_one_side_lacks_is_counted_and_not_made_up() {
        for points in [[None, point(9, 1.0, 0.0, 1)], [point(3, 1.0, 0.0, 1), None]] {
            assert_eq!((compared(points, &[]).one_sided), 1);
        }
        let unmeasured = Point { reference: None, ..point(3, 1.0, 0.0, 1).unwrap() };
        assert_eq!(compared([Some(unmeasured), point(9, 1.0, 0.0, 1)], &[]).one_sided, 1);
        // A commit with itself is the same, measured or not.
        let itself = compared([point(3, 1.0, 0.2, 1), point(3, 1.0, 0.2, 1)], &[]);
        assert_eq!((itself.rows[0].change, itself.rows[0].verdict), (0.0, Verdict::Equal));
    }

    #[test]
    fn a_verdict_needs_a_change_that_matters_and_an_interval_without_none() {
        let of = |change, low, high| verdict(Metric::Time, change, low, high);
        assert_eq!(of(0.02, 0.01, 0.03), Verdict::Slower);
        assert_eq!(of(-0.02, -0.03, -0.01), Verdict::Faster);
        assert_eq!(of(0.02, -0.001, 0.041), Verdict::Inconclusive);
        assert_eq!(of(0.009, 0.001, 0.017), Verdict::Equal);
        assert_eq!(of(0.0, -0.03, 0.03), Verdict::Inconclusive);
        assert_eq!(verdict(Metric::QpsPerCore, 0.02, 0.01, 0.03), Verdict::Faster);
    }
}
