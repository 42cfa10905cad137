//! The sources of one job as a git bundle, so that a runner needs no credential.

use super::command::Git;
use super::{GitError, History};
use git2::{Oid, Repository};
use perfsuite::model::Sha;
use std::path::Path;
use std::time::Duration;
use tempfile::TempPath;

/// The two refs of a bundle.
pub const BUNDLE_BASE_REF: &str = "refs/paceline/base";
pub const BUNDLE_HEAD_REF: &str = "refs/paceline/head";
/// Packing a large history; copying packs that exist already takes seconds.
const BUNDLE_LIMIT: Duration = Duration::from_secs(300);

impl History {
    /// A bundle of both commits and all their history, in a file of `dir` that goes away with the returned path.
    pub fn bundle(&self, base: &Sha, head: &Sha, dir: &Path) -> Result<TempPath, GitError> {
        let (base, head) = (self.commit(base)?.id(), self.commit(head)?.id());
        if self.git.is_shallow() {
            return Err(GitError::Range(
                "this clone is shallow: `git fetch --unshallow` brings the history that a bundle needs"
                    .into(),
            ));
        }
        std::fs::create_dir_all(dir).map_err(GitError::io(format!("making {}", dir.display())))?;
        let borrowed =
            tempfile::tempdir_in(dir).map_err(GitError::io("making a directory for the bundle"))?;
        self.borrow_objects(borrowed.path(), base, head)?;
        let file = tempfile::Builder::new()
            .prefix("source-")
            .suffix(".bundle")
            .tempfile_in(dir)
            .map_err(GitError::io("making a file for the bundle"))?
            .into_temp_path();
        let mut git = Git::new(borrowed.path());
        git.args(["bundle", "create", "--quiet"]).args([file.as_os_str()]);
        git.args([BUNDLE_BASE_REF, BUNDLE_HEAD_REF]);
        git.run("git bundle", BUNDLE_LIMIT)?;
        Ok(file)
    }

    /// An empty repository whose two refs point into our objects: the names stay the job's own, so bundles of
    /// several jobs can be made at once and a local repository gets no refs.
    fn borrow_objects(&self, at: &Path, base: Oid, head: Oid) -> Result<(), GitError> {
        self.lend_to(at)?;
        // Opened anew, to see the alternates.
        let borrowed = Repository::open_bare(at)?;
        borrowed.reference(BUNDLE_BASE_REF, base, true, "")?;
        borrowed.reference(BUNDLE_HEAD_REF, head, true, "")?;
        Ok(())
    }

    /// Makes an empty repository that finds our objects.
    pub(super) fn lend_to(&self, at: &Path) -> Result<(), GitError> {
        let mut how = git2::RepositoryInitOptions::new();
        how.bare(true).external_template(false).initial_head("paceline");
        Repository::init_opts(at, &how)?;
        let objects = self.git.commondir().join("objects");
        let objects =
            objects.canonicalize().map_err(GitError::io(format!("finding {}", objects.display())))?;
        let info = at.join("objects/info");
        std::fs::create_dir_all(&info).map_err(GitError::io("preparing the bundle"))?;
        let line = [objects.as_os_str().as_encoded_bytes(), b"\n"].concat();
        std::fs::write(info.join("alternates"), line).map_err(GitError::io("preparing the bundle"))
    }
}
