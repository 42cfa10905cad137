//! Upstreams that close early, answer twice, answer before the request ends, send garbage, or hang.

use crate::support::*;
use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};

fn all(upstream: &Upstream) -> Gateway {
    Gateway::start(&[upstream.table("u", ""), route("all", "/", "u", "")].concat())
}

#[test]
fn an_answer_without_one_reading_is_a_502() {
    static ANSWERS: [(&str, &str); 13] = [
        // At hand with the head, so that nothing has been sent yet.
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "the upstream broke off its response",
        ),
        ("SSH-2.0-x\r\n\r\n", "the upstream's answer makes no sense"),
        ("HTTP/2 200\r\n\r\n", "the upstream's answer makes no sense"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "the upstream's answer makes no sense"),
        ("HTTP/1.1 200 OK\ncontent-length: 0\n\n", "a line of the upstream's answer does not end in CR LF"),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "a field name of the upstream's answer is not valid"),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", "a field name of the upstream's answer is not valid"),
        ("HTTP/1.1 200 OK\r\na: \0\r\n\r\n", "a field value of the upstream's answer is not valid"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            "the upstream's answer has no certain end",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
            "the upstream's answer has no certain end",
        ),
        ("HTTP/1.1 101 X\r\nupgrade: y\r\n\r\n", "the upstream changed to a protocol that nobody asked for"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "the upstream's answer makes no sense"),
        ("", "the upstream broke off without an answer"),
    ];
    let odd = Upstream::start(|request| {
        let number: usize =
            request.head.first_line.split(['/', ' ']).nth(2).expect("a number").parse().expect("a number");
        let _ = request.stream().write_all(ANSWERS[number].0.as_bytes());
        Then::Close
    });
    let gateway = all(&odd);
    let mut client = gateway.client();
    for (number, (answer, reason)) in ANSWERS.iter().enumerate() {
        let response = client.get(&format!("/{number}"));
        assert_eq!((response.status, response.text().as_str()), (502, *reason), "{answer:?}");
    }
    gateway.metric_becomes(
        "gateway_upstream_errors_total{upstream=\"u\",kind=\"broken\"}",
        ANSWERS.len() as f64,
    );
    gateway.stop();
}

