//! `perfsuite profile`: where the time of a benchmark, a scenario or a command goes, before it is pushed.

pub(super) mod told;

use super::compare::{cache_dir, chosen, resolve};
use super::settings::Settings;
use super::{Answer, TextOrJson};
use crate::artifact::{Artifacts, Linking, SidePaths};
use crate::measure::{BenchPlace, Job, PROCESS_LIMIT, build};
use crate::model::job::{LoadSuite, Rate};
use crate::model::profile::{Profile, Touched};
use crate::model::{JobId, JobLimits, JobSpec, Mode, Sha, Side, SuiteKind, SuiteSpec, Trust};
use crate::observe::Observer;
use crate::profile::summarise;
use crate::progress::Bars;
use crate::sandbox::{Limits, Preference, Sandbox};
use crate::suite::command::{self, CommandContext};
use crate::suite::criterion::{self, Allocations, Bench, Effort};
use crate::suite::load::{self, LoadContext, SideFiles};
use crate::verdict::Rule;
use anyhow::{Context, bail, ensure};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use told::Told;

/// Show where the time goes, in functions: of a criterion benchmark, a load scenario, or any command.
///
/// Stacks are sampled by the kernel 2,000 times a second of CPU time and counted per unit of work (iteration, request,
/// run). With --against both sides run in turns, and each function's change has a 95 % interval. Written to --out: a flame
/// graph (SVG, with search and zoom), folded stacks, and profile.pb.gz for `go tool pprof`.
/// Exit code 0: profiled, 1: profiled, and a function changed, 2: could not profile.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite profile --bench route/match/1000
        a benchmark of the working tree: flame graph, functions, allocations of an iteration
  perfsuite profile --bench route/match/1000 --against main
        what the working tree changed: functions with their change, differential flame graph
  perfsuite profile --scenario proxy --against v1.2 --format json
        a suite of kind \"load\" of .github/paceline.toml: CPU time of a request
  perfsuite profile -- ./target/release/tool input.txt
        any command as it is (build it with RUSTFLAGS=-Cforce-frame-pointers=yes)
  perfsuite profile --against main --build 'cargo build --release' -- '{target}/release/tool' '{checkout}/input.txt'
        a command that is built from both commits

Uncommitted changes of tracked files are part of the working tree's side.")]
pub struct ProfileArgs {
    /// A criterion benchmark: its id, or a part that no other has
    #[arg(long, value_name = "ID", conflicts_with_all = ["scenario", "command"])]
    bench: Option<String>,
    /// A suite of kind load of .github/paceline.toml
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    scenario: Option<String>,
    /// Any command, after --
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The commit to compare with: any revision
    #[arg(long, value_name = "REF")]
    against: Option<String>,
    /// The commit to profile, in place of the working tree
    #[arg(long, value_name = "REF")]
    commit: Option<String>,
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Only this suite of .github/paceline.toml, or the benches of this package
    #[arg(long, value_name = "NAME", requires = "bench")]
    suite: Option<String>,
    /// How the command is built in a checkout; its words name files as {target}/... and {checkout}/...
    #[arg(long, value_name = "COMMAND", requires = "command")]
    build: Option<String>,
    /// Processes of each side, rounds of a scenario, or runs of a command
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    visits: Option<u16>,
    /// Most seconds of sampling
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    seconds: f64,
    /// Requests a second, in place of the scenario's
    #[arg(long, value_name = "N", requires = "scenario")]
    rate: Option<f64>,
    /// Do not count allocations
    #[arg(long)]
    no_allocations: bool,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "paceline-profile")]
    out: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: TextOrJson,
    /// Seeds the order of visits
    #[arg(long)]
    seed: Option<u64>,
    /// Where builds of base commits are kept [default: paceline in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Walls around the code that is built and run
    #[arg(long, value_enum, default_value_t)]
    sandbox: Preference,
}

pub(super) fn run(args: &ProfileArgs) -> anyhow::Result<Answer> {
    ensure!(args.seconds > 0.0 && args.seconds.is_finite(), "--seconds must be more than 0");
    crate::profile::available().map_err(anyhow::Error::msg)?;
    let bars = Bars::on_stderr().stopped_by_signals()?;
    let as_it_is = !args.command.is_empty() && args.build.is_none();
    ensure!(
        !as_it_is || args.against.is_none(),
        "--against builds a command from two commits: say how with --build"
    );
    let (profile, allocations) =
        if as_it_is { (command_here(args, &bars)?, vec![]) } else { built(args, &bars)? };
    bars.finish();
    let told = Told::of(&profile, summarise(&profile), allocations);
    let written = told::write(&profile, &args.out)?;
    match args.format {
        TextOrJson::Json => println!("{}", told.json(&written)?),
        TextOrJson::Text => print!("{}", told.words(&written)),
    }
    Ok(if told.changed() { Answer::Change } else { Answer::NoChange })
}

