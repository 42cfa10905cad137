//! `perfsuite load-round`: one visit. Fresh processes of both servers, one schedule, figures per side, all stopped.
//!
//! It is the first process of its sandbox: it talks to nothing but loopback, its own children, stdin and stdout.

use super::{
    affinity::{self, Pinned, Shares},
    cpu::{CpuReading, memory_peak_bytes, own_thread_ns, resident_bytes},
    generator::{Generator, GeneratorError, Observed, RESPONSE_MAX_BYTES, Target},
    knee::KneeSearch,
    lane::nanos,
    schedule::{ScheduleSpec, schedule},
    server::{Readiness, Server, Start},
    wire::{PLAN_MAX_BYTES, RoundFailure, RoundOutcome, RoundPlan, RoundResult, RoundTask, Spent},
};
use crate::model::{FailureReason, Side, scenario::Probe};
use anyhow::Context;
use std::{
    collections::BTreeMap,
    io::{BufRead, Read, Write},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

/// How often the servers are looked at while the schedule runs.
const WATCH: Duration = Duration::from_millis(50);
/// After the last answer, so that the servers have gone to sleep and the kernel has booked their time.
const SETTLE: Duration = Duration::from_millis(5);
/// Mixed into the seed for the warm-up, so that it is not the measured schedule twice.
const WARMUP_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Reads a [`RoundPlan`] from a line on stdin, prints a [`RoundOutcome`] as a line. An error only when there is no plan.
pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PLAN_MAX_BYTES as u64).read_line(&mut text);
    read.context("cannot read the round's plan from stdin")?;
    let plan: RoundPlan = serde_json::from_str(&text).context("the round's plan on stdin is not one")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(round(&plan));
    let mut line = serde_json::to_vec(&outcome)?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).context("cannot print the round's outcome")
}

/// Plays one round. Whatever happens, all its processes are stopped. Wants a runtime of one thread, whose cores it
/// chooses for as long as it lasts.
pub async fn round(plan: &RoundPlan) -> RoundOutcome {
    let mut servers = Vec::with_capacity(plan.servers.len() + 1);
    let shares = affinity::current().ok().and_then(|cores| Shares::of(&cores));
    // Where cores cannot be chosen (a filter may forbid it), everything runs anywhere, and the result says so.
    let pinned = shares.as_ref().and_then(|shares| Pinned::to(&shares.generator).ok());
    let shares = shares.filter(|_| pinned.is_some());
    let outcome = match play(plan, shares.as_ref(), &mut servers).await {
        Ok(outcome) => outcome,
        Err(Trouble::Failed(failure)) => RoundOutcome::Failed(failure),
        Err(Trouble::Ended { index, what }) => {
            let server = servers.swap_remove(index);
            RoundOutcome::Failed(server.fail(FailureReason::Panicked, &what).await)
        }
    };
    for server in &mut servers {
        server.stop().await;
    }
    outcome
}

enum Trouble {
    Failed(RoundFailure),
    /// A server that was ready has ended.
    Ended {
        index: usize,
        what: String,
    },
}

impl Trouble {
    fn refused(output: impl Into<String>) -> Self {
        Trouble::Failed(RoundFailure { side: None, reason: FailureReason::Refused, output: output.into() })
    }
}

impl From<RoundFailure> for Trouble {
    fn from(failure: RoundFailure) -> Self {
        Trouble::Failed(failure)
    }
}

impl From<GeneratorError> for Trouble {
    fn from(error: GeneratorError) -> Self {
        let (side, reason) = match &error {
            GeneratorError::Connect { side, .. } => (Some(*side), FailureReason::NotReady),
            _ => (None, FailureReason::Refused),
        };
        Trouble::Failed(RoundFailure { side, reason, output: error.to_string() })
    }
}

