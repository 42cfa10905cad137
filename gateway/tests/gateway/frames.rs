//! Frames of HTTP/2 that no honest client sends, each with the section of RFC 9113 that says what is to come of
//! it; `floods.rs` has those that are allowed one by one.

use crate::support::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Of a RST_STREAM, or of a GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("a code"))
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as literals that nobody remembers (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// RFC 7541, section 5.2, with a length as in section 5.1.
pub fn string(block: &mut Vec<u8>, text: &str) {
    if text.len() < 127 {
        block.push(text.len() as u8);
    } else {
        block.push(127);
        let mut left = text.len() - 127;
        while left >= 128 {
            block.push((left % 128 + 128) as u8);
            left /= 128;
        }
        block.push(left as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")];

pub fn get() -> Vec<u8> {
    block(&GET)
}

/// [`GET`] with other fields behind.
pub fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    block(&[&GET[..], more].concat())
}

/// A connection that has begun with HTTP/2, and says what its test says.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn connect(gateway: &Gateway) -> Raw {
        Raw::connect_with(gateway, &[])
    }

    /// `settings` is the payload of the first frame.
    pub fn connect_with(gateway: &Gateway, settings: &[u8]) -> Raw {
        let stream = TcpStream::connect(gateway.listen).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut raw = Raw { stream };
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        raw
    }

    /// The gateway may have closed already: then what comes back says why.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// None at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next of a kind; None when the connection ends before.
    pub fn next_of(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// The status of the answer on a stream, or the code that it was reset with.
    pub fn answer(&mut self, stream: u32) -> Option<Result<u8, u32>> {
        let is_of = |frame: &Frame| frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM);
        let frame = std::iter::from_fn(|| self.next()).find(is_of)?;
        // The first field of an answer is its status, nearly always one of the static table's.
        Some(if frame.kind == HEADERS { Ok(frame.payload[0]) } else { Err(frame.code()) })
    }
}

/// `:status` 200, 400 and 404, as the static table has them (RFC 7541, appendix A).
pub const STATUS_200: u8 = 0x88;
pub const STATUS_400: u8 = 0x8c;

pub fn start(server: &str) -> (Upstream, Gateway) {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start_with(server, &[shop.table("u", ""), route("all", "/", "u", "")].concat());
    (shop, gateway)
}

#[test]
fn faults_of_a_connection_end_it() {
    let (shop, gateway) = start("");
    let headers = |stream: u32| frame(HEADERS, WHOLE, stream, &get());
    let setting =
        |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let cases: Vec<(&str, Vec<u8>, &[u32])> = vec![
        ("4.2: a frame longer than was agreed", frame(DATA, 0, 1, &vec![0; 16_385]), &[FRAME_SIZE_ERROR]),
        ("4.3: no header block", frame(HEADERS, WHOLE, 1, &[0xff; 20]), &[COMPRESSION_ERROR]),
        (
            "4.3: a place that no table has",
            frame(HEADERS, WHOLE, 1, &[0xff, 0x80, 0x80, 0x01]),
            &[COMPRESSION_ERROR],
        ),
        (
            "4.3: another frame within a header block",
            [frame(HEADERS, END_STREAM, 1, &get()), frame(PING, 0, 0, &[0; 8])].concat(),
            &[PROTOCOL_ERROR],
        ),
        ("5.1: DATA of a stream that is idle", frame(DATA, END_STREAM, 1, b"x"), &[PROTOCOL_ERROR]),
        ("5.1: RST_STREAM of a stream that is idle", frame(RST_STREAM, 0, 1, &[0; 4]), &[PROTOCOL_ERROR]),
        (
            "5.1: WINDOW_UPDATE of a stream that is idle",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            &[PROTOCOL_ERROR],
        ),
        ("5.1.1: an even stream", headers(2), &[PROTOCOL_ERROR]),
        (
            "5.1.1: a stream below the one before",
            [headers(5), headers(3)].concat(),
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
        ("6.1: DATA of no stream", frame(DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        (
            "6.1: more padding than frame",
            [frame(HEADERS, END_HEADERS, 1, &get()), frame(DATA, PADDED, 1, &[9, 0, 0])].concat(),
            &[PROTOCOL_ERROR],
        ),
        ("6.2: HEADERS of no stream", headers(0), &[PROTOCOL_ERROR]),
        ("6.2: more padding than frame", frame(HEADERS, WHOLE | PADDED, 1, &[9, 0, 0]), &[PROTOCOL_ERROR]),
        ("6.3: PRIORITY of no stream", frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 0]), &[PROTOCOL_ERROR]),
        ("6.4: RST_STREAM of no stream", frame(RST_STREAM, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        (
            "6.4: RST_STREAM of another length",
            [frame(HEADERS, END_HEADERS, 1, &get()), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            &[FRAME_SIZE_ERROR],
        ),
        ("6.5: SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), &[PROTOCOL_ERROR]),
        ("6.5: SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), &[FRAME_SIZE_ERROR]),
        ("6.5: an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), &[FRAME_SIZE_ERROR]),
        ("6.5.2: a push that is neither on nor off", setting(2, 2), &[PROTOCOL_ERROR]),
        ("6.5.2: a window that is too large", setting(4, 1 << 31), &[FLOW_CONTROL_ERROR]),
        ("6.5.2: frames that are too small", setting(5, 16_383), &[PROTOCOL_ERROR]),
        ("6.5.2: frames that are too large", setting(5, 1 << 24), &[PROTOCOL_ERROR]),
        (
            "6.6: a push by a client",
            [headers(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get()].concat())].concat(),
            &[PROTOCOL_ERROR],
        ),
        ("6.7: PING of a stream", frame(PING, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        ("6.7: PING of another length", frame(PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR]),
        ("6.8: GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        ("6.9: a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        ("6.9: WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), &[FRAME_SIZE_ERROR]),
        (
            "6.9.1: a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            &[FLOW_CONTROL_ERROR],
        ),
        ("6.10: CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &get()), &[PROTOCOL_ERROR]),
        (
            "6.10: CONTINUATION of another stream",
            [frame(HEADERS, END_STREAM, 1, &get()), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
            &[PROTOCOL_ERROR],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, codes) in cases {
        let mut raw = Raw::connect(&gateway);
        raw.send(&bytes);
        let told = raw.next_of(GOAWAY).map(|frame| frame.code());
        if !told.is_some_and(|code| codes.contains(&code)) {
            wrong.push(format!("{name}: {told:?}"));
        }
        assert!(raw.next_of(GOAWAY).is_none(), "{name}: the connection ends");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What was whole before the fault may have been passed on, and nothing else.
    assert!(shop.seen().len() <= 3, "{:?}", shop.seen());
    assert_eq!(gateway.get("/").text(), "shop");
    gateway.stop();
}

#[test]
fn another_preface_ends_a_connection() {
    let (shop, gateway) = start("");
    let mut raw = Raw { stream: TcpStream::connect(gateway.listen).expect("a connection") };
    raw.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    raw.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(std::iter::from_fn(|| raw.next()).all(|frame| frame.kind != HEADERS));
    assert!(shop.seen().is_empty());
    gateway.stop();
}

#[test]
fn messages_that_are_malformed_are_refused_one_by_one() {
    let (shop, gateway) = start("[server.limits]\nheaders = 20");
    let without = |name: &str| {
        let rest: Vec<_> = GET.into_iter().filter(|(known, _)| *known != name).collect();
        block(&rest)
    };
    let instead = |name: &str, value: &str| {
        let fields = GET.map(|(known, old)| (known, if known == name { value } else { old }));
        block(&fields)
    };
    let post = |more: &[(&str, &str)]| block(&[&[(":method", "POST")], &GET[1..], more].concat());
    let many: Vec<_> = (0..30).map(|_| ("a", "b")).collect();
    let mut asked = 0;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("8.2.1: a name in upper case", get_with(&[("X-Own", "1")])),
        ("8.2.1: a name that is no token", get_with(&[("a b", "1")])),
        ("8.2.1: a name with a colon", get_with(&[("a:b", "1")])),
        ("8.2.1: an empty name", get_with(&[("", "1")])),
        ("8.2.1: the end of a line in a value", get_with(&[("a", "b\r\ncontent-length: 5")])),
        ("8.2.1: a NUL in a value", get_with(&[("a", "b\0c")])),
        ("8.2.1: a space before a value", get_with(&[("a", " b")])),
        ("8.2.1: a space behind a value", get_with(&[("a", "b ")])),
        ("8.2.2: Connection", get_with(&[("connection", "close")])),
        ("8.2.2: Transfer-Encoding", get_with(&[("transfer-encoding", "chunked")])),
        ("8.2.2: Upgrade", get_with(&[("upgrade", "h2c")])),
        ("8.2.2: Keep-Alive", get_with(&[("keep-alive", "5")])),
        ("8.2.2: Proxy-Connection", get_with(&[("proxy-connection", "keep-alive")])),
        ("8.2.2: TE of something else", get_with(&[("te", "gzip")])),
        ("8.3: a pseudo-header field behind a field", block(&[&[("a", "b")], &GET[..]].concat())),
        ("8.3: one that is not known", get_with(&[(":own", "1")])),
        ("8.3: one of a response", block(&[&GET[..], &[(":status", "200")]].concat())),
        ("8.3: one twice", block(&[&GET[..], &[(":path", "/b")]].concat())),
        ("8.3.1: no method", without(":method")),
        ("8.3.1: no scheme", without(":scheme")),
        ("8.3.1: no path", without(":path")),
        ("8.3.1: an empty path", instead(":path", "")),
        ("8.3.1: a path that is another form of target", instead(":path", "http://evil/")),
        ("8.3.1: a path without a slash", instead(":path", "evil")),
        ("8.3.1: an asterisk for a GET", instead(":path", "*")),
        ("8.3.1: a path with a fragment", instead(":path", "/a#b")),
        ("8.3.1: a path with a space", instead(":path", "/ HTTP/1.1")),
        ("8.3.1: a path with the end of a line", instead(":path", "/\r\nx: y")),
        ("8.3.1: no authority and no host", without(":authority")),
        ("8.3.1: an authority with a user", instead(":authority", "user@x")),
        ("8.3.1: an authority with a path", instead(":authority", "x/y")),
        ("8.3.1: another host", get_with(&[("host", "y")])),
        ("8.3.1: two hosts", get_with(&[("host", "x"), ("host", "x")])),
        ("8.3.1: a method that is no token", instead(":method", "GE T")),
        ("8.5: a tunnel", block(&[(":method", "CONNECT"), (":authority", "x:80")])),
        ("8.1.1: a length that is no number", post(&[("content-length", "+1")])),
        ("8.1.1: a length of a body that there is not", post(&[("content-length", "5")])),
        ("8.1.1: two lengths", post(&[("content-length", "0"), ("content-length", "0")])),
        ("more fields than may be", get_with(&many)),
        (
            "a trace with a body",
            block(&[&[(":method", "TRACE")], &GET[1..], &[("content-length", "1")]].concat()),
        ),
    ];
    for (name, block) in cases {
        let mut raw = Raw::connect(&gateway);
        raw.send(&frame(HEADERS, WHOLE, 1, &block));
        let is_word = |frame: &Frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY);
        let told = std::iter::from_fn(|| raw.next()).find(is_word);
        let told = told.unwrap_or_else(|| panic!("{name}: no word of it"));
        match told.kind {
            HEADERS => assert!(told.payload[0] != STATUS_200, "{name}: it was taken"),
            _ => assert_eq!((told.kind, told.code()), (RST_STREAM, PROTOCOL_ERROR), "{name}"),
        }
        raw.send(&frame(HEADERS, WHOLE, 3, &get()));
        assert_eq!(raw.answer(3), Some(Ok(STATUS_200)), "{name}: the connection goes on");
        asked += 1;
        assert_eq!(shop.seen().len(), asked, "{name}: {:?}", shop.seen());
    }
    gateway.stop();
}

#[test]
fn bodies_that_are_malformed_break_their_request_off() {
    // Reads a body to its end, so that one that breaks off is seen to.
    let (whole, seen_whole) = mpsc::channel::<usize>();
    let whole = Mutex::new(whole);
    let shop = Upstream::start(move |mut request| {
        let mut rest = Vec::new();
        let _ = request.reader().read_to_end(&mut rest);
        if rest.ends_with(b"0\r\n\r\n") {
            let _ = whole.lock().expect("a channel").send(rest.len());
        }
        Then::Close
    });
    let gateway = Gateway::start(&[shop.table("u", ""), route("all", "/", "u", "")].concat());
    let open = |more: &[(&str, &str)]| {
        let block = block(&[&[(":method", "POST")], &GET[1..], more].concat());
        frame(HEADERS, END_HEADERS, 1, &block)
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "8.1.1: less than the length",
            [open(&[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"1234")].concat(),
        ),
        (
            "8.1.1: more than the length",
            [open(&[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"123456")].concat(),
        ),
        (
            "8.1: trailers that are not the end",
            [open(&[]), frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")]))]
                .concat(),
        ),
        (
            "8.1: pseudo-header fields in trailers",
            [open(&[]), frame(DATA, 0, 1, b"x"), frame(HEADERS, WHOLE, 1, &block(&[(":path", "/")]))]
                .concat(),
        ),
        (
            "5.1: DATA behind the end",
            [open(&[]), frame(DATA, END_STREAM, 1, b"x"), frame(DATA, 0, 1, b"y")].concat(),
        ),
    ];
    for (name, bytes) in cases {
        let mut raw = Raw::connect(&gateway);
        raw.send(&bytes);
        let told = std::iter::from_fn(|| raw.next())
            .find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY))
            .unwrap_or_else(|| panic!("{name}: no word of it"));
        assert!(matches!(told.code(), PROTOCOL_ERROR | STREAM_CLOSED), "{name}: {told:?}");
        drop(raw);
        if !name.starts_with("5.1") {
            assert!(seen_whole.try_recv().is_err(), "{name}: it was passed on as if it were whole");
        }
    }
    gateway.stop();
}

#[test]
fn what_the_standard_has_ignored_is_ignored() {
    let (_shop, gateway) = start("");
    let mut raw = Raw::connect(&gateway);
    // 5.5: kinds and settings that are not known; 5.3.2: priorities; 6.9: more room for what has ended.
    raw.send(&frame(0x55, 0xff, 0, b"own"));
    raw.send(&frame(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 1]));
    raw.send(&frame(PRIORITY, 0, 7, &[0, 0, 0, 0, 9]));
    raw.send(&frame(HEADERS, WHOLE, 9, &get()));
    assert_eq!(raw.answer(9), Some(Ok(STATUS_200)));
    raw.send(&frame(WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1]));
    raw.send(&frame(PING, 0, 0, b"question"));
    let pong = raw.next_of(PING).expect("an answer");
    assert_eq!((pong.flags & ACK, pong.payload.as_slice()), (ACK, &b"question"[..]));
    // 4.3: a header block in pieces.
    let pieces = get();
    raw.send(&frame(HEADERS, END_STREAM, 11, &pieces[..5]));
    raw.send(&frame(CONTINUATION, 0, 11, &pieces[5..6]));
    raw.send(&frame(CONTINUATION, END_HEADERS, 11, &pieces[6..]));
    assert_eq!(raw.answer(11), Some(Ok(STATUS_200)));
    gateway.stop();
}

#[test]
fn a_refusal_is_told_as_what_it_is() {
    let (_shop, gateway) = start("");
    let mut raw = Raw::connect(&gateway);
    raw.send(&frame(HEADERS, WHOLE, 1, &get_with(&[("host", "y")])));
    assert_eq!(raw.answer(1), Some(Ok(STATUS_400)));
    gateway.stop();
}
