//! What a runner uploads: raw samples, builds, failures, environment; enough to judge again, offline.

use super::{BenchmarkId, Checked, Environment, JobSpec, Metric, Profile, Scenario, Sha};
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
    /// Bases against themselves, measured like any other benchmark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<Series>,
    pub failures: Vec<Failure>,
    pub one_sided: Vec<OneSided>,
    /// Judged benchmark-metric pairs, fixed before the first sample (the `N` of the false-alarm budget).
    pub judged_pairs: u32,
    /// Bench executables whose bytes are equal on both sides: nothing can have changed, so nothing was run.
    pub identical: Vec<String>,
    /// Benchmarks whose machine code is the same on both sides, in executables that differ: not run either.
    #[serde(default)]
    pub unaffected: Vec<Unaffected>,
    /// Where the time of some that changed went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
    /// Of load suites, what their series do not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<Scenario>,
    pub started_ms: i64,
    pub finished_ms: i64,
    /// Time spent measuring, without builds; what counting instructions took is part of it.
    pub measure_ms: i64,
    /// Time spent counting instructions.
    #[serde(default)]
    pub count_ms: i64,
    /// Where the job was one of checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checked>,
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
    /// Where the time is suspect, the second witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Instructions>,
}

/// Instructions of one iteration, by callgrind: each side counted once or twice, in turns, with the same random numbers,
/// so that a hash map does the same work in every count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instructions {
    pub base: Vec<f64>,
    pub head: Vec<f64>,
}

impl Instructions {
    /// The relative change; `None` where a side's counts differ among themselves by more than a change that matters.
    pub fn change(&self) -> Option<f64> {
        let (base, head) = (Self::steady(&self.base)?, Self::steady(&self.head)?);
        Some(head / base - 1.0)
    }

    /// Both sides' counts, where they do not vary by themselves.
    pub fn counts(&self) -> Option<(f64, f64)> {
        Some((Self::steady(&self.base)?, Self::steady(&self.head)?))
    }

    fn steady(counts: &[f64]) -> Option<f64> {
        /// Half of what makes a witness.
        const SPREAD_MAX: f64 = 0.002_5;
        let usable = !counts.is_empty() && counts.iter().all(|count| count.is_finite() && *count > 0.0);
        let low = counts.iter().copied().fold(f64::INFINITY, f64::min);
        let high = counts.iter().copied().fold(0.0, f64::max);
        let steady = usable && high / low - 1.0 <= SPREAD_MAX;
        steady.then_some((low + high) / 2.0)
    }
}

/// One visit: a fresh process of each side. Values in the metric's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Visit {
    /// Which process was started first.
    pub first: Side,
    /// Where the visit has pairs, their medians.
    pub base: f64,
    pub head: f64,
    /// What was sampled in lock-step, base and head of each pair, in order; empty where a visit has one value a side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<[f64; 2]>,
}

impl Visit {
    /// A visit with one value a side.
    pub fn single(first: Side, base: f64, head: f64) -> Visit {
        Visit { first, base, head, pairs: vec![] }
    }

    /// A visit of pairs in lock-step.
    pub fn of_pairs(first: Side, pairs: Vec<[f64; 2]>) -> Visit {
        let side = |at: usize| {
            let mut values: Vec<f64> = pairs.iter().map(|pair| pair[at]).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            match values.len() {
                0 => 0.0,
                n if n % 2 == 1 => values[middle],
                _ => (values[middle - 1] + values[middle]) / 2.0,
            }
        };
        let (base, head) = (side(0), side(1));
        Visit { first, base, head, pairs }
    }
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

/// A benchmark that runs the same machine code on the same constants on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unaffected {
    pub suite: String,
    pub benchmark: BenchmarkId,
    /// How many functions were compared: everything that its process can reach.
    pub functions: u64,
}

/// A benchmark that exists on one side only: listed, never green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OneSided {
    pub suite: String,
    pub benchmark: BenchmarkId,
    /// The side that has it.
    pub side: Side,
    /// What it is probably called on the other side: a benchmark that only that side has, and that runs the same code.
    #[serde(default)]
    pub other_name: Option<BenchmarkId>,
}
