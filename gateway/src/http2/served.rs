//! One request of a client over HTTP/2: its body is read, and its answer written, as if it were HTTP/1.

use super::outbound::{Outbound, Sink};
use super::session::Session;
use crate::http1::scan::HeadScan;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// After the body's last byte nothing comes but a reset, so the stream is silent then, and at its end once the
/// answer is written. Dropped before that, it resets the stream.
///
/// Nothing here registers a waker: the session says which of its streams have something to look at.
pub struct Served {
    of: Slot,
    /// Once the final head has been written.
    answer: Option<Outbound<Slot>>,
    asked_head: bool,
    finished: bool,
}

/// A stream's place in its session.
#[derive(Clone)]
struct Slot {
    session: Rc<RefCell<Session>>,
    slot: usize,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("slot", &self.of.slot).finish_non_exhaustive()
    }
}

impl Served {
    pub(super) fn new(session: Rc<RefCell<Session>>, slot: usize, asked_head: bool) -> Served {
        let of = Slot { session, slot };
        Served { of, answer: None, asked_head, finished: false }
    }

    /// Bytes of the request's body.
    pub fn poll_read(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Ok(0));
        }
        match ready!(self.of.session.borrow_mut().read(self.of.slot, into)) {
            Ok(0) if !into.is_empty() => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    /// Takes bytes of the answer: a whole head at once, and of the body what there is room for.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.answer.is_some() {
            return self.poll_body(cx, bytes);
        }
        let length = HeadScan::default().advance(bytes).ok().flatten();
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let sent = self.of.session.borrow_mut().poll_head(self.of.slot, &bytes[..length], self.asked_head);
        let answered = ready!(sent)?;
        if answered.is_interim {
            return Poll::Ready(Ok(length));
        }
        let answer = self.answer.insert(Outbound::new(self.of.clone(), answered.carried));
        self.finished = answer.is_done();
        if self.finished || length == bytes.len() {
            return Poll::Ready(Ok(length));
        }
        match self.poll_body(cx, &bytes[length..]) {
            Poll::Ready(Ok(more)) => Poll::Ready(Ok(length + more)),
            // Said again when the rest is to be written.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Ok(length)),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let written = ready!(answer.poll_write(cx, bytes));
        self.finished = answer.is_done();
        Poll::Ready(written)
    }
}

impl Sink for Slot {
    fn poll_room(&mut self, _: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.session.borrow_mut().poll_room(self.slot, wanted)
    }

    fn send(&mut self, data: &[u8], ends: bool) -> io::Result<()> {
        self.session.borrow_mut().send_data(self.slot, data, ends);
        Ok(())
    }

    fn end(&mut self, section: &[u8]) -> io::Result<()> {
        self.session.borrow_mut().send_trailers(self.slot, section)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.of.session.borrow_mut().leave(self.of.slot);
    }
}
