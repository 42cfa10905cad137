//! The last answer of the self-test of the set-up, kept for a while.

use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer stands: whoever asks for the page costs GitHub's patience no more often.
const FRESH: Duration = Duration::from_secs(60);

/// One thing that was tried of a set-up, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub good: bool,
    pub words: String,
}

/// The last answer of this process.
#[derive(Default)]
pub struct SelfTest(Mutex<Option<(Instant, Vec<Tried>)>>);

impl SelfTest {
    /// What `try_out` finds, asked again when the last answer is not fresh; one question at a time.
    pub async fn answer(&self, try_out: impl AsyncFnOnce() -> Vec<Tried>) -> Vec<Tried> {
        let mut last = self.0.lock().await;
        if let Some((at, tried)) = &*last
            && at.elapsed() < FRESH
        {
            return tried.clone();
        }
        let tried = try_out().await;
        *last = Some((Instant::now(), tried.clone()));
        tried
    }
}
