//! Where the CPU time of a request goes: both servers are sampled under one schedule, request by request by a coin.

use super::play::play_watched;
use super::{Halt, LoadContext, WARMUP_MS, benchmark};
use crate::artifact::Stopped;
use crate::load::wire::{RoundOutcome, RoundTask};
use crate::model::Side;
use crate::model::profile::{Profile, ProfileVisit, WorkUnit};
use crate::model::wire::{Phase, Progress};
use crate::profile::session::recorded;
use crate::profile::{Begin, Place, Recorder, Session, Subject};
use crate::sandbox::Running;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One round's schedule: at half of the knee some thousand samples of each side.
const WINDOW_MS: u64 = 2_000;

/// The scenario's rate, searched where it says `auto`, as before a measurement. `None`: it was stopped.
pub fn rate(ctx: &LoadContext<'_>) -> Option<Result<f64, String>> {
    let found = super::rate_of(ctx, &mut StdRng::seed_from_u64(ctx.seed)).map(|(rate, _)| rate);
    match found {
        Ok(rate) => Some(Ok(rate)),
        Err(Halt::Failed(failed)) => Some(Err(failed.output)),
        Err(Halt::Stopped) => None,
    }
}

/// Samples a scenario at a rate, in so many rounds. The inner error says why there is no profile.
pub fn profile(
    ctx: &LoadContext<'_>,
    sides: &[Side],
    rate_per_second: f64,
    rounds: usize,
    budget: Duration,
) -> anyhow::Result<Result<Profile, String>> {
    if let Err(reason) = crate::profile::available() {
        return Ok(Err(reason));
    }
    let begun = Instant::now();
    let recorder = Recorder::shared();
    let mut rng = StdRng::seed_from_u64(ctx.seed);
    for round in 0..rounds {
        if round > 0 && begun.elapsed() > budget {
            break;
        }
        ctx.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("profiling {}", ctx.suite),
            done: round as u64,
            total: rounds as u64,
        });
        let mut order = sides.to_vec();
        order.shuffle(&mut rng);
        let task = RoundTask::Watched { rate_per_second, warmup_ms: WARMUP_MS, window_ms: WINDOW_MS };
        let mut session = None;
        let mut attach = |running: &Running, processes: BTreeMap<Side, u32>| {
            session = Some(sample(ctx, &recorder, running, &processes));
        };
        let deadline = Instant::now() + budget;
        let played = play_watched(ctx, &order, task, rng.random(), deadline, &mut attach);
        if let Some(Err(reason)) = session {
            return Ok(Err(reason));
        }
        let result = match played {
            Ok(RoundOutcome::Measured(result)) => result,
            Ok(RoundOutcome::Failed(failed)) => return Ok(Err(failed.output)),
            Ok(_) => return Ok(Err("the round answered what it was not asked".into())),
            Err(Halt::Failed(failed)) => return Ok(Err(failed.output)),
            Err(Halt::Stopped) if ctx.observer.stopped() => anyhow::bail!(Stopped),
            Err(Halt::Stopped) => break,
        };
        if let Some(Ok(session)) = session {
            session.finish();
        }
        let answered = |side| result.sides.get(&side).map_or(0.0, |side| side.answered as f64);
        let visit = ProfileVisit { base: answered(Side::Base), head: answered(Side::Head) };
        recorder.lock().unwrap_or_else(PoisonError::into_inner).visited(visit);
    }
    Ok(Ok(recorded(recorder).into_profile(ctx.suite, &benchmark(ctx.suite), WorkUnit::Request)))
}

/// Samples the servers from now on.
fn sample(
    ctx: &LoadContext<'_>,
    recorder: &Arc<Mutex<Recorder>>,
    running: &Running,
    processes: &BTreeMap<Side, u32>,
) -> Result<Session, String> {
    let seen_from_here = numbers(running);
    let subjects = processes.iter().map(|(side, inside)| {
        let files = if *side == Side::Base { ctx.base } else { ctx.head };
        let place = |seen: String, host: &std::path::Path| Place { seen: seen.into(), host: host.to_owned() };
        let name = side.as_str();
        Subject {
            side: *side,
            processes: seen_from_here.get(inside).copied().into_iter().collect(),
            places: vec![
                place(format!("/build/{name}/target"), files.target),
                place(format!("/build/{name}/src"), files.checkout),
                place(files.target.display().to_string(), files.target),
                place(files.checkout.display().to_string(), files.checkout),
            ],
        }
    });
    let session = Session::attach(recorder, &subjects.collect::<Vec<_>>(), Begin::WhenEnabled)?;
    for side in processes.keys() {
        session.enable(*side).map_err(|error| format!("sampling cannot be switched on: {error}"))?;
    }
    Ok(session)
}

/// Process ids here, by what they are inside the walls: the last number of `NSpid`.
fn numbers(running: &Running) -> BTreeMap<u32, u32> {
    let inside = |outside: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{outside}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_ascii_whitespace().next_back()?.parse::<u32>().ok()
    };
    running.pids().into_iter().filter_map(|outside| Some((inside(&outside)?, outside))).collect()
}
