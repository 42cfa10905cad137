//! A client's connection of HTTP/2 without its socket (RFC 9113): frames that came become requests and bodies,
//! answers become frames that wait to be written. Pure: no socket, no clock.
//!
//! A fault of one stream resets it; a fault of the connection is an error of [`Session::receive`], after which
//! nothing is received any more. `receiving.rs` has what becomes of each frame, `sending.rs` the way back.

mod inbox;
mod receiving;
mod sending;

use self::inbox::Inbox;
use super::Carried;
use super::frame::{self, Code, Head};
use super::hpack::Decoder;
use super::request::RequestText;
use crate::http1::request::BadRequest;
use std::collections::VecDeque;

/// What a client may send of one body before anybody reads it.
const STREAM_WINDOW_BYTES: i64 = 128 * 1024;
/// And of all bodies of its connection together.
const CONNECTION_WINDOW_BYTES: i64 = 512 * 1024;
/// What every window is until something else is said, and the most that one may ever be (section 6.9).
const WINDOW_BYTES: i64 = 65_535;
const WINDOW_MAX_BYTES: i64 = (1 << 31) - 1;
/// Streams that were reset by us for a fault of the client, more than came to their end, before it is told to go.
const FAULTS_MAX: u32 = 100;
/// Streams that were reset by us are remembered, so that what the client sent before it knew is no fault of it.
const REMEMBERED_MAX: usize = 256;
/// Slots for streams that are kept while a connection has none.
const SLOTS_KEPT: usize = 8;
/// And of the room for what is to be written.
const OUT_KEPT_BYTES: usize = 16 * 1024;

/// What the configuration bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) streams: usize,
    pub(super) header_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Session {
    bounds: Bounds,
    decoder: Decoder,
    /// The request that was read last.
    pub(super) request: RequestText,
    slots: Vec<Stream>,
    free: Vec<usize>,
    /// Number and slot of every stream that is under way, by number.
    open: Vec<(u32, usize)>,
    remembered: VecDeque<u32>,
    /// The highest number that the client has used.
    last: u32,
    /// A header block of which more is to come, and nothing else until then.
    block: Option<Block>,
    has_settings: bool,
    /// What the client may still send of all bodies, and what of it was read since it was last told.
    receive_window: i64,
    unreleased: i64,
    /// And the other way.
    send_window: i64,
    first_send_window: i64,
    /// The next header block is to begin with the word that nothing is remembered.
    owes_forget: bool,
    resets_unseen: u32,
    /// Streams that were reset by us for a fault of the client, more than came to their end.
    faults: u32,
    /// Requests that were reset, by the client or for a fault of it, more than came to their end.
    pub(super) broken_off: u32,
    farewell: Farewell,
    /// Slots whose stream has something to look at.
    woken: VecDeque<usize>,
    /// The stream that sent data last: those behind it come first when there is room again.
    sent_last: u32,
    out: Vec<u8>,
    written: usize,
    /// The connection is over for all of its streams.
    closed: bool,
}

/// A stream of this number is in its slot until it is over for both sides, and for who serves it.
#[derive(Debug)]
struct Stream {
    number: u32,
    inbox: Inbox,
    /// What is missing of the length that its head gave.
    expected: Option<u64>,
    client_ended: bool,
    ended: bool,
    reset: bool,
    /// Whoever serves it has looked at it.
    seen: bool,
    woken: bool,
    /// It is to be woken when there is room.
    waits_for_room: bool,
    empty_frames: u32,
    receive_window: i64,
    unreleased: i64,
    send_window: i64,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    No,
    /// It was asked to open no more streams; those that it has opened before it knew are served.
    Asked,
    /// It knows, and which stream was the last.
    Heard,
}

/// A request that has come.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) slot: usize,
    pub(super) asked_head: bool,
    /// What is told to the client in place of an answer.
    pub(super) refused: Option<BadRequest>,
}

impl Session {
    pub(super) fn new(bounds: Bounds) -> Session {
        let mut session = Session {
            bounds,
            decoder: Decoder::default(),
            request: RequestText::default(),
            slots: Vec::new(),
            free: Vec::new(),
            open: Vec::new(),
            remembered: VecDeque::new(),
            last: 0,
            block: None,
            has_settings: false,
            receive_window: CONNECTION_WINDOW_BYTES,
            unreleased: 0,
            send_window: WINDOW_BYTES,
            first_send_window: WINDOW_BYTES,
            owes_forget: false,
            resets_unseen: 0,
            faults: 0,
            broken_off: 0,
            farewell: Farewell::No,
            woken: VecDeque::new(),
            sent_last: 0,
            out: Vec::new(),
            written: 0,
            closed: false,
        };
        session.greet();
        session
    }

