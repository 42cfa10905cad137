//! One job, whole: two commits in, evidence out. Blocking; meant for a thread of its own.

mod profiles;

use crate::artifact::{Artifacts, Keep, Linking, SidePaths, Task, build_both, stopped};
use crate::checking;
use crate::host::Watch;
use crate::model::evidence::EVIDENCE_SCHEMA;
use crate::model::wire::{Phase, Progress};
use crate::model::{
    Evidence, Failure, Focus, JobLimits, JobSpec, LoadSuite, Profile, Series, SuiteKind, scenario,
};
use crate::observe::{Observer, WithEnd};
use crate::sandbox::{Limits, Sandbox};
use crate::suite::criterion::{self, Bench, Inventory, Pace, Until};
use crate::suite::load::{self, LoadContext, SideFiles};
use crate::verdict::Rule;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use crate::artifact::Stopped;

/// Most time that one process of a bench may take. A benchmark that hangs costs this much, once.
pub const PROCESS_LIMIT: Duration = Duration::from_secs(60);
/// Temporary files of one bench process.
const TMP_MAX_BYTES: u64 = 1 << 30;

/// What is measured, and where its files may be.
#[derive(Clone, Debug)]
pub struct Job {
    pub spec: JobSpec,
    /// A git repository, bare or not, that has both commits. Only read.
    pub repository: PathBuf,
    /// For this job alone; the caller removes it.
    pub work_dir: PathBuf,
    /// Shared with later jobs: dependencies, and builds of base commits.
    pub cache_dir: PathBuf,
    pub sandbox: Sandbox,
}

/// Measures, with progress and stop by `observer`.
///
/// A side that does not build, a bench that panics or hangs: evidence. Errors are what the machine could not do (no
/// git, no disk), and [`Stopped`].
pub fn measure(job: &Job, observer: &dyn Observer) -> anyhow::Result<Evidence> {
    measure_within(job, observer, PROCESS_LIMIT)
}

/// The same with another limit on one process of a bench.
pub fn measure_within(
    job: &Job,
    observer: &dyn Observer,
    process_limit: Duration,
) -> anyhow::Result<Evidence> {
    let limit = match &job.spec.checks {
        Some(checks) => checking::limit(checks),
        None => job_limit(&job.spec.limits),
    };
    let watched = WithEnd::new(observer, Instant::now() + limit);
    let measured = match &job.spec.checks {
        Some(checks) => checking::check(job, checks, &watched),
        None => measure_watched(job, &watched, process_limit),
    };
    if watched.passed() && measured.is_err() {
        anyhow::bail!(
            "the job took longer than all that its parts may take: {} minutes",
            limit.as_secs() / 60
        );
    }
    measured
}

/// The end of everything, should no part's own limit have ended it: both sides built, with the stand-in and with
/// criterion itself, the measuring, and what comes before, between and after them.
fn job_limit(limits: &JobLimits) -> Duration {
    const AROUND: Duration = Duration::from_secs(45 * 60);
    Duration::from_secs(limits.build_seconds.saturating_mul(4).saturating_add(limits.measure_seconds))
        + AROUND
}

fn measure_watched(job: &Job, observer: &dyn Observer, process_limit: Duration) -> anyhow::Result<Evidence> {
    let mut watch = Watch::begin();
    let started_ms = now_ms();
    let work = directory(&job.work_dir)?;
    let artifacts = build(job, observer, &work, Linking::Alike)?;
    let mut found = Found { notes: artifacts.notes.clone(), ..Found::default() };
    found.failures.extend(artifacts.failures.clone());
    let benches_alone = artifacts.suites.iter().all(|suite| matches!(suite.kind, SuiteKind::Criterion(_)));
    watch.measuring(benches_alone);
    if let Some((base, head)) = &artifacts.sides {
        let place = BenchPlace::make(&work)?;
        let bench = Bench {
            all: job.spec.all,
            ..place.bench(job, observer, &artifacts, (base, head), process_limit)
        };
        run_suites(job, &bench, &artifacts, &mut found)?;
    }
    let mut environment = watch.end(&job.sandbox, Some(&artifacts.rustc));
    environment.warnings.extend(found.notes);
    Ok(Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: job.spec.clone(),
        environment,
        builds: artifacts.builds,
        series: found.series,
        calibration: found.calibration,
        failures: found.failures,
        one_sided: found.inventory.one_sided,
        judged_pairs: found.judged_pairs,
        identical: found.inventory.identical,
        unaffected: found.inventory.unaffected,
        profiles: found.profiles,
        scenarios: found.scenarios,
        started_ms,
        finished_ms: now_ms(),
        measure_ms: i64::try_from(found.measured.as_millis()).unwrap_or(i64::MAX),
        count_ms: i64::try_from(found.counting.as_millis()).unwrap_or(i64::MAX),
        checks: None,
    })
}

