//! What is measured, in which unit, and which direction is better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A measured quantity. Names are those of the wire, the database and the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Wall time of one iteration of a criterion benchmark.
    Time,
    /// Median latency of a load scenario, from the scheduled send time.
    LatencyP50,
    /// 99th percentile of the latency of a load scenario, from the scheduled send time.
    LatencyP99,
    /// 99.9th percentile; shown, never judged.
    LatencyP999,
    /// Capacity per core: 1 / CPU time per request.
    QpsPerCore,
    /// Instructions of one iteration, counted by callgrind.
    Instructions,
    /// What a criterion benchmark with a measurement of its own measures, of one iteration.
    Own,
}

/// Whether a larger value is worse or better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    LowerIsBetter,
    HigherIsBetter,
}

/// The unit that a metric's values are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Nanoseconds,
    RequestsPerSecond,
    Instructions,
    /// Whatever the benchmark counts.
    Own,
}

impl Metric {
    pub fn direction(self) -> Direction {
        match self {
            Metric::QpsPerCore => Direction::HigherIsBetter,
            _ => Direction::LowerIsBetter,
        }
    }

    pub fn unit(self) -> Unit {
        match self {
            Metric::Time | Metric::LatencyP50 | Metric::LatencyP99 | Metric::LatencyP999 => Unit::Nanoseconds,
            Metric::QpsPerCore => Unit::RequestsPerSecond,
            Metric::Instructions => Unit::Instructions,
            Metric::Own => Unit::Own,
        }
    }

    /// Whether the metric is judged at all; the others are shown only.
    pub fn judged(self) -> bool {
        !matches!(self, Metric::LatencyP999)
    }

    /// The words that people read.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Time => "time",
            Metric::LatencyP50 => "p50 latency",
            Metric::LatencyP99 => "p99 latency",
            Metric::LatencyP999 => "p99.9 latency",
            Metric::QpsPerCore => "QPS per core",
            Metric::Instructions => "instructions",
            Metric::Own => "own measure",
        }
    }

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Time => "time",
            Metric::LatencyP50 => "latency-p50",
            Metric::LatencyP99 => "latency-p99",
            Metric::LatencyP999 => "latency-p999",
            Metric::QpsPerCore => "qps-per-core",
            Metric::Instructions => "instructions",
            Metric::Own => "own",
        }
    }
}
