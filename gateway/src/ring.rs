//! Connections over TCP through io_uring: the kernel puts what comes into chunks of memory that all connections of a thread
//! share, and takes what goes out of many of them in one system call.
//!
//! One wish stands for each connection: to be given what comes, again and again. Where more comes than is read, it is taken
//! back, and the connection is read by system calls until it has nothing more; so a sender fills a few chunks at most, and
//! the kernel's buffer holds it back. What is small is copied to be sent, with what others send, when all tasks that can go
//! on have gone on; it counts as written from then on, as what lies in a socket's buffer does.

mod slot;

use self::slot::{End, Slot, Unread, Wish};
use crate::sys::uring::{About, Answer, Kernel};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};

/// Chunks of one connection that wait to be read, before no more are wished for.
const UNREAD_MAX: usize = 4;
/// Who reads as much at once as this reads a body, and is told that there is something rather than given it: that copies
/// nothing twice.
const BULK_BYTES: usize = 32 * 1024;
/// What is copied to be sent; to copy more would cost more than its own system call.
const COPIED_MAX_BYTES: usize = 8 * 1024;
/// Copies' memory that is kept for others: as many as are sent in one turn, as a rule.
const SPARE_MAX: usize = 256;
/// A connection over which so much was sent will be sent more over, and its socket is kept with the kernel.
const SENDS_OF_MANY: u32 = 8;
/// How long what was sent last over a connection may wait for its client to take it.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often it is looked whether all is sent, while a thread ends.
const SETTLES_EVERY: Duration = Duration::from_millis(1);

/// The ring of one thread.
pub struct Ring(RefCell<Inner>);

struct Inner {
    kernel: Kernel,
    /// Until the driver has it.
    signal: Option<AsyncFd<OwnedFd>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    answers: Vec<Answer>,
    spare: Vec<Vec<u8>>,
    driver: Option<Waker>,
    /// The driver was woken, and has not run yet.
    is_due: bool,
    has_failed: bool,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    pub fn open() -> io::Result<Rc<Ring>> {
        let (kernel, signal) = Kernel::open()?;
        Ok(Rc::new(Ring(RefCell::new(Inner {
            kernel,
            signal: Some(signal),
            slots: Vec::new(),
            free: Vec::new(),
            answers: Vec::new(),
            spare: Vec::new(),
            driver: None,
            is_due: false,
            has_failed: false,
        }))))
    }

    /// Takes a connection over, which does not block. Gives it back where the ring has failed.
    pub fn adopt(self: &Rc<Self>, socket: TcpStream) -> Result<Ringed, TcpStream> {
        let mut inner = self.0.borrow_mut();
        if inner.has_failed {
            return Err(socket);
        }
        let slot = Slot::new(socket);
        let place = match inner.free.pop() {
            Some(place) => {
                inner.slots[place] = slot;
                place
            }
            None => {
                inner.slots.push(slot);
                inner.slots.len() - 1
            }
        };
        Ok(Ringed { ring: self.clone(), place })
    }

    /// Hands over and takes in, for as long as the thread serves. Runs behind all tasks that have something to wish for.
    pub async fn drive(self: Rc<Self>) {
        let signal = self.0.borrow_mut().signal.take();
        let Some(signal) = signal else { return };
        let error = self.turns(&signal).await;
        tracing::error!(%error, "io_uring has failed: its connections are lost, and new ones do without");
        let mut woken = Vec::new();
        self.0.borrow_mut().fail(&mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Returns only with an error.
    async fn turns(&self, signal: &AsyncFd<OwnedFd>) -> io::Error {
        let mut woken = Vec::new();
        poll_fn(|cx| {
            while let Poll::Ready(ready) = signal.poll_read_ready(cx) {
                match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(error),
                }
            }
            let mut inner = self.0.borrow_mut();
            inner.is_due = false;
            if !inner.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                inner.driver = Some(cx.waker().clone());
            }
            let turned = inner.turn(&mut woken);
            drop(inner);
            woken.drain(..).for_each(Waker::wake);
            turned.map_or_else(Poll::Ready, |()| Poll::Pending)
        })
        .await
    }

    /// Gives up what no client takes of connections that are to be closed.
    pub fn sweep(&self, now: Instant) {
        self.0.borrow_mut().sweep(now);
    }

