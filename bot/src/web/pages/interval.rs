//! A change and its interval as a small drawing: a bar around zero, on a scale that all rows of a page share. Pure.

use super::parts::Kind;
use askama::Template;
use askama::filters::HtmlSafe;
use perfsuite::model::Comparison;
use perfsuite::verdict::sequential::EQUAL_WITHIN;

/// Ends of a scale that people can read off.
const SCALES: [f64; 7] = [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0];
/// Rows that reach beyond the scale are cut and marked; this share of them must fit.
const FITTING: f64 = 0.9;
/// Drawing units; the stylesheet decides the size on the page.
const WIDTH: f64 = 160.0;
/// Left and right of the scale, for the marks of what was cut.
const MARGIN: f64 = 8.0;

/// The scale of a table: from minus `end` to plus `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub end: f64,
}

impl Scale {
    /// The smallest readable scale that holds nearly all intervals.
    pub fn for_rows<'a>(rows: impl Iterator<Item = &'a Comparison>) -> Self {
        Self::holding(rows.map(|row| (row.low, row.high)))
    }

    /// The same for intervals of any kind.
    pub fn holding(intervals: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut reach: Vec<f64> = intervals
            .map(|(low, high)| low.abs().max(high.abs()))
            .filter(|reach| reach.is_finite())
            .collect();
        reach.sort_by(f64::total_cmp);
        let last = ((reach.len() as f64 * FITTING).ceil() as usize).saturating_sub(1);
        let wanted = reach.get(last).copied().unwrap_or(0.0);
        let end = SCALES.into_iter().find(|end| *end >= wanted).unwrap_or(SCALES[SCALES.len() - 1]);
        Self { end }
    }

    /// Where a change lies in the drawing, cut to its ends.
    fn x(self, change: f64) -> f64 {
        let share = (change / self.end).clamp(-1.0, 1.0);
        WIDTH / 2.0 + share * (WIDTH / 2.0 - MARGIN)
    }
}

/// The drawing. The cell beside it says the same in words, so it is hidden from screen readers.
#[derive(Template, Debug, PartialEq)]
#[template(path = "pages/parts/interval.html")]
pub struct IntervalBar {
    class: &'static str,
    band_x: f64,
    band_width: f64,
    bar_x: f64,
    bar_width: f64,
    dot_x: f64,
    cut_low: bool,
    cut_high: bool,
}

impl HtmlSafe for IntervalBar {}

impl IntervalBar {
    /// `None` where there is no number to draw.
    pub fn new(row: &Comparison, scale: Scale) -> Option<Self> {
        Self::of(super::parts::kind_of(row), (row.estimate, row.low, row.high), scale)
    }

    /// The same for a change of any kind, with its interval.
    pub fn of(kind: Kind, (estimate, low, high): (f64, f64, f64), scale: Scale) -> Option<Self> {
        if ![low, high, estimate].iter().all(|value| value.is_finite()) {
            return None;
        }
        /// A bar of no width would not be seen.
        const BAR_MIN: f64 = 2.0;
        let tenth = |x: f64| (x * 10.0).round() / 10.0;
        let (left, right) = (scale.x(low), scale.x(high));
        let (band_low, band_high) = (scale.x(-EQUAL_WITHIN), scale.x(EQUAL_WITHIN));
        Some(Self {
            class: kind.class(),
            band_x: tenth(band_low),
            band_width: tenth(band_high - band_low),
            bar_x: tenth(left),
            bar_width: tenth((right - left).max(BAR_MIN)),
            dot_x: tenth(scale.x(estimate)),
            cut_low: low < -scale.end,
            cut_high: high > scale.end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perfsuite::model::{BenchmarkId, Certainty, Metric, Mode, Verdict};

    fn row(estimate: f64, low: f64, high: f64) -> Comparison {
        Comparison {
            suite: "s".into(),
            benchmark: BenchmarkId("b".into()),
            metric: Metric::Time,
            base: 1.0,
            head: 1.0,
            estimate,
            low,
            high,
            verdict: Verdict::Slower,
            certainty: Certainty::Confirmed,
            mode: Mode::Gate,
            mode_reason: None,
            smallest_visible: 0.025,
            spread: 0.01,
            visits: 10,
            instructions: None,
            minutes_to_settle: None,
        }
    }

    #[test]
    fn a_scale_holds_nearly_all_rows() {
        let check = |reaches: &[f64], expect: f64| {
            let rows: Vec<Comparison> = reaches.iter().map(|r| row(0.0, -r, *r)).collect();
            assert_eq!(Scale::for_rows(rows.iter()).end, expect, "{reaches:?}");
        };
        check(&[], 0.05);
        check(&[0.01, 0.02], 0.05);
        check(&[0.06], 0.1);
        check(&[0.02; 20], 0.05);
        let mut one_far = [0.02; 20];
        one_far[3] = 7.0;
        check(&one_far, 0.05);
        check(&[9.0], 2.0);
        check(&[f64::NAN, 0.01], 0.05);
    }

    #[test]
    fn zero_is_in_the_middle_and_far_rows_are_cut() {
        let scale = Scale { end: 0.1 };
        let bar = IntervalBar::new(&row(0.0, -0.05, 0.05), scale).unwrap();
        assert_eq!((bar.dot_x, bar.bar_x, bar.bar_width), (80.0, 44.0, 72.0));
        assert!(!bar.cut_low && !bar.cut_high);
        let far = IntervalBar::new(&row(0.5, 0.4, 0.6), scale).unwrap();
        assert_eq!(far.dot_x, 152.0);
        assert!(far.cut_high && !far.cut_low);
        assert_eq!(IntervalBar::new(&row(f64::NAN, 0.0, 0.0), scale), None);
    }
}
