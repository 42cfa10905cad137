//! One series of visits becomes one row: estimate, interval, answer, and what it could have seen.

use super::sample::{Moments, median};
use super::sequential::{Decision, EQUAL_WITHIN, Rule, VISITS_MAX, VISITS_MIN, half_width};
use crate::model::{Certainty, Comparison, Direction, Instructions, Metric, Mode, Series, Verdict, Visit};

/// A change of time by this much or more is real whatever moved it (a cache, a lock); less than that, re-linking alone
/// can do (up to 5 % was seen without one instruction more), and without a second witness it is shown as a suspect.
pub const CONFIRMED_BY_SIZE: f64 = 0.08;
/// What placing the same code elsewhere moves its time by, at most: what the clock says of identical code between two
/// executables says nothing against the code up to here.
pub const LAYOUT_MAX: f64 = 0.05;
/// The second witness: instructions that changed in the same direction by this much or more.
pub const WITNESSED_BY: f64 = 0.005;
/// An instruction change: so many more or fewer, where the time is the same. Counts are exact, but what does one
/// percent more work need not do harm.
pub const INSTRUCTIONS_CHANGED_BY: f64 = 0.01;
/// Stands for "unbounded" where nothing is known: JSON has no infinity.
pub const UNBOUNDED: f64 = 1e6;

/// The judgement of one series of log-ratios, in log units (`ln(head / base)`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub decision: Decision,
    /// Winsorised mean over the visits that the decision rests on.
    pub mean: f64,
    /// Half the width of the 95 % interval: infinite with fewer than two visits.
    ///
    /// A fixed sample's interval would be `m ± t(0.975, n − 1) · se`. It covers less than it says once the sample
    /// ended *because* of what was seen, so a tail of 0.01 and the factor 1.10 are used, the same at every look.
    /// It holds the true value in at least 95 % of runs, stopping included, for normal and for heavy-tailed visits
    /// (`interval_covers_at_any_stop`); it is not a repeated confidence interval, whose promise at *every* look at once
    /// would cost twice the width after 10 visits (Jennison & Turnbull, JRSS B 51, 1989). Where a change is called it
    /// never contains zero, and where *equal* is called it lies within ±2.5 %: both use the same `se` with a factor
    /// no larger.
    pub half_width: f64,
    pub sd: f64,
    pub visits: usize,
    /// Log-change that the run would have found with 95 % power; infinite when it could have found none.
    ///
    /// `(c + t(0.95, n − 1)) · sd / √n` with the critical value `c` of the last look that was possible: the cap where
    /// the rule stopped by itself (it would have gone on for a smaller change), the last look reached where time ran
    /// out. Never below what *equal* means, 2.5 %.
    pub smallest_visible: f64,
    /// Visits that would settle an undecided series at this mean and spread.
    pub visits_to_settle: Option<f64>,
}

/// As fractions of the base's value, kept finite for JSON.
impl Judged {
    pub fn estimate(&self) -> f64 {
        relative(self.mean)
    }

    pub fn low(&self) -> f64 {
        relative(self.mean - self.half_width)
    }

    pub fn high(&self) -> f64 {
        relative(self.mean + self.half_width)
    }

    pub fn smallest_visible(&self) -> f64 {
        relative(self.smallest_visible)
    }

    /// The last word on a series that gets no further visits: where time ran out between two looks and the interval
    /// lies within ±2.5 % it is equal, since a reader sees that it is. One look more than the rule's own, which its
    /// factor has room for (`a_true_change_is_not_called_equal`).
    pub fn at_the_end(self) -> Judged {
        let within = self.mean.abs() + self.half_width < EQUAL_WITHIN.ln_1p();
        if self.decision == Decision::Inconclusive && self.visits >= VISITS_MIN && within {
            return Judged { decision: Decision::Equal, visits_to_settle: None, ..self };
        }
        self
    }
}

