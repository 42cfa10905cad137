//! What HTTP/1 costs a message: its head found, parsed, and written as it goes on; and the chunks of a body.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::http1::body::{Body, Form};
use gateway::http1::buffer::Buffer;
use gateway::http1::framing::Framing;
use gateway::http1::onward::{self, Back, Deadline, Hop, Target};
use gateway::http1::request;
use gateway::http1::response::{self, Asked};
use gateway::http1::scan::HeadScan;
use std::hint::black_box;
use std::mem::MaybeUninit;

const PLAIN: &str = "GET /api/v1/users/12345/orders HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const BROWSER: &str = "GET /api/v1/users/12345/orders?page=2 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Referer: https://shop.example/basket\r\nX-Forwarded-For: 198.51.100.4\r\nVia: 1.1 edge\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Tue, 04 Mar 2025 10:00:00 GMT\r\nServer: origin\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n";

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1/request");
    for (name, text) in [("plain", PLAIN), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let hop = Hop {
            client: "192.0.2.7",
            scheme: "http",
            request_id: "0123456789abcdef0000000000000001",
            forwarded: false,
            deadline: Some(Deadline { unix_ms: 1_741_082_400_000, left_ms: 60_000 }),
            trailers: false,
            remove: &[],
            set: &[],
            traced: None,
        };
        let mut out = Vec::with_capacity(4096);
        group.bench_function(name, |b| {
            b.iter(|| {
                let bytes = black_box(text.as_bytes());
                let length = HeadScan::default().advance(bytes).ok().flatten().unwrap_or_default();
                let mut slots = [const { MaybeUninit::uninit() }; 100];
                out.clear();
                if let Ok(head) = request::parse(&bytes[..length], &mut slots) {
                    let target = Target { path: head.path, query: head.query, host: None };
                    black_box(onward::request(&mut out, &head, target, black_box(&hop)));
                }
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("http1/response");
    group.throughput(Throughput::Bytes(ANSWER.len() as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("json", |b| {
        b.iter(|| {
            let bytes = black_box(ANSWER.as_bytes());
            let length = HeadScan::default().advance(bytes).ok().flatten().unwrap_or_default();
            let mut slots = [const { MaybeUninit::uninit() }; 100];
            out.clear();
            if let Ok(head) = response::parse(&bytes[..length], &mut slots, Asked::Other) {
                let back = Back { framing: head.framing, connection: None, date: "", remove: &[], set: &[] };
                onward::response(&mut out, &head, &back);
            }
            black_box(out.len())
        });
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1/chunks");
    for (name, size) in [("small", 16), ("large", 4096)] {
        let mut body = Vec::new();
        while body.len() < 12 * 1024 {
            body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            body.resize(body.len() + size, b'x');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut buffer = Buffer::new(64 * 1024);
        group.bench_function(name, |b| {
            b.iter(|| {
                buffer.clear();
                buffer.free()[..body.len()].copy_from_slice(&body);
                buffer.filled(body.len());
                if let Ok(mut judged) = Body::new(Framing::Chunked, Form::Same, u64::MAX) {
                    let _ = judged.judge(&mut buffer);
                    black_box(judged.data_bytes);
                }
                black_box(buffer.pending().len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, heads, chunks);
criterion_main!(benches);
