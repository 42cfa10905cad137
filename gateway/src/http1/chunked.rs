//! The chunked coding, byte by byte: says which bytes are framing, which are data, and which are neither.
//!
//! Stricter than RFC 9112, section 7.1, where its leniency has been used to smuggle: a size is digits and
//! nothing else, a line ends in CR LF, no space stands after a size, and extensions are bounded and dropped.

use super::scan::HeadScan;

#[derive(Clone, Copy, Debug)]
pub struct Chunked {
    state: State,
    /// Of the whole body.
    extension_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers(HeadScan),
    Done,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing can be said before there are more.
    Need,
    /// So many bytes of framing.
    Frame(usize),
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of extensions, which nobody downstream needs.
    Extension(usize),
    /// The whole trailer section with its empty line: the end of the body.
    Trailers(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChunk {
    /// A size that is no hexadecimal number, or a line of it that does not end in CR LF.
    Size,
    SizeTooLarge,
    /// Extensions that are too many, or that hold a control character.
    Extension,
    /// Data that is longer than its size said.
    End,
    Trailer,
}

/// Of all extensions of one body: nothing in use needs any, and a body of extensions alone is an attack.
const EXTENSIONS_MAX_BYTES: u32 = 16 * 1024;
/// As many digits as 64 bits hold; more could only be zeros or an overflow.
const DIGITS_MAX: u8 = 16;
/// The largest size that every reader's signed number holds.
const SIZE_MAX: u64 = i64::MAX as u64;

impl Default for Chunked {
    fn default() -> Chunked {
        Chunked { state: State::Size { size: 0, digits: 0 }, extension_bytes: 0 }
    }
}

impl Chunked {
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Judges the first of `bytes`, which begin where the piece before ended.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        if bytes.is_empty() {
            return Ok(Piece::Need);
        }
        match &mut self.state {
            State::Data { left } => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= data as u64;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                Ok(Piece::Data(data))
            }
            State::Extension { size } => {
                let size = *size;
                self.extension(bytes, size)
            }
            State::Trailers(scan) => {
                let length = match bytes {
                    [b'\r', b'\n', ..] => Some(2),
                    _ => scan.advance(bytes).map_err(|_| BadChunk::Trailer)?,
                };
                Ok(length.map_or(Piece::Need, |length| {
                    self.state = State::Done;
                    Piece::Trailers(length)
                }))
            }
            State::Done => Ok(Piece::Need),
            State::Size { .. } | State::SizeLf { .. } | State::DataCr | State::DataLf => self.frame(bytes),
        }
    }

    /// Framing, as far as it goes without a break.
    fn frame(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        for (taken, byte) in bytes.iter().enumerate() {
            self.state = match (self.state, *byte) {
                (State::DataCr, b'\r') => State::DataLf,
                (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
                (State::DataCr | State::DataLf, _) => return Err(BadChunk::End),
                (State::Size { size, digits: 1.. }, b'\r') => State::SizeLf { size },
                (State::Size { size, digits: 1.. }, b';') => State::Extension { size },
                (State::Size { size, digits }, byte) => {
                    State::Size { size: larger(size, digits, byte)?, digits: digits + 1 }
                }
                (State::SizeLf { size: 0 }, b'\n') => State::Trailers(HeadScan::default()),
                (State::SizeLf { size }, b'\n') => State::Data { left: size },
                (State::SizeLf { .. }, _) => return Err(BadChunk::Size),
                (State::Extension { .. } | State::Data { .. } | State::Trailers(_) | State::Done, _) => {
                    return Ok(Piece::Frame(taken));
                }
            };
            if let State::Extension { size } = self.state {
                // The semicolon is the first byte of what is dropped.
                return match taken {
                    0 => self.extension(bytes, size),
                    _ => Ok(Piece::Frame(taken)),
                };
            }
        }
        Ok(Piece::Frame(bytes.len()))
    }

    /// Everything up to the line's end. RFC 9112 has names and values here; what they are does not matter as
    /// long as no reader can find a line's end in them.
    fn extension(&mut self, bytes: &[u8], size: u64) -> Result<Piece, BadChunk> {
        let length = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
        let plain = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if !bytes[..length].iter().all(plain) {
            return Err(BadChunk::Extension);
        }
        self.extension_bytes = self.extension_bytes.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        if self.extension_bytes > EXTENSIONS_MAX_BYTES {
            return Err(BadChunk::Extension);
        }
        if length < bytes.len() {
            // The carriage return is framing again; it is looked at as if it stood behind the size.
            self.state = State::Size { size, digits: 1 };
        }
        Ok(Piece::Extension(length))
    }
}

/// The size with one more digit.
fn larger(size: u64, digits: u8, digit: u8) -> Result<u64, BadChunk> {
    let value = char::from(digit).to_digit(16).ok_or(BadChunk::Size)?;
    if digits == DIGITS_MAX || size > SIZE_MAX >> 4 {
        return Err(BadChunk::SizeTooLarge);
    }
    Ok(size << 4 | u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Framing and data as they go on, data alone, the trailers, and where the body ended.
    type Read = (Vec<u8>, Vec<u8>, Vec<u8>, usize);

    /// Reads a body that comes in pieces.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Read, BadChunk> {
        let (mut onward, mut data, mut trailers) = (Vec::new(), Vec::new(), Vec::new());
        let mut chunked = Chunked::default();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            while at < cut && !chunked.is_done() {
                let piece = chunked.next(&bytes[at..cut])?;
                let length = match piece {
                    Piece::Need => break,
                    Piece::Frame(length)
                    | Piece::Data(length)
                    | Piece::Extension(length)
                    | Piece::Trailers(length) => length,
                };
                assert!(length > 0 || matches!(piece, Piece::Extension(0) | Piece::Frame(0)), "{piece:?}");
                let piece_bytes = &bytes[at..at + length];
                match piece {
                    Piece::Data(_) => {
                        onward.extend_from_slice(piece_bytes);
                        data.extend_from_slice(piece_bytes);
                    }
                    Piece::Trailers(_) => trailers.extend_from_slice(piece_bytes),
                    Piece::Extension(_) => {}
                    _ => onward.extend_from_slice(piece_bytes),
                }
                at += length;
            }
        }
        if !chunked.is_done() {
            return Ok((onward, data, trailers, usize::MAX));
        }
        Ok((onward, data, trailers, at))
    }

