//! One side's connections, its queue of requests that wait for a place on one, and its tally.
//!
//! A slot carries one request at a time: it is a connection of HTTP/1, or one of several streams of a connection of
//! HTTP/2 (`streams`).

use super::{
    response::{Answer, Bad, ResponseReader},
    streams::{self, STREAMS},
    wire::{ErrorKind, Tally},
};
use crate::model::{
    Side,
    job::{Protocol, Request},
};
use bytes::Bytes;
use h2::client::SendRequest;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// One request on the wire: it must fit into an empty socket buffer, because it is written in one go.
const REQUEST_MAX_BYTES: usize = 8 << 10;
/// Bytes taken from a socket at once.
const READ_BYTES: usize = 16 << 10;
/// Between two attempts to connect: a server that is gone is asked a few hundred times in a round, not a million.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// One side. Shared by the pacer, which sends, and one task per connection, which receives. The lock is never held
/// across an await, and all of it runs on one thread, so it is never contended.
pub(super) struct Lane {
    pub(super) side: Side,
    address: SocketAddr,
    protocol: Protocol,
    response_max_bytes: u64,
    requests: Vec<Prepared>,
    state: Mutex<State>,
}

struct Prepared {
    wire: Vec<u8>,
    head: bool,
    /// The same for HTTP/2.
    request: http::Request<()>,
}

/// What a slot's requests go out on.
pub(super) enum Out {
    Connection(Arc<TcpStream>),
    Streams(SendRequest<Bytes>),
}

/// One request on one slot: an answer that comes after the slot was given to another is nobody's.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    slot: usize,
    number: u64,
}

struct State {
    slots: Vec<Slot>,
    /// Round robin, so that every connection (and every thread of a server that shares them out) gets its part.
    idle: VecDeque<usize>,
    waiting: VecDeque<Pending>,
    run: u32,
    begun: Instant,
    /// How long this run's schedule is.
    window: Duration,
    /// Requests of this run without an outcome.
    outstanding: usize,
    tally: Tally,
    /// Statuses of 400 and above that are good answers.
    expected: Vec<u16>,
}

struct Slot {
    out: Option<Out>,
    /// How many requests it has carried.
    number: u64,
    flight: Option<Pending>,
    reader: ResponseReader,
    /// Has carried a whole exchange: a close at the next request may be an old keep-alive limit.
    served: bool,
}

/// A request that is due, on its way or not.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) due: Duration,
    pub(super) template: u32,
    pub(super) run: u32,
    retried: bool,
}

impl Pending {
    pub(super) fn new(due: Duration, template: u32, run: u32) -> Self {
        Self { due, template, run, retried: false }
    }
}

/// A request template that cannot be put on the wire.
#[derive(Debug, thiserror::Error)]
#[error(
    "request {method:?} {path:?} is not one: a method is a word, a path starts with / and has no spaces, both together at most {REQUEST_MAX_BYTES} bytes"
)]
pub struct BadRequest {
    method: String,
    path: String,
}

impl Lane {
    pub(super) fn new(
        side: Side,
        address: SocketAddr,
        connections: usize,
        protocol: Protocol,
        requests: &[Request],
        response_max_bytes: u64,
    ) -> Result<Self, BadRequest> {
        let requests = requests.iter().map(|r| prepare(r, address)).collect::<Result<Vec<_>, _>>()?;
        let slot = || Slot {
            out: None,
            number: 0,
            flight: None,
            reader: ResponseReader::new(response_max_bytes),
            served: false,
        };
        let state = State {
            slots: (0..connections * streams_of(protocol)).map(|_| slot()).collect(),
            idle: VecDeque::with_capacity(connections * streams_of(protocol)),
            waiting: VecDeque::new(),
            run: 0,
            begun: Instant::now(),
            window: Duration::ZERO,
            outstanding: 0,
            tally: Tally::new(),
            expected: Vec::new(),
        };
        Ok(Self { side, address, protocol, response_max_bytes, requests, state: Mutex::new(state) })
    }

    pub(super) fn expect(&self, statuses: &[u16]) {
        self.state().expected = statuses.to_vec();
    }

    /// Starts counting anew; what is still on its way belongs to the run before and is no longer counted.
    pub(super) fn begin(&self, run: u32, begun: Instant, window: Duration) {
        let mut state = self.state();
        state.waiting.clear();
        (state.run, state.begun, state.window, state.outstanding) = (run, begun, window, 0);
        state.tally = Tally::new();
    }

    /// Sends a request on a free connection, or lets it wait for one. Its latency counts from its due time.
    pub(super) fn dispatch(self: &Arc<Self>, pending: Pending) {
        let mut state = self.state();
        state.tally.scheduled += 1;
        state.outstanding += 1;
        state.waiting.push_back(pending);
        self.pump(&mut state);
    }

