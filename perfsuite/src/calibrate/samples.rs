//! Measures visits for calibration, and keeps them in a file.

use crate::artifact::{Linking, stopped};
use crate::measure::{BenchPlace, Job, PROCESS_LIMIT, build, directory};
use crate::model::wire::{EVIDENCE_MAX_BYTES, Phase, Progress};
use crate::model::{Environment, Failure, Series, Sha};
use crate::observe::Observer;
use crate::suite::criterion::{self, Benchmark, Pace, Until};
use crate::verdict::Rule;
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Version of the file.
const SCHEMA: u32 = 1;
/// Thousands of visits of dozens of benchmarks are some megabytes; what unpacks to more than this is something else.
const UNPACKED_MAX_BYTES: u64 = 16 * EVIDENCE_MAX_BYTES as u64;
/// Favours time over size.
const ZSTD_LEVEL: i32 = 3;

/// What is to be measured, beside the job's two commits.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of each benchmark, for resampling.
    pub visits: usize,
    /// Rounds of whole decisions of each benchmark.
    pub live: usize,
    pub linking: Linking,
    /// Ids, or parts of ids; empty: every benchmark.
    pub only: Vec<String>,
    /// Of live decisions.
    pub rule: Rule,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    pub schema: u32,
    pub repository: String,
    pub base: Sha,
    pub head: Sha,
    /// The head's functions were linked in another order.
    pub relinked: bool,
    pub environment: Environment,
    /// A fixed number of visits of each benchmark.
    pub series: Vec<Series>,
    /// Visits up to a live decision; a benchmark stands here as often as it was decided.
    pub live: Vec<Series>,
    pub failures: Vec<Failure>,
    pub notes: Vec<String>,
}

impl Samples {
    /// Of one commit: whatever is found is a false alarm.
    pub fn same_sides(&self) -> bool {
        self.base == self.head
    }
}

/// Builds and measures. What a bench does wrong stands in `failures`; errors are what the machine could not do.
pub fn measure(job: &Job, plan: &Plan, observer: &dyn Observer) -> anyhow::Result<Samples> {
    let watch = crate::host::Watch::begin();
    let work = directory(&job.work_dir)?;
    let artifacts = build(job, observer, &work, plan.linking)?;
    if let Some(broken) = artifacts.builds.iter().find_map(|build| build.error.as_ref()) {
        bail!("the sides do not build:\n{broken}");
    }
    let (base, head) = artifacts.sides.as_ref().context("nothing was built")?;
    let place = BenchPlace::make(&work)?;
    let mut bench = place.bench(job, observer, &artifacts, (base, head), PROCESS_LIMIT);
    bench.all = true;
    let inventory = criterion::take(&bench, &artifacts.suites)?;
    let benchmarks = wanted(&plan.only, inventory.benchmarks);
    ensure!(!benchmarks.is_empty(), "there is no benchmark of that name on both sides");
    let mut samples = Samples {
        schema: SCHEMA,
        repository: job.spec.repository.clone(),
        base: job.spec.base.clone(),
        head: job.spec.head.clone(),
        relinked: plan.linking == Linking::HeadSorted,
        environment: crate::host::fingerprint(&job.sandbox),
        series: vec![],
        live: vec![],
        failures: inventory.failures,
        notes: [artifacts.notes.clone(), inventory.notes].concat(),
    };
    let ends = Instant::now() + Duration::from_secs(job.spec.limits.measure_seconds);
    let seed = |round: usize| job.spec.seed.wrapping_add(round as u64);
    let left = || ends.saturating_duration_since(Instant::now());
    if plan.visits > 0 {
        let pace = Pace {
            until: Until::Visits(plan.visits),
            seed: seed(0),
            budget: left(),
            calibrating: Duration::ZERO,
        };
        let measured = criterion::measure(&bench, &benchmarks, pace)?;
        samples.series = measured.series;
        samples.failures.extend(measured.failures);
        samples.notes.extend(measured.notes);
    }
    for round in 0..plan.live {
        stopped(observer)?;
        if left().is_zero() {
            samples.notes.push(format!("the time was over after {round} of {} live rounds", plan.live));
            break;
        }
        observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("live round {} of {}", round + 1, plan.live),
            done: round as u64,
            total: plan.live as u64,
        });
        let pace = Pace {
            until: Until::Decided(&plan.rule),
            seed: seed(1 + round),
            budget: left(),
            calibrating: Duration::ZERO,
        };
        let measured = criterion::measure(&bench, &benchmarks, pace)?;
        samples.live.extend(measured.series);
        samples.failures.extend(measured.failures);
        samples.notes.extend(measured.notes);
    }
    samples.environment = watch.end(&job.sandbox, Some(&artifacts.rustc));
    Ok(samples)
}

/// Those with one of these ids, or, where none has it, with it as a part of theirs.
fn wanted(only: &[String], benchmarks: Vec<Benchmark>) -> Vec<Benchmark> {
    let exact: Vec<bool> = only.iter().map(|id| benchmarks.iter().any(|b| b.id.0 == *id)).collect();
    let matches = |benchmark: &Benchmark| {
        only.is_empty()
            || only.iter().zip(&exact).any(|(id, &exact)| match exact {
                true => benchmark.id.0 == *id,
                false => benchmark.id.0.contains(id.as_str()),
            })
    };
    benchmarks.into_iter().filter(matches).collect()
}

/// Stores them as compressed JSON.
pub fn write(samples: &Samples, to: &Path) -> anyhow::Result<()> {
    let bytes = zstd::encode_all(serde_json::to_vec(samples)?.as_slice(), ZSTD_LEVEL)?;
    std::fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// Reads what [`write`] stored.
pub fn read(file: &Path) -> anyhow::Result<Samples> {
    let name = file.display();
    let packed = std::fs::File::open(file).with_context(|| format!("cannot open {name}"))?;
    let mut json = Vec::new();
    zstd::Decoder::new(packed)?
        .take(UNPACKED_MAX_BYTES + 1)
        .read_to_end(&mut json)
        .with_context(|| format!("{name} is not what `perfsuite calibrate --out` writes"))?;
    ensure!(
        json.len() as u64 <= UNPACKED_MAX_BYTES,
        "{name} unpacks to more than {UNPACKED_MAX_BYTES} bytes"
    );
    let samples: Samples = serde_json::from_slice(&json)
        .with_context(|| format!("{name} is not what `perfsuite calibrate --out` writes"))?;
    ensure!(samples.schema == SCHEMA, "{name} is of schema {}, this program reads {SCHEMA}", samples.schema);
    Ok(samples)
}
