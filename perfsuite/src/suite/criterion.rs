//! Suites of kind `criterion`: short fresh processes of both sides, interleaved over all benchmarks, until each is decided.
//!
//! One *visit* runs one benchmark on either side. Linked with criterion's stand-in, both processes run in lock-step
//! (`duet`); linked with criterion itself, one after the other in random order, each for some milliseconds (`process`).
//! Processes differ more from each other than the samples within one, so many short processes tell more than a long one. Benchmarks take turns in random order, so that a slow minute of the machine
//! touches all of them a little and none of them wholly.

mod allocations;
mod duet;
mod instructions;
mod inventory;
mod listing;
mod player;
mod process;
mod profile;
mod rounds;
mod same_code;

pub use allocations::{Allocations, allocations};
pub use inventory::{Benchmark, Inventory, take};
#[cfg(any(test, fuzzing))]
pub(crate) use listing::hostile as hostile_listing;
pub use profile::{Effort, profile};
pub use rounds::{Measured, Pace, Until, measure};

use crate::artifact::SidePaths;
use crate::model::Side;
use crate::observe::Observer;
use crate::sandbox::{Limits, Sandbox};
use std::path::Path;
use std::time::Duration;

/// What every process of a bench needs.
pub struct Bench<'a> {
    pub sandbox: &'a Sandbox,
    pub observer: &'a dyn Observer,
    pub base: &'a SidePaths,
    pub head: &'a SidePaths,
    /// Changed files that benches may read: with them, the same machine code proves nothing.
    pub changed_data: &'a [String],
    /// Benchmarks whose machine code is the same are measured as well.
    pub all: bool,
    pub limits: Limits,
    /// Where processes of criterion itself leave their samples; emptied before each of them.
    pub scratch: &'a Path,
    /// For copies of executables; never seen by measured code.
    pub copies: &'a Path,
    /// Most time that one process may take; a benchmark that hangs costs this much, once.
    pub process_limit: Duration,
}

impl Bench<'_> {
    fn side(&self, side: Side) -> &SidePaths {
        match side {
            Side::Base => self.base,
            Side::Head => self.head,
        }
    }
}
