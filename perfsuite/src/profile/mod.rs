//! Where the time goes: stacks sampled by the kernel from outside the sandbox, per unit of work, on both sides in turns.
//!
//! | | |
//! |---|---|
//! | [`session`] | samples processes for as long as it is told to; `events` and `record` speak with the kernel |
//! | [`resolve`] | addresses become functions: `maps`, `image`, `unwind` |
//! | [`stacks`] | counts, with bounds on everything that a stranger's process can make long |
//! | [`rates`], [`summary`] | what changed, with intervals: pure |
//! | [`folded`], [`flame`], [`pprof`] | for people and other tools |
//! | [`touched`] | which functions a change touched |
//!
//! The kernel's `cpu-clock` is asked directly (`perf_event_open`), so no program has to be installed, and sampling can
//! be switched on for exactly the work that counts. Frame pointers give the stacks: what is measured is built with them
//! (`artifact/flags.rs`). The C library is not; from within it the caller is looked for on the stack itself.
//!
//! Samples are counted *per unit of work* (iteration, request), not as shares: when one function grows, every other
//! one's share falls, and its samples per unit do not.

mod events;
pub mod flame;
pub mod folded;
mod image;
mod maps;
pub mod pprof;
pub mod rates;
mod record;
mod resolve;
pub mod session;
pub mod stacks;
pub mod summary;
pub mod touched;
mod unwind;

pub use resolve::Place;
pub use session::{Begin, Recorder, Session, Subject, available};
pub use stacks::Stacks;
pub use summary::summarise;
