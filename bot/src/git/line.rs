//! The line of a branch along first parents: each commit's place on it, and what tags name.

use super::history::{History, sha};
use super::mirror::{TAGS, branch_ref};
use super::{GitError, message};
use git2::Oid;
use perfsuite::model::Sha;

/// Commits of one line; the longest known ones have some 100,000.
const LINE_MAX: usize = 2_000_000;
/// Tags that are looked at.
const TAGS_MAX: usize = 20_000;
/// What of a commit's first line is kept.
const SUBJECT_MAX_CHARS: usize = 200;
const AUTHOR_MAX_CHARS: usize = 100;

/// A branch's commits along first parents. The root's place is 0.
pub struct Line {
    newest_first: Vec<Oid>,
}

impl Line {
    /// The place of the branch's tip.
    pub fn tip(&self) -> i64 {
        self.newest_first.len() as i64 - 1
    }

    /// The commit at a place.
    pub fn at(&self, position: i64) -> Option<Sha> {
        let back = usize::try_from(self.tip().checked_sub(position)?).ok()?;
        let id = self.newest_first.get(back)?;
        sha(*id).ok()
    }

    /// The commits from a place to another, oldest first.
    pub fn between(&self, first: i64, last: i64) -> Result<Vec<Sha>, GitError> {
        let commit = |at| self.at(at).ok_or_else(|| GitError::missing(format!("a commit at {at}")));
        (first..=last).map(commit).collect()
    }

    /// The place of a commit, if it is on the line.
    pub fn position(&self, commit: &Sha) -> Option<i64> {
        let id = Oid::from_str(commit.as_str()).ok()?;
        let back = self.newest_first.iter().position(|on_line| *on_line == id)?;
        Some(self.tip() - back as i64)
    }
}

/// A commit of a line, with what people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineCommit {
    pub position: i64,
    pub sha: Sha,
    pub parent: Option<Sha>,
    pub author: String,
    pub subject: String,
    pub committed_ms: i64,
    /// The pull request that brought it, where its message says so.
    pub pull: Option<u64>,
}

impl History {
    /// The tip of a branch, as it was fetched last.
    pub fn branch(&self, name: &str) -> Result<Sha, GitError> {
        let id = self.git.refname_to_id(&branch_ref(name));
        sha(id.map_err(|_| GitError::missing(format!("branch {name:?}")))?)
    }

    /// The line that ends with a commit.
    pub fn line(&self, tip: &Sha) -> Result<Line, GitError> {
        let mut walk = self.git.revwalk()?;
        walk.simplify_first_parent()?;
        walk.push(self.commit(tip)?.id())?;
        let mut newest_first = Vec::new();
        for id in walk {
            if newest_first.len() == LINE_MAX {
                return Err(GitError::TooMany { what: "commits along first parents", max: LINE_MAX });
            }
            newest_first.push(id?);
        }
        Ok(Line { newest_first })
    }

    /// What is known of the commit at a place of a line.
    pub fn line_commit(&self, line: &Line, position: i64) -> Result<LineCommit, GitError> {
        let id = line.at(position).ok_or_else(|| GitError::missing(format!("a commit at {position}")))?;
        let commit = self.commit(&id)?;
        let cut = |bytes: &[u8], chars: usize| -> String {
            String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().chars().take(chars).collect()
        };
        let subject = cut(commit.message_bytes(), SUBJECT_MAX_CHARS);
        Ok(LineCommit {
            position,
            parent: line.at(position - 1),
            author: cut(commit.author().name_bytes(), AUTHOR_MAX_CHARS),
            pull: message::pull_number(&subject),
            subject,
            committed_ms: commit.time().seconds().saturating_mul(1_000),
            sha: id,
        })
    }

    /// Tags, by name, with the commits that they are of. Tags of other things are left out.
    pub fn tags(&self) -> Result<Vec<(String, Sha)>, GitError> {
        let mut tags = Vec::new();
        for reference in self.git.references_glob(&format!("{TAGS}*"))?.take(TAGS_MAX) {
            let reference = reference?;
            let Ok(commit) = reference.peel_to_commit() else { continue };
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            if let Some(name) = name.strip_prefix(TAGS) {
                tags.push((name.to_owned(), sha(commit.id())?));
            }
        }
        Ok(tags)
    }

    /// The commit whose id begins with these digits.
    pub fn commit_of_digits(&self, digits: &str) -> Option<Sha> {
        let plain = (7..=40).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let object = plain.then(|| self.git.revparse_single(digits).ok()).flatten()?;
        sha(object.peel_to_commit().ok()?.id()).ok()
    }
}
