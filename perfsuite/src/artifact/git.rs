//! Checks a commit out of a git directory, without a shell, hooks, filters of the machine's owner, or network.

use crate::model::Sha;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The git directory of a repository given by its work tree, its linked work tree, or itself (bare).
///
/// Found here and not by git: git refuses to look into directories that another user owns, unless it is told the place.
pub(crate) fn git_dir(repository: &Path) -> anyhow::Result<PathBuf> {
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

/// Files that differ between two commits.
pub(super) fn changed_files(git_dir: &Path, base: &Sha, head: &Sha) -> anyhow::Result<Vec<String>> {
    let output = git(git_dir)
        .args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv"])
        .args([base.as_str(), head.as_str(), "--"])
        .output()
        .context("cannot run git; install it")?;
    ensure!(
        output.status.success(),
        "git cannot compare {base} and {head}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// The name of the package whose manifest lies in a directory of a commit.
pub(super) fn package_name(git_dir: &Path, commit: &Sha, directory: &str) -> Option<String> {
    /// A larger manifest is none.
    const MANIFEST_MAX_BYTES: usize = 1 << 20;
    let slash = if directory.is_empty() { "" } else { "/" };
    let blob = format!("{commit}:{directory}{slash}Cargo.toml");
    let output = git(git_dir).args(["cat-file", "blob", &blob]).output().ok()?;
    let manifest =
        output.status.success().then_some(output.stdout).filter(|m| m.len() <= MANIFEST_MAX_BYTES)?;
    let manifest: toml_edit::DocumentMut = String::from_utf8(manifest).ok()?.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

/// What benches may read when they run. Not Rust, not Cargo's, not prose: everything else could be some benchmark's input.
pub(super) fn is_data(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let known = [".rs", ".md"].iter().any(|ending| name.ends_with(ending))
        || ["Cargo.toml", "Cargo.lock", ".gitignore"].contains(&name)
        || name.starts_with("LICENSE");
    !path.is_empty() && !known && !path.starts_with(".github/")
}

/// Makes the directory hold exactly the tracked files of `commit`, besides what git never tracked. Files that do not differ
/// from what `index` knows keep their times, all others get new ones, which is what cargo goes by.
pub(crate) fn check_out(git_dir: &Path, source: &Path, index: &Path, commit: &Sha) -> anyhow::Result<()> {
    let output = git(git_dir)
        .env("GIT_INDEX_FILE", index)
        .arg("--work-tree")
        .arg(source)
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false"])
        .args(["-c", "core.bare=false"])
        .args(["read-tree", "--reset", "-u", "--no-recurse-submodules", commit.as_str()])
        .current_dir(source)
        .output()
        .context("cannot run git; install it")?;
    ensure!(
        output.status.success(),
        "git cannot check out {commit}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// git on that directory, without anybody's configuration.
pub(crate) fn git(git_dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .arg("--git-dir")
        .arg(git_dir);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bench_may_read() {
        for (path, expect) in [
            ("benches/data/input.json", true),
            ("testdata/large.txt", true),
            ("a/config.toml", true),
            ("src/lib.rs", false),
            ("a/Cargo.toml", false),
            ("docs/guide.md", false),
            (".github/workflows/ci.yml", false),
            ("LICENSE-MIT", false),
            ("", false),
        ] {
            assert_eq!(is_data(path), expect, "{path}");
        }
    }
}
