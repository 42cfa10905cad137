//! A job's source: a git bundle from the server becomes a bare repository with both commits.

use super::calls::failed;
use crate::http::{Client, HttpError};
use crate::model::JobSpec;
use crate::model::wire::Lease;
use crate::sandbox::sys;
use crate::session::Input;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

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

/// Ends soon after `stop`, and leaves nobody behind who writes to the directory: dropping it would.
pub(super) async fn fetch(
    client: Client,
    lease: Lease,
    directory: PathBuf,
    stop: CancellationToken,
) -> Input {
    let broken = |message: String| Input::SourceBroken { message };
    let bundle = directory.join("source.bundle");
    if let Err(error) = tokio::fs::create_dir_all(&directory).await {
        return broken(format!("cannot make {}: {error}", directory.display()));
    }
    let path = format!("/runner/v1/jobs/{}/source?fence={}", lease.spec.job, lease.fence.0);
    let downloaded = tokio::select! {
        downloaded = client.download(&path, &bundle, BUNDLE_MAX_BYTES) => downloaded,
        () = stop.cancelled() => return Input::WorkStopped,
    };
    match downloaded {
        Ok(()) => {}
        Err(error @ (HttpError::Nonsense { .. } | HttpError::Disk { .. })) => {
            return broken(error.to_string());
        }
        Err(error) => return failed(error),
    }
    match unpack(&bundle, &repository(&directory), &lease.spec, &stop).await {
        Ok(()) => Input::SourceReady,
        Err(error) => broken(format!("the sources cannot be unpacked: {error:#}")),
    }
}

async fn unpack(
    bundle: &Path,
    repository: &Path,
    spec: &JobSpec,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    // An earlier try may have left half of it.
    if tokio::fs::try_exists(repository).await? {
        tokio::fs::remove_dir_all(repository).await?;
    }
    git(Command::new("git").args(["init", "--quiet", "--bare"]).arg(repository), stop).await?;
    let refspecs = [BASE_REF, HEAD_REF].map(|name| format!("+{name}:{name}"));
    let mut fetch = Command::new("git");
    fetch.arg("-C").arg(repository).args(["fetch", "--quiet", "--no-tags"]).arg(bundle).args(refspecs);
    git(&mut fetch, stop).await?;
    for (name, expected) in [(BASE_REF, &spec.base), (HEAD_REF, &spec.head)] {
        let mut verify = Command::new("git");
        verify.arg("-C").arg(repository).args(["rev-parse", "--verify", name]);
        let found = git(&mut verify, stop).await?;
        ensure!(found.trim() == expected.as_str(), "{name} is {}, not {expected}", found.trim());
    }
    tokio::fs::remove_file(bundle).await.context("cannot remove the bundle")
}

/// Runs git with no configuration but its own defaults, and returns what it printed. When it returns, git and what git
/// had started are gone.
async fn git(command: &mut Command, stop: &CancellationToken) -> anyhow::Result<String> {
    let child = command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot run git; install the package `git`")?;
    let group = child.id();
    let output = child.wait_with_output();
    tokio::pin!(output);
    let reason = tokio::select! {
        output = &mut output => {
            let output = output.context("cannot read from git")?;
            ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        () = tokio::time::sleep(GIT_MAX) => format!("git took more than {} minutes", GIT_MAX.as_secs() / 60),
        () = stop.cancelled() => "stopped".to_owned(),
    };
    // Not waited for yet, so the number is still its own.
    if let Some(group) = group {
        sys::kill_group(group);
    }
    let _ = output.await;
    bail!(reason)
}
