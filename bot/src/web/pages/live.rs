//! `/runs/{job}/live`: what a job does while it does it, as server-sent events: where it stands, its log line by line, its
//! end. The page shows the same without them, and renews itself.

use super::Site;
use super::access::AtRun;
use super::error::PageError;
use super::parts::clean;
use crate::db::jobs::Job;
use crate::db::{Db, job_log, jobs};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use perfsuite::model::JobId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// As often as a runner reports.
const LOOK: Duration = Duration::from_secs(2);
/// After this a listener asks again, and whether it may is asked again, too.
const LISTEN_MAX: Duration = Duration::from_secs(10 * 60);
/// A proxy that hears nothing for half a minute often closes.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Lines of one look; a log that is longer comes in several.
const LINES_AT_ONCE: i64 = 500;
/// When a listener that found no place, or lost its connection, asks again.
const ASK_AGAIN_SECONDS: u32 = 5;

#[derive(Default, Deserialize)]
pub struct Choice {
    /// The last line of the log that the listener has.
    #[serde(default)]
    after: i64,
}

/// Where a job stands, as the page says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Standing {
    state: &'static str,
    text: String,
    done: u64,
    total: u64,
}

impl Standing {
    fn of(job: &Job) -> Self {
        let progress = job.progress.as_ref();
        Self {
            state: job.state.as_str(),
            text: progress.map(|progress| clean(&progress.text)).unwrap_or_default(),
            done: progress.map_or(0, |progress| progress.done.min(progress.total)),
            total: progress.map_or(0, |progress| progress.total),
        }
    }
}

pub async fn show(
    State(site): State<Site>,
    AtRun { job, .. }: AtRun,
    choice: Result<Query<Choice>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let Some(place) = site.live.place() else {
        let again = [(header::RETRY_AFTER, ASK_AGAIN_SECONDS.to_string())];
        let words = "Too many people listen at once. The page shows the same.\n";
        return Ok((StatusCode::SERVICE_UNAVAILABLE, again, words).into_response());
    };
    // A browser that lost its connection says what it had.
    let had = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let Query(choice) = choice.unwrap_or_default();
    let listener = Listener {
        db: site.db.clone(),
        job: job.id,
        stop: site.live.stop(),
        told: None,
        after: had.unwrap_or(choice.after).max(0),
        until: Instant::now() + LISTEN_MAX,
        heard: Instant::now(),
        first: true,
        ended: false,
        _place: place,
    };
    let events = stream::unfold(listener, |listener| async move { listener.next().await });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that gathers answers before it passes them on is asked not to.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

struct Listener {
    db: Db,
    job: JobId,
    stop: CancellationToken,
    told: Option<Standing>,
    /// The last line that was told.
    after: i64,
    until: Instant,
    /// When something was last sent.
    heard: Instant,
    first: bool,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// What is sent next, when there is something; `None` at the end.
    async fn next(mut self) -> Option<(Result<Bytes, sqlx::Error>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            if self.first {
                self.first = false;
                return Some((Ok(format!("retry: {}\n\n", ASK_AGAIN_SECONDS * 1_000).into()), self));
            }
            let found = match self.look().await {
                Ok(found) => found,
                // The connection is cut; the browser asks again.
                Err(error) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
            };
            if !found.is_empty() {
                self.heard = Instant::now();
                return Some((Ok(found.into()), self));
            }
            if Instant::now() >= self.until {
                return None;
            }
            if self.heard.elapsed() >= SILENCE_MAX {
                self.heard = Instant::now();
                return Some((Ok(":\n\n".into()), self));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Events of what is new.
    async fn look(&mut self) -> sqlx::Result<String> {
        let Some(job) = jobs::get(self.db.pool(), &self.job).await? else {
            self.ended = true;
            return Ok(event("end", None, &()));
        };
        let mut events = String::new();
        let lines = job_log::tail(&self.db, &self.job, self.after, LINES_AT_ONCE).await?;
        let all = (lines.len() as i64) < LINES_AT_ONCE;
        if let Some((last, _)) = lines.last() {
            self.after = *last;
            let lines: Vec<String> = lines.iter().map(|(_, line)| clean(line)).collect();
            events += &event("log", Some(self.after), &lines);
        }
        let standing = Standing::of(&job);
        if self.told.as_ref() != Some(&standing) {
            events += &event("standing", None, &standing);
            self.told = Some(standing);
        }
        // The rest of a long log comes before its end.
        if all && job.state.ended() {
            self.ended = true;
            events += &event("end", None, &());
        }
        Ok(events)
    }
}

/// One event. Its data is JSON, which has no line break in it.
fn event(name: &str, id: Option<i64>, data: &impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {}\n\n", crate::db::to_json(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_lines_that_a_log_cannot_break() {
        let told = event("log", Some(7), &vec!["a\nevent: end\n\n"]);
        assert_eq!(told, "event: log\nid: 7\ndata: [\"a\\nevent: end\\n\\n\"]\n\n");
    }
}
