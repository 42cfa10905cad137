//! `perfsuite load`: two binaries of a server under one open-loop schedule.

use super::scenario::scenario;
use super::text::{in_words, percent, value};
use super::{Answer, TextOrJson};
use crate::host;
use crate::load::wire::{ErrorKind, encode, encode_compressed};
use crate::model::{
    Comparison, Direction, Failure, JobLimits, Metric, Mode, Side, Verdict, job::Rate, job::Spacing,
    scenario::Knee,
};
use crate::observe::Observer;
use crate::progress::Bars;
use crate::sandbox::{Preference, Sandbox};
use crate::suite::load::{
    JUDGED_PAIRS, LoadContext, LoadOutcome, SideFiles, Totals, knees, measure_suite, perfsuite_argv,
};
use crate::verdict::Rule;
use crate::verdict::comparison::judge_series;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Version of the JSON.
const SCHEMA: u32 = 1;
/// What both sides' binaries are called where they run: a longer name moves the stack.
const BINARY: &str = "server";

/// Measure two binaries of a server against each other under load.
///
/// Both run at the same time; every request of one open-loop schedule goes to one of them by a coin, and its latency
/// counts from its scheduled time. Each round starts both anew. Stops when latency and capacity are decided.
/// Exit code 0: no change, 1: some change, 2: could not judge (a server that fails, a rate that cannot be kept).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite load proxy --base old/gateway --head target/release/gateway
  perfsuite load ./slow.toml --base a --head b --rate 2000 --minutes 10 --format json

