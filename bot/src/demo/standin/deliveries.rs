//! The App's log of webhook deliveries, and repeating one.

use super::answer::Answer;
use super::call::Call;
use super::json;
use serde_json::{Value, json};

pub(super) fn list(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let app = call.caller.app()?;
    let ours = call.state.deliveries.iter().rev().filter(|d| d.app == app);
    let shown = ours.map(|d| {
        json!({
            "id": d.id,
            "guid": d.guid,
            "event": d.event,
            "delivered_at": json::time(d.at_ms),
            "redelivery": d.redelivery,
            "status": if (200..300).contains(&d.status) { "OK" } else { "failed" },
            "status_code": d.status,
        })
    });
    Ok(Answer::page(call.asked, "/app/hook/deliveries", shown.collect(), |_, page| Value::Array(page)))
}

/// Only notes the wish; the server sends it after answering.
pub(super) fn attempt(call: &mut Call<'_>, id: &str) -> Result<Answer, Answer> {
    let app = call.caller.app()?;
    let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
    let known = call.state.deliveries.iter().find(|d| d.app == app && d.id == id);
    let guid = known.ok_or_else(Answer::not_found)?.guid.clone();
    call.state.redeliveries_asked.push(guid);
    Ok(Answer { status: 202, body: json!({}), headers: Vec::new() })
}
