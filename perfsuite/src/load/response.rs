//! Reads one HTTP/1.1 response after another from the pieces that a socket gives. Bodies are counted, not kept.

use super::framing::{Body, Malformed, body_of, closes};

/// One response's head; the largest proxies allow 64 KiB.
const HEAD_MAX_BYTES: usize = 64 << 10;
const HEADERS_MAX: usize = 128;

/// A whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Whether the connection may carry another request.
    pub reusable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("malformed response")]
    Malformed,
    #[error("response body above the bound")]
    TooLarge,
    #[error("the connection was closed within the response")]
    Truncated,
}

impl From<Malformed> for Bad {
    fn from(_: Malformed) -> Self {
        Bad::Malformed
    }
}

/// The state between two reads of one connection.
#[derive(Debug)]
pub struct ResponseReader {
    /// A head that came in several pieces.
    head: Vec<u8>,
    body: Option<(Answer, Body)>,
    seen_bytes: u64,
    body_max_bytes: u64,
    /// The request was HEAD: the response has no body whatever its headers say.
    bodiless: bool,
}

impl ResponseReader {
    pub fn new(body_max_bytes: u64) -> Self {
        Self { head: Vec::new(), body: None, seen_bytes: 0, body_max_bytes, bodiless: false }
    }

    /// A request was sent: the next bytes are its response.
    pub fn expect(&mut self, head_request: bool) {
        self.head.clear();
        self.body = None;
        self.seen_bytes = 0;
        self.bodiless = head_request;
    }

    /// Whether any byte of the awaited response has come.
    pub fn begun(&self) -> bool {
        self.body.is_some() || !self.head.is_empty()
    }

    /// Takes bytes; an answer once the response is whole. Bytes after it make it not reusable (nothing was asked).
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Bad> {
        let mut rest = bytes;
        while self.body.is_none() {
            if rest.is_empty() {
                return Ok(None);
            }
            let Some(used) = self.read_head(rest)? else { return Ok(None) };
            rest = &rest[used..];
        }
        let Some((answer, body)) = &mut self.body else { return Ok(None) };
        let fed = body.feed(rest)?;
        self.seen_bytes += fed.content as u64;
        if self.seen_bytes > self.body_max_bytes {
            return Err(Bad::TooLarge);
        }
        if !fed.done {
            return Ok(None);
        }
        let mut answer = *answer;
        answer.reusable &= fed.consumed == rest.len();
        Ok(Some(answer))
    }

    /// The peer closed: ends a body that lasts until then.
    pub fn end(&mut self) -> Result<Answer, Bad> {
        match self.body.take() {
            Some((answer, Body::UntilClose)) => Ok(answer),
            _ => Err(Bad::Truncated),
        }
    }

    /// Parses a head from what was kept and `bytes`; the number of `bytes` that it took. Interim (1xx) responses are
    /// taken and forgotten.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Bad> {
        let kept = self.head.len();
        let source: &[u8] = if kept == 0 {
            bytes
        } else {
            self.head.extend_from_slice(bytes);
            &self.head
        };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(source).map_err(|_| Bad::Malformed)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => {
                if kept == 0 {
                    self.head.extend_from_slice(bytes);
                }
                return if self.head.len() > HEAD_MAX_BYTES { Err(Bad::Malformed) } else { Ok(None) };
            }
        };
        let status = response.code.ok_or(Bad::Malformed)?;
        let minor = response.version.ok_or(Bad::Malformed)?;
        if status == 101 {
            return Err(Bad::Malformed);
        }
        if status >= 200 {
            let given = body_of(response.headers)?;
            let none = self.bodiless || status == 204 || status == 304;
            let body = if none { Body::Fixed(0) } else { given.unwrap_or(Body::UntilClose) };
            if matches!(body, Body::Fixed(length) if length > self.body_max_bytes) {
                return Err(Bad::TooLarge);
            }
            let reusable = !closes(minor, response.headers) && body != Body::UntilClose;
            self.body = Some((Answer { status, reusable }, body));
        }
        self.head.clear();
        Ok(Some(length - kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of every size; all must agree.
    fn check(wire: &[u8], expect: Result<Option<Answer>, Bad>) {
        for piece in 1..=wire.len() {
            let mut reader = ResponseReader::new(1000);
            reader.expect(false);
            let mut got = Ok(None);
            for part in wire.chunks(piece) {
                got = reader.feed(part);
                if got != Ok(None) {
                    break;
                }
            }
            assert_eq!(got, expect, "pieces of {piece}");
        }
    }

    fn answer(status: u16, reusable: bool) -> Result<Option<Answer>, Bad> {
        Ok(Some(Answer { status, reusable }))
    }

    #[test]
    fn responses_end_where_their_framing_says() {
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", answer(200, true));
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            answer(200, true),
        );
        check(b"HTTP/1.1 204 No Content\r\n\r\n", answer(204, true));
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            answer(500, true),
        );
        check(b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", answer(200, false));
        check(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", answer(200, false));
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi", Ok(None));
        check(b"SSH-2.0-OpenSSH\r\n", Err(Bad::Malformed));
        check(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Err(Bad::Malformed));
    }

    #[test]
    fn a_body_above_the_bound_is_refused() {
        let mut reader = ResponseReader::new(1000);
        reader.expect(false);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"), Err(Bad::TooLarge));
        reader.expect(false);
        reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n").unwrap();
        assert_eq!(reader.feed(&[b'x'; 2000]), Err(Bad::TooLarge));
    }

    #[test]
    fn closing_ends_a_body_without_length_and_breaks_one_with() {
        let mut reader = ResponseReader::new(1000);
        reader.expect(false);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhello"), Ok(None));
        assert_eq!(reader.end(), Ok(Answer { status: 200, reusable: false }));
        reader.expect(false);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"), Ok(None));
        assert_eq!(reader.end(), Err(Bad::Truncated));
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let mut reader = ResponseReader::new(1000);
        reader.expect(true);
        let got = reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n");
        assert_eq!(got, answer(200, true));
    }
}
