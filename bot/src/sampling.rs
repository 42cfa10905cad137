//! Counts stars, forks and watchers of every repository by the hour.

use crate::app::App;
use crate::db::{counts, repositories};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked whose hour is over.
const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Repositories sampled; each is one request an hour, of 5,000 an installation has.
const REPOSITORIES_MAX: i64 = 2_000;
/// What is older says nothing that the page shows.
const KEPT_MS: i64 = 2 * 365 * 24 * HOUR_MS;

/// Looks by period until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    loop {
        // The start belongs to what was missed meanwhile.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = once(&app).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "repositories cannot be counted; tried again by period"
            );
        }
    }
}

/// Counts whose hour is over. A repository that cannot be counted is left out. Returns how many were.
pub async fn once(app: &App) -> anyhow::Result<usize> {
    let mut counted = 0;
    for repository in repositories::active_all(&app.db, REPOSITORIES_MAX).await? {
        let now_ms = app.clock.now_ms();
        let newest = counts::newest(app.db.pool(), repository.id).await?;
        if newest.is_some_and(|newest| newest.at_ms > now_ms - HOUR_MS) {
            continue;
        }
        match app.github.counts(&repository).await {
            Ok(now) => {
                let mut tx = app.db.begin().await?;
                counts::insert(&mut tx, repository.id, &now).await?;
                counts::forget(&mut tx, repository.id, now_ms - KEPT_MS).await?;
                tx.commit().await?;
                counted += 1;
            }
            Err(error) => tracing::debug!(repo = %repository.name, %error, "a repository cannot be counted"),
        }
    }
    Ok(counted)
}
