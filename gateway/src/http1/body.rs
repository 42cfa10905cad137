//! How far a body has come, and which of the bytes at hand may go on.

use super::buffer::Buffer;
use super::chunked::{BadChunk, Chunked, Piece};
use super::field::Known;
use super::framing::Framing;
use httparse::{EMPTY_HEADER, Status, parse_headers};

/// One body on its way through: judged in the buffer that it was read into.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    rest: Rest,
    form: Form,
    /// Bytes of data so far, without framing.
    pub data_bytes: u64,
    max_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum Rest {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// How a body goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Framed as it came.
    Same,
    /// Data alone, for a reader that does not know chunks; the connection's end is the body's.
    Bare,
    /// In chunks, although it came until the connection's end.
    Chunks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    Chunk(BadChunk),
    TooLarge,
    /// A trailer field that is not valid.
    Trailer,
    /// The connection ended before the body did.
    Truncated,
}

impl BadBody {
    pub fn reason(self) -> &'static str {
        match self {
            BadBody::Chunk(BadChunk::SizeTooLarge) => "a chunk's size is too large",
            BadBody::Chunk(BadChunk::Extension) => "a chunk's extensions are not valid",
            BadBody::Chunk(BadChunk::Trailer) | BadBody::Trailer => "the trailer section is not valid",
            BadBody::Chunk(_) => "the chunks are not valid",
            BadBody::TooLarge => "the body is too large",
            BadBody::Truncated => "the body broke off",
        }
    }
}

/// Fields in a trailer section; gRPC sends three.
const TRAILERS_MAX: usize = 32;

impl Body {
    /// `max_bytes` bounds the data.
    pub fn new(framing: Framing, form: Form, max_bytes: u64) -> Result<Body, BadBody> {
        let rest = match framing {
            Framing::Empty | Framing::Length(0) => Rest::Done,
            Framing::Length(length) if length > max_bytes => return Err(BadBody::TooLarge),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Chunked::default()),
            Framing::UntilClose => Rest::UntilClose,
        };
        Ok(Body { rest, form, data_bytes: 0, max_bytes })
    }

    pub fn none() -> Body {
        Body { rest: Rest::Done, form: Form::Same, data_bytes: 0, max_bytes: 0 }
    }

    /// Whether all of it was judged; what is pending may still wait to be sent.
    pub fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Done)
    }

    /// Judges what lies unjudged in the buffer, as far as it is of this body. Afterwards either something is
    /// pending, or the body is done, or more has to be read.
    pub fn judge(&mut self, buffer: &mut Buffer) -> Result<(), BadBody> {
        match &mut self.rest {
            Rest::Done => Ok(()),
            Rest::Length(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.unjudged().len());
                buffer.pass(bytes);
                *left -= bytes as u64;
                self.data_bytes += bytes as u64;
                if *left == 0 {
                    self.rest = Rest::Done;
                }
                Ok(())
            }
            Rest::UntilClose => {
                self.judge_open(buffer);
                Ok(())
            }
            Rest::Chunked(_) => self.judge_chunks(buffer),
        }
    }

    fn judge_open(&mut self, buffer: &mut Buffer) {
        let bytes = buffer.unjudged().len();
        if bytes == 0 || (self.form == Form::Chunks && buffer.has_pending()) {
            return;
        }
        self.data_bytes += bytes as u64;
        if self.form == Form::Chunks {
            let (size, from) = size_line(bytes);
            buffer.prepend(&size[from..]);
        }
        buffer.pass(bytes);
        if self.form == Form::Chunks {
            buffer.append(b"\r\n");
        }
    }

    fn judge_chunks(&mut self, buffer: &mut Buffer) -> Result<(), BadBody> {
        let Rest::Chunked(chunked) = &mut self.rest else { return Ok(()) };
        loop {
            // What is dropped behind something pending hides what follows until that has gone.
            let piece = match buffer.has_pending() && buffer.skips() {
                true => return Ok(()),
                false => chunked.next(buffer.unjudged()).map_err(BadBody::Chunk)?,
            };
            match (piece, self.form) {
                (Piece::Need, _) => return Ok(()),
                (Piece::Data(bytes), _) => {
                    self.data_bytes += bytes as u64;
                    if self.data_bytes > self.max_bytes {
                        return Err(BadBody::TooLarge);
                    }
                    buffer.pass(bytes);
                }
                (Piece::Frame(bytes), Form::Bare) | (Piece::Extension(bytes), _) => buffer.skip(bytes),
                (Piece::Frame(bytes), _) => buffer.pass(bytes),
                (Piece::Trailers(bytes), Form::Bare) => buffer.skip(bytes),
                (Piece::Trailers(bytes), _) => pass_trailers(buffer, bytes)?,
            }
            if chunked.is_done() {
                self.rest = Rest::Done;
                return Ok(());
            }
        }
    }

    /// The connection that it came over has ended. Only while nothing is pending.
    pub fn end(&mut self, buffer: &mut Buffer) -> Result<(), BadBody> {
        match (self.rest, self.form) {
            (Rest::Done, _) => Ok(()),
            (Rest::UntilClose, Form::Chunks) => {
                buffer.append(b"0\r\n\r\n");
                self.rest = Rest::Done;
                Ok(())
            }
            (Rest::UntilClose, _) => {
                self.rest = Rest::Done;
                Ok(())
            }
            _ => Err(BadBody::Truncated),
        }
    }
}

