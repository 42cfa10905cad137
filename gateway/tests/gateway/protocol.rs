//! What HTTP/1 can do: pipelining, interim responses, leave to send a body, old versions, trailers, upgrades.

use crate::support::*;
use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};

fn all(upstream: &Upstream) -> Gateway {
    Gateway::start(&[upstream.table("u", ""), route("all", "/", "u", "")].concat())
}

/// An upstream that answers each request with these bytes.
fn raw(bytes: &'static [u8], then_close: bool) -> Upstream {
    Upstream::start(move |mut request| {
        request.body();
        let _ = request.stream().write_all(bytes);
        if then_close { Then::Close } else { Then::Keep }
    })
}

#[test]
fn requests_in_one_piece_are_answered_in_order() {
    let echo = Upstream::start(|mut request| {
        let body = request.body();
        let line = [request.head.first_line.as_bytes(), b" ", &body].concat();
        if line.starts_with(b"HEAD") {
            return request.reply(200, "", b"");
        }
        request.reply(200, "", &line)
    });
    let gateway = all(&echo);
    let mut client = gateway.client();
    let piece = "GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi\
                 \r\nPOST /3 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
                 HEAD /4 HTTP/1.1\r\nhost: x\r\n\r\nGET /nowhere%zz HTTP/1.1\r\nhost: x\r\n\r\nGET /6 HTTP/1.1\r\nhost: x\r\n\r\n";
    client.send(piece.as_bytes());
    assert_eq!(client.response(false).text(), "GET /1 HTTP/1.1 ");
    assert_eq!(client.response(false).text(), "POST /2 HTTP/1.1 hi");
    assert_eq!(client.response(false).text(), "POST /3 HTTP/1.1 x");
    assert_eq!(client.response(true).status, 200);
    assert_eq!(client.response(false).status, 400);
    assert_eq!(client.response(false).text(), "GET /6 HTTP/1.1 ");
    gateway.stop();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let shop = Upstream::named("shop");
    let gateway = all(&shop);
    let mut client = gateway.client();
    for byte in
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2;e=f\r\nhi\r\n0\r\na: b\r\n\r\n"
    {
        client.send(&[*byte]);
    }
    assert_eq!(client.response(false).text(), "shop");
    assert_eq!(client.get("/b").text(), "shop");
    gateway.stop();
}

#[test]
fn interim_responses_are_passed_on_but_not_to_http_1_0() {
    let hints = raw(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: close\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        false,
    );
    let gateway = all(&hints);
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let hint = client.head();
    assert_eq!(hint.first_line, "HTTP/1.1 103 Early Hints");
    assert_eq!((hint.get("link"), hint.get("connection")), (Some("</a.css>"), None));
    assert_eq!(client.response(false).text(), "ok");
    let old = client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.text().as_str()), (200, "ok"));
    assert!(client.is_closed());
    gateway.stop();
}

#[test]
fn leave_to_send_a_body_is_the_upstreams_to_give() {
    let choosy = Upstream::start(|mut request| {
        assert_eq!(request.head.get("expect"), Some("100-continue"));
        if request.head.first_line.contains("/no") {
            let _ = request.stream().write_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno");
            return Then::Close;
        }
        let _ = request.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let body = request.body();
        request.reply(200, "", &body)
    });
    // Longer than any test: the leave can only be the upstream's.
    let server = "[server.timeouts]\ncontinue_ms = 3600000";
    let gateway = Gateway::start_with(server, &[choosy.table("u", ""), route("all", "/", "u", "")].concat());
    let ask = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    };
    let mut client = gateway.client();
    client.send(ask("/yes").as_bytes());
    assert_eq!(client.head().first_line, "HTTP/1.1 100 Continue");
    client.send(b"hi");
    assert_eq!(client.response(false).text(), "hi");
    client.send(ask("/no").as_bytes());
    let refused = client.response(false);
    assert_eq!((refused.status, refused.head.get("connection")), (403, Some("close")));
    assert!(client.is_closed(), "whether its body comes or not is not certain any more");
    gateway.stop();
}

