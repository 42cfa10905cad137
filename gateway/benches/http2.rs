//! What HTTP/2 costs a message besides what HTTP/1 does: a header block read and written down as a request, and the
//! head of an answer written as a block.

mod messages;

use self::messages::BROWSER;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::http2::answer;
use gateway::http2::hpack::{Decoder, field};
use gateway::http2::request::RequestText;
use std::hint::black_box;

const PLAIN: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/api/v1/users/12345/orders"),
    (":authority", "shop.example"),
];
const ANSWER: &str = "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
    content-length: 1024\r\ndate: Tue, 04 Mar 2025 10:00:00 GMT\r\nvia: 1.1 gateway\r\n\r\n";
const HEADER_BYTES: usize = 32 * 1024;

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("http2/request");
    let browser = [&PLAIN[..], &BROWSER].concat();
    for (name, fields) in [("plain", &PLAIN[..]), ("browser", &browser)] {
        let mut block = Vec::new();
        fields.iter().for_each(|(name, value)| field(&mut block, name.as_bytes(), value.as_bytes()));
        group.throughput(Throughput::Bytes(block.len() as u64));
        let (mut decoder, mut request) = (Decoder::default(), RequestText::default());
        group.bench_function(name, |b| {
            b.iter(|| {
                request.begin(HEADER_BYTES);
                let read = decoder.decode(black_box(&block), |name, value| request.field(name, value));
                black_box((read, request.end(true))).0
            });
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("http2/answer");
    group.throughput(Throughput::Bytes(ANSWER.len() as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("json", |b| {
        b.iter(|| {
            out.clear();
            black_box(answer::block(&mut out, black_box(ANSWER.as_bytes()), false))
        });
    });
    group.finish();
}

criterion_group!(benches, requests, answers);
criterion_main!(benches);
