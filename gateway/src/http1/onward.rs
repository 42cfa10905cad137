//! The heads that go on: what ends at this hop is left out, what tells the next hop about this one is added.
//!
//! Fields that mean nothing to a proxy are copied as they lie, many at a time; those that frame, address or
//! trace the message are written anew from what was understood of them, so that the next reader sees exactly
//! what was judged here.

use super::field::{Known, members};
use super::framing::Framing;
use super::request::RequestHead;
use super::response::ResponseHead;
use crate::headers::REQUEST_ID_MAX_BYTES;
use crate::trace::Onward;
use httparse::Header;

/// A pseudonym (RFC 9110, section 7.6.3), so that it gives no host name away.
const VIA: &[u8] = b"1.1 gateway";

/// What the upstream is told about the hop that a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The client's address.
    pub client: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Used when the request brings no id of its own that can be kept.
    pub request_id: &'a str,
    /// Whether `Forwarded` (RFC 7239) is written even where no hop before began it.
    pub forwarded: bool,
    pub deadline: Option<Deadline>,
    /// Whether the next hop is told that trailers are welcome, if the client said so: it must speak HTTP/2, since
    /// in HTTP/1 that is a matter of each hop.
    pub trailers: bool,
    /// Fields of the route: removed, then set.
    pub remove: &'a [String],
    pub set: &'a [(String, String)],
    /// In place of what came of the trace; None: that goes on as it came.
    pub traced: Option<Onward<'a>>,
}

/// When the whole request has to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    pub left_ms: u64,
}

/// The target as the upstream gets it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// In place of the client's.
    pub host: Option<&'a str>,
}

