//! How long work tells what it is doing, and learns that it should stop.

use crate::model::wire::Progress;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Watches one job from outside. Called from the measuring thread: implementations do not block.
pub trait Observer: Send + Sync {
    fn progress(&self, progress: Progress);

    /// One line of the job's log, without a line end.
    fn log(&self, line: &str);

    /// Asked between visits and while children run: true ends the job as soon as possible.
    fn stopped(&self) -> bool;
}

/// Watches nothing: for tests and for callers that only want the outcome.
pub struct Unobserved;

impl Observer for Unobserved {
    fn progress(&self, _: Progress) {}

    fn log(&self, _: &str) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// Another's watch, that says stop from an instant on.
pub struct WithEnd<'a> {
    inner: &'a dyn Observer,
    ends: Instant,
    passed: AtomicBool,
}

impl<'a> WithEnd<'a> {
    pub fn new(inner: &'a dyn Observer, ends: Instant) -> WithEnd<'a> {
        WithEnd { inner, ends, passed: AtomicBool::new(false) }
    }

    /// Whether it said stop because of the time.
    pub fn passed(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Observer for WithEnd<'_> {
    fn progress(&self, progress: Progress) {
        self.inner.progress(progress);
    }

    fn log(&self, line: &str) {
        self.inner.log(line);
    }

    fn stopped(&self) -> bool {
        if self.inner.stopped() {
            return true;
        }
        let late = Instant::now() >= self.ends;
        self.passed.fetch_or(late, Ordering::Relaxed);
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_stops_what_nobody_stopped() {
        let early = WithEnd::new(&Unobserved, Instant::now() + Duration::from_secs(3_600));
        assert!(!early.stopped() && !early.passed());
        let late = WithEnd::new(&Unobserved, Instant::now());
        assert!(late.stopped() && late.passed());
        let other = WithEnd::new(&late, Instant::now() + Duration::from_secs(3_600));
        assert!(other.stopped() && !other.passed(), "somebody else said so");
    }
}
