//! The heads that go on, as whole texts.

use super::*;
use crate::http1::response::Asked;
use crate::http1::{request as requests, response as responses};
use proptest::prelude::*;
use std::mem::MaybeUninit;

const HOP: Hop<'_> = Hop {
    client: "192.0.2.7",
    scheme: "http",
    request_id: "made-here",
    forwarded: false,
    deadline: None,
    trailers: false,
    remove: &[],
    set: &[],
    traced: None,
};

fn onward(text: &str, hop: &Hop<'_>) -> String {
    let mut slots = [const { MaybeUninit::uninit() }; 64];
    let head = requests::parse(text.as_bytes(), &mut slots).expect(text);
    let mut out = Vec::new();
    let target = Target { path: head.path, query: head.query, host: None };
    request(&mut out, &head, target, hop);
    String::from_utf8(out).expect("text")
}

const ADDED: &str = "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http\r\nx-forwarded-host: x\r\nvia: 1.1 gateway\r\nx-request-id: made-here\r\n\r\n";

#[track_caller]
fn check(fields: &str, expect: &str) {
    let text = format!("GET /a?b HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(onward(&text, &HOP), format!("GET /a?b HTTP/1.1\r\n{expect}"), "{fields:?}");
}

#[test]
fn a_request_learns_of_this_hop() {
    check("Host: x\r\nAccept:  */* \r\n", &format!("host: x\r\nAccept:  */* \r\n{ADDED}"));
    check(
        "host: x\r\ncontent-length: 5\r\na: 1\r\n",
        &format!("host: x\r\na: 1\r\ncontent-length: 5\r\n{ADDED}"),
    );
    check(
        "a: 1\r\nhost: x\r\ntransfer-encoding:Chunked\r\ntrailer: sum\r\n",
        &format!("host: x\r\na: 1\r\ntrailer: sum\r\ntransfer-encoding: chunked\r\n{ADDED}"),
    );
}

#[test]
fn what_ends_at_this_hop_goes() {
    check(
        "host: x\r\nconnection: keep-alive, X-Private,,Host , content-length\r\nConnection: other\r\n\
         x-private: 1\r\nother: 2\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
         proxy-authorization: secret\r\nproxy-authenticate: basic\r\nte: trailers\r\ntrailer: x\r\n\
         upgrade: websocket\r\ncontent-length: 3\r\nauthorization: kept\r\n",
        &format!("host: x\r\nauthorization: kept\r\ncontent-length: 3\r\n{ADDED}"),
    );
}

#[test]
fn what_earlier_hops_said_is_kept_or_replaced() {
    check(
        "host: x\r\nvia: 1.0 a\r\nvia: 1.1 b\r\nx-forwarded-for: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
         x-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-request-id: ab-12_3\r\nforwarded: for=10.0.0.1\r\n",
        "host: x\r\nx-forwarded-for: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7\r\nx-forwarded-proto: http\r\n\
         x-forwarded-host: x\r\nforwarded: for=10.0.0.1, for=192.0.2.7;proto=http;host=\"x\"\r\n\
         via: 1.0 a, 1.1 b, 1.1 gateway\r\nx-request-id: ab-12_3\r\n\r\n",
    );
    for id in ["", "a b", "a\"b", &"a".repeat(129), "\u{e9}"] {
        check(&format!("host: x\r\nx-request-id: {id}\r\n"), &format!("host: x\r\n{ADDED}"));
    }
    check("host: x\r\nconnection: x-request-id\r\nx-request-id: mine\r\n", &format!("host: x\r\n{ADDED}"));
}

#[test]
fn upgrades_expectations_and_deadlines_go_on() {
    let text =
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ngrpc-timeout: 9S\r\n\r\n";
    let deadline = Some(Deadline { unix_ms: 1_700_000_000_123, left_ms: 250 });
    let hop = Hop { deadline, forwarded: true, client: "2001:db8::1", ..HOP };
    let got = onward(text, &hop);
    assert!(got.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{got}");
    assert!(got.contains("\r\nx-request-deadline: 1700000000123\r\ngrpc-timeout: 250m\r\n"), "{got}");
    assert!(got.contains("\r\nforwarded: for=\"[2001:db8::1]\";proto=http;host=\"x\"\r\n"), "{got}");
    let text = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
    assert!(onward(text, &HOP).contains("\r\nexpect: 100-continue\r\n"));
    let text = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n";
    assert!(!onward(text, &HOP).contains("expect"));
}

#[test]
fn a_route_removes_and_sets_fields() {
    let (remove, set) = (["Cookie".to_owned()], [("x-team".to_owned(), "shop".to_owned())]);
    let hop = Hop { remove: &remove, set: &set, ..HOP };
    let got = onward("GET / HTTP/1.1\r\nhost: x\r\ncookie: a\r\nX-Team: evil\r\n\r\n", &hop);
    assert!(
        !got.contains("cookie") && !got.contains("evil") && got.contains("\r\nx-team: shop\r\n"),
        "{got}"
    );
}

#[test]
fn a_request_that_is_followed_goes_on_from_our_span() {
    let came = "Parent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let text = format!("GET / HTTP/1.1\r\nhost: x\r\nTrace{came}\r\ntracestate: a=1\r\nx-b: 1\r\n\r\n");
    assert!(onward(&text, &HOP).contains(&format!("\r\nTrace{came}\r\n")), "as it came");
    let ours = b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01";
    let hop = Hop { traced: Some(Onward { parent: ours, begins: false }), ..HOP };
    let got = onward(&text, &hop);
    let ours = std::str::from_utf8(ours).expect("text");
    assert!(got.contains(&format!("\r\ntraceparent: {ours}\r\n")) && !got.contains("00f067aa"), "{got}");
    assert!(got.contains("\r\ntracestate: a=1\r\nx-b: 1\r\n"), "{got}");
    let begun = hop.traced.map(|traced| Onward { begins: true, ..traced });
    let got = onward(&text, &Hop { traced: begun, ..hop });
    assert!(!got.contains("tracestate") && got.contains("\r\nx-b: 1\r\n"), "{got}");
}

fn backward(text: &str, asked: Asked, form: Option<Framing>, connection: Option<&'static str>) -> String {
    let mut slots = [const { MaybeUninit::uninit() }; 16];
    let head = responses::parse(text.as_bytes(), &mut slots, asked).expect(text);
    let mut out = Vec::new();
    let framing = form.unwrap_or(head.framing);
    let back = Back { framing, connection, date: "Thu, 01 Jan 1970 00:00:00 GMT", remove: &[], set: &[] };
    response(&mut out, &head, &back);
    String::from_utf8(out).expect("text")
}

#[test]
fn a_response_loses_its_hop_and_gains_a_via() {
    let text = "HTTP/1.1 200 Very OK\r\nconnection: close, x-inner\r\nx-inner: 1\r\nkeep-alive: x\r\nupgrade: h2c\r\n\
                server: s\r\nvia: 1.1 origin\r\ndate: d\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(
        backward(text, Asked::Other, None, None),
        "HTTP/1.1 200 Very OK\r\nserver: s\r\ndate: d\r\ncontent-length: 3\r\nvia: 1.1 origin, 1.1 gateway\r\n\r\n"
    );
    assert_eq!(
        backward("HTTP/1.0 200\r\n\r\n", Asked::Other, Some(Framing::Chunked), Some("close")),
        "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\nconnection: close\r\n\
         date: Thu, 01 Jan 1970 00:00:00 GMT\r\nvia: 1.1 gateway\r\n\r\n"
    );
}

#[test]
fn lengths_stand_where_they_may() {
    let ok = "HTTP/1.1 200 OK\r\ndate: d\r\ncontent-length: 7\r\n\r\n";
    assert!(backward(ok, Asked::Head, None, None).contains("content-length: 7"));
    let same = "HTTP/1.1 304 X\r\ndate: d\r\ncontent-length: 7\r\n\r\n";
    assert!(backward(same, Asked::Other, None, None).contains("content-length: 7"));
    let none = "HTTP/1.1 204 X\r\ndate: d\r\ncontent-length: 7\r\n\r\n";
    assert!(!backward(none, Asked::Other, None, None).contains("content-length"));
}

proptest! {
    #[test]
    fn nothing_named_by_connection_passes(names in prop::collection::vec("[a-z]{1,8}", 1..6)) {
        let fields: String = names.iter().map(|name| format!("{name}: secret\r\n")).collect();
        let text = format!("GET / HTTP/1.0\r\n{fields}connection: {}\r\n\r\n", names.join(", "));
        let mut slots = [const { MaybeUninit::uninit() }; 64];
        if let Ok(head) = requests::parse(text.as_bytes(), &mut slots) {
            let mut out = Vec::new();
            request(&mut out, &head, Target { path: head.path, query: None, host: Some("x") }, &HOP);
            prop_assert!(!String::from_utf8(out).expect("text").replace("host: secret", "").contains("secret"));
        }
    }

    #[test]
    fn what_goes_on_is_read_as_it_was_judged(
        fields in prop::collection::vec("(content-length: [0-9]{1,3}|transfer-encoding: chunked|a: b|connection: close|x-forwarded-for: q)", 0..4),
    ) {
        let text = format!("POST /p HTTP/1.1\r\nhost: x\r\n{}\r\n", fields.iter().map(|f| format!("{f}\r\n")).collect::<String>());
        let mut slots = [const { MaybeUninit::uninit() }; 64];
        if let Ok(head) = requests::parse(text.as_bytes(), &mut slots) {
            let mut out = Vec::new();
            request(&mut out, &head, Target { path: head.path, query: None, host: None }, &HOP);
            let mut again = [const { MaybeUninit::uninit() }; 64];
            let read = requests::parse(&out, &mut again).expect("a head that is as strict");
            prop_assert_eq!(read.framing, head.framing);
            prop_assert_eq!(read.host, head.host);
            prop_assert!(!read.options.close);
        }
    }
}
