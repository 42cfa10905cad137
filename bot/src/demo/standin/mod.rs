//! A stand-in for GitHub on loopback: stateful, in memory, strict where GitHub is strict.
//!
//! It serves what Paceline uses: App and installation tokens, repositories, pull requests, comments, check runs,
//! reactions, permissions, webhooks, and the repositories themselves through git's smart HTTP. With and without the
//! prefix `/api/v3`. Used by `paceline demo` and by the tests, which can also make it fail.

mod access;
mod answer;
mod api;
mod call;
mod checks;
mod deliveries;
mod fault;
mod git_http;
mod git_store;
mod json;
mod key;
mod past;
mod scene;
mod server;
mod sign_in;
mod state;
mod webhook;

pub use fault::{Fault, FaultKind, Weather};
pub use scene::{Covered, NewPull, NewRepository, PullEdit};
pub use state::{AnnotationSeen, CheckRunSeen, CommentSeen, RequestSeen};
pub use webhook::{Delivered, Event, Parcel};

use crate::clock::Clock;
use secrecy::SecretString;
use state::State;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How to start a stand-in.
#[derive(Clone, Debug)]
pub struct StandInOptions {
    /// Where the bare repositories are kept; made when missing.
    pub dir: PathBuf,
    /// Zero: any free port.
    pub port: u16,
    pub clock: Clock,
    /// How long after it was carried out a write is answered; GitHub takes some tenths of a second.
    pub answer_writes_after: Duration,
    /// The time of every commit, so that two stand-ins with the same story have the same commits; `None`: now.
    pub commits_at_s: Option<i64>,
}

impl StandInOptions {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: 0,
            clock: Clock::system(),
            answer_writes_after: Duration::ZERO,
            commits_at_s: None,
        }
    }
}

/// What a new App's owner would copy from GitHub's page.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    pub app_id: u64,
    pub slug: String,
    /// PEM.
    pub private_key: SecretString,
    pub webhook_secret: SecretString,
}

/// A running stand-in. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct StandIn {
    shared: Arc<Shared>,
    _server: Arc<ServerTask>,
}

/// What the server's requests and the handle have in common.
struct Shared {
    state: Mutex<State>,
    dir: PathBuf,
    address: SocketAddr,
    clock: Clock,
    answer_writes_after: Duration,
    commits_at_s: Option<i64>,
    /// Ends what hangs.
    stopped: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held has failed already; the others' view stays whole.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

struct ServerTask {
    task: tokio::task::JoinHandle<()>,
    stopped: CancellationToken,
}

impl Drop for ServerTask {
    fn drop(&mut self) {
        self.stopped.cancel();
        self.task.abort();
    }
}

impl StandIn {
    /// Binds to loopback and serves until dropped. Needs a tokio runtime and the git command.
    pub async fn start(options: StandInOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir)?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            dir: options.dir,
            address: listener.local_addr()?,
            clock: options.clock,
            answer_writes_after: options.answer_writes_after,
            commits_at_s: options.commits_at_s,
            stopped: CancellationToken::new(),
        });
        let stopped = shared.stopped.clone();
        let task = tokio::spawn(server::serve(listener, shared.clone()));
        Ok(Self { shared, _server: Arc::new(ServerTask { task, stopped }) })
    }

    /// The address as github.com's API would be given: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// The address as an Enterprise Server's API would be given: with `/api/v3`.
    pub fn enterprise_url(&self) -> String {
        format!("{}/api/v3", self.shared.url())
    }

    /// Makes the next matching requests fail.
    pub fn fail(&self, fault: Fault) {
        self.shared.state().faults.expected.push(fault);
    }

    /// Makes requests fail at random from now on; `None`: no longer.
    pub fn weather(&self, weather: Option<Weather>) {
        self.shared.state().faults.weather = weather;
    }

    /// Does something right after the next matching request was carried out and before its answer goes out: what
    /// happens at GitHub while somebody reads.
    pub fn after(&self, method: &str, part: &str, act: impl FnOnce() + Send + 'static) {
        let trap = state::Trap { method: method.into(), part: part.into(), act: Box::new(act) };
        self.shared.state().traps.push(trap);
    }

    /// How many requests there were, by method; git's apart, and those whose answer was that nothing changed.
    pub fn totals(&self) -> std::collections::BTreeMap<String, usize> {
        self.shared.state().totals.clone()
    }

    /// How many requests were made to fail, by how.
    pub fn failed(&self) -> std::collections::BTreeMap<&'static str, usize> {
        self.shared.state().faults.made.clone()
    }

    /// Requests so far, oldest first, bounded to the newest 20,000.
    pub fn requests(&self) -> Vec<RequestSeen> {
        self.shared.state().requests.iter().cloned().collect()
    }

    /// How many requests had this method and a path containing `part` (prefix and query included).
    pub fn count(&self, method: &str, part: &str) -> usize {
        let state = self.shared.state();
        state.requests.iter().filter(|r| r.method == method && r.target.contains(part)).count()
    }
}
