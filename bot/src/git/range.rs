//! `paceline review [RANGE]`: which two commits of a local repository are meant.

use super::GitError;
use super::history::{History, sha};
use git2::{ErrorCode, ObjectType, RevparseMode};
use perfsuite::model::Sha;

/// Where a default branch is looked for, in this order, when nobody says.
const DEFAULT_BRANCHES: [&str; 6] = [
    "refs/remotes/upstream/HEAD",
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "refs/heads/main",
    "refs/heads/master",
];

/// Two commits, as a pull request would compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The merge base.
    pub base: Sha,
    pub head: Sha,
    /// As it was written or found, for people: `main..HEAD`.
    pub name: String,
}

impl History {
    /// `A..B` and `A...B`: B since its merge base with A. `A`: HEAD since A. Nothing: HEAD since the default branch.
    pub fn range(&self, range: Option<&str>) -> Result<Range, GitError> {
        let Some(text) = range else { return self.since_default_branch() };
        let bad = |e: git2::Error| match e.code() {
            ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Ambiguous => GitError::Range(format!(
                "{text:?} names no commits here; a range looks like main..HEAD or v1.2.0..v1.3.0"
            )),
            _ => GitError::Git(e),
        };
        let spec = self.git.revparse(text).map_err(bad)?;
        let commit = |object: Option<&git2::Object<'_>>| match object {
            Some(object) => object.peel(ObjectType::Commit).map_err(bad).and_then(|c| sha(c.id())),
            None => self.head(),
        };
        let from = commit(spec.from())?;
        let to = if spec.mode().contains(RevparseMode::RANGE) { commit(spec.to())? } else { self.head()? };
        Ok(Range { base: self.merge_base(&from, &to)?, head: to, name: text.to_owned() })
    }

    /// Whether tracked files differ from HEAD: what a review does not see.
    pub fn has_uncommitted_changes(&self) -> Result<bool, GitError> {
        if self.git.is_bare() {
            return Ok(false);
        }
        let mut how = git2::StatusOptions::new();
        how.include_untracked(false).include_ignored(false).exclude_submodules(true).update_index(false);
        Ok(!self.git.statuses(Some(&mut how))?.is_empty())
    }

    fn since_default_branch(&self) -> Result<Range, GitError> {
        let head = self.head()?;
        for name in DEFAULT_BRANCHES {
            let Ok(reference) = self.git.find_reference(name) else { continue };
            let Ok(tip) = reference.peel_to_commit() else { continue };
            let base = self.merge_base(&sha(tip.id())?, &head)?;
            if base == head {
                return Err(GitError::Range(format!(
                    "HEAD has nothing that {} does not have; say what to review, such as HEAD~1..HEAD",
                    short(name)
                )));
            }
            return Ok(Range { base, head, name: format!("{}..HEAD", short(name)) });
        }
        Err(GitError::Range(
            "no main or master branch found; say what to review, such as HEAD~1..HEAD".into(),
        ))
    }

    fn head(&self) -> Result<Sha, GitError> {
        let none = |_| GitError::Range("this repository has no commit yet".into());
        sha(self.git.head().map_err(none)?.peel_to_commit().map_err(none)?.id())
    }
}

fn short(reference: &str) -> &str {
    reference.trim_start_matches("refs/remotes/").trim_start_matches("refs/heads/")
}
