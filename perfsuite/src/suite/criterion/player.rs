//! One process of a bench that is driven: started, told what to do, and listened to.

use super::process::{Broken, broken, command_under, output_of};
use super::{Bench, Benchmark};
use crate::artifact::Stopped;
use crate::model::{FailureReason, Side};
use crate::process::Finished;
use crate::sandbox::Running;
use anyhow::Context;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// What every line of the stand-in begins with; anything else on its standard output is the bench's own talk.
pub(super) const MARK: &str = "\u{1}duet\u{2} ";
/// How often a wait looks whether it is to stop.
const TICK: Duration = Duration::from_millis(100);
/// What a bench says on standard error; only its end is shown, when it fails.
const STDERR_MAX_BYTES: usize = 64 << 10;

/// A batch that claims a day has none.
const TIME_MAX_NS: f64 = 8.64e13;

/// How a conversation ends early.
#[derive(Debug)]
pub(super) enum Ended {
    /// By the bench.
    Broken { side: Side, broken: Broken },
    /// By the machine, or by whoever asked for all this.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Ended::Failed(error)
    }
}

/// What one batch took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Took {
    /// All iterations together, as the benchmark measures them.
    pub(super) ns: f64,
    /// With everything around them: set-up of inputs, dropping of outputs.
    pub(super) wall_ns: f64,
}

/// What a process is started for.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// What runs the program, where that is not the machine itself.
    pub(super) tool: &'a [&'a str],
    pub(super) benchmark: &'a Benchmark,
    pub(super) side: Side,
    /// A copy of that side's executable.
    pub(super) program: &'a Path,
    /// Of the process's random numbers: two sides with the same one hash alike.
    pub(super) seed: u64,
    /// Everything that is asked of it must be answered by then.
    pub(super) until: Instant,
}

/// A process that has come to its benchmark and waits. Dropped, it is killed.
pub(super) struct Player<'a> {
    bench: &'a Bench<'a>,
    side: Side,
    running: Option<Running>,
    /// Everything that is asked of it must be answered by then.
    until: Instant,
}

