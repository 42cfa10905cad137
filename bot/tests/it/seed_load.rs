//! A load scenario for seeded runs.

use perfsuite::model::Side;
use perfsuite::model::scenario::{Knee, KneeLimit, Percentile, Probe, Scenario, ScenarioSide, shares};

/// A server of which the head is slower under load, with the way to what each side sustains.
pub fn scenario() -> Scenario {
    let side = |slow: f64, sustained: f64| ScenarioSide {
        requests: 30_000,
        memory_peak_bytes: Some(12 << 20),
        latency: String::new(),
        percentiles: shares()
            .into_iter()
            .map(|share| Percentile { share, ns: (180_000.0 * slow / (1.0 - share).powf(0.35)) as u64 })
            .collect(),
        knee: Some(Knee {
            rate_per_second: sustained,
            limited_by: KneeLimit::Server,
            relaxed_ns: None,
            probes: [0.25, 0.5, 0.75, 1.0, 1.3]
                .into_iter()
                .map(|share| Probe {
                    rate_per_second: sustained * share,
                    p99_ns: (900_000.0 * slow / (1.35 - share)) as u64,
                    lateness_p99_ns: 40_000,
                    errors: 0,
                })
                .collect(),
        }),
    };
    Scenario {
        suite: "proxy".into(),
        rate_per_second: 20_000.0,
        lateness_p99_ns: 45_000,
        p99_limit_ms: 3.0,
        sides: [(Side::Base, side(1.0, 41_600.0)), (Side::Head, side(1.2, 32_000.0))].into(),
    }
}
