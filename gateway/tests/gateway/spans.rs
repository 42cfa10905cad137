//! Requests that are followed: what a collector is told, what the upstream is told, and what happens without a collector.

use crate::support::*;
use serde_json::Value;
use std::sync::{Arc, Mutex};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A stand-in for a collector: keeps what it is sent, and answers as it is told.
fn collector(status: u16) -> (Upstream, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = taken.clone();
    let collector = Upstream::start(move |mut request| {
        let is_right = request.head.first_line == "POST /v1/traces HTTP/1.1"
            && request.head.get("content-type") == Some("application/json");
        let body: Value = serde_json::from_slice(&request.body()).expect("JSON");
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans") {
            kept.lock().expect("a list").push(span.clone());
        }
        request.reply(if is_right { status } else { 400 }, "content-type: application/json\r\n", b"{}")
    });
    (collector, taken)
}

fn tables(shop: &Upstream, collector: &str, tracing: &str) -> String {
    let tracing = format!("[tracing]\nupstream = \"collector\"\n{tracing}\n");
    [&tracing, &shop.table("shop", ""), collector, &route("all", "/in", "shop", "")].concat()
}

fn follow(flags: &str) -> String {
    format!(
        "GET /in/a?secret=1 HTTP/1.1\r\nhost: shop.example:8080\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\n\
         tracestate: a=1\r\n\r\n"
    )
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let all = span["attributes"].as_array().expect("a list");
    all.iter().find(|one| one["key"] == key).map_or(&Value::Null, |one| &one["value"])
}

fn sent(count: u32) -> (&'static str, f64) {
    ("gateway_spans_total{outcome=\"sent\"}", f64::from(count))
}

#[test]
fn a_sampled_trace_goes_on_through_the_gateway() {
    let shop = Upstream::named("shop");
    let (collector, taken) = collector(200);
    let gateway = Gateway::start(&tables(&shop, &collector.table("collector", ""), ""));
    let mut client = gateway.client();
    assert_eq!(client.ask(&follow("01")).text(), "shop");
    assert_eq!(client.ask(&follow("00")).text(), "shop");
    assert_eq!(client.get("/in/untraced").text(), "shop");
    let (name, count) = sent(1);
    gateway.metric_becomes(name, count);
    let spans = taken.lock().expect("a list").clone();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &PARENT.into()));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/in/a"),
        ("url.scheme", "http"),
        ("server.address", "shop.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("gateway.route", "all"),
        ("gateway.upstream", "shop"),
        ("gateway.upstream.address", &shop.address.to_string()),
    ] {
        assert_eq!(attribute(span, key)["stringValue"], value, "{key} in {span}");
    }
    assert_eq!(attribute(span, "http.response.status_code")["intValue"], "200");
    assert!(!span.to_string().contains("secret"), "{span}");
    let at = |key: &str| span[key].as_str().and_then(|ns| ns.parse::<u128>().ok()).expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_nanos();
    assert!(at("startTimeUnixNano") <= at("endTimeUnixNano") && at("endTimeUnixNano") <= now, "{span}");

    // The upstream's own spans are to hang below ours; what is not followed goes on as it came.
    let own = span["spanId"].as_str().expect("an id");
    let seen = shop.seen();
    let parents: Vec<Option<&str>> = seen.iter().map(|head| head.get("traceparent")).collect();
    let (ours, came) = (format!("00-{TRACE}-{own}-01"), format!("00-{TRACE}-{PARENT}-00"));
    assert_eq!(parents, [Some(ours.as_str()), Some(came.as_str()), None]);
    assert_ne!(own, PARENT);
    assert_eq!(seen[0].get("tracestate"), Some("a=1"));
    gateway.stop();
}

