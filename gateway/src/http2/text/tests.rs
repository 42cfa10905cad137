//! What a request to an upstream is read from, and what its answer reads like in HTTP/1.

use super::*;
use http::Response;

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