/// Both sides, where the job's limits and walls allow.
pub(crate) fn build(
    job: &Job,
    observer: &dyn Observer,
    work: &Path,
    linking: Linking,
) -> anyhow::Result<Artifacts> {
    job.sandbox.permit(job.spec.trust).map_err(anyhow::Error::msg)?;
    build_both(&Task {
        sandbox: &job.sandbox,
        observer,
        repository: &job.repository,
        base: &job.spec.base,
        head: &job.spec.head,
        suites: &job.spec.suites,
        work: work.to_owned(),
        cache: directory(&job.cache_dir)?,
        repository_name: &job.spec.repository,
        linking,
        keep: match &job.spec.focus {
            Some(Focus { passing_base: true, .. }) => Keep::Nothing,
            _ => Keep::Base,
        },
        limits: Limits { deadline: Duration::from_secs(job.spec.limits.build_seconds), ..limits(job) },
    })
}

pub(crate) fn limits(job: &Job) -> Limits {
    let asked = &job.spec.limits;
    Limits { memory_bytes: asked.memory_bytes, disk_bytes: asked.disk_bytes, ..Limits::default() }
}

/// Where benches leave their files.
pub(crate) struct BenchPlace {
    scratch: PathBuf,
    copies: PathBuf,
}

impl BenchPlace {
    pub(crate) fn make(work: &Path) -> anyhow::Result<BenchPlace> {
        let scratch = work.join("samples");
        std::fs::create_dir_all(&scratch).context("cannot make a directory for samples")?;
        Ok(BenchPlace { scratch, copies: work.join("copies") })
    }

    pub(crate) fn bench<'a>(
        &'a self,
        job: &'a Job,
        observer: &'a dyn Observer,
        artifacts: &'a Artifacts,
        (base, head): (&'a SidePaths, &'a SidePaths),
        process_limit: Duration,
    ) -> Bench<'a> {
        Bench {
            sandbox: &job.sandbox,
            observer,
            base,
            head,
            changed_data: &artifacts.changed_data,
            all: false,
            limits: Limits { tmp_bytes: TMP_MAX_BYTES, ..limits(job) },
            scratch: &self.scratch,
            copies: &self.copies,
            process_limit,
        }
    }
}

#[derive(Default)]
struct Found {
    inventory: Inventory,
    series: Vec<Series>,
    calibration: Vec<Series>,
    profiles: Vec<Profile>,
    scenarios: Vec<scenario::Scenario>,
    failures: Vec<Failure>,
    notes: Vec<String>,
    judged_pairs: u32,
    measured: Duration,
    counting: Duration,
}

