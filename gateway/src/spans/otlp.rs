//! Spans as OTLP/HTTP has them in JSON (opentelemetry-proto 1.x, "OTLP/JSON"), with the attributes of the semantic
//! conventions for HTTP servers (1.23 and later). Pure.
//!
//! Ids are hexadecimal, 64-bit numbers are text: so says the format. Queries are left out: they hold what is nobody's
//! business, and no list of secret parameters is whole.

use super::Span;
use crate::access_log::string;
use crate::trace;
use std::io::Write;
use std::time::UNIX_EPOCH;

/// `SPAN_KIND_SERVER`.
const KIND: u8 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// Beside the flags of the trace: it is known whether the parent is another process's, and it is.
const KNOWN_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// The methods that go by their name; others by `_OTHER`, so that nobody makes up names of series.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The body of one export: `ExportTraceServiceRequest`.
pub(super) fn body(service: &str, spans: &[Box<Span>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + spans.len() * 1024);
    out.extend_from_slice(b"{\"resourceSpans\":[{\"resource\":{");
    let mut resource = Attributes::begin(&mut out);
    resource.text("service.name", service);
    resource.end();
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        out,
        "}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"gateway\",\"version\":\"{version}\"}},\"spans\":["
    );
    for (place, span) in spans.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_span(&mut out, span);
    }
    out.extend_from_slice(b"]}]}]}");
    out
}

fn write_span(out: &mut Vec<u8>, span: &Span) {
    let outcome = &span.outcome;
    let end_ns = outcome.ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let start_ns = end_ns.saturating_sub(outcome.duration.as_nanos());
    let (mut trace, mut id) = ([0; 32], [0; 16]);
    trace::write(&mut trace, &span.own.trace);
    trace::write(&mut id, &span.own.span);
    let (trace, id) = (String::from_utf8_lossy(&trace), String::from_utf8_lossy(&id));
    let _ = write!(out, "{{\"traceId\":\"{trace}\",\"spanId\":\"{id}\"");
    let mut flags = u32::from(span.own.flags) | KNOWN_REMOTE;
    if let Some(parent) = &span.parent {
        let mut id = [0; 16];
        trace::write(&mut id, parent);
        let _ = write!(out, ",\"parentSpanId\":\"{}\"", String::from_utf8_lossy(&id));
        flags |= IS_REMOTE;
    }
    let method = METHODS.iter().find(|known| **known == &*span.method);
    let shown = method.copied().unwrap_or("HTTP");
    let name = match &outcome.route {
        Some(route) => format!("{shown} {route}"),
        None => shown.to_owned(),
    };
    out.extend_from_slice(b",\"name\":");
    string(out, name.as_bytes());
    let _ = write!(
        out,
        ",\"kind\":{KIND},\"flags\":{flags},\"startTimeUnixNano\":\"{start_ns}\",\"endTimeUnixNano\":\"{end_ns}\","
    );
    let mut attributes = Attributes::begin(out);
    attributes.text("http.request.method", method.copied().unwrap_or("_OTHER"));
    if method.is_none() {
        attributes.text("http.request.method_original", &span.method);
    }
    attributes.text("url.scheme", span.scheme);
    attributes.text("url.path", &span.path);
    let (host, port) = address_and_port(&span.host);
    if !host.is_empty() {
        attributes.text("server.address", host);
    }
    if let Some(port) = port {
        attributes.number("server.port", port.into());
    }
    attributes.text("client.address", &span.client);
    attributes.text("network.protocol.version", span.version);
    if let Some(agent) = &span.user_agent {
        attributes.text("user_agent.original", agent);
    }
    attributes.number("http.response.status_code", outcome.status.into());
    attributes.number("http.response.body.size", outcome.body_bytes);
    let is_error = outcome.status >= 500;
    if is_error {
        attributes.text("error.type", &outcome.status.to_string());
    }
    let own = [
        ("gateway.route", outcome.route.as_deref()),
        ("gateway.upstream", outcome.upstream.as_deref()),
        ("gateway.upstream.address", span.address.as_deref()),
        ("gateway.reason", outcome.reason),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            attributes.text(name, value);
        }
    }
    attributes.end();
    if is_error {
        let _ = write!(out, ",\"status\":{{\"code\":{ERROR}");
        if let Some(reason) = outcome.reason {
            out.extend_from_slice(b",\"message\":");
            string(out, reason.as_bytes());
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// A host as it stands in `Host`, apart.
fn address_and_port(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        // Not within the brackets of an IPv6 address.
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_matches(['[', ']']), port)
}

/// A list of attributes that is being written.
struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    has_some: bool,
}

