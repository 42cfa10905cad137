//! What an iteration allocates, counted by valgrind's dhat: blocks and bytes of the system's allocator.

use super::duet::plan;
use super::instructions::last_words;
use super::player::Ended;
use super::{Bench, Benchmark};
use crate::artifact::Harness;
use crate::host::on_path;
use crate::model::{Metric, Side};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The totals are said at the end; the file with all places is not asked for.
const DHAT: [&str; 3] = ["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"];
/// The shorter of two runs, on the clock of an uncounted one. A hundred times that is half a second.
const SHORT: Duration = Duration::from_micros(500);

/// Of one unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Allocations {
    pub blocks: f64,
    pub bytes: f64,
}

/// What an iteration of one side allocates. The inner error says why that is not known.
pub fn allocations(
    bench: &Bench,
    benchmark: &Benchmark,
    side: Side,
) -> anyhow::Result<Result<Allocations, String>> {
    if !on_path(DHAT[0]) {
        return Ok(Err("allocations are counted by valgrind: install the package valgrind".into()));
    }
    if benchmark.metric != Metric::Time || benchmark.executable(side).harness == Harness::Criterion {
        return Ok(Err("allocations are counted only of benchmarks that run in lock-step".into()));
    }
    match count(bench, benchmark, side) {
        Ok(counted) => Ok(counted.ok_or_else(|| "dhat did not say what was allocated".into())),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Broken { broken, .. }) => Ok(Err(format!("it fails under dhat: {}", broken.output))),
    }
}

/// As instructions are counted: N iterations and 3 N differ by 2 N of them, and by nothing else.
fn count(bench: &Bench, benchmark: &Benchmark, side: Side) -> Result<Option<Allocations>, Ended> {
    let mut rng = StdRng::seed_from_u64(1);
    let iterations = plan(bench, benchmark, &mut rng, bench.process_limit)?.iterations_within(SHORT);
    let mut totals = Vec::new();
    for times in [1, 3] {
        let until = Instant::now() + bench.process_limit;
        let said = last_words(bench, benchmark, side, &DHAT, iterations * times, &mut rng, until)?;
        match total(&said) {
            Some(total) => totals.push(total),
            None => return Ok(None),
        }
    }
    let each =
        |of: fn(&Allocations) -> f64| ((of(&totals[1]) - of(&totals[0])) / (2 * iterations) as f64).max(0.0);
    Ok(Some(Allocations { blocks: each(|total| total.blocks), bytes: each(|total| total.bytes) }))
}

/// dhat's last words: `==7== Total:     1,024 bytes in 3 blocks`.
pub(crate) fn total(stderr: &str) -> Option<Allocations> {
    let line = stderr.lines().rev().find(|line| line.starts_with("==") && line.contains("Total:"))?;
    let mut words = line.split_once("Total:")?.1.split_whitespace();
    let mut number = || words.next()?.replace(',', "").parse::<f64>().ok();
    let bytes = number()?;
    let (word, _) = (words.next()?, words.next()?);
    let blocks = words.next()?.replace(',', "").parse().ok()?;
    (word == "bytes").then_some(Allocations { blocks, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dhat_says() {
        let words = "Total: 9 bytes in 9 blocks\n==7== \n==7== Total:     7,250,344 bytes in 71,320 blocks\n==7== At t-gmax: 1 bytes in 1 blocks\n";
        assert_eq!(total(words), Some(Allocations { blocks: 71_320.0, bytes: 7_250_344.0 }));
        assert_eq!(total("==7== nothing"), None);
        assert_eq!(total("==7== Total: x bytes in 3 blocks"), None);
    }
}
