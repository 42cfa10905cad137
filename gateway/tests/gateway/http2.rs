//! HTTP/2 through the door, by a client that keeps to the rules; `frames.rs` has those that do not.

use crate::support::*;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

/// Runs a client to its end, within the patience of the tests.
pub fn block<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await.expect("an end in time") })
}

/// A connection that begins with HTTP/2.
pub async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    requests
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

/// Sends one request, with its body in pieces, and reads the whole answer.
pub async fn ask(
    requests: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Vec<Bytes>>,
    trailers: Option<HeaderMap>,
) -> Result<Answer, h2::Error> {
    let mut requests = requests.clone().ready().await?;
    let ends = body.is_none() && trailers.is_none();
    let (answer, mut stream) = requests.send_request(request, ends)?;
    let sending = async move {
        for piece in body.into_iter().flatten() {
            let mut piece = piece;
            while !piece.is_empty() {
                stream.reserve_capacity(piece.len());
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                // The answer may come without it.
                let Some(Ok(room)) = room else { return };
                let _ = stream.send_data(piece.split_to(room.min(piece.len())), false);
            }
        }
        let _ = match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None if !ends => stream.send_data(Bytes::new(), true),
            None => Ok(()),
        };
    };
    let reading = async {
        let (parts, mut stream) = answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
    };
    let (answer, ()) = tokio::join!(reading, sending);
    answer
}

pub fn request(method: &str, address: SocketAddr, path: &str) -> Request<()> {
    let uri = format!("http://{address}{path}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

async fn get(requests: &SendRequest<Bytes>, address: SocketAddr, path: &str) -> Answer {
    ask(requests, request("GET", address, path), None, None).await.expect("an answer")
}

fn all(upstream: &Upstream) -> Gateway {
    Gateway::start(&[upstream.table("u", ""), route("all", "/", "u", "")].concat())
}

/// An upstream that answers with what it was sent.
fn echo() -> Upstream {
    Upstream::start(|mut request| {
        let body = request.body();
        match request.head.first_line.starts_with("HEAD") {
            true => Then::Close,
            false => request.reply(200, "x-echo: yes\r\n", &body),
        }
    })
}

#[test]
fn a_request_reads_like_any_other_to_its_upstream() {
    let echo = echo();
    let gateway = all(&echo);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let mut asked = request("POST", address, "/a/../b?c=d");
        let headers = asked.headers_mut();
        headers.append("cookie", "a=1".parse().expect("a value"));
        headers.append("cookie", "b=2".parse().expect("a value"));
        headers.append("x-own", "1".parse().expect("a value"));
        let pieces = vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo")];
        let answer = ask(&requests, asked, Some(pieces), None).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.get("x-echo")),
            (200, "hello", Some("yes"))
        );
        assert!(answer.get("connection").is_none() && answer.get("date").is_some());
        let mut plain = request("PUT", address, "/");
        plain.headers_mut().insert("content-length", "2".parse().expect("a value"));
        let answer = ask(&requests, plain, Some(vec![Bytes::from_static(b"hi")]), None).await;
        assert_eq!(answer.expect("an answer").text(), "hi");
        assert_eq!(
            ask(&requests, request("POST", address, "/"), None, None).await.expect("an answer").body,
            b""
        );
    });
    let seen = echo.seen();
    assert_eq!(seen[0].first_line, "POST /b?c=d HTTP/1.1");
    let host = address.to_string();
    for (name, expect) in [
        ("host", host.as_str()),
        ("cookie", "a=1; b=2"),
        ("x-own", "1"),
        ("transfer-encoding", "chunked"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("via", "1.1 gateway"),
    ] {
        assert_eq!(seen[0].get(name), Some(expect), "{name}");
    }
    assert_eq!((seen[1].get("content-length"), seen[1].get("transfer-encoding")), (Some("2"), None));
    assert_eq!(seen[2].get("content-length"), Some("0"));
    assert_eq!(echo.connections(), 1, "one after the other, they share a connection");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"2xx\"}", 3.0);
    gateway.metric_becomes("gateway_http2_connections_total", 1.0);
    gateway.stop();
}

