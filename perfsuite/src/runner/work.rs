//! One job's thread, its files, and what it says meanwhile.

use super::{Measure, Workplace, source};
use crate::model::wire::{EVIDENCE_MAX_BYTES, HEARTBEAT_LOG_LINES_MAX, LOG_LINE_CHARS_MAX, Phase, Progress};
use crate::model::{Evidence, JobSpec};
use crate::observe::Observer;
use crate::session::Input;
use anyhow::{Context, ensure};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

/// JSON of samples shrinks to a tenth at this level; higher ones cost seconds for little.
const ZSTD_LEVEL: i32 = 6;
/// Log lines that wait for a heartbeat: three heartbeats' worth, for a server that is away for a moment.
const LOG_LINES_MAX: usize = 3 * HEARTBEAT_LOG_LINES_MAX;

/// Work that is dropped kills its children within a tenth of a second; it is not waited for much longer.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(5);

pub(super) struct Work {
    pub(super) directory: PathBuf,
    pub(super) logbook: Arc<Logbook>,
    running: Option<oneshot::Receiver<Input>>,
    stopped: bool,
}

impl Work {
    pub(super) fn new(directory: PathBuf) -> Work {
        Work { directory, logbook: Arc::default(), running: None, stopped: false }
    }

    pub(super) fn evidence(&self) -> PathBuf {
        self.directory.join("evidence.json.zst")
    }

    pub(super) fn start(&mut self, measure: Arc<dyn Measure>, spec: JobSpec) -> anyhow::Result<()> {
        let (send, receive) = oneshot::channel();
        let (logbook, evidence) = (self.logbook.clone(), self.evidence());
        let place = Workplace {
            repository: source::repository(&self.directory),
            work_dir: self.directory.join("work"),
        };
        std::thread::Builder::new()
            .name("measure".into())
            .spawn(move || {
                let outcome = std::panic::AssertUnwindSafe(|| {
                    std::fs::create_dir_all(&place.work_dir)
                        .context("cannot make the job's work directory")?;
                    let found = measure.measure(&spec, &place, &*logbook)?;
                    store(&found, &evidence)
                });
                let input = match std::panic::catch_unwind(outcome) {
                    Ok(Ok(())) => Input::WorkDone,
                    Ok(Err(error)) => failed(format!("{error:#}"), &logbook),
                    Err(_) => failed("the runner itself failed; its log has more".into(), &logbook),
                };
                // Nobody listens any more when the runner is ending.
                let _ = send.send(input);
            })
            .context("cannot start a thread")?;
        self.running = Some(receive);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.logbook.stop.store(true, Ordering::Relaxed);
    }

    /// The end of the thread, once. Work that was told to stop has stopped, whatever it says.
    pub(super) async fn ended(&mut self) -> Input {
        let input = match &mut self.running {
            Some(running) => {
                running.await.unwrap_or_else(|_| failed("the thread vanished".into(), &self.logbook))
            }
            None if self.stopped => Input::WorkStopped,
            None => return std::future::pending().await,
        };
        self.running = None;
        if std::mem::take(&mut self.stopped) { Input::WorkStopped } else { input }
    }

    /// Removes the job's files. A thread that still runs is told to stop, and may hold a file open.
    pub(super) async fn clean_up(mut self) {
        self.stop();
        if let Some(running) = self.running.take() {
            // However it ends, its files go.
            let _ = tokio::time::timeout(FAREWELL_MAX, running).await;
        }
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || crate::disk::remove_tree(&directory)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot remove a job's files");
        }
    }
}

fn failed(message: String, logbook: &Logbook) -> Input {
    tracing::warn!(message, "the job failed");
    Input::WorkFailed { message, output: logbook.recent() }
}

