//! Where the time of one benchmark goes: both sides do the same iterations in turns, and are sampled while they do.

use super::duet::{self, Plan, either_order};
use super::listing::list;
use super::player::{Ended, Player};
use super::process::BENCH_INSIDE;
use super::same_code::{Listing, touched};
use super::{Bench, Benchmark};
use crate::artifact::{Harness, stopped};
use crate::model::profile::{Profile, ProfileVisit, Touched, WorkUnit};
use crate::model::wire::{Phase, Progress};
use crate::model::{Metric, Side};
use crate::profile::session::recorded;
use crate::profile::{Begin, Place, Recorder, Session, Subject};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// Iterations of one turn: long against a turn between two processes, short against what disturbs a machine.
const TURN: Duration = Duration::from_millis(10);
/// Of each side in a visit, when its iterations are not longer than that.
const SIDE: Duration = Duration::from_millis(240);
/// Fresh states in a visit.
const STATES: u32 = 3;

/// How much is sampled.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Processes of each side.
    pub visits: usize,
    /// No visit begins after this.
    pub budget: Duration,
    pub seed: u64,
}

impl Default for Effort {
    /// Sixteen visits are some 8,000 samples of each side, in ten seconds: a function with a tenth of the time is known
    /// to within 10 %.
    fn default() -> Self {
        Effort { visits: 16, budget: Duration::from_secs(20), seed: 1 }
    }
}

/// Samples one benchmark on `sides`, base and head or one of them. The inner error says why there is no profile.
pub fn profile(
    bench: &Bench,
    benchmark: &Benchmark,
    sides: &[Side],
    effort: Effort,
) -> anyhow::Result<Result<Profile, String>> {
    let harness = |side: &Side| benchmark.executable(*side).harness;
    if benchmark.metric != Metric::Time || sides.iter().any(|side| harness(side) == Harness::Criterion) {
        return Ok(Err("only benchmarks that run in lock-step can be profiled".into()));
    }
    if let Err(reason) = crate::profile::available() {
        return Ok(Err(reason));
    }
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(effort.seed);
    let recorder = Recorder::shared();
    let mut work: Option<(Plan, Work)> = None;
    for visit in 0..effort.visits {
        stopped(bench.observer)?;
        if visit > 0 && begun.elapsed() > effort.budget {
            break;
        }
        bench.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("profiling {}", benchmark.id),
            done: visit as u64,
            total: effort.visits as u64,
        });
        let mut attempt = || -> Result<(), Stop> {
            let (plan, work) = match work {
                Some(work) => work,
                None => {
                    let plan = duet::plan(bench, benchmark, &mut rng, bench.process_limit)?;
                    *work.insert((plan, Work::of(bench, benchmark, plan, sides, &mut rng)?))
                }
            };
            let stage = Stage { bench, benchmark, sides, plan, work };
            let done = stage.visit(&recorder, &mut rng)?;
            recorder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).visited(done);
            Ok(())
        };
        match attempt() {
            Ok(()) => {}
            Err(Stop::Refused(reason)) => return Ok(Err(reason)),
            Err(Stop::Ended(Ended::Failed(error))) => return Err(error),
            Err(Stop::Ended(Ended::Broken { side, broken })) => {
                return Ok(Err(format!(
                    "the {} failed while it was sampled: {}",
                    side.as_str(),
                    broken.output
                )));
            }
        }
    }
    let mut profile = recorded(recorder).into_profile(&benchmark.suite, &benchmark.id, WorkUnit::Iteration);
    if sides.len() == 2 {
        match what_changed(bench, benchmark)? {
            Ok(touched) => profile.touched = Some(touched),
            Err(reason) => profile.notes.push(format!("what the change touched is not known: {reason}")),
        }
    }
    Ok(Ok(profile))
}

/// Why a visit came to nothing.
enum Stop {
    Refused(String),
    Ended(Ended),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Stop::Ended(ended)
    }
}

/// The same for both sides in all visits.
#[derive(Clone, Copy)]
struct Work {
    /// Of one turn.
    iterations: u64,
    /// On each state.
    turns: u32,
}

impl Work {
    /// By what a batch takes on one side.
    fn of(
        bench: &Bench,
        benchmark: &Benchmark,
        plan: Plan,
        sides: &[Side],
        rng: &mut StdRng,
    ) -> Result<Work, Ended> {
        let side = sides.first().copied().unwrap_or(Side::Base);
        let until = Instant::now() + bench.process_limit;
        let seed = rng.random();
        let mut player = duet::start(bench, benchmark, side, seed, rng, until)?;
        player.ready()?;
        player.state()?;
        let mut took = player.run(plan.iterations())?;
        if !plan.grows() {
            took = player.run(plan.iterations())?;
        }
        Ok(Work::sized(took.wall_ns, plan.iterations(), plan.grows()))
    }

