//! The gateway on io_uring: what could be different there. All other tests run on it with `GATEWAY_TEST_IO=io_uring`.

use crate::support::*;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread;

/// Larger than all buffers on the way together.
const LARGE: usize = 16 * 1024 * 1024;

/// None, and says so, where the kernel lets this process have no ring.
fn gateway(tables: &str) -> Option<Gateway> {
    static IS_TO_BE_HAD: OnceLock<bool> = OnceLock::new();
    let gateway = Gateway::start_with("io = \"io_uring\"", tables);
    let has_rings = || gateway.metric("gateway_io_uring_threads") == Some(2.0);
    // A thread opens its ring when it first runs, which may be after the listeners answer.
    if *IS_TO_BE_HAD.get_or_init(|| within(PATIENCE, has_rings)) {
        until("all threads have their rings", has_rings);
        return Some(gateway);
    }
    assert!(std::env::var_os("CI").is_none(), "io_uring is to be had in CI");
    eprintln!("skipped: no io_uring here");
    gateway.stop();
    None
}

fn shop(upstream: &Upstream) -> String {
    [upstream.table("u", ""), route("all", "/", "u", "")].concat()
}

/// Head and body in one piece, so that nobody waits for an acknowledgement between them.
fn reply(request: &mut Request<'_>, body: &[u8]) -> Then {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    match request.stream().write_all(&[head.as_bytes(), body].concat()) {
        Ok(()) => Then::Keep,
        Err(_) => Then::Close,
    }
}

fn named(name: &'static str) -> Upstream {
    Upstream::start(move |mut request| reply(&mut request, name.as_bytes()))
}

/// Bytes whose order shows when any are lost or doubled.
fn large() -> Vec<u8> {
    (0..LARGE as u32 / 4).flat_map(u32::to_le_bytes).collect()
}

/// Closed until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().expect("a gate") = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let is_open = self.0.0.lock().expect("a gate");
        let (is_open, _) =
            self.0.1.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open).expect("a gate");
        assert!(*is_open, "the gate stayed closed");
    }
}

#[test]
fn requests_follow_one_another_over_both_connections() {
    let upstream = named("u");
    let Some(gateway) = gateway(&shop(&upstream)) else { return };
    let mut client = gateway.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").text(), "u");
    }
    // All at once, and one of them in pieces.
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    client.send(&request.repeat(50));
    client.send(&request[..7]);
    for _ in 0..50 {
        assert_eq!(client.response(false).text(), "u");
    }
    client.send(&request[7..]);
    assert_eq!(client.response(false).text(), "u");
    assert_eq!(upstream.connections(), 1, "it is kept");
    gateway.stop();
}

#[test]
fn bodies_larger_than_every_buffer_go_both_ways() {
    let body = Arc::new(large());
    let expect = body.clone();
    let upstream = Upstream::start(move |mut request| {
        let came = request.body();
        let status = if came == *expect || came.is_empty() { 200 } else { 500 };
        request.reply(status, "", &expect)
    });
    let Some(gateway) = gateway(&shop(&upstream)) else { return };
    for _ in 0..2 {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes());
        client.send(&body);
        let response = client.response(false);
        assert!(response.status == 200 && response.body == *body);
        let response = client.get("/");
        assert!(response.status == 200 && response.body == *body);
    }
    gateway.stop();
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    let body = Arc::new(large());
    let sent = body.clone();
    let (begun, has_begun) = mpsc::channel();
    let upstream = Upstream::start(move |request| {
        let mut stream = request.stream();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&sent[..LARGE / 8]))
            .expect("a gateway");
        let _ = begun.send(());
        stream.write_all(&sent[LARGE / 8..]).expect("a gateway");
        Then::Keep
    });
    let Some(gateway) = gateway(&shop(&upstream)) else { return };
    let mut late = gateway.client();
    late.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n");
    has_begun.recv_timeout(PATIENCE).expect("an eighth of it has left the upstream");
    assert!(late.response(false).body == *body);
    gateway.stop();
}

#[test]
fn clients_who_send_ahead_take_nothing_from_others() {
    let gate = Gate::default();
    let held = {
        let gate = gate.clone();
        Upstream::start(move |mut request| {
            gate.pass();
            reply(&mut request, b"held")
        })
    };
    let free = named("free");
    let tables = [
        held.table("h", ""),
        free.table("f", ""),
        route("held", "/held", "h", ""),
        route("free", "/", "f", ""),
    ];
    let Some(gateway) = gateway(&tables.concat()) else { return };
    // Each fills the gateway's buffer and some chunks: together, more than a ring has.
    const CLIENTS: usize = 60;
    const AHEAD: usize = 1200;
    let request = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n".repeat(AHEAD);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&request));
    until("all of them are asked for", || held.seen().len() >= CLIENTS);
    let mut other = gateway.client();
    for _ in 0..20 {
        assert_eq!(other.get("/").text(), "free");
    }
    clients.truncate(5);
    gate.open();
    for client in &mut clients {
        for _ in 0..50 {
            assert_eq!(client.response(false).text(), "held");
        }
    }
    drop(clients);
    assert_eq!(gateway.get("/").text(), "free");
    gateway.stop();
}

#[test]
fn an_upstream_that_closes_what_was_kept_is_asked_anew() {
    let upstream = Upstream::start(|mut request| {
        reply(&mut request, b"once");
        Then::Close
    });
    let Some(gateway) = gateway(&shop(&upstream)) else { return };
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "once");
    }
    gateway.stop();
}

#[test]
fn what_is_refused_is_told_before_the_connection_ends() {
    let upstream = named("u");
    let tables = [upstream.table("u", ""), route("one", "/one", "u", "")].concat();
    let Some(gateway) = gateway(&tables) else { return };
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(b"POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
        let _ = client.reader.get_mut().write_all(&[b'x'; 300_000]);
        assert_eq!(client.response(false).status, 404);
        assert!(client.is_closed());
        let mut client = gateway.client();
        client.send(b"GET /one HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut all = Vec::new();
        client.reader.read_to_end(&mut all).expect("an answer and an end");
        assert!(all.ends_with(b"\r\n\r\nu"), "{}", String::from_utf8_lossy(&all));
    }
    gateway.stop();
}

#[test]
fn a_stop_lets_the_last_answer_out() {
    let gate = Gate::default();
    let upstream = {
        let gate = gate.clone();
        Upstream::start(move |mut request| {
            gate.pass();
            reply(&mut request, b"late")
        })
    };
    let Some(gateway) = gateway(&shop(&upstream)) else { return };
    let mut clients: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    until("all of them are asked for", || upstream.seen().len() == 10);
    let stopping = thread::spawn(move || gateway.stop());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response(false).text(), "late");
        assert!(client.is_closed());
    }
    stopping.join().expect("a stop");
}