    fn check(text: &str, expect: Result<(&str, &str, usize), BadChunk>) {
        let read = read(text.as_bytes(), &[]);
        let read = read.as_ref().map(|(onward, data, _, end)| {
            (std::str::from_utf8(onward).expect("text"), std::str::from_utf8(data).expect("text"), *end)
        });
        assert_eq!(read.map_err(|bad| *bad), expect, "{text:?}");
    }

    #[test]
    fn bodies_are_read() {
        check("0\r\n\r\n", Ok(("0\r\n", "", 5)));
        check("5\r\nhello\r\n0\r\n\r\nGET", Ok(("5\r\nhello\r\n0\r\n", "hello", 15)));
        check("00A\r\n0123456789\r\n0\r\n\r\n", Ok(("00A\r\n0123456789\r\n0\r\n", "0123456789", 22)));
        check("1;a=b;c=\"d\"\r\nx\r\n0;z\r\n\r\n", Ok(("1\r\nx\r\n0\r\n", "x", 23)));
        check("0\r\nsum: 1\r\n\r\n", Ok(("0\r\n", "", 13)));
        check("5\r\nhel", Ok(("5\r\nhel", "hel", usize::MAX)));
    }

    #[test]
    fn framing_that_two_readers_could_take_differently_is_refused() {
        for bad in [
            "\r\n", "g\r\n", " 5\r\n", "5 \r\n", "+5\r\n", "-1\r\n", "0x5\r\n", "5\n", "5\rx", "5,5\r\n",
            ";a\r\n",
        ] {
            check(bad, Err(BadChunk::Size));
        }
        check("8000000000000000\r\n", Err(BadChunk::SizeTooLarge));
        check("fffffffffffffffff\r\n", Err(BadChunk::SizeTooLarge));
        check("00000000000000005\r\n", Err(BadChunk::SizeTooLarge));
        check("5;a\n\r\n", Err(BadChunk::Extension));
        check("5;a\0\r\n", Err(BadChunk::Extension));
        check(&format!("5;{}\r\n", "a".repeat(17 * 1024)), Err(BadChunk::Extension));
        check("5;a\rb\r\n", Err(BadChunk::Size));
        check("5\r\nhello0\r\n", Err(BadChunk::End));
        check("5\r\nhello\n0\r\n", Err(BadChunk::End));
        check("0\r\nsum: 1\n\r\n", Err(BadChunk::Trailer));
        check("0\r\n\nx", Err(BadChunk::Trailer));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "([0-2a]|;x|\r\n|\n|x){0,14}", cuts in prop::collection::vec(0usize..30, 0..5)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(bytes, &cuts), read(bytes, &[]));
        }
    }
}
