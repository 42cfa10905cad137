//! Trees of few objects and endless files: refused before anything counts them one by one.
//!
//! A tree may name another one a hundred times, and that one a third: ten levels are more files than any disk holds, in a
//! dozen objects. What walks whole trees (a diff, a merge) would never end.

use super::{GitError, History};
use git2::{ObjectType, Oid, Tree};

/// Entries that differ, directories counted: far above what is judged, and walked in a fraction of a second.
const DIFFERING_MAX: usize = 200_000;
/// Directories within directories; the longest path that systems take has 2,048.
const DEPTH_MAX: usize = 2_048;

impl History {
    /// Refuses two trees that differ in more entries than are walked. Subtrees that are the same cost nothing.
    pub(super) fn refuse_explosion(&self, from: &Tree<'_>, to: &Tree<'_>) -> Result<(), GitError> {
        let mut left = DIFFERING_MAX;
        let mut waiting: Vec<(Option<Oid>, Option<Oid>, usize)> = vec![(Some(from.id()), Some(to.id()), 0)];
        while let Some((old, new, depth)) = waiting.pop() {
            if old == new {
                continue;
            }
            let (old, new) = (self.tree(old)?, self.tree(new)?);
            for (tree, other) in [(&old, &new), (&new, &old)] {
                for entry in tree.iter().flat_map(|tree| tree.iter()) {
                    let twin = other.as_ref().and_then(|other| other.get_name_bytes(entry.name_bytes()));
                    let same = twin
                        .as_ref()
                        .is_some_and(|twin| (twin.id(), twin.filemode()) == (entry.id(), entry.filemode()));
                    if same {
                        continue;
                    }
                    left = left
                        .checked_sub(1)
                        .ok_or(GitError::TooMany { what: "changed files", max: DIFFERING_MAX })?;
                    let directory = |entry: &git2::TreeEntry<'_>| {
                        (entry.kind() == Some(ObjectType::Tree)).then(|| entry.id())
                    };
                    let (this, that) = (directory(&entry), twin.as_ref().and_then(directory));
                    // Where both are directories, they are compared once, from the older side.
                    match (this, that) {
                        (Some(this), None) => waiting.push((Some(this), None, depth + 1)),
                        (Some(this), Some(that)) if std::ptr::eq(tree, &old) => {
                            waiting.push((Some(this), Some(that), depth + 1));
                        }
                        _ => {}
                    }
                }
            }
            if depth > DEPTH_MAX {
                return Err(GitError::TooMany { what: "directories within directories", max: DEPTH_MAX });
            }
        }
        Ok(())
    }

    fn tree(&self, id: Option<Oid>) -> Result<Option<Tree<'_>>, GitError> {
        id.map(|id| self.git.find_tree(id)).transpose().map_err(GitError::from)
    }
}
