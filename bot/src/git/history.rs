//! Reading one repository: merge base, commits, changed paths, blobs. Writes nothing.

use super::GitError;
use crate::pull::{ChangeKind, ChangedPath, Commit};
use git2::{Delta, DiffOptions, ObjectType, Oid, Repository, Sort};
use perfsuite::model::Sha;
use std::path::{Path, PathBuf};

/// Paths listed of one comparison; a rewrite of everything is not judged path by path.
const CHANGED_PATHS_MAX: usize = 20_000;
/// A longer message is cut: GitHub itself shows 64 KiB.
const MESSAGE_MAX_BYTES: usize = 64 << 10;

/// One repository, opened. Not shared between threads: open it where it is used, that costs a fraction of a
/// millisecond.
pub struct History {
    pub(super) git: Repository,
    /// A local repository belongs to somebody: nothing is written there, not even loose objects.
    pub(super) local: bool,
}

/// A file's content at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub id: Sha,
    pub bytes: Vec<u8>,
}

/// Paths that differ; incomplete beyond our bound of 20,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedPaths {
    pub paths: Vec<ChangedPath>,
    pub complete: bool,
}

impl History {
    pub(super) fn mirror(path: &Path) -> Result<Self, GitError> {
        Ok(Self { git: Repository::open_bare(path)?, local: false })
    }

    /// The repository that `path` is in, for `paceline review`.
    pub fn local(path: impl AsRef<Path>) -> Result<Self, GitError> {
        let path = path.as_ref();
        let git = Repository::discover(path).map_err(|e| match e.code() {
            git2::ErrorCode::NotFound => GitError::Range(format!(
                "{} is not in a git repository; say which with --repo",
                path.display()
            )),
            _ => GitError::Git(e),
        })?;
        Ok(Self { git, local: true })
    }

    /// The working tree's root, of a local repository that has one.
    pub fn work_tree(&self) -> Option<PathBuf> {
        self.git.workdir().map(Path::to_path_buf)
    }

    /// Where git looks for hooks.
    pub fn hooks_dir(&self) -> Result<PathBuf, GitError> {
        let own = self.git.config().and_then(|mut config| config.snapshot()?.get_path("core.hooksPath"));
        Ok(match own {
            // Relative to the working tree, as git has it.
            Ok(path) => self.work_tree().unwrap_or_default().join(path),
            Err(_) => self.git.commondir().join("hooks"),
        })
    }

    /// Whether the commit is here.
    pub fn has(&self, sha: &Sha) -> bool {
        self.commit(sha).is_ok()
    }

    /// The best common ancestor: what a pull request is compared with.
    pub fn merge_base(&self, base: &Sha, head: &Sha) -> Result<Sha, GitError> {
        let (base_id, head_id) = (self.commit(base)?.id(), self.commit(head)?.id());
        match self.git.merge_base(base_id, head_id) {
            Ok(id) => sha(id),
            Err(e) if e.code() == git2::ErrorCode::NotFound => {
                let mut message = format!("{} and {} have no common ancestor", base.short(), head.short());
                if self.git.is_shallow() {
                    message += " in this shallow clone; `git fetch --unshallow` brings the rest";
                }
                Err(GitError::NoMergeBase(message))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// All commits that `head` has and `base` does not, whatever way they came in, oldest first.
    pub fn commits(&self, base: &Sha, head: &Sha, max: usize) -> Result<Vec<Commit>, GitError> {
        let mut walk = self.git.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME | Sort::REVERSE)?;
        walk.push(self.commit(head)?.id())?;
        walk.hide(self.commit(base)?.id())?;
        let mut commits = Vec::new();
        for id in walk {
            if commits.len() == max {
                return Err(GitError::TooMany { what: "commits", max });
            }
            let commit = self.git.find_commit(id?)?;
            let message = commit.message_bytes();
            let message = &message[..message.len().min(MESSAGE_MAX_BYTES)];
            commits.push(Commit {
                sha: sha(commit.id())?,
                message: String::from_utf8_lossy(message).into_owned(),
                parents: commit.parent_count(),
                author_name: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
            });
        }
        Ok(commits)
    }

    /// Paths whose content, kind or mode differs between the two commits' trees.
    pub fn changed_paths(&self, base: &Sha, head: &Sha) -> Result<ChangedPaths, GitError> {
        let (from, to) = (self.commit(base)?.tree()?, self.commit(head)?.tree()?);
        self.refuse_explosion(&from, &to)?;
        let mut how = DiffOptions::new();
        how.include_typechange(true).ignore_submodules(false).skip_binary_check(true);
        let diff = self.git.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut how))?;
        let complete = diff.deltas().len() <= CHANGED_PATHS_MAX;
        let paths = diff.deltas().take(CHANGED_PATHS_MAX).map(|delta| {
            let kind = match delta.status() {
                Delta::Added | Delta::Copied => ChangeKind::Added,
                Delta::Deleted => ChangeKind::Removed,
                Delta::Renamed => ChangeKind::Renamed,
                _ => ChangeKind::Modified,
            };
            let bytes = delta.new_file().path_bytes().or(delta.old_file().path_bytes()).unwrap_or_default();
            ChangedPath { path: String::from_utf8_lossy(bytes).into_owned(), previous: None, kind }
        });
        Ok(ChangedPaths { paths: paths.collect(), complete })
    }

