//! What git tells about a change: read once, from a mirror or from somebody's own repository.

use crate::git::{GitError, History, MergeResult};
use crate::pull::Commit;
use crate::repo_config;
use perfsuite::model::Sha;

/// Commits of one change that are judged; beyond that reading fails, in words, and nothing passes unseen.
const COMMITS_MAX: usize = 5_000;

/// The configuration's file, as git has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigText {
    Absent,
    Bytes(Vec<u8>),
    /// Over [`repo_config::CONFIG_MAX_BYTES`], so it was not read.
    TooLarge,
}

/// The facts of one change.
#[derive(Clone, Debug)]
pub struct GitFacts {
    pub merge_base: Sha,
    pub merge: MergeResult,
    /// Oldest first.
    pub commits: Vec<Commit>,
    /// Between merge base and head.
    pub changed: Vec<String>,
    /// The configuration as the base has it; a contributor's own is never read.
    pub config: ConfigText,
}

impl GitFacts {
    /// Reads the facts of `head` against the tip of its base branch. Blocks.
    pub fn read(history: &History, base_tip: &Sha, head: &Sha) -> Result<Self, GitError> {
        let merge_base = history.merge_base(base_tip, head)?;
        let changed = history.changed_paths(&merge_base, head)?;
        if !changed.complete {
            return Err(GitError::Range("the change touches more files than are looked at".into()));
        }
        let config = match history.blob_at(base_tip, repo_config::PATH, repo_config::CONFIG_MAX_BYTES) {
            Ok(None) => ConfigText::Absent,
            Ok(Some(blob)) => ConfigText::Bytes(blob.bytes),
            Err(GitError::TooLarge { .. }) => ConfigText::TooLarge,
            Err(error) => return Err(error),
        };
        Ok(Self {
            merge: history.merge_result(base_tip, head)?,
            commits: history.commits(&merge_base, head, COMMITS_MAX)?,
            changed: changed
                .paths
                .into_iter()
                .flat_map(|path| path.previous.into_iter().chain([path.path]))
                .collect(),
            config,
            merge_base,
        })
    }

    /// `clean` or `conflict`, as the database has it.
    pub fn mergeable(&self) -> &'static str {
        match self.merge {
            MergeResult::Clean { .. } => "clean",
            MergeResult::Conflict { .. } => "conflict",
        }
    }
}
