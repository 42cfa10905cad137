//! Suites of kind `load`: rounds of two live servers, repeated until latency and capacity are decided.

use crate::{
    load::{
        schedule::Spacing,
        wire::{
            ErrorKind, KneeLimit, KneeResult, RESULT_MAX_BYTES, RoundFailure, RoundOutcome, RoundPlan,
            RoundResult, RoundTask, ServerPlan, decode, histogram,
        },
    },
    model::{
        BenchmarkId, Failure, FailureReason, LoadSuite, Metric, Series, Side, Visit,
        job::{Protocol, Rate},
        wire::{Phase, Progress},
    },
    observe::Observer,
    sandbox::{Limits, Sandbox},
    verdict::{Decision, Rule, VISITS_MAX, comparison::log_ratio},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What one load scenario measures, in the order of its rows.
pub const METRICS: [Metric; 4] =
    [Metric::LatencyP50, Metric::LatencyP99, Metric::LatencyP999, Metric::QpsPerCore];
/// How many of them are judged: a scenario's part of the run's judged pairs.
pub const JUDGED_PAIRS: u32 = 3;

/// Most of one scenario, when the run has more left: 30 rounds and the search for the rate.
pub const SCENARIO_LIMIT: Duration = Duration::from_secs(75);
/// A round: long enough for a p99 of a thousand requests a second, short because the round is the statistical unit.
const WINDOW_MS: u64 = 1_500;
const WARMUP_MS: u64 = 400;
/// A server that opens its port later than this is taken for broken.
const READY_LIMIT_MS: u64 = 10_000;
/// A round with all that may be slow in it: three attempts to start each of three processes, drains, stops.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
/// A round that was begun before the deadline may end this much after it, rather than be thrown away.
const OVERTIME: Duration = Duration::from_secs(10);
/// The search for the rate: one probe, and all of them.
const PROBE_MS: u64 = 500;
const KNEE_LIMIT_MS: u64 = 15_000;
/// `rate = "auto"` is this part of the knee: far enough below it that queues are short.
const SHARE_OF_KNEE: f64 = 0.5;
/// The rate when even the slowest probe was too much: something is measured, and the note says why so little.
const RATE_FALLBACK: f64 = 100.0;
/// Requests of a side that may fail in a round that counts.
const FAILED_SHARE_MAX: f64 = 0.01;
/// Rounds above that share before the side has failed: one hiccup of the machine is none of the server's.
const BAD_ROUNDS_MAX: u32 = 2;
/// Requests that the generator may leave unsent in a round before its figures mean nothing.
const UNSENT_SHARE_MAX: f64 = 0.01;
/// How often the observer is asked whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// The end of what a round that broke has said.
const STDERR_MAX_BYTES: usize = 8 << 10;
/// Where things are seen inside the sandbox.
const PERFSUITE_INSIDE: &str = "/build/perfsuite";

/// What is measured, where, and for how long.
pub struct LoadContext<'a> {
    pub suite: &'a str,
    pub load: &'a LoadSuite,
    pub base: SideFiles<'a>,
    pub head: SideFiles<'a>,
    pub sandbox: &'a Sandbox,
    pub observer: &'a dyn Observer,
    /// The run's rule: decides when enough was seen.
    pub rule: &'a Rule,
    pub seed: u64,
    /// Nothing starts after this; see also [`SCENARIO_LIMIT`].
    pub deadline: Instant,
    pub memory_bytes: u64,
    /// What `{perfsuite}` stands for, see [`perfsuite_argv`].
    pub perfsuite: Vec<OsString>,
}

/// Host directories of one side: `{checkout}` and `{target}` of its commands. Read only.
#[derive(Clone, Copy, Debug)]
pub struct SideFiles<'a> {
    pub checkout: &'a Path,
    pub target: &'a Path,
}

/// What came of a scenario. With a failure of a side there are no series: half of a comparison is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOutcome {
    pub series: Vec<Series>,
    pub failures: Vec<Failure>,
    /// Lines for the environment's warnings and the log: the rate, how it was found, pooled percentiles.
    pub notes: Vec<String>,
}

