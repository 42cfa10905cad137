//! Upstreams that speak HTTP/2, and gRPC from end to end.

use crate::http2::{ask, block, connect, request};
use crate::support::*;
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Seen = Arc<Mutex<Vec<http::request::Parts>>>;

/// A server of HTTP/2, with prior knowledge. What it does is said by the path that it is asked for.
struct Shop {
    address: SocketAddr,
    seen: Seen,
    connections: Arc<AtomicUsize>,
}

impl Shop {
    fn start() -> Shop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let shop = Shop {
            address: listener.local_addr().expect("an address"),
            seen: Seen::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (shop.seen.clone(), shop.connections.clone());
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let seen = seen.clone();
                    tokio::spawn(async move {
                        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            let (parts, body) = request.into_parts();
                            if parts.uri.path() == "/goaway" {
                                connection.graceful_shutdown();
                            }
                            seen.lock().expect("a list").push(parts.clone());
                            tokio::spawn(answer(parts, body, respond, seen.clone()));
                        }
                    });
                }
            });
        });
        shop
    }

    fn gateway(&self, more: &str) -> Gateway {
        let upstream = format!(
            "[[upstream]]\nname = \"u\"\naddresses = [\"{}\"]\nprotocol = \"http2\"\n{more}\n",
            self.address
        );
        Gateway::start(&[upstream, route("all", "/", "u", "")].concat())
    }

    fn seen(&self) -> Vec<http::request::Parts> {
        self.seen.lock().expect("a list").clone()
    }
}

async fn answer(
    parts: http::request::Parts,
    mut body: h2::RecvStream,
    mut respond: SendResponse<Bytes>,
    seen: Seen,
) {
    let path = parts.uri.path();
    let asked = seen.lock().expect("a list").iter().filter(|seen| seen.uri.path() == path).count();
    if path == "/refused" && asked == 1 {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    if path == "/broken" {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    }
    if path == "/hangs" {
        return drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await);
    }
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.ok().flatten();
    let mut response = Response::builder().header("content-type", "application/grpc");
    if path == "/only-trailers" {
        response = response.header("grpc-status", "5");
        let _ = respond.send_response(response.body(()).expect("a response"), true);
        return;
    }
    if let Some(sum) = trailers.as_ref().and_then(|trailers| trailers.get("x-sum")) {
        response = response.header("x-sum", sum);
    }
    if path == "/hints" {
        let hint = Response::builder().status(103).header("link", "</a.css>").body(()).expect("a response");
        let _ = respond.send_informational(hint);
    }
    let Ok(mut stream) = respond.send_response(response.body(()).expect("a response"), false) else { return };
    let mut bytes = Bytes::from(bytes);
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let _ = stream.send_data(bytes.split_to(room.min(bytes.len())), false);
    }
    let mut end = HeaderMap::new();
    end.insert("grpc-status", "0".parse().expect("a value"));
    let _ = stream.send_trailers(end);
}

fn call(address: SocketAddr, path: &str) -> Request<()> {
    let mut call = request("POST", address, path);
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().expect("a value"));
    headers.insert("te", "trailers".parse().expect("a value"));
    headers.insert("grpc-timeout", "60S".parse().expect("a value"));
    call
}

#[test]
fn a_call_goes_from_end_to_end() {
    let shop = Shop::start();
    let gateway = shop.gateway("");
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let message = || Some(vec![Bytes::from_static(b"\0\0\0\0\x02hi")]);
        let mut sum = HeaderMap::new();
        sum.insert("x-sum", "7".parse().expect("a value"));
        let answer =
            ask(&requests, call(address, "/shop.Shop/Buy"), message(), Some(sum)).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
        assert_eq!(answer.get("content-type"), Some("application/grpc"));
        assert_eq!(answer.get("x-sum"), Some("7"), "trailers of the request went on");
        assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
        let only = ask(&requests, call(address, "/only-trailers"), message(), None).await.expect("an answer");
        assert_eq!((only.get("grpc-status"), only.body.len()), (Some("5"), 0));
        let large: Bytes = (0..3_000_000_u32).map(|n| (n / 251) as u8).collect();
        let back = ask(&requests, call(address, "/large"), Some(vec![large.clone()]), None).await;
        assert!(back.expect("an answer").body == large);
    });
    let seen = shop.seen();
    let first = &seen[0];
    assert_eq!(first.uri.authority().map(|authority| authority.to_string()), Some(address.to_string()));
    let left = first.headers["grpc-timeout"].to_str().expect("text");
    let left: u64 = left.strip_suffix('m').and_then(|left| left.parse().ok()).expect("milliseconds");
    assert!(left <= 60_000, "{left}");
    for (name, expect) in [("te", "trailers"), ("x-forwarded-proto", "http"), ("via", "1.1 gateway")] {
        assert_eq!(first.headers.get(name).map(|value| value.as_bytes()), Some(expect.as_bytes()), "{name}");
    }
    assert_eq!(shop.connections.load(Ordering::SeqCst), 1, "all of them share a connection");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"2xx\"}", 3.0);
    gateway.stop();
}