SCENARIO is the name of a suite of kind \"load\" in .github/paceline.toml, or the path of a TOML file with its keys:
  server = [\"{server}\", \"--listen\", \"{listen}\"]    {server} is the binary; without it the first word is
  requests = [{ path = \"/\" }]                      sent in turns by chance; method = \"GET\"
  ready = \"GET /readyz\"                            asked until it answers 2xx
  rate = \"auto\"                                    requests a second to both together; half of what the base sustains
  spacing = \"constant\"                             or \"poisson\"
  connections = 64
  expect = [429, 503]                              statuses of 400 and above that are good answers
  upstream = [\"{perfsuite}\", \"upstream\", \"--listen\", \"{upstream}\"]    what a proxy stands before; omitted: nothing")]
pub struct LoadArgs {
    /// A suite of .github/paceline.toml, or a file
    scenario: String,
    /// The server to compare with: an executable file
    #[arg(long, value_name = "BIN")]
    base: PathBuf,
    /// The server to judge
    #[arg(long, value_name = "BIN")]
    head: PathBuf,
    /// What `{checkout}` stands for, and where .github/paceline.toml is
    #[arg(long, value_name = "DIR", default_value = ".")]
    checkout: PathBuf,
    /// Requests a second to both together, in place of the scenario's
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Gaps between requests, in place of the scenario's
    #[arg(long, value_name = "KIND", value_parser = spacing)]
    spacing: Option<Spacing>,
    /// Most minutes of measuring
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    /// Find besides the largest rate that each side by itself sustains with its p99 under the scenario's limit
    #[arg(long)]
    knee: bool,
    /// False alarms allowed, as a probability
    #[arg(long, value_name = "P", default_value_t = 0.01)]
    budget: f64,
    /// Memory of a round with all its processes; a server that wants more is ended
    #[arg(long, value_name = "N", default_value_t = JobLimits::default().memory_bytes >> 20)]
    memory_mib: u64,
    #[arg(long, value_enum, default_value_t)]
    format: TextOrJson,
    /// Seeds schedules and coins
    #[arg(long)]
    seed: Option<u64>,
    /// Walls around the servers
    #[arg(long, value_enum, default_value_t)]
    sandbox: Preference,
}

fn spacing(text: &str) -> Result<Spacing, String> {
    match text {
        "constant" => Ok(Spacing::Constant),
        "poisson" => Ok(Spacing::Poisson),
        _ => Err("constant or poisson".into()),
    }
}

pub(super) fn run(args: &LoadArgs) -> anyhow::Result<Answer> {
    ensure!(args.minutes > 0.0 && args.minutes.is_finite(), "--minutes must be more than 0");
    ensure!(args.budget > 0.0 && args.budget < 1.0, "--budget must lie between 0 and 1");
    ensure!(args.memory_mib > 0, "--memory-mib must be more than 0");
    let (name, mut load) = scenario(&args.scenario, &args.checkout, &format!("{{target}}/{BINARY}"))?;
    load.rate = args.rate.map_or(load.rate, Rate::PerSecond);
    load.spacing = args.spacing.unwrap_or(load.spacing);
    let checkout =
        args.checkout.canonicalize().with_context(|| format!("cannot use {}", args.checkout.display()))?;
    let work = tempfile::Builder::new().prefix("perfsuite-").tempdir().context("no temporary directory")?;
    let base = placed(&args.base, &work.path().join(Side::Base.as_str()))?;
    let head = placed(&args.head, &work.path().join(Side::Head.as_str()))?;
    let sandbox = Sandbox::detect(args.sandbox)?;
    let rule = Rule::new(args.budget, JUDGED_PAIRS);
    let limit = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes is too much")?;
    let busy = host::too_busy();
    let bars = Bars::on_stderr().stopped_by_signals()?;
    let begun = Instant::now();
    let context = LoadContext {
        suite: &name,
        load: &load,
        base: SideFiles { checkout: &checkout, target: &base },
        head: SideFiles { checkout: &checkout, target: &head },
        sandbox: &sandbox,
        observer: &bars,
        rule: &rule,
        seed: args.seed.unwrap_or_else(rand::random),
        deadline: begun + limit,
        limit,
        memory_bytes: args.memory_mib << 20,
        perfsuite: perfsuite_argv().context("cannot tell where this program is")?,
    };
    let mut outcome = measure_suite(&context);
    let spent = begun.elapsed();
    let searched = outcome.knees.len() == Side::BOTH.len();
    if args.knee && !searched && outcome.failures.is_empty() && !bars.stopped() {
        match knees(&context) {
            Ok(knees) => outcome.knees = knees,
            Err(failure) => outcome.notes.push(format!("no knee: {}", failure.output)),
        }
    }
    bars.finish();
    let mut played = Played::of(&name, &rule, &outcome, spent, sandbox.describe());
    let seen = outcome.scenario(&context).map(|seen| seen.in_words()).unwrap_or_default();
    played.notes.splice(0..0, seen);
    played.notes.extend(busy);
    match args.format {
        TextOrJson::Json => println!("{}", serde_json::to_string(&played)?),
        TextOrJson::Text => print!("{}", played.words()),
    }
    Ok(played.answer())
}

/// A copy of the binary under the name that both sides have; the directory it lies in.
fn placed(binary: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let name = binary.display();
    let is = std::fs::metadata(binary).with_context(|| format!("cannot use {name}"))?;
    ensure!(is.is_file() && is.permissions().mode() & 0o111 != 0, "{name} is no executable file");
    std::fs::create_dir(directory).context("no temporary directory")?;
    let copy = directory.join(BINARY);
    std::fs::copy(binary, &copy).with_context(|| format!("cannot copy {name}"))?;
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).context("cannot make it executable")?;
    Ok(directory.to_owned())
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Played<'a> {
    schema: u32,
    scenario: &'a str,
    rate_per_second: f64,
    rounds: usize,
    seconds: f64,
    metrics: Vec<Row>,
    sides: BTreeMap<Side, SideLine<'a>>,
    /// How late requests were sent at p99: part of both sides' latencies.
    lateness_p99_ns: u64,
    /// CPU time of the generator for a request, sending and receiving.
    generator_cpu_ns: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    knees: &'a BTreeMap<Side, Knee>,
    failures: &'a [Failure],
    notes: Vec<String>,
    sandbox: String,
}

#[derive(Debug, Serialize)]
struct Row {
    metric: Metric,
    unit: &'static str,
    better: &'static str,
    base: f64,
    head: f64,
    estimate: f64,
    low: f64,
    high: f64,
    /// Both in one.
    interval: [f64; 2],
    verdict: Verdict,
    judged: bool,
    smallest_visible: f64,
    rounds: u32,
    minutes_to_settle: Option<f64>,
    /// Base64 of HDR's V2 encoding: latencies in nanoseconds, or, of QPS per core, each round's CPU nanoseconds a request.
    histograms: BTreeMap<Side, String>,
    /// The same, compressed: as logs of HdrHistogram have it.
    histograms_compressed: BTreeMap<Side, String>,
    #[serde(skip)]
    words: String,
}

#[derive(Debug, Serialize)]
struct SideLine<'a> {
    requests: u64,
    answered: u64,
    errors: &'a BTreeMap<ErrorKind, u64>,
    memory_peak_bytes: Option<u64>,
    memory_growth_bytes: Option<f64>,
    /// The server answered as fast as requests came.
    kept_schedule: bool,
}

