//! Spans: what became of the requests of sampled traces, for a collector of OpenTelemetry's.
//!
//! The data path hands a finished span over and never waits: when the collector cannot keep up, or is not there, spans are
//! dropped and counted. Requests that belong to no sampled trace cost a look for `traceparent`, and nothing where the
//! configuration has no `[tracing]`.

pub mod export;
mod otlp;

use crate::config::Tracing;
use crate::http1::request::RequestHead;
use crate::metrics::SharedCounter;
use crate::proxy::Client;
use crate::trace::{Context, Field, Onward};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

/// Spans that may wait for the collector, in a quarter of a second or while it is slow: some megabytes, and 32 at most.
const QUEUE_SPANS: usize = 8 * 1024;
/// A longer value is cut: of a path, of a client's name for itself.
const TEXT_MAX_BYTES: usize = 1024;

/// One request, from its head to its end.
#[derive(Debug)]
pub struct Span {
    /// The trace, and our own span in it.
    own: Context,
    /// The span that the request came from, unless the trace begins here.
    parent: Option<[u8; 8]>,
    field: Field,
    method: Box<str>,
    path: Box<str>,
    host: Box<str>,
    user_agent: Option<Box<str>>,
    client: Box<str>,
    scheme: &'static str,
    version: &'static str,
    /// The instance that answered, or was asked last.
    pub address: Option<Box<str>>,
    /// Until there is an end: what a request has not.
    outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub ended: SystemTime,
    pub duration: Duration,
    pub status: u16,
    pub body_bytes: u64,
    pub route: Option<Box<str>>,
    pub upstream: Option<Box<str>>,
    /// Why the gateway itself answered, or why the answer is not whole.
    pub reason: Option<&'static str>,
}

impl Span {
    /// The span of a request that is followed: one of a sampled trace, or the first of a trace of its own.
    pub fn begin(
        tracing: &Tracing,
        head: &RequestHead<'_, '_>,
        client: &Client,
        mut chance: impl FnMut() -> u64,
    ) -> Option<Box<Span>> {
        let mut came = head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("traceparent"));
        // Two are none (section 3.2).
        let came = match (came.next(), came.next()) {
            (Some(field), None) => Context::parse(field.value),
            _ => None,
        };
        let (own, parent) = match came {
            Some(came) if !came.is_sampled() => return None,
            Some(came) => (came.onward(chance), Some(came.span)),
            None if !chance().is_multiple_of(u64::from(tracing.begin_one_in?)) => return None,
            None => (Context::begin(chance), None),
        };
        let text = |value: &str| value[..value.floor_char_boundary(TEXT_MAX_BYTES)].into();
        Some(Box::new(Span {
            own,
            parent,
            field: own.field(),
            method: text(head.method),
            path: text(head.path),
            host: text(head.host.unwrap_or_default()),
            user_agent: head.field("user-agent").map(|agent| text(&String::from_utf8_lossy(agent))),
            client: client.ip_text.clone(),
            scheme: client.scheme,
            version: match (client.is_http2.get(), head.is_http_11) {
                (true, _) => "2",
                (false, true) => "1.1",
                (false, false) => "1.0",
            },
            address: None,
            outcome: Outcome::none(),
        }))
    }

    /// What the upstream is told.
    pub fn onward(&self) -> Onward<'_> {
        Onward { parent: &self.field, begins: self.parent.is_none() }
    }

    pub fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Outcome {
    fn none() -> Outcome {
        Outcome {
            ended: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            status: 0,
            body_bytes: 0,
            route: None,
            upstream: None,
            reason: None,
        }
    }
}

/// The way to the exporter, for many threads.
#[derive(Clone, Debug)]
pub struct Spans(SyncSender<Box<Span>>);

/// Finished spans, in order.
pub type Finished = Receiver<Box<Span>>;

pub fn queue() -> (Spans, Finished) {
    let (spans, finished) = sync_channel(QUEUE_SPANS);
    (Spans(spans), finished)
}

impl Spans {
    /// False when the span was dropped.
    #[must_use]
    pub fn send(&self, span: Box<Span>) -> bool {
        !matches!(self.0.try_send(span), Err(TrySendError::Full(_)))
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    pub sent: SharedCounter,
    /// Dropped because too many waited.
    pub overflowed: SharedCounter,
    /// Dropped because the collector did not take them.
    pub failed: SharedCounter,
}
