//! One round, started in the sandbox and heard until it has said its outcome.

use super::{Halt, LoadContext, failure};
use crate::{
    load::wire::{RESULT_MAX_BYTES, RoundOutcome, RoundPlan, RoundTask, ServerPlan},
    model::{FailureReason, Side},
    sandbox::{Limits, Running},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A server that opens its port later than this is taken for broken.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// It is given this long even when the time is nearly over: else the time would be blamed on the server.
const READY_LEAST: Duration = Duration::from_secs(3);
/// A round with all that may be slow in it: three attempts to start each of three processes, drains, stops.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
/// A round that was begun before the deadline may end this much after it, rather than be thrown away.
const OVERTIME: Duration = Duration::from_secs(10);
/// How often the observer is asked whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// The end of what a round that broke has said.
const STDERR_MAX_BYTES: usize = 8 << 10;
/// Where things are seen inside the sandbox.
const PERFSUITE_INSIDE: &str = "/build/perfsuite";

/// Runs one round in the sandbox.
pub(super) fn play(
    ctx: &LoadContext<'_>,
    sides: &[Side],
    task: RoundTask,
    seed: u64,
    deadline: Instant,
) -> Result<RoundOutcome, Halt> {
    play_watched(ctx, sides, task, seed, deadline, &mut |_, _| {})
}

/// Called once the servers are warm, with their process ids as the round sees them; the schedule begins after it.
pub(super) type Watcher<'w> = dyn FnMut(&Running, BTreeMap<Side, u32>) + 'w;

/// The same, with somebody who looks on.
pub(super) fn play_watched(
    ctx: &LoadContext<'_>,
    sides: &[Side],
    task: RoundTask,
    seed: u64,
    deadline: Instant,
    watcher: &mut Watcher<'_>,
) -> Result<RoundOutcome, Halt> {
    let broken = |reason, output: &str| Halt::Failed(failure(ctx.suite, None, reason, output));
    let (program, words) = ctx
        .perfsuite
        .split_first()
        .ok_or_else(|| broken(FailureReason::Refused, "perfsuite is not known"))?;
    let inside = if ctx.sandbox.walled() { PathBuf::from(PERFSUITE_INSIDE) } else { PathBuf::from(program) };
    let mut command = ctx.sandbox.command(&inside);
    command.read(program, PERFSUITE_INSIDE);
    command.args(words).arg("load-round").talk().keep(0, STDERR_MAX_BYTES);
    let limits = Limits { memory_bytes: ctx.memory_bytes, deadline: ROUND_LIMIT, ..Limits::default() };
    command.limits(limits);
    let mut servers = Vec::new();
    let mut seen = Vec::new();
    for &side in &Side::BOTH {
        let files = if side == Side::Base { ctx.base } else { ctx.head };
        let checkout = command.read(files.checkout, format!("/build/{}/src", side.as_str()));
        let target = command.read(files.target, format!("/build/{}/target", side.as_str()));
        seen.push((side, checkout, target));
    }
    for side in sides {
        for (_, checkout, target) in seen.iter().filter(|(of, ..)| of == side) {
            let argv = substitute(&ctx.load.server, checkout, target);
            servers.push(ServerPlan { side: *side, argv, cwd: checkout.clone() });
        }
    }
    // One upstream serves both sides, so it is the base's.
    let (_, checkout, target) = &seen[0];
    let mut perfsuite = vec![inside.to_string_lossy().into_owned()];
    perfsuite.extend(words.iter().map(|word| word.to_string_lossy().into_owned()));
    let ready = deadline.saturating_duration_since(Instant::now()).clamp(READY_LEAST, READY_LIMIT);
    let plan = RoundPlan {
        perfsuite,
        upstream: substitute(&ctx.load.upstream, checkout, target),
        servers,
        ready: ctx.load.ready.clone(),
        ready_limit_ms: u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
        connections: ctx.load.connections,
        protocol: ctx.load.protocol,
        requests: ctx.load.requests.clone(),
        spacing: ctx.load.spacing,
        expect: ctx.load.expect.clone(),
        seed,
        task,
    };
    let io = |e: io::Error| broken(FailureReason::Refused, &format!("the round could not be started: {e}"));
    let line = serde_json::to_string(&plan).map_err(|e| io(e.into()))?;
    let mut running = ctx.sandbox.spawn(&command).map_err(io)?;
    // A round that ends before it has read its plan says why on stderr: see below.
    let _ = running.write_line(&line);
    let outcome = loop {
        match running.read_line(STOP_CHECK) {
            Ok(line) => {
                let line = line.filter(|line| line.len() <= RESULT_MAX_BYTES);
                match line.as_deref().map(serde_json::from_str::<RoundOutcome>) {
                    Some(Ok(RoundOutcome::Ready { processes })) => {
                        watcher(&running, processes);
                        // A round that has ended meanwhile says so by the end of its output.
                        let _ = running.write_line("begin");
                    }
                    other => break other,
                }
            }
            Err(e) if e.kind() != io::ErrorKind::TimedOut => break None,
            Err(_) if running.has_ended() => break None,
            Err(_) if ctx.observer.stopped() || Instant::now() > deadline + OVERTIME => {
                return Err(Halt::Stopped);
            }
            Err(_) => {}
        }
    };
    match outcome {
        Some(Ok(outcome)) => Ok(outcome),
        _ => {
            running.kill();
            let (ended, said) = match running.finish() {
                Ok(finished) => (finished.in_words(), finished.stderr_tail),
                Err(e) => (e.to_string(), String::new()),
            };
            let output = format!("the round ended without a result ({ended})\n{said}");
            Err(broken(FailureReason::BadOutput, output.trim_end()))
        }
    }
}

fn substitute(argv: &[String], checkout: &Path, target: &Path) -> Vec<String> {
    let (checkout, target) = (checkout.to_string_lossy(), target.to_string_lossy());
    argv.iter().map(|a| a.replace("{checkout}", &checkout).replace("{target}", &target)).collect()
}
