//! A repository's history: what each commit of the default branch costs, and where that changed.
//!
//! `follow.rs` looks at the branch after a push and queues what is to be measured; `record.rs` makes points of a report
//! and `settle.rs` stores them; `watch.rs` looks for change points in series that grew, `linked.rs` being what a series
//! is over changes of its reference; `bisect.rs` searches for the commit behind one; `backfill.rs` queues ranges of
//! commits that were not measured; `curate.rs` is what people say of it, `told.rs` the
//! same by command line.

pub mod backfill;
pub mod bisect;
pub mod change_points;
pub mod curate;
pub mod follow;
pub mod linked;
pub mod record;
pub mod reference;
pub mod settle;
pub mod told;
pub mod watch;
