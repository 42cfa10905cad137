//! Commits that nobody made: a merge as it would be, a base with other tests. They are stored, and no ref names them.

use super::history::{History, sha};
use super::{Content, GitError, Snapshot};
use git2::{DiffOptions, IndexEntry, IndexTime, Oid, Repository, Signature, Time};
use perfsuite::model::Sha;
use perfsuite::model::checks::ChangedLines;
use std::path::Path;

/// Changed files whose lines are told apart, and ranges of lines of all of them together.
const FILES_MAX: usize = 3_000;
const RANGES_MAX: usize = 20_000;

impl History {
    /// The commit of a merge that [`History::merge_result`] gave. The same merge twice is the same commit.
    pub fn plant_merge(&self, tree: &Sha, base: &Sha, head: &Sha) -> Result<Sha, GitError> {
        self.refuse_where_local()?;
        let tree = self.git.find_tree(Oid::from_str(tree.as_str())?)?;
        self.plant_tree(&tree, &[base, head], "The pull request, merged")
    }

    /// A commit of these files upon another.
    pub fn plant(&self, snapshot: &Snapshot, parent: &Sha) -> Result<Sha, GitError> {
        self.refuse_where_local()?;
        let mut index = git2::Index::new()?;
        for (path, entry) in &snapshot.files {
            let id = match &entry.content {
                Content::Object(id) => Oid::from_str(id.as_str())?,
                Content::Text(text) => self.git.blob(text.as_bytes())?,
            };
            index.add(&IndexEntry {
                ctime: IndexTime::new(0, 0),
                mtime: IndexTime::new(0, 0),
                dev: 0,
                ino: 0,
                mode: u32::try_from(entry.mode).unwrap_or(0o100_644),
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path: path.clone().into_bytes(),
            })?;
        }
        let tree = self.git.find_tree(index.write_tree_to(&self.git)?)?;
        self.plant_tree(&tree, &[parent], "The base, with the pull request's tests")
    }

    fn plant_tree(&self, tree: &git2::Tree<'_>, parents: &[&Sha], message: &str) -> Result<Sha, GitError> {
        let parents = parents.iter().map(|parent| self.commit(parent)).collect::<Result<Vec<_>, _>>()?;
        let newest = parents.iter().map(|parent| parent.time().seconds()).max().unwrap_or(0);
        let nobody = Signature::new("paceline", "paceline@localhost", &Time::new(newest, 0))?;
        sha(self.git.commit(None, &nobody, &nobody, message, tree, &parents.iter().collect::<Vec<_>>())?)
    }

    /// Somebody's repository stays as it is.
    fn refuse_where_local(&self) -> Result<(), GitError> {
        match self.local {
            true => Err(GitError::Range("nothing is written to a local repository".into())),
            false => Ok(()),
        }
    }

    /// An empty repository at `at` that reads our objects and may be written to.
    pub fn borrowed(&self, at: &Path) -> Result<History, GitError> {
        self.lend_to(at)?;
        Ok(History { git: Repository::open_bare(at)?, local: false })
    }

    /// The lines of `to` that `from` does not have, of files that both or `to` alone have. Of a change beyond the bounds,
    /// the first.
    pub fn changed_lines(&self, from: &Sha, to: &Sha) -> Result<Vec<ChangedLines>, GitError> {
        let (old, new) = (self.commit(from)?.tree()?, self.commit(to)?.tree()?);
        self.refuse_explosion(&old, &new)?;
        let mut how = DiffOptions::new();
        how.context_lines(0).interhunk_lines(0).ignore_submodules(true).max_size(4 << 20);
        let diff = self.git.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut how))?;
        let mut found: Vec<ChangedLines> = Vec::new();
        let mut ranges = 0;
        for index in 0..diff.deltas().len().min(FILES_MAX) {
            let Some(patch) = git2::Patch::from_diff(&diff, index)? else { continue };
            let Some(path) = patch.delta().new_file().path().and_then(Path::to_str).map(str::to_owned) else {
                continue;
            };
            let mut lines = Vec::new();
            for hunk in 0..patch.num_hunks() {
                let (hunk, _) = patch.hunk(hunk)?;
                if hunk.new_lines() > 0 && ranges < RANGES_MAX {
                    lines.push((hunk.new_start(), hunk.new_start() + hunk.new_lines() - 1));
                    ranges += 1;
                }
            }
            if !lines.is_empty() {
                found.push(ChangedLines { path, lines });
            }
        }
        Ok(found)
    }
}
