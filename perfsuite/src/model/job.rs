//! What a runner is asked to do: two commits, the suites to measure, the limits to keep.

use super::{BenchmarkId, ChecksSpec, JobId, Metric, Sha};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One job: measure `head` against `base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub job: JobId,
    /// `owner/name`, or a path for a local review; for people only.
    pub repository: String,
    /// The merge base.
    pub base: Sha,
    pub head: Sha,
    pub trust: Trust,
    /// Empty: every criterion bench that `cargo metadata` finds, as one suite each package.
    pub suites: Vec<SuiteSpec>,
    pub limits: JobLimits,
    /// False alarms allowed per run, as a probability (0.01 for "1 in 100").
    pub budget: f64,
    /// Seeds the order of visits, so that a run can be repeated.
    pub seed: u64,
    /// Measure also benchmarks whose machine code is the same on both sides.
    #[serde(default)]
    pub all: bool,
    /// Nothing is measured: these checks are run on the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksSpec>,
    /// It is about a few benchmarks alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<Focus>,
}

/// What somebody wants to know more of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Focus {
    /// Nothing else is measured; empty: whatever the suites have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<BenchmarkId>,
    /// They are profiled, whatever the clock says.
    #[serde(default)]
    pub profile: bool,
    /// The base is no commit of the branch that changes go to: nothing of its build is kept for later jobs.
    #[serde(default)]
    pub passing_base: bool,
}

impl Focus {
    /// Whether a benchmark is to be measured.
    pub fn wants(&self, benchmark: &BenchmarkId) -> bool {
        self.benchmarks.is_empty() || self.benchmarks.contains(benchmark)
    }
}

/// Whose code it is, which decides whether it may run without a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The person at the keyboard asked for it (`paceline review`, `paceline demo`): a sandbox when there is one.
    Own,
    /// Anything that arrived through GitHub: never without a sandbox.
    Stranger,
}

/// The bounds of one job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobLimits {
    /// Measuring stops here; what is undecided then is inconclusive.
    pub measure_seconds: u64,
    /// One side's build.
    pub build_seconds: u64,
    /// Memory of everything in the sandbox together.
    pub memory_bytes: u64,
    /// Of the time for measuring that is left over, so much may go to bases against themselves, which shows what
    /// this machine makes of no change at all.
    #[serde(default)]
    pub calibrate_seconds: u64,
    /// What builds and benches write together.
    #[serde(default = "disk_default")]
    pub disk_bytes: u64,
}

fn disk_default() -> u64 {
    20 << 30
}

impl Default for JobLimits {
    /// 15 minutes of measuring (the configuration's default), half an hour a build, 4 GiB of memory, 20 of disk.
    fn default() -> Self {
        Self {
            measure_seconds: 15 * 60,
            build_seconds: 30 * 60,
            memory_bytes: 4 << 30,
            calibrate_seconds: 0,
            disk_bytes: disk_default(),
        }
    }
}

/// `[[perf.suite]]` of `.github/paceline.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteSpec {
    pub name: String,
    #[serde(flatten)]
    pub kind: SuiteKind,
    /// Globs: the suite runs when a changed path matches. Empty: anything but documentation.
    #[serde(default)]
    pub paths: Vec<String>,
    /// `push`, `label:NAME` or `command`.
    #[serde(default = "on_push")]
    pub on: String,
    #[serde(default)]
    pub mode: Mode,
    /// Exceptions, by metric.
    #[serde(default)]
    pub metrics: BTreeMap<Metric, Mode>,
    /// Exceptions, by benchmark id.
    #[serde(default)]
    pub benchmarks: BTreeMap<String, BenchmarkSpec>,
}

fn on_push() -> String {
    "push".into()
}

/// What a suite runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SuiteKind {
    Criterion(CriterionSuite),
    Load(LoadSuite),
}

/// The criterion benches of one package.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CriterionSuite {
    /// Omitted: every package of the workspace that has criterion benches.
    #[serde(default)]
    pub package: Option<String>,
    /// Omitted: every bench of the package.
    #[serde(default)]
    pub bench: Option<String>,
    #[serde(default)]
    pub features: Vec<String>,
}