async fn play(
    plan: &RoundPlan,
    shares: Option<&Shares>,
    servers: &mut Vec<Server>,
) -> Result<RoundOutcome, Trouble> {
    let targets = start_all(plan, shares, servers).await?;
    let connections = plan.connections as usize;
    let mut generator =
        Generator::connect(&targets, connections, plan.protocol, &plan.requests, RESPONSE_MAX_BYTES).await?;
    generator.expect(&plan.expect);
    let spec = |rate_per_second: f64, window_ms: u64, seed: u64| ScheduleSpec {
        rate_per_second,
        window_ns: window_ms.saturating_mul(1_000_000),
        spacing: plan.spacing,
        sides: targets.iter().map(|target| target.side).collect(),
        templates: plan.requests.len() as u32,
        seed,
    };
    match plan.task {
        RoundTask::Measure { rate_per_second, warmup_ms, window_ms }
        | RoundTask::Watched { rate_per_second, warmup_ms, window_ms } => {
            let warmup = spec(rate_per_second, warmup_ms, plan.seed ^ WARMUP_SEED);
            observe(&mut generator, &warmup, servers).await?;
            if let RoundTask::Watched { .. } = plan.task {
                wait_to_be_told(servers)?;
            }
            let (before, own_before) = (readings(servers)?, own_thread_ns());
            let observed =
                observe(&mut generator, &spec(rate_per_second, window_ms, plan.seed), servers).await?;
            let own =
                own_thread_ns().zip(own_before).map_or(0, |(after, before)| after.saturating_sub(before));
            let after = readings(servers)?;
            let result = result(&observed, &before, &after);
            let pinned = shares.is_some();
            Ok(RoundOutcome::Measured(RoundResult { pinned, generator_cpu_ns: own, ..result }))
        }
        RoundTask::Knee { p99_limit_ns, probe_ms, limit_ms } => {
            let ends = Instant::now() + Duration::from_millis(limit_ms);
            let mut search = KneeSearch::new(p99_limit_ns);
            let mut seed = plan.seed;
            while let Some(rate) = search.next_rate().filter(|_| Instant::now() < ends) {
                seed = seed.wrapping_add(1);
                let observed = observe(&mut generator, &spec(rate, probe_ms, seed), servers).await?;
                let (probe, requests) = probe(rate, &observed);
                search.saw(probe, requests);
            }
            Ok(RoundOutcome::Knee(search.result()))
        }
    }
}

/// Says which processes the servers are, and waits for a line. Nothing is on its way meanwhile, so the runtime may wait.
fn wait_to_be_told(servers: &[Server]) -> Result<(), Trouble> {
    let processes = servers.iter().filter_map(|server| Some((server.side?, server.pid))).collect();
    let told = || -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&RoundOutcome::Ready { processes })?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.flush()?;
        std::io::stdin().lock().take(PLAN_MAX_BYTES as u64).read_line(&mut String::new()).map(drop)
    };
    told().map_err(|error| Trouble::refused(format!("nobody says when to begin: {error}")))
}

/// Starts the upstream, then the servers in the plan's order; each is ready before the next one starts.
async fn start_all(
    plan: &RoundPlan,
    shares: Option<&Shares>,
    servers: &mut Vec<Server>,
) -> Result<Vec<Target>, Trouble> {
    let Some(readiness) = Readiness::parse(&plan.ready, plan.protocol) else {
        return Err(Trouble::refused(format!("ready = {:?} is not `METHOD /path`", plan.ready)));
    };
    let limit = Duration::from_millis(plan.ready_limit_ms);
    let mut upstream = None;
    if !plan.upstream.is_empty() {
        let argv = |address| substitute(&plan.upstream, &plan.perfsuite, None, Some(address));
        let cwd = plan.servers.first().map_or(Path::new("/"), |server| &server.cwd);
        let cores = shares.map(|shares| shares.upstream.as_slice());
        let start = Start { side: None, argv: &argv, cwd, readiness: &Readiness::Connect, limit, cores };
        let server = Server::start(&start).await.map_err(name_upstream)?;
        upstream = Some(server.address);
        servers.push(server);
    }
    let mut targets = Vec::new();
    for planned in &plan.servers {
        let argv = |address| substitute(&planned.argv, &plan.perfsuite, Some(address), upstream);
        let side = Some(planned.side);
        let cores = shares.map(|shares| shares.servers.as_slice());
        let start = Start { side, argv: &argv, cwd: &planned.cwd, readiness: &readiness, limit, cores };
        let server = Server::start(&start).await?;
        targets.push(Target { side: planned.side, address: server.address });
        servers.push(server);
    }
    Ok(targets)
}

fn name_upstream(failure: RoundFailure) -> RoundFailure {
    RoundFailure { output: format!("upstream: {}", failure.output), ..failure }
}

/// Runs one schedule, unless a server ends first.
async fn observe(
    generator: &mut Generator,
    spec: &ScheduleSpec,
    servers: &mut [Server],
) -> Result<Observed, Trouble> {
    let dues = schedule(spec);
    let observed = tokio::select! {
        observed = generator.run(&dues) => observed?,
        trouble = watch(servers) => return Err(trouble),
    };
    tokio::time::sleep(SETTLE).await;
    ended(servers).map_or(Ok(observed), Err)
}

