//! A buffer that bytes are read into once, validated in, and sent on from.
//!
//! ```text
//! |<- headroom ->|        pending        |     unjudged      |   free   |
//! 0            start                   ready                end      capacity
//! ```
//!
//! What is pending was judged and may be sent. Headroom lets a head that grew on its way through be put right
//! before the body that follows it, so that both leave in one write and no body is ever copied.

/// Room before the first byte that is read: what a head gains here is a few fields.
pub const HEADROOM: usize = 1024;
/// Room after the last byte that is read, for the end of a chunk.
const TAILROOM: usize = 16;
/// Holds nearly every head, and small bodies with it.
pub const SMALL_BYTES: usize = 16 * 1024;
/// For bodies that filled a small one: a quarter of the system calls, and still within a core's cache.
pub const LARGE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    ready: usize,
    /// What follows `ready` and is dropped when all that is pending has gone.
    skip: usize,
    end: usize,
    /// Where what was sent begins, as long as it could be sent once more.
    origin: Option<usize>,
}

impl Buffer {
    /// Room for `capacity` bytes besides the head's and the tail's.
    pub fn new(capacity: usize) -> Buffer {
        let bytes = vec![0; HEADROOM + capacity + TAILROOM].into_boxed_slice();
        Buffer { bytes, start: HEADROOM, ready: HEADROOM, skip: 0, end: HEADROOM, origin: None }
    }

