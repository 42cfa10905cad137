//! One client connection of HTTP/1, or one stream of HTTP/2 in its shape, a request at a time: receive, judge,
//! exchange, answer, account.
//!
//! One task drives the client's socket and the upstream's. Between requests a connection holds no buffer.

pub mod account;
mod duplex;
mod exchange;
mod judge;
mod refusal;
mod tunnel;

use self::account::Account;
use self::exchange::{After, Exchange};
use self::judge::{Judged, judge};
use self::refusal::{Answer, Refusal};
use crate::http1::buffer::Buffer;
use crate::http1::request::BadRequest;
use crate::http1::scan::HeadScan;
use crate::http2::{self, PREFACE_HEAD, Served};
use crate::limit::Key;
use crate::metrics::Phase;
use crate::path::PATH_MAX_BYTES;
use crate::stream::{Stream, Wire};
use crate::timer::Timer;
use crate::worker::Worker;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The other end of a client connection.
#[derive(Debug)]
pub struct Client {
    pub ip: IpAddr,
    /// The same, as text for the upstream and for the log.
    pub ip_text: Box<str>,
    /// What the limiters know it by.
    pub key: Key,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The name that it has asked for in TLS.
    pub sni: Option<Box<str>>,
    /// It was found to speak HTTP/2.
    pub is_http2: Cell<bool>,
}

impl Client {
    /// `seed` is the limiters' secret.
    pub fn new(seed: u64, ip: IpAddr, scheme: &'static str, sni: Option<Box<str>>) -> Client {
        let ip = ip.to_canonical();
        let (ip_text, key) = (ip.to_string().into(), judge::client_key(seed, ip));
        Client { ip, ip_text, key, scheme, sni, is_http2: Cell::new(false) }
    }
}

/// How long a connection that was closed by us is still read from, so that its client gets to see the answer
/// before the reset that unread bytes would cause.
const LINGER: Duration = Duration::from_secs(2);
/// And how much of what it still sends is looked at.
const LINGER_MAX_BYTES: usize = 1024 * 1024;

/// Serves a client until its connection ends. `speaks` is what both sides have agreed on, if they have.
pub async fn serve(worker: &Rc<Worker>, wire: Wire, client: Client, speaks: Speaks) {
    let client = Rc::new(client);
    let mut connection = match speaks {
        // In a box, as below: a connection of HTTP/1 that waits is not to be as large as one of HTTP/2.
        Speaks::Http2 => return Box::pin(http2::serve(worker.clone(), wire, None, client)).await,
        Speaks::Http1 => Connection::new(worker, Stream::Wire(wire), &client),
        Speaks::Unknown => {
            let mut connection = Connection::new(worker, Stream::Wire(wire), &client);
            connection.may_be_http2 = worker.view().active().server.http2;
            connection
        }
    };
    if let Ended::Http2 = connection.run().await
        && let (Stream::Wire(wire), before) = (connection.stream, connection.buffer)
    {
        Box::pin(http2::serve(worker.clone(), wire, before, client)).await;
    }
}

/// Serves one stream of HTTP/2, whose head is there. It borrows a timer, and gives it back.
pub async fn serve_stream(
    worker: Rc<Worker>,
    served: Served,
    client: Rc<Client>,
    head: Result<Buffer, BadRequest>,
    timer: Timer,
) -> Timer {
    let mut connection = Connection::new(&worker, Stream::Served(Box::new(served)), &client);
    connection.timer = timer;
    let received = match head {
        Ok(head) => {
            let length = head.unjudged().len();
            connection.buffer = Some(head);
            Received::Head(length)
        }
        Err(bad) => Received::Bad(bad),
    };
    // Whatever becomes of it: a stream has no next request, and what is dropped before its end is reset.
    connection.answer(received).await;
    if let Some(buffer) = connection.buffer.take() {
        worker.buffers.borrow_mut().give_back(buffer);
    }
    connection.timer
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
    /// Its first bytes tell.
    Unknown,
}

pub(crate) struct Connection {
    worker: Rc<Worker>,
    stream: Stream,
    client: Rc<Client>,
    /// None while there is nothing in it.
    buffer: Option<Buffer>,
    timer: Timer,
    /// The end of the request before, or the start.
    since: Instant,
    /// Nothing has come yet, and what comes may be HTTP/2.
    may_be_http2: bool,
}

