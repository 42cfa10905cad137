//! One process of a bench that runs by itself: how it is called, and what it leaves.

use super::Bench;
use crate::artifact::BenchExecutable;
use crate::disk::empty;
use crate::model::{FailureReason, Side};
use crate::process::Finished;
use crate::sandbox::{Command, SOURCE_INSIDE};
use anyhow::Context;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a bench executable is seen inside walls: the same for both sides, since even the length of a program's path
/// moves its stack.
pub(super) const BENCH_INSIDE: &str = "/build/bench";
/// Where a process leaves its samples.
const SAMPLES_INSIDE: &str = "/build/criterion";

/// A visit's process: the smallest number of samples that criterion takes, and just enough time for caches, branch
/// predictors and the clock's resolution. Twice the time spread the visits no less, and cost twice as much. No plots, and as little of its own statistics as it allows, since only the raw
/// samples are read. A group's own settings (`sample_size`, `measurement_time`) win over these.
const VISIT_ARGS: [&str; 11] = [
    "--bench",
    "--noplot",
    "--sample-size",
    "10",
    "--warm-up-time",
    "0.01",
    "--measurement-time",
    "0.03",
    "--nresamples",
    "10",
    "--color=never",
];

/// What a bench says while it is measured; only its end is shown, when it fails.
pub(super) const OUTPUT_MAX_BYTES: usize = 64 << 10;
/// Ten samples, or the thousands that a group may ask for.
const SAMPLE_MAX_BYTES: u64 = 4 << 20;
/// An iteration that claims a day.
const TIME_MAX_NS: f64 = 8.64e13;
/// The samples lie at `group/function/parameter/new/sample.json`.
const DEPTH_MAX: usize = 8;
/// Files and directories that one process leaves: about ten for each benchmark that ran.
const ENTRIES_MAX: usize = 5_000;

/// Why a process gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) reason: FailureReason,
    pub(super) output: String,
}

/// Runs one benchmark once: the time of an iteration in nanoseconds, see [`undisturbed`]. `None`: stopped by the
/// observer.
pub(super) fn visit(
    bench: &Bench,
    side: Side,
    executable: &BenchExecutable,
    name: &str,
    limit: Duration,
) -> anyhow::Result<Option<Result<f64, Broken>>> {
    empty(bench.scratch).context("cannot empty the directory for samples")?;
    let mut args: Vec<String> = VISIT_ARGS.map(String::from).to_vec();
    args.push(exactly(name));
    let mut command = command(bench, side, executable, &executable.program);
    command.args(&args).deadline(limit).keep(OUTPUT_MAX_BYTES, OUTPUT_MAX_BYTES);
    let finished = run(bench, executable, &command)?;
    if finished.stopped() {
        return Ok(None);
    }
    if let Some(broken) = broken(&finished) {
        return Ok(Some(Err(broken)));
    }
    Ok(Some(match read_sample(bench.scratch) {
        Ok(ns) => Ok(ns),
        Err(error) => Err(Broken {
            reason: FailureReason::BadOutput,
            output: format!("{error:#}\n{}", output_of(&finished)).trim_end().to_owned(),
        }),
    }))
}

/// What every process of a bench is given: its program, its files, its package's directory, its limits.
pub(super) fn command(bench: &Bench, side: Side, executable: &BenchExecutable, program: &Path) -> Command {
    command_under(bench, side, executable, program, &[])
}

/// The same under a tool, which is given the program as its last argument.
pub(super) fn command_under(
    bench: &Bench,
    side: Side,
    executable: &BenchExecutable,
    program: &Path,
    tool: &[&str],
) -> Command {
    let seen = if bench.sandbox.walled() { Path::new(BENCH_INSIDE) } else { program };
    let mut command = match tool {
        [] => bench.sandbox.command(seen),
        [name, arguments @ ..] => {
            let mut command = bench.sandbox.command(name);
            command.args(arguments).arg(seen);
            command
        }
    };
    command.read(program, BENCH_INSIDE);
    let source = command.write(&bench.side(side).checkout, SOURCE_INSIDE);
    let samples = command.write(bench.scratch, SAMPLES_INSIDE);
    // As under cargo: the working directory is the package's.
    let package = source.join(&executable.target.directory);
    command
        .cwd(&package)
        .env("CRITERION_HOME", samples)
        .env("CARGO_MANIFEST_DIR", &package)
        .env("CARGO_PKG_NAME", &executable.target.package)
        .limits(bench.limits);
    command
}

pub(super) fn run(
    bench: &Bench,
    executable: &BenchExecutable,
    command: &Command,
) -> anyhow::Result<Finished> {
    bench.sandbox.run(command, bench.observer).with_context(|| {
        format!("cannot start bench `{}` of `{}`", executable.target.bench, executable.target.package)
    })
}

pub(super) fn broken(finished: &Finished) -> Option<Broken> {
    if finished.success() {
        return None;
    }
    let reason = if finished.timed_out() { FailureReason::TimedOut } else { FailureReason::Panicked };
    Some(Broken {
        reason,
        output: format!("{}\n({})", output_of(finished), finished.in_words()).trim_start().into(),
    })
}

