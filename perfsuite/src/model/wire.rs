//! The runner protocol: messages between a runner and the server, over HTTP with a bearer token.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /runner/v1/claim` | [`Claim`] | 200 [`Lease`], or 204 when no job came within `wait_ms` |
//! | `POST /runner/v1/jobs/{job}/heartbeat` | [`Heartbeat`] | 200 [`Orders`], 409 when the fence is stale |
//! | `GET /runner/v1/jobs/{job}/source?fence=N` | | 200 a git bundle with `refs/paceline/base` and `refs/paceline/head` |
//! | `PUT /runner/v1/jobs/{job}/evidence?fence=N` | zstd of the evidence's JSON | 201 with [`Stored`] |
//! | `POST /runner/v1/jobs/{job}/finish` | [`Finish`] | 204, 409 when the fence is stale |

use super::{Environment, Fence, JobSpec};
use serde::{Deserialize, Serialize};

/// Log lines in one heartbeat; a chattier job drops its oldest, and says how many.
pub const HEARTBEAT_LOG_LINES_MAX: usize = 200;
/// Characters of one log line; the rest is cut.
pub const LOG_LINE_CHARS_MAX: usize = 2_000;
/// Compressed evidence: 100 benchmarks of 120 visits are below 1 MiB, so this leaves room for profiles.
pub const EVIDENCE_MAX_BYTES: usize = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    pub version: String,
    pub environment: Environment,
    /// Whether code from strangers can be walled in here; without it only own jobs are handed out.
    pub sandboxed: bool,
    /// Why no job can be taken at the moment (a full disk), in words; the server then hands none out.
    #[serde(default)]
    pub unable: Option<String>,
    /// How long the server may hold the request open when there is no job.
    pub wait_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub spec: JobSpec,
    pub fence: Fence,
    /// Silence longer than this gives the job to another runner.
    pub lease_ms: u64,
    pub heartbeat_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Preparing,
    Building,
    Measuring,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// One line for people.
    pub text: String,
    pub done: u64,
    /// Zero when not known.
    pub total: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub fence: Fence,
    pub progress: Progress,
    pub log: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum Orders {
    Continue,
    /// Superseded or cancelled: stop, clean up, do not finish.
    Stop {
        reason: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// SHA-256 of the stored bytes, hex.
    pub digest: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finish {
    pub fence: Fence,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Measured, or known why not (a side that does not build is evidence too).
    Measured { digest: String },
    /// The runner itself could not: no disk, no sandbox, no cargo.
    Failed { message: String, output: String },
    /// The runner is stopping: give the job to another at once.
    HandedBack,
}