    /// Waits until what was written has been sent, or cannot be within the bound.
    pub async fn settle(&self, bound: Duration) {
        let until = Instant::now() + bound;
        while self.0.borrow().slots.iter().any(|slot| slot.is_sending) && Instant::now() < until {
            sleep(SETTLES_EVERY).await;
        }
    }
}

impl Inner {
    fn turn(&mut self, woken: &mut Vec<Waker>) -> io::Result<()> {
        let mut answers = std::mem::take(&mut self.answers);
        let turned = self.kernel.turn(&mut answers);
        for answer in answers.drain(..) {
            self.take(answer, woken);
        }
        self.answers = answers;
        if self.kernel.has_wishes() {
            self.call();
        }
        turned
    }

    fn take(&mut self, answer: Answer, woken: &mut Vec<Waker>) {
        let place = answer.place;
        let slot = &mut self.slots[place];
        match answer.about {
            About::Reading => {
                if !answer.stands {
                    slot.wish = Wish::None;
                    slot.may_read = true;
                }
                match -answer.result {
                    0 if slot.wish == Wish::None => slot.end = Some(End::Of),
                    // No chunk, or taken back, or nothing there: a system call tells what there is.
                    ..=0 | libc::ENOBUFS | libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
                    number => slot.end = Some(End::Failed(number)),
                }
                woken.extend(slot.reader.take());
                match answer.chunk {
                    Some(chunk) if answer.result > 0 && !slot.is_closing => {
                        slot.unread.push_back(Unread { chunk, from: 0 });
                    }
                    Some(chunk) => self.kernel.give_back(chunk),
                    None => {}
                }
                let slot = &mut self.slots[place];
                if slot.unread.len() > UNREAD_MAX && slot.wish == Wish::Receive {
                    self.take_back(place);
                }
            }
            About::Writing => {
                slot.awaits_room = false;
                woken.extend(slot.writer.take());
            }
            About::Sending => {
                slot.is_sending = false;
                woken.extend(slot.writer.take());
                if let Some(mut bytes) = answer.sent {
                    if answer.result != bytes.len() as i32 {
                        slot.broken = Some(if answer.result < 0 { -answer.result } else { libc::EPIPE });
                    }
                    bytes.clear();
                    if self.spare.len() < SPARE_MAX {
                        self.spare.push(bytes);
                    }
                }
            }
            About::Cancelling => return,
        }
        self.free_if_closed(place);
    }

    fn take_back(&mut self, place: usize) {
        self.slots[place].wish = Wish::TakenBack;
        self.kernel.cancel(About::Reading, place);
        self.call();
    }