/// Replays the looks over usable log-ratios, in order of measurement, as if live. Visits after the decision are not
/// looked at; visits after the last look and before the next widen no claim but sharpen an undecided interval.
pub fn judge_ratios(rule: &Rule, ratios: &[f64]) -> Judged {
    let (decision, visits) = rule.stop(ratios);
    let Some(moments) = Moments::of(&ratios[..visits]) else {
        return Judged {
            decision: Decision::Inconclusive,
            mean: ratios.first().copied().unwrap_or(0.0),
            half_width: f64::INFINITY,
            sd: 0.0,
            visits,
            smallest_visible: f64::INFINITY,
            visits_to_settle: Some(VISITS_MIN as f64),
        };
    };
    let reachable = if decision == Decision::Go { visits } else { VISITS_MAX };
    let undecided = matches!(decision, Decision::Go | Decision::Inconclusive);
    Judged {
        // Time ran out before the rule had decided.
        decision: if decision == Decision::Go { Decision::Inconclusive } else { decision },
        mean: moments.mean,
        half_width: half_width(&moments),
        sd: moments.sd,
        visits,
        smallest_visible: rule.smallest_visible(moments.sd, reachable).unwrap_or(f64::INFINITY),
        visits_to_settle: undecided.then(|| rule.visits_to_settle(moments.mean, moments.sd)),
    }
}

/// The row of one series.
///
/// Visits without a usable value on both sides (zero, negative, infinite, not a number) are left out, see
/// [`unusable`]; with fewer than 10 usable visits the row is inconclusive, whatever they say. A metric that is shown
/// but never judged is inconclusive and of mode *record*.
pub fn judge_series(rule: &Rule, series: &Series, mode: Mode) -> Comparison {
    let usable: Vec<&Visit> = series.visits.iter().filter(|v| log_ratio(v).is_some()).collect();
    let ratios: Vec<f64> = usable.iter().filter_map(|v| log_ratio(v)).collect();
    let judged = judge_ratios(rule, &ratios).at_the_end();
    let base = side_median(&usable[..judged.visits], |v| v.base);
    let verdict =
        if series.metric.judged() { verdict(&judged, series.metric) } else { Verdict::Inconclusive };
    let per_visit = if series.visits.is_empty() { 0.0 } else { series.seconds / series.visits.len() as f64 };
    let settles = judged.visits_to_settle.map(|visits| visits * per_visit / 60.0);
    let instructions = series.instructions.as_ref().and_then(Instructions::change);
    Comparison {
        suite: series.suite.clone(),
        benchmark: series.benchmark.clone(),
        metric: series.metric,
        base,
        // Of a noisy benchmark the sides' own medians can differ in the other direction than their pairs do.
        head: base * (1.0 + judged.estimate()),
        estimate: judged.estimate(),
        low: judged.low(),
        high: judged.high(),
        verdict,
        certainty: certainty(&judged, series.metric, verdict, instructions),
        mode: if series.metric.judged() { mode } else { Mode::Record },
        mode_reason: None,
        smallest_visible: judged.smallest_visible(),
        spread: judged.sd,
        visits: u32::try_from(judged.visits).unwrap_or(u32::MAX),
        instructions,
        minutes_to_settle: settles
            .filter(|minutes| verdict == Verdict::Inconclusive && *minutes > 0.0 && minutes.is_finite()),
    }
}

/// The row of a series' instruction counts, beside the row of its time; `None` where they were not counted or vary by
/// themselves.
///
/// Counts have no noise, so their change is what it is: 1 % or more is called, less is equal. What it means follows from
/// both witnesses: with the time unchanged, an *instruction change*; else it stands beside the time's own row, which
/// says whether it confirms it.
pub fn judge_instructions(series: &Series, time: &Comparison, mode: Mode) -> Option<Comparison> {
    let counted = series.instructions.as_ref()?;
    let (base, head) = counted.counts()?;
    let change = head / base - 1.0;
    let verdict = match change {
        change if change >= INSTRUCTIONS_CHANGED_BY => Verdict::Slower,
        change if change <= -INSTRUCTIONS_CHANGED_BY => Verdict::Faster,
        _ => Verdict::Equal,
    };
    let certainty = match verdict {
        Verdict::Equal | Verdict::Inconclusive => Certainty::NotApplicable,
        _ if time.changed() => Certainty::Confirmed,
        _ => Certainty::InstructionChange,
    };
    Some(Comparison {
        suite: series.suite.clone(),
        benchmark: series.benchmark.clone(),
        metric: Metric::Instructions,
        base,
        head,
        estimate: change,
        low: change,
        high: change,
        verdict,
        certainty,
        // Beside a changed time it is no news of its own.
        mode: if time.changed() { Mode::Record } else { mode },
        mode_reason: None,
        smallest_visible: INSTRUCTIONS_CHANGED_BY,
        spread: 0.0,
        visits: u32::try_from(counted.base.len()).unwrap_or(u32::MAX),
        instructions: None,
        minutes_to_settle: None,
    })
}

