//! What merging a head into its base would give, without touching any working tree.

use super::GitError;
use super::history::{History, sha};
use git2::MergeOptions;
use perfsuite::model::Sha;

/// Conflicting paths that are named; the count is right beyond that.
const CONFLICTS_NAMED_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeResult {
    /// The tree of the merge. Stored in a mirror; of a local repository only its id is known.
    Clean { tree: Sha },
    /// Paths that a person must merge, in order, the first hundred of `count`.
    Conflict { paths: Vec<String>, count: usize },
}

impl History {
    /// Merges `head` into `base` in memory.
    pub fn merge_result(&self, base: &Sha, head: &Sha) -> Result<MergeResult, GitError> {
        let (ours, theirs) = (self.commit(base)?, self.commit(head)?);
        let odb = self.git.odb()?;
        // Whatever the merge has to write (a virtual ancestor of criss-cross merges, the tree) stays in memory for
        // somebody's own repository. A priority above the store on disk makes it the one that is written to.
        let _in_memory = if self.local { Some(odb.add_new_mempack_backend(1000)?) } else { None };
        let mut how = MergeOptions::new();
        how.find_renames(true);
        let mut index = self.git.merge_commits(&ours, &theirs, Some(&how))?;
        if !index.has_conflicts() {
            return Ok(MergeResult::Clean { tree: sha(index.write_tree_to(&self.git)?)? });
        }
        let mut paths = Vec::new();
        for conflict in index.conflicts()? {
            let conflict = conflict?;
            let entry = conflict.our.or(conflict.their).or(conflict.ancestor);
            paths.extend(entry.map(|e| String::from_utf8_lossy(&e.path).into_owned()));
        }
        paths.sort();
        paths.dedup();
        let count = paths.len();
        paths.truncate(CONFLICTS_NAMED_MAX);
        Ok(MergeResult::Conflict { paths, count })
    }
}
