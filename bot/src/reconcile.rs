//! Repairs what was missed: leases of dead processes, silent runners, deliveries that found nobody here; at start-up
//! and by period.

use crate::app::App;
use crate::db::{deliveries, jobs};
use crate::runs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(5);
/// GitHub keeps deliveries for three days.
const KEPT_MS: i64 = 3 * 24 * 60 * 60 * 1_000;
/// How often GitHub is asked for deliveries that did not reach us.
const ASK_EVERY_MS: i64 = 5 * 60 * 1_000;
/// The same after a question that failed.
const ASK_AGAIN_MS: i64 = 60 * 1_000;
/// A delivery that fails as often as this is one that we refuse, not one that we missed.
const REDELIVERIES_MAX: u32 = 3;
/// Deliveries asked for again in one round; what is over waits for the next, so that an outage ends gently.
const ROUND_MAX: usize = 200;

/// Looks once at once, then by period until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut missed = Missed::default();
    loop {
        if let Err(error) = once(&app).await {
            tracing::error!(error = format!("{error:#}"), "repair failed; tried again by period");
        }
        missed.ask(&app).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD.min(app.lease_step())) => {}
        }
    }
}

/// One round of repairs in our own rows.
pub async fn once(app: &App) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let requeued = deliveries::requeue_expired(&app.db, now_ms).await?;
    if requeued > 0 {
        tracing::warn!(requeued, "took back deliveries of a process that is gone");
        app.wake.deliveries.notify_one();
    }
    for (repository, number) in jobs::expire_leases(&app.db, now_ms).await? {
        tracing::warn!(repository = repository.0, pr = number, "took back the job of a silent runner");
        runs::republish(app, repository, number).await?;
        app.wake.jobs.notify_waiters();
    }
    Ok(())
}

/// Deliveries that GitHub could not hand over, because nobody listened here.
#[derive(Default)]
struct Missed {
    next_ms: i64,
    /// How often each was asked for; forgotten when GitHub no longer lists it as failed.
    asked: BTreeMap<String, u32>,
}

impl Missed {
    /// Has GitHub send them again, when it is time to ask.
    async fn ask(&mut self, app: &App) {
        let now_ms = app.clock.now_ms();
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms = match self.redeliver(app, now_ms).await {
            Ok(()) => now_ms + ASK_EVERY_MS,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot ask GitHub for missed deliveries; later"
                );
                now_ms + ASK_AGAIN_MS
            }
        };
    }

    async fn redeliver(&mut self, app: &App, now_ms: i64) -> anyhow::Result<()> {
        let failed = app.github.failed_deliveries(now_ms - KEPT_MS).await?;
        self.asked.retain(|guid, _| failed.iter().any(|f| f.guid == *guid));
        let mut redelivered = 0;
        for delivery in failed {
            if redelivered == ROUND_MAX {
                break;
            }
            let asked = self.asked.get(&delivery.guid).copied().unwrap_or(0);
            // Stored, and only our answer was lost.
            if asked >= REDELIVERIES_MAX || deliveries::known(&app.db, &delivery.guid).await? {
                continue;
            }
            app.github.redeliver(delivery.id).await?;
            self.asked.insert(delivery.guid, asked + 1);
            redelivered += 1;
        }
        if redelivered > 0 {
            tracing::warn!(redelivered, "GitHub sends again what it could not deliver");
        }
        Ok(())
    }
}