    /// Paths that a commit changes against its first parent.
    pub fn changed_by(&self, commit: &Sha) -> Result<Vec<String>, GitError> {
        let parent = match self.commit(commit)?.parent_id(0) {
            Ok(id) => sha(id)?,
            Err(_) => return Ok(Vec::new()),
        };
        let changed = self.changed_paths(&parent, commit)?;
        Ok(changed.paths.into_iter().map(|changed| changed.path).collect())
    }

    /// Names of the directories in a directory (empty: the root) at a commit; none where there is no such directory.
    pub fn directories_in(&self, commit: &Sha, path: &str) -> Result<Vec<String>, GitError> {
        let root = self.commit(commit)?.tree()?;
        let tree = if path.is_empty() {
            root
        } else {
            match root.get_path(Path::new(path)) {
                Ok(entry) if entry.kind() == Some(ObjectType::Tree) => self.git.find_tree(entry.id())?,
                Ok(_) => return Ok(Vec::new()),
                Err(e) if e.code() == git2::ErrorCode::NotFound => return Ok(Vec::new()),
                Err(e) => return Err(e.into()),
            }
        };
        let directories = tree.iter().filter(|entry| entry.kind() == Some(ObjectType::Tree));
        Ok(directories.filter_map(|entry| entry.name().ok().map(str::to_owned)).collect())
    }

    /// A regular file at a commit. `None` when there is none: no such path, a directory, a symlink, a submodule.
    pub fn blob_at(&self, commit: &Sha, path: &str, max_bytes: usize) -> Result<Option<Blob>, GitError> {
        let tree = self.commit(commit)?.tree()?;
        let entry = match tree.get_path(Path::new(path)) {
            Ok(entry) => entry,
            Err(e) if e.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // 0o100000 marks a regular file; 0o120000 would be a symlink, 0o160000 a submodule.
        if entry.kind() != Some(ObjectType::Blob) || entry.filemode() & 0o170_000 != 0o100_000 {
            return Ok(None);
        }
        let (bytes, _) = self.git.odb()?.read_header(entry.id())?;
        if bytes > max_bytes {
            return Err(GitError::TooLarge { what: path.into(), bytes, max: max_bytes });
        }
        let blob = self.git.find_blob(entry.id())?;
        Ok(Some(Blob { id: sha(entry.id())?, bytes: blob.content().to_vec() }))
    }

    pub(super) fn commit(&self, sha: &Sha) -> Result<git2::Commit<'_>, GitError> {
        self.git
            .find_commit(Oid::from_str(sha.as_str())?)
            .map_err(|_| GitError::missing(format!("commit {}", sha.short())))
    }
}

pub(super) fn sha(id: Oid) -> Result<Sha, GitError> {
    let text = id.to_string();
    text.parse()
        .map_err(|_| GitError::Range(format!("{text} is no SHA-1 commit id; only those are supported")))
}