/// How many visits have no usable value and are therefore left out.
pub fn unusable(series: &Series) -> usize {
    series.visits.iter().filter(|v| log_ratio(v).is_none()).count()
}

/// What a visit says: `ln(head / base)`, or where it has pairs the median of theirs. `None` where nothing is usable.
pub fn log_ratio(visit: &Visit) -> Option<f64> {
    if visit.pairs.is_empty() {
        return log_ratio_of(visit.base, visit.head);
    }
    let ratios: Vec<f64> = visit.pairs.iter().filter_map(|[base, head]| log_ratio_of(*base, *head)).collect();
    // A few survivors of a coarse clock are not a sample.
    if ratios.len() * 2 > visit.pairs.len() { median(&ratios) } else { None }
}

/// `ln(head / base)` where both are positive and finite, and so is the ratio.
fn log_ratio_of(base: f64, head: f64) -> Option<f64> {
    let usable = |value: f64| value.is_finite() && value > 0.0;
    if !usable(base) || !usable(head) {
        return None;
    }
    let ratio = (head / base).ln();
    ratio.is_finite().then_some(ratio)
}

fn verdict(judged: &Judged, metric: Metric) -> Verdict {
    let grew_is_worse = metric.direction() == Direction::LowerIsBetter;
    match judged.decision {
        Decision::Changed if (judged.mean > 0.0) == grew_is_worse => Verdict::Slower,
        Decision::Changed => Verdict::Faster,
        Decision::Equal => Verdict::Equal,
        Decision::Go | Decision::Inconclusive => Verdict::Inconclusive,
    }
}

fn certainty(judged: &Judged, metric: Metric, verdict: Verdict, instructions: Option<f64>) -> Certainty {
    let witnessed = |change: f64| change.abs() >= WITNESSED_BY && (change > 0.0) == (judged.mean > 0.0);
    match (verdict, metric) {
        (Verdict::Equal | Verdict::Inconclusive, _) => Certainty::NotApplicable,
        // A server's latency and CPU per request sum over so much code that the placement of one loop drowns.
        (_, Metric::LatencyP50 | Metric::LatencyP99 | Metric::LatencyP999 | Metric::QpsPerCore) => {
            Certainty::Confirmed
        }
        (_, Metric::Time | Metric::Own) if judged.mean.abs() >= CONFIRMED_BY_SIZE.ln_1p() => {
            Certainty::Confirmed
        }
        (_, Metric::Time) if instructions.is_some_and(witnessed) => Certainty::Confirmed,
        // Instructions alone say nothing about time: shown, not blocking.
        (_, Metric::Time | Metric::Own | Metric::Instructions) => Certainty::LayoutSuspect,
    }
}

/// A log-change as a fraction, kept finite.
fn relative(log_change: f64) -> f64 {
    log_change.exp_m1().min(UNBOUNDED)
}

