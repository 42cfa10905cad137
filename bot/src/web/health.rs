//! Liveness, readiness, metrics.

use super::WebError;
use crate::app::App;
use crate::db::{deliveries, jobs, runners, writes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::{Arc, OnceLock};

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers, so deliveries can be taken.
pub async fn readyz(State(app): State<Arc<App>>) -> impl IntoResponse {
    match app.db.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!(%error, "not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

/// Prometheus text. Gauges of the database are read now; counters are kept by the process.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, WebError> {
    let now_ms = app.clock.now_ms();
    let (waiting, oldest) = deliveries::waiting(app.db.pool()).await?;
    metrics::gauge!("paceline_deliveries_waiting").set(waiting as f64);
    metrics::gauge!("paceline_delivery_oldest_seconds")
        .set(oldest.map_or(0.0, |received_ms| (now_ms - received_ms) as f64 / 1_000.0));
    metrics::gauge!("paceline_writes_waiting").set(writes::waiting(&app.db).await? as f64);
    metrics::gauge!("paceline_runners_alive")
        .set(f64::from(runners::alive(app.db.pool(), now_ms - 90_000).await?));
    let open = jobs::open_counts(&app.db).await?;
    for state in ["queued", "claimed", "building", "measuring"] {
        let count = open.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
        metrics::gauge!("paceline_jobs", "state" => state).set(count as f64);
    }
    let text = recorder().render();
    Ok(([("content-type", "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// The process's one recorder, installed at first use.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics shows only its own");
        }
        handle
    })
}
