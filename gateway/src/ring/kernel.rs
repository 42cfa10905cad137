//! What is asked of the kernel through io_uring, and the memory that it writes what came into.
//!
//! With `profile/raw.rs` the only module with unsafe code. Three things are promised to the kernel: that the memory of
//! its chunks outlives the ring, that nobody here reads a chunk that is the kernel's, and that no entry points at memory
//! of anybody else.

#![allow(unsafe_code)]

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wishes that wait for the next entry into the kernel; should there be more, it is entered in between.
const WISHES: u32 = 1024;
/// Answers that wait to be taken; the kernel keeps more than these aside.
const ANSWERS: u32 = 4096;
/// As many as come between two looks, as a rule, and half of a core's second cache at most: a chunk is given back as soon
/// as it is read. Where none is left, what came is read by a system call. A power of two.
const CHUNKS: u16 = 128;
/// Holds nearly every head.
const CHUNK_BYTES: usize = 4096;
/// The name that the chunks have with the kernel.
const GROUP: u16 = 0;
/// Sockets that the kernel keeps for connections of many requests.
const KEPT_MAX: u32 = 4096;
/// Pages are what the kernel maps.
const PAGE_BYTES: usize = 4096;
/// `IORING_ENTER_GETEVENTS`: do the work that was put off until now.
const GET_EVENTS: u32 = 1;

/// A ring and its chunks.
pub(super) struct Kernel {
    uring: IoUring,
    /// The list that chunks are given to the kernel by, and behind it the chunks.
    memory: NonNull<u8>,
    tail: u16,
    /// What is being sent, by the place of its connection: the kernel's to read until that is answered.
    outgoing: Vec<Option<Vec<u8>>>,
    /// Whether a socket is kept with the kernel under its connection's place.
    kept: Vec<bool>,
}

/// A chunk that the kernel has filled; this program's until it is given back.
#[derive(Debug)]
pub(super) struct Chunk {
    place: u16,
    length: usize,
}

/// What has become of a wish.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the wish was given to be known by.
    pub(super) of: u64,
    /// As a system call's: below 0 the negative number of an error.
    pub(super) result: i32,
    pub(super) chunk: Option<Chunk>,
    /// The wish stands; there will be more answers.
    pub(super) stands: bool,
    /// What was to be sent, to be used again.
    pub(super) sent: Option<Vec<u8>>,
}

/// What a wish is about; the place of its connection is in the lower half.
pub(super) const OF_READING: u64 = 1 << 32;
pub(super) const OF_WRITING: u64 = 2 << 32;
pub(super) const OF_CANCELLING: u64 = 3 << 32;
pub(super) const OF_SENDING: u64 = 4 << 32;

const LIST_BYTES: usize = CHUNKS as usize * size_of::<BufRingEntry>();

fn layout() -> Layout {
    let bytes = LIST_BYTES.next_multiple_of(PAGE_BYTES) + CHUNKS as usize * CHUNK_BYTES;
    Layout::from_size_align(bytes, PAGE_BYTES).expect("a few pages are a valid layout")
}

