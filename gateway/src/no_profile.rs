//! A build without profiles of itself: what asks for one is told so, and the allocator is the system's.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use std::alloc::System as Heap;
pub const HEAP: Heap = Heap;

/// How a profile is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Pprof,
    Flame,
}

/// Why there is no profile.
#[derive(Debug)]
pub enum Refused {
    Busy { seconds: u64 },
    Never(&'static str),
    Nothing,
    Failed(anyhow::Error),
}

const NEVER: Refused = Refused::Never(
    "this program was built without the feature `profile`, or for a system that it is not made for",
);

pub fn thread_begins() {}

pub fn cpu(_length: Duration, _form: Form, _is_given_up: &AtomicBool) -> Result<Vec<u8>, Refused> {
    Err(NEVER)
}

pub fn heap() -> Result<Vec<u8>, Refused> {
    Err(NEVER)
}
