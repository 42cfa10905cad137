//! Floods of frames of HTTP/2 that are allowed one by one: each has a bound, and nobody else pays for it.

use crate::frames::*;
use crate::support::*;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

#[test]
fn more_streams_than_were_agreed_are_refused() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = Upstream::start(move |mut request| {
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        request.reply(200, "", b"")
    });
    let server = "[server.limits]\nstreams = 3";
    let gateway = Gateway::start_with(server, &[slow.table("u", ""), route("all", "/", "u", "")].concat());
    let mut raw = Raw::connect(&gateway);
    let settings = raw.next_of(SETTINGS).expect("settings");
    let says = |id: u8, value: u32| {
        settings
            .payload
            .chunks(6)
            .any(|setting| setting[..2] == [0, id] && setting[2..] == value.to_be_bytes())
    };
    assert!(says(3, 3), "it says how many");
    raw.send(&frame(SETTINGS, ACK, 0, &[]));
    for stream in [1, 3, 5, 7] {
        raw.send(&frame(HEADERS, WHOLE, stream, &get()));
    }
    assert_eq!(raw.answer(7), Some(Err(REFUSED_STREAM)));
    until("the others are under way", || slow.seen().len() == 3);
    drop(release);
    assert_eq!(raw.answer(1), Some(Ok(STATUS_200)));
    gateway.stop();
}