async fn watch(servers: &mut [Server]) -> Trouble {
    loop {
        tokio::time::sleep(WATCH).await;
        if let Some(trouble) = ended(servers) {
            return trouble;
        }
    }
}

fn ended(servers: &mut [Server]) -> Option<Trouble> {
    servers.iter_mut().enumerate().find_map(|(index, server)| {
        let status = server.ended()?;
        let name = server.side.map_or("the upstream", |_| "the server");
        Some(Trouble::Ended {
            index,
            what: format!("{name} ended ({status}) while requests were on their way"),
        })
    })
}

/// What a server has used up to now: CPU time, and the memory that it holds.
struct Reading {
    cpu: CpuReading,
    resident_bytes: Option<u64>,
}

fn readings(servers: &[Server]) -> Result<BTreeMap<Side, Reading>, Trouble> {
    let mut readings = BTreeMap::new();
    for server in servers.iter() {
        let Some(side) = server.side else { continue };
        let Ok(cpu) = CpuReading::of(server.pid) else {
            let output = format!("the CPU time of process {} cannot be read from /proc", server.pid);
            let reason = FailureReason::BadOutput;
            return Err(Trouble::Failed(RoundFailure { side: Some(side), reason, output }));
        };
        let resident_bytes = resident_bytes(cpu.processes());
        readings.insert(side, Reading { cpu, resident_bytes });
    }
    Ok(readings)
}

fn result(
    observed: &Observed,
    before: &BTreeMap<Side, Reading>,
    after: &BTreeMap<Side, Reading>,
) -> RoundResult {
    let side_of = |(side, tally): &(Side, super::wire::Tally)| {
        let mut spent = Spent::default();
        if let (Some(before), Some(after)) = (before.get(side), after.get(side)) {
            spent.cpu_ns = after.cpu.since(&before.cpu);
            let growth =
                |(after, before)| i64::try_from(after).ok()?.checked_sub(i64::try_from(before).ok()?);
            spent.memory_growth_bytes = after.resident_bytes.zip(before.resident_bytes).and_then(growth);
            spent.memory_peak_bytes = after.cpu.processes().map(memory_peak_bytes).sum();
        }
        (*side, tally.result(spent))
    };
    RoundResult {
        sides: observed.sides.iter().map(side_of).collect(),
        pinned: false,
        lateness_p50_ns: observed.lateness.value_at_quantile(0.5),
        lateness_p99_ns: observed.lateness.value_at_quantile(0.99),
        unsent: observed.unsent,
        elapsed_ns: nanos(observed.elapsed),
        generator_cpu_ns: 0,
    }
}

/// One step of the knee's search, and how many requests it was.
fn probe(rate_per_second: f64, observed: &Observed) -> (Probe, u64) {
    let p99 = observed.sides.iter().map(|(_, tally)| tally.latency.value_at_quantile(0.99)).max();
    let requests = observed.sides.iter().map(|(_, tally)| tally.scheduled).sum::<u64>() + observed.unsent;
    let probe = Probe {
        rate_per_second,
        p99_ns: p99.unwrap_or(0),
        lateness_p99_ns: observed.lateness.value_at_quantile(0.99),
        errors: observed.errors() + observed.unsent,
    };
    (probe, requests)
}

/// Replaces what is known only here. `{perfsuite}` as a whole argument becomes all of its words.
fn substitute(
    argv: &[String],
    perfsuite: &[String],
    listen: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
) -> Vec<String> {
    let replace = |argument: &String| {
        let mut text = argument.clone();
        for (word, value) in [("{listen}", listen), ("{upstream}", upstream)] {
            if let Some(value) = value {
                text = text.replace(word, &value.to_string());
            }
        }
        text.replace("{perfsuite}", perfsuite.first().map_or("perfsuite", String::as_str))
    };
    let expand = |argument: &String| match argument.as_str() {
        "{perfsuite}" => perfsuite.to_vec(),
        _ => vec![replace(argument)],
    };
    argv.iter().flat_map(expand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_perfsuite_may_be_two() {
        let argv = ["{perfsuite}", "upstream", "--listen", "{upstream}", "x={listen}"].map(String::from);
        let perfsuite = ["/bin/paceline", "perfsuite"].map(String::from);
        let address = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(
            substitute(&argv, &perfsuite, address(1), address(2)),
            ["/bin/paceline", "perfsuite", "upstream", "--listen", "127.0.0.1:2", "x=127.0.0.1:1"]
        );
    }
}