pub(super) fn output_of(finished: &Finished) -> String {
    let stderr = crate::artifact::last_lines(&finished.stderr_tail);
    if stderr.trim().is_empty() { crate::artifact::last_lines(&finished.stdout_text()) } else { stderr }
}

/// A filter that matches one name and no other. `--exact` is younger than some criterions in use; a regular expression
/// they all take.
fn exactly(name: &str) -> String {
    let mut filter = String::from("^");
    for c in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            filter.push('\\');
        }
        filter.push(c);
    }
    filter.push('$');
    filter
}

/// criterion's raw samples: how many iterations, and how many nanoseconds they took together.
#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// The time of an iteration in a process. Where several benchmarks have the same name, the first by path on both sides.
fn read_sample(home: &Path) -> anyhow::Result<f64> {
    let file = find_samples(home)?.into_iter().next().context("it left no samples")?;
    let size = std::fs::symlink_metadata(&file)?.len();
    anyhow::ensure!(size <= SAMPLE_MAX_BYTES, "its samples are {size} bytes long");
    let sample: Sample =
        serde_json::from_slice(&std::fs::read(&file)?).context("its samples cannot be read")?;
    anyhow::ensure!(sample.iters.len() == sample.times.len(), "its samples are not pairs");
    let times: Vec<f64> = sample.times.iter().zip(&sample.iters).map(|(time, n)| time / n).collect();
    let time = undisturbed(times).context("it took no samples")?;
    anyhow::ensure!((0.0..=TIME_MAX_NS).contains(&time), "its samples hold no time: {time} ns");
    Ok(as_stored(time))
}

/// The lower decile of the samples: of ten the second smallest.
///
/// A sample is already a mean over many iterations, so what the code costs regularly is in each of them, and what raises
/// some samples above the others is somebody else's work on the same core. On a machine with six runnable processes a
/// core the medians of identical sides differed by 35-80 % (standard deviation), the lower deciles by 3-5 %. Not the
/// smallest, since a clock that jumps would decide then.
fn undisturbed(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 10).copied()
}

/// Regular files `new/sample.json`, sorted. Links are not followed: the process may have left any.
fn find_samples(home: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![(home.to_owned(), 0)];
    let mut seen = 0;
    while let Some((directory, depth)) = pending.pop() {
        for entry in std::fs::read_dir(directory)? {
            let (entry, kind) = entry.and_then(|e| e.file_type().map(|kind| (e, kind)))?;
            seen += 1;
            anyhow::ensure!(seen <= ENTRIES_MAX, "it left more than {ENTRIES_MAX} files");
            let path = entry.path();
            if kind.is_dir() && depth < DEPTH_MAX {
                pending.push((path, depth + 1));
            } else if kind.is_file() && path.ends_with("new/sample.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Nine significant digits: far below any clock, and short enough that a value comes back from JSON as it went in.
pub(super) fn as_stored(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_its_letters() {
        assert_eq!(exactly("route/match (a|b)+"), r"^route/match \(a\|b\)\+$");
        assert_eq!(exactly("größe 1.5"), r"^größe 1\.5$");
    }

    #[test]
    fn the_second_smallest_of_ten_samples_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let new = home.path().join("group/function/1/new");
        std::fs::create_dir_all(&new).unwrap();
        let iters: Vec<f64> = (1..=10).map(f64::from).collect();
        // 20 ns an iteration; once the clock jumped back, and twice somebody else ran.
        let times: Vec<f64> = [0.1, 20.0, 20.5, 21.0, 90.0, 20.2, 80.0, 20.3, 20.4, 20.6]
            .iter()
            .zip(&iters)
            .map(|(each, n)| each * n)
            .collect();
        let sample = serde_json::json!({"sampling_mode": "Linear", "iters": iters, "times": times});
        std::fs::write(new.join("sample.json"), sample.to_string()).unwrap();
        assert_eq!(read_sample(home.path()).unwrap(), 20.0);
        assert_eq!(undisturbed(vec![3.0, 2.0]), Some(2.0));
        assert_eq!(undisturbed(vec![]), None);
    }

    #[test]
    fn what_is_no_sample_is_said() {
        let home = tempfile::tempdir().unwrap();
        let message = |home: &Path| format!("{:#}", read_sample(home).unwrap_err());
        assert_eq!(message(home.path()), "it left no samples");
        let new = home.path().join("a/new");
        std::fs::create_dir_all(&new).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", new.join("sample.json")).unwrap();
        assert_eq!(message(home.path()), "it left no samples", "links are not followed");
        std::fs::remove_file(new.join("sample.json")).unwrap();
        std::fs::write(new.join("sample.json"), "{}").unwrap();
        assert!(message(home.path()).starts_with("its samples cannot be read"));
        std::fs::write(new.join("sample.json"), r#"{"iters":[1.0],"times":[]}"#).unwrap();
        assert_eq!(message(home.path()), "its samples are not pairs");
        empty(home.path()).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn stored_values_survive_json() {
        for value in [0.1 + 0.2, 1.0 / 3.0, 123_456_789.123_456_78, 2.5e-7, 9.999_999_999e14] {
            let stored = as_stored(value);
            let text = serde_json::to_string(&stored).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap(), stored);
            assert!((stored / value - 1.0).abs() < 1e-8);
        }
    }
}
