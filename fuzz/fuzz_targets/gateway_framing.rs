//! HTTP/1 as the gateway reads it: the same in any pieces, and what goes on is read as it was judged.
#![no_main]

use gateway::http1::body::{Body, Form};
use gateway::http1::buffer::Buffer;
use gateway::http1::framing::Framing;
use gateway::http1::onward::{self, Back, Hop, Target};
use gateway::http1::request;
use gateway::http1::response::{self, Asked};
use gateway::http1::scan::HeadScan;
use std::mem::MaybeUninit;

const FIELDS: usize = 64;
const BODY_MAX: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, step, bytes @ ..] = data else { return };
    let step = usize::from(*step) % 37 + 1;
    let read: fn(&[u8], usize) -> Vec<Seen> = if kind % 2 == 0 { requests } else { responses };
    let whole = read(bytes, usize::MAX);
    assert_eq!(whole, read(bytes, step), "in steps of {step}");
    for seen in &whole {
        let Seen::Message { head, framing, body, .. } = seen else { continue };
        let again = read(&[head.as_slice(), body].concat(), usize::MAX);
        let [Seen::Message { framing: same, data, left, .. }] = again.as_slice() else {
            panic!("one message became {again:?}");
        };
        assert_eq!(same, framing);
        assert_eq!(*left, 0, "something is left behind the message");
        let Seen::Message { data: before, .. } = seen else { continue };
        assert_eq!(data, before);
    }
});

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

fn requests(bytes: &[u8], step: usize) -> Vec<Seen> {
    messages(bytes, step, |bytes| {
        let mut slots = [const { MaybeUninit::uninit() }; FIELDS];
        let head = request::parse(bytes, &mut slots).ok()?;
        let hop = Hop {
            client: "192.0.2.1",
            scheme: "http",
            request_id: "own",
            forwarded: true,
            deadline: None,
            remove: &[],
            set: &[],
        };
        let mut out = Vec::new();
        onward::request(&mut out, &head, Target { path: head.path, query: head.query, host: None }, &hop);
        // The next reader is HTTP/1.1 throughout, and may take a host that HTTP/1.0 left out for empty.
        Some((out, head.framing))
    })
}

fn responses(bytes: &[u8], step: usize) -> Vec<Seen> {
    messages(bytes, step, |bytes| {
        let mut slots = [const { MaybeUninit::uninit() }; FIELDS];
        let head = response::parse(bytes, &mut slots, Asked::Other).ok()?;
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
        let mut end = 0;
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
            Ok(Some((body, data))) => seen.push(Seen::Message { head, framing, body, data, left: rest.len() }),
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
