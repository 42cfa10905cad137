//! The rounds: every undecided benchmark in turn, in random order, until the rule has decided or the time is over.

use super::Bench;
use super::duet::{self, Plan};
use super::instructions::{self, Bounds};
use super::inventory::Benchmark;
use super::player::Ended;
use super::process::{self, Broken};
use crate::artifact::{Harness, Stopped, stopped};
use crate::model::wire::{Phase, Progress};
use crate::model::{Failure, FailureReason, Instructions, Series, Side, Visit};
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

/// Of the time for measuring, what counting instructions of benchmarks may take whose time is not suspect.
const OTHERS_COUNTED_MAX: f64 = 0.2;
/// Set-up of a process that is worth a word: it is paid on both sides of every visit.
const REACHED_MAX: Duration = Duration::from_millis(500);
/// Of a base against itself: enough to tell a spread of 4 % from one of 3.
const CALIBRATION_VISITS: usize = 20;
/// Benchmarks named in a note.
const NAMED_MAX: usize = 5;

/// How long, in which order, by which rule.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    pub until: Until<'a>,
    pub seed: u64,
    /// No visit begins after this, nor one that would not end before it.
    pub budget: Duration,
    /// Of what is left of it, so much may go to bases against themselves.
    pub calibrating: Duration,
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
    /// Bases against themselves.
    pub calibration: Vec<Series>,
    pub failures: Vec<Failure>,
    /// Benchmarks that got no visit, or too few, for want of time; and what is special about some.
    pub notes: Vec<String>,
    /// Of all the time, what counting instructions took.
    pub counting: Duration,
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
    let (mut counting, mut calibration) = (Counting::default(), vec![]);
    if let Until::Decided(rule) = pace.until {
        counting = ask_second_witness(bench, &mut tracks, rule, pace.budget, &mut rng, end)?;
        let end = end.min(Instant::now() + pace.calibrating);
        calibration = calibrate(bench, &tracks, rule, &mut rng, end)?;
    }
    Ok(Measured { calibration, ..outcome(tracks, &counting) })
}

/// Measures bases against themselves in the time that is left: first of benchmarks that got slower, whose slowdown
/// counts for more the better is known what this machine makes of nothing.
fn calibrate(
    bench: &Bench,
    tracks: &[Track],
    rule: &Rule,
    rng: &mut StdRng,
    end: Instant,
) -> anyhow::Result<Vec<Series>> {
    let mut chosen: Vec<&Track> = tracks
        .iter()
        .filter(|track| matches!(track.state, State::Decided) && !track.benchmark.unaffected)
        .collect();
    chosen.shuffle(rng);
    chosen.sort_by_key(|track| {
        let judged = judge_ratios(rule, &track.ratios);
        !(judged.decision == Decision::Changed && judged.mean > 0.0)
    });
    // Copies of the base's executable play both sides: not among those of the head's.
    let copies = bench.copies.join("against-itself");
    let bench = Bench { head: bench.base, copies: &copies, ..*bench };
    let mut calibration = Vec::new();
    for track in chosen {
        stopped(bench.observer)?;
        let (spent, count) = (track.spent, u32::try_from(track.visits.len()).unwrap_or(u32::MAX).max(1));
        let visits = u32::try_from(CALIBRATION_VISITS).unwrap_or(u32::MAX);
        if Instant::now() + spent / count * visits > end {
            continue;
        }
        bench.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("measuring the base of {} against itself", track.benchmark.id),
            done: 0,
            total: 0,
        });
        let itself = Benchmark { head: track.benchmark.base.clone(), ..track.benchmark.clone() };
        let mut own = Track { plan: track.plan, slowest: track.slowest, ..Track::new(&itself) };
        while own.state == State::Open {
            let left = end.saturating_duration_since(Instant::now());
            own.visit(&bench, Until::Visits(CALIBRATION_VISITS), rng, left.max(PATIENCE_MIN))?;
        }
        // What fails against itself failed for reasons of the machine, and says nothing.
        if own.state == State::Decided {
            calibration.push(own.into_series());
        }
    }
    Ok(calibration)
}

/// What asking the second witness came to.
#[derive(Default)]
struct Counting {
    took: Duration,
    /// Benchmarks that changed in time and could not be counted.
    suspects_left: usize,
    /// Others whose code changed, and for which there was no time.
    others_left: usize,
}