impl<'a> Played<'a> {
    fn of(
        scenario: &'a str,
        rule: &Rule,
        outcome: &'a LoadOutcome,
        spent: Duration,
        sandbox: String,
    ) -> Self {
        let rows = outcome.series.iter().map(|series| judge_series(rule, series, Mode::Gate));
        let side = |totals: &'a Totals| SideLine {
            requests: totals.scheduled,
            answered: totals.answered,
            errors: &totals.errors,
            memory_peak_bytes: totals.memory_peak_bytes,
            memory_growth_bytes: totals.memory_growth_bytes,
            kept_schedule: totals.behind_ns.is_none(),
        };
        Played {
            schema: SCHEMA,
            scenario,
            rate_per_second: outcome.rate_per_second,
            rounds: outcome.sides.values().map(|totals| totals.rounds).max().unwrap_or(0),
            seconds: spent.as_secs_f64(),
            metrics: rows.map(|row| Row::of(&row, &outcome.sides)).collect(),
            sides: outcome.sides.iter().map(|(of, totals)| (*of, side(totals))).collect(),
            lateness_p99_ns: outcome.lateness_p99_ns,
            generator_cpu_ns: outcome.generator_cpu_ns,
            knees: &outcome.knees,
            failures: &outcome.failures,
            notes: outcome.notes.clone(),
            sandbox,
        }
    }

    fn answer(&self) -> Answer {
        let changed = |row: &Row| row.judged && matches!(row.verdict, Verdict::Slower | Verdict::Faster);
        match () {
            () if !self.failures.is_empty() || self.metrics.is_empty() => Answer::CouldNotJudge,
            () if self.metrics.iter().any(changed) => Answer::Change,
            () => Answer::NoChange,
        }
    }

    fn words(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{}: {:.0} requests a second to base and head together, {} rounds in {:.0} s",
            self.scenario, self.rate_per_second, self.rounds, self.seconds
        );
        for row in &self.metrics {
            let _ = writeln!(out, "{}", row.words);
        }
        for failure in self.failures {
            let side = failure.side.map_or("not measured", Side::as_str);
            let _ = writeln!(out, "{side}: {}", failure.output.replace('\n', "\n    "));
        }
        if self.metrics.is_empty() && self.failures.is_empty() {
            let _ = writeln!(out, "nothing was measured: the time was over before the first round");
        }
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        let _ = writeln!(out, "sandbox: {}", self.sandbox);
        out
    }
}

impl Row {
    fn of(row: &Comparison, sides: &BTreeMap<Side, Totals>) -> Row {
        let unit = row.metric.unit();
        let encoded = |how: fn(&Histogram<u64>) -> String| {
            let of = |totals: &Totals| match row.metric {
                Metric::QpsPerCore => how(&totals.cpu_per_request),
                _ => how(&totals.latency),
            };
            sides.iter().map(|(side, totals)| (*side, of(totals))).collect()
        };
        let words = format!(
            "{:14} {:>11} {:>11}  {} ({} to {})  {}",
            row.metric.title(),
            value(row.base, unit),
            value(row.head, unit),
            percent(row.estimate),
            percent(row.low),
            percent(row.high),
            in_words(row)
        );
        Row {
            metric: row.metric,
            unit: match row.metric {
                Metric::QpsPerCore => "requests-per-second",
                _ => "nanoseconds",
            },
            better: match row.metric.direction() {
                Direction::LowerIsBetter => "lower",
                Direction::HigherIsBetter => "higher",
            },
            base: row.base,
            head: row.head,
            estimate: row.estimate,
            low: row.low,
            high: row.high,
            interval: [row.low, row.high],
            verdict: row.verdict,
            judged: row.metric.judged(),
            smallest_visible: row.smallest_visible,
            rounds: row.visits,
            minutes_to_settle: row.minutes_to_settle,
            histograms: encoded(encode),
            histograms_compressed: encoded(encode_compressed),
            words,
        }
    }
}