    pub fn capacity(&self) -> usize {
        self.bytes.len() - HEADROOM - TAILROOM
    }

    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.ready]
    }

    pub fn has_pending(&self) -> bool {
        self.start < self.ready
    }

    pub fn unjudged(&self) -> &[u8] {
        &self.bytes[self.ready + self.skip..self.end]
    }

    /// Nothing pending and nothing unjudged.
    pub fn is_empty(&self) -> bool {
        self.start == self.ready && self.ready + self.skip == self.end
    }

    /// Where the next bytes are read to; empty when there is no room without moving what is there.
    pub fn free(&mut self) -> &mut [u8] {
        let last = self.bytes.len() - TAILROOM;
        &mut self.bytes[self.end.min(last)..last]
    }

    pub fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.bytes.len() - TAILROOM);
    }

    /// Allows the next bytes to be sent. Only while nothing behind them is to be dropped.
    pub fn pass(&mut self, bytes: usize) {
        debug_assert!(self.skip == 0 && self.ready + bytes <= self.end);
        self.ready += bytes;
    }

    /// Whether something is to be dropped behind what is pending.
    pub fn skips(&self) -> bool {
        self.skip > 0
    }

    /// Drops the next bytes; they go once all that is pending has been sent.
    pub fn skip(&mut self, bytes: usize) {
        self.origin = None;
        self.skip += bytes;
        self.settle();
    }

    pub fn sent(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.ready);
        self.settle();
    }

    /// Forgets what is pending.
    pub fn drop_pending(&mut self) {
        self.start = self.ready;
        self.origin = None;
        self.settle();
    }

    fn settle(&mut self) {
        if self.start == self.ready && self.skip > 0 {
            self.ready += self.skip;
            self.start = self.ready;
            self.skip = 0;
        }
    }

    /// Puts another head in the place of the first `length` unjudged bytes, and makes it pending. Only while
    /// nothing is pending.
    pub fn replace_head(&mut self, length: usize, head: &[u8]) {
        debug_assert!(self.start == self.ready && self.skip == 0);
        let body = self.ready + length;
        if body < head.len() {
            self.make_room_before(body, head.len());
            return self.replace_head_at(head.len(), head);
        }
        self.replace_head_at(body, head);
    }

    fn replace_head_at(&mut self, body: usize, head: &[u8]) {
        self.start = body - head.len();
        self.ready = body;
        self.bytes[self.start..body].copy_from_slice(head);
    }

    /// Moves what begins at `from` to `to`, further back, in a larger allocation if need be.
    fn make_room_before(&mut self, from: usize, to: usize) {
        let length = self.end - from;
        if to + length + TAILROOM > self.bytes.len() {
            let mut larger = vec![0; to + length + TAILROOM].into_boxed_slice();
            larger[to..to + length].copy_from_slice(&self.bytes[from..self.end]);
            self.bytes = larger;
        } else {
            self.bytes.copy_within(from..self.end, to);
        }
        self.end = to + length;
    }

    /// Puts bytes right before what is pending, or before what is unjudged when nothing is.
    pub fn prepend(&mut self, bytes: &[u8]) {
        debug_assert!(self.start >= bytes.len());
        self.start -= bytes.len();
        self.bytes[self.start..self.start + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts bytes right after what is pending. Only where nothing is unjudged, and only as many as the
    /// tail's room holds.
    pub fn append(&mut self, bytes: &[u8]) {
        debug_assert!(self.ready == self.end && self.skip == 0);
        let end = self.end + bytes.len();
        self.bytes[self.end..end].copy_from_slice(bytes);
        (self.ready, self.end) = (end, end);
    }

    /// Overwrites the first unjudged bytes with fewer, which become pending; the rest of `length` is dropped.
    pub fn overwrite(&mut self, length: usize, with: &[u8]) {
        debug_assert!(with.len() <= length && self.skip == 0);
        self.bytes[self.ready..self.ready + with.len()].copy_from_slice(with);
        self.pass(with.len());
        self.skip(length - with.len());
    }

    /// From here on what is sent is kept, so that it can be sent once more.
    pub fn keep_what_is_sent(&mut self) {
        self.origin = Some(self.start);
    }

    pub fn forget_what_was_sent(&mut self) {
        self.origin = None;
    }

    pub fn can_rewind(&self) -> bool {
        self.origin.is_some()
    }

    /// Makes pending again what has been sent since [`Buffer::keep_what_is_sent`].
    pub fn rewind(&mut self) -> bool {
        match self.origin {
            Some(origin) => {
                self.start = origin;
                true
            }
            None => false,
        }
    }

    /// Makes room to read into: moves what has not been sent to the front. What was sent is lost.
    pub fn compact(&mut self) {
        self.origin = None;
        if self.start == self.end {
            self.clear();
        } else if self.start > HEADROOM {
            let by = self.start - HEADROOM;
            self.bytes.copy_within(self.start..self.end, HEADROOM);
            self.start -= by;
            self.ready -= by;
            self.end -= by;
        }
    }

    pub fn clear(&mut self) {
        (self.start, self.ready, self.end) = (HEADROOM, HEADROOM, HEADROOM);
        self.skip = 0;
        self.origin = None;
    }

    /// More room at the end.
    pub fn grow(&mut self, capacity: usize) {
        if capacity > self.capacity() {
            let mut larger = vec![0; HEADROOM + capacity + TAILROOM].into_boxed_slice();
            larger[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = larger;
        }
    }
}

/// Buffers of one thread that nobody uses now.
#[derive(Debug, Default)]
pub struct Buffers {
    small: Vec<Buffer>,
    large: Vec<Buffer>,
}

/// Kept for later: enough for a few hundred requests at the same time, in 8 MB each.
const SMALL_KEPT: usize = 512;
const LARGE_KEPT: usize = 128;

impl Buffers {
    pub fn take_small(&mut self) -> Buffer {
        self.small.pop().unwrap_or_else(|| Buffer::new(SMALL_BYTES))
    }

    pub fn take_large(&mut self) -> Buffer {
        self.large.pop().unwrap_or_else(|| Buffer::new(LARGE_BYTES))
    }

    pub fn give_back(&mut self, mut buffer: Buffer) {
        buffer.clear();
        match buffer.capacity() {
            SMALL_BYTES if self.small.len() < SMALL_KEPT => self.small.push(buffer),
            LARGE_BYTES if self.large.len() < LARGE_KEPT => self.large.push(buffer),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &[u8]) -> Buffer {
        let mut buffer = Buffer::new(64);
        buffer.free()[..text.len()].copy_from_slice(text);
        buffer.filled(text.len());
        buffer
    }

    #[test]
    fn a_head_is_replaced_in_front_of_its_body() {
        let mut buffer = filled(b"headbodynext");
        buffer.replace_head(4, b"a longer head ");
        buffer.keep_what_is_sent();
        buffer.pass(4);
        assert_eq!(buffer.pending(), b"a longer head body");
        assert_eq!(buffer.unjudged(), b"next");
        buffer.sent(16);
        assert_eq!(buffer.pending(), b"dy");
        assert!(buffer.rewind());
        assert_eq!(buffer.pending(), b"a longer head body");
        buffer.sent(18);
        buffer.compact();
        assert!(!buffer.rewind());
        assert_eq!(buffer.unjudged(), b"next");
    }

    #[test]
    fn a_head_longer_than_the_room_moves_the_body() {
        let mut buffer = filled(b"headbody");
        let head = vec![b'h'; HEADROOM + 500];
        buffer.replace_head(4, &head);
        buffer.pass(4);
        assert_eq!(buffer.pending(), [&head[..], b"body"].concat());
        assert!(buffer.unjudged().is_empty());
    }

    #[test]
    fn what_is_skipped_is_never_sent() {
        let mut buffer = filled(b"5;ext\r\nhello");
        buffer.pass(1);
        buffer.skip(4);
        assert_eq!(buffer.pending(), b"5");
        assert_eq!(buffer.unjudged(), b"\r\nhello");
        buffer.sent(1);
        buffer.pass(7);
        assert_eq!(buffer.pending(), b"\r\nhello");
        buffer.sent(7);
        assert!(buffer.is_empty());
        let mut buffer = filled(b"x: y\r\n\r\n");
        buffer.overwrite(8, b"\r\n");
        assert_eq!(buffer.pending(), b"\r\n");
        buffer.sent(2);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_full_buffer_has_no_room_until_it_is_grown_or_compacted() {
        let mut buffer = Buffer::new(8);
        assert_eq!(buffer.free().len(), 8);
        buffer.filled(8);
        assert!(buffer.free().is_empty());
        buffer.pass(4);
        buffer.sent(4);
        buffer.compact();
        assert_eq!(buffer.free().len(), 4);
        buffer.grow(16);
        assert_eq!(buffer.free().len(), 12);
        assert_eq!(buffer.unjudged().len(), 4);
    }
}