fn store(evidence: &Evidence, to: &Path) -> anyhow::Result<()> {
    let json = serde_json::to_vec(evidence).context("cannot write the evidence as JSON")?;
    let bytes = zstd::encode_all(json.as_slice(), ZSTD_LEVEL).context("cannot compress the evidence")?;
    ensure!(
        bytes.len() <= EVIDENCE_MAX_BYTES,
        "the evidence is larger than {} MiB; measure fewer benchmarks in one run",
        EVIDENCE_MAX_BYTES >> 20
    );
    std::fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// Progress and log lines between the measuring thread and the heartbeats.
pub(super) struct Logbook {
    stop: AtomicBool,
    page: Mutex<Page>,
}

struct Page {
    progress: Progress,
    waiting: VecDeque<String>,
    /// Lines that had to go because nobody took them in time.
    dropped: u64,
    /// The end of the log, for a failure's report.
    recent: VecDeque<String>,
}

impl Default for Logbook {
    fn default() -> Self {
        let progress = Progress { phase: Phase::Preparing, text: "preparing".into(), done: 0, total: 0 };
        let page = Page { progress, waiting: VecDeque::new(), dropped: 0, recent: VecDeque::new() };
        Self { stop: AtomicBool::new(false), page: Mutex::new(page) }
    }
}

impl Logbook {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn last_progress(&self) -> Progress {
        self.page().progress.clone()
    }

    /// Up to `max` lines, oldest first, with a word about those that were dropped before them.
    pub(super) fn take(&self, max: usize) -> Vec<String> {
        let mut page = self.page();
        let dropped = std::mem::take(&mut page.dropped);
        let notice = (dropped > 0).then(|| format!("({dropped} lines left out)"));
        let lines = max.saturating_sub(notice.iter().len()).min(page.waiting.len());
        notice.into_iter().chain(page.waiting.drain(..lines)).collect()
    }

    /// Lines that were taken and could not be delivered.
    pub(super) fn put_back(&self, lines: Vec<String>) {
        let mut page = self.page();
        for line in lines.into_iter().rev() {
            if page.waiting.len() < LOG_LINES_MAX {
                page.waiting.push_front(line);
            } else {
                page.dropped += 1;
            }
        }
    }

    fn recent(&self) -> String {
        self.page().recent.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Observer for Logbook {
    fn progress(&self, progress: Progress) {
        self.page().progress = progress;
    }

    fn log(&self, line: &str) {
        /// Enough to see why a build failed.
        const RECENT_MAX: usize = 60;
        let line: String = line.chars().take(LOG_LINE_CHARS_MAX).collect();
        let mut page = self.page();
        if page.recent.len() == RECENT_MAX {
            page.recent.pop_front();
        }
        page.recent.push_back(line.clone());
        if page.waiting.len() == LOG_LINES_MAX {
            page.waiting.pop_front();
            page.dropped += 1;
        }
        page.waiting.push_back(line);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chatty_job_drops_its_oldest_lines_and_says_how_many() {
        let logbook = Logbook::default();
        for n in 0..LOG_LINES_MAX + 5 {
            logbook.log(&n.to_string());
        }
        let lines = logbook.take(HEARTBEAT_LOG_LINES_MAX);
        assert_eq!(lines.len(), HEARTBEAT_LOG_LINES_MAX);
        assert_eq!(lines[..2], ["(5 lines left out)", "5"]);
        let next = logbook.take(1);
        assert_eq!(next, [(HEARTBEAT_LOG_LINES_MAX + 4).to_string()]);
    }

    #[test]
    fn lines_that_were_not_delivered_come_again_in_order() {
        let logbook = Logbook::default();
        for line in ["a", "b", "c"] {
            logbook.log(line);
        }
        let taken = logbook.take(2);
        logbook.put_back(taken);
        assert_eq!(logbook.take(10), ["a", "b", "c"]);
        assert_eq!(logbook.recent(), "a\nb\nc\n");
    }

    #[test]
    fn a_long_line_is_cut() {
        let logbook = Logbook::default();
        logbook.log(&"é".repeat(LOG_LINE_CHARS_MAX + 1));
        assert_eq!(logbook.take(1)[0].chars().count(), LOG_LINE_CHARS_MAX);
    }
}