#[test]
fn old_versions_get_what_they_understand() {
    let chunks =
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1;x\r\n!\r\n0\r\n\r\n", false);
    let gateway = all(&chunks);
    let mut client = gateway.client();
    let old = client.ask("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!((old.head.get("transfer-encoding"), old.text().as_str()), (None, "hi!"));
    assert_eq!(old.head.get("connection"), Some("close"), "the end of the connection is that of the body");
    gateway.stop();
    let fixed = raw(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", true);
    let gateway = all(&fixed);
    let mut client = gateway.client();
    for _ in 0..2 {
        let old = client.ask("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!((old.head.get("connection"), old.text().as_str()), (Some("keep-alive"), "hi"));
    }
    gateway.stop();
}

#[test]
fn a_body_that_ends_with_its_connection_goes_on_in_chunks() {
    let open = raw(b"HTTP/1.1 200 OK\r\n\r\nall of it", true);
    let gateway = all(&open);
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(
            (response.head.get("transfer-encoding"), response.text().as_str()),
            (Some("chunked"), "all of it")
        );
    }
    gateway.stop();
}

#[test]
fn trailers_go_on() {
    let trailers = raw(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n1\r\nx\r\n0\r\ngrpc-status: 0\r\ncontent-length: 9\r\n\r\n",
        true,
    );
    let gateway = all(&trailers);
    let mut client = gateway.client();
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let head = client.head();
    assert_eq!((head.get("trailer"), head.get("connection")), (Some("grpc-status"), Some("close")));
    let mut rest = String::new();
    client.reader.read_to_string(&mut rest).expect("a body");
    assert_eq!(rest, "1\r\nx\r\n0\r\ngrpc-status:0\r\n\r\n");
    gateway.stop();
}

#[test]
fn another_protocol_is_spoken_once_both_sides_agree() {
    let chat = Upstream::start(|mut request| {
        assert_eq!(request.head.get("upgrade"), Some("websocket"));
        assert_eq!(request.head.get("connection"), Some("upgrade"));
        if request.head.first_line.contains("/no") {
            return request.reply(400, "", b"no");
        }
        let mut stream = request.stream().try_clone().expect("a stream");
        let hello =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello";
        stream.write_all(hello).expect("a gateway");
        let mut said = Vec::new();
        request.reader().read_to_end(&mut said).expect("what the client says");
        said.reverse();
        stream.write_all(&said).expect("a gateway that reads on");
        Then::Close
    });
    let gateway = all(&chat);
    let ask = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    };
    let mut client = gateway.client();
    assert_eq!(client.ask(&ask("/no")).status, 400);
    // Said at once, before the answer.
    client.send((ask("/yes") + "abc").as_bytes());
    let head = client.head();
    assert_eq!(head.first_line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!((head.get("upgrade"), head.get("connection")), (Some("websocket"), Some("upgrade")));
    client.send(b"def");
    client.reader.get_ref().shutdown(std::net::Shutdown::Write).expect("an end of one side");
    let mut said = String::new();
    client.reader.read_to_string(&mut said).expect("what the upstream says");
    assert_eq!(said, "hellofedcba");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"1xx\"}", 1.0);
    gateway.stop();
}

#[test]
fn an_upgrade_to_http_2_is_not_passed_on() {
    let shop = Upstream::named("shop");
    let gateway = all(&shop);
    let ask = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
               http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let mut client = gateway.client();
    assert_eq!(client.ask(ask).text(), "shop", "it is answered as if nothing else had been asked for");
    assert_eq!(client.get("/").text(), "shop");
    let seen = &shop.seen()[0];
    assert_eq!((seen.get("upgrade"), seen.get("connection"), seen.get("http2-settings")), (None, None, None));
    gateway.stop();
}

#[test]
fn an_upstream_may_listen_on_a_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = std::io::BufReader::new(stream);
            while let Ok(Some(_)) = Head::read(&mut reader) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix";
                reader.get_mut().write_all(answer).expect("a gateway");
            }
        }
    });
    let table = format!("[[upstream]]\nname = \"u\"\naddresses = [\"unix:{}\"]\n", path.display());
    let gateway = Gateway::start(&[table, route("all", "/", "u", "")].concat());
    let mut client = gateway.client();
    assert_eq!((client.get("/").text(), client.get("/").text()), ("unix".into(), "unix".into()));
    gateway.stop();
}

#[test]
fn the_server_as_such_can_be_asked() {
    let shop = Upstream::named("shop");
    let gateway = all(&shop);
    assert_eq!(gateway.client().ask("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").status, 200);
    assert!(shop.seen().is_empty());
    gateway.stop();
}

#[test]
fn deadlines_are_handed_on_and_kept() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = Upstream::start(move |mut request| {
        if request.head.first_line.contains("/slow") {
            let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        }
        request.reply(200, "", b"")
    });
    let gateway = all(&slow);
    let mut client = gateway.client();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nhost: x\r\ngrpc-timeout: 20S\r\n\r\n").status, 200);
    let seen = slow.seen().pop().expect("a request");
    let left = seen.get("grpc-timeout").and_then(|value| value.strip_suffix('m')).expect("milliseconds");
    assert!(left.parse::<u64>().is_ok_and(|ms| ms <= 20_000), "{left}");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    let deadline: u128 = seen.get("x-request-deadline").expect("a deadline").parse().expect("a number");
    assert!(deadline <= now + 20_000 && deadline > now - 600_000, "{deadline} at {now}");
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nhost: x\r\nx-request-deadline: 1000\r\n\r\n").status,
        504,
        "it has passed"
    );
    let late = client.ask("GET /slow HTTP/1.1\r\nhost: x\r\ngrpc-timeout: 50m\r\n\r\n");
    assert_eq!((late.status, late.text().as_str()), (504, "the request took too long"));
    release.send(()).expect("an upstream");
    gateway.stop();
}
