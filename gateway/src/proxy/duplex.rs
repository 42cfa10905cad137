//! Both sockets of one exchange, driven by one task: the request goes up, the answer comes down, each as far as
//! the other side takes it.
//!
//! Nothing is read before what was read last has been written, so a slow reader slows its writer, and no more
//! than a buffer of each direction is ever held.

use super::refusal::Failure;
use crate::config::{Limits, Timeouts};
use crate::http1::body::{BadBody, Body, Form};
use crate::http1::buffer::{Buffer, LARGE_BYTES, SMALL_BYTES};
use crate::http1::framing::Framing;
use crate::http1::onward::{self, Back};
use crate::http1::response::{self, Asked, BadResponse, ResponseHead};
use crate::http1::scan::HeadScan;
use crate::stream::Stream;
use crate::timer::Timer;
use crate::worker::{FIELDS_ON_STACK, Worker};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Interim responses that are passed on for one request; a server that sends more does nothing else.
const INTERIM_MAX: u32 = 32;

/// What was asked, as far as it matters for the way back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) asked: Asked,
    pub(super) is_http_11: bool,
    /// The client wants to go on after this request.
    pub(super) keeps: bool,
    pub(super) deadline: Instant,
    pub(super) overdue: Failure,
    pub(super) remove: &'a [String],
    pub(super) set: &'a [(String, String)],
    /// Whether a status that says to try elsewhere is to be taken as a failure.
    pub(super) tries_elsewhere: bool,
}

/// One attempt of one request with one connection.
pub(super) struct Duplex<'a> {
    pub(super) worker: &'a Worker,
    pub(super) limits: &'a Limits,
    pub(super) timeouts: &'a Timeouts,
    pub(super) asking: Asking<'a>,
    pub(super) client: &'a mut Stream,
    /// The request's head, as it goes on, is pending in it.
    pub(super) request: &'a mut Buffer,
    pub(super) upstream: &'a mut Stream,
    pub(super) timer: &'a mut Timer,
    pub(super) up: Up,
    pub(super) down: Down,
    pub(super) answer: Option<Buffer>,
    /// The time, once it was asked for in this turn of the task; given for the first turn.
    pub(super) now: Option<Instant>,
    /// Told the status as soon as there is one, before the client is.
    pub(super) on_status: &'a mut dyn FnMut(u16, Instant),
}

/// The way of the request.
pub(super) struct Up {
    pub(super) body: Body,
    state: Sending,
    /// When the client is told to send its body, should the upstream say nothing about it.
    leave_at: Option<Instant>,
    moved: Instant,
    pub(super) sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    ToUpstream,
    FromClient,
    Done,
    /// The upstream takes no more; its answer may say why.
    Refused,
}

/// The way of the answer.
pub(super) struct Down {
    state: Answering,
    interims: u32,
    moved: Instant,
    pub(super) status: u16,
    pub(super) body_bytes: u64,
    has_begun: bool,
    client_goes_on: bool,
    upstream_goes_on: bool,
}

enum Answering {
    Head(HeadScan),
    /// The head has been taken; the body follows.
    Body(Body),
    /// All of it has been written; TLS may still hold some.
    Flush,
    Done,
}

/// How an exchange that went well has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) client_goes_on: bool,
    pub(super) upstream_goes_on: bool,
    /// Both sides speak another protocol now.
    pub(super) switched: bool,
}

impl Up {
    pub(super) fn new(body: Body, leave_at: Option<Instant>, now: Instant) -> Up {
        Up { body, state: Sending::ToUpstream, leave_at, moved: now, sent_bytes: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == Sending::Done
    }
}

impl Down {
    pub(super) fn new(now: Instant) -> Down {
        Down {
            state: Answering::Head(HeadScan::default()),
            interims: 0,
            moved: now,
            status: 0,
            body_bytes: 0,
            has_begun: false,
            client_goes_on: false,
            upstream_goes_on: false,
        }
    }

    /// Whether the client has been sent any part of the final answer.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}

impl Duplex<'_> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, Failure>> {
        let polled = self.poll_ways(cx);
        self.now = None;
        polled
    }

