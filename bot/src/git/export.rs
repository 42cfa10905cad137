//! A commit's files, to be changed in memory and written to an empty directory. Submodules are left out.

use super::{GitError, History};
use git2::{ObjectType, Oid, TreeWalkMode, TreeWalkResult};
use perfsuite::model::Sha;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

/// Files of one tree; the largest repositories in use have some hundred thousand.
const FILES_MAX: usize = 300_000;
/// All of them together, so that no tree of a few objects fills the disk.
const TOTAL_MAX_BYTES: u64 = 4 << 30;

/// Files by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Git's: `0o100644`, `0o100755`, `0o120000` for a symlink.
    pub mode: i32,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An object of the repository.
    Object(Sha),
    Text(String),
}

impl History {
    /// The files of a commit. Names that are no UTF-8 are refused: nothing could be said of them.
    pub fn snapshot(&self, commit: &Sha) -> Result<Snapshot, GitError> {
        let tree = self.commit(commit)?.tree()?;
        let mut snapshot = Snapshot::default();
        let mut failed = None;
        let walked = tree.walk(TreeWalkMode::PreOrder, |directory, entry| {
            if entry.kind() != Some(ObjectType::Blob) {
                return TreeWalkResult::Ok;
            }
            let file = entry.name().ok().map(|name| format!("{directory}{name}"));
            let (Some(path), Ok(id)) = (file, entry.id().to_string().parse()) else {
                failed = Some(GitError::Range(format!("a file's name in {directory:?} is no UTF-8")));
                return TreeWalkResult::Abort;
            };
            snapshot.files.insert(path, Entry { mode: entry.filemode(), content: Content::Object(id) });
            if snapshot.files.len() > FILES_MAX {
                failed = Some(GitError::TooMany { what: "files", max: FILES_MAX });
                return TreeWalkResult::Abort;
            }
            TreeWalkResult::Ok
        });
        match failed {
            Some(error) => Err(error),
            None => {
                walked?;
                Ok(snapshot)
            }
        }
    }

    /// Writes the files below an empty directory. Symlinks come last, so that nothing is written through one.
    pub fn write_snapshot(&self, snapshot: &Snapshot, directory: &Path) -> Result<(), GitError> {
        let mut total = 0_u64;
        let is_link = |entry: &Entry| entry.mode & 0o170_000 == 0o120_000;
        let (links, files): (Vec<_>, Vec<_>) = snapshot.files.iter().partition(|(_, entry)| is_link(entry));
        for (path, entry) in files.into_iter().chain(links) {
            let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || path.is_empty() {
                return Err(GitError::Range(format!("{path:?} is no path within a repository")));
            }
            let bytes = self.content(&entry.content)?;
            total += bytes.len() as u64;
            if total > TOTAL_MAX_BYTES {
                let max = usize::try_from(TOTAL_MAX_BYTES).unwrap_or(usize::MAX);
                return Err(GitError::TooLarge { what: "the files of a commit".into(), bytes: max, max });
            }
            let place = directory.join(path);
            let io = || GitError::io(format!("writing {path:?}"));
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent).map_err(io())?;
            }
            if is_link(entry) {
                let to = String::from_utf8_lossy(&bytes).into_owned();
                std::os::unix::fs::symlink(to, &place).map_err(io())?;
                continue;
            }
            let mut file = File::create_new(&place).map_err(io())?;
            file.write_all(&bytes).map_err(io())?;
            let mode = if entry.mode & 0o111 != 0 { 0o755 } else { 0o644 };
            file.set_permissions(fs::Permissions::from_mode(mode)).map_err(io())?;
        }
        Ok(())
    }

    /// A file's text, if it is a regular one of UTF-8 within the bound.
    pub fn text_of(&self, entry: &Entry, max_bytes: usize) -> Result<Option<String>, GitError> {
        if entry.mode & 0o170_000 != 0o100_000 {
            return Ok(None);
        }
        if let Content::Object(id) = &entry.content {
            let (bytes, _) = self.git.odb()?.read_header(Oid::from_str(id.as_str())?)?;
            if bytes > max_bytes {
                return Ok(None);
            }
        }
        Ok(String::from_utf8(self.content(&entry.content)?).ok())
    }

    fn content(&self, content: &Content) -> Result<Vec<u8>, GitError> {
        match content {
            Content::Text(text) => Ok(text.clone().into_bytes()),
            Content::Object(id) => Ok(self.git.find_blob(Oid::from_str(id.as_str())?)?.content().to_vec()),
        }
    }
}
