//! One request of a client over HTTP/2: its body is read, and its answer written, as if it were HTTP/1.

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::server::Live;
use super::{Carried, broken, text};
use crate::http1::scan::HeadScan;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// After the body's last byte nothing comes but a reset, so the stream is silent then, and at its end once the
/// answer is written. Dropped before that, it resets the stream.
pub struct Served {
    request: Inbound,
    respond: SendResponse<Bytes>,
    /// Once the final head has been written.
    answer: Option<Outbound>,
    asked_head: bool,
    finished: bool,
    /// The client has broken off, or its connection has.
    broken_off: bool,
    live: Rc<Live>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Served {
    pub(super) fn new(
        body: (RecvStream, Carried),
        respond: SendResponse<Bytes>,
        asked_head: bool,
        live: Rc<Live>,
    ) -> Served {
        live.opened();
        let request = Inbound::new(body.0, body.1, Bytes::new());
        Served { request, respond, answer: None, asked_head, finished: false, broken_off: false, live }
    }

    /// Bytes of the request's body.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Ok(0));
        }
        let read = ready!(self.poll_request(cx, into));
        self.broken_off |= read.is_err();
        Poll::Ready(read)
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(self.request.poll_read(cx, into))?;
        if read > 0 || into.is_empty() {
            return Poll::Ready(Ok(read));
        }
        match &mut self.answer {
            Some(answer) => answer.poll_reset(cx).map(Err),
            None => self.respond.poll_reset(cx).map(|reset| {
                Err(match reset {
                    Ok(reason) => broken(reason.into()),
                    Err(error) => broken(error),
                })
            }),
        }
    }

    /// Takes bytes of the answer: a whole head at once, and then of the body what there is room for.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(answer) = &mut self.answer {
            let written = ready!(answer.poll_write(cx, bytes));
            self.finished = answer.is_done();
            self.broken_off |= written.is_err();
            return Poll::Ready(written);
        }
        let length = HeadScan::default().advance(bytes).ok().flatten();
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let (response, carried) = text::read_response(&bytes[..length], self.asked_head)?;
        if response.status().is_informational() {
            self.respond.send_informational(response).map_err(broken)?;
            return Poll::Ready(Ok(length));
        }
        let ends = carried == Carried::Nothing;
        let stream = self.respond.send_response(response, ends).map_err(broken)?;
        self.answer = Some(Outbound::new(stream, carried));
        self.finished = ends;
        Poll::Ready(Ok(length))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.finished {
            // So that nobody takes what came for the whole answer.
            match &mut self.answer {
                Some(answer) => answer.reset(Reason::INTERNAL_ERROR),
                None => self.respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
        self.live.closed(self.broken_off && !self.finished);
    }
}
