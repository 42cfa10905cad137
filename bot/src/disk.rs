//! The disk of the data directory: how full it is, what goes first when it is nearly full, and what waits then.
//!
//! Evidence past its retention goes first, then mirrors that nobody used for long; kept builds are the runner's, which
//! removes those before it asks for a job. While less than the reserve is free no job is handed out, and the comment
//! says why; deliveries are still taken, for which the reserve is there.

use crate::app::App;
use crate::db::space as rows;
use crate::format;
use crate::runs;
use anyhow::Context;
use perfsuite::disk::{self, Space};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// A mirror that nothing was fetched into for this long is made again when it is wanted.
const MIRROR_DAYS: u32 = 30;
/// A disk fills in minutes, not in seconds; a look costs one system call.
const PERIOD: Duration = Duration::from_secs(15);
/// Pull requests that are told that they wait for the disk.
const TOLD_MAX: i64 = 100;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What one sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub evidence: usize,
    pub mirrors: usize,
}

/// Looks by period until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut short = false;
    loop {
        match look(&app, short).await {
            Ok(now_short) => short = now_short,
            Err(error) => tracing::error!(error = format!("{error:#}"), "the disk could not be looked after"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Sweeps when it must; whether it is still short. Those who wait are told when that changes.
async fn look(app: &Arc<App>, was_short: bool) -> anyhow::Result<bool> {
    if shortage(app).is_some() {
        let swept = sweep(app).await?;
        if swept != Swept::default() {
            tracing::warn!(swept.evidence, swept.mirrors, "removed what was old: the disk is nearly full");
        }
    }
    let short = shortage(app);
    if short.is_some() == was_short {
        return Ok(was_short);
    }
    match &short {
        Some(words) => tracing::error!("{words} No job is handed out"),
        None => tracing::info!("the disk has room again"),
    }
    for (repository, number) in rows::waiting_pulls(&app.db, TOLD_MAX).await? {
        runs::republish(app, repository, number).await?;
    }
    app.wake.jobs.notify_waiters();
    Ok(short.is_some())
}

/// Why nothing that needs space may begin; `None` when there is enough. A disk that cannot be asked is said to have
/// space: what fails then says so itself.
pub fn shortage(app: &App) -> Option<String> {
    let space = space(app)?;
    short_of(space, app.config.disk.reserve_bytes)
}

fn short_of(space: Space, reserve_bytes: u64) -> Option<String> {
    (space.free_bytes < reserve_bytes).then(|| {
        format!(
            "The server's disk is nearly full: {} of {} are free, {} are kept in reserve.",
            format::bytes(space.free_bytes),
            format::bytes(space.total_bytes),
            format::bytes(reserve_bytes)
        )
    })
}

fn space(app: &App) -> Option<Space> {
    disk::space(&app.config.data_dir).ok()
}

/// For `/metrics`.
pub fn gauges(app: &App) {
    let Some(space) = space(app) else { return };
    metrics::gauge!("paceline_disk_free_bytes").set(space.free_bytes as f64);
    metrics::gauge!("paceline_disk_total_bytes").set(space.total_bytes as f64);
    metrics::gauge!("paceline_disk_reserve_bytes").set(app.config.disk.reserve_bytes as f64);
    let short = short_of(space, app.config.disk.reserve_bytes).is_some();
    metrics::gauge!("paceline_disk_short").set(f64::from(u8::from(short)));
}

/// Removes what is old, the oldest first, until there is enough.
pub async fn sweep(app: &Arc<App>) -> anyhow::Result<Swept> {
    let now_ms = app.clock.now_ms();
    let days_ms = |days: u32| i64::from(days) * DAY.as_millis() as i64;
    let kept = rows::evidence_since(&app.db, now_ms - days_ms(app.config.disk.evidence_days)).await?;
    let app = app.clone();
    let swept = tokio::task::spawn_blocking(move || -> anyhow::Result<Swept> {
        let now = SystemTime::now();
        let old = |days: u32| now.checked_sub(DAY * days).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut swept = Swept::default();
        // A file's own age counts too: evidence that was uploaded and not yet finished with has no row.
        for (digest, path) in app.evidence.older_than(old(app.config.disk.evidence_days))? {
            if shortage(&app).is_none() {
                return Ok(swept);
            }
            if kept.contains(&digest) {
                continue;
            }
            tracing::info!(digest, "removing evidence past its retention");
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            swept.evidence += 1;
        }
        for repository in app.mirrors.unused_since(old(MIRROR_DAYS)) {
            if shortage(&app).is_none() {
                return Ok(swept);
            }
            swept.mirrors += usize::from(app.mirrors.remove_unused(repository, old(MIRROR_DAYS))?);
        }
        Ok(swept)
    })
    .await
    .context("the sweep was ended")??;
    metrics::counter!("paceline_disk_removed_total", "what" => "evidence").increment(swept.evidence as u64);
    metrics::counter!("paceline_disk_removed_total", "what" => "mirror").increment(swept.mirrors as u64);
    Ok(swept)
}

/// When something below a directory was last written, as far as its top tells.
pub fn last_written(directories: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<SystemTime> {
    directories
        .into_iter()
        .filter_map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_in_figures() {
        let space = |free_bytes| Space { free_bytes, total_bytes: 50 << 30 };
        assert_eq!(short_of(space(2 << 30), 2 << 30), None);
        let words = short_of(space(1 << 30), 2 << 30).unwrap();
        assert!(words.contains("1") && words.contains("50") && words.contains("nearly full"), "{words}");
    }
}
