//! A visit in lock-step: a fresh process of each side, which take turns batch by batch.
//!
//! Whatever disturbs the machine for longer than a batch of about a millisecond disturbs both sides alike. Which process
//! is loaded, set up and warmed up first is drawn anew for each, since a fixed order alone makes identical code differ;
//! pairs of batches follow each other as ABBA; the benchmark's state is made several times within a visit, because the
//! places that an allocator finds matter too; and each process runs from a fresh copy of its executable, since so
//! do the pages that it is loaded into.

use super::player::{Ended, Part, Player, Took};
use super::{Bench, Benchmark};
use crate::load::affinity::{self, Pinned};
use crate::model::{Side, Visit};
use crate::sandbox::sys;
use anyhow::Context;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One batch. Long against the clock (25 ns a reading) and a turn between two processes on one core (10 µs), short
/// against what disturbs a machine.
const BATCH: Duration = Duration::from_millis(1);
/// A batch with all its set-up; where inputs are dear, fewer iterations are timed.
const BATCH_WALL_MAX: Duration = Duration::from_millis(5);
/// The batches of a visit together, when each is about [`BATCH`].
const VISIT: Duration = Duration::from_millis(50);
/// States and pairs in each, the fullest first; a slow benchmark gets the first that fits into [`VISIT`].
const SHAPES: [(u32, u32); 6] = [(5, 4), (5, 2), (3, 2), (2, 2), (2, 1), (1, 1)];
/// A routine that takes longer than this needs no warming up.
const COLD: Duration = Duration::from_millis(25);
/// Batches on one state that are watched for growth: a visit's.
const GROWTH_BATCHES: usize = 5;
/// The last of them against the second; less than that is caches and noise.
const GROWTH_MIN: f64 = 1.5;
/// Places for copies of an executable, of both sides together; the one that a process is to run from is made anew.
const COPIES: u32 = 12;
/// Iterations of a batch: a nanosecond each is as fast as anything is.
const ITERATIONS_MAX: u64 = 1 << 24;

/// How a benchmark is visited: found out once, on the base, and used for both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    iterations: u64,
    states: u32,
    pairs: u32,
    warmed: bool,
    /// On one core, with whoever drives it. Not where it has threads of its own.
    pinned: bool,
    /// Its state grows as it runs: every batch gets a fresh one.
    grows: bool,
    /// From the start of a process to where its benchmark is reached, with the set-up on the way.
    reached: Duration,
}

impl Plan {
    pub(super) fn grows(&self) -> bool {
        self.grows
    }

    /// Iterations of a batch.
    pub(super) fn iterations(&self) -> u64 {
        self.iterations
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pinned
    }

    pub(super) fn reached(&self) -> Duration {
        self.reached
    }

    /// Iterations that fit into a time shorter than a batch's; at least one.
    pub(super) fn iterations_within(&self, limit: Duration) -> u64 {
        ((self.iterations as f64 * (nanos(limit) / nanos(BATCH)).min(1.0)) as u64).max(1)
    }
}

/// Runs the base alone, to see what an iteration and a state cost.
pub(super) fn plan(
    bench: &Bench,
    benchmark: &Benchmark,
    rng: &mut StdRng,
    patience: Duration,
) -> Result<Plan, Ended> {
    let began = Instant::now();
    let until = began + patience;
    let seed = rng.random();
    let mut player = start(bench, benchmark, Side::Base, seed, rng, until)?;
    player.ready()?;
    let reached = began.elapsed();
    let began = Instant::now();
    player.state()?;
    let state_ns = nanos(began.elapsed());
    // The first iteration pays for what is done once in a process, and tells little.
    player.run(1)?;
    let mut sizing = size(&mut player, false)?;
    let grows = sizing.batch_ns < nanos(COLD) && grows(&mut player, sizing.iterations)?;
    if grows {
        player.state()?;
        sizing = size(&mut player, true)?;
    }
    let Sizing { iterations, batch_ns } = sizing;
    let (states, pairs) = if grows { shape_of_fresh(batch_ns, state_ns) } else { shape(batch_ns, state_ns) };
    let warmed = batch_ns < nanos(COLD) && !grows;
    let mut alone = is_alone(&mut player, iterations)?;
    drop(player);
    // The head may be what brings threads.
    let mut head = start(bench, benchmark, Side::Head, seed, rng, until)?;
    head.ready()?;
    head.state()?;
    head.run(1)?;
    alone &= is_alone(&mut head, iterations)?;
    Ok(Plan { iterations, states, pairs, warmed, pinned: alone, grows, reached })
}

