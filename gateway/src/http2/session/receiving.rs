//! What becomes of each frame that a client sends (RFC 9113, section 6). Pure.

use super::{Block, Farewell, Opened, Session, WINDOW_MAX_BYTES};
use crate::http2::Carried;
use crate::http2::frame::{self, Code, Head};
use crate::http2::request::{Fault, trailer};

/// Streams that a client may have reset before they were looked at (CVE-2023-44487).
const RESETS_UNSEEN_MAX: u32 = 20;
/// Pieces of one header block, and empty frames of one body more than others: nobody who means well sends that many.
const PIECES_MAX: u32 = 128;
const EMPTY_FRAMES_MAX: u32 = 128;
/// Settings in one frame: seven are known, and each may be work for every stream.
const SETTINGS_MAX: usize = 32;

impl Session {
    pub(super) fn take(&mut self, head: Head, payload: &[u8]) -> Result<Option<Opened>, Code> {
        let continues = |block: &Block| head.kind == frame::CONTINUATION && head.stream == block.stream;
        let is_awaited = self.block.as_ref().map_or(head.kind != frame::CONTINUATION, continues);
        let is_first = !self.has_settings;
        if !is_awaited || (is_first && (head.kind != frame::SETTINGS || head.has(frame::ACK))) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let of_stream = match head.kind {
            frame::DATA | frame::HEADERS | frame::PRIORITY | frame::RST_STREAM => Some(true),
            frame::SETTINGS | frame::PING | frame::GOAWAY => Some(false),
            frame::PUSH_PROMISE => return Err(Code::PROTOCOL_ERROR),
            _ => None,
        };
        if of_stream.is_some_and(|of_stream| of_stream != (head.stream != 0)) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let length_is_right = match head.kind {
            frame::PRIORITY => payload.len() == 5,
            frame::RST_STREAM | frame::WINDOW_UPDATE => payload.len() == 4,
            frame::SETTINGS if head.has(frame::ACK) => payload.is_empty(),
            frame::SETTINGS => payload.len().is_multiple_of(6),
            frame::PING => payload.len() == 8,
            frame::GOAWAY => payload.len() >= 8,
            _ => true,
        };
        if !length_is_right {
            return Err(Code::FRAME_SIZE_ERROR);
        }
        match head.kind {
            frame::DATA => self.data(head, payload)?,
            frame::HEADERS => return self.headers(head, payload),
            frame::CONTINUATION => return self.continuation(head, payload),
            frame::RST_STREAM => self.reset_by_client(head.stream)?,
            frame::SETTINGS if head.has(frame::ACK) => {}
            frame::SETTINGS => self.settings(payload)?,
            frame::PING if head.has(frame::ACK) => self.heard(payload),
            frame::PING => self.pong(payload),
            frame::GOAWAY => self.ask_to_leave(),
            frame::WINDOW_UPDATE => {
                self.window(head.stream, i64::from(frame::number(payload) & 0x7fff_ffff))?
            }
            // Priorities, and kinds that are not known (sections 5.3.2 and 5.5).
            _ => {}
        }
        Ok(None)
    }

    /// The slot of a stream that is under way; an error for one that the client has not opened yet. What it opens
    /// behind the last one that is served is remembered, and left alone (section 6.8).
    fn slot_of(&self, number: u32) -> Result<Option<usize>, Code> {
        let is_idle = number > self.last && !self.remembered.contains(&number);
        if is_idle || number.is_multiple_of(2) {
            return Err(Code::PROTOCOL_ERROR);
        }
        Ok(self.find(number))
    }