enum Ended {
    Done,
    /// The client speaks HTTP/2; what it has said lies in the buffer.
    Http2,
}

/// What came.
enum Received {
    /// A head of this length lies at the front of the buffer.
    Head(usize),
    Bad(BadRequest),
    /// The head did not come whole in its time.
    TooSlow,
    Http2,
}

/// What becomes of the connection.
enum Then {
    Next,
    Close,
    /// Close without a farewell: the client is to see that something is missing.
    BreakOff,
    /// Close, but let the client read what it was told first.
    Linger,
}

impl Connection {
    fn new(worker: &Rc<Worker>, stream: Stream, client: &Rc<Client>) -> Connection {
        Connection {
            worker: worker.clone(),
            stream,
            client: client.clone(),
            buffer: None,
            timer: Timer::default(),
            since: Instant::now(),
            may_be_http2: false,
        }
    }

    async fn run(&mut self) -> Ended {
        while let Some(received) = self.receive().await {
            if let Received::Http2 = received {
                return Ended::Http2;
            }
            self.may_be_http2 = false;
            match self.answer(received).await {
                Then::Next => {}
                Then::Close => break,
                Then::BreakOff => return Ended::Done,
                Then::Linger => {
                    self.linger().await;
                    return Ended::Done;
                }
            }
        }
        self.stream.farewell();
        Ended::Done
    }