    fn poll_ways(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, Failure>> {
        loop {
            let up = self.poll_up(cx)?;
            // Should it fail, reading from there says why.
            let _ = self.upstream.poll_flush(cx);
            let down = self.poll_down(cx)?;
            if let Answering::Done = self.down.state {
                return Poll::Ready(Ok(self.ended()));
            }
            // Each went as far as it could, and is woken when it can go on: what the other did changes nothing.
            if up {
                self.up.moved = self.now();
            }
            if down {
                self.down.moved = self.now();
            }
            let (at, why) = self.due();
            if !self.timer.has_passed(cx, at) {
                return Poll::Pending;
            }
            match why {
                Due::Leave => self.give_leave()?,
                Due::Failure(failure) => return Poll::Ready(Err(failure)),
            }
        }
    }

    /// When this turn of the task began, or a little later: as exact as bounds on waiting need it.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn ended(&self) -> Ended {
        let sent = self.up.state == Sending::Done;
        let unasked = self.answer.as_ref().is_some_and(|answer| !answer.is_empty());
        Ended {
            client_goes_on: self.down.client_goes_on && sent,
            upstream_goes_on: self.down.upstream_goes_on && sent && !unasked,
            switched: self.down.status == 101,
        }
    }

    /// What runs out next, if nothing moves.
    fn due(&self) -> (Instant, Due) {
        let timeouts = self.timeouts;
        let waits_for_client = self.up.state == Sending::FromClient;
        let total = match waits_for_client && !self.down.has_begun {
            true => Failure::ClientSlow,
            false => self.asking.overdue,
        };
        let of_up = match self.up.state {
            Sending::ToUpstream => Some((self.up.moved + timeouts.upstream_write, Failure::WriteTimeout)),
            Sending::FromClient => Some((self.up.moved + timeouts.client_body, Failure::ClientSlow)),
            Sending::Done | Sending::Refused => None,
        };
        let is_writing = self.answer.as_ref().is_some_and(Buffer::has_pending);
        let of_down = match (&self.down.state, is_writing) {
            (Answering::Flush, _) | (_, true) => {
                Some((self.down.moved + timeouts.client_write, Failure::ClientStalled))
            }
            // Counted from the last byte of the request.
            (Answering::Head(_), false) if of_up.is_none() => {
                let from = self.up.moved.max(self.down.moved);
                Some((from + timeouts.response_header, Failure::ResponseTimeout))
            }
            (Answering::Head(_), false) => None,
            _ => Some((self.down.moved + timeouts.response_body, Failure::PauseTimeout)),
        };
        let mut due = (self.asking.deadline, Due::Failure(total));
        for (at, failure) in [of_up, of_down].into_iter().flatten() {
            if at < due.0 {
                due = (at, Due::Failure(failure));
            }
        }
        match self.up.leave_at {
            Some(at) if at < due.0 => (at, Due::Leave),
            _ => due,
        }
    }

