//! Stored evidence becomes the report, the same every time.

use super::comparison::{judge_series, unusable};
use super::sequential::Rule;
use crate::model::comparison::REPORT_SCHEMA;
use crate::model::{Comparison, Evidence, Mode, Report, Series, SuiteSpec, Verdict};
use std::cmp::Ordering;

/// Judges everything that a run saw. A pure function of the evidence.
///
/// The samples decide, not the runner: the `N` of the budget is at least the number of judged series present, so that
/// evidence that understates it gains nothing.
pub fn judge(evidence: &Evidence) -> Report {
    let present = evidence.series.iter().filter(|s| s.metric.judged()).count();
    let judged_pairs = evidence.judged_pairs.max(u32::try_from(present).unwrap_or(u32::MAX)).max(1);
    let rule = Rule::new(evidence.spec.budget, judged_pairs);
    let mut rows: Vec<Comparison> = evidence
        .series
        .iter()
        .map(|series| judge_series(&rule, series, mode_of(&evidence.spec.suites, series)))
        .collect();
    rows.sort_by(in_order_of_interest);
    let mut environment = evidence.environment.clone();
    environment.warnings.extend(evidence.series.iter().filter_map(left_out));
    Report {
        schema: REPORT_SCHEMA,
        job: evidence.spec.job.clone(),
        repository: evidence.spec.repository.clone(),
        base: evidence.spec.base.clone(),
        head: evidence.spec.head.clone(),
        rows,
        failures: evidence.failures.clone(),
        one_sided: evidence.one_sided.clone(),
        builds: evidence.builds.clone(),
        identical: evidence.identical.clone(),
        unaffected: evidence.unaffected.clone(),
        environment,
        judged_pairs,
        budget: evidence.spec.budget,
        alpha: rule.alpha(),
        measure_seconds: seconds(evidence.measure_ms),
        build_seconds: evidence.builds.iter().map(|b| b.seconds).sum(),
    }
}

/// Changed first, the largest first (by factor, so that a halving and a doubling are the same size), then inconclusive,
/// then equal; by name within.
fn in_order_of_interest(a: &Comparison, b: &Comparison) -> Ordering {
    let group = |row: &Comparison| match row.verdict {
        Verdict::Slower | Verdict::Faster => 0,
        Verdict::Inconclusive => 1,
        Verdict::Equal => 2,
    };
    let size = |row: &Comparison| if row.changed() { row.estimate.ln_1p().abs() } else { 0.0 };
    let name = |row: &Comparison| (row.suite.clone(), row.benchmark.clone(), row.metric);
    group(a).cmp(&group(b)).then(size(b).total_cmp(&size(a))).then_with(|| name(a).cmp(&name(b)))
}

/// The mode that the configuration gives this series; suites that were discovered have none and gate.
fn mode_of(suites: &[SuiteSpec], series: &Series) -> Mode {
    suites
        .iter()
        .find(|suite| suite.name == series.suite)
        .map_or_else(Mode::default, |suite| suite.mode_of(&series.benchmark.0))
}

fn left_out(series: &Series) -> Option<String> {
    let count = unusable(series);
    (count > 0).then(|| {
        format!(
            "{} of {} visits of {} ({}) had no usable value and were left out",
            count,
            series.visits.len(),
            series.benchmark,
            series.metric.title()
        )
    })
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