    /// Waits for the whole head of a request. None when there will be no more.
    async fn receive(&mut self) -> Option<Received> {
        let mut scan = HeadScan::default();
        let mut skipped = false;
        let view = self.worker.view();
        let (limits, timeouts) = (&view.active().server.limits, &view.active().server.timeouts);
        let end = self.since + timeouts.client_header;
        poll_fn(|cx| {
            loop {
                if let Some(received) = self.look(&mut scan, &mut skipped, limits.header_bytes) {
                    return Poll::Ready(Some(received));
                }
                let is_idle = self.buffer.as_ref().is_none_or(Buffer::is_empty);
                if is_idle && self.worker.is_stopping() {
                    return Poll::Ready(None);
                }
                match self.read_more(cx, limits.header_bytes) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending if self.timer.has_passed(cx, end) => {
                        return Poll::Ready(if is_idle { None } else { Some(Received::TooSlow) });
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Whether what has come so far is a whole head, or can never become one.
    fn look(&mut self, scan: &mut HeadScan, skipped: &mut bool, header_bytes: usize) -> Option<Received> {
        let buffer = self.buffer.as_mut()?;
        // One empty line before a request is to be ignored (RFC 9112, section 2.2).
        if !*skipped && buffer.unjudged().starts_with(b"\r\n") {
            *skipped = true;
            buffer.skip(2);
        }
        let bytes = buffer.unjudged();
        match bytes.first() {
            None => return None,
            Some(b'\r') if !*skipped && bytes.len() == 1 => return None,
            // Another protocol: it need not be waited for until its time is up.
            Some(first) if !first.is_ascii_graphic() => return Some(Received::Bad(BadRequest::BadLine)),
            Some(_) => {}
        }
        match scan.advance(bytes) {
            Ok(Some(length)) if self.may_be_http2 && bytes[..length] == *PREFACE_HEAD => {
                Some(Received::Http2)
            }
            Ok(Some(length)) if length <= header_bytes => Some(Received::Head(length)),
            Ok(None) if bytes.len() <= header_bytes => None,
            Ok(_) => {
                let first_line = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
                Some(Received::Bad(match first_line > PATH_MAX_BYTES {
                    true => BadRequest::TargetTooLong,
                    false => BadRequest::HeadTooLarge,
                }))
            }
            Err(bad) => Some(Received::Bad(bad.into())),
        }
    }

    /// Reads what the client has sent; false when it will send no more.
    fn read_more(&mut self, cx: &mut Context<'_>, header_bytes: usize) -> Poll<bool> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.worker.buffers.borrow_mut().take_small());
        if buffer.free().is_empty() {
            buffer.compact();
            if buffer.free().is_empty() {
                buffer.grow((buffer.capacity() * 2).min(header_bytes + 1).max(buffer.capacity() + 1));
            }
        }
        let read = self.stream.poll_read(cx, buffer.free());
        if let Poll::Ready(Ok(bytes @ 1..)) = read {
            buffer.filled(bytes);
            self.buffer = Some(buffer);
            return Poll::Ready(true);
        }
        match buffer.is_empty() {
            true => self.worker.buffers.borrow_mut().give_back(buffer),
            false => self.buffer = Some(buffer),
        }
        read.map(|_| false)
    }

    async fn answer(&mut self, received: Received) -> Then {
        let Received::Head(length) = received else {
            let refusal = match received {
                Received::Bad(bad) => Refusal::Bad(bad),
                _ => Refusal::HeadTooSlow,
            };
            if let Refusal::HeadTooSlow = refusal {
                self.worker.shared.metrics.threads.of(self.worker.thread).timed_out(Phase::ClientHeader);
            }
            let mut account = Account::open_unread(&self.worker, &self.worker.view(), &self.client);
            return self.refuse(&mut account, refusal, Then::Linger).await;
        };
        let Some(buffer) = &mut self.buffer else { return Then::Close };
        let Judged { mut account, outcome } = judge(&self.worker, &self.client, buffer, length);
        let then = match outcome {
            judge::Outcome::Own(answer, then) => self.tell(&mut account, &answer, then).await,
            judge::Outcome::Pass(plan) => {
                let view = account.view();
                let exchange = Exchange::new(self, view.active(), &mut account, *plan);
                match exchange.run().await {
                    After::Next => Then::Next,
                    After::Close => Then::Close,
                    After::BreakOff => Then::BreakOff,
                    After::Linger => Then::Linger,
                    After::Refuse(refusal, then) => self.refuse(&mut account, refusal, then).await,
                }
            }
        };
        if self.since <= account.started {
            // The exchange, where there was one that went well, has read the clock already.
            self.since = Instant::now();
        }
        account.close(self.since);
        if self.buffer.as_ref().is_some_and(Buffer::is_empty)
            && let Some(buffer) = self.buffer.take()
        {
            self.worker.buffers.borrow_mut().give_back(buffer);
        }
        then
    }

    async fn refuse(&mut self, account: &mut Account, refusal: Refusal, then: Then) -> Then {
        account.reason = Some(refusal.reason());
        if refusal.is_of_a_client_that_left() {
            return Then::BreakOff;
        }
        self.tell(account, &refusal.answer(), then).await
    }

    /// Writes an answer of our own.
    async fn tell(&mut self, account: &mut Account, answer: &Answer, then: Then) -> Then {
        let then = if self.worker.is_stopping() && matches!(then, Then::Next) { Then::Close } else { then };
        account.status = answer.status;
        let closes = !matches!(then, Then::Next);
        let bytes = match account.is_grpc {
            true => answer.grpc(closes, &self.worker.date()),
            false => answer.bytes(account.is_head, closes, &self.worker.date()),
        };
        account.body_bytes = if account.is_grpc { 0 } else { answer.body_bytes(account.is_head) };
        let bound = account.view().active().server.timeouts.client_write;
        match self.write_all(&bytes, bound).await {
            true => then,
            false => Then::BreakOff,
        }
    }

    /// False when the client is gone, or takes nothing.
    async fn write_all(&mut self, bytes: &[u8], bound: Duration) -> bool {
        let mut written = 0;
        let end = Instant::now() + bound;
        poll_fn(|cx| {
            while written < bytes.len() {
                match self.stream.poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(more @ 1..)) => written += more,
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending if self.timer.has_passed(cx, end) => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match self.stream.poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
                Poll::Pending if self.timer.has_passed(cx, end) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Ends our side, and reads on for a while.
    async fn linger(&mut self) {
        let end = Instant::now() + LINGER;
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.worker.buffers.borrow_mut().take_small());
        let (mut shut, mut left) = (false, LINGER_MAX_BYTES);
        poll_fn(|cx| {
            if !shut {
                match self.stream.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => shut = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            loop {
                buffer.clear();
                match self.stream.poll_read(cx, buffer.free()) {
                    Poll::Ready(Ok(bytes @ 1..)) if bytes < left => left -= bytes,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending if self.timer.has_passed(cx, end) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        self.worker.buffers.borrow_mut().give_back(buffer);
    }
}
