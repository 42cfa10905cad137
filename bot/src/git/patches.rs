//! Patch ids: what a change does to each file, whatever commit it stands on.
//!
//! As git's own patch-id, but file by file and with white space: the lines removed and added with three around them,
//! without line numbers. A rebase over changes elsewhere keeps it; any other change of the file's patch does not.

use super::{GitError, History};
use git2::{Delta, DiffDelta, DiffOptions, Patch};
use perfsuite::model::Sha;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Changed files of one comparison; beyond that reading fails, in words, and nothing passes unseen.
const FILES_MAX: usize = 20_000;
/// Larger files are compared whole, as binary ones are.
const TEXT_MAX_BYTES: i64 = 4 << 20;
/// Names the way in which ids are made: another way, another number.
const WAY: &[u8] = b"1\0";

impl History {
    /// The patch id of each file that differs between two commits, by path. A renamed file is one that is gone and one
    /// that came.
    pub fn patches(&self, base: &Sha, head: &Sha) -> Result<BTreeMap<String, String>, GitError> {
        let (from, to) = (self.commit(base)?.tree()?, self.commit(head)?.tree()?);
        self.refuse_explosion(&from, &to)?;
        let mut how = DiffOptions::new();
        how.include_typechange(true).ignore_submodules(false).max_size(TEXT_MAX_BYTES);
        how.context_lines(3).interhunk_lines(0).indent_heuristic(false);
        let diff = self.git.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut how))?;
        if diff.deltas().len() > FILES_MAX {
            return Err(GitError::TooMany { what: "changed files", max: FILES_MAX });
        }
        let mut patches = BTreeMap::new();
        for (index, delta) in diff.deltas().enumerate() {
            let path = delta.new_file().path_bytes().or(delta.old_file().path_bytes()).unwrap_or_default();
            let patch = Patch::from_diff(&diff, index)?;
            patches.insert(String::from_utf8_lossy(path).into_owned(), id(&delta, patch.as_ref())?);
        }
        Ok(patches)
    }
}

fn id(delta: &DiffDelta<'_>, patch: Option<&Patch<'_>>) -> Result<String, GitError> {
    let mut hash = Sha256::new();
    hash.update(WAY);
    let kind = match delta.status() {
        Delta::Added => "added",
        Delta::Deleted => "deleted",
        _ => "modified",
    };
    let mode = i32::from(delta.new_file().mode());
    hash.update(format!("{kind} {mode:o}\n"));
    match patch {
        // A binary file, or one that is compared whole: what it is now.
        None => hash.update(delta.new_file().id().as_bytes()),
        Some(_) if delta.flags().is_binary() => hash.update(delta.new_file().id().as_bytes()),
        Some(patch) => {
            for hunk in 0..patch.num_hunks() {
                hash.update(b"@\n");
                for line in 0..patch.num_lines_in_hunk(hunk)? {
                    let line = patch.line_in_hunk(hunk, line)?;
                    hash.update([line.origin() as u8]);
                    hash.update((line.content().len() as u64).to_le_bytes());
                    hash.update(line.content());
                }
            }
        }
    }
    Ok(hex::encode(hash.finalize()))
}