    pub(super) fn has_streams(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes the frame at the front of what came: how long it was, and the request that it completed. None while
    /// there is no whole frame.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Option<(usize, Option<Opened>)>, Code> {
        let Some(head) = Head::read(bytes) else { return Ok(None) };
        if head.length > frame::PAYLOAD_MAX_BYTES {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        let end = frame::HEAD_BYTES + head.length;
        let Some(payload) = bytes.get(frame::HEAD_BYTES..end) else { return Ok(None) };
        self.take(head, payload).map(|opened| Some((end, opened)))
    }

    fn open(&mut self, number: u32, carried: Carried) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Stream::new());
            self.slots.len() - 1
        });
        let stream = &mut self.slots[slot];
        stream.number = number;
        stream.inbox.begin(carried);
        (stream.client_ended, stream.ended, stream.reset) = (false, false, false);
        (stream.seen, stream.waits_for_room, stream.empty_frames) = (false, false, 0);
        (stream.receive_window, stream.unreleased) = (STREAM_WINDOW_BYTES, 0);
        stream.send_window = self.first_send_window;
        self.open.push((number, slot));
        slot
    }

    /// A fault of one stream.
    fn fault(&mut self, slot: usize, code: Code) -> Result<(), Code> {
        let number = self.slots[slot].number;
        self.break_off(slot);
        self.reset(number, code)
    }

    /// Resets a stream for a fault of the client.
    fn reset(&mut self, number: u32, code: Code) -> Result<(), Code> {
        frame::word(&mut self.out, frame::RST_STREAM, number, code.0);
        self.remember(number);
        self.faults += 1;
        if self.faults > FAULTS_MAX { Err(Code::ENHANCE_YOUR_CALM) } else { Ok(()) }
    }

    /// Nothing of a stream is of use any more.
    fn break_off(&mut self, slot: usize) {
        let stream = &mut self.slots[slot];
        stream.reset = true;
        let unread = stream.inbox.clear();
        self.release(None, unread as i64);
        self.wake(slot);
    }

    fn remember(&mut self, number: u32) {
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(number);
    }

    fn wake(&mut self, slot: usize) {
        let stream = &mut self.slots[slot];
        stream.waits_for_room = false;
        if !std::mem::replace(&mut stream.woken, true) {
            self.woken.push_back(slot);
        }
    }

    fn wake_for_room(&mut self) {
        // In turns, or one that always has more to send would leave nothing for the others.
        let first = self.open.partition_point(|(number, _)| *number <= self.sent_last);
        for at in (first..self.open.len()).chain(0..first) {
            let slot = self.open[at].1;
            if self.slots[slot].waits_for_room {
                self.wake(slot);
            }
        }
    }

    /// A stream that has something to look at, each once.
    pub(super) fn next_woken(&mut self) -> Option<usize> {
        let slot = self.woken.pop_front()?;
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.woken = false;
        }
        Some(slot)
    }

    pub(super) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Says that whoever serves a stream looks at it now; false where the client has reset it before anybody did.
    pub(super) fn look(&mut self, slot: usize) -> bool {
        let stream = &mut self.slots[slot];
        let is_lost = stream.reset && !stream.seen;
        stream.seen = true;
        !is_lost
    }

    /// All streams that had something to look at were looked at.
    pub(super) fn looked(&mut self) {
        self.resets_unseen = 0;
    }

    /// Lets go of what a connection without streams needs no more: how many slots are left.
    pub(super) fn trim(&mut self) -> usize {
        if self.slots.len() > SLOTS_KEPT && self.open.is_empty() {
            self.slots.truncate(SLOTS_KEPT);
            self.free = (0..SLOTS_KEPT).rev().collect();
        }
        if self.out.is_empty() && self.out.capacity() > OUT_KEPT_BYTES {
            self.out = Vec::new();
        }
        self.slots.len()
    }
}

impl Stream {
    fn new() -> Stream {
        Stream {
            number: 0,
            inbox: Inbox::new(),
            expected: None,
            client_ended: false,
            ended: false,
            reset: false,
            seen: false,
            woken: false,
            waits_for_room: false,
            empty_frames: 0,
            receive_window: 0,
            unreleased: 0,
            send_window: 0,
        }
    }
}

/// Whatever a client says, what waits for it is made of whole frames and has its bound. Each request is answered at
/// once, but for every second, of which the body is read.
///
/// # Panics
///
/// When it does not hold.
#[cfg(any(test, fuzzing))]
pub(crate) fn take_frames(mut bytes: &[u8]) {
    let mut session = Session::new(Bounds { streams: 4, header_bytes: 8192 });
    let mut served: Vec<usize> = Vec::new();
    while let Ok(Some((count, opened))) = session.receive(bytes) {
        bytes = &bytes[count..];
        served.extend(opened.map(|opened| opened.slot));
        while let Some(slot) = session.next_woken() {
            if served.contains(&slot) && session.look(slot) {
                let _ = session.read(slot, &mut [0; 64]);
            }
        }
        if served.len() > 1 {
            let slot = served.remove(0);
            let _ = session.poll_head(slot, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false);
            session.leave(slot);
        }
        assert!(served.len() <= 4 && session.pending().len() < 4096, "{session:?}");
        let mut said = session.pending();
        while let Some(head) = Head::read(said) {
            said = &said[frame::HEAD_BYTES + head.length..];
        }
        assert!(said.is_empty(), "{session:?}");
        let said = session.pending().len();
        session.sent(said);
    }
}

#[cfg(test)]
mod tests;
