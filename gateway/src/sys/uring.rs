//! What is asked of the kernel through io_uring: a thread's wishes, and their answers.
//!
//! Three things are promised to the kernel: that the memory of its chunks outlives the ring, that nobody here reads a chunk
//! that is the kernel's, and that no entry points at memory of anybody else.

mod chunks;

pub use self::chunks::Chunk;

use self::chunks::{CHUNKS, Chunks};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wishes that wait for the next entry into the kernel; should there be more, it is entered in between.
const WISHES: u32 = 1024;
/// Answers that wait to be taken; the kernel keeps more than these aside.
const ANSWERS: u32 = 4096;
/// The name that the chunks have with the kernel.
const GROUP: u16 = 0;
/// Sockets that the kernel keeps for connections of many requests.
const KEPT_MAX: u32 = 4096;
/// `IORING_ENTER_GETEVENTS`: do the work that was put off until now.
const GET_EVENTS: u32 = 1;

/// A ring and its chunks.
pub struct Kernel {
    uring: IoUring,
    /// Registered with the ring until `Drop` has taken that back.
    chunks: ManuallyDrop<Chunks>,
    /// What is being sent, by the place of its connection: the kernel's to read until that is answered.
    outgoing: Vec<Option<Vec<u8>>>,
    /// Whether a socket is kept with the kernel under its connection's place.
    kept: Vec<bool>,
}

/// What has become of a wish.
#[derive(Debug)]
pub struct Answer {
    pub about: About,
    /// Of its connection.
    pub place: usize,
    /// As a system call's: below 0 the negative number of an error.
    pub result: i32,
    pub chunk: Option<Chunk>,
    /// The wish stands; there will be more answers.
    pub stands: bool,
    /// What was to be sent, to be used again.
    pub sent: Option<Vec<u8>>,
}

/// What a wish is about. A connection has one wish of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Reading,
    Writing,
    Sending,
    Cancelling,
}

impl About {
    /// What the kernel knows a wish by: the place of its connection is in the lower half. A connection is known by 32 bits;
    /// there are no more descriptors.
    fn of(self, place: usize) -> u64 {
        let about: u64 = match self {
            About::Reading => 1,
            About::Writing => 2,
            About::Sending => 3,
            About::Cancelling => 4,
        };
        about << 32 | u64::from(place as u32)
    }

    fn read(known_by: u64) -> (About, usize) {
        let about = match known_by >> 32 {
            1 => About::Reading,
            2 => About::Writing,
            3 => About::Sending,
            _ => About::Cancelling,
        };
        (about, known_by as u32 as usize)
    }
}

