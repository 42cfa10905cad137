//! Shows a job's progress: a bar on a terminal, lines without one.

use crate::model::wire::{Phase, Progress};
use crate::observe::Observer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Without a terminal, a line at most this often within one phase: a log of an hour stays readable.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// An [`Observer`] that writes to standard error.
pub struct Bars {
    bar: Option<ProgressBar>,
    last: Mutex<Option<(Phase, Instant)>>,
    stop: Arc<AtomicBool>,
}

impl Bars {
    /// A bar when standard error is a terminal, else lines.
    pub fn on_stderr() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, last: Mutex::new(None), stop: Arc::default() }
    }

    /// From now on SIGINT and SIGTERM ask the work to stop, so that it ends what it has started and removes its files.
    /// A second one ends this process at once.
    pub fn stopped_by_signals(self) -> anyhow::Result<Self> {
        /// What a shell says of a program that SIGINT ended.
        const INTERRUPTED: i32 = 130;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut signals = {
            let _entered = runtime.enter();
            crate::runner::stop_signals()?
        };
        let stop = self.stop.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                if signals.recv().await.is_some() {
                    stop.store(true, Ordering::Relaxed);
                    eprintln!("stopping; once more to end at once");
                    signals.recv().await;
                    std::process::exit(INTERRUPTED);
                }
            });
        })?;
        Ok(self)
    }

    /// Takes the bar away; what is printed next stands alone.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line_is_due(&self, phase: Phase) -> bool {
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let due = last.is_none_or(|(shown, at)| shown != phase || at.elapsed() >= LINE_EVERY);
        if due {
            *last = Some((phase, Instant::now()));
        }
        due
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The word for a phase, as people read it.
pub fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::Building => "building",
        Phase::Measuring => "measuring",
    }
}

impl Observer for Bars {
    fn progress(&self, progress: Progress) {
        let word = phase_word(progress.phase);
        let Some(bar) = &self.bar else {
            if self.line_is_due(progress.phase) {
                let share = match progress.total {
                    0 => String::new(),
                    total => format!(" ({} of {total})", progress.done),
                };
                eprintln!("{word}: {}{share}", progress.text);
            }
            return;
        };
        let template = match progress.total {
            0 => "{spinner} {prefix:9} {msg} {elapsed}",
            _ => "{spinner} {prefix:9} [{bar:30}] {pos}/{len} {msg} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(word);
        bar.set_message(progress.text);
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }

    fn log(&self, line: &str) {
        tracing::debug!("{line}");
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