    fn find(&self, number: u32) -> Option<usize> {
        let at = self.open.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.open[at].1)
    }

    fn data(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        let slot = self.slot_of(head.stream)?;
        let data = frame::unpadded(head, payload).ok_or(Code::PROTOCOL_ERROR)?;
        let counted = payload.len() as i64;
        self.receive_window -= counted;
        if self.receive_window < 0 {
            return Err(Code::FLOW_CONTROL_ERROR);
        }
        let Some(slot) = slot else {
            self.release(None, counted);
            return match self.remembered.contains(&head.stream) {
                true => Ok(()),
                false => self.reset(head.stream, Code::STREAM_CLOSED),
            };
        };
        let stream = &mut self.slots[slot];
        if stream.reset {
            self.release(None, counted);
            return Ok(());
        }
        stream.receive_window -= counted;
        let ends = head.has(frame::END_STREAM);
        stream.empty_frames = match data.is_empty() && !ends {
            true => stream.empty_frames + 1,
            // A long call may have some between its messages.
            false => stream.empty_frames.saturating_sub(1),
        };
        let left = stream.expected.map(|expected| expected.checked_sub(data.len() as u64));
        let fault = if stream.client_ended {
            Some(Code::STREAM_CLOSED)
        } else if stream.receive_window < 0 {
            Some(Code::FLOW_CONTROL_ERROR)
        } else if left == Some(None) || (ends && left.flatten().is_some_and(|left| left > 0)) {
            Some(Code::PROTOCOL_ERROR)
        } else {
            None
        };
        if stream.empty_frames > EMPTY_FRAMES_MAX {
            return Err(Code::ENHANCE_YOUR_CALM);
        }
        if let Some(code) = fault {
            self.release(None, counted);
            return self.fault(slot, code);
        }
        stream.expected = left.flatten();
        stream.client_ended = ends;
        let kept = if stream.inbox.is_read() { data.len() } else { 0 };
        if kept > 0 {
            stream.inbox.push(data);
        }
        if ends {
            stream.inbox.end();
        }
        self.release(Some(slot), counted - kept as i64);
        self.wake(slot);
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<Option<Opened>, Code> {
        if head.stream.is_multiple_of(2) {
            return Err(Code::PROTOCOL_ERROR);
        }
        let mut block = frame::unpadded(head, payload).ok_or(Code::PROTOCOL_ERROR)?;
        if head.has(frame::PRIORITISED) {
            block = block.get(5..).ok_or(Code::FRAME_SIZE_ERROR)?;
        }
        let ends = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.whole_block(head.stream, ends, block);
        }
        self.block = Some(Block { stream: head.stream, ends, bytes: block.to_vec(), pieces: 0 });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<Option<Opened>, Code> {
        let Some(mut block) = self.block.take() else { return Err(Code::PROTOCOL_ERROR) };
        block.pieces += 1;
        // Coded, it is hardly ever longer than the list that it stands for may be.
        let most = self.bounds.header_bytes + frame::PAYLOAD_MAX_BYTES;
        if block.pieces > PIECES_MAX || block.bytes.len() + payload.len() > most {
            return Err(Code::ENHANCE_YOUR_CALM);
        }
        block.bytes.extend_from_slice(payload);
        if head.has(frame::END_HEADERS) {
            return self.whole_block(block.stream, block.ends, &block.bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    fn whole_block(&mut self, number: u32, ends: bool, block: &[u8]) -> Result<Option<Opened>, Code> {
        if let Some(slot) = self.find(number) {
            self.trailers(slot, ends, block)?;
            return Ok(None);
        }
        self.request.begin(self.bounds.header_bytes);
        let request = &mut self.request;
        // Read even where nobody wants it: what it has remembered is named by those that follow.
        let read = self.decoder.decode(block, |name, value| request.field(name, value));
        read.map_err(|_| Code::COMPRESSION_ERROR)?;
        if number <= self.last {
            return if self.remembered.contains(&number) { Ok(None) } else { Err(Code::STREAM_CLOSED) };
        }
        if self.farewell == Farewell::Heard {
            self.remember(number);
            return Ok(None);
        }
        self.last = number;
        if self.open.len() >= self.bounds.streams {
            frame::word(&mut self.out, frame::RST_STREAM, number, Code::REFUSED_STREAM.0);
            self.remember(number);
            return Ok(None);
        }
        let asked_head = self.request.is_head();
        let (carried, refused) = match self.request.end(ends) {
            Ok(carried) => (carried, None),
            Err(Fault::Refused(bad)) => (Carried::Nothing, Some(bad)),
            Err(Fault::Malformed) => {
                self.reset(number, Code::PROTOCOL_ERROR)?;
                return Ok(None);
            }
        };
        let expected = match carried {
            Carried::Length(length) => Some(length),
            Carried::Nothing if refused.is_none() => Some(0),
            _ => None,
        };
        let slot = self.open(number, carried);
        let stream = &mut self.slots[slot];
        stream.expected = expected;
        stream.client_ended = ends;
        if ends {
            stream.inbox.end();
        }
        Ok(Some(Opened { slot, asked_head, refused }))
    }

    fn trailers(&mut self, slot: usize, ends: bool, block: &[u8]) -> Result<(), Code> {
        let stream = &mut self.slots[slot];
        // Of a stream that is reset, or has had its trailers, nothing is kept: it may go on for as long as it likes.
        let is_over = stream.reset || stream.client_ended;
        let is_read = stream.inbox.is_read();
        let out = stream.inbox.trailers();
        let (mut left, mut is_good) = (self.bounds.header_bytes, true);
        let read = self.decoder.decode(block, |name, value| {
            let room = left.checked_sub(name.len() + value.len());
            left = room.unwrap_or_default();
            is_good = room.is_some() && !is_over && trailer(out, name, value);
            is_good
        });
        read.map_err(|_| Code::COMPRESSION_ERROR)?;
        if !is_read {
            out.clear();
        }
        let has_all = stream.expected.is_none_or(|left| left == 0);
        if stream.reset {
            return Ok(());
        }
        if stream.client_ended {
            return self.fault(slot, Code::STREAM_CLOSED);
        }
        if !is_good || !ends || !has_all {
            return self.fault(slot, Code::PROTOCOL_ERROR);
        }
        stream.client_ended = true;
        stream.inbox.end();
        self.wake(slot);
        Ok(())
    }

    fn reset_by_client(&mut self, number: u32) -> Result<(), Code> {
        let Some(slot) = self.slot_of(number)? else { return Ok(()) };
        let stream = &mut self.slots[slot];
        if !stream.seen && !stream.reset {
            self.resets_unseen += 1;
            if self.resets_unseen > RESETS_UNSEEN_MAX {
                return Err(Code::ENHANCE_YOUR_CALM);
            }
        }
        self.break_off(slot);
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), Code> {
        self.has_settings = true;
        if payload.len() > SETTINGS_MAX * 6 {
            return Err(Code::ENHANCE_YOUR_CALM);
        }
        for setting in payload.chunks_exact(6) {
            let value = i64::from(frame::number(&setting[2..]));
            match u16::from_be_bytes([setting[0], setting[1]]) {
                // How much its decoder remembers: nothing is what is remembered here, but it wants to hear so.
                1 => self.owes_forget = true,
                2 if value > 1 => return Err(Code::PROTOCOL_ERROR),
                4 if value > WINDOW_MAX_BYTES => return Err(Code::FLOW_CONTROL_ERROR),
                4 => {
                    let by = value - self.first_send_window;
                    self.first_send_window = value;
                    for at in 0..self.open.len() {
                        let stream = &mut self.slots[self.open[at].1];
                        stream.send_window += by;
                        if stream.send_window > WINDOW_MAX_BYTES {
                            return Err(Code::FLOW_CONTROL_ERROR);
                        }
                    }
                    self.wake_for_room();
                }
                5 if !(frame::PAYLOAD_MAX_BYTES as i64..1 << 24).contains(&value) => {
                    return Err(Code::PROTOCOL_ERROR);
                }
                _ => {}
            }
        }
        frame::head(&mut self.out, 0, frame::SETTINGS, frame::ACK, 0);
        Ok(())
    }

    fn window(&mut self, number: u32, more: i64) -> Result<(), Code> {
        if number == 0 {
            self.send_window += more;
            if more == 0 {
                return Err(Code::PROTOCOL_ERROR);
            }
            if self.send_window > WINDOW_MAX_BYTES {
                return Err(Code::FLOW_CONTROL_ERROR);
            }
            self.wake_for_room();
            return Ok(());
        }
        let Some(slot) = self.slot_of(number)? else { return Ok(()) };
        let stream = &mut self.slots[slot];
        if stream.reset {
            return Ok(());
        }
        stream.send_window += more;
        if more == 0 {
            return self.fault(slot, Code::PROTOCOL_ERROR);
        }
        if stream.send_window > WINDOW_MAX_BYTES {
            return self.fault(slot, Code::FLOW_CONTROL_ERROR);
        }
        if stream.waits_for_room {
            self.wake(slot);
        }
        Ok(())
    }
}