    /// Moves the request on until it has to wait; whether anything moved.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        while matches!(self.up.state, Sending::ToUpstream | Sending::FromClient) {
            if self.request.has_pending() {
                self.up.state = Sending::ToUpstream;
                match self.upstream.poll_write(cx, self.request.pending()) {
                    Poll::Ready(Ok(bytes @ 1..)) => {
                        self.request.sent(bytes);
                        self.up.sent_bytes += bytes as u64;
                    }
                    Poll::Ready(_) => self.up.state = Sending::Refused,
                    Poll::Pending => return Ok(moved),
                }
                moved = true;
                continue;
            }
            if !self.up.body.is_done() {
                self.up.body.judge(self.request).map_err(Failure::BadBody)?;
            }
            if self.request.has_pending() {
                continue;
            }
            if self.up.body.is_done() {
                self.up.state = Sending::Done;
                moved = true;
                break;
            }
            self.up.state = Sending::FromClient;
            match self.read_body(cx)? {
                Poll::Ready(()) => moved = true,
                Poll::Pending => return Ok(moved),
            }
        }
        self.watch_client(cx)?;
        Ok(moved)
    }

    /// Reads more of the request's body.
    fn read_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let wants_large =
            self.up.body.data_bytes >= SMALL_BYTES as u64 && self.request.capacity() < LARGE_BYTES;
        if wants_large && self.request.is_empty() {
            let mut buffers = self.worker.buffers.borrow_mut();
            let small = std::mem::replace(self.request, buffers.take_large());
            buffers.give_back(small);
        }
        if self.request.free().is_empty() {
            self.request.compact();
        }
        if self.request.free().is_empty() {
            // Only a trailer section is not judged before it is whole.
            if self.request.capacity() >= self.limits.header_bytes.max(SMALL_BYTES) {
                return Err(Failure::BadBody(BadBody::Trailer));
            }
            self.request.grow(self.limits.header_bytes);
        }
        match self.client.poll_read(cx, self.request.free()) {
            Poll::Ready(Ok(bytes @ 1..)) => {
                self.request.filled(bytes);
                self.up.leave_at = None;
                Ok(Poll::Ready(()))
            }
            Poll::Ready(_) => Err(Failure::BadBody(BadBody::Truncated)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Notices a client that leaves, and takes in what it sends ahead, as far as there is room.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.up.state == Sending::Refused {
            return Ok(());
        }
        while !self.request.free().is_empty() {
            match self.client.poll_read(cx, self.request.free()) {
                Poll::Ready(Ok(bytes @ 1..)) => self.request.filled(bytes),
                Poll::Ready(_) => return Err(Failure::ClientGone),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Tells the client to send its body, in place of an upstream that did not.
    fn give_leave(&mut self) -> Result<(), Failure> {
        self.up.leave_at = None;
        let answer = self.answer.get_or_insert_with(|| self.worker.buffers.borrow_mut().take_small());
        if answer.is_empty() {
            answer.compact();
            const LEAVE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
            answer.append(LEAVE);
        }
        Ok(())
    }

    /// Moves the answer on until it has to wait; whether anything moved.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            if let Some(answer) = self.answer.as_mut().filter(|answer| answer.has_pending()) {
                match self.client.poll_write(cx, answer.pending()) {
                    Poll::Ready(Ok(bytes @ 1..)) => answer.sent(bytes),
                    Poll::Ready(_) => return Err(Failure::ClientGone),
                    Poll::Pending => return Ok(moved),
                }
                moved = true;
                continue;
            }
            match &mut self.down.state {
                Answering::Done => return Ok(moved),
                Answering::Flush => match self.client.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {
                        self.down.state = Answering::Done;
                        return Ok(true);
                    }
                    Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
                    Poll::Pending => return Ok(moved),
                },
                Answering::Body(body) => {
                    if let (false, Some(answer)) = (body.is_done(), self.answer.as_mut()) {
                        body.judge(answer).map_err(Failure::BrokeOff)?;
                        self.down.body_bytes = body.data_bytes;
                        if answer.has_pending() {
                            continue;
                        }
                    }
                    if body.is_done() {
                        self.down.state = Answering::Flush;
                        continue;
                    }
                }
                Answering::Head(scan) => {
                    let unjudged = self.answer.as_ref().map_or(&[][..], Buffer::unjudged);
                    let length = scan.advance(unjudged).map_err(|bad| Failure::BadResponse(bad.into()))?;
                    if length.unwrap_or(unjudged.len()) > self.limits.header_bytes {
                        return Err(Failure::BadResponse(BadResponse::HeadTooLarge));
                    }
                    if let Some(length) = length {
                        self.take_head(length)?;
                        moved = true;
                        continue;
                    }
                }
            }
            match self.read_answer(cx)? {
                Poll::Ready(()) => moved = true,
                Poll::Pending => {
                    // While there is nothing more to write, what was written is not to wait here.
                    match self.client.poll_flush(cx) {
                        Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
                        _ => return Ok(moved),
                    }
                }
            }
        }
    }

    fn read_answer(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let mut buffers = self.worker.buffers.borrow_mut();
        let mut answer = self.answer.take().unwrap_or_else(|| buffers.take_small());
        let wants_large = self.down.body_bytes >= SMALL_BYTES as u64 && answer.capacity() < LARGE_BYTES;
        if wants_large && answer.is_empty() {
            let small = std::mem::replace(&mut answer, buffers.take_large());
            buffers.give_back(small);
        }
        answer.compact();
        if answer.free().is_empty() {
            if answer.capacity() > self.limits.header_bytes {
                return Err(Failure::BrokeOff(BadBody::Trailer));
            }
            answer.grow(self.limits.header_bytes + 1);
        }
        let read = self.upstream.poll_read(cx, answer.free());
        match read {
            Poll::Ready(Ok(bytes @ 1..)) => answer.filled(bytes),
            Poll::Pending if answer.is_empty() => {
                buffers.give_back(answer);
                return Ok(Poll::Pending);
            }
            _ => {}
        }
        let answer = self.answer.insert(answer);
        match (read, &mut self.down.state) {
            (Poll::Pending, _) => Ok(Poll::Pending),
            (Poll::Ready(Ok(1..)), _) => Ok(Poll::Ready(())),
            (Poll::Ready(Ok(_)), Answering::Body(body)) => {
                body.end(answer).map_err(Failure::BrokeOff)?;
                Ok(Poll::Ready(()))
            }
            (Poll::Ready(_), Answering::Head(_)) if !answer.is_empty() => {
                Err(Failure::BadResponse(BadResponse::BadLine))
            }
            (Poll::Ready(_), Answering::Head(_)) => Err(Failure::Closed),
            (Poll::Ready(_), _) => Err(Failure::BrokeOff(BadBody::Truncated)),
        }
    }

    /// Judges the head of an answer and puts ours in its place.
    fn take_head(&mut self, length: usize) -> Result<(), Failure> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        let mut heap = Vec::new();
        let slots = match self.limits.headers {
            few @ ..=FIELDS_ON_STACK => &mut stack[..few],
            many => {
                heap.resize_with(many, MaybeUninit::uninit);
                &mut heap[..]
            }
        };
        let bytes = &answer.unjudged()[..length];
        let head = response::parse(bytes, slots, self.asking.asked).map_err(Failure::BadResponse)?;
        let mut out = self.worker.scratch.borrow_mut();
        out.clear();
        if head.is_interim() {
            self.down.interims += 1;
            if self.down.interims > INTERIM_MAX {
                return Err(Failure::BadResponse(BadResponse::BadLine));
            }
            // HTTP/1.0 has none, and a leave that was given is not given twice.
            let leave = head.status == 100;
            if self.asking.is_http_11 && (!leave || self.up.leave_at.is_some()) {
                write_head(self.worker, &self.asking, &mut out, &head, Framing::Empty, None);
            }
            self.up.leave_at = if leave { None } else { self.up.leave_at };
            answer.replace_head(length, &out);
            self.down.state = Answering::Head(HeadScan::default());
            return Ok(());
        }
        if self.asking.tries_elsewhere && matches!(head.status, 502..=504) && self.request.can_rewind() {
            return Err(Failure::Unavailable(head.status));
        }
        self.down.status = head.status;
        let now = *self.now.get_or_insert_with(Instant::now);
        (self.on_status)(head.status, now);
        self.down.upstream_goes_on = head.persists();
        let (framing, form) = match (head.framing, self.asking.is_http_11) {
            (Framing::UntilClose, true) => (Framing::Chunked, Form::Chunks),
            (Framing::Chunked, false) => (Framing::UntilClose, Form::Bare),
            (framing, _) => (framing, Form::Same),
        };
        // A refusal that did not wait for the body is the last word on this connection.
        let early = self.up.state != Sending::Done && head.status >= 300;
        let goes_on =
            self.asking.keeps && framing != Framing::UntilClose && !early && !self.worker.is_stopping();
        self.down.client_goes_on = goes_on && head.status != 101;
        let connection = match (goes_on, self.asking.is_http_11) {
            (true, true) => None,
            (true, false) => Some("keep-alive"),
            (false, _) => Some("close"),
        };
        write_head(self.worker, &self.asking, &mut out, &head, framing, connection);
        let mut body = Body::new(head.framing, form, u64::MAX).map_err(Failure::BrokeOff)?;
        let switches = head.status == 101;
        answer.replace_head(length, &out);
        if !switches {
            // What of the body is at hand leaves with the head, in one write.
            body.judge(answer).map_err(Failure::BrokeOff)?;
        }
        self.down.body_bytes = body.data_bytes;
        self.down.state = if switches { Answering::Flush } else { Answering::Body(body) };
        self.down.has_begun = true;
        self.up.leave_at = None;
        Ok(())
    }
}

fn write_head(
    worker: &Worker,
    asking: &Asking<'_>,
    out: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    framing: Framing,
    connection: Option<&'static str>,
) {
    let Asking { remove, set, .. } = *asking;
    let date = worker.date();
    onward::response(out, head, &Back { framing, connection, date: &date, remove, set });
}

enum Due {
    Leave,
    Failure(Failure),
}
