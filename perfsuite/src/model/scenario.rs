//! What a load scenario showed besides its rows: what was sent, what came back, and how much each side sustains.

use super::Side;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A scenario that was measured. Shown beside its rows, never judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    pub suite: String,
    /// That were sent, to both sides together.
    pub rate_per_second: f64,
    /// The p99 that a rate must keep to be sustained.
    pub p99_limit_ms: f64,
    /// How late requests were sent at p99, in the middle one of the rounds: part of both sides' latencies.
    pub lateness_p99_ns: u64,
    pub sides: BTreeMap<Side, ScenarioSide>,
}

/// All rounds of one side together. Latencies count from the scheduled time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioSide {
    /// With an outcome, good or bad.
    pub requests: u64,
    /// From the least on.
    pub percentiles: Vec<Percentile>,
    pub memory_peak_bytes: Option<u64>,
    /// All latencies, in evidence: base64 of HDR Histogram's V2 encoding, in nanoseconds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub latency: String,
    /// Where the rate was searched, and there was time for this side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
}

/// A part of the requests was answered within a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentile {
    /// From 0 to 1.
    pub share: f64,
    pub ns: u64,
}

/// The parts that are told: steps of an eighth of a power of ten from the slow end, up to 99.9 %, and the half.
pub fn shares() -> Vec<f64> {
    const STEPS: i32 = 24;
    let mut shares: Vec<f64> = (0..=STEPS).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0)).collect();
    shares.push(0.5);
    shares.sort_by(f64::total_cmp);
    shares
}

/// The largest open-loop rate whose p99 stays under the limit, and the way there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Knee {
    /// Zero when the server failed at every rate.
    pub rate_per_second: f64,
    /// What ended the search above that rate.
    pub limited_by: KneeLimit,
    /// The limit on p99 that was used in place of the asked one, which not even the slowest probe kept.
    pub relaxed_ns: Option<u64>,
    pub probes: Vec<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KneeLimit {
    /// p99 above the limit, or errors.
    Server,
    /// The generator could not keep the schedule: the server may sustain more.
    Generator,
    /// The search's own end: time or its largest rate.
    Search,
}

/// One step of the search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    pub rate_per_second: f64,
    pub p99_ns: u64,
    pub lateness_p99_ns: u64,
    pub errors: u64,
}

impl KneeLimit {
    /// What is above the rate that was found.
    pub fn in_words(self) -> &'static str {
        match self {
            KneeLimit::Server => "above it the server is too slow",
            KneeLimit::Generator => "above it the generator cannot keep its schedule on this machine",
            KneeLimit::Search => "more was not tried",
        }
    }
}

impl ScenarioSide {
    /// Within which this part of the requests was answered, in nanoseconds.
    pub fn within(&self, share: f64) -> Option<u64> {
        let close = |percentile: &&Percentile| (percentile.share - share).abs() < 1e-6;
        self.percentiles.iter().find(close).map(|percentile| percentile.ns)
    }
}

impl Knee {
    /// The limit that was used, in words.
    pub fn limit(&self, asked_ms: f64) -> String {
        match self.relaxed_ns {
            None => format!("{asked_ms} ms"),
            Some(ns) => format!("{:.1} ms ({asked_ms} ms was missed here at every rate)", ns as f64 / 1e6),
        }
    }
}

impl Scenario {
    /// What to make of sustained rates, where any were searched for.
    pub fn knee_caution(&self) -> Option<&'static str> {
        let searched = self.sides.values().any(|side| side.knee.is_some());
        searched.then_some("one search a side, in steps of up to 30 %: a smaller difference says nothing")
    }

    /// What the rows do not say, a sentence each, without full stops.
    pub fn in_words(&self) -> Vec<String> {
        let suite = &self.suite;
        let mut words = vec![format!(
            "{suite}: {:.0} requests a second to both sides together, sent {:.0} µs late at p99, which both sides' latencies contain",
            self.rate_per_second,
            self.lateness_p99_ns as f64 / 1e3
        )];
        let knees = self.sides.iter().filter_map(|(side, seen)| Some((side, seen.knee.as_ref()?)));
        words.extend(knees.map(|(side, knee)| {
            format!(
                "{suite}: the {} by itself sustains {:.0} requests a second with a p99 under {}; {}",
                side.as_str(),
                knee.rate_per_second,
                knee.limit(self.p99_limit_ms),
                knee.limited_by.in_words()
            )
        }));
        if let Some(caution) = self.knee_caution() {
            words.push(format!("{suite}: {caution}"));
        }
        words.extend(self.sides.iter().map(|(side, seen)| {
            let memory = seen.memory_peak_bytes.map_or(String::new(), |bytes| {
                format!("; memory peak {:.1} MiB", bytes as f64 / f64::from(1 << 20))
            });
            let within = |(name, share)| Some(format!("{name} {:.0} µs", seen.within(share)? as f64 / 1e3));
            let parts: Vec<String> =
                [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)].into_iter().filter_map(within).collect();
            format!("{suite}: {}: {} of {} requests{memory}", side.as_str(), parts.join(", "), seen.requests)
        }));
        words
    }
}
