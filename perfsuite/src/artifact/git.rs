//! Checks a commit out of a git directory, without a shell, hooks, filters of the machine's owner, or network.

use super::Places;
use crate::model::Sha;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The git directory of a repository given by its work tree, its linked work tree, or itself (bare).
///
/// Found here and not by git: git refuses to look into directories that another user owns, unless it is told the place.
pub(super) fn git_dir(repository: &Path) -> anyhow::Result<PathBuf> {
    let repository = repository
        .canonicalize()
        .with_context(|| format!("there is no repository at {}", repository.display()))?;
    let dot_git = repository.join(".git");
    if dot_git.is_dir() {
        return Ok(dot_git);
    }
    if dot_git.is_file() {
        let text = std::fs::read_to_string(&dot_git).context("cannot read .git")?;
        let link = text.trim().strip_prefix("gitdir: ").context(".git is neither directory nor link")?;
        return Ok(repository.join(link));
    }
    ensure!(
        repository.join("HEAD").is_file() && repository.join("objects").is_dir(),
        "{} is not a git repository",
        repository.display()
    );
    Ok(repository)
}

/// Makes the checkout hold exactly the tracked files of `commit`. Files that do not differ from the commit before keep
/// their times, all others get new ones, which is what cargo goes by.
pub(super) fn check_out(git_dir: &Path, places: &Places, commit: &Sha) -> anyhow::Result<()> {
    let output = Command::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_INDEX_FILE", places.index())
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .arg("--git-dir")
        .arg(git_dir)
        .arg("--work-tree")
        .arg(places.source())
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false"])
        .args(["-c", "core.bare=false"])
        .args(["read-tree", "--reset", "-u", "--no-recurse-submodules", commit.as_str()])
        .current_dir(places.source())
        .output()
        .context("cannot run git; install it")?;
    ensure!(
        output.status.success(),
        "git cannot check out {commit}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