/// Counts the instructions of benchmarks whose time changed by no more than a layout could; then, as far as a part of
/// the time goes, of those whose time did not change and whose code did: they may do more in the same time.
fn ask_second_witness(
    bench: &Bench,
    tracks: &mut [Track],
    rule: &Rule,
    budget: Duration,
    rng: &mut StdRng,
    end: Instant,
) -> anyhow::Result<Counting> {
    let began = Instant::now();
    let mut counting = Counting::default();
    if !instructions::can_count() {
        return Ok(counting);
    }
    let (mut suspects, mut others) = (vec![], vec![]);
    for (index, track) in tracks.iter().enumerate() {
        match track.is_suspect(rule) {
            true => suspects.push(index),
            false if track.may_do_more(rule) => others.push(index),
            false => {}
        }
    }
    // Where they do not all get their turn, each is as likely to as any other.
    others.shuffle(rng);
    let last = suspects.len();
    suspects.append(&mut others);
    let mut others_end = end;
    for (place, index) in suspects.into_iter().enumerate() {
        stopped(bench.observer)?;
        if place == last {
            others_end = end.min(Instant::now() + budget.mul_f64(OTHERS_COUNTED_MAX));
        }
        let suspect = place < last;
        let bounds =
            Bounds { patience: bench.process_limit, end: if suspect { end } else { others_end }, suspect };
        let left = if suspect { &mut counting.suspects_left } else { &mut counting.others_left };
        *left += usize::from(!tracks[index].count(bench, rng, bounds)?);
    }
    counting.took = began.elapsed();
    Ok(counting)
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

    /// Not changed in time, as far as is known, though its code is another.
    fn may_do_more(&self, rule: &Rule) -> bool {
        let ended = matches!(self.state, State::Decided | State::OutOfTime);
        let unchanged = judge_ratios(rule, &self.ratios).decision != Decision::Changed;
        ended && unchanged && !self.benchmark.unaffected && self.plan.is_some()
    }

    /// Whether its instructions were counted.
    fn count(&mut self, bench: &Bench, rng: &mut StdRng, bounds: Bounds) -> anyhow::Result<bool> {
        let Some(plan) = self.plan else { return Ok(false) };
        if Instant::now() >= bounds.end {
            return Ok(false);
        }
        bench.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("counting the instructions of {}", self.benchmark.id),
            done: 0,
            total: 0,
        });
        match instructions::count(bench, self.benchmark, &plan, rng, bounds) {
            Ok(Some(counted)) => self.instructions = Some(counted),
            Ok(None) => return Ok(false),
            Err(Ended::Failed(error)) => return Err(error),
            // What it does under the clock, it need not do under callgrind.
            Err(Ended::Broken { broken, .. }) => {
                let id = &self.benchmark.id;
                bench.observer.log(&format!("{id} cannot be counted: {}", broken.output));
                return Ok(false);
            }
        }
        Ok(true)
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

    fn into_series(self) -> Series {
        Series {
            suite: self.benchmark.suite.clone(),
            benchmark: self.benchmark.id.clone(),
            metric: self.benchmark.metric,
            visits: self.visits,
            seconds: crate::artifact::to_millis(self.spent),
            instructions: self.instructions,
        }
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

fn outcome(tracks: Vec<Track>, counting: &Counting) -> Measured {
    let mut measured = Measured { counting: counting.took, ..Measured::default() };
    let mut unfinished = 0;
    let (mut growing, mut dear) = (vec![], vec![]);
    for track in tracks {
        unfinished += usize::from(track.state == State::OutOfTime);
        if let Some(plan) = &track.plan {
            growing.extend(plan.grows().then(|| track.benchmark.id.0.clone()));
            dear.extend((plan.reached() > REACHED_MAX).then(|| track.benchmark.id.0.clone()));
        }
        match &track.state {
            State::Failed(failure) => measured.failures.push(failure.clone()),
            _ => measured.series.push(track.into_series()),
        }
    }
    let notes = &mut measured.notes;
    if unfinished > 0 {
        notes.push(format!("the time was over before {unfinished} benchmarks were decided"));
    }
    if counting.suspects_left > 0 {
        let left = counting.suspects_left;
        notes.push(format!("the instructions of {left} benchmarks could not be counted"));
    }
    if counting.others_left > 0 {
        notes.push(format!(
            "the instructions of {} benchmarks whose time did not change were not counted: there was no time left for that",
            counting.others_left
        ));
    }
    if !growing.is_empty() {
        notes.push(format!(
            "what these iterate on grows as they run, so every batch of theirs begins afresh: {}",
            named(&growing)
        ));
    }
    if !dear.is_empty() {
        notes.push(format!(
            "these set up for more than {} ms before they can be measured, in each process, so that a visit costs much: {}",
            REACHED_MAX.as_millis(),
            named(&dear)
        ));
    }
    measured
}

fn named(names: &[String]) -> String {
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names[..names.len().min(NAMED_MAX)].join(", "))
}
