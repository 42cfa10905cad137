//! `paceline serve`: the server, its loops and its own runner, from start to a graceful stop.

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::runners;
use crate::error::UserError;
use crate::web::{self, listen};
use crate::{history, missed, notify, prune, reconcile, room, sampling, worker};
use anyhow::Context;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The name of the server's own runner.
const OWN_RUNNER: &str = "built-in";
/// How long the own runner may take to hand its job back when we stop.
const RUNNER_STOP_WAIT: Duration = Duration::from_secs(10);
/// A runner that ends is started again after this; it grows with every quick end.
const RUNNER_RESTART_MIN: Duration = Duration::from_secs(1);
const RUNNER_RESTART_MAX: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    pub app: Arc<App>,
    pub address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens, opens everything, starts the loops and, unless switched off, the own runner.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        crate::git::check_available()?;
        let listener = listen::bind(config.listen).map_err(|error| {
            UserError::new(format!(
                "cannot listen on {}: {error}; choose another address with --listen or PACELINE_LISTEN",
                config.listen
            ))
        })?;
        let address = listener.local_addr()?;
        web::health::recorder();
        let app = App::open(config, address, clock).await?;
        let stop = app.stop.clone();
        let mut tasks = vec![
            tokio::spawn(worker::run(app.clone(), stop.clone())),
            tokio::spawn(reconcile::run(app.clone(), stop.clone())),
            tokio::spawn(missed::run(app.clone(), stop.clone())),
            tokio::spawn(room::run(app.clone(), stop.clone())),
            tokio::spawn(prune::run(app.clone(), stop.clone())),
            tokio::spawn(sampling::run(app.clone(), stop.clone())),
            tokio::spawn(history::watch::run(app.clone(), stop.clone())),
            tokio::spawn(notify::send::run(app.clone(), stop.clone())),
            tokio::spawn(listen::serve(
                listener,
                web::router(app.clone()),
                listen::Limits::default(),
                stop.clone(),
            )),
        ];
        if app.config.own_runner {
            tasks.push(tokio::spawn(keep_runner(app.clone(), address, stop.clone())));
        }
        tracing::info!(%address, public_url = app.public_url, "listening");
        Ok(Self { app, address, stop, tasks })
    }

    /// Stops taking work, finishes what was begun, and closes the database.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the server ended badly");
            }
        }
        self.app.db.close().await;
    }
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // Before anybody can know that we are up: a signal that comes at once is answered too.
    let mut signals = StopSignals::catch()?;
    let server = Server::start(config, Clock::system()).await?;
    eprintln!("Paceline listens on http://{}, webhooks at /github/webhook", server.address);
    signals.asked().await;
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

/// SIGTERM and SIGINT, caught from the moment that this is made.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Ends when the process is asked to stop.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Keeps the own runner running: this very program again, with an empty environment but for what building needs.
async fn keep_runner(app: Arc<App>, address: SocketAddr, stop: CancellationToken) {
    let mut wait = RUNNER_RESTART_MIN;
    while !stop.is_cancelled() {
        let started = tokio::time::Instant::now();
        match start_runner(&app, address).await {
            Ok(mut child) => {
                // Taken out of the child, because waiting for it closes what it still has.
                let stdin = child.stdin.take();
                tokio::select! {
                    ended = child.wait() => tracing::warn!(?ended, "the built-in runner ended; it is started again"),
                    () = stop.cancelled() => {
                        drop(stdin);
                        return stop_runner(child).await;
                    }
                }
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "cannot start the built-in runner"),
        }
        wait = if started.elapsed() > RUNNER_RESTART_MAX { RUNNER_RESTART_MIN } else { wait * 2 };
        tokio::select! {
            () = tokio::time::sleep(wait.min(RUNNER_RESTART_MAX)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What the runner's environment keeps: where the toolchain is, how the network is reached, the language of messages.
const RUNNER_ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUST_LOG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

async fn start_runner(app: &App, address: SocketAddr) -> anyhow::Result<Child> {
    // A fresh token for each start: the one before ends with the process that had it.
    let token = runners::new_token();
    runners::upsert(&app.db, OWN_RUNNER, &token, true, app.clock.now_ms()).await?;
    let reach = match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), address.port()),
        _ => address,
    };
    let data_dir =
        std::path::absolute(&app.config.data_dir).context("the data directory has no absolute path")?;
    let cache_dir = app.config.runner_cache_dir.clone().unwrap_or_else(|| data_dir.join("build-cache"));
    let mut command = Command::new(&app.config.program);
    command
        .args(["runner", "--server", &format!("http://{reach}"), "--until-stdin-closes", "--work-dir"])
        .arg(data_dir.join("runner"))
        .arg("--cache-dir")
        .arg(cache_dir)
        .args(["--disk-reserve-mib", &(app.config.disk.reserve_bytes >> 20).to_string()])
        .env_clear()
        .envs(RUNNER_ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PACELINE_RUNNER_TOKEN", token)
        // Held open while we live: it closes when we stop, and also when we are killed.
        .stdin(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().context("cannot start the runner")
}

/// Its standard input is closed, so it hands its job back; SIGKILL when it takes too long.
async fn stop_runner(mut child: Child) {
    if tokio::time::timeout(RUNNER_STOP_WAIT, child.wait()).await.is_err() {
        tracing::warn!("the built-in runner did not stop in time; it is killed");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "the built-in runner could not be killed");
        }
    }
}
