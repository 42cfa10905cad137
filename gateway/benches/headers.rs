//! What the rewriting of header fields costs a message.

mod messages;

use self::messages::BROWSER;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gateway::headers::{Hop, backward, forward, remove_hop_by_hop};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::hint::black_box;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter();
    fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn browser() -> HeaderMap {
    let mut headers = map(&[("host", "shop.example"), ("connection", "keep-alive")]);
    headers.extend(map(&BROWSER));
    headers
}

fn behind_proxies() -> HeaderMap {
    let mut headers = browser();
    headers.extend(map(&[
        ("x-forwarded-for", "198.51.100.4, 198.51.100.5"),
        ("x-forwarded-proto", "https"),
        ("via", "1.1 edge"),
        ("x-request-id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ]));
    headers
}

fn hop_laden() -> HeaderMap {
    let mut headers = browser();
    headers.insert("connection", HeaderValue::from_static("upgrade, x-private, close"));
    headers.extend(map(&[("x-private", "1"), ("upgrade", "websocket"), ("te", "trailers")]));
    headers
}

fn response() -> HeaderMap {
    map(&[
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("date", "Tue, 04 Mar 2025 10:00:00 GMT"),
        ("server", "origin"),
        ("connection", "keep-alive"),
        ("cache-control", "no-store"),
    ])
}

type Rewrite = fn(&mut HeaderMap);

fn headers(c: &mut Criterion) {
    let hop = Hop {
        client: HeaderValue::from_static("192.0.2.7"),
        scheme: HeaderValue::from_static("http"),
        host: Some(HeaderValue::from_static("shop.example")),
        request_id: HeaderValue::from_static("0123456789abcdef0000000000000001"),
    };
    let mut group = c.benchmark_group("headers");
    for (name, headers) in [("forward", browser()), ("forward_chain", behind_proxies())] {
        group.bench_function(name, |b| {
            let rewrite = |mut headers: HeaderMap| {
                forward(&mut headers, black_box(&hop));
                headers
            };
            b.iter_batched(|| headers.clone(), rewrite, BatchSize::SmallInput);
        });
    }
    let cases: [(&str, HeaderMap, Rewrite); 2] =
        [("backward", response(), backward), ("hop_by_hop", hop_laden(), remove_hop_by_hop)];
    for (name, headers, rewrite) in cases {
        group.bench_function(name, |b| {
            let rewrite = |mut headers: HeaderMap| {
                rewrite(&mut headers);
                headers
            };
            b.iter_batched(|| headers.clone(), rewrite, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, headers);
criterion_main!(benches);