impl Kernel {
    /// Of this thread alone, with what is readable whenever there is something to take. Fails where the kernel is older
    /// than 6.1, or may not be asked.
    pub fn open() -> io::Result<(Kernel, AsyncFd<OwnedFd>)> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(ANSWERS)
            .build(WISHES)?;
        // SAFETY: takes numbers alone; what it returns is a descriptor of nobody else, or below 0.
        let signal = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if signal < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: open, and owned by nobody yet.
        let signal = unsafe { OwnedFd::from_raw_fd(signal) };
        uring.submitter().register_eventfd(signal.as_raw_fd())?;
        // SAFETY: an `OwnedFd` is the same descriptor, and open, for as long as it lives.
        let signal = unsafe { AsyncFd::register_with_interest(signal, Interest::READABLE)? };
        // Without them it only takes a little longer.
        let files = uring.submitter().register_files_sparse(KEPT_MAX);
        let kept = if files.is_ok() { vec![false; KEPT_MAX as usize] } else { Vec::new() };
        let chunks = ManuallyDrop::new(Chunks::new());
        let kernel = Kernel { uring, chunks, outgoing: Vec::new(), kept };
        let (submitter, list) = (kernel.uring.submitter(), kernel.chunks.list());
        // SAFETY: the list begins on a page, has as many entries as is said, and lives until `Drop` has taken it back.
        unsafe { submitter.register_buf_ring_with_flags(list, CHUNKS, GROUP, 0)? };
        Ok((kernel, signal))
    }

    /// Wishes for what comes over a socket, again and again.
    pub fn receive(&mut self, socket: RawFd, place: usize) {
        self.push(opcode::RecvMulti::new(types::Fd(socket), GROUP).build(), About::Reading, place);
    }

    /// Wishes to know once when there is something to read, or the other side has ended.
    pub fn watch_for_bytes(&mut self, socket: RawFd, place: usize) {
        let flags = libc::POLLIN | libc::POLLRDHUP;
        self.push(opcode::PollAdd::new(types::Fd(socket), flags as u32).build(), About::Reading, place);
    }

    /// Wishes to know once when there is room to write to.
    pub fn watch_for_room(&mut self, socket: RawFd, place: usize) {
        let flags = libc::POLLOUT;
        self.push(opcode::PollAdd::new(types::Fd(socket), flags as u32).build(), About::Writing, place);
    }

    /// Wishes for bytes to be sent, all of them. False while others are being sent over that connection.
    pub fn send(&mut self, socket: RawFd, place: usize, bytes: Vec<u8>) -> bool {
        // Else the answer would be taken for another connection's.
        if u32::try_from(place).is_err() {
            return false;
        }
        if self.outgoing.len() <= place {
            self.outgoing.resize_with(place + 1, || None);
        }
        if self.outgoing[place].is_some() {
            return false;
        }
        let bytes = self.outgoing[place].insert(bytes);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let (bytes, length) = (bytes.as_ptr(), bytes.len() as u32);
        let send = match self.kept.get(place) {
            Some(true) => opcode::Send::new(types::Fixed(place as u32), bytes, length),
            _ => opcode::Send::new(types::Fd(socket), bytes, length),
        };
        self.push(send.flags(flags).build(), About::Sending, place);
        true
    }

    /// Spares the kernel the search for the socket, from here on until it is let go.
    pub fn keep(&mut self, socket: RawFd, place: usize) {
        if let Some(kept) = self.kept.get_mut(place).filter(|kept| !**kept) {
            *kept = self.uring.submitter().register_files_update(place as u32, &[socket]).is_ok();
        }
    }

    /// Before the socket is closed, which it would otherwise not be.
    pub fn let_go(&mut self, place: usize) {
        if let Some(kept) = self.kept.get_mut(place).filter(|kept| **kept) {
            *kept = self.uring.submitter().register_files_update(place as u32, &[-1]).is_err();
        }
    }

    /// Takes a wish back, which is answered then if it was not.
    pub fn cancel(&mut self, about: About, place: usize) {
        self.push(opcode::AsyncCancel::new(about.of(place)).build(), About::Cancelling, place);
    }

    fn push(&mut self, wish: squeue::Entry, about: About, place: usize) {
        let wish = wish.user_data(about.of(place));
        loop {
            // SAFETY: what is received goes into chunks, whose memory outlives the ring. What is sent lies in `outgoing`, where
            // it is neither changed nor dropped before the wish is answered: `send` alone has wishes about sending, one for
            // each place.
            if unsafe { self.uring.submission().push(&wish) }.is_ok() {
                return;
            }
            // There is room for a thousand, so this is seldom; and should it fail, the wishes stay.
            if let Err(error) = self.uring.submit() {
                tracing::warn!(%error, "io_uring takes nothing");
            }
        }
    }

    /// Hands the wishes over, and takes the answers.
    pub fn turn(&mut self, answers: &mut Vec<Answer>) -> io::Result<()> {
        let wishes = self.uring.submission().len();
        if wishes > 0 || self.uring.submission().taskrun() {
            // SAFETY: without a signal mask, nothing of this program's memory is looked at.
            let entered =
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(wishes as u32, 0, GET_EVENTS, None) };
            match entered {
                // Too many answers wait: they are taken below, and the wishes stay for the next turn.
                Err(error)
                    if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
        let (outgoing, chunks) = (&mut self.outgoing, &self.chunks);
        answers.extend(self.uring.completion().map(|answer| {
            let (flags, result) = (answer.flags(), answer.result());
            let (about, place) = About::read(answer.user_data());
            Answer {
                about,
                place,
                result,
                // SAFETY: by the answer to a wish for what comes, the kernel names a chunk of its one group that it has filled.
                chunk: cqueue::buffer_select(flags).map(|place| unsafe { chunks.taken(place, result) }),
                stands: cqueue::more(flags),
                sent: match about {
                    About::Sending => outgoing.get_mut(place).and_then(Option::take),
                    _ => None,
                },
            }
        }));
        Ok(())
    }

    /// Whether the last turn has left wishes, for want of memory.
    pub fn has_wishes(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.chunks.bytes(chunk)
    }

    pub fn give_back(&mut self, chunk: Chunk) {
        self.chunks.give_back(chunk);
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // From here on no wish finds a chunk. Work that was put off is done in `turn` alone, so none is under way.
        // What is still being sent was given up, but is not answered: it stays where it is.
        self.outgoing.drain(..).for_each(std::mem::forget);
        if self.uring.submitter().unregister_buf_ring(GROUP).is_ok() {
            // SAFETY: not used from here on, and the kernel writes into it no more. Else it stays where it is.
            unsafe { ManuallyDrop::drop(&mut self.chunks) };
        }
    }
}