impl ProfileArgs {
    fn sides(&self) -> &'static [Side] {
        if self.against.is_some() { &Side::BOTH } else { &[Side::Head] }
    }

    fn budget(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    fn visits(&self, default: usize) -> usize {
        self.visits.map_or(default, usize::from)
    }

    /// What the positional words, or the options, name.
    fn name(&self) -> String {
        let words = self.bench.iter().chain(&self.scenario).chain(&self.command);
        words.cloned().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(100).collect()
    }
}

/// A command as it is, here and now.
fn command_here(args: &ProfileArgs, bars: &Bars) -> anyhow::Result<Profile> {
    let name = args.name();
    let sandbox = Sandbox::detect(Preference::Off)?;
    let context = CommandContext {
        name: &name,
        argv: &args.command,
        files: None,
        sandbox: &sandbox,
        observer: bars,
        limits: own_limits(),
        perfsuite: load::perfsuite_argv().context("cannot tell where this program is")?,
    };
    command::profile(&context, args.sides(), args.visits(1), args.budget())?.map_err(anyhow::Error::msg)
}

/// One's own command has the machine to itself.
fn own_limits() -> Limits {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    Limits {
        memory_bytes: 1 << 40,
        file_bytes: 1 << 40,
        processes: 1 << 16,
        deadline: HOUR,
        ..Limits::default()
    }
}

/// What is built from a commit, or from two.
fn built(args: &ProfileArgs, bars: &Bars) -> anyhow::Result<(Profile, Vec<(Side, Allocations)>)> {
    let head = match &args.commit {
        Some(commit) => resolve(&args.repo, commit)?,
        None => working_tree(args, bars)?,
    };
    let base = args.against.as_ref().map_or(Ok(head.clone()), |against| resolve(&args.repo, against))?;
    let suites = suites(args, &base)?;
    let work = tempfile::Builder::new().prefix("perfsuite-").tempdir().context("no temporary directory")?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let spec = JobSpec {
        job: JobId(format!("local-{seed:016x}")),
        repository: args.repo.display().to_string(),
        base,
        head,
        trust: Trust::Own,
        suites,
        limits: JobLimits::default(),
        budget: 0.01,
        seed,
        all: true,
        checks: None,
        focus: None,
    };
    let job = Job {
        spec,
        repository: args.repo.clone(),
        work_dir: work.path().to_owned(),
        cache_dir: args.cache_dir.clone().unwrap_or_else(cache_dir),
        sandbox: Sandbox::detect(args.sandbox)?,
    };
    let artifacts = build(&job, bars, &crate::measure::directory(&job.work_dir)?, Linking::Alike)?;
    artifacts.notes.iter().for_each(|note| bars.log(note));
    if let Some(broken) = artifacts.builds.iter().find(|build| build.error.is_some()) {
        bail!(
            "the {} does not build:\n{}",
            broken.side.as_str(),
            broken.error.as_deref().unwrap_or_default()
        );
    }
    let (base, head) = artifacts.sides.as_ref().context("nothing was built")?;
    if args.bench.is_some() {
        return bench(args, bars, &job, &artifacts, (base, head));
    }
    let mut profile = match args.scenario {
        Some(_) => scenario(args, bars, &job, (base, head))?,
        None => built_command(args, bars, &job, (base, head))?,
    };
    if args.against.is_some() {
        let modules = artifacts.changed_modules.clone();
        profile.touched = Some(Touched { modules, ..Touched::default() });
    }
    Ok((profile, vec![]))
}

/// The working tree as a commit: what `git stash create` makes of it, without changing anything; HEAD where nothing
/// tracked differs.
fn working_tree(args: &ProfileArgs, bars: &Bars) -> anyhow::Result<Sha> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(&args.repo)
        .args(["-c", "user.name=paceline", "-c", "user.email=paceline@localhost", "stash", "create"])
        .output()
        .context("cannot run git; install it")?;
    let made = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !made.is_empty() {
        bars.log("with the uncommitted changes of tracked files");
        return Ok(made.parse()?);
    }
    resolve(&args.repo, "HEAD")
}

/// What is built: the benches, the scenario, or a suite that builds the command.
fn suites(args: &ProfileArgs, base: &Sha) -> anyhow::Result<Vec<SuiteSpec>> {
    let settings = Settings::of(&args.repo, base)?;
    let is_load = |suite: &&SuiteSpec| matches!(suite.kind, SuiteKind::Load(_));
    if let Some(wanted) = &args.scenario {
        let found = settings.suite.iter().filter(is_load).find(|suite| suite.name == *wanted);
        let names: Vec<&str> =
            settings.suite.iter().filter(is_load).map(|suite| suite.name.as_str()).collect();
        let found = found.with_context(|| {
            format!(
                "no suite of kind load is called {wanted:?} in .github/paceline.toml of {}; there are: {}",
                base.short(),
                names.join(", ")
            )
        })?;
        return Ok(vec![found.clone()]);
    }
    if let Some(build) = &args.build {
        return Ok(vec![command_suite(build, &args.command)]);
    }
    let mut suites = chosen(&settings.suite, args.suite.as_deref());
    suites.retain(|suite| !is_load(&suite));
    Ok(suites)
}