/// The command that answers `upstream` and `load-round`: this executable, which hides them behind a word of its own
/// unless it is `perfsuite` itself.
pub fn perfsuite_argv() -> io::Result<Vec<OsString>> {
    let exe = std::env::current_exe()?;
    let itself = exe.file_stem().is_some_and(|name| name == "perfsuite");
    let mut argv = vec![exe.into_os_string()];
    if !itself {
        argv.push("perfsuite".into());
    }
    Ok(argv)
}

/// The name of a scenario's rows: it has one benchmark, called like the suite.
pub fn benchmark(suite: &str) -> BenchmarkId {
    BenchmarkId(suite.to_owned())
}

/// Plays rounds until every judged metric is decided, the time is over, or somebody says stop.
pub fn measure_suite(ctx: &LoadContext<'_>) -> LoadOutcome {
    let mut outcome = LoadOutcome::default();
    if ctx.load.protocol == Protocol::Http2 {
        let output = "protocol = \"http2\" is not measured yet: use http1";
        outcome.failures.push(failure(ctx, None, FailureReason::Refused, output));
        return outcome;
    }
    let begun = Instant::now();
    let deadline = ctx.deadline.min(begun + SCENARIO_LIMIT);
    let mut rng = StdRng::seed_from_u64(ctx.seed);
    let rate = match rate_of(ctx, &mut rng, &mut outcome.notes) {
        Ok(rate) => rate,
        Err(Halt::Stopped) => return outcome,
        Err(Halt::Failed(failed)) => {
            outcome.failures.push(failed);
            return outcome;
        }
    };
    let mut seen = Seen::new(ctx);
    let measured_from = Instant::now();
    loop {
        progress(ctx, seen.rounds(), measured_from, deadline, rate);
        let first = seen.rounds() == 0 && seen.bad_rounds == 0;
        if seen.decided(ctx.rule) || (!first && !fits(seen.rounds(), measured_from, deadline)) {
            break;
        }
        let task = RoundTask::Measure { rate_per_second: rate, warmup_ms: WARMUP_MS, window_ms: WINDOW_MS };
        let mut sides = Side::BOTH;
        sides.shuffle(&mut rng);
        let result = match play(ctx, &sides, task, rng.random(), deadline) {
            Ok(RoundOutcome::Measured(result)) => result,
            Ok(RoundOutcome::Failed(failed)) => {
                outcome.failures.push(of_round(ctx, failed));
                return outcome;
            }
            Ok(RoundOutcome::Knee(_)) => {
                let output = "the round answered what it was not asked";
                outcome.failures.push(failure(ctx, None, FailureReason::BadOutput, output));
                return outcome;
            }
            // A round that would have gone beyond the deadline is no failure: what there is, is judged.
            Err(Halt::Stopped) => break,
            Err(Halt::Failed(failed)) => {
                outcome.failures.push(failed);
                return outcome;
            }
        };
        if let Some(failures) = seen.add(ctx, sides[0], result, rate) {
            outcome.failures = failures;
            return outcome;
        }
    }
    outcome.notes.extend(seen.notes(ctx));
    outcome.series = seen.into_series(measured_from.elapsed());
    outcome
}

/// Why no more rounds are played.
enum Halt {
    /// By the observer, or because there is no time left for a round.
    Stopped,
    Failed(Failure),
}

/// The scenario's rate, searched where it says `auto`.
fn rate_of(ctx: &LoadContext<'_>, rng: &mut StdRng, notes: &mut Vec<String>) -> Result<f64, Halt> {
    if let Rate::PerSecond(rate) = ctx.load.rate {
        return if rate.is_finite() && rate > 0.0 {
            Ok(rate)
        } else {
            let output = format!("rate = {rate} is not a number of requests a second");
            Err(Halt::Failed(failure(ctx, None, FailureReason::Refused, &output)))
        };
    }
    ctx.observer.log(&format!("{}: looking for the rate that the base sustains", ctx.suite));
    let p99_limit_ns = (ctx.load.p99_limit_ms.max(0.0) * 1e6) as u64;
    let task = RoundTask::Knee { p99_limit_ns, probe_ms: PROBE_MS, limit_ms: KNEE_LIMIT_MS };
    match play(ctx, &[Side::Base], task, rng.random(), ctx.deadline)? {
        RoundOutcome::Knee(knee) => {
            let rate = if knee.rate_per_second > 0.0 {
                (knee.rate_per_second * SHARE_OF_KNEE).max(RATE_FALLBACK)
            } else {
                RATE_FALLBACK
            };
            notes.push(knee_note(ctx, &knee, rate));
            Ok(rate)
        }
        RoundOutcome::Failed(failed) => Err(Halt::Failed(of_round(ctx, failed))),
        RoundOutcome::Measured(_) => {
            let output = "the search for the rate answered what it was not asked";
            Err(Halt::Failed(failure(ctx, None, FailureReason::BadOutput, output)))
        }
    }
}

