//! The machine that measured, and what it lacked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fingerprint of the measuring machine. Every field is read, never guessed; unknown is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    pub hostname: String,
    pub os: String,
    pub kernel: String,
    pub cpu_model: String,
    pub cpu_cores: u32,
    pub microcode: Option<String>,
    pub governor: Option<String>,
    /// Simultaneous multithreading switched on.
    pub smt: Option<bool>,
    pub memory_bytes: u64,
    /// `rustc --version --verbose`'s first line.
    pub rustc: Option<String>,
    /// Share of time stolen by the hypervisor during the run, 0 to 1.
    pub steal: Option<f64>,
    /// One-minute load average when the run began.
    pub load_before: Option<f64>,
    /// One-minute load average when the run ended.
    #[serde(default)]
    pub load_after: Option<f64>,
    /// Least share of the machine's whole time, 0 to 1, that programs other than this run's took while it measured; known
    /// of benches, which keep no more than one core busy.
    #[serde(default)]
    pub others: Option<f64>,
    /// Both processes of a visit can be kept on one core.
    #[serde(default)]
    pub pinning: Option<bool>,
    /// The CPU may run faster than its nominal frequency while it is cool.
    #[serde(default)]
    pub turbo: Option<bool>,
    /// A virtual machine.
    #[serde(default)]
    pub virtualised: Option<bool>,
    /// How code was walled in: `bubblewrap`, or `none` with the reason.
    pub sandbox: String,
    /// What is missing on this machine and what the report therefore cannot show.
    pub missing: Vec<MissingTool>,
    /// What was noticed that speaks against the figures (busy machine, no pinning, frequency scaling).
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    Bubblewrap,
    Perf,
    Valgrind,
}

/// A tool that was not found, what is not shown without it, and the package that brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingTool {
    pub tool: Tool,
    pub hides: String,
    pub package: String,
}
