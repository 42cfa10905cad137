//! The head of an answer, as HTTP/1 has it, written as a header block. Pure.

use super::{Carried, hpack};
use crate::http1::framing::decimal;
use memchr::memchr;

/// What a head says besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Another head follows.
    pub is_interim: bool,
    pub carried: Carried,
}

/// Writes a whole head, with its empty line. None where it is none, which nobody here writes.
pub fn block(out: &mut Vec<u8>, head: &[u8], asked_head: bool) -> Option<Answered> {
    // `HTTP/1.1 200 OK`
    let status = head.get(9..12).filter(|status| status.iter().all(u8::is_ascii_digit))?;
    hpack::status(out, status);
    let rest = &head[memchr(b'\n', head)? + 1..];
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines(rest) {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => continue,
            10 if is_of_hop(name) => continue,
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => continue,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                chunked = true;
                continue;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => length = decimal(value),
            _ => {}
        }
        hpack::field(out, name, value);
    }
    let is_interim = status[0] == b'1';
    let has_no_body = asked_head || is_interim || matches!(status, b"204" | b"304");
    let carried = match (chunked, length) {
        _ if has_no_body => Carried::Nothing,
        (true, _) => Carried::Chunks,
        (false, None | Some(0)) => Carried::Nothing,
        (false, Some(length)) => Carried::Length(length),
    };
    Some(Answered { is_interim, carried })
}

/// Writes the fields of a trailer section, with its empty line; false when there are none.
pub(super) fn trailers(out: &mut Vec<u8>, section: &[u8]) -> bool {
    let from = out.len();
    lines(section)
        .filter(|(name, _)| !is_of_hop(name))
        .for_each(|(name, value)| hpack::field(out, name, value));
    out.len() > from
}

/// Fields of one connection of HTTP/1, which HTTP/2 does not have (RFC 9113, section 8.2.2), of the length that two
/// of them share.
fn is_of_hop(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive")
}

/// Names and values up to the empty line.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let line = &rest[..memchr(b'\n', rest)?];
        rest = &rest[line.len() + 1..];
        let colon = memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str, asked_head: bool) -> (String, Answered) {
        let mut out = Vec::new();
        let answered = block(&mut out, head.as_bytes(), asked_head).expect(head);
        (fields(&out), answered)
    }

    fn fields(block: &[u8]) -> String {
        let mut fields = Vec::new();
        let tell = |name: &[u8], value: &[u8]| {
            fields.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            true
        };
        hpack::Decoder::default().decode(block, tell).expect("a block");
        fields.join(" ")
    }

    #[test]
    fn a_head_is_written() {
        let length = "HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-length: 5\r\nconnection: close\r\nKeep-Alive: 5\r\nupgrade: x\r\n\r\n";
        let (fields, answered) = read(length, false);
        assert_eq!(fields, ":status=200 x-a=1 content-length=5");
        assert_eq!(answered, Answered { is_interim: false, carried: Carried::Length(5) });
        assert_eq!(read(length, true).1.carried, Carried::Nothing, "after a HEAD");
        let (fields, answered) =
            read("HTTP/1.1 429 \r\ntransfer-encoding: chunked\r\ntrailer: sum\r\n\r\n", false);
        assert_eq!((fields.as_str(), answered.carried), (":status=429 trailer=sum", Carried::Chunks));
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n", false).1.carried, Carried::Nothing);
        let (fields, answered) = read("HTTP/1.1 103 Early Hints\r\nlink:  x \r\n\r\n", false);
        assert_eq!((fields.as_str(), answered.is_interim), (":status=103 link=x", true));
        for bad in ["", "HTTP/1.1 20x OK\r\n\r\n", "HTTP/1.1 200"] {
            assert_eq!(block(&mut Vec::new(), bad.as_bytes(), false), None, "{bad}");
        }
    }

    #[test]
    fn trailers_are_written() {
        let mut out = Vec::new();
        assert!(trailers(&mut out, b"Grpc-Status: 0\r\nx:\r\n\r\n"));
        assert_eq!(fields(&out), "grpc-status=0 x=");
        assert!(!trailers(&mut out, b"\r\n"));
    }
}