impl<'o> Attributes<'o> {
    /// As a member of an object.
    fn begin(out: &'o mut Vec<u8>) -> Attributes<'o> {
        out.extend_from_slice(b"\"attributes\":[");
        Attributes { out, has_some: false }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.value(key, "stringValue");
        string(self.out, value.as_bytes());
        self.out.extend_from_slice(b"}}");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.value(key, "intValue");
        let _ = write!(self.out, "\"{value}\"}}}}");
    }

    fn value(&mut self, key: &str, kind: &str) {
        let comma = if self.has_some { "," } else { "" };
        self.has_some = true;
        let _ = write!(self.out, "{comma}{{\"key\":\"{key}\",\"value\":{{\"{kind}\":");
    }

    fn end(self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::trace::Context;
    use serde_json::{Value, json};
    use std::time::{Duration, SystemTime};

    fn span() -> Span {
        let own = Context { trace: [0xab; 16], span: [0x0c; 8], flags: 1 };
        Span {
            own,
            parent: Some([0xfe; 8]),
            field: own.field(),
            method: "GET".into(),
            path: "/a\"b".into(),
            host: "shop.example:8080".into(),
            user_agent: Some("curl/8\u{1}".into()),
            client: "192.0.2.7".into(),
            scheme: "https",
            version: "2",
            address: Some("10.0.0.5:80".into()),
            outcome: Outcome {
                ended: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_007),
                duration: Duration::from_nanos(5_000),
                status: 200,
                body_bytes: 12,
                route: Some("users".into()),
                upstream: Some("shop".into()),
                reason: None,
            },
        }
    }

    fn one(span: Span) -> Value {
        let all: Value = serde_json::from_slice(&body("edge", &[Box::new(span)])).expect("JSON");
        all["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    }

    fn attribute(span: &Value, key: &str) -> Value {
        let all = span["attributes"].as_array().expect("a list");
        all.iter().find(|one| one["key"] == key).map_or(Value::Null, |one| one["value"].clone())
    }

    #[test]
    fn a_span_is_told_by_the_conventions() {
        let told = one(span());
        assert_eq!(told["traceId"], "ab".repeat(16));
        assert_eq!(
            (&told["spanId"], &told["parentSpanId"]),
            (&json!("0c".repeat(8)), &json!("fe".repeat(8)))
        );
        assert_eq!(
            (&told["name"], &told["kind"], &told["flags"]),
            (&json!("GET users"), &json!(2), &json!(0x301))
        );
        assert_eq!(told["startTimeUnixNano"], "1699999999999995007");
        assert_eq!(told["endTimeUnixNano"], "1700000000000000007");
        for (key, expect) in [
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("url.path", "/a\"b"),
            ("server.address", "shop.example"),
            ("client.address", "192.0.2.7"),
            ("network.protocol.version", "2"),
            ("user_agent.original", "curl/8\u{1}"),
            ("gateway.route", "users"),
            ("gateway.upstream", "shop"),
            ("gateway.upstream.address", "10.0.0.5:80"),
        ] {
            assert_eq!(attribute(&told, key), json!({ "stringValue": expect }), "{key}");
        }
        for (key, expect) in
            [("server.port", "8080"), ("http.response.status_code", "200"), ("http.response.body.size", "12")]
        {
            assert_eq!(attribute(&told, key), json!({ "intValue": expect }), "{key}");
        }
        for absent in ["error.type", "url.query", "gateway.reason", "http.request.method_original"] {
            assert_eq!(attribute(&told, absent), Value::Null, "{absent}");
        }
        assert_eq!(told["status"], Value::Null);
    }

    #[test]
    fn a_root_that_failed_says_so() {
        let mut of = span();
        (of.parent, of.method, of.host) = (None, "BREW".into(), "[2001:db8::1]".into());
        (of.outcome.status, of.outcome.route) = (504, None);
        of.outcome.reason = Some("the upstream took too long");
        let told = one(of);
        assert_eq!((&told["parentSpanId"], &told["flags"]), (&Value::Null, &json!(0x101)));
        assert_eq!(told["name"], "HTTP");
        assert_eq!(attribute(&told, "http.request.method"), json!({ "stringValue": "_OTHER" }));
        assert_eq!(attribute(&told, "http.request.method_original"), json!({ "stringValue": "BREW" }));
        assert_eq!(attribute(&told, "server.address"), json!({ "stringValue": "2001:db8::1" }));
        assert_eq!(attribute(&told, "server.port"), Value::Null);
        assert_eq!(attribute(&told, "error.type"), json!({ "stringValue": "504" }));
        assert_eq!(told["status"], json!({ "code": 2, "message": "the upstream took too long" }));
    }

    #[test]
    fn many_spans_are_one_body() {
        let all: Value =
            serde_json::from_slice(&body("edge", &[Box::new(span()), Box::new(span())])).expect("JSON");
        let of = &all["resourceSpans"][0];
        assert_eq!(of["resource"]["attributes"][0]["key"], "service.name");
        assert_eq!(of["resource"]["attributes"][0]["value"]["stringValue"], "edge");
        assert_eq!(of["scopeSpans"][0]["scope"]["name"], "gateway");
        assert_eq!(of["scopeSpans"][0]["spans"].as_array().map(Vec::len), Some(2));
    }
}
