//! Suites of kind `load`: rounds of two live servers, repeated until latency and capacity are decided.

mod play;
mod profile;
mod same;
mod seen;
mod totals;

pub use profile::{profile, rate};
pub use same::identical;
pub use totals::Totals;

use crate::{
    load::wire::{RoundFailure, RoundOutcome, RoundTask},
    model::{
        BenchmarkId, Failure, FailureReason, LoadSuite, Metric, Series, Side,
        job::Rate,
        scenario::{Knee, Scenario},
        wire::{Phase, Progress},
    },
    observe::Observer,
    sandbox::Sandbox,
    verdict::{Rule, VISITS_MAX},
};
use play::play;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use seen::Seen;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::Path,
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
/// The search for the rate: one probe, and all of them.
const PROBE_MS: u64 = 500;
const KNEE_LIMIT_MS: u64 = 18_000;
/// The same with the server's start.
const KNEE_TIME: Duration = Duration::from_secs(60);
/// Least time for a search beside the rounds: all of its probes, and a server's start on a busy machine.
const KNEE_LEAST: Duration = Duration::from_secs(25);
/// `rate = "auto"` is this part of the knee: far enough below it that queues are short.
const SHARE_OF_KNEE: f64 = 0.5;
/// The least rate, and the one when no probe was good: the rounds then say what is wrong.
const RATE_FALLBACK: f64 = 100.0;

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
    /// Nothing starts after this.
    pub deadline: Instant,
    /// Most of this scenario, however far away the deadline is: [`SCENARIO_LIMIT`] in a run.
    pub limit: Duration,
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
    /// What speaks against the figures, for the environment's warnings.
    pub notes: Vec<String>,
    /// Requests a second that were sent; zero when none was.
    pub rate_per_second: f64,
    /// All rounds of a side together.
    pub sides: BTreeMap<Side, Totals>,
    /// How late requests were handed out at p99, in the middle one of the rounds.
    pub lateness_p99_ns: u64,
    /// CPU time of the generator for a request.
    pub generator_cpu_ns: Option<f64>,
    /// How much each side sustains, where the rate was searched.
    pub knees: BTreeMap<Side, Knee>,
}

