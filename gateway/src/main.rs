//! The command line of the gateway.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gateway::config::Address;
use gateway::reload::{Loaded, Source};
use gateway::server::{Options, Running, start};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// So that `/debug/pprof/heap` can say what is allocated.
#[global_allocator]
static HEAP: gateway::profile::Heap = gateway::profile::HEAP;

/// An HTTP gateway: dynamic routes, rate limiter, circuit breaker.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,
    #[command(flatten)]
    run: Option<Run>,
}

const EXAMPLES: &str = "\
Examples:
  gateway --config gateway.toml
  gateway run --config gateway.toml --listen 0.0.0.0:8080 --admin 127.0.0.1:9090
  gateway --config gateway/scenarios/proxy.toml --listen 127.0.0.1:8080 --upstream 127.0.0.1:9000
  gateway check gateway.toml

SIGHUP reads the configuration again and opens the access log anew. SIGTERM and SIGINT stop it once the
requests under way are over; a second one stops it at once.";

#[derive(Subcommand)]
enum Verb {
    /// Serve. This is what `gateway` does without a command, too.
    Run(Run),
    /// Check a configuration; prints the first fault with its line and column, and exits with 1.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
}

#[derive(Args)]
struct Run {
    /// The configuration file; looked at every second, and reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to listen, instead of the file's `server.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where to offer /healthz, /readyz and /metrics, instead of the file's `server.admin`.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// How many threads serve, instead of the file's `server.threads`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// An address in place of those of every upstream; for benchmarks and demonstrations.
    #[arg(long, value_name = "ADDR")]
    upstream: Option<Address>,
    /// What to log on standard error.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match (cli.command, cli.run) {
        (Some(Verb::Check { file }), _) => check(file),
        (Some(Verb::Run(run)), _) | (None, Some(run)) => serve(run),
        (None, None) => {
            let _ = <Cli as clap::CommandFactory>::command().print_help();
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: PathBuf) -> anyhow::Result<()> {
    let (_, Loaded { config, .. }) = Source::open(&Options { config: file.clone(), ..Options::default() })?;
    let (routes, upstreams) = (config.routes.len(), config.upstreams.len());
    println!("{}: valid, {routes} routes, {upstreams} upstreams", file.display());
    Ok(())
}

fn serve(run: Run) -> anyhow::Result<()> {
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_max_level(run.log).with_ansi(colours).with_writer(std::io::stderr).init();
    let options = Options {
        config: run.config,
        listen: run.listen,
        admin: run.admin,
        threads: run.threads.map(usize::from),
        upstream: run.upstream,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        // Before the start, so that no signal comes too early.
        let (hangup, end) = (signal(SignalKind::hangup())?, Ends::watch()?);
        let running = start(&options)?;
        let or_off = |address: Option<SocketAddr>| address.map_or_else(|| "off".into(), |at| at.to_string());
        let (tls, admin) = (or_off(running.listen_tls), or_off(running.admin));
        tracing::info!(listen = %running.listen, tls, admin, "listening");
        until_end(running, hangup, end).await
    })
}

async fn until_end(running: Running, mut hangup: Signal, mut ends: Ends) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = hangup.recv() => running.reload(),
            () = ends.next() => break,
        }
    }
    tracing::info!("stopping");
    let stopped = tokio::task::spawn_blocking(|| running.stop());
    tokio::select! {
        stopped = stopped => stopped.context("the stop failed"),
        () = ends.next() => {
            tracing::warn!("stopped at once");
            std::process::exit(1);
        }
    }
}

/// The signals that ask for an end.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn watch() -> std::io::Result<Ends> {
        Ok(Ends { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