#[test]
fn what_comes_behind_an_answer_is_never_the_next_one() {
    let twice = Upstream::start(|request| {
        let name = &request.head.first_line;
        let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // In one piece: what comes later than the next request, nobody could tell from its answer.
        match request.stream().write_all((answer(name) + &answer("smuggled")).as_bytes()) {
            Ok(()) => Then::Keep,
            Err(_) => Then::Close,
        }
    });
    let gateway = all(&twice);
    let mut client = gateway.client();
    for n in 0..5 {
        assert_eq!(client.get(&format!("/{n}")).text(), format!("GET /{n} HTTP/1.1"));
    }
    gateway.stop();
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on() {
    let early = Upstream::start(|mut request| {
        let _ = request.reply(413, "", b"too much");
        // What still comes is not read.
        Then::Close
    });
    let gateway = all(&early);
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nsome");
    let response = client.response(false);
    assert_eq!((response.status, response.text().as_str()), (413, "too much"));
    assert_eq!(response.head.get("connection"), Some("close"));
    gateway.stop();
}

#[test]
fn both_ways_are_open_at_once() {
    let echo = Upstream::start(|mut request| {
        let mut stream = request.stream().try_clone().expect("a stream");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").expect("a gateway");
        let mut bytes = [0; 3];
        for _ in 0..2 {
            request.reader().read_exact(&mut bytes).expect("a part of the request");
            stream.write_all(&bytes).expect("a gateway");
        }
        Then::Keep
    });
    let gateway = all(&echo);
    let mut client = gateway.client();
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n");
    client.head();
    let mut bytes = [0; 3];
    for part in [b"one", b"two"] {
        client.send(part);
        client.reader.read_exact(&mut bytes).expect("a part of the answer");
        assert_eq!(&bytes, part);
    }
    assert_eq!(echo.connections(), 1);
    gateway.stop();
}

/// Says some of an answer, or nothing, and then holds the connection until it is told to let go.
fn hanging() -> (Upstream, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::start(move |request| {
        let mut stream: &std::net::TcpStream = request.stream();
        let answer: &[u8] = match request.head.first_line.split(' ').nth(1) {
            Some("/head") => b"HTTP/1.1 200 OK\r\ncontent-le",
            Some("/body") => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            _ => b"",
        };
        let _ = stream.write_all(answer);
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        Then::Close
    });
    (upstream, release)
}

/// A gateway with one short bound, so that on a slow machine no other runs out first.
fn bounded(bound: &str, upstream: &Upstream) -> Gateway {
    let timeouts = format!("[server.timeouts]\n{bound}");
    Gateway::start_with(&timeouts, &[upstream.table("u", ""), route("all", "/", "u", "")].concat())
}

#[test]
fn an_upstream_that_hangs_has_its_bounds() {
    let (hanging, release) = hanging();
    let gateway = bounded("response_header_ms = 100", &hanging);
    for path in ["/nothing", "/head"] {
        let response = gateway.get(path);
        let seen = (response.status, response.text());
        assert_eq!(seen, (504, "no answer from the upstream in time".into()), "{path}");
    }
    gateway.metric_becomes("gateway_timeouts_total{phase=\"response_header\"}", 2.0);
    gateway.metric_becomes("gateway_upstream_phase_seconds_count{upstream=\"u\",phase=\"connect\"}", 2.0);
    gateway.metric_becomes("gateway_upstream_phase_seconds_count{upstream=\"u\",phase=\"first_byte\"}", 0.0);
    gateway.stop();
    let gateway = bounded("response_body_ms = 100", &hanging);
    let mut client = gateway.client();
    client.send(b"GET /body HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.head().first_line, "HTTP/1.1 200 OK");
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(rest, b"half", "it breaks off");
    gateway.stop();
    for _ in 0..4 {
        let _ = release.send(());
    }
}

#[test]
fn an_upstream_that_takes_nothing_has_its_bound() {
    let (hanging, release) = hanging();
    let gateway = bounded("upstream_write_ms = 200", &hanging);
    let mut client = gateway.client();
    let mut writer = client.reader.get_ref().try_clone().expect("a stream");
    // More than all buffers on the way hold.
    let sending = std::thread::spawn(move || {
        let _ = writer.write_all(b"POST /full HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n");
        let piece = vec![0; 1_000_000];
        while writer.write_all(&piece).is_ok() {}
    });
    let mut answer = Vec::new();
    let _ = client.reader.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    // The answer may be lost to a reset, since the client still sends.
    assert!(
        text.is_empty() || text.contains("504") && text.contains("did not take the request in time"),
        "{text}"
    );
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"5xx\"}", 1.0);
    sending.join().expect("an end");
    let _ = release.send(());
    gateway.stop();
}

#[test]
fn a_client_that_is_slow_has_its_bounds() {
    let (hanging, release) = hanging();
    let gateway = bounded("client_header_ms = 3000\nclient_body_ms = 100", &hanging);
    let mut idle = gateway.client();
    let mut client = gateway.client();
    client.send(b"GET /a HTTP/1.1\r\nhost:");
    let mut slow = gateway.client();
    slow.send(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    let response = slow.response(false);
    assert_eq!((response.status, response.text().as_str()), (408, "the request body took too long"));
    let response = client.response(false);
    assert_eq!((response.status, response.text().as_str()), (408, "the head of the request took too long"));
    assert!(client.is_closed());
    assert!(idle.is_closed(), "a connection without a request ends without a word");
    let _ = release.send(());
    gateway.stop();
}

#[test]
fn a_client_that_leaves_ends_its_exchange() {
    let (gone, seen_gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let waiting = Upstream::start(move |mut request| {
        let _ = request.reader().read_to_end(&mut Vec::new());
        let _ = gone.lock().expect("a channel").send(());
        Then::Close
    });
    let gateway = all(&waiting);
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    until("the request is under way", || waiting.seen().len() == 1);
    drop(client);
    seen_gone.recv_timeout(PATIENCE).expect("the upstream's connection ends");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"4xx\"}", 1.0);
    gateway.stop();
}