#[test]
fn answers_of_the_gateways_own_are_given() {
    let shop = Upstream::named("shop");
    let limit = "limit = { requests = 1, window_ms = 3600000, key = \"route\" }";
    let tables = [
        shop.table("u", ""),
        route("few", "/few", "u", limit),
        "[[route]]\nname = \"moved\"\nprefix = \"/moved\"\nredirect = { to = \"/few{rest}\" }\n".into(),
        route("posts", "/posts", "u", "methods = [\"POST\"]"),
    ];
    let server = "ready_path = \"/readyz\"\n[server.limits]\nbody_bytes = 10";
    let gateway = Gateway::start_with(server, &tables.concat());
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        assert_eq!(get(&requests, address, "/readyz").await.text(), "ready");
        assert_eq!(get(&requests, address, "/nowhere").await.status, 404);
        assert_eq!(get(&requests, address, "/few").await.text(), "shop");
        let refused = get(&requests, address, "/few").await;
        assert_eq!((refused.status, refused.get("retry-after").is_some()), (429, true));
        let moved = get(&requests, address, "/moved/a?b").await;
        assert_eq!((moved.status, moved.get("location")), (308, Some("/few/a?b")));
        assert_eq!(get(&requests, address, "/posts").await.status, 405);
        let head = ask(&requests, request("HEAD", address, "/nowhere"), None, None).await.expect("an answer");
        assert_eq!((head.status, head.body.len(), head.get("content-length")), (404, 0, Some("8")));
        let large = Some(vec![Bytes::from_static(b"eleven bytes")]);
        let refused = ask(&requests, request("POST", address, "/posts"), large, None).await;
        assert_eq!(refused.expect("an answer").status, 413);
        assert_eq!(get(&requests, address, "/readyz").await.status, 200, "the connection goes on");
    });
    gateway.stop();
}

#[test]
fn many_requests_are_under_way_at_once() {
    const MANY: usize = 40;
    let all_there = Arc::new(Barrier::new(MANY));
    let waiting = all_there.clone();
    let meeting = Upstream::start(move |mut request| {
        waiting.wait();
        let line = request.head.first_line.clone();
        request.reply(200, "", line.as_bytes())
    });
    let gateway = all(&meeting);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let tasks: Vec<_> = (0..MANY)
            .map(|n| {
                let requests = requests.clone();
                tokio::spawn(async move { get(&requests, address, &format!("/{n}")).await.text() })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.expect("an answer"), format!("GET /{n} HTTP/1.1"));
        }
    });
    gateway.metric_becomes("gateway_connections_total", 1.0);
    gateway.stop();
}

#[test]
fn large_bodies_stream_both_ways() {
    let echo = Upstream::start(|mut request| {
        // Sent back as it comes, so that nothing on the way may hold all of it.
        let mut stream = request.stream().try_clone().expect("a stream");
        let chunked = request.head.get("transfer-encoding").is_some();
        let fields = if chunked { "transfer-encoding: chunked" } else { "content-length: 8000000" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()).expect("a gateway");
        let mut piece = vec![0; 64 * 1024];
        let (mut left, mut tail) = (8_000_000, Vec::new());
        while chunked || left > 0 {
            let count = request.reader().read(&mut piece).expect("a body");
            stream.write_all(&piece[..count]).expect("a gateway");
            left -= left.min(count);
            // The last chunk may come in pieces.
            tail.extend_from_slice(&piece[..count]);
            tail.drain(..tail.len().saturating_sub(7));
            if count == 0 || chunked && tail == b"\r\n0\r\n\r\n" {
                break;
            }
        }
        Then::Close
    });
    let gateway = all(&echo);
    let address = gateway.listen;
    let body: Bytes = (0..8_000_000_u32).map(|n| (n / 251) as u8).collect();
    block(async {
        let requests = connect(address).await;
        for length in [None, Some("8000000")] {
            let mut asked = request("POST", address, "/");
            if let Some(length) = length {
                asked.headers_mut().insert("content-length", length.parse().expect("a value"));
            }
            let answer = ask(&requests, asked, Some(vec![body.clone()]), None).await.expect("an answer");
            assert_eq!(answer.body.len(), body.len());
            assert!(answer.body == body);
        }
    });
    gateway.stop();
}

#[test]
fn a_slow_reader_holds_up_nobody_else() {
    let large = Upstream::start(|mut request| {
        let size = if request.head.first_line.contains("/large") { 8_000_000 } else { 2 };
        request.reply(200, "", &vec![b'x'; size])
    });
    let gateway = all(&large);
    let address = gateway.listen;
    block(async {
        // The connection has room left while the slow stream's own is used up.
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(65_535).initial_connection_window_size(1 << 20);
        let (requests, connection) = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut slow = requests.clone().ready().await.expect("a connection");
        let (answer, _) = slow.send_request(request("GET", address, "/large"), true).expect("a request");
        let mut unread = answer.await.expect("an answer").into_body();
        for _ in 0..10 {
            assert_eq!(get(&requests, address, "/small").await.body.len(), 2);
        }
        let mut read = 0;
        while let Some(data) = unread.data().await {
            let data = data.expect("all of it");
            unread.flow_control().release_capacity(data.len()).expect("room");
            read += data.len();
        }
        assert_eq!(read, 8_000_000);
    });
    gateway.stop();
}