    fn sized(batch_ns: f64, iterations: u64, grows: bool) -> Work {
        let per_batch = |time: Duration| time.as_nanos() as f64 / batch_ns.max(1.0);
        // A state that grows as it is worked on is given no more than was measured.
        let batches = if grows { 1.0 } else { per_batch(TURN).clamp(1.0, 1_000.0).floor() };
        let turns = (per_batch(SIDE) / batches / f64::from(STATES)).clamp(1.0, 200.0);
        Work {
            iterations: iterations.saturating_mul(batches as u64),
            turns: if grows { 1 } else { turns as u32 },
        }
    }

    fn states(self, grows: bool, batch_limit: u32) -> u32 {
        if grows { batch_limit } else { STATES }
    }
}

/// One visit's cast.
struct Stage<'a> {
    bench: &'a Bench<'a>,
    benchmark: &'a Benchmark,
    sides: &'a [Side],
    plan: Plan,
    work: Work,
}

impl Stage<'_> {
    fn visit(
        &self,
        recorder: &std::sync::Arc<std::sync::Mutex<Recorder>>,
        rng: &mut StdRng,
    ) -> Result<ProfileVisit, Stop> {
        crate::disk::empty(self.bench.scratch).map_err(|error| Ended::Failed(error.into()))?;
        let _pinned = if self.plan.is_pinned() { duet::pin(rng) } else { None };
        let until = Instant::now() + self.bench.process_limit;
        let seed = rng.random();
        let mut order = self.sides.to_vec();
        order.shuffle(rng);
        let mut players: Vec<(Side, Player)> = Vec::with_capacity(order.len());
        for side in &order {
            players.push((*side, duet::start(self.bench, self.benchmark, *side, seed, rng, until)?));
        }
        let mut calls = Vec::new();
        for (_, player) in &mut players {
            calls.push(player.ready()?);
        }
        if let [one, other] = calls[..]
            && one != other
        {
            return Err(players[1].1.iterates_otherwise(other, one).into());
        }
        let subjects = players.iter().map(|(side, player)| self.subject(*side, player));
        let subjects = subjects.collect::<Result<Vec<Subject>, Ended>>()?;
        let session = Session::attach(recorder, &subjects, Begin::WhenEnabled).map_err(Stop::Refused)?;
        let mut done = [0_u64; 2];
        // As many states as a visit of the clock has, where each is good for one batch only.
        for _ in 0..self.work.states(self.plan.grows(), 20) {
            for (_, player) in &mut players {
                player.state()?;
            }
            if !self.plan.grows() {
                for (_, player) in &mut players {
                    player.run(self.plan.iterations())?;
                }
            }
            let mut turns = either_order(rng).to_vec();
            for _ in 0..self.work.turns {
                for turn in &turns {
                    let Some((side, player)) = players.iter_mut().find(|(side, _)| side == turn) else {
                        continue;
                    };
                    let on = |error: std::io::Error| {
                        Stop::Refused(format!("sampling cannot be switched: {error}"))
                    };
                    session.enable(*side).map_err(on)?;
                    let ran = player.run(self.work.iterations);
                    session.disable(*side).map_err(on)?;
                    ran?;
                    done[*side as usize] += self.work.iterations;
                }
                turns.reverse();
            }
        }
        session.finish();
        Ok(ProfileVisit { base: done[0] as f64, head: done[1] as f64 })
    }

    fn subject(&self, side: Side, player: &Player) -> Result<Subject, Ended> {
        let program = &self.benchmark.executable(side).program;
        let mut places = vec![Place { seen: BENCH_INSIDE.into(), host: program.clone() }];
        // Without walls it is seen where its copy lies.
        let copies = duet::places_of_copies(self.bench, self.benchmark, side)?;
        places.extend(copies.into_iter().map(|seen| Place { seen, host: program.clone() }));
        Ok(Subject { side, processes: player.processes(), places })
    }
}

/// What the change touched of what the benchmark can reach. The inner error says why that is not known.
fn what_changed(bench: &Bench, benchmark: &Benchmark) -> anyhow::Result<Result<Touched, String>> {
    let mut listings = Vec::new();
    for side in Side::BOTH {
        let executable = benchmark.executable(side);
        match list(bench, side, executable)? {
            Some(Ok(announced)) => {
                listings.push(Listing { executable: executable.clone(), listed: announced.benchmarks });
            }
            Some(Err(broken)) => return Ok(Err(broken.output)),
            None => anyhow::bail!(crate::artifact::Stopped),
        }
    }
    let [base, head] = &listings[..] else { return Ok(Err("a side is missing".into())) };
    Ok(touched(base, head, &benchmark.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_turns_of_ten_milliseconds() {
        for (batch_ns, iterations, grows, expect) in [
            (1e6, 1_000, false, (10_000, 8)),
            (5e6, 7, false, (14, 8)),
            (1e9, 1, false, (1, 1)),
            (1e6, 100, true, (100, 1)),
            (0.0, 1 << 24, false, (1_000 << 24, 200)),
        ] {
            let work = Work::sized(batch_ns, iterations, grows);
            assert_eq!((work.iterations, work.turns), expect, "{batch_ns} {grows}");
        }
    }
}