/// How many iterations make a batch, and what such a batch takes.
#[derive(Clone, Copy)]
struct Sizing {
    iterations: u64,
    batch_ns: f64,
}

/// Tries larger and larger batches, each on a state of its own where `fresh`.
fn size(player: &mut Player, fresh: bool) -> Result<Sizing, Ended> {
    let mut tried = 1;
    loop {
        if fresh {
            player.state()?;
        }
        let took = player.run(tried)?;
        let wanted = sized(took, tried);
        if wanted <= tried.saturating_mul(2) {
            let batch_ns = took.wall_ns / tried as f64 * wanted as f64;
            return Ok(Sizing { iterations: wanted, batch_ns });
        }
        tried = wanted.min(tried * 8);
    }
}

/// Whether a benchmark costs more the longer it runs, because its state grows with every iteration: seen twice, since
/// a machine may be slow by itself once.
fn grows(player: &mut Player, iterations: u64) -> Result<bool, Ended> {
    for _ in 0..2 {
        player.state()?;
        let mut took = Vec::with_capacity(GROWTH_BATCHES);
        for _ in 0..GROWTH_BATCHES {
            took.push(player.run(iterations)?.ns);
        }
        if !is_growth(&took) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every batch after the first, which warms up, costs more than the one before, and the last half as much again.
fn is_growth(took: &[f64]) -> bool {
    let Some(warm) = took.get(1..) else { return false };
    let rises = warm.windows(2).all(|pair| pair[1] > pair[0]);
    rises && warm.len() > 1 && warm[warm.len() - 1] > GROWTH_MIN * warm[0]
}

/// Whether a batch runs on its process's one thread and waits for nobody.
fn is_alone(player: &mut Player, iterations: u64) -> Result<bool, Ended> {
    /// A batch waits once to be told, and a stray page or lock may make it wait again.
    const WAITS_MAX: u64 = 4;
    let before = player.waits();
    player.run(iterations)?;
    Ok(player.waits() - before <= WAITS_MAX && !player.threaded())
}

pub(super) fn start<'a>(
    bench: &'a Bench<'a>,
    benchmark: &Benchmark,
    side: Side,
    seed: u64,
    rng: &mut StdRng,
    until: Instant,
) -> Result<Player<'a>, Ended> {
    let program = copy(bench, benchmark, side, rng)?;
    Player::start(bench, &Part { tool: &[], benchmark, side, program: &program, seed, until })
}

/// One visit: the raw times of an iteration in every pair of batches.
pub(super) fn visit(
    bench: &Bench,
    benchmark: &Benchmark,
    plan: Plan,
    rng: &mut StdRng,
    patience: Duration,
) -> Result<Visit, Ended> {
    // Processes are killed, not ended: what the last ones left would be found by the next.
    crate::disk::empty(bench.scratch).context("cannot empty the directory for samples")?;
    let _pinned = if plan.pinned { pin(rng) } else { None };
    let first = if rng.random_bool(0.5) { Side::Base } else { Side::Head };
    let until = Instant::now() + patience;
    let seed = rng.random();
    let mut players = match first {
        Side::Base => {
            let base = start(bench, benchmark, Side::Base, seed, rng, until)?;
            [base, start(bench, benchmark, Side::Head, seed, rng, until)?]
        }
        Side::Head => {
            let head = start(bench, benchmark, Side::Head, seed, rng, until)?;
            [start(bench, benchmark, Side::Base, seed, rng, until)?, head]
        }
    };
    let mut calls = [0; 2];
    for side in either_order(rng) {
        calls[side as usize] = players[side as usize].ready()?;
    }
    // Each side is driven at its last call: with another number of them these are other routines.
    if calls[0] != calls[1] {
        return Err(players[1].iterates_otherwise(calls[1], calls[0]));
    }
    let mut pairs = Vec::with_capacity((plan.states * plan.pairs) as usize);
    for _ in 0..plan.states {
        for side in either_order(rng) {
            players[side as usize].state()?;
        }
        if plan.warmed {
            for side in either_order(rng) {
                players[side as usize].run(plan.iterations)?;
            }
        }
        let mut order = either_order(rng);
        for _ in 0..plan.pairs {
            let mut times = [0.0; 2];
            for side in order {
                let took = players[side as usize].run(plan.iterations)?;
                times[side as usize] = as_stored(took.ns / plan.iterations as f64);
            }
            pairs.push(times);
            order.reverse();
        }
    }
    Ok(Visit::of_pairs(first, pairs))
}