/// Writes the head of a request for an upstream. Returns where the request id lies in `out`.
pub fn request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    target: Target<'_>,
    hop: &Hop<'_>,
) -> (usize, usize) {
    let parts = [head.method, " ", target.path];
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    if let Some(query) = target.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    let host = target.host.or(head.host).unwrap_or_default();
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    copy_rest(out, head.bytes, head.fields, |field| {
        let stays = match Known::of(field.name) {
            Known::Other => true,
            Known::Expect => head.expects_continue,
            Known::Trailer => head.framing == Framing::Chunked,
            _ => false,
        };
        stays
            && !(head.options.names_more && is_named(head.fields, field.name))
            && !is_set(hop, field.name)
            && hop.traced.is_none_or(|traced| !traced.replaces(field.name))
    });
    framing(out, head.framing);
    if let Some(protocol) = head.upgrade {
        switch(out, protocol);
    }
    list(out, head.fields, head.seen.has(Known::XForwardedFor), Known::XForwardedFor, b"x-forwarded-for: ");
    out.extend_from_slice(hop.client.as_bytes());
    out.extend_from_slice(b"\r\nx-forwarded-proto: ");
    out.extend_from_slice(hop.scheme.as_bytes());
    if let Some(host) = head.host {
        out.extend_from_slice(b"\r\nx-forwarded-host: ");
        out.extend_from_slice(host.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if hop.forwarded || head.seen.has(Known::Forwarded) {
        forwarded(out, head, hop);
    }
    via(out, head.fields, head.seen.has(Known::Via));
    if let Some(deadline) = hop.deadline {
        out.extend_from_slice(b"x-request-deadline: ");
        push_decimal(out, deadline.unix_ms);
        out.extend_from_slice(b"\r\n");
        if head.seen.has(Known::GrpcTimeout) {
            out.extend_from_slice(b"grpc-timeout: ");
            // At most eight digits (the gRPC protocol, `TimeoutValue`).
            push_decimal(out, deadline.left_ms.min(99_999_999));
            out.extend_from_slice(b"m\r\n");
        }
    }
    if hop.trailers && head.field("te").is_some_and(|te| te.eq_ignore_ascii_case(b"trailers")) {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    for (name, value) in hop.set {
        [name.as_str(), ": ", value.as_str(), "\r\n"]
            .iter()
            .for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    if let Some(traced) = hop.traced {
        out.extend_from_slice(b"traceparent: ");
        out.extend_from_slice(traced.parent);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"x-request-id: ");
    let at = out.len();
    let kept = match head.seen.has(Known::XRequestId) && !is_named(head.fields, "x-request-id") {
        true => known(head.fields, Known::XRequestId).next().filter(|id| can_keep_id(id)),
        false => None,
    };
    out.extend_from_slice(kept.unwrap_or(hop.request_id.as_bytes()));
    let end = out.len();
    out.extend_from_slice(b"\r\n\r\n");
    (at, end)
}

/// What the client is told besides what the upstream said.
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// The framing that the body goes on in.
    pub framing: Framing,
    /// What this hop's connection does after the response, where that has to be said.
    pub connection: Option<&'static str>,
    /// Now, as in a `Date` field, for a response without one (RFC 9110, section 6.6.1).
    pub date: &'a str,
    pub remove: &'a [String],
    pub set: &'a [(String, String)],
}

/// Writes the head of a response for the client.
pub fn response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, back: &Back<'_>) {
    status_line(out, head.status, head.reason);
    let mut has_date = false;
    copy_rest(out, head.bytes, head.fields, |field| {
        let stays = match Known::of(field.name) {
            Known::Other => {
                has_date |= field.name.len() == 4 && field.name.eq_ignore_ascii_case("date");
                true
            }
            Known::Trailer => back.framing == Framing::Chunked,
            Known::ContentLength | Known::TransferEncoding | Known::Connection => false,
            Known::HopByHop | Known::Upgrade | Known::Via => false,
            _ => true,
        };
        let is_named = head.options.names_more && is_named(head.fields, field.name);
        stays && !is_named && !is_listed(back.remove, back.set, field.name)
    });
    match (back.framing, head.length) {
        // After a HEAD, and in a 304, the length that the body would have.
        (Framing::Empty, Some(length)) if head.status >= 200 && head.status != 204 => {
            framing(out, Framing::Length(length));
        }
        (back_framing, _) => framing(out, back_framing),
    }
    if let (101, Some(protocol)) = (head.status, head.upgrade) {
        switch(out, protocol);
    } else if let Some(connection) = back.connection {
        out.extend_from_slice(b"connection: ");
        out.extend_from_slice(connection.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !has_date && head.status >= 200 {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(back.date.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in back.set {
        [name.as_str(), ": ", value.as_str(), "\r\n"]
            .iter()
            .for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    via(out, head.fields, head.seen.has(Known::Via));
    out.extend_from_slice(b"\r\n");
}

/// The first line of a response of ours or another's.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[from..]);
        }
    }
}

/// Copies the lines of the fields that stay, neighbours in one piece.
fn copy_rest(
    out: &mut Vec<u8>,
    bytes: &[u8],
    fields: &[Header<'_>],
    mut stays: impl FnMut(&Header<'_>) -> bool,
) {
    let place = |field: &Header<'_>| field.name.as_ptr() as usize - bytes.as_ptr() as usize;
    // Before the empty line.
    let last_end = bytes.len() - 2;
    let mut run: Option<usize> = None;
    for field in fields {
        match (stays(field), run) {
            (true, None) => run = Some(place(field)),
            (false, Some(start)) => {
                out.extend_from_slice(&bytes[start..place(field)]);
                run = None;
            }
            _ => {}
        }
    }
    if let Some(start) = run {
        out.extend_from_slice(&bytes[start..last_end]);
    }
}

fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose => {}
    }
}

fn switch(out: &mut Vec<u8>, protocol: &[u8]) {
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    out.extend_from_slice(protocol);
    out.extend_from_slice(b"\r\n");
}

fn via(out: &mut Vec<u8>, fields: &[Header<'_>], seen: bool) {
    list(out, fields, seen, Known::Via, b"via: ");
    out.extend_from_slice(VIA);
    out.extend_from_slice(b"\r\n");
}

/// A list field up to where the next member comes: its name and all members of all fields of that name.
fn list(out: &mut Vec<u8>, fields: &[Header<'_>], seen: bool, of: Known, name: &[u8]) {
    out.extend_from_slice(name);
    if seen {
        for value in known(fields, of).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

fn known<'f>(fields: &'f [Header<'_>], known: Known) -> impl Iterator<Item = &'f [u8]> {
    fields.iter().filter(move |field| Known::of(field.name) == known).map(|field| field.value)
}

/// RFC 7239, section 4; an IPv6 address is quoted and in brackets (section 6).
fn forwarded(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, hop: &Hop<'_>) {
    list(out, head.fields, head.seen.has(Known::Forwarded), Known::Forwarded, b"forwarded: ");
    let (open, close) = if hop.client.contains(':') { ("\"[", "]\"") } else { ("", "") };
    for part in ["for=", open, hop.client, close, ";proto=", hop.scheme] {
        out.extend_from_slice(part.as_bytes());
    }
    // A host holds nothing that would end a quoted string.
    if let Some(host) = head.host {
        [";host=\"", host, "\""].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a `Connection` field names this field, so that it ends at this hop. The two that frame and address
/// the message are never asked for: they are written anew.
fn is_named(fields: &[Header<'_>], name: &str) -> bool {
    known(fields, Known::Connection)
        .flat_map(members)
        .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

fn is_set(hop: &Hop<'_>, name: &str) -> bool {
    is_listed(hop.remove, hop.set, name)
}

fn is_listed(remove: &[String], set: &[(String, String)], name: &str) -> bool {
    let is = |listed: &str| listed.eq_ignore_ascii_case(name);
    remove.iter().any(|listed| is(listed)) || set.iter().any(|(listed, _)| is(listed))
}

/// Letters, digits and the punctuation of common id formats, so that it can go into a log as it is.
pub fn can_keep_id(id: &[u8]) -> bool {
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    !id.is_empty() && id.len() <= REQUEST_ID_MAX_BYTES && id.iter().all(plain)
}

#[cfg(test)]
mod tests;
