//! The group-sequential rule: when to stop, and with which answer.

use super::sample::Moments;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Usable visits after which the rule looks. Few looks early, because a clear change needs no more, and none after
/// the cap, because what 120 visits cannot tell is cheaper to report as inconclusive.
pub const LOOKS: [usize; 8] = [10, 15, 20, 30, 45, 60, 90, 120];
/// The first look: with fewer usable visits nothing is decided.
pub const VISITS_MIN: usize = LOOKS[0];
/// The last look.
pub const VISITS_MAX: usize = LOOKS[LOOKS.len() - 1];
/// Smaller changes are never called changes, however certain: below it, layout and temperature decide. In log units.
pub const CHANGE_MIN: f64 = 0.01;
/// *Equal* means: no change of this size or more, as a fraction.
pub const EQUAL_WITHIN: f64 = 0.025;
/// The power at which the smallest visible change is stated.
const POWER: f64 = 0.95;
/// The exponent of the spending function: between Pocock's (1) and O'Brien & Fleming's (about 3); a real slowdown of
/// 10 % is to end after 10 or 15 visits, and the cap is to keep most of the budget.
const SPENDING_EXPONENT: f64 = 1.5;
/// Widens every critical value: winsorising understates the standard error by a few percent, and visits in a row are
/// not quite independent.
const SAFETY: f64 = 1.10;
/// The quantile of the reported interval, per tail. A fixed sample would need 0.025 for 95 %; stopping early on a
/// lucky value costs coverage, so less than half of that is taken (and widened by [`SAFETY`] like the critical values).
/// `interval_covers_at_any_stop` measures what comes out.
const INTERVAL_TAIL: f64 = 0.01;

/// What the rule says after some visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Undecided, and visits remain.
    Go,
    /// Faster or slower, by the sign of the mean.
    Changed,
    /// No change of [`EQUAL_WITHIN`] or more.
    Equal,
    /// Undecided at the cap.
    Inconclusive,
}

/// The rule of one run. Fixed before the first sample: its budget is shared by all pairs that are judged in the run.
///
/// Look `k` after `n_k` visits spends `a_k = alpha · ((n_k/120)^1.5 − (n_(k−1)/120)^1.5)` of `alpha = budget / (2 N)`
/// and calls a change where `|m| / se > 1.10 · t(1 − a_k/2, n_k − 1)` and `|m| > 1 %`.
///
/// It calls *equal* where `|m| + c_k · se < ln(1.025)`, with `c_k = 1.10 · t(1 − 0.01, n_k − 1)` (3.10 after 10
/// visits, 2.59 after 120), which is to say: where the reported interval lies within ±2.5 %. With a constant 2 in its
/// place a true change of 3 % on a noisy benchmark was called equal in about 2 % of runs, because eight looks give
/// noise eight chances; with `c_k` it is below 1 % at every noise (`a_true_change_is_not_called_equal`), and what a
/// reader sees never contradicts the word beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    alpha: f64,
    critical: [f64; LOOKS.len()],
    /// Half the reported interval's width at each look, in standard errors.
    interval: [f64; LOOKS.len()],
}

impl Rule {
    /// `budget`: false alarms allowed per run, as a probability; `judged_pairs`: the `N` that share it. A budget that
    /// is no probability is brought to the nearest usable one, which errs towards fewer alarms for a NaN.
    pub fn new(budget: f64, judged_pairs: u32) -> Rule {
        let budget = if budget.is_nan() { BUDGET_MIN } else { budget.clamp(BUDGET_MIN, BUDGET_MAX) };
        let alpha = budget / (2.0 * f64::from(judged_pairs.max(1)));
        let share = |n: usize| (n as f64 / VISITS_MAX as f64).powf(SPENDING_EXPONENT);
        let mut critical = [0.0; LOOKS.len()];
        let mut spent = 0.0;
        for (value, &visits) in critical.iter_mut().zip(&LOOKS) {
            let spends = alpha * (share(visits) - spent);
            spent = share(visits);
            *value = SAFETY * upper_quantile(spends / 2.0, visits);
        }
        Rule { alpha, critical, interval: LOOKS.map(interval_factor) }
    }

    /// The false-alarm probability of one pair, over all of its looks.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Judges the visits so far as if live: every look is repeated in order, and the first that is clear decides.
    /// `ratios` are `ln(head / base)` of the usable visits, in order of measurement.
    pub fn decide(&self, ratios: &[f64]) -> Decision {
        self.stop(ratios).0
    }

    /// The decision, and how many of the visits it rests on.
    pub(super) fn stop(&self, ratios: &[f64]) -> (Decision, usize) {
        for (look, &visits) in LOOKS.iter().enumerate() {
            let Some(moments) = ratios.get(..visits).and_then(Moments::of) else {
                return (Decision::Go, ratios.len());
            };
            if self.is_changed(look, &moments) {
                return (Decision::Changed, visits);
            }
            if moments.mean.abs() + self.interval[look] * moments.se < EQUAL_WITHIN.ln_1p() {
                return (Decision::Equal, visits);
            }
        }
        (Decision::Inconclusive, VISITS_MAX)
    }

    fn is_changed(&self, look: usize, moments: &Moments) -> bool {
        moments.mean.abs() > CHANGE_MIN && moments.mean.abs() > self.critical[look] * moments.se
    }

