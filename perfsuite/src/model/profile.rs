//! Where the time went: sampled stacks of both sides, as they were taken, and what is read out of them.

use super::BenchmarkId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the samples are counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkUnit {
    Iteration,
    Request,
    /// One whole process of a command.
    Run,
}

impl WorkUnit {
    pub fn as_str(self) -> &'static str {
        match self {
            WorkUnit::Iteration => "iteration",
            WorkUnit::Request => "request",
            WorkUnit::Run => "run",
        }
    }
}

/// The samples of one benchmark or scenario: base and head did the same work in turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub unit: WorkUnit,
    /// CPU time of a thread between two samples.
    pub period_ns: u64,
    /// Time spent in the kernel was sampled, too.
    pub kernel: bool,
    /// Functions as people write them; what cannot be named stands in brackets.
    pub names: Vec<String>,
    pub stacks: Vec<ProfileStack>,
    /// The work of each visit.
    pub visits: Vec<ProfileVisit>,
    /// What the change touched; `None` where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Touched>,
    /// What speaks against it: samples that were lost, files without symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One stack, and how often each visit saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileStack {
    /// Places in `names`, the outermost function first.
    pub frames: Vec<u32>,
    /// By visit.
    pub base: Vec<u32>,
    pub head: Vec<u32>,
}

/// The units of work that each side did in one visit; zero for a side that was not run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileVisit {
    pub base: f64,
    pub head: f64,
}

/// What a change touched, as far as a profile can use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    /// Functions of other machine code, named as in the profile.
    pub functions: Vec<String>,
    /// No other function that the benchmark can reach has other machine code.
    pub complete: bool,
    /// Modules (`gateway::route`) whose files differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
}

/// How a function was touched by the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TouchedBy {
    /// Its machine code differs.
    Code,
    /// It lies in a changed file.
    File,
}

/// A relative change of samples per unit of work, with its 95 % interval; a bound that is endless is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shift {
    /// Absent where the base has no sample.
    pub estimate: Option<f64>,
    pub low: f64,
    pub high: Option<f64>,
}

/// One function on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionChange {
    pub name: String,
    /// CPU time of one unit of work in the function itself, in nanoseconds.
    pub base_ns: f64,
    pub head_ns: f64,
    pub change: Shift,
    /// The same with everything that it calls.
    pub base_total_ns: f64,
    pub head_total_ns: f64,
    pub total_change: Shift,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<TouchedBy>,
    /// Its own time changed for certain, and by enough to matter.
    pub changed: bool,
}

/// The function that explains a change best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    pub function: String,
    /// Most of it is in what the function calls.
    pub with_callees: bool,
    /// Of its own samples, or of those with its callees.
    pub change: Shift,
    /// Of one unit of work: nanoseconds more (or less).
    pub more_ns: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<TouchedBy>,
    /// Who calls it, where that is one function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// What a profile says, short enough for a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileSummary {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub unit: WorkUnit,
    pub visits: u32,
    pub base_samples: u64,
    pub head_samples: u64,
    /// CPU time of one unit of work.
    pub base_ns: f64,
    pub head_ns: f64,
    pub change: Shift,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The cause first, then those whose own time changed most.
    pub functions: Vec<FunctionChange>,
    /// Counter-evidence: why the change may not be what it seems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    pub notes: Vec<String>,
}
