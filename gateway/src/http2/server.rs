//! A client's connection of HTTP/2: reads, serves its streams, writes, in turns of one task.
//!
//! What comes in one read is taken as a whole, then every stream is served that has something to look at, then all
//! that they had to say is written at once. So a turn costs one read and one write, however many streams it moves.

use super::frame::Code;
use super::session::{Bounds, Opened, Session};
use super::streams::Streams;
use super::{PREFACE, Served};
use crate::http1::buffer::{Buffer, LARGE_BYTES, SMALL_BYTES};
use crate::http1::request::BadRequest;
use crate::proxy::{Client, serve_stream};
use crate::stream::Wire;
use crate::timer::Timer;
use crate::worker::Worker;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::Instant;

/// Requests that a client may break off more than it lets end: a page that is left breaks off what it had asked
/// for; who does nothing else only makes work.
const BROKEN_OFF_MAX: u32 = 200;
/// How long a connection that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of what a client still sends then is looked at, so that it gets to read why.
const LINGER_MAX_BYTES: usize = 1024 * 1024;
/// Turns before the other connections have theirs.
const TURNS_MAX: u32 = 8;

/// Serves a client until its connection ends. `before` was read of it already.
pub async fn serve(worker: Rc<Worker>, wire: Wire, before: Option<Buffer>, client: Rc<Client>) {
    client.is_http2.set(true);
    let view = worker.view();
    let limits = &view.active().server.limits;
    let bounds = Bounds { streams: limits.streams as usize, header_bytes: limits.header_bytes };
    drop(view);
    let session = Rc::new(RefCell::new(Session::new(bounds)));
    let make = {
        let worker = worker.clone();
        move |served, head, timer| {
            // What a stream may do at once is bounded by windows and buffers.
            unconstrained(serve_stream(worker.clone(), served, client.clone(), head, timer))
        }
    };
    let mut serving = Serving {
        worker,
        wire,
        came: before,
        session,
        streams: Streams::new(),
        make,
        timer: Timer::default(),
        state: State::Begins,
        had_streams: false,
        trails: false,
        wrote: false,
        since: Instant::now(),
    };
    poll_fn(|cx| serving.poll(cx)).await;
}

struct Serving<F, M> {
    worker: Rc<Worker>,
    wire: Wire,
    /// What came and is not yet a whole frame. None while there is nothing.
    came: Option<Buffer>,
    session: Rc<RefCell<Session>>,
    streams: Streams<F>,
    /// What serves a stream.
    make: M,
    timer: Timer,
    state: State,
    had_streams: bool,
    /// Its streams have ended, and the client has still to take what they said last.
    trails: bool,
    /// Some of what waited was written in this turn.
    wrote: bool,
    /// Since when it has had no streams, or has taken nothing.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its preface has not come yet.
    Begins,
    Open,
    /// It was told that it should go.
    Leaves,
    /// Nothing is served any more; this side has ended once `shut`, and so many bytes are still looked at.
    Ends {
        shut: bool,
        left: usize,
    },
}