#[test]
fn a_client_of_http_1_reaches_an_upstream_of_http_2() {
    let shop = Shop::start();
    let gateway = shop.gateway("");
    let mut client = gateway.client();
    let answer = client.ask("POST /a?b HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    let chunked = "POST /b HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n1;e\r\ny\r\n0\r\nx-sum: 9\r\n\r\n";
    let answer = client.ask(chunked);
    assert_eq!((answer.text().as_str(), answer.head.get("x-sum")), ("xy", Some("9")));
    assert_eq!(client.ask("HEAD /c HTTP/1.1\r\nhost: x\r\n\r\n").status, 200);
    client.send(b"GET /hints HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.head().get("link"), Some("</a.css>"));
    assert_eq!(client.response(false).status, 200);
    assert_eq!(gateway.client().ask("GET /old HTTP/1.0\r\n\r\n").status, 200);
    let seen = shop.seen();
    assert_eq!(seen[0].uri.to_string(), "http://shop.example/a?b");
    assert!(seen[0].headers.get("te").is_none() && seen[0].headers.get("host").is_none());
    gateway.stop();
}

#[test]
fn what_an_upstream_refuses_is_asked_for_again_and_what_breaks_is_not() {
    let shop = Shop::start();
    let gateway = shop.gateway("retry = { attempts = 1, backoff_ms = 1, budget_percent = 100 }");
    let mut client = gateway.client();
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.ask(&post("/first")).status, 200);
    let asked = |path: &str| shop.seen().iter().filter(|seen| seen.uri.path() == path).count();
    assert_eq!(
        client.ask(&post("/refused")).text(),
        "hi",
        "nothing was done with it, so that even a POST is safe"
    );
    assert_eq!(asked("/refused"), 2);
    let broken = client.ask(&post("/broken"));
    assert_eq!((broken.status, broken.text().as_str()), (502, "the upstream broke off without an answer"));
    assert_eq!(asked("/broken"), 1);
    gateway.stop();
}

#[test]
fn an_upstream_that_says_farewell_is_asked_over_another_connection() {
    let shop = Shop::start();
    let gateway = shop.gateway("");
    let mut client = gateway.client();
    assert_eq!(client.get("/goaway").status, 200, "what it took it answers");
    for _ in 0..3 {
        assert_eq!(client.get("/after").status, 200);
    }
    assert_eq!(shop.connections.load(Ordering::SeqCst), 2);
    gateway.stop();
}

#[test]
fn a_deadline_ends_a_call_in_the_words_of_grpc() {
    let shop = Shop::start();
    let gateway = shop.gateway("");
    let address = gateway.listen;
    block(async {
        let requests = connect(address).await;
        let mut late = call(address, "/hangs");
        late.headers_mut().insert("grpc-timeout", "50m".parse().expect("a value"));
        let answer =
            ask(&requests, late, Some(vec![Bytes::from_static(b"hi")]), None).await.expect("an answer");
        assert_eq!((answer.status, answer.get("grpc-status")), (200, Some("4")));
        assert_eq!(answer.get("grpc-message"), Some("the request took too long"));
        let lost = ask(&requests, call(address, "/%zz"), None, None).await.expect("an answer");
        assert_eq!((lost.status, lost.get("grpc-status")), (200, Some("13")));
    });
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"5xx\"}", 1.0);
    gateway.stop();
}

#[test]
fn health_is_asked_for_in_the_upstreams_own_protocol() {
    let shop = Shop::start();
    let gateway = shop.gateway("health = { path = \"/healthz\", interval_ms = 20, timeout_ms = 30000 }");
    until("it is asked", || shop.seen().iter().filter(|seen| seen.uri.path() == "/healthz").count() >= 3);
    let healthy = format!("gateway_instance_healthy{{upstream=\"u\",address=\"{}\"}}", shop.address);
    assert_eq!(gateway.metric(&healthy), Some(1.0));
    gateway.stop();
}