fn knee_note(ctx: &LoadContext<'_>, knee: &KneeResult, rate: f64) -> String {
    let limit = ctx.load.p99_limit_ms;
    if knee.rate_per_second == 0.0 {
        return format!(
            "{}: the base answered no rate within a p99 of {limit} ms here, so {rate:.0} requests a second are used",
            ctx.suite
        );
    }
    let above = match knee.limited_by {
        KneeLimit::Server => "above it the server is too slow",
        KneeLimit::Generator => "above it the generator cannot keep its schedule on this machine",
        KneeLimit::Search => "more was not tried",
    };
    format!(
        "{}: {rate:.0} requests a second, about half of the {:.0} that the base sustains with a p99 under {limit} ms ({above})",
        ctx.suite, knee.rate_per_second
    )
}

/// Runs one round in the sandbox.
fn play(
    ctx: &LoadContext<'_>,
    sides: &[Side],
    task: RoundTask,
    seed: u64,
    deadline: Instant,
) -> Result<RoundOutcome, Halt> {
    let broken = |reason, output: &str| Halt::Failed(failure(ctx, None, reason, output));
    let (program, words) = ctx
        .perfsuite
        .split_first()
        .ok_or_else(|| broken(FailureReason::Refused, "perfsuite is not known"))?;
    let inside = if ctx.sandbox.walled() { PathBuf::from(PERFSUITE_INSIDE) } else { PathBuf::from(program) };
    let mut command = ctx.sandbox.command(&inside);
    command.read(program, PERFSUITE_INSIDE);
    command.args(words).arg("load-round").talk().keep(0, STDERR_MAX_BYTES);
    let limits = Limits { memory_bytes: ctx.memory_bytes, deadline: ROUND_LIMIT, ..Limits::default() };
    command.limits(limits);
    let mut servers = Vec::new();
    let mut seen = Vec::new();
    for &side in &Side::BOTH {
        let files = if side == Side::Base { ctx.base } else { ctx.head };
        let checkout = command.read(files.checkout, format!("/build/{}/src", side.as_str()));
        let target = command.read(files.target, format!("/build/{}/target", side.as_str()));
        seen.push((side, checkout, target));
    }
    for side in sides {
        for (_, checkout, target) in seen.iter().filter(|(of, ..)| of == side) {
            let argv = substitute(&ctx.load.server, checkout, target);
            servers.push(ServerPlan { side: *side, argv, cwd: checkout.clone() });
        }
    }
    // One upstream serves both sides, so it is the base's.
    let (_, checkout, target) = &seen[0];
    let mut perfsuite = vec![inside.to_string_lossy().into_owned()];
    perfsuite.extend(words.iter().map(|word| word.to_string_lossy().into_owned()));
    let plan = RoundPlan {
        perfsuite,
        upstream: substitute(&ctx.load.upstream, checkout, target),
        servers,
        ready: ctx.load.ready.clone(),
        ready_limit_ms: READY_LIMIT_MS,
        connections: ctx.load.connections,
        requests: ctx.load.requests.clone(),
        spacing: Spacing::Constant,
        seed,
        task,
    };
    let io = |e: io::Error| broken(FailureReason::Refused, &format!("the round could not be started: {e}"));
    let line = serde_json::to_string(&plan).map_err(|e| io(e.into()))?;
    let mut running = ctx.sandbox.spawn(&command).map_err(io)?;
    // A round that ends before it has read its plan says why on stderr: see below.
    let _ = running.write_line(&line);
    let line = loop {
        match running.read_line(STOP_CHECK) {
            Ok(line) => break line.filter(|line| line.len() <= RESULT_MAX_BYTES),
            Err(e) if e.kind() != io::ErrorKind::TimedOut => break None,
            Err(_) if running.has_ended() => break None,
            Err(_) if ctx.observer.stopped() || Instant::now() > deadline + OVERTIME => {
                return Err(Halt::Stopped);
            }
            Err(_) => {}
        }
    };
    match line.as_deref().map(serde_json::from_str::<RoundOutcome>) {
        Some(Ok(outcome)) => Ok(outcome),
        _ => {
            running.kill();
            let (ended, said) = match running.finish() {
                Ok(finished) => (finished.in_words(), finished.stderr_tail),
                Err(e) => (e.to_string(), String::new()),
            };
            let output = format!("the round ended without a result ({ended})\n{said}");
            Err(broken(FailureReason::BadOutput, output.trim_end()))
        }
    }
}