impl<'a> Player<'a> {
    /// Starts a process that will come to its benchmark.
    pub(super) fn start(bench: &'a Bench<'a>, part: &Part) -> Result<Player<'a>, Ended> {
        let Part { benchmark, side, until, .. } = *part;
        let executable = benchmark.executable(side);
        let mut command = command_under(bench, side, executable, part.program, part.tool);
        command
            .arg("--bench")
            .env("PACELINE_DUET", "drive")
            .env("PACELINE_DUET_BENCHMARK", &benchmark.name)
            .env("PACELINE_DUET_SEED", part.seed.to_string())
            // Every answer has its own limit; this one holds when nobody asks any more.
            .deadline(bench.process_limit * 4)
            .keep(0, STDERR_MAX_BYTES)
            .talk();
        let running = bench.sandbox.spawn(&command).with_context(|| {
            format!("cannot start bench `{}` of `{}`", executable.target.bench, executable.target.package)
        })?;
        Ok(Player { bench, side, running: Some(running), until })
    }

    /// Waits until it is at its benchmark. How often the benchmark's closure iterates.
    pub(super) fn ready(&mut self) -> Result<u32, Ended> {
        let said = self.hear_word("ready")?;
        said.parse().map_err(|_| self.bad_output(&format!("it answered `ready {said}`")))
    }

    /// Has the benchmark make its state afresh, up to where it iterates.
    pub(super) fn state(&mut self) -> Result<(), Ended> {
        self.tell("state")?;
        self.hear_word("at").map(drop)
    }

    /// Has it run a batch of iterations.
    pub(super) fn run(&mut self, iterations: u64) -> Result<Took, Ended> {
        self.tell(&format!("run {iterations}"))?;
        let line = self.hear_word("took")?;
        let numbers: Option<Vec<f64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            // A clock counts up, and no batch takes longer than its limit: anything else is no time.
            Some([ns, wall_ns]) if [ns, wall_ns].iter().all(|ns| (0.0..=TIME_MAX_NS).contains(*ns)) => {
                Ok(Took { ns: *ns, wall_ns: *wall_ns })
            }
            _ => Err(self.bad_output(&format!("it answered `took {line}`"))),
        }
    }

    /// Lets it end; its last words on standard error.
    pub(super) fn end(mut self) -> Result<String, Ended> {
        self.tell("end")?;
        let Some(running) = self.running.take() else { return Err(self.bad_output("it is over")) };
        let finished = farewell(running).map_err(anyhow::Error::from)?;
        match broken(&finished) {
            Some(broken) => Err(Ended::Broken { side: self.side, broken }),
            None => Ok(finished.stderr_tail),
        }
    }

    /// The bench and what it has started, as this process sees them.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.running.as_ref().map(Running::pids).unwrap_or_default()
    }

    /// How often it has waited for something. A batch that waits has threads that come and go, or sleeps.
    pub(super) fn waits(&self) -> u64 {
        let read = || {
            let pid = self.running.as_ref()?.pid().ok()?;
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse().ok()
        };
        read().unwrap_or(0)
    }

    /// The failure of a side whose closure iterates another number of times than the other side's.
    pub(super) fn iterates_otherwise(&self, here: u32, other: u32) -> Ended {
        self.bad_output(&format!("its closure iterates {here} times, that of the other side {other} times"))
    }

    /// Whether the bench has threads beside its own, which need cores of their own.
    pub(super) fn threaded(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let threads = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let pids = running.pids();
        pids.len() > 1 || pids.into_iter().any(|pid| threads(pid) > 1)
    }

    fn tell(&mut self, line: &str) -> Result<(), Ended> {
        let Some(running) = &mut self.running else { return Err(self.bad_output("it is over")) };
        match running.write_line(line) {
            Ok(()) => Ok(()),
            // Whatever it died of, it left the reason behind.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(self.over()),
            Err(error) => Err(Ended::Failed(error.into())),
        }
    }

    /// The rest of the next marked line, which must begin with `word`.
    fn hear_word(&mut self, word: &str) -> Result<String, Ended> {
        let asked = Instant::now();
        loop {
            let Some(running) = &mut self.running else { return Err(self.bad_output("it is over")) };
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.hung(asked.elapsed()));
            }
            if self.bench.observer.stopped() {
                return Err(Ended::Failed(Stopped.into()));
            }
            match running.read_line(left.min(TICK)) {
                Ok(Some(line)) => {
                    // What the bench printed itself may stand before the mark on the same line.
                    let Some((_, said)) = line.split_once(MARK) else { continue };
                    let (first, rest) = said.split_once(' ').unwrap_or((said, ""));
                    if first != word {
                        return Err(self.bad_output(&format!("it said `{said}` where `{word}` was expected")));
                    }
                    return Ok(rest.to_owned());
                }
                Ok(None) => return Err(self.over()),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Err(self.bad_output(&error.to_string()));
                }
                Err(error) => return Err(Ended::Failed(error.into())),
            }
        }
    }

    /// It ended by itself: how, and with which last words.
    fn over(&mut self) -> Ended {
        let Some(running) = self.running.take() else { return self.bad_output("it is over") };
        let finished = match farewell(running) {
            Ok(finished) => finished,
            Err(error) => return Ended::Failed(error.into()),
        };
        let broken = broken(&finished).unwrap_or_else(|| Broken {
            reason: FailureReason::BadOutput,
            output: format!("it ended before it came to its benchmark\n{}", output_of(&finished)),
        });
        Ended::Broken { side: self.side, broken }
    }

    fn hung(&mut self, waited: Duration) -> Ended {
        let words = format!("no answer within {:.1} s", waited.as_secs_f64());
        let output = match self.running.take() {
            Some(running) => {
                running.kill();
                running.finish().map(|finished| output_of(&finished)).unwrap_or_default()
            }
            None => String::new(),
        };
        let output = format!("{output}\n({words})").trim_start().to_owned();
        Ended::Broken { side: self.side, broken: Broken { reason: FailureReason::TimedOut, output } }
    }

    fn bad_output(&self, words: &str) -> Ended {
        let broken = Broken { reason: FailureReason::BadOutput, output: words.chars().take(1_000).collect() };
        Ended::Broken { side: self.side, broken }
    }
}

/// What is left of a program that has ended, or says that it does: one that lingers is killed.
fn farewell(running: Running) -> std::io::Result<Finished> {
    const FAREWELL_MAX: Duration = Duration::from_secs(2);
    let until = Instant::now() + FAREWELL_MAX;
    while !running.has_ended() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    if !running.has_ended() {
        running.kill();
    }
    running.finish()
}
