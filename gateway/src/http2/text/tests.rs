//! What a request of HTTP/2 reads like in HTTP/1, what has no such reading, and the way back.

use super::*;

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        request = request.header(*name, value);
    }
    request.body(()).expect("a request").into_parts().0
}

#[track_caller]
fn written(parts: &request::Parts, ends: bool, expect: &str, carried: Carried) {
    let mut out = Vec::new();
    assert_eq!(request(&mut out, parts, ends), Ok(carried));
    assert_eq!(String::from_utf8_lossy(&out), expect);
}

#[track_caller]
fn refused(parts: &request::Parts, ends: bool, expect: BadRequest) {
    assert_eq!(request(&mut Vec::new(), parts, ends), Err(expect), "{parts:?}");
}

#[test]
fn a_request_is_written() {
    written(
        &parts("GET", "https://shop.example:8443/a/b?c=d", &[("x", "y"), ("te", "trailers")]),
        true,
        "GET /a/b?c=d HTTP/1.1\r\nhost: shop.example:8443\r\nx: y\r\nte: trailers\r\n\r\n",
        Carried::Nothing,
    );
    written(
        &parts("POST", "http://x/", &[("content-length", "5"), ("host", "X")]),
        false,
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n",
        Carried::Length(5),
    );
    written(
        &parts("POST", "/", &[("host", "x")]),
        false,
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        Carried::Chunks,
    );
    written(
        &parts("PUT", "http://x/", &[]),
        true,
        "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        Carried::Nothing,
    );
    written(
        &parts("GET", "http://x/", &[("cookie", "a=1"), ("y", "z"), ("cookie", "b=2")]),
        true,
        "GET / HTTP/1.1\r\nhost: x\r\ny: z\r\ncookie: a=1; b=2\r\n\r\n",
        Carried::Nothing,
    );
}

#[test]
fn what_would_be_read_otherwise_is_refused() {
    refused(&parts("CONNECT", "x:80", &[]), true, BadRequest::Tunnel);
    refused(&parts("GET", "http://x/", &[("host", "y")]), true, BadRequest::TwoHosts);
    refused(&parts("GET", "/", &[("host", "x"), ("host", "x")]), true, BadRequest::TwoHosts);
    refused(&parts("GET", "http://x/", &[("a", " b")]), true, BadRequest::BadValue);
    refused(&parts("GET", "http://x/", &[("a", "b\t")]), true, BadRequest::BadValue);
    let bad_length = BadRequest::Framing(BadFraming::BadLength);
    refused(&parts("POST", "http://x/", &[("content-length", "5")]), true, bad_length);
    refused(&parts("POST", "http://x/", &[("content-length", "+5")]), false, bad_length);
}

#[test]
fn a_response_is_read_back() {
    let read = |head: &str, asked_head| {
        let (response, carried) = read_response(head.as_bytes(), asked_head).expect(head);
        let names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
        (response.status().as_u16(), names.join(" "), carried)
    };
    let length = "HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    assert_eq!(read(length, false), (200, "x-a content-length".into(), Carried::Length(5)));
    assert_eq!(read(length, true).2, Carried::Nothing, "after a HEAD");
    let chunked = "HTTP/1.1 404 \r\ntransfer-encoding: chunked\r\ntrailer: sum\r\n\r\n";
    assert_eq!(read(chunked, false), (404, "trailer".into(), Carried::Chunks));
    assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n", false).2, Carried::Nothing);
    assert_eq!(read("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", false).0, 103);
    let (trailed, _) = read_response(b"HTTP/1.1 200 OK\r\na:  b \r\n\r\n", false).expect("a response");
    assert_eq!(trailed.headers()["a"], "b");
}

#[test]
fn a_request_is_read_back_and_a_response_written() {
    let head =
        b"POST /a?b HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\nvia: 1.1 gateway\r\n\r\n";
    let (asked, carried) = read_request(head, "own:80").expect("a request");
    assert_eq!((asked.uri().to_string().as_str(), carried), ("http://shop.example/a?b", Carried::Chunks));
    assert!(asked.headers().get(header::HOST).is_none() && asked.headers().contains_key(header::VIA));
    let (own, _) = read_request(b"GET / HTTP/1.1\r\nhost: \r\n\r\n", "own:80").expect("a request");
    assert_eq!(own.uri().authority().map(|authority| authority.as_str()), Some("own:80"));

    let answer = |status: u16, fields: &[(&str, &str)], ends, asked_head| {
        let mut builder = Response::builder().status(status);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).expect("a response").into_parts();
        let mut out = Vec::new();
        let carried = response(&mut out, &parts, ends, asked_head);
        (String::from_utf8(out).expect("text"), carried)
    };
    let grpc = answer(200, &[("content-type", "application/grpc")], false, false);
    let text = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(grpc, (text.into(), Carried::Chunks));
    let ended = answer(200, &[("grpc-status", "5")], true, false);
    let text = "HTTP/1.1 200 OK\r\ngrpc-status: 5\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ended, (text.into(), Carried::Nothing));
    assert_eq!(answer(200, &[("content-length", "9")], true, true).1, Carried::Nothing);
    assert_eq!(answer(304, &[], true, false).0, "HTTP/1.1 304 Not Modified\r\n\r\n");
}
