//! Bodies that are larger than any buffer, and connections that end in the middle.

use crate::support::*;
use std::io::{Read, Write};
use std::sync::{OnceLock, mpsc};
use std::thread;

/// Larger than all buffers on the way together.
const LARGE: usize = 24 * 1024 * 1024;

/// Bytes whose order shows when any are lost or doubled.
fn large() -> &'static [u8] {
    static LARGE_BODY: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE_BODY.get_or_init(|| {
        let mut body = vec![0; LARGE];
        for (count, bytes) in body.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            bytes[..8].copy_from_slice(&count.to_le_bytes());
        }
        body
    })
}

#[test]
fn a_large_response_streams() {
    large(); // Made before any clock runs.
    let source = Upstream::start(|request| {
        let mut stream = request.stream();
        let body = large();
        let chunked = request.head.first_line.contains("/chunked");
        if chunked {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").expect("a gateway");
            for chunk in body.chunks(100_000) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).expect("a gateway");
                stream.write_all(chunk).expect("a gateway");
                stream.write_all(b"\r\n").expect("a gateway");
            }
            stream.write_all(b"0\r\n\r\n").expect("a gateway");
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("a gateway");
        }
        Then::Keep
    });
    let gateway = Gateway::start(&[source.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    for path in ["/plain", "/chunked", "/plain"] {
        let response = client.get(path);
        assert_eq!(response.body.len(), LARGE);
        assert!(response.body == large(), "{path}");
    }
    assert_eq!(source.connections(), 1, "a streamed body leaves a connection that can be kept");
    gateway.stop();
}

#[test]
fn a_response_is_passed_on_while_it_is_made() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let source = Upstream::start(move |request| {
        let mut stream = request.stream();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none").expect("a gateway");
        wait.lock().expect("a channel").recv_timeout(PATIENCE).expect("the client has read the first half");
        stream.write_all(b"two").expect("a gateway");
        Then::Keep
    });
    let gateway = Gateway::start(&[source.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    client.head();
    let mut half = [0; 3];
    client.reader.read_exact(&mut half).expect("the first half");
    assert_eq!(&half, b"one");
    go_on.send(()).expect("an upstream");
    client.reader.read_exact(&mut half).expect("the second half");
    assert_eq!(&half, b"two");
    gateway.stop();
}

#[test]
fn a_large_request_streams() {
    let (first_bytes, seen_first) = mpsc::channel::<()>();
    let sink = Upstream::start(move |mut request| {
        let mut first = [0; 1024];
        request.reader().read_exact(&mut first).expect("the first bytes");
        let _ = first_bytes.send(());
        let mut rest = vec![0; LARGE - first.len()];
        request.reader().read_exact(&mut rest).expect("the rest");
        let whole = [&first[..], &rest].concat() == large();
        request.reply(if whole { 200 } else { 500 }, "", b"")
    });
    let gateway = Gateway::start(&[sink.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    let body = large();
    client.send(format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes());
    client.send(&body[..4096]);
    seen_first.recv_timeout(PATIENCE).expect("the upstream has bytes before the client has sent them all");
    client.send(&body[4096..]);
    assert_eq!(client.response(false).status, 200);
    gateway.stop();
}

#[test]
fn a_request_that_waits_for_leave_gets_it() {
    let sink = Upstream::named("sink");
    let gateway = Gateway::start(&[sink.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().first_line, "HTTP/1.1 100 Continue");
    client.send(b"hi");
    assert_eq!(client.response(false).text(), "sink");
    gateway.stop();
}

#[test]
fn an_upstream_that_breaks_off_breaks_the_response_off() {
    let broken = Upstream::start(|request| {
        let _ = request.stream().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        Then::Close
    });
    let gateway = Gateway::start(&[broken.table("b", ""), route("all", "/", "b", "")].concat());
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    client.head();
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(rest, b"half", "the client sees that it is not whole");
    gateway.stop();
}

#[test]
fn time_runs_out_for_slow_bodies_on_both_sides() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let slow = Upstream::start(move |mut request| {
        if request.head.first_line.starts_with("POST") {
            request.body();
            return request.reply(200, "", b"");
        }
        let _ = request.stream().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        Then::Close
    });
    let timeouts = "[server.timeouts]\nrequest_ms = 2000\nresponse_header_ms = 1000";
    let gateway = Gateway::start_with(timeouts, &[slow.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    client.head();
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(rest, b"half");
    release.send(()).expect("an upstream");
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    assert_eq!(client.response(false).status, 408, "the client is to blame, not the upstream");
    gateway.stop();
}

#[test]
fn a_stop_waits_for_requests_under_way() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = Upstream::start(move |mut request| {
        let _ = wait.lock().expect("a channel").recv_timeout(PATIENCE);
        request.reply(200, "", b"whole")
    });
    let gateway = Gateway::start(&[slow.table("s", ""), route("all", "/", "s", "")].concat());
    let (mut idle, mut busy) = (gateway.client(), gateway.client());
    let listen = gateway.listen;
    busy.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    until("the request is under way", || slow.seen().len() == 1);
    let stopping = thread::spawn(move || gateway.stop());
    assert!(idle.is_closed(), "an idle connection is closed at once");
    until("the listener is closed", || std::net::TcpStream::connect(listen).is_err());
    go_on.send(()).expect("an upstream");
    assert_eq!(busy.response(false).text(), "whole");
    stopping.join().expect("a stop");
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let stuck = Upstream::start(move |_| {
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        Then::Close
    });
    let timeouts = "[server.timeouts]\ndrain_ms = 100";
    let gateway = Gateway::start_with(timeouts, &[stuck.table("s", ""), route("all", "/", "s", "")].concat());
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    until("the request is under way", || stuck.seen().len() == 1);
    gateway.stop();
    assert!(client.is_closed());
    release.send(()).expect("an upstream");
}
