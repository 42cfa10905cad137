//! A job's source: a git bundle from the server becomes a bare repository with both commits.

use super::calls::failed;
use crate::http::{Client, HttpError};
use crate::model::Sha;
use crate::model::wire::Lease;
use crate::session::Input;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Larger repositories exist; their history is not needed to build two commits, and the server can leave it out.
const BUNDLE_MAX_BYTES: u64 = 2 << 30;
/// Unpacking two gigabytes on a slow disk.
const GIT_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) const BASE_REF: &str = "refs/paceline/base";
pub(super) const HEAD_REF: &str = "refs/paceline/head";

/// Where [`fetch`] leaves the repository, below the job's directory.
pub(super) fn repository(directory: &Path) -> PathBuf {
    directory.join("repository.git")
}

pub(super) async fn fetch(client: Client, lease: Lease, directory: PathBuf) -> Input {
    let broken = |message: String| Input::SourceBroken { message };
    let bundle = directory.join("source.bundle");
    if let Err(error) = tokio::fs::create_dir_all(&directory).await {
        return broken(format!("cannot make {}: {error}", directory.display()));
    }
    let path = format!("/runner/v1/jobs/{}/source?fence={}", lease.spec.job, lease.fence.0);
    match client.download(&path, &bundle, BUNDLE_MAX_BYTES).await {
        Ok(()) => {}
        Err(error @ (HttpError::Nonsense { .. } | HttpError::Disk { .. })) => {
            return broken(error.to_string());
        }
        Err(error) => return failed(error),
    }
    match unpack(&bundle, &repository(&directory), &lease.spec.base, &lease.spec.head).await {
        Ok(()) => Input::SourceReady,
        Err(error) => broken(format!("the sources cannot be unpacked: {error:#}")),
    }
}

async fn unpack(bundle: &Path, repository: &Path, base: &Sha, head: &Sha) -> anyhow::Result<()> {
    // An earlier try may have left half of it.
    if tokio::fs::try_exists(repository).await? {
        tokio::fs::remove_dir_all(repository).await?;
    }
    git(Command::new("git").args(["init", "--quiet", "--bare"]).arg(repository)).await?;
    let refspecs = [BASE_REF, HEAD_REF].map(|name| format!("+{name}:{name}"));
    git(Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["fetch", "--quiet", "--no-tags"])
        .arg(bundle)
        .args(refspecs))
    .await?;
    for (name, expected) in [(BASE_REF, base), (HEAD_REF, head)] {
        let found =
            git(Command::new("git").arg("-C").arg(repository).args(["rev-parse", "--verify", name])).await?;
        ensure!(found.trim() == expected.as_str(), "{name} is {}, not {expected}", found.trim());
    }
    tokio::fs::remove_file(bundle).await.context("cannot remove the bundle")
}

/// Runs git with no configuration but its own defaults, and returns what it printed.
async fn git(command: &mut Command) -> anyhow::Result<String> {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let Ok(output) = timeout(GIT_MAX, command.output()).await else {
        bail!("git took more than {} minutes", GIT_MAX.as_secs() / 60);
    };
    let output = output.context("cannot run git; install the package `git`")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
