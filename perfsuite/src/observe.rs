//! How long work tells what it is doing, and learns that it should stop.

use crate::model::wire::Progress;

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