/// Passes the fields of a trailer section that may stand there, and drops the others.
fn pass_trailers(buffer: &mut Buffer, length: usize) -> Result<(), BadBody> {
    if length == 2 {
        buffer.pass(2);
        return Ok(());
    }
    let mut slots = [EMPTY_HEADER; TRAILERS_MAX];
    let section = &buffer.unjudged()[..length];
    let fields = match parse_headers(section, &mut slots) {
        Ok(Status::Complete((parsed, fields))) if parsed == length => fields,
        _ => return Err(BadBody::Trailer),
    };
    if fields.iter().all(|field| Known::is_of_trailers(field.name)) {
        buffer.pass(length);
        return Ok(());
    }
    let mut kept = Vec::with_capacity(length);
    for field in fields.iter().filter(|field| Known::is_of_trailers(field.name)) {
        kept.extend_from_slice(field.name.as_bytes());
        kept.extend_from_slice(b":");
        kept.extend_from_slice(field.value);
        kept.extend_from_slice(b"\r\n");
    }
    kept.extend_from_slice(b"\r\n");
    buffer.overwrite(length, &kept);
    Ok(())
}

/// A chunk's size as its line, at the end of the array, and where it begins.
fn size_line(mut size: usize) -> ([u8; 18], usize) {
    let mut line = *b"0000000000000000\r\n";
    let mut from = 16;
    while size > 0 || from == 16 {
        from -= 1;
        line[from] = b"0123456789abcdef"[size & 15];
        size >>= 4;
    }
    (line, from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of a body that comes in pieces of `step` bytes, and what is left behind it.
    fn forward(
        framing: Framing,
        form: Form,
        text: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Vec<u8>, u64), BadBody> {
        let mut body = Body::new(framing, form, 1_000)?;
        let mut buffer = Buffer::new(64);
        let mut onward = Vec::new();
        let mut pieces = text.chunks(step);
        loop {
            body.judge(&mut buffer)?;
            if buffer.has_pending() {
                onward.extend_from_slice(buffer.pending());
                buffer.sent(buffer.pending().len());
            } else if body.is_done() {
                let mut left = buffer.unjudged().to_vec();
                pieces.for_each(|piece| left.extend_from_slice(piece));
                return Ok((onward, left, body.data_bytes));
            } else {
                buffer.compact();
                match pieces.next() {
                    Some(piece) => {
                        buffer.grow(buffer.unjudged().len() + piece.len());
                        buffer.free()[..piece.len()].copy_from_slice(piece);
                        buffer.filled(piece.len());
                    }
                    None => body.end(&mut buffer)?,
                }
            }
        }
    }

    #[track_caller]
    fn check(framing: Framing, form: Form, text: &str, expect: Result<(&str, &str, u64), BadBody>) {
        for step in [1, 2, 3, 7, 64] {
            let outcome = forward(framing, form, text.as_bytes(), step);
            let expect = expect
                .map(|(onward, left, data)| (onward.as_bytes().to_vec(), left.as_bytes().to_vec(), data));
            match (form, &expect, &outcome) {
                // Where chunks are made here, their sizes are those of the reads.
                (Form::Chunks, Ok(_), Ok((onward, _, data))) if step < text.len() => {
                    let (again, left, _) = forward(Framing::Chunked, Form::Bare, onward, 64).expect("chunks");
                    assert_eq!((again, left, *data), (text.as_bytes().to_vec(), vec![], text.len() as u64));
                }
                _ => assert_eq!(outcome, expect, "{text:?} in steps of {step}"),
            }
        }
    }

    #[test]
    fn bodies_go_on_in_their_form() {
        check(Framing::Length(5), Form::Same, "hellonext", Ok(("hello", "next", 5)));
        check(Framing::Empty, Form::Same, "next", Ok(("", "next", 0)));
        check(Framing::UntilClose, Form::Same, "hello", Ok(("hello", "", 5)));
        check(Framing::UntilClose, Form::Chunks, "hello", Ok(("5\r\nhello\r\n0\r\n\r\n", "", 5)));
        let chunks = "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\nnext";
        check(Framing::Chunked, Form::Same, chunks, Ok(("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "next", 6)));
        check(Framing::Chunked, Form::Bare, chunks, Ok(("hello!", "next", 6)));
    }

    #[test]
    fn trailers_go_on_but_for_those_that_frame_or_route() {
        let text = "0\r\nsum: 1\r\ngrpc-status: 0\r\n\r\nnext";
        check(Framing::Chunked, Form::Same, text, Ok(("0\r\nsum: 1\r\ngrpc-status: 0\r\n\r\n", "next", 0)));
        let text = "0\r\nContent-Length: 5\r\nsum: 1\r\nhost: evil\r\n\r\nnext";
        check(Framing::Chunked, Form::Same, text, Ok(("0\r\nsum:1\r\n\r\n", "next", 0)));
        check(Framing::Chunked, Form::Same, "0\r\n bad: 1\r\n\r\n", Err(BadBody::Trailer));
        check(Framing::Chunked, Form::Same, "0\r\na : 1\r\n\r\n", Err(BadBody::Trailer));
    }

    #[test]
    fn what_breaks_off_or_grows_too_large_is_refused() {
        check(Framing::Length(5), Form::Same, "hell", Err(BadBody::Truncated));
        check(Framing::Chunked, Form::Same, "5\r\nhello\r\n", Err(BadBody::Truncated));
        check(Framing::Length(1_001), Form::Same, "", Err(BadBody::TooLarge));
        let large = format!("3e9\r\n{}\r\n0\r\n\r\n", "a".repeat(1001));
        check(Framing::Chunked, Form::Same, &large, Err(BadBody::TooLarge));
        check(Framing::Chunked, Form::Same, "x\r\n", Err(BadBody::Chunk(BadChunk::Size)));
    }
}
