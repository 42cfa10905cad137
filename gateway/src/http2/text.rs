//! Requests to an upstream of HTTP/2, read from the heads that HTTP/1 has, and its answers written as such. Pure.
//!
//! What is read was written by [`crate::http1::onward`]; what is written is judged by the parser that judges
//! everybody's HTTP/1.

use super::Carried;
use crate::http1::framing::decimal;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri, response};
use std::io;

/// Writes an upstream's response. `ends` says that no body follows.
pub(super) fn response(out: &mut Vec<u8>, parts: &response::Parts, ends: bool, asked_head: bool) -> Carried {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    fields(out, parts.headers.iter());
    let has_no_body =
        asked_head || parts.status.is_informational() || matches!(parts.status.as_u16(), 204 | 304);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| decimal(length.as_bytes()));
    let carried = match (length, ends) {
        _ if has_no_body => Carried::Nothing,
        (Some(0), _) => Carried::Nothing,
        (Some(length), _) => Carried::Length(length),
        (None, true) => {
            field(out, "content-length", b"0");
            Carried::Nothing
        }
        (None, false) => {
            field(out, "transfer-encoding", b"chunked");
            Carried::Chunks
        }
    };
    out.extend_from_slice(b"\r\n");
    carried
}

pub(super) fn fields<'f>(out: &mut Vec<u8>, all: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>) {
    for (name, value) in all.filter(|(name, _)| !is_of_hop(name)) {
        field(out, name.as_str(), value.as_bytes());
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
}

/// Fields of one connection of HTTP/1, which HTTP/2 does not have (RFC 9113, section 8.2.2).
fn is_of_hop(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Reads the head of a request, with its empty line. `own_host` stands in where the request names no host.
pub(super) fn read_request(head: &[u8], own_host: &str) -> io::Result<(Request<()>, Carried)> {
    let (line, rest) = first_line(head)?;
    let line = std::str::from_utf8(line).map_err(|_| invalid())?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(invalid()) };
    let (mut headers, chunked) = read_head_fields(rest)?;
    let carried = carried(&headers, chunked);
    let mut request = Request::new(());
    *request.method_mut() = method.parse().map_err(|_| invalid())?;
    let host = headers.remove(header::HOST);
    let host = host.as_ref().map(HeaderValue::as_bytes).filter(|host| !host.is_empty());
    let uri =
        Uri::builder().scheme("http").authority(host.unwrap_or(own_host.as_bytes())).path_and_query(target);
    *request.uri_mut() = uri.build().map_err(|_| invalid())?;
    *request.headers_mut() = headers;
    Ok((request, carried))
}

/// Reads a trailer section, with its empty line.
pub(super) fn read_fields(section: &[u8]) -> io::Result<HeaderMap> {
    read_head_fields(section).map(|(fields, _)| fields)
}

fn carried(headers: &HeaderMap, chunked: bool) -> Carried {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| decimal(length.as_bytes()));
    match (chunked, length) {
        (true, _) => Carried::Chunks,
        (false, None | Some(0)) => Carried::Nothing,
        (false, Some(length)) => Carried::Length(length),
    }
}

fn first_line(head: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let at = memchr::memchr(b'\n', head).ok_or_else(invalid)?;
    Ok((head[..at].trim_ascii_end(), &head[at + 1..]))
}

/// The fields but for those of the connection, and whether they said that chunks follow.
fn read_head_fields(lines: &[u8]) -> io::Result<(HeaderMap, bool)> {
    // One allocation for all values.
    let lines = Bytes::copy_from_slice(lines);
    let mut headers = HeaderMap::with_capacity(16);
    let (mut chunked, mut at) = (false, 0);
    while let Some(length) = memchr::memchr(b'\n', &lines[at..]) {
        let line = lines.slice(at..at + length);
        at += length + 1;
        let Some(colon) = memchr::memchr(b':', &line) else { continue };
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| invalid())?;
        if is_of_hop(&name) {
            chunked |= name == header::TRANSFER_ENCODING;
            continue;
        }
        let value = line[colon + 1..].trim_ascii();
        let value = HeaderValue::from_maybe_shared(line.slice_ref(value)).map_err(|_| invalid())?;
        headers.try_append(name, value).map_err(|_| invalid())?;
    }
    Ok((headers, chunked))
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests;