impl LoadOutcome {
    /// What is kept of it beside the series; `None` where nothing was measured.
    pub fn scenario(&self, ctx: &LoadContext<'_>) -> Option<Scenario> {
        let side = |(side, totals): (&Side, &Totals)| (*side, totals.side(self.knees.get(side).cloned()));
        (!self.sides.is_empty()).then(|| Scenario {
            suite: ctx.suite.to_owned(),
            rate_per_second: self.rate_per_second,
            p99_limit_ms: ctx.load.p99_limit_ms,
            lateness_p99_ns: self.lateness_p99_ns,
            sides: self.sides.iter().map(side).collect(),
        })
    }
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
    let begun = Instant::now();
    let deadline = ctx.deadline.min(begun + ctx.limit);
    let mut rng = StdRng::seed_from_u64(ctx.seed);
    let (rate, knee) = match rate_of(ctx, &mut rng) {
        Ok(found) => found,
        Err(Halt::Stopped) => return outcome,
        Err(Halt::Failed(failed)) => {
            outcome.failures.push(failed);
            return outcome;
        }
    };
    outcome.rate_per_second = rate;
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
            // It was ready in other rounds: once, that is a hiccup of the machine.
            Ok(RoundOutcome::Failed(failed))
                if failed.reason == FailureReason::NotReady && seen.rounds() > 0 && seen.forgives() =>
            {
                ctx.observer.log(&format!("{}: a round was left out: {}", ctx.suite, failed.output));
                continue;
            }
            Ok(RoundOutcome::Failed(failed)) => {
                outcome.failures.push(of_round(ctx.suite, failed));
                return outcome;
            }
            Ok(RoundOutcome::Knee(_) | RoundOutcome::Ready { .. }) => {
                let output = "the round answered what it was not asked";
                outcome.failures.push(failure(ctx.suite, None, FailureReason::BadOutput, output));
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
    if let Some(faults) = seen.only_faults() {
        outcome.failures = faults.to_vec();
        return outcome;
    }
    outcome.sides = seen.totals();
    outcome.generator_cpu_ns = seen.generator_cpu_ns();
    outcome.lateness_p99_ns = seen.lateness_p99_ns().unwrap_or(0);
    outcome.notes.extend(seen.notes(ctx, &outcome.sides));
    if let Some(knee) = knee {
        outcome.knees.insert(Side::Base, knee);
        outcome.knees.extend(heads_knee(ctx, &mut rng).map(|knee| (Side::Head, knee)));
    }
    outcome.series = seen.into_series(measured_from.elapsed());
    outcome
}

/// The largest rate that each side by itself sustains with its p99 under the scenario's limit, and the way there.
pub fn knees(ctx: &LoadContext<'_>) -> Result<BTreeMap<Side, Knee>, Failure> {
    let mut rng = StdRng::seed_from_u64(ctx.seed);
    let mut sides = Side::BOTH;
    sides.shuffle(&mut rng);
    let mut knees = BTreeMap::new();
    for side in sides {
        ctx.observer.log(&format!("{}: looking for the rate that the {} sustains", ctx.suite, side.as_str()));
        let output = match play(ctx, &[side], knee_task(ctx), rng.random(), Instant::now() + KNEE_TIME) {
            Ok(RoundOutcome::Knee(knee)) => {
                knees.insert(side, knee);
                continue;
            }
            Ok(RoundOutcome::Failed(failed)) => return Err(of_round(ctx.suite, failed)),
            Ok(RoundOutcome::Measured(_) | RoundOutcome::Ready { .. }) => {
                "the search for the rate answered what it was not asked"
            }
            Err(Halt::Failed(failed)) => return Err(failed),
            Err(Halt::Stopped) => "the search for the rate was stopped",
        };
        return Err(failure(ctx.suite, Some(side), FailureReason::BadOutput, output));
    }
    Ok(knees)
}

/// The head's, to stand beside the base's; `None` where there is no time left for it, and where it failed: that it is
/// slower or breaks is for the rounds to say.
fn heads_knee(ctx: &LoadContext<'_>, rng: &mut StdRng) -> Option<Knee> {
    if ctx.deadline.saturating_duration_since(Instant::now()) < KNEE_LEAST {
        return None;
    }
    ctx.observer.log(&format!("{}: looking for the rate that the head sustains", ctx.suite));
    match play(ctx, &[Side::Head], knee_task(ctx), rng.random(), ctx.deadline) {
        Ok(RoundOutcome::Knee(knee)) => Some(knee),
        Ok(_) | Err(_) => None,
    }
}

fn knee_task(ctx: &LoadContext<'_>) -> RoundTask {
    let p99_limit_ns = (ctx.load.p99_limit_ms.max(0.0) * 1e6) as u64;
    RoundTask::Knee { p99_limit_ns, probe_ms: PROBE_MS, limit_ms: KNEE_LIMIT_MS }
}

/// Why no more rounds are played.
enum Halt {
    /// By the observer, or because there is no time left for a round.
    Stopped,
    Failed(Failure),
}

/// The scenario's rate; where it says `auto`, with the base's knee, of which it is a part.
fn rate_of(ctx: &LoadContext<'_>, rng: &mut StdRng) -> Result<(f64, Option<Knee>), Halt> {
    if let Rate::PerSecond(rate) = ctx.load.rate {
        return if rate.is_finite() && rate > 0.0 {
            Ok((rate, None))
        } else {
            let output = format!("rate = {rate} is not a number of requests a second");
            Err(Halt::Failed(failure(ctx.suite, None, FailureReason::Refused, &output)))
        };
    }
    ctx.observer.log(&format!("{}: looking for the rate that the base sustains", ctx.suite));
    match play(ctx, &[Side::Base], knee_task(ctx), rng.random(), ctx.deadline)? {
        RoundOutcome::Knee(knee) => {
            let rate = (knee.rate_per_second * SHARE_OF_KNEE).max(RATE_FALLBACK);
            ctx.observer.log(&knee_note(ctx, &knee, rate));
            Ok((rate, Some(knee)))
        }
        RoundOutcome::Failed(failed) => Err(Halt::Failed(of_round(ctx.suite, failed))),
        RoundOutcome::Measured(_) | RoundOutcome::Ready { .. } => {
            let output = "the search for the rate answered what it was not asked";
            Err(Halt::Failed(failure(ctx.suite, None, FailureReason::BadOutput, output)))
        }
    }
}

fn knee_note(ctx: &LoadContext<'_>, knee: &Knee, rate: f64) -> String {
    if knee.rate_per_second == 0.0 {
        return format!("{}: the base answered at no rate; {rate:.0} requests a second are used", ctx.suite);
    }
    format!(
        "{}: {rate:.0} requests a second, about half of the {:.0} that the base sustains with a p99 under {}; {}",
        ctx.suite,
        knee.rate_per_second,
        knee.limit(ctx.load.p99_limit_ms),
        knee.limited_by.in_words()
    )
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

fn failure(suite: &str, side: Option<Side>, reason: FailureReason, output: &str) -> Failure {
    Failure {
        suite: suite.to_owned(),
        benchmark: Some(benchmark(suite)),
        side,
        reason,
        output: output.to_owned(),
    }
}

fn of_round(suite: &str, failed: RoundFailure) -> Failure {
    failure(suite, failed.side, failed.reason, &failed.output)
}
