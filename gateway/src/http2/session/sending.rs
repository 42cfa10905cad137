//! What a connection of HTTP/2 has to say: its own frames, answers within the client's windows, and room for more of
//! the requests' bodies. Pure.

use super::{
    CONNECTION_WINDOW_BYTES, Farewell, STREAM_WINDOW_BYTES, Session, WINDOW_BYTES, WINDOW_MAX_BYTES,
};
use crate::http2::answer::{self, Answered};
use crate::http2::frame::{self, Code};
use crate::http2::hpack;
use std::io;
use std::task::Poll;

/// What waits of all answers together while the client reads too slowly. Of more than this nothing is read from the
/// client either, so that its questions wait for it to take the answers.
const OUT_MAX_BYTES: usize = 64 * 1024;
/// What comes back with the acknowledgement of the farewell.
const FAREWELL_PING: [u8; 8] = *b"farewell";

impl Session {
    /// The first frames of a connection.
    pub(super) fn greet(&mut self) {
        // How many streams, what of each body, and how large a list of fields (section 6.5.2).
        let (streams, header_bytes) = (self.bounds.streams, self.bounds.header_bytes);
        let settings = [(3_u16, streams), (4, STREAM_WINDOW_BYTES as usize), (6, header_bytes)];
        frame::head(&mut self.out, settings.len() * 6, frame::SETTINGS, 0, 0);
        for (name, value) in settings {
            self.out.extend_from_slice(&name.to_be_bytes());
            self.out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
        }
        let more = CONNECTION_WINDOW_BYTES - WINDOW_BYTES;
        frame::word(&mut self.out, frame::WINDOW_UPDATE, 0, more as u32);
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        frame::head(&mut self.out, payload.len(), frame::PING, frame::ACK, 0);
        self.out.extend_from_slice(payload);
    }

    /// An answer to a question of ours, of which there is one.
    pub(super) fn heard(&mut self, payload: &[u8]) {
        if self.farewell == Farewell::Asked && *payload == FAREWELL_PING {
            self.farewell = Farewell::Heard;
            self.goaway(self.last, Code::NO_ERROR);
        }
    }

    /// Asks the client to open no more streams (section 6.8).
    pub(in crate::http2) fn ask_to_leave(&mut self) {
        if self.farewell == Farewell::No {
            self.farewell = Farewell::Asked;
            self.goaway(WINDOW_MAX_BYTES as u32, Code::NO_ERROR);
            frame::head(&mut self.out, FAREWELL_PING.len(), frame::PING, 0, 0);
            self.out.extend_from_slice(&FAREWELL_PING);
        }
    }

    /// Whether it was asked to leave, by us or by itself.
    pub(in crate::http2) fn leaves(&self) -> bool {
        self.farewell != Farewell::No
    }

    /// Whether nothing more will come of the client.
    pub(in crate::http2) fn is_over(&self) -> bool {
        self.farewell == Farewell::Heard && !self.has_streams()
    }

    /// Ends the connection for all of its streams, with a reason if there is one to tell.
    pub(in crate::http2) fn close(&mut self, code: Code) {
        if !std::mem::replace(&mut self.closed, true)
            && (self.farewell != Farewell::Heard || code != Code::NO_ERROR)
        {
            self.goaway(self.last, code);
        }
    }

    fn goaway(&mut self, last: u32, code: Code) {
        frame::head(&mut self.out, 8, frame::GOAWAY, 0, 0);
        self.out.extend_from_slice(&last.to_be_bytes());
        self.out.extend_from_slice(&code.0.to_be_bytes());
    }

    /// Gives the client room for as much as was read, of a stream and of the connection, or of that alone. Said when
    /// half of a window has gathered.
    pub(super) fn release(&mut self, slot: Option<usize>, bytes: i64) {
        self.unreleased += bytes;
        if self.unreleased >= CONNECTION_WINDOW_BYTES / 2 {
            frame::word(&mut self.out, frame::WINDOW_UPDATE, 0, self.unreleased as u32);
            self.receive_window += self.unreleased;
            self.unreleased = 0;
        }
        let Some(slot) = slot else { return };
        let stream = &mut self.slots[slot];
        stream.unreleased += bytes;
        if stream.unreleased >= STREAM_WINDOW_BYTES / 2 && !stream.client_ended && !stream.reset {
            frame::word(&mut self.out, frame::WINDOW_UPDATE, stream.number, stream.unreleased as u32);
            stream.receive_window += stream.unreleased;
            stream.unreleased = 0;
        }
    }

    /// Reads the body of a request as HTTP/1 has it; 0 at its end.
    pub(in crate::http2) fn read(&mut self, slot: usize, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let stream = &mut self.slots[slot];
        if stream.reset || self.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match stream.inbox.read(into) {
            Some((read, data)) => {
                if data > 0 {
                    self.release(Some(slot), data as i64);
                }
                Poll::Ready(Ok(read))
            }
            None => Poll::Pending,
        }
    }

