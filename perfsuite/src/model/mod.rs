//! The words that runner, server and command line share: jobs, samples, comparisons. Serde only, no I/O.

pub mod checks;
pub mod comparison;
pub mod environment;
pub mod evidence;
pub mod ids;
pub mod job;
pub mod metric;
pub mod profile;
pub mod scenario;
pub mod wire;

pub use checks::{Checked, ChecksSpec};
pub use comparison::{Calibration, Certainty, Comparison, Report, Verdict};
pub use environment::{Environment, MissingTool, Tool};
pub use evidence::{
    Build, Evidence, Failure, FailureReason, Instructions, OneSided, Series, Side, Unaffected, Visit,
};
pub use ids::{BenchmarkId, Fence, JobId, Sha};
pub use job::{CriterionSuite, Focus, JobLimits, JobSpec, LoadSuite, Mode, SuiteKind, SuiteSpec, Trust};
pub use metric::{Direction, Metric, Unit};
pub use profile::{Profile, ProfileSummary};
pub use scenario::Scenario;