/// Iterations that make a batch of the right length.
fn sized(took: Took, iterations: u64) -> u64 {
    let fits = |limit: Duration, ns: f64| nanos(limit) / (ns / iterations as f64).max(0.1);
    let wanted = fits(BATCH, took.ns).min(fits(BATCH_WALL_MAX, took.wall_ns));
    (wanted as u64).clamp(1, ITERATIONS_MAX)
}

/// How many states, and pairs in each, fit into a visit.
fn shape(batch_ns: f64, state_ns: f64) -> (u32, u32) {
    let cost =
        |(states, pairs): (u32, u32)| f64::from(2 * states) * (state_ns + f64::from(pairs + 1) * batch_ns);
    let fits = SHAPES.into_iter().find(|&shape| cost(shape) <= 1.1 * nanos(VISIT));
    fits.unwrap_or(SHAPES[SHAPES.len() - 1])
}

/// Pairs on states of their own, without a batch to warm up.
fn shape_of_fresh(batch_ns: f64, state_ns: f64) -> (u32, u32) {
    /// As many batches as other benchmarks get.
    const STATES_MAX: f64 = 20.0;
    let cost = 2.0 * (state_ns + batch_ns).max(1.0);
    ((nanos(VISIT) / cost).clamp(1.0, STATES_MAX) as u32, 1)
}

pub(super) fn either_order(rng: &mut StdRng) -> [Side; 2] {
    if rng.random_bool(0.5) { Side::BOTH } else { [Side::Head, Side::Base] }
}

/// Keeps both processes and whoever drives them on one core: a turn between cores takes six times as long. Which core
/// is drawn for each visit. Not being allowed to is no reason not to measure.
pub(super) fn pin(rng: &mut StdRng) -> Option<Pinned> {
    let cores = affinity::current().ok()?;
    Pinned::to(&[*cores.choose(rng)?]).ok()
}

/// A fresh copy of an executable.
///
/// Which physical pages it lies in is chance, moves short benchmarks by a percent and more, and stays as it is for as
/// long as the copy does: with a few copies for a whole run, identical sides differed by up to 1.2 %, with certainty.
/// The pages of a copy that is removed are the first that the next one gets. So a new one takes the place of any, of
/// either side: with places of their own the sides kept to their own pages for a run, and where some of those made a
/// process slow by 15 %, code that nothing had changed differed by up to 7 %.
pub(super) fn copy(
    bench: &Bench,
    benchmark: &Benchmark,
    side: Side,
    rng: &mut StdRng,
) -> Result<PathBuf, Ended> {
    let place = free_place(bench, benchmark, rng)?;
    let place = |side| place_of_copy(bench, benchmark, side, place);
    // Before the old one is removed, or this one gets its pages.
    let new = bench.copies.join("new");
    std::fs::create_dir_all(bench.copies).context("cannot make a directory for copies")?;
    std::fs::copy(&benchmark.executable(side).program, &new).context("cannot copy an executable")?;
    wait_for_writers(&new).context("cannot read a copy of an executable")?;
    // A process that still runs from it keeps what it has.
    for side in Side::BOTH {
        match std::fs::remove_file(place(side)?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error)
                    .context("cannot remove a copy of an executable")
                    .into());
            }
            _ => {}
        }
    }
    let path = place(side)?;
    std::fs::create_dir_all(path.parent().unwrap_or(bench.copies))
        .context("cannot make a directory for copies")?;
    std::fs::rename(&new, &path).context("cannot place a copy of an executable")?;
    Ok(path)
}