#[test]
fn trailers_and_interim_answers_go_on() {
    let upstream = Upstream::start(|mut request| {
        request.body();
        let answer = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
                       trailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\ncontent-length: 3\r\n\r\n";
        match request.stream().write_all(answer) {
            Ok(()) => Then::Keep,
            Err(_) => Then::Close,
        }
    });
    let gateway = all(&upstream);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let mut ready = requests.clone().ready().await.expect("a connection");
        let (mut answer, _) = ready.send_request(request("GET", address, "/"), true).expect("a request");
        let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let interim = interim.expect("an interim answer").expect("an interim answer");
        assert_eq!(
            (interim.status().as_u16(), &interim.headers()["link"]),
            (103, &"</a.css>".parse().expect("a value"))
        );
        assert_eq!(answer.await.expect("an answer").status(), 200);
        let whole = get(&requests, address, "/").await;
        let trailers = whole.trailers.as_ref().expect("trailers");
        assert_eq!((whole.text().as_str(), trailers.len()), ("abc", 1));
        assert_eq!(trailers["x-sum"], "7");
    });
    gateway.stop();
}

#[test]
fn an_answer_that_breaks_off_is_reset_and_not_ended() {
    let broken = Upstream::start(|request| {
        let _ = request.stream().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        Then::Close
    });
    let gateway = all(&broken);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let error = ask(&requests, request("GET", address, "/"), None, None).await.expect_err("a reset");
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    });
    gateway.metric_becomes("gateway_upstream_errors_total{upstream=\"u\",kind=\"broken\"}", 1.0);
    gateway.stop();
}

#[test]
fn a_request_that_is_broken_off_ends_at_its_upstream() {
    let (gone, seen_gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let waiting = Upstream::start(move |mut request| {
        let _ = request.reader().read_to_end(&mut Vec::new());
        let _ = gone.lock().expect("a channel").send(());
        Then::Close
    });
    let gateway = all(&waiting);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let mut ready = requests.clone().ready().await.expect("a connection");
        let (answer, mut stream) = ready.send_request(request("GET", address, "/"), true).expect("a request");
        while waiting.seen().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        // The client's connection goes on, and so the reset gets there.
        let gone = tokio::task::spawn_blocking(move || seen_gone.recv_timeout(PATIENCE));
        gone.await.expect("a thread").expect("the upstream's connection ends");
    });
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"4xx\"}", 1.0);
    gateway.stop();
}

#[test]
fn who_waits_for_leave_to_send_gets_it() {
    let echo = echo();
    let gateway = all(&echo);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let mut asked = request("POST", address, "/");
        asked.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        let mut ready = requests.clone().ready().await.expect("a connection");
        let (mut answer, mut stream) = ready.send_request(asked, false).expect("a request");
        let leave = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(leave.expect("leave").expect("leave").status().as_u16(), 100);
        stream.send_data(Bytes::from_static(b"hi"), true).expect("room");
        let mut body = answer.await.expect("an answer").into_body();
        assert_eq!(body.data().await.expect("a body").expect("a body"), "hi");
    });
    gateway.stop();
}

#[test]
fn a_stop_lets_requests_end_and_asks_for_no_more() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let under_way = Arc::new(AtomicUsize::new(0));
    let counted = under_way.clone();
    let slow = Upstream::start(move |mut request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        request.reply(200, "", b"late")
    });
    let tables = [slow.table("u", ""), route("all", "/", "u", "")].concat();
    let gateway = Gateway::start_with("[server.timeouts]\ndrain_ms = 120000", &tables);
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let asked = requests.clone();
        let answer = tokio::spawn(async move { get(&asked, address, "/").await.text() });
        while under_way.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let stopping = std::thread::spawn(move || gateway.stop());
        // Told to go, the client's library takes no more requests for this connection.
        while requests.clone().ready().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        release.send(()).expect("an upstream");
        assert_eq!(answer.await.expect("an answer"), "late");
        stopping.join().expect("an end");
    });
}
