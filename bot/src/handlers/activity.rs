//! Keeps what a delivery tells of people's work.

use crate::activity;
use crate::app::App;
use crate::db::{activity as rows, opt_outs};
use crate::pull::RepoId;
use serde_json::Value;

/// Keeps what a delivery tells. Told again, nothing changes.
pub async fn record(app: &App, event: &str, payload: &str, received_ms: i64) -> anyhow::Result<()> {
    if !activity::told_by(event) {
        return Ok(());
    }
    // What cannot be read is the handler's to report.
    let Ok(payload) = serde_json::from_str::<Value>(payload) else { return Ok(()) };
    let Some(repository) = payload["repository"]["id"].as_i64() else { return Ok(()) };
    let events = activity::events(event, &payload, received_ms);
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    let left_out = opt_outs::all(&mut *tx).await?;
    for event in &events {
        rows::insert(&mut tx, RepoId(repository), event, &left_out).await?;
    }
    tx.commit().await?;
    Ok(())
}
