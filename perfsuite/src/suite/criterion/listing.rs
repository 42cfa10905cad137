//! What an executable says of itself: the names of its benchmarks, and where each begins.

use super::Bench;
use super::player::MARK;
use super::process::{Broken, OUTPUT_MAX_BYTES, broken, command, output_of, run};
use crate::artifact::{BenchExecutable, Harness};
use crate::model::{FailureReason, Side};
use std::time::Duration;

/// Names and a word for each benchmark; a list longer than this is cut, which its reader notices.
const LIST_MAX_BYTES: usize = 4 << 20;
/// A setting up that is this slow leaves no time to measure.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// One benchmark of an executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Where all that it runs is reached from: bytes from where the executable is loaded. Not known of criterion itself.
    pub(super) entry: Option<u64>,
    /// It measures time.
    pub(super) timed: bool,
}

/// What an executable announced, in its own order and each once.
#[derive(Debug, Default)]
pub(super) struct Announced {
    pub(super) benchmarks: Vec<Listed>,
    /// It ended before criterion's `main` was at its end: there may be more.
    pub(super) cut_short: bool,
}

/// The benchmarks in an executable. `None`: stopped by the observer.
pub(super) fn list(
    bench: &Bench,
    side: Side,
    executable: &BenchExecutable,
) -> anyhow::Result<Option<Result<Announced, Broken>>> {
    let mut command = command(bench, side, executable, &executable.program);
    command.deadline(bench.process_limit.min(LIST_LIMIT)).keep(LIST_MAX_BYTES, OUTPUT_MAX_BYTES);
    match executable.harness {
        Harness::Duet => command.arg("--bench").env("PACELINE_DUET", "list"),
        Harness::Criterion => command.args(["--bench", "--list"]),
    };
    let finished = run(bench, executable, &command)?;
    if finished.stopped() {
        return Ok(None);
    }
    if let Some(broken) = broken(&finished) {
        return Ok(Some(Err(broken)));
    }
    if finished.stdout_cut {
        let output = format!("it prints more than {} MiB while it lists", LIST_MAX_BYTES >> 20);
        return Ok(Some(Err(Broken { reason: FailureReason::BadOutput, output })));
    }
    let text = finished.stdout_text();
    let announced = match executable.harness {
        Harness::Duet => parse_announcements(&text),
        Harness::Criterion => Announced { benchmarks: parse_list(&text), cut_short: false },
    };
    Ok(Some(if announced.benchmarks.is_empty() {
        let output = format!("it lists no benchmarks\n{}", output_of(&finished)).trim_end().to_owned();
        Err(Broken { reason: FailureReason::BadOutput, output })
    } else {
        Ok(announced)
    }))
}

/// Lines `NAME: benchmark` (criterion before 0.5: `NAME: bench`); anything else is a bench's own talk.
fn parse_list(text: &str) -> Vec<Listed> {
    let mut listed = Vec::new();
    for line in text.lines() {
        let name = line.strip_suffix(": benchmark").or_else(|| line.strip_suffix(": bench"));
        if let Some(name) = name {
            add(&mut listed, Listed { name: name.to_owned(), entry: None, timed: true });
        }
    }
    listed
}

/// The stand-in's lines: where it is loaded, then its benchmarks.
fn parse_announcements(text: &str) -> Announced {
    let mut listed = Vec::new();
    let mut image = None;
    let mut cut_short = false;
    for said in text.lines().filter_map(|line| Some(line.split_once(MARK)?.1)) {
        let address = |word: &str| u64::from_str_radix(word, 16).ok();
        match said.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
            ["main"] => cut_short = true,
            ["over"] => cut_short = false,
            ["image", at] => image = address(at).filter(|at| *at > 0),
            ["benchmark", at, kind, name] => {
                let entry = image.and_then(|image| address(at)?.checked_sub(image));
                add(&mut listed, Listed { name: (*name).to_owned(), entry, timed: *kind == "time" });
            }
            _ => {}
        }
    }
    Announced { benchmarks: listed, cut_short }
}

fn add(listed: &mut Vec<Listed>, found: Listed) {
    let plain = !found.name.is_empty() && !found.name.chars().any(char::is_control);
    if plain && !listed.iter().any(|known| known.name == found.name) {
        listed.push(found);
    }
}

/// Whatever a bench prints, its benchmarks have plain names, each once.
#[cfg(any(test, fuzzing))]
pub(crate) fn hostile(text: &str) {
    for listed in [parse_list(text), parse_announcements(text).benchmarks] {
        let names: std::collections::BTreeSet<&str> = listed.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names.len(), listed.len());
        assert!(names.iter().all(|name| !name.is_empty() && !name.chars().any(char::is_control)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_old_and_new_criterion() {
        let text = "hello from the bench\nroute/match/1000: benchmark\nold: bench\nroute/match/1000: benchmark\n: benchmark\na: b: benchmark\n\n";
        let names: Vec<String> = parse_list(text).into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["route/match/1000", "old", "a: b"]);
        assert!(parse_list("0 tests, 3 benchmarks\n").is_empty());
    }

    #[test]
    fn announcements_of_the_stand_in() {
        let said =
            |lines: &[&str]| -> String { lines.iter().map(|line| format!("{MARK}{line}\n")).collect() };
        let text = said(&["image 5500000", "benchmark 5501a40 time route/match (a b)"])
            + "a bench that prints without an end "
            + &said(&[
                "benchmark 5501a50 other cycles",
                "benchmark 10 time before the image",
                "benchmark x time",
            ])
            + "benchmark 5501a40 time not marked\n";
        let listed = |name: &str, entry, timed| Listed { name: name.into(), entry, timed };
        let announced = parse_announcements(&text);
        assert!(!announced.cut_short, "a bench with its own `main` says nothing of its end");
        assert_eq!(
            announced.benchmarks,
            [
                listed("route/match (a b)", Some(0x1a40), true),
                listed("cycles", Some(0x1a50), false),
                listed("before the image", None, true),
            ]
        );
        for (lines, cut_short) in [
            (&["main", "benchmark 5501a40 time a", "over"][..], false),
            (&["main", "benchmark 5501a40 time a"][..], true),
        ] {
            assert_eq!(parse_announcements(&said(lines)).cut_short, cut_short, "{lines:?}");
        }
    }
}
