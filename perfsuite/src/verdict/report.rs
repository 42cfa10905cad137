//! Stored evidence becomes the report, the same every time.

use super::comparison::{LAYOUT_MAX, judge_instructions, judge_ratios, judge_series, log_ratio, unusable};
use super::sample::Moments;
use super::sequential::{Decision, Rule, VISITS_MIN};
use crate::model::comparison::REPORT_SCHEMA;
use crate::model::{
    Calibration, Certainty, Comparison, Evidence, Metric, Mode, Report, Scenario, Series, Side, SuiteSpec,
    Unaffected, Verdict, scenario::ScenarioSide,
};
use crate::profile::summarise;
use std::cmp::Ordering;

/// Judges everything that a run saw. A pure function of the evidence.
///
/// The samples decide, not the runner: the `N` of the budget is at least the number of judged series present, so that
/// evidence that understates it gains nothing.
pub fn judge(evidence: &Evidence) -> Report {
    let present = evidence.series.iter().filter(|s| s.metric.judged()).count();
    let judged_pairs = evidence.judged_pairs.max(u32::try_from(present).unwrap_or(u32::MAX)).max(1);
    let rule = Rule::new(evidence.spec.budget, judged_pairs);
    let mut rows: Vec<Comparison> = Vec::new();
    for series in &evidence.series {
        let mode = |metric| mode_of(&evidence.spec.suites, series, metric);
        let mut row = judge_series(&rule, series, mode(series.metric));
        if is_unaffected(evidence, series) {
            of_the_same_code(&mut row);
        }
        rows.extend(judge_instructions(series, &row, mode(Metric::Instructions)));
        rows.push(row);
    }
    let same_code = evidence.series.iter().filter(|series| is_unaffected(evidence, series));
    let same_code = same_code.filter_map(|series| calibrated(&rule, series, LAYOUT_MAX));
    // Copies of one executable: not even the layout differs.
    let of_itself = evidence.calibration.iter().filter_map(|series| calibrated(&rule, series, 0.0));
    let calibration = same_code.chain(of_itself).collect();
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
        calibration,
        profiles: evidence.profiles.iter().map(summarise).collect(),
        scenarios: evidence.scenarios.iter().map(without_histograms).collect(),
        environment,
        judged_pairs,
        budget: evidence.spec.budget,
        alpha: rule.alpha(),
        measure_seconds: seconds(evidence.measure_ms),
        count_seconds: seconds(evidence.count_ms),
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

fn is_unaffected(evidence: &Evidence, series: &Series) -> bool {
    let same = |same: &Unaffected| (&same.suite, &same.benchmark) == (&series.suite, &series.benchmark);
    evidence.unaffected.iter().any(same)
}

/// What a series of no change says about the machine: by all of its visits, also those after the rule would have
/// stopped. An alarm is a change that is called, and that is more than `layout`. `None` with fewer than two usable ones.
fn calibrated(rule: &Rule, series: &Series, layout: f64) -> Option<Calibration> {
    let ratios: Vec<f64> = series.visits.iter().filter_map(log_ratio).collect();
    let moments = Moments::of(&ratios)?;
    let judged = judge_ratios(rule, &ratios);
    Some(Calibration {
        suite: series.suite.clone(),
        benchmark: series.benchmark.clone(),
        metric: series.metric,
        estimate: moments.mean.exp_m1(),
        spread: moments.sd,
        visits: u32::try_from(ratios.len()).unwrap_or(u32::MAX),
        alarm: judged.decision == Decision::Changed && judged.mean.abs() - judged.half_width > layout.ln_1p(),
    })
}

/// A benchmark that reaches the same machine code on both sides, in two executables. What lies around that code is
/// another, so its time may truly differ, by what placing it elsewhere does: the question is whether the clock says
/// more than that. Equal when the whole interval lies within ±[`LAYOUT_MAX`], disagreeing with the code when all of it
/// lies beyond (layout still, or an unlucky run, never the change that is judged), undecided between.
fn of_the_same_code(row: &mut Comparison) {
    let within = row.low > -LAYOUT_MAX && row.high < LAYOUT_MAX;
    let beyond = row.low > LAYOUT_MAX || row.high < -LAYOUT_MAX;
    if within && row.metric.judged() && row.visits as usize >= VISITS_MIN {
        row.verdict = Verdict::Equal;
        row.minutes_to_settle = None;
    } else if row.changed() && !beyond {
        row.verdict = Verdict::Inconclusive;
    }
    row.certainty = if row.changed() { Certainty::LayoutSuspect } else { Certainty::NotApplicable };
    row.smallest_visible = row.smallest_visible.max(LAYOUT_MAX);
    row.mode = Mode::Record;
    row.mode_reason = Some("its machine code is the same on both sides".into());
}

/// The mode that the configuration gives a metric of this series; suites that were discovered have none and gate.
fn mode_of(suites: &[SuiteSpec], series: &Series, metric: Metric) -> Mode {
    suites
        .iter()
        .find(|suite| suite.name == series.suite)
        .map_or_else(|| Mode::of_metric(metric), |suite| suite.mode_of(&series.benchmark.0, metric))
}

/// A report has percentiles; whoever wants all latencies reads the evidence.
fn without_histograms(scenario: &Scenario) -> Scenario {
    let side = |(side, seen): (&Side, &ScenarioSide)| {
        (*side, ScenarioSide { latency: String::new(), ..seen.clone() })
    };
    Scenario { sides: scenario.sides.iter().map(side).collect(), ..scenario.clone() }
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
