//! Makes room on a disk that is nearly full: what goes first, and what waits meanwhile.
//!
//! Evidence past its retention goes first, then mirrors that nobody used for long; kept builds are the runner's, which
//! removes those before it asks for a job. While less than the reserve is free no job is handed out, and the comment
//! says why; deliveries are still taken, for which the reserve is there.

use crate::app::App;
use crate::db::space as rows;
use crate::disk::shortage;
use crate::runs;
use anyhow::Context;
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
