//! Who may listen to what happens while it does, and until when.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Listeners of one process: a question to the database each every other second, far below what it bears, and a small
/// part of the connections that the server takes.
const LISTENERS_MAX: usize = 64;

/// Places for listeners, and when the server stops. Clones share both.
#[derive(Clone)]
pub struct Listeners {
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Listeners {
    pub fn new(stop: CancellationToken) -> Self {
        Self::with_places(LISTENERS_MAX, stop)
    }

    pub fn with_places(listeners: usize, stop: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(listeners)), stop }
    }

    /// A place, free again when it is dropped; `None` while all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Cancelled when the server stops.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}