#[test]
fn traces_begin_here_where_that_is_asked_for() {
    let shop = Upstream::named("shop");
    let (collector, taken) = collector(200);
    let gateway = Gateway::start(&tables(&shop, &collector.table("collector", ""), "begin_one_in = 1"));
    let mut client = gateway.client();
    assert_eq!(client.get("/in/a").text(), "shop");
    assert_eq!(client.get("/elsewhere").status, 404);
    assert_eq!(client.ask(&follow("00")).text(), "shop", "whoever began it wants it not sampled");
    let broken = "GET /in/b HTTP/1.1\r\nhost: x\r\ntraceparent: 00-0-1\r\ntracestate: a=1\r\n\r\n";
    assert_eq!(client.ask(broken).text(), "shop");
    let (name, count) = sent(3);
    gateway.metric_becomes(name, count);
    let mut spans = taken.lock().expect("a list").clone();
    spans.sort_by_key(|span| attribute(span, "url.path").to_string());
    let [lost, first, second] = &spans[..] else { panic!("{spans:?}") };
    assert!(spans.iter().all(|span| span["parentSpanId"].is_null()), "{spans:?}");
    assert_ne!(first["traceId"], second["traceId"]);
    assert_eq!(attribute(lost, "http.response.status_code")["intValue"], "404");
    assert_eq!(attribute(lost, "gateway.reason")["stringValue"], "no route");
    assert_eq!((attribute(lost, "gateway.upstream"), &lost["name"]), (&Value::Null, &"GET".into()));
    let seen = shop.seen();
    for (head, span) in [(&seen[0], first), (&seen[2], second)] {
        let id = |key: &str| span[key].as_str().expect("an id").to_owned();
        let parent = format!("00-{}-{}-01", id("traceId"), id("spanId"));
        assert_eq!(head.get("traceparent"), Some(parent.as_str()));
    }
    assert_eq!(seen[2].get("tracestate"), None, "it was of the trace that could not be read");
    gateway.stop();
}

#[test]
fn what_waits_is_sent_before_the_end() {
    let shop = Upstream::named("shop");
    let (collector, taken) = collector(200);
    let tables = tables(&shop, &collector.table("collector", ""), "timeout_ms = 60000");
    let gateway = Gateway::start_with("timeouts = { drain_ms = 120000 }", &tables);
    let mut client = gateway.client();
    (0..5).for_each(|_| assert_eq!(client.ask(&follow("01")).status, 200));
    drop(client);
    gateway.stop();
    assert_eq!(taken.lock().expect("a list").len(), 5);
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_no_request() {
    let shop = Upstream::named("shop");
    let (_held, dead) = dead_address();
    let table = format!("[[upstream]]\nname = \"collector\"\naddresses = [\"{dead}\"]\n");
    let gateway = Gateway::start(&tables(&shop, &table, ""));
    let mut client = gateway.client();
    (0..20).for_each(|_| assert_eq!(client.ask(&follow("01")).text(), "shop"));
    gateway.metric_becomes("gateway_spans_total{outcome=\"failed\"}", 20.0);
    // One that refuses is as good as none.
    let (collector, _) = collector(503);
    gateway.change(&tables(&shop, &collector.table("collector", ""), ""));
    assert_eq!(client.ask(&follow("01")).text(), "shop");
    gateway.metric_becomes("gateway_spans_total{outcome=\"failed\"}", 21.0);
    assert_eq!(gateway.metric(sent(0).0), Some(0.0));
    gateway.stop();
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_no_request() {
    let shop = Upstream::named("shop");
    let silent = Upstream::start(|mut request| {
        request.body();
        // Until the gateway gives up and closes the connection.
        let _ = std::io::Read::read(request.reader(), &mut [0]);
        Then::Close
    });
    let tables = tables(&shop, &silent.table("collector", ""), "timeout_ms = 60000");
    let gateway = Gateway::start_with("timeouts = { drain_ms = 1000 }", &tables);
    let mut client = gateway.client();
    assert_eq!(client.ask(&follow("01")).text(), "shop");
    until("the collector is asked", || !silent.seen().is_empty());
    // More than wait: every request is answered, and what is too much is counted.
    let ask = follow("01").replace("/in/", "/nowhere/").repeat(100);
    until("spans are dropped", || {
        client.send(ask.as_bytes());
        (0..100).for_each(|_| assert_eq!(client.response(false).status, 404));
        gateway.metric("gateway_spans_total{outcome=\"overflowed\"}") > Some(0.0)
    });
    assert_eq!(client.ask(&follow("01")).text(), "shop");
    gateway.stop();
}
