//! This machine as a runner's measure: the real one, in production.

use super::{Measure, Workplace};
use crate::host::Watch;
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
}

impl Here {
    /// Tries the walls out. Fails when there is no Rust toolchain.
    pub fn new(preference: Preference, cache_dir: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { sandbox: Sandbox::detect(preference)?, cache_dir })
    }
}

impl Measure for Here {
    fn environment(&self) -> Environment {
        Watch::begin().end(&self.sandbox, None)
    }

    fn sandboxed(&self) -> bool {
        self.sandbox.permit(Trust::Stranger).is_ok()
    }

    fn measure(
        &self,
        spec: &JobSpec,
        place: &Workplace,
        observer: &dyn Observer,
    ) -> anyhow::Result<Evidence> {
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
