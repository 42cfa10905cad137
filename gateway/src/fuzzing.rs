//! What has to hold for any bytes: the properties of the fuzz targets `gateway_framing` and `gateway_http2`, and of
//! tests that need no fuzzer.

#![allow(clippy::panic, reason = "a property that does not hold ends the process, as it should")]

use crate::http1::body::{Body, Form};
use crate::http1::buffer::Buffer;
use crate::http1::framing::Framing;
use crate::http1::onward::{self, Back, Hop, Target};
use crate::http1::request;
use crate::http1::response::{self, Asked};
use crate::http1::scan::HeadScan;
use crate::http2::hpack::Decoder;
use crate::http2::request::RequestText;
use crate::http2::{Carried, take_frames};
use std::mem::MaybeUninit;

const FIELDS: usize = 64;
/// What goes on has some more.
const FIELDS_ONWARD: usize = 96;
const BODY_MAX: u64 = 1 << 20;
const HEADER_BYTES: usize = 32 * 1024;

/// Messages are read alike in any pieces, and what goes on of them is read as it was judged. The first byte says
/// whether they are requests or responses, the second how large the pieces are.
///
/// # Panics
///
/// When it does not hold.
pub fn framing(data: &[u8]) {
    let [kind, step, bytes @ ..] = data else { return };
    let step = usize::from(*step) % 37 + 1;
    let read: fn(&[u8], usize, usize) -> Vec<Seen> = if kind % 2 == 0 { requests } else { responses };
    let whole = read(bytes, usize::MAX, FIELDS);
    assert_eq!(whole, read(bytes, step, FIELDS), "in steps of {step}");
    for seen in &whole {
        let Seen::Message { head, framing, body, .. } = seen else { continue };
        let again = read(&[head.as_slice(), body].concat(), usize::MAX, FIELDS_ONWARD);
        let [Seen::Message { framing: same, data, left, .. }] = again.as_slice() else {
            panic!("one message became {again:?}");
        };
        assert_eq!(same, framing);
        assert_eq!(*left, 0, "something is left behind the message");
        let Seen::Message { data: before, .. } = seen else { continue };
        assert_eq!(data, before);
    }
}

/// A request of HTTP/2 becomes one request of HTTP/1, that of its pseudo-header fields and with no more fields than
/// it had; or it is refused. And no frames break a connection. The first byte says whether the request has a body, and
/// whether a header block follows, or frames; else the first line has method, authority and path, each other line a
/// field.
///
/// # Panics
///
/// When it does not hold.
pub fn http2(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    if kind & 4 != 0 {
        return take_frames(bytes);
    }
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if kind & 2 != 0 {
        let tell = |name: &[u8], value: &[u8]| {
            fields.push((name.to_vec(), value.to_vec()));
            fields.len() < FIELDS
        };
        if Decoder::default().decode(bytes, tell).is_err() {
            return;
        }
    } else {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let mut words = lines.next().unwrap_or_default().splitn(3, |byte| *byte == b' ');
        fields.push((b":scheme".to_vec(), b"http".to_vec()));
        for name in [":method", ":authority", ":path"] {
            fields.extend(words.next().map(|word| (name.into(), word.to_vec())));
        }
        for line in lines.take(FIELDS) {
            let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            fields.push((line[..at].to_vec(), line.get(at + 1..).unwrap_or_default().to_vec()));
        }
    }
    let mut request = RequestText::default();
    request.begin(HEADER_BYTES);
    let taken = fields.iter().take_while(|(name, value)| request.field(name, value)).count();
    let Ok(carried) = request.end(kind & 1 == 0) else { return };
    assert_eq!(taken, fields.len());
    let out = request.text();
    let scanned = HeadScan::default().advance(out);
    assert_eq!(scanned, Ok(Some(out.len())), "the head ends elsewhere: {}", String::from_utf8_lossy(out));
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_ONWARD];
    let Ok(head) = request::parse(out, &mut slots) else { return };
    let of = |name: &str| {
        let mut values =
            fields.iter().filter(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice());
        (values.next(), values.next())
    };
    assert_eq!(of(":method"), (Some(head.method.as_bytes()), None));
    let path = match head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.to_owned(),
    };
    assert_eq!(of(":path"), (Some(path.as_bytes()), None));
    let (authority, host) = (of(":authority").0, of("host").0);
    assert_eq!(head.host.map(str::as_bytes), authority.or(host));
    assert!(
        authority.is_none()
            || host.is_none_or(|host| authority.is_some_and(|is| is.eq_ignore_ascii_case(host)))
    );
    // A host and a framing may have been added.
    assert!(head.fields.len() <= fields.len() + 2);
    match carried {
        Carried::Nothing => assert!(matches!(head.framing, Framing::Empty | Framing::Length(0))),
        Carried::Length(length) => assert_eq!(head.framing, Framing::Length(length)),
        Carried::Chunks => assert_eq!(head.framing, Framing::Chunked),
    }
    assert!(head.upgrade.is_none() && !head.options.close && !head.options.names_more);
}

#[derive(Debug, PartialEq)]
enum Seen {
    Message {
        /// As it goes on.
        head: Vec<u8>,
        framing: Framing,
        /// As it goes on, framing and all.
        body: Vec<u8>,
        data: u64,
        /// Bytes behind it; only looked at when it was the last.
        left: usize,
    },
    Refused,
    Unfinished,
}

