//! The second witness: instructions of an iteration, counted by callgrind, which knows nothing of time.
//!
//! A process that runs N iterations and one that runs 3 N differ by 2 N iterations and nothing else, so what starting up
//! and setting up cost falls out. Counting makes a program some fifty times slower, so only benchmarks are counted whose
//! time is suspect and, as far as a part of the time goes, those whose code changed.

use super::duet::{Plan, copy};
use super::player::{Ended, Part, Player};
use super::{Bench, Benchmark};
use crate::model::{Instructions, Side};
use crate::verdict::comparison::INSTRUCTIONS_CHANGED_BY;
use rand::rngs::StdRng;
use std::time::{Duration, Instant};

/// The counts are asked for by nobody but us: nothing is written.
const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
/// Of both sides' random numbers in every count.
const SEED: u64 = 0x5eed;
/// Counts of each side where much rests on them, so that one that varies is seen.
const COUNTS: usize = 2;
/// The shorter run, on the clock of an uncounted one. Fifty times that is a tenth of a second, and three times that the
/// longer run.
const SHORT: Duration = Duration::from_micros(500);

/// How far counting one benchmark may go.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Of one process.
    pub(super) patience: Duration,
    /// No process begins after this.
    pub(super) end: Instant,
    /// Much rests on the counts.
    pub(super) suspect: bool,
}

/// Whether there is a callgrind to ask.
pub(super) fn can_count() -> bool {
    crate::host::on_path(CALLGRIND[0])
}

/// Counts one benchmark on both sides; a second time where the first count shows a change, or where the time is
/// `suspect`. `None` when the time was over, or callgrind did not say.
pub(super) fn count(
    bench: &Bench,
    benchmark: &Benchmark,
    plan: &Plan,
    rng: &mut StdRng,
    limits: Bounds,
) -> Result<Option<Instructions>, Ended> {
    let Bounds { patience, end, suspect } = limits;
    let iterations = plan.iterations_within(SHORT);
    let mut counted = Instructions::default();
    for _ in 0..COUNTS {
        // Unlike seeds could count a difference of luck; like ones, and the same each time, count the code's.
        for side in Side::BOTH {
            let mut totals = [0.0; 2];
            for (total, times) in totals.iter_mut().zip([1, 3]) {
                if Instant::now() >= end {
                    return Ok(None);
                }
                match run(bench, benchmark, side, iterations * times, rng, Instant::now() + patience)? {
                    Some(instructions) => *total = instructions,
                    None => return Ok(None),
                }
            }
            let each = (totals[1] - totals[0]) / (2 * iterations) as f64;
            match side {
                Side::Base => counted.base.push(each),
                Side::Head => counted.head.push(each),
            }
        }
        let changed = counted.change().is_none_or(|change| change.abs() >= INSTRUCTIONS_CHANGED_BY);
        if !suspect && !changed {
            break;
        }
    }
    Ok(Some(counted))
}

/// All instructions of a process that runs so many iterations.
fn run(
    bench: &Bench,
    benchmark: &Benchmark,
    side: Side,
    iterations: u64,
    rng: &mut StdRng,
    until: Instant,
) -> Result<Option<f64>, Ended> {
    Ok(collected(&last_words(bench, benchmark, side, &CALLGRIND, iterations, rng, until)?))
}

/// What a tool says at the end of a process that runs so many iterations on one state.
pub(super) fn last_words(
    bench: &Bench,
    benchmark: &Benchmark,
    side: Side,
    tool: &[&str],
    iterations: u64,
    rng: &mut StdRng,
    until: Instant,
) -> Result<String, Ended> {
    let program = copy(bench, benchmark, side, rng)?;
    let part = Part { tool, benchmark, side, program: &program, seed: SEED, until };
    let mut player = Player::start(bench, &part)?;
    player.ready()?;
    player.state()?;
    player.run(iterations)?;
    player.end()
}

/// callgrind's last words: `==123== Collected : 8261258`.
fn collected(stderr: &str) -> Option<f64> {
    let line = stderr.lines().rev().find(|line| line.starts_with("==") && line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_says() {
        let words = "a bench that talks: Collected : 7\n==42== Events    : Ir\n==42== Collected : 8261258\n==42== \n==42== I   refs:      8,261,258\n";
        assert_eq!(collected(words), Some(8_261_258.0));
        assert_eq!(collected("==42== nothing\nCollected : 7\n"), None);
    }
}
