//! The body of a client's request: what came in frames and was not read yet, read as a body of HTTP/1. Pure.

use crate::http2::Carried;
use std::io::Write;

/// What it holds is bounded by the stream's window.
#[derive(Debug)]
pub(super) struct Inbox {
    carried: Carried,
    data: Vec<u8>,
    taken: usize,
    /// Framing that comes before what is left of the chunk.
    framing: Vec<u8>,
    framing_taken: usize,
    chunk_left: usize,
    /// Fields of the trailer section, as text.
    trailers: Vec<u8>,
    /// All of it has come.
    whole: bool,
    /// The last chunk has been framed.
    last: bool,
    /// And the end of it has been read.
    ended: bool,
}

/// More than this is not kept for the next stream.
const KEPT_BYTES: usize = 16 * 1024;

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox {
            carried: Carried::Nothing,
            data: Vec::new(),
            taken: 0,
            framing: Vec::new(),
            framing_taken: 0,
            chunk_left: 0,
            trailers: Vec::new(),
            whole: false,
            last: false,
            ended: false,
        }
    }

    pub(super) fn begin(&mut self, carried: Carried) {
        self.carried = carried;
        self.clear();
        self.ended = carried == Carried::Nothing;
        (self.whole, self.last) = (false, false);
    }

    /// Forgets what nobody will read; how much data that was.
    pub(super) fn clear(&mut self) -> usize {
        let unread = self.unread();
        for room in [&mut self.data, &mut self.framing, &mut self.trailers] {
            room.clear();
            if room.capacity() > KEPT_BYTES {
                *room = Vec::new();
            }
        }
        (self.taken, self.framing_taken, self.chunk_left) = (0, 0, 0);
        unread
    }

    /// Whether anybody will read what comes.
    pub(super) fn is_read(&self) -> bool {
        self.carried != Carried::Nothing
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        if self.taken >= self.unread() {
            self.data.drain(..self.taken);
            self.taken = 0;
        }
        self.data.extend_from_slice(data);
    }

    /// Where the fields of trailers are written.
    pub(super) fn trailers(&mut self) -> &mut Vec<u8> {
        &mut self.trailers
    }

    pub(super) fn end(&mut self) {
        self.whole = true;
    }

    fn unread(&self) -> usize {
        self.data.len() - self.taken
    }

    /// How many bytes were read, and how many of them were data. None while there is nothing to read; nothing at the
    /// end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Option<(usize, usize)> {
        let (mut read, mut data) = (0, 0);
        while read < into.len() && !self.ended {
            let framing = &self.framing[self.framing_taken..];
            if !framing.is_empty() {
                let count = framing.len().min(into.len() - read);
                into[read..read + count].copy_from_slice(&framing[..count]);
                self.framing_taken += count;
                read += count;
                continue;
            }
            self.framing.clear();
            self.framing_taken = 0;
            let is_last = self.whole && self.unread() == 0;
            match self.carried {
                Carried::Chunks if is_last && !self.last => {
                    self.last = true;
                    self.framing.extend_from_slice(b"0\r\n");
                    self.framing.extend_from_slice(&self.trailers);
                    self.framing.extend_from_slice(b"\r\n");
                    continue;
                }
                _ if is_last => {
                    self.ended = true;
                    break;
                }
                Carried::Chunks if self.chunk_left == 0 && self.unread() > 0 => {
                    self.chunk_left = self.unread();
                    let _ = write!(self.framing, "{:x}\r\n", self.chunk_left);
                    continue;
                }
                Carried::Chunks => {}
                _ => self.chunk_left = self.unread(),
            }
            if self.chunk_left == 0 {
                break;
            }
            let count = self.chunk_left.min(into.len() - read);
            into[read..read + count].copy_from_slice(&self.data[self.taken..self.taken + count]);
            self.taken += count;
            self.chunk_left -= count;
            read += count;
            data += count;
            if self.chunk_left == 0 && self.carried == Carried::Chunks {
                self.framing.extend_from_slice(b"\r\n");
            }
        }
        (read > 0 || into.is_empty() || self.ended).then_some((read, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all that there is in steps of a size.
    fn read(inbox: &mut Inbox, step: usize) -> (String, usize, bool) {
        let (mut text, mut data) = (Vec::new(), 0);
        loop {
            let mut into = vec![0; step];
            match inbox.read(&mut into) {
                Some((0, 0)) => return (String::from_utf8(text).expect("text"), data, true),
                Some((read, more)) => {
                    text.extend_from_slice(&into[..read]);
                    data += more;
                }
                None => return (String::from_utf8(text).expect("text"), data, false),
            }
        }
    }

    #[test]
    fn a_body_is_read_in_chunks() {
        for step in [1, 2, 3, 7, 100] {
            let mut inbox = Inbox::new();
            inbox.begin(Carried::Chunks);
            assert_eq!(inbox.read(&mut [0; 4]), None);
            inbox.push(b"hello ");
            inbox.push(b"you");
            assert_eq!(read(&mut inbox, step), ("9\r\nhello you\r\n".into(), 9, false));
            inbox.push(&[b'x'; 16]);
            inbox.trailers().extend_from_slice(b"sum: 1\r\n");
            inbox.end();
            let expect = format!("10\r\n{}\r\n0\r\nsum: 1\r\n\r\n", "x".repeat(16));
            assert_eq!(read(&mut inbox, step), (expect, 16, true));
            inbox.begin(Carried::Chunks);
            inbox.end();
            assert_eq!(read(&mut inbox, step), ("0\r\n\r\n".into(), 0, true));
        }
    }

    #[test]
    fn a_body_of_a_known_length_is_read_as_it_is() {
        let mut inbox = Inbox::new();
        inbox.begin(Carried::Length(5));
        inbox.push(b"he");
        assert_eq!(read(&mut inbox, 1), ("he".into(), 2, false));
        inbox.push(b"llo");
        inbox.end();
        assert_eq!(read(&mut inbox, 2), ("llo".into(), 3, true));
        inbox.begin(Carried::Length(5));
        inbox.push(b"hello");
        assert_eq!(inbox.read(&mut [0; 2]), Some((2, 2)));
        assert_eq!(inbox.clear(), 3);
        inbox.begin(Carried::Nothing);
        assert!(!inbox.is_read());
        assert_eq!(inbox.read(&mut [0; 2]), Some((0, 0)));
    }
}