impl<F, M> Serving<F, M>
where
    F: Future<Output = Timer>,
    M: Fn(Served, Result<Buffer, BadRequest>, Timer) -> F,
{
    /// Ready at the end of the connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.streams.awake();
        for _ in 0..TURNS_MAX {
            let goes_on = match self.turn(cx) {
                Ok(goes_on) => goes_on,
                Err(Over) => return Poll::Ready(()),
            };
            if !goes_on && self.streams.rest(cx.waker()) {
                return Poll::Pending;
            }
        }
        self.streams.rest(cx.waker());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether there may be more to do at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        if let State::Ends { .. } = self.state {
            return self.end(cx);
        }
        let was_full = self.session.borrow().is_full();
        let read = match self.read(cx) {
            Ok(read) => read,
            Err(Broken::Gone) => return Err(Over),
            Err(Broken::Fault(code)) => return Ok(self.close(code)),
        };
        self.serve_streams();
        if self.session.borrow().broken_off > BROKEN_OFF_MAX {
            return Ok(self.close(Code::ENHANCE_YOUR_CALM));
        }
        let is_written = self.write(cx)?.is_ready();
        // Nobody would tell of what has come meanwhile: it was not asked for.
        let hears_again = was_full && !self.session.borrow().is_full();
        Ok(self.rest(cx, is_written)? || read || hears_again)
    }

    /// Reads once and takes what came; whether anything did.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        if self.session.borrow().is_full() {
            // Asked for again once some of that has been written.
            return Ok(false);
        }
        if self.came.is_some() && self.state == State::Begins {
            // What was read before it was known to be HTTP/2.
            self.take()?;
        }
        let mut came = self.came.take().unwrap_or_else(|| self.worker.buffers.borrow_mut().take_large());
        if came.free().is_empty() {
            came.compact();
            if came.free().is_empty() {
                came.grow(LARGE_BYTES);
            }
        }
        let mut into = ReadBuf::new(came.free());
        let read = Pin::new(&mut self.wire).poll_read(cx, &mut into).map_ok(|()| into.filled().len());
        if let Poll::Ready(Ok(bytes)) = read {
            came.filled(bytes);
        }
        self.came = Some(came);
        let taken = match read {
            Poll::Ready(Ok(1..)) => self.take().map(|()| true),
            Poll::Ready(_) => Err(Broken::Gone),
            Poll::Pending => Ok(false),
        };
        if let Some(came) = self.came.take_if(|came| came.is_empty()) {
            self.worker.buffers.borrow_mut().give_back(came);
        }
        taken
    }

    /// Takes all frames that have come whole.
    fn take(&mut self) -> Result<(), Broken> {
        let Some(mut came) = self.came.take() else { return Ok(()) };
        let taken = self.take_from(&mut came);
        self.came = Some(came);
        taken
    }

    fn take_from(&mut self, came: &mut Buffer) -> Result<(), Broken> {
        if self.state == State::Begins {
            let begun = came.unjudged().len().min(PREFACE.len());
            if came.unjudged()[..begun] != PREFACE[..begun] {
                return Err(Broken::Fault(Code::PROTOCOL_ERROR));
            }
            if begun < PREFACE.len() {
                return Ok(());
            }
            came.skip(PREFACE.len());
            self.state = State::Open;
            self.worker.shared.metrics.threads.of(self.worker.thread).http2_connections.add(1);
        }
        loop {
            let received = self.session.borrow_mut().receive(came.unjudged());
            let Some((bytes, opened)) = received.map_err(Broken::Fault)? else { return Ok(()) };
            came.skip(bytes);
            if let Some(opened) = opened {
                self.open(opened);
            }
        }
    }

    fn open(&mut self, opened: Opened) {
        (self.had_streams, self.trails) = (true, false);
        let head = match opened.refused {
            Some(bad) => Err(bad),
            None => Ok(in_buffer(&self.worker, self.session.borrow().request.text())),
        };
        let served = Served::new(self.session.clone(), opened.slot, opened.asked_head);
        self.streams.start(opened.slot, |timer| (self.make)(served, head, timer));
    }

    /// Serves every stream that has something to look at, once.
    fn serve_streams(&mut self) {
        while let Some(slot) = self.next_woken() {
            self.streams.wake(slot);
        }
        let session = &self.session;
        self.streams.poll_round(|slot| session.borrow_mut().look(slot));
        self.session.borrow_mut().looked();
    }

    fn next_woken(&self) -> Option<usize> {
        self.session.borrow_mut().next_woken()
    }

    /// Writes what there is to say; ready when all of it has gone.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        let mut session = self.session.borrow_mut();
        self.wrote = false;
        while !session.pending().is_empty() {
            match Pin::new(&mut self.wire).poll_write(cx, session.pending()) {
                Poll::Ready(Ok(bytes @ 1..)) => {
                    session.sent(bytes);
                    self.wrote = true;
                }
                Poll::Ready(_) => return Err(Over),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        // TLS may hold some.
        match Pin::new(&mut self.wire).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(Over),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// What is due when nothing moves; whether something does then.
    fn rest(&mut self, cx: &mut Context<'_>, is_written: bool) -> Result<bool, Over> {
        let mut session = self.session.borrow_mut();
        if self.state == State::Open && (self.worker.is_stopping() || session.leaves()) {
            session.ask_to_leave();
            self.state = State::Leaves;
            self.since = Instant::now();
            return Ok(true);
        }
        if self.state == State::Begins && self.worker.is_stopping() {
            return Err(Over);
        }
        if session.has_streams() || session.has_woken() {
            return Ok(session.has_woken());
        }
        if self.had_streams && !is_written {
            drop(session);
            return self.trail(cx);
        }
        if self.had_streams {
            self.had_streams = false;
            self.since = Instant::now();
            self.streams.truncate(session.trim());
        }
        if let Some(came) = self.came.take_if(|came| came.capacity() > SMALL_BYTES) {
            // Who waits with half a frame is to hold no more for it than need be.
            self.came = Some(smaller(&self.worker, came));
        }
        if session.is_over() && is_written {
            drop(session);
            return Ok(self.close(Code::NO_ERROR));
        }
        drop(session);
        // Nothing is under way: it may wait for its next request, or for its last words to be read.
        let bound = match self.state {
            State::Leaves => FAREWELL,
            _ => self.worker.view().active().server.timeouts.client_header,
        };
        if !self.timer.has_passed(cx, self.since + bound) {
            return Ok(false);
        }
        match self.state {
            State::Begins => return Err(Over),
            State::Leaves => return Ok(self.close(Code::NO_ERROR)),
            _ => {}
        }
        self.session.borrow_mut().ask_to_leave();
        self.state = State::Leaves;
        self.since = Instant::now();
        Ok(true)
    }

    /// All streams have ended, but not for the client, which has as long to take the rest as it had before.
    fn trail(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        if !std::mem::replace(&mut self.trails, true) || self.wrote {
            self.since = Instant::now();
        }
        let bound = self.worker.view().active().server.timeouts.client_write;
        if self.timer.has_passed(cx, self.since + bound) { Err(Over) } else { Ok(false) }
    }

    /// Ends all streams, and the connection once its client has been told why.
    fn close(&mut self, code: Code) -> bool {
        self.session.borrow_mut().close(code);
        self.streams.clear();
        self.since = Instant::now();
        self.state = State::Ends { shut: false, left: LINGER_MAX_BYTES };
        true
    }

    /// Writes the last words, and reads on for a while: unread bytes would reset the connection under them.
    fn end(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        let State::Ends { shut, mut left } = self.state else { return Ok(true) };
        let is_shut = shut || (self.write(cx)?.is_ready() && self.shut(cx)?.is_ready());
        let mut came = self.came.take().unwrap_or_else(|| self.worker.buffers.borrow_mut().take_large());
        let over = loop {
            came.clear();
            let mut into = ReadBuf::new(came.free());
            match Pin::new(&mut self.wire).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && into.filled().len() < left => {
                    left -= into.filled().len();
                }
                Poll::Ready(_) => break true,
                Poll::Pending => break self.timer.has_passed(cx, self.since + FAREWELL),
            }
        };
        self.worker.buffers.borrow_mut().give_back(came);
        self.state = State::Ends { shut: is_shut, left };
        if over { Err(Over) } else { Ok(false) }
    }

    fn shut(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        match Pin::new(&mut self.wire).poll_shutdown(cx) {
            Poll::Ready(Err(_)) => Err(Over),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

/// The connection is over.
struct Over;

enum Broken {
    /// The client is.
    Gone,
    Fault(Code),
}

/// The same bytes in a small buffer, if they leave room there for as many more.
fn smaller(worker: &Worker, came: Buffer) -> Buffer {
    if came.unjudged().len() > SMALL_BYTES / 2 {
        return came;
    }
    let small = in_buffer(worker, came.unjudged());
    worker.buffers.borrow_mut().give_back(came);
    small
}

fn in_buffer(worker: &Worker, head: &[u8]) -> Buffer {
    let mut buffer = worker.buffers.borrow_mut().take_small();
    buffer.grow(head.len());
    buffer.free()[..head.len()].copy_from_slice(head);
    buffer.filled(head.len());
    buffer
}
