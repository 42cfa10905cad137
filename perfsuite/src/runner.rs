//! The runner: asks the server for jobs, measures them, reports. Carries out what `session` decides.

mod args;
mod calls;
mod here;
mod source;
mod work;

pub use args::RunnerArgs;
pub use here::Here;

use crate::http::Client;
use crate::model::wire::{Lease, Phase, Progress};
use crate::model::{Environment, Evidence, JobSpec};
use crate::observe::Observer;
use crate::session::{Effect, Input, Lifetime, Session};
use anyhow::Context;
use std::future::Future;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use work::{FAREWELL_MAX, Work};

/// Work that was told to stop kills its children within a tenth of a second; much longer, and something is wrong that
/// only a new process cures.
const STOP_MAX: Duration = Duration::from_secs(120);

/// What a runner needs to know.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// The server's address, with any path in front of `/runner/v1`.
    pub server: String,
    pub token: Token,
    /// Jobs live and die below it. No other runner may use it at the same time.
    pub work_dir: PathBuf,
    pub lifetime: Lifetime,
}

/// A bearer token, which does not show itself in logs.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where one job's files are.
#[derive(Clone, Debug)]
pub struct Workplace {
    /// A bare repository that holds `refs/paceline/base` and `refs/paceline/head`.
    pub repository: PathBuf,
    /// Empty at first, removed when the job is over.
    pub work_dir: PathBuf,
}

/// What measures. Called from a thread of its own, one job at a time.
pub trait Measure: Send + Sync + 'static {
    fn environment(&self) -> Environment;

    /// Whether code from strangers can be walled in here.
    fn sandboxed(&self) -> bool;

    /// Whether a job can be taken now, else why not, in words. Frees what space it can first.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// Measures a job. Asks `observer` often whether to stop, and returns soon after it says so, with any result.
    fn measure(&self, spec: &JobSpec, place: &Workplace, observer: &dyn Observer)
    -> anyhow::Result<Evidence>;
}

/// SIGTERM and SIGINT, as [`run`] wants them.
pub fn stop_signals() -> anyhow::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (send, receive) = mpsc::channel(2);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("cannot listen to signals")?;
        let send = send.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && send.send(()).await.is_ok() {} });
    }
    Ok(receive)
}

/// Serves jobs until its lifetime is over or it is stopped: the first message on `stop` hands the job back, the second
/// waits for nothing. Survives a server that goes away and comes back.
pub async fn run(
    config: RunnerConfig,
    measure: Arc<dyn Measure>,
    mut stop: mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let client = Client::new(&config.server, &config.token.0)?;
    let _lock = claim_work_dir(&config.work_dir)?;
    tracing::info!(server = config.server, sandboxed = measure.sandboxed(), "runner started");
    let mut session = Session::new(config.lifetime, rand::random());
    let mut driver = Driver {
        client,
        measure,
        jobs_dir: config.work_dir.join("jobs"),
        begin: Instant::now(),
        operation: None,
        fetching: None,
        leaving: None,
        beat: None,
        beat_at: None,
        work: None,
        kill_at: None,
    };
    let mut input = Input::Start;
    loop {
        tracing::debug!(?input, "step");
        for effect in session.step(driver.now_ms(), input) {
            tracing::debug!(?effect, "effect");
            match effect {
                Effect::Quit(result) => return result.map_err(anyhow::Error::msg),
                Effect::CleanUp => driver.clean_up().await,
                other => driver.perform(other, session.lease())?,
            }
        }
        input = driver.next(&mut stop).await?;
    }
}

/// Makes the directories, takes the lock, and removes what a runner that was killed has left.
fn claim_work_dir(work_dir: &Path) -> anyhow::Result<std::fs::File> {
    let jobs = work_dir.join("jobs");
    let cannot = || format!("cannot use {} as the runner's work directory", work_dir.display());
    // Sources of private repositories are nobody else's on this machine to read.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&jobs).with_context(cannot)?;
    std::fs::set_permissions(&jobs, std::fs::Permissions::from_mode(0o700)).with_context(cannot)?;
    let lock = std::fs::File::create(work_dir.join("lock")).with_context(cannot)?;
    lock.try_lock()
        .with_context(|| format!("another runner works in {}; give each its own", work_dir.display()))?;
    for entry in std::fs::read_dir(&jobs).with_context(cannot)? {
        crate::disk::remove_tree(&entry?.path()).with_context(cannot)?;
    }
    Ok(lock)
}

type Pending = Pin<Box<dyn Future<Output = Input> + Send>>;

struct Driver {
    client: Client,
    measure: Arc<dyn Measure>,
    jobs_dir: PathBuf,
    begin: Instant,
    /// The one operation under way.
    operation: Option<Pending>,
    /// Stops that operation, where it is the fetching of sources.
    fetching: Option<CancellationToken>,
    /// A fetch that was told to stop, and has not stopped.
    leaving: Option<Pending>,
    beat: Option<Pending>,
    beat_at: Option<Instant>,
    /// The job's files, log and thread, from lease to clean-up.
    work: Option<Work>,
    /// When work that was told to stop is overdue.
    kill_at: Option<Instant>,
}

