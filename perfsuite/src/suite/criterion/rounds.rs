//! The rounds: every undecided benchmark in turn, in random order, until the rule has decided or the time is over.

use super::Bench;
use super::duet::{self, Plan};
use super::instructions;
use super::inventory::Benchmark;
use super::player::Ended;
use super::process::{self, Broken};
use crate::artifact::{Harness, Stopped, stopped};
use crate::model::wire::{Phase, Progress};
use crate::model::{Failure, FailureReason, Instructions, Metric, Series, Side, Visit};
use crate::verdict::comparison::{CONFIRMED_BY_SIZE, log_ratio};
use crate::verdict::sequential::{LOOKS, VISITS_MAX, VISITS_MIN};
use crate::verdict::{Decision, Rule, judge_ratios};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// A process may take this many times as long as the slowest visit of its benchmark so far: machines stall, but what
/// takes ten times as long hangs.
const PATIENCE: u32 = 10;
/// And at least this long, since short processes vary by more.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// How long, in which order, by which rule.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    pub until: Until<'a>,
    pub seed: u64,
    /// No visit begins after this, nor one that would not end before it.
    pub budget: Duration,
}

/// When a benchmark has been visited often enough.
#[derive(Clone, Copy, Debug)]
pub enum Until<'a> {
    /// The rule has decided, or the cap is reached.
    Decided(&'a Rule),
    /// So many visits, whatever they say: what a rule is tried on must not have been chosen by one.
    Visits(usize),
}

impl Until<'_> {
    /// `ratios` are those of the usable among `visits`, the newest visit included.
    fn reached(self, visits: usize, ratios: &[f64], newest_usable: bool) -> bool {
        match self {
            Until::Visits(wanted) => visits >= wanted,
            Until::Decided(rule) => {
                let at_look = LOOKS.contains(&ratios.len()) && newest_usable;
                // Visits without a usable value bring no look nearer: they count against the cap all the same.
                at_look && rule.decide(ratios) != Decision::Go || visits >= VISITS_MAX
            }
        }
    }

    /// The most visits that a benchmark can get.
    fn visits_max(self) -> usize {
        match self {
            Until::Decided(_) => VISITS_MAX,
            Until::Visits(wanted) => wanted,
        }
    }
}

/// What the rounds have seen.
#[derive(Debug, Default)]
pub struct Measured {
    pub series: Vec<Series>,
    pub failures: Vec<Failure>,
    /// Benchmarks that got no visit, or too few, for want of time.
    pub notes: Vec<String>,
}

/// Measures all benchmarks. Ends early with [`Stopped`] when the observer says so.
///
/// Time is shared evenly: a benchmark that has used its part waits until the others are decided, so that a slow one
/// takes only what is left over.
pub fn measure(bench: &Bench, benchmarks: &[Benchmark], pace: Pace) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let end = begun + pace.budget;
    let share = pace.budget / u32::try_from(benchmarks.len().max(1)).unwrap_or(u32::MAX);
    let mut rng = StdRng::seed_from_u64(pace.seed);
    let mut tracks: Vec<Track> = benchmarks.iter().map(Track::new).collect();
    loop {
        let open: Vec<usize> = (0..tracks.len()).filter(|&i| tracks[i].state == State::Open).collect();
        let mut turn: Vec<usize> = open.iter().copied().filter(|&i| tracks[i].spent < share).collect();
        if turn.is_empty() {
            turn = open;
        }
        if turn.is_empty() {
            break;
        }
        turn.shuffle(&mut rng);
        for index in turn {
            stopped(bench.observer)?;
            progress(bench, &tracks, index, pace.until.visits_max());
            let left = end.saturating_duration_since(Instant::now());
            let track = &mut tracks[index];
            if !track.fits(left) {
                track.state = State::OutOfTime;
                continue;
            }
            track.visit(bench, pace.until, &mut rng, left)?;
        }
    }
    let uncounted = match pace.until {
        Until::Decided(rule) => ask_second_witness(bench, &mut tracks, rule, &mut rng, end)?,
        Until::Visits(_) => 0,
    };
    Ok(outcome(tracks, uncounted))
}

/// Counts the instructions of benchmarks whose time changed by no more than a layout could. How many were left out for
/// want of time.
fn ask_second_witness(
    bench: &Bench,
    tracks: &mut [Track],
    rule: &Rule,
    rng: &mut StdRng,
    end: Instant,
) -> anyhow::Result<usize> {
    let mut uncounted = 0;
    if !instructions::can_count() {
        return Ok(uncounted);
    }
    for track in tracks.iter_mut().filter(|track| track.is_suspect(rule)) {
        stopped(bench.observer)?;
        let Some(plan) = track.plan else { continue };
        bench.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("counting the instructions of {}", track.benchmark.id),
            done: 0,
            total: 0,
        });
        match instructions::count(bench, track.benchmark, &plan, rng, bench.process_limit, end) {
            Ok(Some(counted)) => track.instructions = Some(counted),
            Ok(None) => uncounted += 1,
            Err(Ended::Failed(error)) => return Err(error),
            // What it does under the clock, it need not do under callgrind.
            Err(Ended::Broken { broken, .. }) => {
                let id = &track.benchmark.id;
                bench.observer.log(&format!("{id} cannot be counted: {}", broken.output));
                uncounted += 1;
            }
        }
    }
    Ok(uncounted)
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Open,
    Decided,
    OutOfTime,
    Failed(Failure),
}

/// One benchmark on its way.
struct Track<'a> {
    benchmark: &'a Benchmark,
    state: State,
    visits: Vec<Visit>,
    ratios: Vec<f64>,
    spent: Duration,
    /// The slowest visit so far.
    slowest: Duration,
    /// How it is driven, once that was found out.
    plan: Option<Plan>,
    instructions: Option<Instructions>,
}