impl Kernel {
    /// Of this thread alone, with what is readable whenever there is something to take. Fails where the kernel is older
    /// than 6.1, or may not be asked.
    pub(super) fn open() -> io::Result<(Kernel, AsyncFd<OwnedFd>)> {
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
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc_zeroed(layout()) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout()) };
        let mut kernel = Kernel { uring, memory, tail: 0, outgoing: Vec::new(), kept };
        for place in 0..CHUNKS {
            kernel.put(place);
        }
        kernel.publish();
        let list = kernel.memory.as_ptr() as u64;
        // SAFETY: the list begins on a page, has as many entries as is said, and lives until `Drop` has taken it back.
        unsafe { kernel.uring.submitter().register_buf_ring_with_flags(list, CHUNKS, GROUP, 0)? };
        Ok((kernel, signal))
    }

    /// Wishes for what comes over a socket, again and again.
    pub(super) fn receive(&mut self, socket: RawFd, of: u64) {
        self.push(&opcode::RecvMulti::new(types::Fd(socket), GROUP).build().user_data(of));
    }

    /// Wishes to know once when a socket can be read from or written to, by the flags of `poll`.
    pub(super) fn watch(&mut self, socket: RawFd, flags: i16, of: u64) {
        self.push(&opcode::PollAdd::new(types::Fd(socket), flags as u32).build().user_data(of));
    }

    /// Wishes for bytes to be sent, all of them. False while others are being sent over that connection.
    pub(super) fn send(&mut self, socket: RawFd, place: usize, bytes: Vec<u8>) -> bool {
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
        self.push(&send.flags(flags).build().user_data(OF_SENDING | place as u64));
        true
    }

    /// Spares the kernel the search for the socket, from here on until it is let go.
    pub(super) fn keep(&mut self, socket: RawFd, place: usize) {
        if let Some(kept) = self.kept.get_mut(place).filter(|kept| !**kept) {
            *kept = self.uring.submitter().register_files_update(place as u32, &[socket]).is_ok();
        }
    }

    /// Before the socket is closed, which it would otherwise not be.
    pub(super) fn let_go(&mut self, place: usize) {
        if let Some(kept) = self.kept.get_mut(place).filter(|kept| **kept) {
            *kept = self.uring.submitter().register_files_update(place as u32, &[-1]).is_err();
        }
    }

    /// Takes a wish back, which is answered then if it was not.
    pub(super) fn cancel(&mut self, wish: u64, of: u64) {
        self.push(&opcode::AsyncCancel::new(wish).build().user_data(of));
    }

    fn push(&mut self, wish: &squeue::Entry) {
        loop {
            // SAFETY: what is received goes into chunks, whose memory outlives the ring. What is sent lies in `outgoing`, where
            // it is neither changed nor dropped before the wish is answered.
            if unsafe { self.uring.submission().push(wish) }.is_ok() {
                return;
            }
            // There is room for a thousand, so this is seldom; and should it fail, the wishes stay.
            if let Err(error) = self.uring.submit() {
                tracing::warn!(%error, "io_uring takes nothing");
            }
        }
    }

    /// Hands the wishes over, and takes the answers.
    pub(super) fn turn(&mut self, answers: &mut Vec<Answer>) -> io::Result<()> {
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
        let outgoing = &mut self.outgoing;
        answers.extend(self.uring.completion().map(|answer| {
            let flags = answer.flags();
            let (place, of) = (answer.user_data() as u32 as usize, answer.user_data() & !u64::from(u32::MAX));
            Answer {
                sent: if of == OF_SENDING { outgoing[place].take() } else { None },
                of: answer.user_data(),
                result: answer.result(),
                chunk: cqueue::buffer_select(flags)
                    .map(|place| Chunk { place, length: usize::try_from(answer.result()).unwrap_or(0) }),
                stands: cqueue::more(flags),
            }
        }));
        Ok(())
    }

    /// Whether the last turn has left wishes, for want of memory.
    pub(super) fn has_wishes(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let length = chunk.length.min(CHUNK_BYTES);
        // SAFETY: within the allocation, since places are below CHUNKS; and this program's, since a `Chunk` is made of an
        // answer alone and given back by value.
        unsafe { std::slice::from_raw_parts(self.place(chunk.place), length) }
    }

    pub(super) fn give_back(&mut self, chunk: Chunk) {
        self.put(chunk.place);
        self.publish();
    }

    fn place(&self, place: u16) -> *mut u8 {
        let offset = LIST_BYTES.next_multiple_of(PAGE_BYTES) + usize::from(place % CHUNKS) * CHUNK_BYTES;
        // SAFETY: places are below CHUNKS, so this is within the allocation.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    /// Writes a chunk into the list, behind all others.
    fn put(&mut self, place: u16) {
        let (chunk, entry) = (self.place(place), usize::from(self.tail % CHUNKS));
        let list = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: an entry of the list, which the kernel does not read before it is published: as many are out as this one
        // takes the place of. What lies beside its three fields, which is the tail in the first one, is not touched.
        let entry = unsafe { &mut *list.add(entry) };
        entry.set_addr(chunk as u64);
        entry.set_len(CHUNK_BYTES as u32);
        entry.set_bid(place);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was put.
    fn publish(&self) {
        let list = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the start of the list, where the kernel reads the tail as an atomic number.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(list).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // From here on no wish finds a chunk. Work that was put off is done in `turn` alone, so none is under way.
        // What is still being sent was given up, but is not answered: it stays where it is.
        self.outgoing.drain(..).for_each(std::mem::forget);
        let taken_back = self.uring.submitter().unregister_buf_ring(GROUP);
        if taken_back.is_ok() {
            // SAFETY: allocated with this layout, and the kernel writes into it no more.
            unsafe { dealloc(self.memory.as_ptr(), layout()) };
        }
    }
}