    pub(super) fn outstanding(&self) -> usize {
        self.state().outstanding
    }

    /// Connections that are open.
    pub(super) fn connected(&self) -> usize {
        let open = self.state().slots.iter().filter(|slot| slot.out.is_some()).count();
        open / streams_of(self.protocol)
    }

    pub(super) fn response_max_bytes(&self) -> u64 {
        self.response_max_bytes
    }

    /// Ends the run. What has no outcome counts as unanswered, with the time that it has been waited for: leaving it
    /// out would make a hanging server look fast.
    pub(super) fn finish(&self) -> Tally {
        let mut guard = self.state();
        let state = &mut *guard;
        let run = state.run;
        let flying = state.slots.iter().filter_map(|slot| slot.flight.as_ref());
        for pending in flying.chain(state.waiting.iter()).filter(|p| p.run == run) {
            let waited = nanos(state.begun.elapsed().saturating_sub(pending.due));
            state.tally.record(waited, quarter(pending.due, state.window));
            state.tally.count(ErrorKind::Unanswered);
        }
        state.waiting.clear();
        state.outstanding = 0;
        // A number that no request has: what arrives from now on is nobody's.
        state.run = u32::MAX;
        std::mem::replace(&mut state.tally, Tally::new())
    }

    /// Keeps one connection open and takes its responses, until it is dropped.
    pub(super) async fn serve(self: Arc<Self>, connection: usize) {
        let streams = streams_of(self.protocol);
        let slots = connection * streams..(connection + 1) * streams;
        let slot = slots.start;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let stream = match TcpStream::connect(self.address).await {
                Ok(stream) => stream,
                Err(_) => {
                    self.state().tally.count(ErrorKind::Connect);
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            };
            // Nagle's algorithm would hold a request back; where it cannot be switched off, requests are one write.
            let _ = stream.set_nodelay(true);
            if self.protocol == Protocol::Http2 {
                if streams::lend(&self, stream, slots.clone()).await.is_err() {
                    self.state().tally.count(ErrorKind::Connect);
                }
            } else {
                let stream = Arc::new(stream);
                self.opened(slot, Out::Connection(stream.clone()));
                while self.receive(slot, &stream, &mut buffer).await {}
            }
            let trouble = slots.clone().filter(|slot| self.closed(*slot)).count() == streams;
            if trouble {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    pub(super) fn opened(self: &Arc<Self>, slot: usize, out: Out) {
        let mut state = self.state();
        state.slots[slot].out = Some(out);
        state.slots[slot].served = false;
        state.idle.push_back(slot);
        self.pump(&mut state);
    }

    /// Takes what came; false when the connection is to be closed.
    async fn receive(self: &Arc<Self>, slot: usize, stream: &TcpStream, buffer: &mut [u8]) -> bool {
        if stream.readable().await.is_err() {
            return false;
        }
        match stream.try_read(buffer) {
            Ok(0) => false,
            Ok(n) => self.received(slot, &buffer[..n]),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// A response on one of several streams, or why there is none.
    pub(super) fn heard(self: &Arc<Self>, ticket: Ticket, outcome: Result<u16, ErrorKind>) {
        let mut state = self.state();
        let slot = &state.slots[ticket.slot];
        if slot.number != ticket.number || slot.flight.is_none() || slot.out.is_none() {
            return;
        }
        match outcome {
            Ok(status) => state.answered(ticket.slot, Answer { status, reusable: true }),
            Err(kind) => state.failed(ticket.slot, kind),
        }
        state.idle.push_back(ticket.slot);
        self.pump(&mut state);
    }

    fn received(self: &Arc<Self>, slot: usize, bytes: &[u8]) -> bool {
        let mut state = self.state();
        if state.slots[slot].flight.is_none() {
            // Bytes that nobody asked for: this connection can no longer be trusted.
            return false;
        }
        match state.slots[slot].reader.feed(bytes) {
            Ok(None) => true,
            Ok(Some(answer)) => {
                state.answered(slot, answer);
                if answer.reusable {
                    state.idle.push_back(slot);
                    self.pump(&mut state);
                }
                answer.reusable
            }
            Err(bad) => {
                state.failed(slot, kind_of(bad));
                false
            }
        }
    }

    /// The connection is gone. True when that looks like trouble, so that the next attempt should wait a little.
    fn closed(self: &Arc<Self>, slot: usize) -> bool {
        let mut state = self.state();
        state.idle.retain(|&other| other != slot);
        state.slots[slot].out = None;
        let served = state.slots[slot].served;
        if let Some(mut pending) = state.slots[slot].flight {
            let reader = &mut state.slots[slot].reader;
            if !reader.begun() && served && !pending.retried {
                // A keep-alive connection that closed just as we wrote: a client would send it again, and so do we,
                // once, with its waiting counted on.
                pending.retried = true;
                state.slots[slot].flight = None;
                if pending.run == state.run {
                    state.waiting.push_front(pending);
                    self.pump(&mut state);
                }
            } else {
                match reader.end() {
                    Ok(answer) => state.answered(slot, answer),
                    Err(_) => state.failed(slot, ErrorKind::Closed),
                }
            }
        }
        !served
    }

    /// Brings waiting requests and free connections together.
    fn pump(self: &Arc<Self>, state: &mut State) {
        while let Some(&slot) = state.idle.front() {
            let Some(pending) = state.waiting.pop_front() else { return };
            state.idle.pop_front();
            let request = &self.requests[pending.template as usize % self.requests.len()];
            let place = slot;
            let slot = &mut state.slots[place];
            slot.reader.expect(request.head);
            slot.flight = Some(pending);
            slot.number += 1;
            let ticket = Ticket { slot: place, number: slot.number };
            // What cannot be written is of a connection that is closed, which its task sees; a short write (the peer
            // reads nothing) leaves the request unanswered.
            match &mut slot.out {
                Some(Out::Connection(stream)) => {
                    let _ = stream.try_write(&request.wire);
                }
                Some(Out::Streams(sender)) => streams::send(self, sender, request.request.clone(), ticket),
                None => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answered(&mut self, slot: usize, answer: Answer) {
        if answer.status >= 400 && !self.expected.contains(&answer.status) {
            self.failed(slot, ErrorKind::Status);
            return;
        }
        if let Some(pending) = self.ended(slot) {
            let latency = self.begun.elapsed().saturating_sub(pending.due);
            self.tally.record(nanos(latency), quarter(pending.due, self.window));
            self.tally.answered += 1;
        }
    }

    fn failed(&mut self, slot: usize, kind: ErrorKind) {
        if self.ended(slot).is_some() {
            self.tally.count(kind);
        }
    }

    /// Frees the slot; its request when that belongs to this run.
    fn ended(&mut self, slot: usize) -> Option<Pending> {
        self.slots[slot].served = true;
        let pending = self.slots[slot].flight.take()?;
        if pending.run != self.run {
            return None;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(pending)
    }
}

/// Which quarter of the schedule a request was due in, from 0.
fn quarter(due: Duration, window: Duration) -> usize {
    let place = nanos(due).saturating_mul(4) / nanos(window).max(1);
    place.min(3) as usize
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn kind_of(bad: Bad) -> ErrorKind {
    match bad {
        Bad::Malformed => ErrorKind::Malformed,
        Bad::TooLarge => ErrorKind::TooLarge,
        Bad::Truncated => ErrorKind::Closed,
    }
}

fn prepare(request: &Request, address: SocketAddr) -> Result<Prepared, BadRequest> {
    let Request { method, path } = request;
    let bad =
        || BadRequest { method: method.chars().take(40).collect(), path: path.chars().take(200).collect() };
    let word = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if !word || !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad());
    }
    let length = match method.as_str() {
        "POST" | "PUT" | "PATCH" => "Content-Length: 0\r\n",
        _ => "",
    };
    let wire = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: perfsuite\r\nAccept: */*\r\n{length}\r\n"
    );
    if wire.len() > REQUEST_MAX_BYTES {
        return Err(bad());
    }
    let request = http2(method, path, address).ok_or_else(bad)?;
    Ok(Prepared { wire: wire.into_bytes(), head: method == "HEAD", request })
}

/// A request as HTTP/2 has it: with its scheme and authority.
pub(super) fn http2(method: &str, path: &str, address: SocketAddr) -> Option<http::Request<()>> {
    let uri = format!("http://{address}{path}");
    let request = http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    request.header("user-agent", "perfsuite").header("accept", "*/*").body(()).ok()
}

/// Requests that a connection carries at a time.
fn streams_of(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Http1 => 1,
        Protocol::Http2 => STREAMS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_cannot_smuggle_a_second_request() {
        let check = |method: &str, path: &str| {
            let request = Request { method: method.into(), path: path.into() };
            prepare(&request, ([127, 0, 0, 1], 80).into()).is_ok()
        };
        assert!(check("GET", "/a?b=c"));
        assert!(!check("GET", "/a b"));
        assert!(!check("GET", "/a\r\nx: y"));
        assert!(!check("GE T", "/"));
        assert!(!check("", "/"));
        assert!(!check("GET", "a"));
        assert!(!check("GET", &format!("/{}", "a".repeat(REQUEST_MAX_BYTES))));
    }
}
