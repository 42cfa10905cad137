//! Liveness, readiness, metrics.

use super::WebError;
use crate::app::App;
use crate::db::{deliveries, jobs, runners, writes};
use crate::disk;
use crate::github::BreakerState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Longer than a database that is well takes to answer; who asks waits no longer than this.
const READY_WAIT: Duration = Duration::from_secs(3);

/// Whether deliveries can be taken and worked on: the database answers, the data directory can be written. GitHub's
/// being down is no reason to be taken out of service, since deliveries are still stored; it is said all the same.
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, String) {
    let mut reasons = Vec::new();
    match tokio::time::timeout(READY_WAIT, app.db.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => reasons.push(format!("the database does not answer: {}", cause(&error))),
        Err(_) => reasons.push(format!("the database does not answer within {} s", READY_WAIT.as_secs())),
    }
    if let Err(error) = writable(&app.config.data_dir).await {
        reasons.push(format!("the data directory cannot be written: {error}"));
    }
    if app.stop.is_cancelled() {
        reasons.push("the server stops".into());
    }
    if reasons.is_empty() {
        let github = match app.github.breaker() {
            BreakerState::Closed => "",
            BreakerState::HalfOpen | BreakerState::Open { .. } => "GitHub does not answer: writes wait\n",
        };
        return (StatusCode::OK, format!("ready\n{github}"));
    }
    for reason in &reasons {
        tracing::error!(reason, "not ready");
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

/// What went wrong, without anything of the address: that may hold a password.
fn cause(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => "no connection",
        sqlx::Error::Io(_) => "the connection broke",
        sqlx::Error::Database(_) => "it refuses; the log says why",
        _ => "the log says why",
    }
}

async fn writable(dir: &Path) -> std::io::Result<()> {
    let dir = dir.to_owned();
    let tried = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        // A full disk lets files be made, and no byte be written.
        file.write_all(b"ready?")?;
        file.as_file().sync_data()
    });
    tried.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Prometheus text. Gauges of the database are read now; the rest is kept by the process.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, WebError> {
    let now_ms = app.clock.now_ms();
    let (waiting, oldest) = deliveries::waiting(app.db.pool()).await?;
    metrics::gauge!("paceline_deliveries_waiting").set(waiting as f64);
    metrics::gauge!("paceline_delivery_oldest_seconds")
        .set(oldest.map_or(0.0, |received_ms| (now_ms - received_ms) as f64 / 1_000.0));
    let lanes = deliveries::lanes(app.db.pool()).await?;
    metrics::gauge!("paceline_lanes_busy").set(lanes.busy as f64);
    metrics::gauge!("paceline_lane_longest").set(lanes.longest as f64);
    metrics::gauge!("paceline_writes_waiting").set(writes::waiting(&app.db).await? as f64);
    metrics::gauge!("paceline_runners_alive")
        .set(f64::from(runners::alive(app.db.pool(), now_ms - 90_000).await?));
    let open = jobs::open_counts(&app.db).await?;
    for state in ["queued", "claimed", "building", "measuring"] {
        let count = open.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
        metrics::gauge!("paceline_jobs", "state" => state).set(count as f64);
    }
    let breaker = match app.github.breaker() {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open { .. } => 2.0,
    };
    metrics::gauge!("paceline_github_breaker").set(breaker);
    disk::gauges(&app);
    let text = recorder().render();
    Ok(([("content-type", "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// Upper ends of the histograms of seconds: an answer takes milliseconds, a write its place in the queue, an outage hours.
const SECONDS: [f64; 13] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 10_800.0];
/// Of sizes of groups.
const COUNTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The process's one recorder, installed at first use.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let buckets = |builder: PrometheusBuilder, matcher: Matcher, ends: &[f64]| {
            builder.set_buckets_for_metric(matcher, ends).expect("there are buckets")
        };
        let builder = buckets(PrometheusBuilder::new(), Matcher::Suffix("_seconds".into()), &SECONDS);
        let recorder = buckets(builder, Matcher::Suffix("_group".into()), &COUNTS).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics shows only its own");
        }
        handle
    })
}
