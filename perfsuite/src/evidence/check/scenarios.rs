//! Load scenarios in evidence: bounded, and of the job's suites.

use super::{Unsound, is_measure, known_suite, name, quoted, refuse};
use crate::load::knee::PROBES_MAX;
use crate::load::wire::RESULT_MAX_BYTES;
use crate::model::scenario::{Knee, Scenario, ScenarioSide};
use crate::model::{Evidence, JobSpec};

/// A histogram of a side, of which a round's result holds two.
const LATENCY_MAX_BYTES: usize = RESULT_MAX_BYTES / 2;
/// Runners tell some twenty.
const PERCENTILES_MAX: usize = 200;
/// Of all scenarios of a run: more than any configuration has.
const SCENARIOS_MAX: usize = 200;

pub(super) fn check(evidence: &Evidence, spec: &JobSpec) -> Result<(), Unsound> {
    let all = &evidence.scenarios;
    if all.len() > SCENARIOS_MAX {
        return refuse(format!("{} load scenarios are more than {SCENARIOS_MAX}", all.len()));
    }
    for (at, scenario) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.suite == scenario.suite) {
            return refuse(format!("{} was played twice", quoted(&scenario.suite)));
        }
        check_scenario(scenario, spec)?;
    }
    Ok(())
}

fn check_scenario(scenario: &Scenario, spec: &JobSpec) -> Result<(), Unsound> {
    name(&scenario.suite)?;
    known_suite(&scenario.suite, spec)?;
    let values = [scenario.rate_per_second, scenario.p99_limit_ms, scenario.lateness_p99_ns as f64];
    let knees = || scenario.sides.values().filter_map(|side| side.knee.as_ref());
    if !values
        .into_iter()
        .chain(knees().flat_map(figures))
        .chain(scenario.sides.values().flat_map(latencies))
        .all(is_measure)
    {
        return refuse(format!("{} has a value that nothing can measure", quoted(&scenario.suite)));
    }
    if knees().any(|knee| knee.probes.len() > PROBES_MAX) {
        return refuse(format!("{} has a search of more than {PROBES_MAX} steps", quoted(&scenario.suite)));
    }
    if scenario.sides.values().any(|side| side.percentiles.len() > PERCENTILES_MAX) {
        return refuse(format!("{} has more than {PERCENTILES_MAX} percentiles", quoted(&scenario.suite)));
    }
    if scenario.sides.values().any(|side| side.latency.len() > LATENCY_MAX_BYTES) {
        return refuse(format!(
            "{} has a histogram of more than {LATENCY_MAX_BYTES} bytes",
            quoted(&scenario.suite)
        ));
    }
    Ok(())
}

fn figures(knee: &Knee) -> impl Iterator<Item = f64> {
    let probes = knee.probes.iter().flat_map(|probe| [probe.rate_per_second, probe.p99_ns as f64]);
    probes.chain([knee.rate_per_second, knee.relaxed_ns.unwrap_or_default() as f64])
}

fn latencies(side: &ScenarioSide) -> impl Iterator<Item = f64> {
    side.percentiles.iter().flat_map(|percentile| [percentile.share, percentile.ns as f64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Side;
    use crate::model::scenario::{KneeLimit, Percentile, Probe};

    fn sound() -> Scenario {
        let probe = Probe { rate_per_second: 1_000.0, p99_ns: 1, lateness_p99_ns: 1, errors: 0 };
        let side = ScenarioSide {
            requests: 10,
            percentiles: vec![Percentile { share: 0.5, ns: 1 }],
            memory_peak_bytes: None,
            latency: String::new(),
            knee: Some(Knee {
                rate_per_second: 1_000.0,
                limited_by: KneeLimit::Search,
                relaxed_ns: None,
                probes: vec![probe],
            }),
        };
        Scenario {
            suite: "widgets".into(),
            rate_per_second: 500.0,
            p99_limit_ms: 10.0,
            lateness_p99_ns: 1,
            sides: [(Side::Base, side)].into(),
        }
    }

    fn is_refused(change: impl FnOnce(&mut Scenario, &mut ScenarioSide)) -> bool {
        let mut scenario = sound();
        let mut side = scenario.sides[&Side::Base].clone();
        change(&mut scenario, &mut side);
        scenario.sides.insert(Side::Base, side);
        check_scenario(&scenario, &super::super::tests::spec()).is_err()
    }

    #[test]
    fn what_cannot_be_a_scenario_is_refused() {
        assert!(!is_refused(|_, _| {}));
        for refused in [
            is_refused(|scenario, _| scenario.suite = "other".into()),
            is_refused(|scenario, _| scenario.rate_per_second = f64::NAN),
            is_refused(|scenario, _| scenario.p99_limit_ms = -1.0),
            is_refused(|_, side| side.percentiles[0].ns = u64::MAX),
            is_refused(|_, side| side.percentiles[0].share = -0.5),
            is_refused(|_, side| side.percentiles = vec![side.percentiles[0]; PERCENTILES_MAX + 1]),
            is_refused(|_, side| side.latency = "x".repeat(LATENCY_MAX_BYTES + 1)),
            is_refused(|_, side| {
                if let Some(knee) = &mut side.knee {
                    knee.probes = vec![knee.probes[0]; PROBES_MAX + 1];
                }
            }),
            is_refused(|_, side| {
                if let Some(knee) = &mut side.knee {
                    knee.rate_per_second = f64::INFINITY;
                }
            }),
        ] {
            assert!(refused);
        }
    }
}