    /// Whether there is room for anything of this stream that no window holds back. If not, it will be woken.
    fn poll_out(&mut self, slot: usize) -> Poll<io::Result<usize>> {
        let stream = &mut self.slots[slot];
        if stream.reset || self.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match OUT_MAX_BYTES.saturating_sub(self.out.len() - self.written) {
            0 => {
                stream.waits_for_room = true;
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Sends a head of HTTP/1, interim or final.
    pub(in crate::http2) fn poll_head(
        &mut self,
        slot: usize,
        head: &[u8],
        asked_head: bool,
    ) -> Poll<io::Result<Answered>> {
        std::task::ready!(self.poll_out(slot))?;
        let at = self.begin_block(slot);
        match answer::block(&mut self.out, head, asked_head) {
            Some(answered) => {
                let ends = !answered.is_interim && answered.carried == crate::http2::Carried::Nothing;
                self.end_block(slot, at, ends);
                Poll::Ready(Ok(answered))
            }
            None => {
                self.out.truncate(at);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
        }
    }

    /// Room for at least one byte of an answer's body, and for no more than `wanted`.
    pub(in crate::http2) fn poll_room(&mut self, slot: usize, wanted: usize) -> Poll<io::Result<usize>> {
        let out = std::task::ready!(self.poll_out(slot))?;
        let stream = &mut self.slots[slot];
        let window = usize::try_from(stream.send_window.min(self.send_window)).unwrap_or(0);
        match window.min(out).min(frame::PAYLOAD_MAX_BYTES).min(wanted) {
            0 => {
                stream.waits_for_room = true;
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// No more than there was room for.
    pub(in crate::http2) fn send_data(&mut self, slot: usize, data: &[u8], ends: bool) {
        let stream = &mut self.slots[slot];
        stream.send_window -= data.len() as i64;
        stream.ended |= ends;
        self.sent_last = stream.number;
        self.send_window -= data.len() as i64;
        let flags = if ends { frame::END_STREAM } else { 0 };
        frame::head(&mut self.out, data.len(), frame::DATA, flags, stream.number);
        self.out.extend_from_slice(data);
    }

    /// Ends a stream with a trailer section.
    pub(in crate::http2) fn send_trailers(&mut self, slot: usize, section: &[u8]) -> io::Result<()> {
        if self.slots[slot].reset || self.closed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let at = self.begin_block(slot);
        if answer::trailers(&mut self.out, section) {
            self.end_block(slot, at, true);
        } else {
            self.out.truncate(at);
            self.send_data(slot, b"", true);
        }
        Ok(())
    }

    /// The place of a frame whose header block is to be written next.
    fn begin_block(&mut self, slot: usize) -> usize {
        let at = self.out.len();
        frame::head(&mut self.out, 0, frame::HEADERS, frame::END_HEADERS, self.slots[slot].number);
        if self.owes_forget {
            hpack::forget(&mut self.out);
        }
        at
    }

    fn end_block(&mut self, slot: usize, at: usize, ends: bool) {
        self.owes_forget = false;
        let stream = &mut self.slots[slot];
        stream.ended |= ends;
        let ends = if ends { frame::END_STREAM } else { 0 };
        let from = at + frame::HEAD_BYTES;
        let length = self.out.len() - from;
        self.out[at + 4] |= ends;
        if length <= frame::PAYLOAD_MAX_BYTES {
            return frame::set_length(&mut self.out, at, length);
        }
        let block = self.out.split_off(from);
        self.out.truncate(at);
        let last = length.div_ceil(frame::PAYLOAD_MAX_BYTES) - 1;
        for (n, piece) in block.chunks(frame::PAYLOAD_MAX_BYTES).enumerate() {
            let (kind, ends) = if n == 0 { (frame::HEADERS, ends) } else { (frame::CONTINUATION, 0) };
            let flags = if n == last { ends | frame::END_HEADERS } else { ends };
            frame::head(&mut self.out, piece.len(), kind, flags, stream.number);
            self.out.extend_from_slice(piece);
        }
    }

    /// Nobody serves this stream any more.
    pub(in crate::http2) fn leave(&mut self, slot: usize) {
        let stream = &mut self.slots[slot];
        let number = stream.number;
        let unread = stream.inbox.clear();
        let broken_off = stream.reset && !stream.ended;
        let code = match (stream.reset || self.closed, stream.ended, stream.client_ended) {
            (true, ..) | (false, true, true) => None,
            // The answer is whole, and what is still to come of the request is not wanted (section 8.1).
            (false, true, false) => Some(Code::NO_ERROR),
            // So that nobody takes what came for the whole answer.
            (false, false, _) => Some(Code::INTERNAL_ERROR),
        };
        if let Some(code) = code {
            frame::word(&mut self.out, frame::RST_STREAM, number, code.0);
            self.remember(number);
        }
        self.release(None, unread as i64);
        self.broken_off = if broken_off { self.broken_off + 1 } else { self.broken_off.saturating_sub(1) };
        if !broken_off {
            // Who has a fault now and then, and else means well, is not told to go for a long life's faults.
            self.faults = self.faults.saturating_sub(1);
        }
        if let Ok(at) = self.open.binary_search_by_key(&number, |(number, _)| *number) {
            self.open.remove(at);
        }
        self.free.push(slot);
    }

    /// What is to be written next.
    pub(in crate::http2) fn pending(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Whether so much waits to be written that nothing is to be read.
    pub(in crate::http2) fn is_full(&self) -> bool {
        self.pending().len() >= OUT_MAX_BYTES
    }

    pub(in crate::http2) fn sent(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written >= OUT_MAX_BYTES {
            self.out.drain(..self.written);
            self.written = 0;
        }
        if self.pending().len() <= OUT_MAX_BYTES / 2 {
            self.wake_for_room();
        }
    }
}