fn side_median(visits: &[&Visit], side: impl Fn(&Visit) -> f64) -> f64 {
    median(&visits.iter().map(|v| side(v)).collect::<Vec<_>>()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BenchmarkId, Side};

    fn series(metric: Metric, pairs: impl IntoIterator<Item = (f64, f64)>) -> Series {
        let visits: Vec<Visit> =
            pairs.into_iter().map(|(base, head)| Visit::single(Side::Base, base, head)).collect();
        let seconds = visits.len() as f64 * 0.1;
        let (suite, benchmark) = ("s".into(), BenchmarkId("b".into()));
        Series { suite, benchmark, metric, visits, seconds, instructions: None }
    }

    /// Twelve visits around `ratio`, with a little spread.
    fn around(ratio: f64) -> Vec<(f64, f64)> {
        (0..12).map(|i| (100.0, 100.0 * ratio * (1.0 + 0.001 * f64::from(i % 3)))).collect()
    }

    fn judge(metric: Metric, pairs: impl IntoIterator<Item = (f64, f64)>) -> Comparison {
        judge_series(&Rule::new(0.01, 10), &series(metric, pairs), Mode::Gate)
    }

    #[test]
    fn slower_always_means_worse() {
        for (metric, ratio, expected) in [
            (Metric::Time, 1.2, Verdict::Slower),
            (Metric::Time, 0.8, Verdict::Faster),
            (Metric::LatencyP99, 1.2, Verdict::Slower),
            (Metric::QpsPerCore, 1.2, Verdict::Faster),
            (Metric::QpsPerCore, 0.8, Verdict::Slower),
            (Metric::QpsPerCore, 1.0, Verdict::Equal),
        ] {
            let row = judge(metric, around(ratio));
            assert_eq!(row.verdict, expected, "{metric:?} × {ratio}");
            assert!((row.estimate - (ratio - 1.0)).abs() < 0.005, "of the metric's own value: {row:?}");
            assert!(row.low <= row.estimate && row.estimate <= row.high);
        }
    }

    #[test]
    fn size_decides_certainty_of_time_but_not_of_load() {
        for (metric, ratio, expected) in [
            (Metric::Time, 1.20, Certainty::Confirmed),
            (Metric::Time, 0.90, Certainty::Confirmed),
            (Metric::Time, 1.05, Certainty::LayoutSuspect),
            (Metric::LatencyP50, 1.05, Certainty::Confirmed),
            (Metric::QpsPerCore, 0.95, Certainty::Confirmed),
            (Metric::Time, 1.00, Certainty::NotApplicable),
        ] {
            assert_eq!(judge(metric, around(ratio)).certainty, expected, "{metric:?} × {ratio}");
        }
        assert!(judge(Metric::Time, around(1.2)).blocks());
        assert!(!judge(Metric::Time, around(1.05)).blocks(), "a layout suspect is shown, not blocking");
    }

    #[test]
    fn instructions_confirm_or_leave_a_suspect() {
        for (ratio, base, head, expected, change) in [
            (1.05, vec![1000.0], vec![1006.0], Certainty::Confirmed, Some(0.006)),
            (0.95, vec![1000.0, 1000.5], vec![990.0], Certainty::Confirmed, Some(-0.01)),
            (1.05, vec![1000.0], vec![1001.0], Certainty::LayoutSuspect, Some(0.001)),
            (1.05, vec![1000.0], vec![900.0], Certainty::LayoutSuspect, Some(-0.1)),
            // Counts that vary by themselves say nothing, nor does a side without any.
            (1.05, vec![1000.0, 1010.0], vec![1100.0], Certainty::LayoutSuspect, None),
            (1.05, vec![], vec![1100.0], Certainty::LayoutSuspect, None),
            (1.05, vec![0.0], vec![f64::NAN], Certainty::LayoutSuspect, None),
            (1.20, vec![1000.0], vec![900.0], Certainty::Confirmed, Some(-0.1)),
        ] {
            let mut counted = series(Metric::Time, around(ratio));
            counted.instructions = Some(Instructions { base, head });
            let row = judge_series(&Rule::new(0.01, 10), &counted, Mode::Gate);
            assert_eq!(row.certainty, expected, "{counted:?}");
            match (row.instructions, change) {
                (Some(got), Some(expect)) => assert!((got - expect).abs() < 0.001, "{got}"),
                (got, expect) => assert_eq!(got, expect),
            }
        }
    }

    #[test]
    fn both_witnesses_together_say_what_changed() {
        use Certainty::{Confirmed, InstructionChange, LayoutSuspect, NotApplicable};
        use Verdict::{Equal, Faster, Slower};
        // Times and instructions of the head against the base; what is said of time, what of instructions.
        for (name, time, instructions, of_time, of_instructions) in [
            ("confirmed", 1.05, 1.006, (Slower, Confirmed), (Equal, NotApplicable)),
            ("confirmed", 1.05, 1.05, (Slower, Confirmed), (Slower, Confirmed)),
            ("confirmed", 0.95, 0.96, (Faster, Confirmed), (Faster, Confirmed)),
            ("layout suspect", 1.05, 1.004, (Slower, LayoutSuspect), (Equal, NotApplicable)),
            ("layout suspect", 1.05, 0.95, (Slower, LayoutSuspect), (Faster, Confirmed)),
            ("layout suspect", 0.95, 1.0, (Faster, LayoutSuspect), (Equal, NotApplicable)),
            ("instruction change", 1.0, 1.012, (Equal, NotApplicable), (Slower, InstructionChange)),
            ("instruction change", 1.0, 0.988, (Equal, NotApplicable), (Faster, InstructionChange)),
            ("no change", 1.0, 1.009, (Equal, NotApplicable), (Equal, NotApplicable)),
            ("confirmed by size", 1.2, 1.0, (Slower, Confirmed), (Equal, NotApplicable)),
            ("confirmed by size", 1.2, 0.5, (Slower, Confirmed), (Faster, Confirmed)),
            ("confirmed by size", 0.8, 1.0, (Faster, Confirmed), (Equal, NotApplicable)),
        ] {
            let mut counted = series(Metric::Time, around(time));
            let (base, head) = (vec![1000.0], vec![1000.0 * instructions]);
            counted.instructions = Some(Instructions { base, head });
            let row = judge_series(&Rule::new(0.01, 10), &counted, Mode::Gate);
            let shown = judge_instructions(&counted, &row, Mode::Advise).unwrap();
            assert_eq!((row.verdict, row.certainty), of_time, "{name}: time {time}");
            assert_eq!((shown.verdict, shown.certainty), of_instructions, "{name}: {instructions}");
            assert!(!shown.blocks(), "shown, not blocking");
            if shown.certainty == InstructionChange && shown.verdict == Slower {
                let gated = judge_instructions(&counted, &row, Mode::Gate).unwrap();
                assert!(gated.blocks(), "unless the configuration says so");
            }
        }
        let mut varying = series(Metric::Time, around(1.0));
        let (base, head) = (vec![1000.0, 1010.0], vec![1100.0, 1100.0]);
        varying.instructions = Some(Instructions { base, head });
        let row = judge_series(&Rule::new(0.01, 10), &varying, Mode::Gate);
        assert_eq!(judge_instructions(&varying, &row, Mode::Advise), None, "what varies says nothing");
    }

    #[test]
    fn bad_values_are_left_out_and_counted() {
        let mut pairs = around(1.2);
        for (at, bad) in [
            (0, (0.0, 1.0)),
            (3, (1.0, -1.0)),
            (5, (f64::NAN, 1.0)),
            (7, (1.0, f64::INFINITY)),
            (9, (1e-300, 1e300)),
        ] {
            pairs.insert(at, bad);
        }
        let with = series(Metric::Time, pairs);
        assert_eq!(unusable(&with), 5);
        let row = judge_series(&Rule::new(0.01, 10), &with, Mode::Gate);
        let without = judge(Metric::Time, around(1.2));
        assert_eq!(
            (row.verdict, row.estimate, row.visits),
            (without.verdict, without.estimate, without.visits)
        );
    }

    #[test]
    fn too_few_visits_never_decide() {
        for count in 0..10 {
            let row = judge(Metric::Time, around(3.0).into_iter().take(count));
            assert_eq!(row.verdict, Verdict::Inconclusive, "{count} visits");
            assert_eq!(row.visits as usize, count);
            assert_eq!(row.smallest_visible, UNBOUNDED, "nothing could have been seen");
            let json = serde_json::to_string(&row).unwrap();
            let back: Comparison = serde_json::from_str(&json).expect("finite, so that JSON holds it");
            assert_eq!(back.smallest_visible, row.smallest_visible);
        }
    }

    #[test]
    fn an_undecided_row_says_what_would_settle_it() {
        let wild = (0..120).map(|i| (100.0, if i % 2 == 0 { 90.0 } else { 112.0 }));
        let row = judge(Metric::Time, wild);
        assert_eq!(row.verdict, Verdict::Inconclusive);
        let minutes = row.minutes_to_settle.unwrap();
        assert!(minutes > 120.0 * 0.1 / 60.0, "more than was spent: {minutes}");
        assert_eq!(judge(Metric::Time, around(1.2)).minutes_to_settle, None);
    }

    #[test]
    fn unjudged_metrics_are_shown_without_a_verdict() {
        let row = judge(Metric::LatencyP999, around(2.0));
        assert_eq!((row.verdict, row.mode), (Verdict::Inconclusive, Mode::Record));
        assert!((row.estimate - 1.0).abs() < 0.01);
    }

    #[test]
    fn visits_after_the_decision_are_not_looked_at() {
        let mut pairs = around(1.2);
        let short = judge(Metric::Time, pairs.clone());
        pairs.extend(std::iter::repeat_n((100.0, 50.0), 60));
        let long = judge(Metric::Time, pairs);
        assert_eq!((short.verdict, short.estimate, short.visits), (long.verdict, long.estimate, long.visits));
    }
}
