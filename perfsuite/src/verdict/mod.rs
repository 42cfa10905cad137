//! The verdict: from raw visits to one of three answers. Pure: no I/O, no clock, no randomness.
//!
//! A *visit* is a fresh process of each side; its log-ratio `d = ln(head / base)` is the statistical unit, because
//! processes differ more from each other than the iterations within one. The method, step by step:
//!
//! 1. [`sample`]: winsorise the `d` at `median ± 2.5 · 1.4826 · MAD` (1.4826 makes the median absolute deviation
//!    estimate a normal standard deviation: Rousseeuw & Croux, *Alternatives to the Median Absolute Deviation*,
//!    JASA 88, 1993), then take the mean `m` and its standard error `se = sd / √n` (Tukey & McLaughlin, 1963).
//! 2. [`sequential`]: look after 10, 15, 20, 30, 45, 60, 90 and 120 visits, and stop as soon as it is clear. Looking
//!    often would raise the rate of false alarms, so each look spends a part of a fixed budget (alpha spending: Lan &
//!    DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983).
//! 3. The budget is for the whole run: `alpha = budget / (2 N)` over `N` judged pairs of benchmark and metric
//!    (Bonferroni; the factor 2 keeps half of it for what the model gets wrong).
//! 4. *Equal* is an answer of its own: the interval lies within the equivalence margin (two one-sided tests:
//!    Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987). Neither changed nor equal at the end: inconclusive.
//!
//! [`report::judge`] applies this to stored evidence, so that a verdict can be repeated offline from the same bytes.

pub mod comparison;
pub mod report;
pub mod sample;
pub mod sequential;

pub use comparison::{Judged, judge_ratios, judge_series};
pub use report::judge;
pub use sequential::{Decision, Rule, VISITS_MAX};