    /// The log-change that is found with 95 % power at spread `sd`, when the rule may go on to `visits`; at least
    /// what is not called equal. `None` when `visits` end before the first look, so that nothing could be found.
    pub fn smallest_visible(&self, sd: f64, visits: usize) -> Option<f64> {
        let look = LOOKS.iter().rposition(|&n| n <= visits)?;
        let se = sd / (LOOKS[look] as f64).sqrt();
        let miss = se * upper_quantile(1.0 - POWER, LOOKS[look]);
        Some((self.critical[look] * se + miss).max(EQUAL_WITHIN.ln_1p()))
    }

    /// How many visits would settle a mean of `mean` at spread `sd`, if both stay as they are: whichever of *changed*
    /// and *equal* comes first.
    pub(super) fn visits_to_settle(&self, mean: f64, sd: f64) -> f64 {
        let needed = |distance: f64, critical: f64| {
            if distance > 0.0 { (critical * sd / distance).powi(2) } else { f64::INFINITY }
        };
        let last = LOOKS.len() - 1;
        let size = mean.abs();
        let changed = if size > CHANGE_MIN { needed(size, self.critical[last]) } else { f64::INFINITY };
        let equal = needed(EQUAL_WITHIN.ln_1p() - size, self.interval[last]);
        changed.min(equal).max(VISITS_MIN as f64)
    }
}

/// A budget below one in a billion runs asks for more digits than a quantile has.
const BUDGET_MIN: f64 = 1e-9;
/// Above one alarm in two runs the word has lost its meaning.
const BUDGET_MAX: f64 = 0.5;

/// Half the width of the reported 95 % interval: `1.10 · t(1 − 0.01, n − 1) · se`.
pub(super) fn half_width(moments: &Moments) -> f64 {
    interval_factor(moments.count) * moments.se
}

fn interval_factor(visits: usize) -> f64 {
    SAFETY * upper_quantile(INTERVAL_TAIL, visits)
}

/// The value that Student's t with `visits − 1` degrees of freedom exceeds with probability `tail`.
///
/// Taken from the lower tail by symmetry: `1 − tail` would lose the digits that a small tail consists of.
fn upper_quantile(tail: f64, visits: usize) -> f64 {
    let freedom = visits.saturating_sub(1).max(1) as f64;
    let student = StudentsT::new(0.0, 1.0, freedom).expect("scale and freedom are positive");
    -student.inverse_cdf(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of Student's t (two digits more than they print are compared to two parts in ten thousand).
    #[test]
    fn quantiles_agree_with_tables() {
        for (tail, visits, expected) in [
            (0.025, 10, 2.2622),
            (0.005, 10, 3.2498),
            (0.0005, 10, 4.7809),
            (0.025, 121, 1.9799),
            (0.0005, 31, 3.6460),
        ] {
            let got = upper_quantile(tail, visits);
            assert!(
                (got / expected - 1.0).abs() < 2e-4,
                "t({tail}, {visits}) = {got}, tables say {expected}"
            );
        }
    }

    /// Far in the tail, where the budget lives, there are no tables: the distribution function must give it back.
    #[test]
    fn far_quantiles_invert_the_distribution() {
        for visits in LOOKS {
            for tail in [1e-4, 1e-6, 6e-7, 1e-8, 1e-10] {
                let student = StudentsT::new(0.0, 1.0, (visits - 1) as f64).unwrap();
                let back = student.cdf(-upper_quantile(tail, visits));
                assert!((back / tail - 1.0).abs() < 1e-3, "visits {visits}: {tail} came back as {back}");
            }
        }
    }

    #[test]
    fn looks_spend_exactly_alpha() {
        let rule = Rule::new(0.01, 100);
        assert!((rule.alpha() - 5e-5).abs() < 1e-15);
        let spent: f64 = LOOKS
            .iter()
            .zip(rule.critical)
            .map(|(&visits, critical)| {
                let student = StudentsT::new(0.0, 1.0, (visits - 1) as f64).unwrap();
                2.0 * student.cdf(-critical / SAFETY)
            })
            .sum();
        assert!((spent / 5e-5 - 1.0).abs() < 1e-3, "{spent}");
    }

    #[test]
    fn stops_only_at_looks() {
        let rule = Rule::new(0.01, 1);
        let clear: Vec<f64> = (0..14).map(|i| 0.3 + f64::from(i) * 1e-4).collect();
        assert_eq!(rule.decide(&clear[..9]), Decision::Go);
        assert_eq!(rule.stop(&clear), (Decision::Changed, 10));
        let flat: Vec<f64> = (0..14).map(|i| f64::from(i % 2) * 1e-4).collect();
        assert_eq!(rule.stop(&flat), (Decision::Equal, 10));
    }

    #[test]
    fn a_certain_change_below_one_percent_is_no_change() {
        let rule = Rule::new(0.01, 1);
        let tiny: Vec<f64> = (0..120).map(|i| 0.009 + f64::from(i % 3) * 1e-5).collect();
        assert_eq!(rule.decide(&tiny), Decision::Equal);
    }

    #[test]
    fn wild_values_end_inconclusive() {
        let rule = Rule::new(0.01, 1);
        let wild: Vec<f64> = (0..200).map(|i| if i % 2 == 0 { 0.4 } else { -0.4 }).collect();
        assert_eq!(rule.decide(&wild[..119]), Decision::Go);
        assert_eq!(rule.stop(&wild), (Decision::Inconclusive, 120));
    }

    #[test]
    fn a_budget_that_is_no_probability_does_not_raise_alarms() {
        for budget in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
            assert!(Rule::new(budget, 100).critical[0] > Rule::new(0.01, 100).critical[0], "{budget}");
        }
        assert!(Rule::new(f64::INFINITY, 1).critical.iter().all(|c| c.is_finite() && *c > 0.0));
    }
}