/// Two servers under one open-loop schedule. `{target}`, `{checkout}`, `{listen}`, `{upstream}` and `{perfsuite}` are
/// replaced in the commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LoadSuite {
    pub build: Vec<String>,
    pub server: Vec<String>,
    #[serde(default)]
    pub upstream: Vec<String>,
    /// `METHOD /path`, asked until it answers 2xx.
    #[serde(default = "ready_default")]
    pub ready: String,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default = "connections_default")]
    pub connections: u32,
    #[serde(default)]
    pub rate: Rate,
    #[serde(default)]
    pub spacing: Spacing,
    pub requests: Vec<Request>,
    /// Statuses of 400 and above that are good answers: what a limiter or an open breaker says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u16>,
    #[serde(default = "p99_limit_default")]
    pub p99_limit_ms: f64,
    #[serde(default)]
    pub profile: ProfileSpec,
}

fn ready_default() -> String {
    "GET /readyz".into()
}
fn connections_default() -> u32 {
    64
}
fn p99_limit_default() -> f64 {
    10.0
}

/// What requests are sent by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    #[default]
    Http1,
    /// Over cleartext, with prior knowledge (RFC 9113, 3.3); ten requests at a time share a connection.
    Http2,
}

/// How arrivals follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Equal gaps.
    #[default]
    Constant,
    /// Exponential gaps: independent clients.
    Poisson,
}

/// Requests a second, or `"auto"`: half of what the base sustains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Rate {
    PerSecond(f64),
    Named(NamedRate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NamedRate {
    Auto,
}

impl Default for Rate {
    fn default() -> Self {
        Rate::Named(NamedRate::Auto)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    #[serde(default = "get")]
    pub method: String,
    pub path: String,
}

fn get() -> String {
    "GET".into()
}

/// Whether a scenario that changed is sampled, so that the report can name functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileSpec {
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

impl Default for ProfileSpec {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BenchmarkSpec {
    /// Omitted: the suite's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Exceptions, by metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Metric, Mode>,
}

/// What a changed benchmark does to the check run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A confirmed slowdown fails the check run.
    #[default]
    Gate,
    /// Shown as a change, never failing.
    Advise,
    /// Kept in the history only.
    Record,
}

impl Mode {
    /// Where the configuration is silent. More instructions in the same time are told, and harm nobody yet.
    pub fn of_metric(metric: Metric) -> Mode {
        if metric == Metric::Instructions { Mode::Advise } else { Mode::default() }
    }
}

impl SuiteSpec {
    /// The mode of one benchmark's metric: the most particular that is given. Instructions gate only where they are
    /// named.
    pub fn mode_of(&self, benchmark: &str, metric: Metric) -> Mode {
        let own = self.benchmarks.get(benchmark);
        if let Some(mode) = own.and_then(|own| own.metrics.get(&metric)) {
            return *mode;
        }
        let whole = own.and_then(|own| own.mode);
        match (whole, self.metrics.get(&metric)) {
            // What is recorded only is so in every metric.
            (Some(Mode::Record), _) => Mode::Record,
            (Some(mode), _) if metric != Metric::Instructions => mode,
            (_, Some(mode)) => *mode,
            _ if self.mode == Mode::Record => Mode::Record,
            _ if metric == Metric::Instructions => Mode::of_metric(metric),
            _ => self.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_mode_counts() {
        let suite: SuiteSpec = serde_json::from_value(serde_json::json!({
            "name": "s", "kind": "criterion", "mode": "gate",
            "metrics": {"latency-p99": "advise"},
            "benchmarks": {
                "noisy": {"mode": "record"},
                "told": {"mode": "advise"},
                "counted": {"metrics": {"instructions": "gate", "time": "advise"}},
            },
        }))
        .unwrap();
        for (benchmark, metric, expect) in [
            ("any", Metric::Time, Mode::Gate),
            ("any", Metric::LatencyP99, Mode::Advise),
            ("any", Metric::Instructions, Mode::Advise),
            ("noisy", Metric::Time, Mode::Record),
            ("noisy", Metric::Instructions, Mode::Record),
            ("told", Metric::Time, Mode::Advise),
            ("told", Metric::Instructions, Mode::Advise),
            ("counted", Metric::Time, Mode::Advise),
            ("counted", Metric::Instructions, Mode::Gate),
        ] {
            assert_eq!(suite.mode_of(benchmark, metric), expect, "{benchmark} {metric:?}");
        }
    }
}
