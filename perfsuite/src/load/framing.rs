//! Where an HTTP/1.1 body ends: fixed length, chunked, or the end of the connection. Bytes are counted, never kept.

/// Digits of a chunk's size: 2^60 bytes is more than any bound above us.
const CHUNK_DIGITS_MAX: u8 = 15;
/// Bytes of chunk extensions or trailers that are skipped before the peer is called malformed.
const SKIPPED_MAX: usize = 16 << 10;

/// Reads through one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    left: u64,
    digits: u8,
    skipped: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerEnd,
    Done,
}

/// The peer does not speak HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed HTTP/1.1 framing")]
pub struct Malformed;

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Bytes that belong to this body.
    pub consumed: usize,
    /// Of these, bytes of content.
    pub content: usize,
    pub done: bool,
}

impl Body {
    pub fn chunked() -> Self {
        Body::Chunked(Chunked { at: At::Size, left: 0, digits: 0, skipped: 0 })
    }

    /// Takes as many of `bytes` as belong to the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        match self {
            Body::Fixed(left) => {
                let take = (*left).min(bytes.len() as u64);
                *left -= take;
                Ok(Fed { consumed: take as usize, content: take as usize, done: *left == 0 })
            }
            Body::UntilClose => Ok(Fed { consumed: bytes.len(), content: bytes.len(), done: false }),
            Body::Chunked(chunked) => chunked.feed(bytes),
        }
    }
}

impl Chunked {
    fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        let mut consumed = 0;
        let mut content = 0;
        while consumed < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let take = self.left.min((bytes.len() - consumed) as u64) as usize;
                self.left -= take as u64;
                consumed += take;
                content += take;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.step(bytes[consumed])?;
            consumed += 1;
        }
        Ok(Fed { consumed, content, done: self.at == At::Done })
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                self.digits += 1;
                if self.digits > CHUNK_DIGITS_MAX {
                    return Err(Malformed);
                }
                self.left = self.left * 16 + u64::from((byte as char).to_digit(16).ok_or(Malformed)?);
                At::Size
            }
            (At::Size, b'\r') if self.digits > 0 => At::SizeEnd,
            (At::Size, b';' | b' ' | b'\t') if self.digits > 0 => At::Extension,
            (At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, _) => self.skip(At::Extension)?,
            (At::SizeEnd, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::Trailer } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::TrailerEnd,
            (At::TrailerEnd, b'\n') => At::Done,
            (At::TrailerLine, b'\n') => At::Trailer,
            (At::Trailer | At::TrailerLine, _) => self.skip(At::TrailerLine)?,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    fn skip(&mut self, at: At) -> Result<At, Malformed> {
        self.skipped += 1;
        if self.skipped > SKIPPED_MAX { Err(Malformed) } else { Ok(at) }
    }
}

/// The framing that the headers of one message ask for, by RFC 9112 section 6.3 (without the rules for methods and
/// status codes, which the caller knows). `None`: neither length nor chunks are given.
pub fn body_of(headers: &[httparse::Header<'_>]) -> Result<Option<Body>, Malformed> {
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| Malformed)?.trim();
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Malformed);
            }
            let value = text.parse().map_err(|_| Malformed)?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(Malformed);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") || chunked {
                return Err(Malformed);
            }
            chunked = true;
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Malformed),
        (true, None) => Ok(Some(Body::chunked())),
        (false, length) => Ok(length.map(Body::Fixed)),
    }
}

/// Whether the sender will close: `connection: close`, or HTTP/1.0 without `keep-alive`.
pub fn closes(version_minor: u8, headers: &[httparse::Header<'_>]) -> bool {
    let says = |word: &str| {
        headers
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case("connection"))
            .filter_map(|h| std::str::from_utf8(h.value).ok())
            .any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(word)))
    };
    says("close") || (version_minor == 0 && !says("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_where_they_end_whatever_the_pieces() {
        let wire = b"5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\ntrailer: x\r\n\r\nNEXT";
        let whole = wire.len() - 4;
        for piece in 1..=wire.len() {
            let mut body = Body::chunked();
            let (mut consumed, mut content, mut done) = (0, 0, false);
            for part in wire.chunks(piece) {
                let fed = body.feed(part).expect("well formed");
                consumed += fed.consumed;
                content += fed.content;
                if fed.done {
                    done = true;
                    break;
                }
            }
            assert!(done, "pieces of {piece}");
            assert_eq!((consumed, content), (whole, 15), "pieces of {piece}");
        }
    }

    #[test]
    fn bad_chunks_are_malformed() {
        for wire in [&b"\r\n"[..], b"g\r\n", b"5\r\nhelloX", b"5\nhello", b"1111111111111111\r\n"] {
            assert_eq!(Body::chunked().feed(wire), Err(Malformed), "{wire:?}");
        }
    }

    #[test]
    fn lengths_that_disagree_are_malformed() {
        let header = |name, value: &'static str| httparse::Header { name, value: value.as_bytes() };
        let check = |headers: &[httparse::Header<'_>], expect| assert_eq!(body_of(headers), expect);
        check(&[], Ok(None));
        check(&[header("Content-Length", "7")], Ok(Some(Body::Fixed(7))));
        check(&[header("Transfer-Encoding", "Chunked")], Ok(Some(Body::chunked())));
        check(&[header("content-length", "7"), header("content-length", "8")], Err(Malformed));
        check(&[header("content-length", "+7")], Err(Malformed));
        check(&[header("content-length", "7"), header("transfer-encoding", "chunked")], Err(Malformed));
        check(&[header("transfer-encoding", "gzip, chunked")], Err(Malformed));
    }
}