/// Any place but that of the newest copy, from which the other side's process may be about to start.
fn free_place(bench: &Bench, benchmark: &Benchmark, rng: &mut StdRng) -> anyhow::Result<u32> {
    let mut newest = None;
    for place in 0..COPIES {
        for side in Side::BOTH {
            let made = std::fs::metadata(place_of_copy(bench, benchmark, side, place)?)
                .and_then(|meta| meta.modified());
            newest = newest.max(made.ok().map(|made| (made, place)));
        }
    }
    let places = (0..COPIES).filter(|place| newest.is_none_or(|(_, newest)| newest != *place));
    places.choose(rng).context("no place for a copy")
}

/// Where copies of a side's executable may lie.
pub(super) fn places_of_copies(
    bench: &Bench,
    benchmark: &Benchmark,
    side: Side,
) -> anyhow::Result<Vec<PathBuf>> {
    (0..COPIES).map(|place| place_of_copy(bench, benchmark, side, place)).collect()
}

fn place_of_copy(bench: &Bench, benchmark: &Benchmark, side: Side, place: u32) -> anyhow::Result<PathBuf> {
    let program = &benchmark.executable(side).program;
    let name = program.file_name().context("an executable without a name")?.to_string_lossy();
    // Names of one length: a program finds its own on its stack, and what lies behind it elsewhere.
    Ok(bench.copies.join(side.as_str()).join(format!("{name}-{place:02}")))
}

/// Waits until nobody has the file open for writing. A process that another thread starts at the same moment has, as its
/// parent had, until it runs its own program; what is being written cannot be run ("text file busy").
fn wait_for_writers(path: &Path) -> std::io::Result<()> {
    /// Starting a process takes a millisecond; on a machine that swaps, a hundred.
    const WAIT_MAX: Duration = Duration::from_secs(2);
    let file = std::fs::File::open(path)?;
    let until = Instant::now() + WAIT_MAX;
    while sys::is_being_written(file.as_fd()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Three digits below a nanosecond, which no clock resolves: keeps the evidence small.
fn as_stored(ns: f64) -> f64 {
    (ns * 1_000.0).round() / 1_000.0
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_a_millisecond_and_bounded_by_their_set_up() {
        let took = |ns, wall_ns| Took { ns, wall_ns };
        for (took, iterations, expect) in [
            (took(10.0, 11.0), 1, 100_000),
            (took(10_000.0, 12_000.0), 1_000, 100_000),
            // 1 µs of set-up for every nanosecond of work.
            (took(1.0, 1_000.0), 1, 5_000),
            (took(3e9, 3e9), 1, 1),
            (took(0.0, 0.0), 1, 10_000_000),
        ] {
            assert_eq!(sized(took, iterations), expect, "{took:?}");
        }
    }

    #[test]
    fn a_visit_keeps_its_time_and_never_shrinks_to_nothing() {
        assert_eq!(shape(1e6, 1e3), (5, 4));
        assert_eq!(shape(1e6, 1e7), (2, 2), "a state that takes 10 ms is made less often");
        assert_eq!(shape(2e6, 0.0), (3, 2));
        assert_eq!(shape(3e9, 0.0), (1, 1));
        assert_eq!(shape_of_fresh(1e6, 1e3), (20, 1));
        assert_eq!(shape_of_fresh(1e6, 4e6), (5, 1));
        assert_eq!(shape_of_fresh(3e9, 0.0), (1, 1));
    }

    #[test]
    fn a_copy_is_run_only_once_nobody_writes_to_it() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy");
        let file = std::fs::File::create(&path).unwrap();
        let closed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                closed.store(true, Ordering::SeqCst);
                drop(file);
            });
            wait_for_writers(&path).unwrap();
            assert!(closed.load(Ordering::SeqCst));
        });
    }

    #[test]
    fn growth_is_told_from_noise() {
        for (took, expect) in [
            (&[9.0, 10.0, 12.0, 14.0, 16.0][..], true),
            (&[30.0, 10.0, 12.0, 14.0, 16.0], true),
            (&[9.0, 10.0, 10.1, 10.2, 10.3], false),
            (&[9.0, 10.0, 30.0, 10.0, 16.0], false),
            (&[9.0, 10.0], false),
            (&[], false),
        ] {
            assert_eq!(is_growth(took), expect, "{took:?}");
        }
    }
}
