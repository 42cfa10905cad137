//! Frames of HTTP/2 (RFC 9113, sections 4 and 6): their heads, kinds, flags and codes. Pure.

/// Before every payload.
pub(super) const HEAD_BYTES: usize = 9;
/// The longest payload that this takes, and that it may send unless it is told otherwise (section 6.5.2).
pub(super) const PAYLOAD_MAX_BYTES: usize = 16_384;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITISED: u8 = 0x20;

/// Why a stream or a connection ends (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    pub(super) const NO_ERROR: Code = Code(0);
    pub(super) const PROTOCOL_ERROR: Code = Code(1);
    pub(super) const INTERNAL_ERROR: Code = Code(2);
    pub(super) const FLOW_CONTROL_ERROR: Code = Code(3);
    pub(super) const STREAM_CLOSED: Code = Code(5);
    pub(super) const FRAME_SIZE_ERROR: Code = Code(6);
    pub(super) const REFUSED_STREAM: Code = Code(7);
    pub(super) const COMPRESSION_ERROR: Code = Code(9);
    pub(super) const ENHANCE_YOUR_CALM: Code = Code(11);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Without its reserved bit.
    pub(super) stream: u32,
}

impl Head {
    /// None before all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Head {
            length: u32::from_be_bytes([0, *a, *b, *c]) as usize,
            kind: *kind,
            flags: *flags,
            stream: u32::from_be_bytes(*stream) & 0x7fff_ffff,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes the head of a frame whose payload follows.
pub(super) fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s, t, u, v] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, s, t, u, v]);
}

/// Writes the length of a frame whose head begins at `at`, once its payload has been written.
pub(super) fn set_length(out: &mut [u8], at: usize, length: usize) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    out[at..at + 3].copy_from_slice(&[a, b, c]);
}

/// Writes a frame of one number.
pub(super) fn word(out: &mut Vec<u8>, kind: u8, stream: u32, word: u32) {
    head(out, 4, kind, 0, stream);
    out.extend_from_slice(&word.to_be_bytes());
}

/// A big-endian number at the front of a payload that is long enough.
pub(super) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// What is left of a payload without its padding; None where that is longer than the payload.
pub(super) fn unpadded(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let mut out = Vec::new();
        head(&mut out, 0, HEADERS, END_HEADERS, 0x7fff_ffff);
        set_length(&mut out, 0, 0x12_3456);
        let read = Head::read(&out).expect("a head");
        assert_eq!(read, Head { length: 0x12_3456, kind: HEADERS, flags: END_HEADERS, stream: 0x7fff_ffff });
        assert_eq!(Head::read(&out[..8]), None);
        out[5] |= 0x80;
        assert_eq!(Head::read(&out), Some(read), "the reserved bit means nothing");
    }

    #[test]
    fn padding_is_taken_off() {
        let padded = |payload: &'static [u8]| {
            unpadded(Head { length: payload.len(), kind: DATA, flags: PADDED, stream: 1 }, payload)
        };
        assert_eq!(padded(b"\x02ab\0\0"), Some(&b"ab"[..]));
        assert_eq!(padded(b"\x02\0\0"), Some(&b""[..]));
        assert_eq!(padded(b"\x03\0\0"), None);
        assert_eq!(padded(b""), None);
    }
}
