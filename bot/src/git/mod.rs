//! All that touches git: mirrors of GitHub's repositories, and reading of those and of local ones.
//!
//! Fetching and bundling run the `git` command, with argv only and never a shell; reading, comparing and merging are
//! libgit2's. Nothing in here follows a symlink or a submodule, runs a hook, or reads anybody's git configuration
//! but for where hooks lie.
//! All functions block: call them from `spawn_blocking`.

mod bundle;
mod command;
mod error;
mod explosion;
mod export;
mod history;
mod line;
mod merge;
mod message;
mod mirror;
#[cfg(any(test, fuzzing))]
mod names;
mod patches;
mod plant;
mod quoting;
mod range;

pub use bundle::{BUNDLE_BASE_REF, BUNDLE_HEAD_REF};
pub use command::check_available;
pub use error::GitError;
pub use export::{Content, Entry, Snapshot};
pub use history::{Blob, ChangedPaths, History};
pub use line::{Line, LineCommit};
pub use merge::MergeResult;
pub use mirror::{Fetched, Mirrors, Wants};
#[cfg(any(test, fuzzing))]
pub(crate) use names::hostile_names;
pub use quoting::unquoted;
pub use range::Range;
