//! Lengths of time of which some have not ended: Kaplan and Meier's estimate, and quantiles of it. What is still open counts
//! as longer than it is, and is not left out.
//!
//! Interval of a quantile after Brookmeyer and Crowley (1982), over the log-log interval of the survival function with
//! Greenwood's variance.

use super::Estimate;

/// One length of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub seconds: f64,
    /// False: it was still going on when it was last looked at.
    pub ended: bool,
}

/// Of the normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The time within which a share `p` has ended, with its interval; `None` where the longest looked at are not long enough to
/// know. Lengths that are no number, or below zero, are left out.
pub fn quantile(spans: &[Span], p: f64) -> Option<Estimate> {
    let rest = 1.0 - p;
    let (mut value, mut low, mut high) = (None, None, None);
    for step in steps(spans) {
        if value.is_none() && step.survival <= rest + 1e-12 {
            value = Some(step.seconds);
        }
        if low.is_none() && step.low <= rest + 1e-12 {
            low = Some(step.seconds);
        }
        if high.is_none() && step.high <= rest + 1e-12 {
            high = Some(step.seconds);
        }
    }
    value.map(|value| Estimate { value, low, high })
}

struct Step {
    seconds: f64,
    survival: f64,
    low: f64,
    high: f64,
}

/// The survival function's steps, with its interval at each.
fn steps(spans: &[Span]) -> Vec<Step> {
    let mut spans: Vec<Span> =
        spans.iter().copied().filter(|span| span.seconds.is_finite() && span.seconds >= 0.0).collect();
    spans.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let (mut at_risk, mut survival, mut variance) = (spans.len() as f64, 1.0_f64, 0.0_f64);
    let mut steps = Vec::new();
    for group in spans.chunk_by(|a, b| a.seconds == b.seconds) {
        let ended = group.iter().filter(|span| span.ended).count() as f64;
        if ended > 0.0 {
            survival *= 1.0 - ended / at_risk;
            variance += ended / (at_risk * (at_risk - ended));
            let (low, high) = if survival > 0.0 && survival < 1.0 {
                let error = variance.sqrt() / survival.ln().abs();
                (survival.powf((Z * error).exp()), survival.powf((-Z * error).exp()))
            } else {
                // The last one ended: nothing is left that an interval could be made of.
                (survival, steps.last().map_or(survival, |step: &Step| step.high))
            };
            steps.push(Step { seconds: group[0].seconds, survival, low, high });
        }
        at_risk -= group.len() as f64;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of remission under 6-MP (Freireich and others, 1963): the textbook's example.
    fn remission() -> Vec<Span> {
        let ended = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|weeks| (weeks, true));
        let open = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|weeks| (weeks, false));
        let all = ended.into_iter().chain(open);
        all.map(|(weeks, ended)| Span { seconds: f64::from(weeks), ended }).collect()
    }

    #[test]
    fn the_textbooks_curve_and_median() {
        let at = |weeks: f64| {
            let all = steps(&remission());
            all.iter().rev().find(|step| step.seconds <= weeks).map_or(1.0, |step| step.survival)
        };
        for (weeks, expect) in [(6.0, 0.857), (7.0, 0.807), (10.0, 0.753), (16.0, 0.627), (23.0, 0.448)] {
            assert!((at(weeks) - expect).abs() < 0.000_6, "{weeks}: {}", at(weeks));
        }
        let median = quantile(&remission(), 0.5).unwrap();
        assert_eq!((median.value, median.low, median.high), (23.0, Some(13.0), None));
        assert_eq!(quantile(&remission(), 0.85), None, "too few have ended to know");
    }

    #[test]
    fn what_is_open_is_not_left_out() {
        let span = |days: f64, ended| Span { seconds: days, ended };
        let ended: Vec<Span> = (1..=10).map(|day| span(f64::from(day), true)).collect();
        let mut with_open = ended.clone();
        with_open.extend((0..10).map(|_| span(30.0, false)));
        assert_eq!(quantile(&ended, 0.5).unwrap().value, 5.0);
        assert_eq!(quantile(&with_open, 0.5).unwrap().value, 10.0, "half of twenty have ended by then");
        let opened_just_now: Vec<Span> =
            ended.iter().copied().chain((0..10).map(|_| span(0.5, false))).collect();
        assert_eq!(quantile(&opened_just_now, 0.5).unwrap().value, 5.0, "they say nothing yet");
    }

    #[test]
    fn nothing_and_nonsense_have_no_quantile() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[Span { seconds: f64::NAN, ended: true }], 0.5), None);
        assert_eq!(quantile(&[Span { seconds: -1.0, ended: true }], 0.5), None);
        assert_eq!(quantile(&[Span { seconds: 3.0, ended: false }], 0.5), None);
        assert_eq!(quantile(&[Span { seconds: 3.0, ended: true }], 0.5).map(|one| one.value), Some(3.0));
    }
}