impl<'a> Track<'a> {
    fn new(benchmark: &'a Benchmark) -> Self {
        Track {
            benchmark,
            state: State::Open,
            visits: vec![],
            ratios: vec![],
            spent: Duration::ZERO,
            slowest: Duration::ZERO,
            plan: None,
            instructions: None,
        }
    }

    /// Whether another visit ends in time, by the mean of those so far; and, after the first, whether there is time
    /// enough to decide anything at all.
    fn fits(&self, left: Duration) -> bool {
        let Ok(count @ 1..) = u32::try_from(self.visits.len()) else { return !left.is_zero() };
        let mean = self.spent / count;
        let needed = u32::try_from(VISITS_MIN).unwrap_or(u32::MAX).saturating_sub(count).max(1);
        mean * needed <= left
    }

    fn visit(&mut self, bench: &Bench, until: Until, rng: &mut StdRng, left: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        let patience = self.patience(bench);
        // The last visit may end a little late; a hang may not hold up the end.
        let limit = patience.min(left.max(PATIENCE_MIN));
        let outcome = match self.benchmark.base.harness {
            Harness::Duet => self.in_lock_step(bench, rng, limit),
            Harness::Criterion => self.one_after_the_other(bench, rng, limit),
        };
        let visit = match outcome {
            Ok(visit) => visit,
            Err(Ended::Failed(error)) => return Err(error),
            // Cut short by the end of the run, not by its own fault.
            Err(Ended::Broken { broken, .. })
                if broken.reason == FailureReason::TimedOut && limit < patience =>
            {
                self.state = State::OutOfTime;
                return Ok(());
            }
            Err(Ended::Broken { side, broken: Broken { reason, output } }) => {
                bench.observer.log(&format!("{} failed ({})", self.benchmark.id, side.as_str()));
                self.state = State::Failed(Failure {
                    suite: self.benchmark.suite.clone(),
                    benchmark: Some(self.benchmark.id.clone()),
                    side: Some(side),
                    reason,
                    output,
                });
                return Ok(());
            }
        };
        let took = began.elapsed();
        self.spent += took;
        self.slowest = self.slowest.max(took);
        let ratio = log_ratio(&visit);
        self.visits.push(visit);
        self.ratios.extend(ratio);
        if until.reached(self.visits.len(), &self.ratios, ratio.is_some()) {
            self.state = State::Decided;
        }
        Ok(())
    }

    /// Changed, and by no more than placing the same code elsewhere can do.
    fn is_suspect(&self, rule: &Rule) -> bool {
        let judged = judge_ratios(rule, &self.ratios);
        self.state == State::Decided
            && judged.decision == Decision::Changed
            && judged.mean.abs() < CONFIRMED_BY_SIZE.ln_1p()
    }

    fn in_lock_step(&mut self, bench: &Bench, rng: &mut StdRng, limit: Duration) -> Result<Visit, Ended> {
        let plan = match self.plan {
            Some(plan) => plan,
            None => *self.plan.insert(duet::plan(bench, self.benchmark, rng, limit)?),
        };
        duet::visit(bench, self.benchmark, plan, rng, limit)
    }

    fn one_after_the_other(&self, bench: &Bench, rng: &mut StdRng, limit: Duration) -> Result<Visit, Ended> {
        let order = if rng.random_bool(0.5) { Side::BOTH } else { [Side::Head, Side::Base] };
        let mut values = [0.0; 2];
        for side in order {
            let executable = self.benchmark.executable(side);
            match process::visit(bench, side, executable, &self.benchmark.name, limit)?.ok_or(Stopped) {
                Ok(Ok(ns)) => values[side as usize] = ns,
                Ok(Err(broken)) => return Err(Ended::Broken { side, broken }),
                Err(stopped) => return Err(Ended::Failed(stopped.into())),
            }
        }
        Ok(Visit::single(order[0], values[0], values[1]))
    }

    /// How long a process may take before it is taken for one that hangs.
    fn patience(&self, bench: &Bench) -> Duration {
        match self.visits.len() {
            0 => bench.process_limit,
            _ => (self.slowest * PATIENCE).max(PATIENCE_MIN).min(bench.process_limit),
        }
    }
}

/// Counted in visits to the cap; a benchmark that is decided early is done at once.
fn progress(bench: &Bench, tracks: &[Track], index: usize, visits_max: usize) {
    let done: usize = tracks
        .iter()
        .map(|track| if track.state == State::Open { track.visits.len() } else { visits_max })
        .sum();
    let track = &tracks[index];
    bench.observer.progress(Progress {
        phase: Phase::Measuring,
        text: format!("measuring {}, visit {}", track.benchmark.id, track.visits.len() + 1),
        done: done as u64,
        total: (tracks.len() * visits_max) as u64,
    });
}

fn outcome(tracks: Vec<Track>, uncounted: usize) -> Measured {
    let mut measured = Measured::default();
    let mut unfinished = 0;
    for track in tracks {
        unfinished += usize::from(track.state == State::OutOfTime);
        match track.state {
            State::Failed(failure) => measured.failures.push(failure),
            _ => measured.series.push(Series {
                suite: track.benchmark.suite.clone(),
                benchmark: track.benchmark.id.clone(),
                metric: Metric::Time,
                visits: track.visits,
                seconds: crate::artifact::to_millis(track.spent),
                instructions: track.instructions,
            }),
        }
    }
    if unfinished > 0 {
        measured.notes.push(format!("the time was over before {unfinished} benchmarks were decided"));
    }
    if uncounted > 0 {
        measured.notes.push(format!("the instructions of {uncounted} benchmarks could not be counted"));
    }
    measured
}