    /// Wakes the driver, once in a turn.
    fn call(&mut self) {
        if !self.is_due {
            self.is_due = true;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    fn free_if_closed(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let is_done = slot.wish == Wish::None && !slot.awaits_room && !slot.is_sending;
        if slot.is_closing && is_done && slot.socket.is_some() {
            self.kernel.let_go(place);
            slot.socket = None;
            self.free.push(place);
        }
    }

    fn sweep(&mut self, now: Instant) {
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            if slot.is_closing && slot.is_sending {
                match slot.given_up_at {
                    None => slot.given_up_at = Some(now + LAST_WORDS),
                    Some(at) if at <= now => {
                        self.kernel.cancel(About::Sending, place);
                        self.call();
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn fail(&mut self, woken: &mut Vec<Waker>) {
        self.has_failed = true;
        for slot in &mut self.slots {
            slot.end.get_or_insert(End::Failed(libc::EIO));
            slot.broken.get_or_insert(libc::EIO);
            // No answer comes any more; so what is closed is closed at once.
            (slot.wish, slot.awaits_room, slot.is_sending) = (Wish::None, false, false);
            woken.extend(slot.reader.take().into_iter().chain(slot.writer.take()));
        }
    }

    fn poll_read(&mut self, place: usize, task: Option<&Waker>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let slot = &mut self.slots[place];
        let mut read = 0;
        while let Some(unread) = slot.unread.front_mut() {
            let bytes = &self.kernel.bytes(&unread.chunk)[unread.from..];
            let length = bytes.len().min(into.len() - read);
            into[read..read + length].copy_from_slice(&bytes[..length]);
            read += length;
            if length < bytes.len() {
                unread.from += length;
                return Poll::Ready(Ok(read));
            }
            if let Some(unread) = slot.unread.pop_front() {
                self.kernel.give_back(unread.chunk);
            }
        }
        if read > 0 {
            return Poll::Ready(Ok(read));
        }
        match slot.end {
            Some(End::Of) => return Poll::Ready(Ok(0)),
            Some(End::Failed(number)) => return Poll::Ready(Err(io::Error::from_raw_os_error(number))),
            None => {}
        }
        if slot.wish == Wish::None && slot.may_read {
            match slot.read_now(into) {
                Poll::Pending => slot.may_read = false,
                ready => return ready,
            }
        }
        if slot.wish == Wish::None
            && let Some(socket) = &slot.socket
        {
            let socket = socket.as_raw_fd();
            match into.len() > BULK_BYTES {
                true => {
                    slot.wish = Wish::Watch;
                    self.kernel.watch_for_bytes(socket, place);
                }
                false => {
                    slot.wish = Wish::Receive;
                    self.kernel.receive(socket, place);
                }
            }
            self.call();
        }
        slot::note(&mut self.slots[place].reader, task);
        Poll::Pending
    }

    fn poll_write(&mut self, place: usize, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let slot = &mut self.slots[place];
        if let Some(number) = slot.broken {
            return Poll::Ready(Err(io::Error::from_raw_os_error(number)));
        }
        let Some(socket) = slot.socket.as_ref().map(AsRawFd::as_raw_fd) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if slot.is_sending || slot.awaits_room {
            slot::note(&mut slot.writer, Some(cx.waker()));
            return Poll::Pending;
        }
        if bytes.len() <= COPIED_MAX_BYTES {
            slot.sends = slot.sends.saturating_add(1);
            if slot.sends == SENDS_OF_MANY {
                self.kernel.keep(socket, place);
            }
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.extend_from_slice(bytes);
            if !self.kernel.send(socket, place, copy) {
                return Poll::Ready(Err(io::ErrorKind::ResourceBusy.into()));
            }
            slot.is_sending = true;
            self.call();
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(pin!(consume_budget()).poll(cx));
        let written = slot.write_now(bytes);
        if written.is_pending() {
            slot.awaits_room = true;
            slot::note(&mut slot.writer, Some(cx.waker()));
            self.kernel.watch_for_room(socket, place);
            self.call();
        }
        written
    }

    fn poll_shutdown(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let slot = &mut self.slots[place];
        if slot.is_sending {
            slot::note(&mut slot.writer, Some(cx.waker()));
            return Poll::Pending;
        }
        let shut = slot.socket.as_ref().map(|socket| socket.shutdown(Shutdown::Write));
        Poll::Ready(shut.unwrap_or(Ok(())))
    }

    /// What is being sent goes out first.
    fn close(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        (slot.reader, slot.writer, slot.is_closing) = (None, None, true);
        while let Some(unread) = slot.unread.pop_front() {
            self.kernel.give_back(unread.chunk);
        }
        let (wish, awaits_room) = (slot.wish, slot.awaits_room);
        if matches!(wish, Wish::Receive | Wish::Watch) {
            self.take_back(place);
        }
        if awaits_room {
            self.kernel.cancel(About::Writing, place);
            self.call();
        }
        self.free_if_closed(place);
    }
}

/// A connection through the ring.
#[derive(Debug)]
pub struct Ringed {
    ring: Rc<Ring>,
    place: usize,
}

impl Ringed {
    /// Whether the other side has said nothing, as far as is known, and has not ended. From here on it is watched for that.
    pub fn is_quiet(&mut self) -> bool {
        self.ring.0.borrow_mut().poll_read(self.place, None, &mut [0]).is_pending()
    }
}

impl Drop for Ringed {
    fn drop(&mut self) {
        self.ring.0.borrow_mut().close(self.place);
    }
}

impl AsyncRead for Ringed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Else a task with a fast sender would keep all others waiting.
        ready!(pin!(consume_budget()).poll(cx));
        let mut inner = self.ring.0.borrow_mut();
        let read = inner.poll_read(self.place, Some(cx.waker()), into.initialize_unfilled());
        read.map_ok(|bytes| into.advance(bytes))
    }
}

impl AsyncWrite for Ringed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ring.0.borrow_mut().poll_write(self.place, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ring.0.borrow_mut().poll_shutdown(self.place, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let piece = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        self.poll_write(cx, piece)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}
