//! This machine as a runner's measure: the real one, in production.

use super::{Measure, Workplace};
use crate::artifact::cache;
use crate::disk;
use crate::host::{self, Watch};
use crate::measure::{self, Job};
use crate::model::{Environment, Evidence, JobSpec, Trust};
use crate::observe::Observer;
use crate::sandbox::{Preference, Sandbox};
use std::path::PathBuf;

/// Measures with this machine's toolchain and walls.
#[derive(Clone, Debug)]
pub struct Here {
    sandbox: Sandbox,
    cache_dir: PathBuf,
    /// Space that must be free, on the disk of the kept builds, before a job is taken.
    reserve_bytes: u64,
}

impl Here {
    /// Tries the walls out. Fails when there is no Rust toolchain.
    pub fn new(preference: Preference, cache_dir: PathBuf, reserve_bytes: u64) -> anyhow::Result<Self> {
        Ok(Self { sandbox: Sandbox::detect(preference)?, cache_dir, reserve_bytes })
    }
}

impl Measure for Here {
    fn environment(&self) -> Environment {
        Watch::begin().end(&self.sandbox, None)
    }

    fn sandboxed(&self) -> bool {
        self.sandbox.permit(Trust::Stranger).is_ok()
    }

    fn ready(&self) -> Result<(), String> {
        let cannot = |error| format!("the disk of {} cannot be used: {error:#}", self.cache_dir.display());
        std::fs::create_dir_all(&self.cache_dir).map_err(|error| cannot(error.into()))?;
        cache::make_room(&self.cache_dir, self.reserve_bytes).map_err(cannot)?;
        let space = disk::space(&self.cache_dir).map_err(|error| cannot(error.into()))?;
        if space.free_bytes >= self.reserve_bytes {
            return Ok(());
        }
        let mib = |bytes: u64| bytes >> 20;
        Err(format!(
            "the runner's disk is nearly full: {} MiB of {} MiB are free, {} MiB are wanted for a job",
            mib(space.free_bytes),
            mib(space.total_bytes),
            mib(self.reserve_bytes)
        ))
    }

    fn measure(
        &self,
        spec: &JobSpec,
        place: &Workplace,
        observer: &dyn Observer,
    ) -> anyhow::Result<Evidence> {
        // Checks take no times.
        if spec.checks.is_none()
            && let Some(reason) = host::too_busy()
        {
            anyhow::bail!(reason);
        }
        let job = Job {
            spec: spec.clone(),
            repository: place.repository.clone(),
            work_dir: place.work_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            sandbox: self.sandbox.clone(),
        };
        measure::measure(&job, observer)
    }
}