fn substitute(argv: &[String], checkout: &Path, target: &Path) -> Vec<String> {
    let (checkout, target) = (checkout.to_string_lossy(), target.to_string_lossy());
    argv.iter().map(|a| a.replace("{checkout}", &checkout).replace("{target}", &target)).collect()
}

/// Whether another round ends in time, by the mean of those so far.
fn fits(rounds: usize, from: Instant, deadline: Instant) -> bool {
    let mean = from.elapsed() / u32::try_from(rounds.max(1)).unwrap_or(u32::MAX);
    Instant::now() + mean <= deadline
}

fn progress(ctx: &LoadContext<'_>, rounds: usize, from: Instant, deadline: Instant, rate: f64) {
    let spent = from.elapsed().as_secs_f64();
    let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
    let each = if rounds == 0 { (WINDOW_MS + WARMUP_MS) as f64 / 1e3 } else { spent / rounds as f64 };
    let total = (rounds as f64 + left / each).min(VISITS_MAX as f64) as u64;
    let text = format!("{}: {rate:.0} requests a second to base and head", ctx.suite);
    ctx.observer.progress(Progress {
        phase: Phase::Measuring,
        text,
        done: rounds as u64,
        total: total.max(rounds as u64),
    });
}

fn failure(ctx: &LoadContext<'_>, side: Option<Side>, reason: FailureReason, output: &str) -> Failure {
    Failure {
        suite: ctx.suite.to_owned(),
        benchmark: Some(benchmark(ctx.suite)),
        side,
        reason,
        output: output.to_owned(),
    }
}

fn of_round(ctx: &LoadContext<'_>, failed: RoundFailure) -> Failure {
    failure(ctx, failed.side, failed.reason, &failed.output)
}

/// All rounds so far.
struct Seen {
    series: Vec<Series>,
    results: Vec<RoundResult>,
    bad_rounds: u32,
}

impl Seen {
    fn new(ctx: &LoadContext<'_>) -> Self {
        let series = |metric| Series {
            suite: ctx.suite.to_owned(),
            benchmark: benchmark(ctx.suite),
            metric,
            visits: Vec::new(),
            seconds: 0.0,
        };
        Self { series: METRICS.map(series).into(), results: Vec::new(), bad_rounds: 0 }
    }

    fn rounds(&self) -> usize {
        self.results.len()
    }

    fn decided(&self, rule: &Rule) -> bool {
        self.series.iter().filter(|series| series.metric.judged()).all(|series| {
            let ratios: Vec<f64> = series.visits.iter().filter_map(log_ratio).collect();
            series.visits.len() >= VISITS_MAX || rule.decide(&ratios) != Decision::Go
        })
    }

