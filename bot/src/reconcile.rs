//! Repairs what was left behind: leases of dead processes and silent runners, at start-up and by period; and what only time
//! brings, reminders. Asks nobody but the database.

use crate::app::App;
use crate::db::{deliveries, jobs};
use crate::errands;
use crate::reminders;
use crate::runs;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(5);

/// Looks once at once, then by period until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    loop {
        if let Err(error) = once(&app).await {
            tracing::error!(error = format!("{error:#}"), "repair failed; tried again by period");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD.min(app.lease_step())) => {}
        }
    }
}

/// One round of repairs.
pub async fn once(app: &App) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let requeued = deliveries::requeue_expired(&app.db, now_ms).await?;
    if requeued > 0 {
        tracing::warn!(requeued, "took back deliveries of a process that is gone");
        app.wake.deliveries.notify_one();
    }
    for job in jobs::expire_leases(&app.db, now_ms).await? {
        let (repository, kind) = (job.repository.0, job.purpose.as_str());
        tracing::warn!(job = %job.id, repository, kind, pr = job.number, "took back the job of a silent runner");
        runs::republish_job(app, &job).await?;
        app.wake.jobs.notify_waiters();
    }
    errands::once(app).await?;
    reminders::once(app).await?;
    Ok(())
}