/// Builds a command as the server of a scenario is built.
fn command_suite(build: &str, command: &[String]) -> SuiteSpec {
    let load = LoadSuite {
        build: build.split_whitespace().map(str::to_owned).collect(),
        server: command.to_vec(),
        upstream: vec![],
        ready: String::new(),
        protocol: Default::default(),
        connections: 0,
        rate: Rate::default(),
        spacing: Default::default(),
        requests: vec![],
        expect: vec![],
        p99_limit_ms: 0.0,
        profile: Default::default(),
    };
    SuiteSpec {
        name: COMMAND_SUITE.into(),
        kind: SuiteKind::Load(load),
        paths: vec![],
        on: "push".into(),
        mode: Mode::default(),
        metrics: Default::default(),
        benchmarks: Default::default(),
    }
}

const COMMAND_SUITE: &str = "command";

fn bench(
    args: &ProfileArgs,
    bars: &Bars,
    job: &Job,
    artifacts: &Artifacts,
    sides: (&SidePaths, &SidePaths),
) -> anyhow::Result<(Profile, Vec<(Side, Allocations)>)> {
    let place = BenchPlace::make(&crate::measure::directory(&job.work_dir)?)?;
    let bench = Bench { all: true, ..place.bench(job, bars, artifacts, sides, PROCESS_LIMIT) };
    let inventory = criterion::take(&bench, &artifacts.suites)?;
    for failure in &inventory.failures {
        bars.log(&failure.output);
    }
    let wanted = args.bench.as_deref().unwrap_or_default();
    let ids = || inventory.benchmarks.iter().map(|benchmark| benchmark.id.0.as_str());
    let exact = inventory.benchmarks.iter().find(|benchmark| benchmark.id.0 == wanted);
    let alike: Vec<_> = inventory.benchmarks.iter().filter(|b| b.id.0.contains(wanted)).collect();
    let benchmark = match (exact, alike.as_slice()) {
        (Some(benchmark), _) => benchmark,
        (None, [benchmark]) => *benchmark,
        (None, []) => {
            bail!("no benchmark is called {wanted:?}; there are: {}", ids().collect::<Vec<_>>().join(", "))
        }
        (None, several) => bail!(
            "{wanted:?} is part of several: {}",
            several.iter().map(|b| b.id.0.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    let default = Effort::default();
    let effort = Effort { visits: args.visits(default.visits), budget: args.budget(), seed: job.spec.seed };
    let profile = criterion::profile(&bench, benchmark, args.sides(), effort)?.map_err(anyhow::Error::msg)?;
    let mut allocations = Vec::new();
    for side in args.sides().iter().filter(|_| !args.no_allocations) {
        match criterion::allocations(&bench, benchmark, *side)? {
            Ok(counted) => allocations.push((*side, counted)),
            Err(reason) => bars.log(&reason),
        }
    }
    Ok((profile, allocations))
}

fn scenario(
    args: &ProfileArgs,
    bars: &Bars,
    job: &Job,
    (base, head): (&SidePaths, &SidePaths),
) -> anyhow::Result<Profile> {
    let suite = job.spec.suites.first().context("no suite")?;
    let SuiteKind::Load(load) = &suite.kind else { bail!("{} is no scenario", suite.name) };
    let rule = Rule::new(job.spec.budget, load::JUDGED_PAIRS);
    let mut load = load.clone();
    load.rate = args.rate.map_or(load.rate, Rate::PerSecond);
    let context = LoadContext {
        suite: &suite.name,
        load: &load,
        base: files(base, &suite.name)?,
        head: files(head, &suite.name)?,
        sandbox: &job.sandbox,
        observer: bars,
        rule: &rule,
        seed: job.spec.seed,
        deadline: Instant::now() + args.budget() + load::SCENARIO_LIMIT,
        limit: load::SCENARIO_LIMIT,
        memory_bytes: job.spec.limits.memory_bytes,
        perfsuite: load::perfsuite_argv().context("cannot tell where this program is")?,
    };
    let rate = load::rate(&context).context("stopped on request")?.map_err(anyhow::Error::msg)?;
    load::profile(&context, args.sides(), rate, args.visits(8), args.budget())?.map_err(anyhow::Error::msg)
}

fn built_command(
    args: &ProfileArgs,
    bars: &Bars,
    job: &Job,
    (base, head): (&SidePaths, &SidePaths),
) -> anyhow::Result<Profile> {
    let name = args.name();
    let context = CommandContext {
        name: &name,
        argv: &args.command,
        files: Some([files(base, COMMAND_SUITE)?, files(head, COMMAND_SUITE)?]),
        sandbox: &job.sandbox,
        observer: bars,
        limits: Limits { memory_bytes: job.spec.limits.memory_bytes, ..Limits::default() },
        perfsuite: load::perfsuite_argv().context("cannot tell where this program is")?,
    };
    command::profile(&context, args.sides(), args.visits(10), args.budget())?.map_err(anyhow::Error::msg)
}

fn files<'a>(side: &'a SidePaths, suite: &str) -> anyhow::Result<SideFiles<'a>> {
    let target = side.targets.get(suite).with_context(|| format!("nothing was built for {suite}"))?;
    Ok(SideFiles { checkout: &side.checkout, target })
}
