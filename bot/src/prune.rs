//! Forgets what nobody asks for any more: deliveries that were dealt with, notices that were told, and the logs of jobs of
//! that age.

use crate::app::App;
use crate::db::{Db, deliveries, job_log, notices};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Deliveries of one statement: few enough that nobody waits for the database meanwhile.
const DELIVERIES_MAX: i64 = 500;
/// Jobs whose logs go in one statement, up to 5,000 lines each.
const LOGS_MAX: i64 = 4;
/// Others write between two statements.
const PAUSE: Duration = Duration::from_millis(20);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What one round removed, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub deliveries: u64,
    pub log_lines: u64,
}

/// Prunes at once, then by period until `stop`. Several servers on one database do no harm to each other.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    loop {
        let round = async {
            match once(&app.db, app.config.disk.delivery_days, app.clock.now_ms()).await {
                Ok(pruned) if pruned == Pruned::default() => {}
                Ok(pruned) => tracing::info!(pruned.deliveries, pruned.log_lines, "forgot what is old"),
                Err(error) => {
                    tracing::error!(%error, "old rows could not be removed; tried again by period");
                }
            }
            tokio::time::sleep(PERIOD).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

/// Removes all that is older than `days`.
pub async fn once(db: &Db, days: u32, now_ms: i64) -> sqlx::Result<Pruned> {
    let before_ms = now_ms - i64::from(days) * DAY_MS;
    let mut pruned = Pruned::default();
    loop {
        let deliveries = deliveries::prune(db, before_ms, DELIVERIES_MAX).await?;
        let log_lines = job_log::prune(db, before_ms, LOGS_MAX).await?;
        pruned.deliveries += deliveries;
        pruned.log_lines += log_lines;
        if deliveries < DELIVERIES_MAX as u64 && log_lines == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    notices::prune(db, before_ms).await?;
    metrics::counter!("paceline_pruned_total", "what" => "delivery").increment(pruned.deliveries);
    metrics::counter!("paceline_pruned_total", "what" => "log line").increment(pruned.log_lines);
    Ok(pruned)
}
