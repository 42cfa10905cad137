//! Any command, sampled for whole runs: for a developer at the keyboard.
//!
//! A process must be known before it becomes the command, so it is started as this program, which waits for a line and
//! then becomes the command (`exec-when-told`).

use super::load::SideFiles;
use crate::artifact::Stopped;
use crate::model::profile::{Profile, ProfileVisit, WorkUnit};
use crate::model::wire::{Phase, Progress};
use crate::model::{BenchmarkId, Side};
use crate::observe::Observer;
use crate::profile::session::recorded;
use crate::profile::{Begin, Place, Recorder, Session, Subject};
use crate::sandbox::{Limits, Sandbox};
use anyhow::Context;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// The end of what a command says on standard error.
const STDERR_MAX_BYTES: usize = 16 << 10;
const PERFSUITE_INSIDE: &str = "/build/perfsuite";
/// How often a wait looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// What is run, and where its files are.
pub struct CommandContext<'a> {
    pub name: &'a str,
    /// `{target}` and `{checkout}` stand for those of a side.
    pub argv: &'a [String],
    /// What was built of each side; without it the command is run as it is, here, with this program's environment.
    pub files: Option<[SideFiles<'a>; 2]>,
    pub sandbox: &'a Sandbox,
    pub observer: &'a dyn Observer,
    pub limits: Limits,
    /// See [`super::load::perfsuite_argv`].
    pub perfsuite: Vec<OsString>,
}

/// Becomes a command once a line was read: what `exec-when-told` does. Returns only when that cannot be.
pub fn exec_when_told(argv: &[OsString]) -> anyhow::Result<()> {
    let (program, arguments) = argv.split_first().context("no command to become")?;
    let mut byte = [0];
    // One byte at a time, so that nothing is read that is not ours.
    while std::io::stdin().read(&mut byte).context("nobody says when to begin")? == 1 && byte[0] != b'\n' {}
    let error = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Runs the command so often on each side, in turns. The inner error says why there is no profile.
pub fn profile(
    ctx: &CommandContext<'_>,
    sides: &[Side],
    runs: usize,
    budget: Duration,
) -> anyhow::Result<Result<Profile, String>> {
    if let Err(reason) = crate::profile::available() {
        return Ok(Err(reason));
    }
    let begun = Instant::now();
    let recorder = Recorder::shared();
    for run in 0..runs {
        if run > 0 && begun.elapsed() > budget {
            break;
        }
        ctx.observer.progress(Progress {
            phase: Phase::Measuring,
            text: format!("profiling {}", ctx.name),
            done: run as u64,
            total: runs as u64,
        });
        // One after the other, the other way round each time.
        let mut order = sides.to_vec();
        if run % 2 == 1 {
            order.reverse();
        }
        let mut done = [0.0; 2];
        for side in order {
            match run_once(ctx, side, &recorder)? {
                Ok(()) => done[side as usize] = 1.0,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let visit = ProfileVisit { base: done[0], head: done[1] };
        recorder.lock().unwrap_or_else(PoisonError::into_inner).visited(visit);
    }
    let id = BenchmarkId(ctx.name.to_owned());
    Ok(Ok(recorded(recorder).into_profile(ctx.name, &id, WorkUnit::Run)))
}

fn run_once(
    ctx: &CommandContext<'_>,
    side: Side,
    recorder: &std::sync::Arc<std::sync::Mutex<Recorder>>,
) -> anyhow::Result<Result<(), String>> {
    let (program, words) = ctx.perfsuite.split_first().context("this program is not known")?;
    let inside = if ctx.sandbox.walled() { PathBuf::from(PERFSUITE_INSIDE) } else { PathBuf::from(program) };
    let mut command = ctx.sandbox.command(&inside);
    command.read(program, PERFSUITE_INSIDE);
    command.args(words).arg("exec-when-told").arg("--");
    command.talk().keep(0, STDERR_MAX_BYTES).limits(ctx.limits);
    let mut places = Vec::new();
    match &ctx.files {
        Some(files) => {
            let SideFiles { checkout, target } = files[side as usize];
            let seen_checkout = command.read(checkout, "/build/src");
            let seen_target = command.read(target, "/build/target");
            for (seen, host) in [(&seen_target, target), (&seen_checkout, checkout)] {
                places.push(Place { seen: seen.clone(), host: host.to_owned() });
            }
            let replaced = |word: &String| {
                word.replace("{target}", &seen_target.to_string_lossy())
                    .replace("{checkout}", &seen_checkout.to_string_lossy())
            };
            let argv: Vec<String> = ctx.argv.iter().map(replaced).collect();
            command.args(&argv).cwd(&seen_checkout);
        }
        None => {
            // One's own command, as one would run it.
            for (name, value) in std::env::vars_os() {
                command.env(name, value);
            }
            command.args(ctx.argv).cwd(std::env::current_dir().context("no working directory")?);
            places.push(Place { seen: Path::new("/").into(), host: Path::new("/").into() });
        }
    }
    let mut running = ctx.sandbox.spawn(&command).with_context(|| format!("cannot start {}", ctx.name))?;
    let processes = vec![running.pid().context("the command ended before it began")?];
    let subject = Subject { side, processes, places };
    let session = match Session::attach(recorder, &[subject], Begin::OnExec) {
        Ok(session) => session,
        Err(reason) => return Ok(Err(reason)),
    };
    // One that has ended meanwhile says why at its end.
    let _ = running.write_line("begin");
    loop {
        if ctx.observer.stopped() {
            return Err(Stopped.into());
        }
        match running.read_line(TICK) {
            // What it prints is nobody's business here, but somebody must take it.
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) if running.has_ended() => break,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Err(_) => break,
        }
    }
    let finished = running.finish().context("cannot wait for the command")?;
    session.finish();
    if finished.success() {
        return Ok(Ok(()));
    }
    let said = finished.stderr_tail.trim();
    Ok(Err(format!("{} ended with {}\n{said}", ctx.argv.join(" "), finished.in_words())
        .trim_end()
        .to_owned()))
}