fn run_suites(job: &Job, bench: &Bench, artifacts: &Artifacts, found: &mut Found) -> anyhow::Result<()> {
    let (observer, base, head) = (bench.observer, bench.base, bench.head);
    let began = Instant::now();
    let mut inventory = criterion::take(bench, &artifacts.suites)?;
    found.failures.append(&mut inventory.failures);
    found.notes.append(&mut inventory.notes);
    let (mut scenarios, identical) = scenarios(artifacts, base, head);
    inventory.identical.extend(identical);
    if let Some(focus) = &job.spec.focus {
        inventory.benchmarks.retain(|benchmark| focus.wants(&benchmark.id));
        scenarios.retain(|scenario| focus.wants(&load::benchmark(scenario.suite)));
    }
    // The budget's `N` is fixed here, before the first sample.
    let judged = inventory.benchmarks.len() + scenarios.len() * load::JUDGED_PAIRS as usize;
    found.judged_pairs = u32::try_from(judged).unwrap_or(u32::MAX);
    let rule = Rule::new(job.spec.budget, found.judged_pairs);
    let budget = Duration::from_secs(job.spec.limits.measure_seconds);
    let ends = began + budget;
    // What scenarios will want, at most half; they get the rest too when the benches end early.
    let kept = load::SCENARIO_LIMIT * u32::try_from(scenarios.len()).unwrap_or(u32::MAX);
    let benches = budget.saturating_sub(began.elapsed()).saturating_sub(kept.min(budget / 2));
    let calibrating = Duration::from_secs(job.spec.limits.calibrate_seconds);
    let pace = Pace { until: Until::Decided(&rule), seed: job.spec.seed, budget: benches, calibrating };
    let measured = criterion::measure(bench, &inventory.benchmarks, pace)?;
    found.series.extend(measured.series);
    found.failures.extend(measured.failures);
    found.notes.extend(measured.notes);
    found.counting = measured.counting;
    found.calibration = measured.calibration;
    let mut rates = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        stopped(observer)?;
        let left = ends.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(scenarios.len() - index).unwrap_or(u32::MAX);
        let context = context(job, bench, scenario, index, &rule, share)?;
        let measured = load::measure_suite(&context);
        stopped(observer)?;
        rates.push(measured.rate_per_second);
        found.scenarios.extend(measured.scenario(&context));
        found.series.extend(measured.series);
        found.failures.extend(measured.failures);
        found.notes.extend(measured.notes);
    }
    let under_load = scenarios.iter().zip(&rates).enumerate().map(|(index, (scenario, rate))| {
        Ok((context(job, bench, scenario, index, &rule, profiles::ALL)?, *rate))
    });
    let under_load: Vec<_> = under_load.collect::<anyhow::Result<_>>()?;
    let taken = profiles::take(&profiles::Ask {
        bench,
        rule: &rule,
        seed: job.spec.seed,
        series: &found.series,
        benchmarks: &inventory.benchmarks,
        scenarios: &under_load,
        modules: &artifacts.changed_modules,
        focus: job.spec.focus.as_ref().filter(|focus| focus.profile),
    })?;
    found.profiles = taken.profiles;
    found.notes.extend(taken.notes);
    found.inventory = inventory;
    found.measured = began.elapsed();
    observer.progress(Progress { phase: Phase::Measuring, text: "measured".into(), done: 1, total: 1 });
    Ok(())
}

/// How a scenario is played in this job.
fn context<'a>(
    job: &'a Job,
    bench: &'a Bench,
    scenario: &'a Scenario,
    index: usize,
    rule: &'a Rule,
    share: Duration,
) -> anyhow::Result<LoadContext<'a>> {
    Ok(LoadContext {
        suite: scenario.suite,
        load: scenario.load,
        base: scenario.base,
        head: scenario.head,
        sandbox: &job.sandbox,
        observer: bench.observer,
        rule,
        seed: job.spec.seed.wrapping_add(index as u64),
        deadline: Instant::now() + share,
        limit: load::SCENARIO_LIMIT,
        memory_bytes: bench.limits.memory_bytes,
        perfsuite: load::perfsuite_argv().context("cannot tell where this program is")?,
    })
}

/// A load suite with its files.
struct Scenario<'a> {
    suite: &'a str,
    load: &'a LoadSuite,
    base: SideFiles<'a>,
    head: SideFiles<'a>,
}

/// The scenarios to measure, and the names of those whose server is the same on both sides.
fn scenarios<'a>(
    artifacts: &'a Artifacts,
    base: &'a SidePaths,
    head: &'a SidePaths,
) -> (Vec<Scenario<'a>>, Vec<String>) {
    let files = |side: &'a SidePaths, suite: &str| {
        side.targets.get(suite).map(|target| SideFiles { checkout: &side.checkout, target })
    };
    let mut identical = Vec::new();
    let mut scenarios = Vec::new();
    for suite in &artifacts.suites {
        let SuiteKind::Load(load) = &suite.kind else { continue };
        let (Some(base), Some(head)) = (files(base, &suite.name), files(head, &suite.name)) else { continue };
        if load::identical(load, base, head) {
            identical.push(suite.name.clone());
        } else {
            scenarios.push(Scenario { suite: &suite.name, load, base, head });
        }
    }
    (scenarios, identical)
}

pub(crate) fn directory(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    path.canonicalize().with_context(|| format!("cannot use {}", path.display()))
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