#[test]
fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let (shop, gateway) = start("");
    let mut raw = Raw::connect(&gateway);
    let mut bytes = Vec::new();
    for n in 0..2000 {
        let stream = n * 2 + 1;
        bytes.extend_from_slice(&frame(HEADERS, WHOLE, stream, &get()));
        bytes.extend_from_slice(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    raw.send(&bytes);
    let told = raw.next_of(GOAWAY).expect("a word of it");
    assert_eq!(told.code(), ENHANCE_YOUR_CALM);
    assert!(shop.seen().len() < 500, "{} of them were asked for", shop.seen().len());
    assert_eq!(gateway.get("/").text(), "shop");
    gateway.stop();
}

#[test]
fn who_only_breaks_off_is_told_to_go() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    // Nobody ever gets an answer.
    let slow = Upstream::start(move |_| {
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        Then::Close
    });
    let gateway = Gateway::start(&[slow.table("u", ""), route("all", "/", "u", "")].concat());
    let mut raw = Raw::connect(&gateway);
    let post = block(&[&[(":method", "POST")], &GET[1..]].concat());
    let told = (0..1000).find_map(|n| {
        let stream = n * 2 + 1;
        for bytes in
            [frame(HEADERS, END_HEADERS, stream, &post), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
        {
            // It has been looked at once the question comes back.
            raw.send(&[bytes, frame(PING, 0, 0, &[0; 8])].concat());
            let told = std::iter::from_fn(|| raw.next()).find(|frame| matches!(frame.kind, PING | GOAWAY));
            if told.as_ref().is_none_or(|frame| frame.kind == GOAWAY) {
                return Some(told);
            }
            // A request is broken off once it has its connection: those that wait for one are bounded by others.
            until("the upstream has taken it", || slow.connections() > n as usize);
        }
        None
    });
    // The word may be lost to the end of the connection.
    let told = told.expect("an end");
    assert!(told.is_none_or(|told| told.code() == ENHANCE_YOUR_CALM));
    drop(release);
    gateway.stop();
}

#[test]
fn a_header_block_without_an_end_is_cut_short() {
    let (shop, gateway) = start("");
    let mut raw = Raw::connect(&gateway);
    raw.send(&frame(HEADERS, END_STREAM, 1, &get()));
    let piece = frame(CONTINUATION, 0, 1, &block(&[("a", &"b".repeat(1000))]));
    let flood = std::iter::repeat_n(piece, 20_000);
    // Twenty megabytes: far more than the sockets' buffers hold, so that who is not read is stopped.
    let taken = flood.into_iter().take_while(|piece| raw.send(piece)).count();
    assert!(taken < 20_000, "all of it was taken");
    if let Some(told) = raw.next_of(GOAWAY) {
        assert_eq!(told.code(), ENHANCE_YOUR_CALM);
    }
    assert!(shop.seen().is_empty());
    assert_eq!(gateway.get("/").text(), "shop");
    gateway.stop();
}

#[test]
fn a_header_bomb_is_refused() {
    let (shop, gateway) = start("[server.limits]\nheader_bytes = 8192");
    let mut raw = Raw::connect(&gateway);
    // Remembered once, and then named five thousand times in a byte each (RFC 7541, section 6.1).
    let mut bomb = get();
    bomb.push(0x40);
    string(&mut bomb, "a");
    string(&mut bomb, &"b".repeat(3000));
    bomb.extend_from_slice(&[0xbe; 5000]);
    raw.send(&frame(HEADERS, WHOLE, 1, &bomb));
    let told = std::iter::from_fn(|| raw.next())
        .find(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
        .expect("a word of it");
    assert!(told.kind != HEADERS || told.payload[0] != STATUS_200, "{told:?}");
    assert!(shop.seen().is_empty());
    assert_eq!(gateway.get("/").text(), "shop");
    gateway.stop();
}

#[test]
fn a_window_that_never_opens_has_its_bound() {
    let (gone, seen_gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let large = Upstream::start(move |mut request| {
        let then = request.reply(200, "", &vec![b'x'; 20_000_000]);
        let _ = gone.lock().expect("a channel").send(());
        then
    });
    let server = "[server.timeouts]\nclient_write_ms = 300";
    let gateway = Gateway::start_with(server, &[large.table("u", ""), route("all", "/", "u", "")].concat());
    // Streams begin with no room at all.
    let mut raw = Raw::connect_with(&gateway, &[0, 4, 0, 0, 0, 0]);
    raw.send(&frame(HEADERS, WHOLE, 1, &get()));
    assert_eq!(raw.answer(1), Some(Ok(STATUS_200)));
    let reset = raw.next_of(RST_STREAM).expect("an end");
    assert_eq!(reset.stream, 1);
    seen_gone.recv_timeout(PATIENCE).expect("the upstream is let go");
    gateway.stop();
}

#[test]
fn who_reads_at_last_is_heard_again() {
    // So long that nobody is heard only because the time is up.
    let (_shop, gateway) = start("[server.timeouts]\nclient_header_ms = 3600000");
    let mut raw = Raw::connect(&gateway);
    // Questions until their answers, which nobody reads, fill all that lies between.
    raw.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let question = frame(PING, 0, 0, &[0; 8]);
    let many = question.repeat(1000);
    let mut sent = 0;
    while sent < 256 << 20 {
        match raw.stream.write(&many[sent % many.len()..]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    let whole = sent.div_ceil(question.len());
    let mut last = many[sent % many.len()..][..whole * question.len() - sent].to_vec();
    last.extend_from_slice(&frame(HEADERS, WHOLE, 1, &get()));
    let mut writer = raw.stream.try_clone().expect("the same connection");
    writer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let mut reader = BufReader::with_capacity(1 << 16, raw.stream);
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&last));
        let mut answers = 0;
        let told = loop {
            let mut head = [0; 9];
            if reader.read_exact(&mut head).is_err() {
                break None;
            }
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            reader.read_exact(&mut payload).expect("a payload");
            match head[3] {
                PING => answers += 1,
                HEADERS => break Some(payload[0]),
                _ => {}
            }
        };
        assert_eq!((told, answers), (Some(STATUS_200), whole));
    });
    gateway.stop();
}

#[test]
fn who_reads_slowly_gets_the_end_of_an_answer() {
    const STEP_BYTES: usize = 40_000;
    let large = Upstream::start(|mut request| {
        let path = request.head.first_line.split(' ').nth(1).unwrap_or_default();
        let steps: usize = path[1..].parse().expect("a number");
        request.reply(200, "", &vec![b'x'; steps * STEP_BYTES])
    });
    let server = "[server.timeouts]\nclient_header_ms = 100\nclient_write_ms = 3600000\nrequest_ms = 3600000";
    let gateway = Gateway::start_with(server, &[large.table("u", ""), route("all", "/", "u", "")].concat());
    // Around what the system takes of a connection by itself (`tcp_wmem`): the end of one of them waits in the
    // gateway, and its stream has ended.
    let waiting: Vec<_> = (100..120)
        .map(|steps: usize| {
            // Streams begin with all the room that there can be, and the connection has some, too.
            let mut raw = Raw::connect_with(&gateway, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
            let path = format!("/{steps}");
            let fields = GET.map(|(name, value)| (name, if name == ":path" { &*path } else { value }));
            let more = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
            raw.send(&[more, frame(HEADERS, WHOLE, 1, &block(&fields))].concat());
            (raw, steps * STEP_BYTES)
        })
        .collect();
    // Longer than a connection may stay that has nothing to do.
    std::thread::sleep(Duration::from_secs(6));
    for (mut raw, bytes) in waiting {
        let mut body = 0;
        while body < bytes
            && let Some(frame) = raw.next_of(DATA)
        {
            body += frame.payload.len();
        }
        assert_eq!(body, bytes);
    }
    gateway.stop();
}

#[test]
fn a_connection_without_requests_ends() {
    let (_shop, gateway) = start("[server.timeouts]\nclient_header_ms = 300");
    let mut raw = Raw::connect(&gateway);
    assert_eq!(raw.next_of(GOAWAY).expect("a farewell").code(), NO_ERROR);
    while raw.next().is_some() {}
    // One that never gets so far.
    let mut half = Raw { stream: TcpStream::connect(gateway.listen).expect("a connection") };
    half.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    half.send(&PREFACE[..20]);
    while half.next().is_some() {}
    gateway.stop();
}