fn requests(bytes: &[u8], step: usize, fields: usize) -> Vec<Seen> {
    messages(bytes, step, |bytes| {
        let mut slots = [const { MaybeUninit::uninit() }; FIELDS_ONWARD];
        let head = request::parse(bytes, &mut slots[..fields]).ok()?;
        let hop = Hop {
            client: "192.0.2.1",
            scheme: "http",
            request_id: "own",
            forwarded: true,
            deadline: None,
            trailers: false,
            remove: &[],
            set: &[],
            traced: None,
        };
        let mut out = Vec::new();
        onward::request(&mut out, &head, Target { path: head.path, query: head.query, host: None }, &hop);
        Some((out, head.framing))
    })
}

fn responses(bytes: &[u8], step: usize, fields: usize) -> Vec<Seen> {
    messages(bytes, step, |bytes| {
        let mut slots = [const { MaybeUninit::uninit() }; FIELDS_ONWARD];
        let head = response::parse(bytes, &mut slots[..fields], Asked::Other).ok()?;
        let mut out = Vec::new();
        let back = Back { framing: head.framing, connection: None, date: "now", remove: &[], set: &[] };
        onward::response(&mut out, &head, &back);
        (head.framing != Framing::UntilClose).then_some((out, head.framing))
    })
}

fn messages(bytes: &[u8], step: usize, parse: impl Fn(&[u8]) -> Option<(Vec<u8>, Framing)>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && seen.len() < 16 {
        let mut scan = HeadScan::default();
        let mut end: usize = 0;
        let length = loop {
            end = end.saturating_add(step).min(rest.len());
            match scan.advance(&rest[..end]) {
                Ok(Some(length)) => break length,
                Ok(None) if end < rest.len() => {}
                Ok(None) => {
                    seen.push(Seen::Unfinished);
                    return seen;
                }
                Err(_) => {
                    seen.push(Seen::Refused);
                    return seen;
                }
            }
        };
        let Some((head, framing)) = parse(&rest[..length]) else {
            seen.push(Seen::Refused);
            return seen;
        };
        rest = &rest[length..];
        match body(framing, &mut rest, step) {
            Ok(Some((body, data))) => {
                seen.push(Seen::Message { head, framing, body, data, left: rest.len() })
            }
            Ok(None) => {
                seen.push(Seen::Unfinished);
                return seen;
            }
            Err(()) => {
                seen.push(Seen::Refused);
                return seen;
            }
        }
    }
    seen
}

/// The body as it goes on, and how much of it is data; takes its bytes off `rest`.
fn body(framing: Framing, rest: &mut &[u8], step: usize) -> Result<Option<(Vec<u8>, u64)>, ()> {
    let all = *rest;
    let mut body = Body::new(framing, Form::Same, BODY_MAX).map_err(|_| ())?;
    let mut buffer = Buffer::new(1024);
    let (mut out, mut read) = (Vec::new(), 0);
    loop {
        body.judge(&mut buffer).map_err(|_| ())?;
        if buffer.has_pending() {
            out.extend_from_slice(buffer.pending());
            buffer.sent(buffer.pending().len());
        } else if body.is_done() {
            // What was read beyond it is the next message's.
            *rest = &all[read - buffer.unjudged().len()..];
            return Ok(Some((out, body.data_bytes)));
        } else if read == all.len() {
            return Ok(None);
        } else {
            buffer.compact();
            let bytes = step.min(all.len() - read);
            buffer.grow(buffer.unjudged().len() + bytes);
            buffer.free()[..bytes].copy_from_slice(&all[read..read + bytes]);
            buffer.filled(bytes);
            read += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const SEEDS: [&str; 6] = [
        "GET /a?b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nsum: 1\r\nhost: y\r\n\r\n",
        "GET http://a.b:80/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade, x-a\r\nUpgrade: u\r\nx-a: 1\r\nVia: 1.0 q\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcHTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\ngrpc-status: 0\r\n\r\nHTTP/1.0 204 X\r\n\r\n",
    ];

    const REQUESTS: [&str; 3] = [
        "GET x.example:80 /a?b\naccept:*/*\ncookie:a=1\ncookie:b=2\nx:y",
        "POST x /\ncontent-length:5\nte:trailers\nhost:x",
        "PUT x /a/b\nhost:x\nexpect:100-continue\nx-a:b",
    ];

    /// Bytes that are replaced, put in or taken out, each at its place.
    fn with_faults(text: &str, faults: &[(u16, u8, u8)]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for (at, byte, how) in faults {
            let at = usize::from(*at) % bytes.len();
            match how {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn framing_holds_for_seeds_with_faults(
            seed in 0usize..6,
            kind in 0u8..2,
            step in any::<u8>(),
            faults in prop::collection::vec((any::<u16>(), prop::sample::select(b"\r\n:; 0159aA,\0\x0b-".to_vec()), 0u8..3), 0..4),
        ) {
            let bytes = with_faults(SEEDS[seed], &faults);
            super::framing(&[&[kind, step][..], &bytes].concat());
        }

        #[test]
        fn translation_holds_for_seeds_with_faults(
            seed in 0usize..3,
            kind in any::<u8>(),
            faults in prop::collection::vec((any::<u16>(), prop::sample::select(b"\r\n:; 0/aA,\0\t-?#@*".to_vec()), 0u8..3), 0..4),
        ) {
            let bytes = with_faults(REQUESTS[seed], &faults);
            super::http2(&[&[kind & 1][..], &bytes].concat());
            super::http2(&[&[kind & 1 | 2][..], &bytes].concat());
            super::http2(&[&[kind | 4][..], &bytes].concat());
        }
    }
}
