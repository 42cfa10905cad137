//! A client's connection of HTTP/2: its bounds, its streams, its end.
//!
//! Each stream is served by a task of its own. `h2` writes what all of them have to say when the connection's
//! task is polled, which is once in a turn of the event loop, however many of them spoke in it.

use super::{Io, Served, text};
use crate::http1::buffer::Buffer;
use crate::proxy::{Client, serve_stream};
use crate::timer::Timer;
use crate::worker::Worker;
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// What a client may send of one body before anybody reads it. A stream's own tasks hold as much again.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// And of all bodies of its connection together.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// What waits here of one answer, besides what its task holds, while the client reads too slowly.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that a client may have reset before they were looked at (CVE-2023-44487).
const RESETS_UNSEEN_MAX: usize = 20;
/// Streams that were reset by us for a fault of the client, before it is told to go.
const FAULTS_MAX: usize = 100;
/// Requests that a client may break off more than it lets end: a page that is left breaks off what it had asked
/// for; who does nothing else only makes work.
const BROKEN_OFF_MAX: u32 = 200;
/// How long a connection that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a client until its connection ends.
pub async fn serve(worker: Rc<Worker>, io: Io, client: Rc<Client>) {
    let view = worker.view();
    let server = &view.active().server;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(server.limits.streams)
        .max_header_list_size(u32::try_from(server.limits.header_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    let begun = tokio::select! {
        biased;
        begun = timeout(server.timeouts.client_header, builder.handshake(io)) => begun,
        () = worker.stopped() => return,
    };
    drop(view);
    let Ok(Ok(connection)) = begun else { return };
    let counts = worker.shared.metrics.threads.of(worker.thread);
    counts.http2_connections.add(1);
    let live = Rc::new(Live::new());
    let mut serving = Serving { worker, client, connection, live, timer: Timer::default(), leaving: None };
    poll_fn(|cx| serving.poll(cx)).await;
}

struct Serving {
    worker: Rc<Worker>,
    client: Rc<Client>,
    connection: Connection<Io, Bytes>,
    live: Rc<Live>,
    timer: Timer,
    /// When it was told that it should go.
    leaving: Option<Instant>,
}

impl Serving {
    /// Ready at the end of the connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.live.wake_with(cx.waker());
        if self.live.broken_off.get() > BROKEN_OFF_MAX && self.leaving.is_none() {
            self.leaving = Some(Instant::now());
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.open(request, respond);
                    continue;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.leaving.is_none() && self.worker.is_stopping() {
                self.leave();
                continue;
            }
            if self.live.streams.get() > 0 {
                return Poll::Pending;
            }
            // Nothing is under way: it may wait for its next request, or for its last words to be read.
            let end = match self.leaving {
                Some(since) => since.max(self.live.since.get()) + FAREWELL,
                None => self.live.since.get() + self.worker.view().active().server.timeouts.client_header,
            };
            match (self.timer.has_passed(cx, end), self.leaving) {
                (false, _) => return Poll::Pending,
                (true, Some(_)) => return Poll::Ready(()),
                (true, None) => self.leave(),
            }
        }
    }

    /// Tells the client to ask nothing more here, and lets what is under way end.
    fn leave(&mut self) {
        self.leaving = Some(Instant::now());
        self.connection.graceful_shutdown();
    }

    fn open(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let worker = &self.worker;
        let mut scratch = worker.scratch.borrow_mut();
        scratch.clear();
        let read = text::request(&mut scratch, &parts, body.is_end_stream());
        let (head, carried) = match read {
            Ok(carried) => (Ok(in_buffer(worker, &scratch)), carried),
            Err(bad) => (Err(bad), super::Carried::Nothing),
        };
        drop(scratch);
        let asked_head = parts.method == Method::HEAD;
        let served = Served::new((body, carried), respond, asked_head, self.live.clone());
        let (worker, client) = (worker.clone(), self.client.clone());
        spawn_local(serve_stream(worker, served, client, head));
    }
}

fn in_buffer(worker: &Worker, head: &[u8]) -> Buffer {
    let mut buffer = worker.buffers.borrow_mut().take_small();
    buffer.grow(head.len());
    buffer.free()[..head.len()].copy_from_slice(head);
    buffer.filled(head.len());
    buffer
}

/// What the streams of a connection tell it.
pub(super) struct Live {
    streams: Cell<usize>,
    /// Since when it has had no streams.
    since: Cell<Instant>,
    /// How many requests were broken off more than came to their end.
    broken_off: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Live {
    fn new() -> Live {
        let since = Cell::new(Instant::now());
        Live { streams: Cell::new(0), since, broken_off: Cell::new(0), waker: RefCell::default() }
    }

    pub(super) fn opened(&self) {
        self.streams.set(self.streams.get() + 1);
    }

    /// `broken_off` says that the client did not wait for its answer.
    pub(super) fn closed(&self, broken_off: bool) {
        let before = self.broken_off.get();
        self.broken_off.set(if broken_off { before + 1 } else { before.saturating_sub(1) });
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.since.set(Instant::now());
        }
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn wake_with(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}