    /// Takes a round; failures when it was one too many that cannot be used.
    fn add(
        &mut self,
        ctx: &LoadContext<'_>,
        first: Side,
        result: RoundResult,
        rate: f64,
    ) -> Option<Vec<Failure>> {
        let failures = faults(ctx, &result, rate);
        if !failures.is_empty() {
            self.bad_rounds += 1;
            return (self.bad_rounds >= BAD_ROUNDS_MAX).then_some(failures);
        }
        let (Some(base), Some(head)) = (result.sides.get(&Side::Base), result.sides.get(&Side::Head)) else {
            let output = "the round's result lacks a side";
            return Some(vec![failure(ctx, None, FailureReason::BadOutput, output)]);
        };
        for series in &mut self.series {
            // Zero stands for "not known", which the verdict leaves out.
            let value = |side: &crate::load::wire::SideResult| match series.metric {
                Metric::LatencyP50 => side.p50_ns as f64,
                Metric::LatencyP99 => side.p99_ns as f64,
                Metric::LatencyP999 => side.p999_ns as f64,
                _ => side.qps_per_core().unwrap_or(0.0),
            };
            series.visits.push(Visit { first, base: value(base), head: value(head) });
        }
        self.results.push(result);
        None
    }

    fn into_series(mut self, spent: Duration) -> Vec<Series> {
        for series in &mut self.series {
            series.seconds = spent.as_secs_f64();
        }
        self.series.retain(|series| series.visits.iter().any(|visit| visit.base > 0.0 && visit.head > 0.0));
        self.series
    }

    /// What the rows do not say: all rounds' latencies together, memory, and what speaks against the figures.
    fn notes(&self, ctx: &LoadContext<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        for side in Side::BOTH {
            let mut pooled = histogram();
            let mut memory = 0;
            for result in self.results.iter().filter_map(|result| result.sides.get(&side)) {
                if let Some(latency) = decode(&result.latency) {
                    // Same bounds on both ends of the wire, so it fits.
                    let _ = pooled.add(&latency);
                }
                memory = memory.max(result.memory_peak_bytes.unwrap_or(0));
            }
            if !pooled.is_empty() {
                let us = |quantile| pooled.value_at_quantile(quantile) as f64 / 1e3;
                notes.push(format!(
                    "{}: {}: p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs of {} requests; memory peak {:.1} MiB",
                    ctx.suite,
                    side.as_str(),
                    us(0.5),
                    us(0.99),
                    us(0.999),
                    pooled.len(),
                    memory as f64 / f64::from(1 << 20),
                ));
            }
        }
        let mut late: Vec<u64> = self.results.iter().map(|result| result.lateness_p99_ns).collect();
        late.sort_unstable();
        if let Some(&late) = late.get(late.len() / 2) {
            notes.push(format!(
                "{}: requests were sent {:.0} µs late at p99, which both sides' latencies contain",
                ctx.suite,
                late as f64 / 1e3
            ));
        }
        if self.results.iter().any(|result| !result.pinned) {
            notes
                .push(format!("{}: servers and generator shared all cores: expect a wide spread", ctx.suite));
        }
        notes
    }
}

/// What makes a round unusable: requests that one or both sides did not answer well, or that were never sent.
fn faults(ctx: &LoadContext<'_>, result: &RoundResult, rate: f64) -> Vec<Failure> {
    let scheduled: u64 = result.sides.values().map(|side| side.scheduled).sum::<u64>() + result.unsent;
    if result.unsent as f64 > scheduled as f64 * UNSENT_SHARE_MAX {
        let output = format!(
            "the generator could not keep {rate:.0} requests a second on this machine: {} of {scheduled} were never sent (p99 of lateness {:.1} ms). This says nothing about the servers: lower the rate, or use rate = \"auto\"",
            result.unsent,
            result.lateness_p99_ns as f64 / 1e6
        );
        return vec![failure(ctx, None, FailureReason::Refused, &output)];
    }
    let bad = result
        .sides
        .iter()
        .filter(|(_, side)| side.failed() as f64 > side.scheduled as f64 * FAILED_SHARE_MAX);
    bad.map(|(&side, of)| {
        let kinds: Vec<String> = of.errors.iter().map(|(kind, n)| format!("{n} {}", kind.title())).collect();
        let slow = of.errors.get(&ErrorKind::Unanswered).is_some_and(|&n| n * 2 > of.failed());
        let why = if slow { "; the server is slower than the schedule" } else { "" };
        let output =
            format!("{} of {} requests failed: {}{why}", of.failed(), of.scheduled, kinds.join(", "));
        failure(ctx, Some(side), FailureReason::BadOutput, &output)
    })
    .collect()
}
