//! What a runner uploads: raw samples, builds, failures, environment; enough to judge again, offline.

use super::{BenchmarkId, Environment, JobSpec, Metric, Sha};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the evidence format.
pub const EVIDENCE_SCHEMA: u32 = 1;

/// Everything that one run saw. Stored as zstd-compressed JSON and named by the SHA-256 of the compressed bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub schema: u32,
    pub spec: JobSpec,
    pub environment: Environment,
    pub builds: Vec<Build>,
    /// In order of first measurement.
    pub series: Vec<Series>,
    pub failures: Vec<Failure>,
    pub one_sided: Vec<OneSided>,
    /// Judged benchmark-metric pairs, fixed before the first sample (the `N` of the false-alarm budget).
    pub judged_pairs: u32,
    /// Bench executables whose bytes are equal on both sides: nothing can have changed, so nothing was run.
    pub identical: Vec<String>,
    pub started_ms: i64,
    pub finished_ms: i64,
    /// Time spent measuring, without builds.
    pub measure_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Base,
    Head,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Base, Side::Head];

    pub fn as_str(self) -> &'static str {
        match self {
            Side::Base => "base",
            Side::Head => "head",
        }
    }
}

/// The build of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    pub side: Side,
    pub commit: Sha,
    pub seconds: f64,
    /// `None` when it built; else the end of the compiler's output.
    pub error: Option<String>,
}

/// All visits of one benchmark and metric, in order of measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub metric: Metric,
    pub visits: Vec<Visit>,
    /// Machine seconds that these visits took; zero when not known. Says what more visits would cost.
    #[serde(default)]
    pub seconds: f64,
}

/// One visit: a fresh process of each side. Values in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Visit {
    pub first: Side,
    pub base: f64,
    pub head: f64,
}

/// Something that should have been measured and was not: one failed row of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    pub suite: String,
    /// `None`: the whole suite.
    pub benchmark: Option<BenchmarkId>,
    pub side: Option<Side>,
    pub reason: FailureReason,
    /// The end of its output.
    pub output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureReason {
    Panicked,
    TimedOut,
    BadOutput,
    NotReady,
    Refused,
}

/// A benchmark that exists on one side only: listed, never green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OneSided {
    pub suite: String,
    pub benchmark: BenchmarkId,
    /// The side that has it.
    pub side: Side,
}