impl Driver {
    fn now_ms(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// The next thing that happens.
    async fn next(&mut self, stop: &mut mpsc::Receiver<()>) -> anyhow::Result<Input> {
        tokio::select! {
            biased;
            Some(()) = stop.recv() => Ok(Input::StopAsked),
            input = pending(&mut self.operation) => {
                self.fetching = None;
                Ok(input)
            }
            input = pending(&mut self.beat) => Ok(input),
            input = work_ended(&mut self.work) => {
                self.kill_at = None;
                Ok(input)
            }
            () = at(self.beat_at) => {
                self.beat_at = None;
                Ok(Input::BeatDue)
            }
            () = at(self.kill_at) => anyhow::bail!("the measurement did not stop within {} s", STOP_MAX.as_secs()),
        }
    }

    fn perform(&mut self, effect: Effect, lease: Option<&Lease>) -> anyhow::Result<()> {
        match (effect, lease) {
            (Effect::Claim, _) => {
                self.operation = Some(Box::pin(calls::claim(self.client.clone(), self.measure.clone())));
            }
            (Effect::Wait { ms }, _) => {
                let over = Duration::from_millis(ms);
                self.operation = Some(Box::pin(async move {
                    tokio::time::sleep(over).await;
                    Input::WaitOver
                }));
            }
            (Effect::BeatAfter { ms }, _) => self.beat_at = Some(Instant::now() + Duration::from_millis(ms)),
            (effect, Some(lease)) => self.perform_on_job(effect, lease)?,
            (effect, None) => anyhow::bail!("no lease for {effect:?}"),
        }
        Ok(())
    }

    fn perform_on_job(&mut self, effect: Effect, lease: &Lease) -> anyhow::Result<()> {
        let client = self.client.clone();
        let (job, fence) = (lease.spec.job.clone(), lease.fence);
        let work = self.work.get_or_insert_with(|| {
            tracing::info!(%job, repository = lease.spec.repository, "job taken");
            Work::new(self.jobs_dir.join(fence_name(lease)))
        });
        match effect {
            Effect::FetchSource => {
                let preparing = Progress {
                    phase: Phase::Preparing,
                    text: "fetching the sources".into(),
                    done: 0,
                    total: 0,
                };
                work.logbook.progress(preparing);
                let stop = CancellationToken::new();
                let fetch = source::fetch(client, lease.clone(), work.directory.clone(), stop.clone());
                self.operation = Some(Box::pin(fetch));
                self.fetching = Some(stop);
            }
            Effect::StartWork => work.start(self.measure.clone(), lease.spec.clone())?,
            Effect::StopWork { reason } => {
                tracing::info!(%job, reason, "stopping");
                work.stop();
                self.kill_at = Some(Instant::now() + STOP_MAX);
                self.leave();
            }
            Effect::UploadEvidence => {
                let logbook = work.logbook.clone();
                self.operation = Some(Box::pin(calls::upload(client, job, fence, logbook, work.evidence())));
            }
            Effect::Finish(outcome) => {
                tracing::info!(%job, ?outcome, "finishing");
                // A heartbeat that overtakes the end of its job would be told that the job is not ours.
                (self.beat, self.beat_at) = (None, None);
                let logbook = work.logbook.clone();
                self.operation = Some(Box::pin(calls::finish(client, job, fence, logbook, outcome)));
            }
            Effect::Heartbeat => {
                let logbook = work.logbook.clone();
                self.beat = Some(Box::pin(calls::heartbeat(client, job, fence, logbook)));
            }
            other => anyhow::bail!("{other:?} is nothing to do for a job"),
        }
        Ok(())
    }

    /// Gives up the operation under way.
    fn leave(&mut self) {
        let operation = self.operation.take();
        if let Some(stop) = self.fetching.take() {
            stop.cancel();
            self.leaving = operation.or(self.leaving.take());
        }
    }

    async fn clean_up(&mut self) {
        self.leave();
        if let Some(leaving) = self.leaving.take() {
            // It has killed whom it started; files may go once they have died.
            let _ = tokio::time::timeout(FAREWELL_MAX, leaving).await;
        }
        (self.beat, self.beat_at, self.kill_at) = (None, None, None);
        if let Some(work) = self.work.take() {
            work.clean_up().await;
        }
    }
}

/// The directory of one attempt: ids come from the server, so that only harmless characters are kept.
fn fence_name(lease: &Lease) -> String {
    let id: String =
        lease.spec.job.0.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    format!("{id}.{}", lease.fence.0)
}

/// Resolves when there is something pending and it is done.
async fn pending(slot: &mut Option<Pending>) -> Input {
    match slot {
        Some(future) => {
            let input = future.await;
            *slot = None;
            input
        }
        None => std::future::pending().await,
    }
}

async fn work_ended(work: &mut Option<Work>) -> Input {
    match work {
        Some(work) => work.ended().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
