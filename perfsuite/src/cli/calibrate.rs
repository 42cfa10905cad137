//! `perfsuite calibrate`: how often the verdict is wrong here, and how small a change it finds.

use super::compare::{cache_dir, package_suite, resolve};
use super::{Answer, Format, calibration};
use crate::artifact::Linking;
use crate::calibrate::trial::Trial;
use crate::calibrate::{Plan, Samples, measure, read, write};
use crate::measure::Job;
use crate::model::{CriterionSuite, JobId, JobLimits, JobSpec, SuiteKind, SuiteSpec, Trust};
use crate::progress::Bars;
use crate::sandbox::{Preference, Sandbox};
use crate::verdict::Rule;
use anyhow::{Context, ensure};
use std::path::PathBuf;

/// Measure how often the verdict is wrong on this machine.
///
/// With one commit both sides are the same, and every change that is called is a false alarm. With two, whose change is
/// known to be real, it tells how often that is found. Every benchmark is visited the same number of times; decisions are
/// then drawn from the visits, as if live, thousands of times. Exit code 0: as promised, 1: false alarms beyond the
/// budget or a biased benchmark, 2: could not measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite calibrate                         identical sides of HEAD, 250 visits of each benchmark
  perfsuite calibrate --relink --live 5       the head linked in another order; besides, 5 live decisions of each
  perfsuite calibrate main slower --only parse  how often a known slowdown is found
  perfsuite calibrate --from a.zst b.zst --format markdown")]
pub struct CalibrateArgs {
    /// The commit of both sides, or of the base
    #[arg(default_value = "HEAD")]
    base: String,
    /// Another commit for the head
    head: Option<String>,
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Only the benches of this package
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Only the bench of this name
    #[arg(long, value_name = "NAME")]
    bench: Option<String>,
    /// Only the benchmark of this id, or those whose id holds it; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Visits of each benchmark
    #[arg(long, value_name = "N", default_value_t = 250)]
    visits: u32,
    /// Live decisions of each benchmark, besides
    #[arg(long, value_name = "N", default_value_t = 0)]
    live: u32,
    /// Link the head's functions in another order
    #[arg(long)]
    relink: bool,
    /// Most minutes of measuring, without the builds
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    budget_minutes: f64,
    /// Decisions drawn for each benchmark
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    decisions: u32,
    /// Benchmarks of the suite whose false-alarm budget is tried
    #[arg(long, value_name = "N", default_value_t = 100)]
    suite_size: u32,
    /// False alarms allowed per run of that suite, as a probability
    #[arg(long, value_name = "P", default_value_t = 0.01)]
    budget: f64,
    /// Seeds the order of visits and the draw
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the samples
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Measure nothing: draw from kept samples
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["visits", "live", "relink", "out"])]
    from: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where builds of base commits are kept [default: paceline in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Walls around the code that is measured
    #[arg(long, value_enum, default_value_t)]
    sandbox: Preference,
}

pub(super) fn run(args: &CalibrateArgs) -> anyhow::Result<Answer> {
    ensure!(args.budget > 0.0 && args.budget < 1.0, "--budget must lie between 0 and 1");
    ensure!(args.decisions > 0 && args.suite_size > 0, "--decisions and --suite-size must be more than 0");
    let seed = args.seed.unwrap_or_else(rand::random);
    let rule = Rule::new(args.budget, args.suite_size);
    let all = if args.from.is_empty() {
        vec![sampled(args, seed, &rule)?]
    } else {
        args.from.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<Samples>>>()?
    };
    let trial = Trial { rule, decisions: args.decisions, seed };
    let calibration = calibration::Calibration::of(&trial, args.suite_size, args.budget, &all);
    calibration.print(args.format)?;
    Ok(calibration.answer())
}

fn sampled(args: &CalibrateArgs, seed: u64, rule: &Rule) -> anyhow::Result<Samples> {
    ensure!(
        args.budget_minutes > 0.0 && args.budget_minutes.is_finite(),
        "--budget-minutes must be more than 0"
    );
    ensure!(args.visits > 0 || args.live > 0, "neither visits nor live decisions are wanted");
    let base = resolve(&args.repo, &args.base)?;
    let head = args.head.as_ref().map_or(Ok(base.clone()), |head| resolve(&args.repo, head))?;
    let work = tempfile::Builder::new().prefix("perfsuite-").tempdir().context("no temporary directory")?;
    let repository = args.repo.canonicalize().unwrap_or_else(|_| args.repo.clone());
    let job = Job {
        spec: JobSpec {
            job: JobId(format!("calibrate-{seed:016x}")),
            repository: repository.file_name().map_or(".".into(), |name| name.to_string_lossy().into_owned()),
            base,
            head,
            trust: Trust::Own,
            suites: suites(args),
            limits: JobLimits {
                measure_seconds: (args.budget_minutes * 60.0).ceil() as u64,
                ..JobLimits::default()
            },
            budget: args.budget,
            seed,
            all: true,
            checks: None,
            focus: None,
        },
        repository: args.repo.clone(),
        work_dir: work.path().to_owned(),
        cache_dir: args.cache_dir.clone().unwrap_or_else(cache_dir),
        sandbox: Sandbox::detect(args.sandbox)?,
    };
    let plan = Plan {
        visits: args.visits as usize,
        live: args.live as usize,
        linking: if args.relink { Linking::HeadSorted } else { Linking::Alike },
        only: args.only.clone(),
        rule: rule.clone(),
    };
    let bars = Bars::on_stderr().stopped_by_signals()?;
    let samples = measure(&job, &plan, &bars)?;
    bars.finish();
    if let Some(file) = &args.out {
        write(&samples, file)?;
    }
    Ok(samples)
}

/// None: whatever cargo's metadata shows.
fn suites(args: &CalibrateArgs) -> Vec<SuiteSpec> {
    let mut suite = match (&args.suite, &args.bench) {
        (None, None) => return vec![],
        (Some(package), _) => package_suite(package),
        (None, Some(bench)) => package_suite(bench),
    };
    suite.kind = SuiteKind::Criterion(CriterionSuite {
        package: args.suite.clone(),
        bench: args.bench.clone(),
        features: vec![],
    });
    vec![suite]
}
