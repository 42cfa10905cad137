//! What the harnesses have in common: eight pieces of work on crates that other people wrote.

use handlebars::Handlebars;
use kdtree::distance::squared_euclidean;
use kdtree::KdTree;
use radix_trie::Trie;
use std::hint::black_box;

/// A name, and the work of one iteration.
pub struct Work {
    pub name: &'static str,
    pub run: Box<dyn FnMut()>,
}

const REQUEST: &[u8] = b"GET /api/v1/users/12345/orders?page=2 HTTP/1.1\r\nHost: shop.example\r\n\
User-Agent: a-client/4.2 (quite ordinary)\r\nAccept: application/json, text/plain;q=0.5\r\n\
Accept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\
Cache-Control: private, max-age=0\r\nVary: Accept-Encoding\r\nServer: a-server\r\n\r\n";
const PAGE: &str = "<h1>{{title}}</h1>{{#each rows}}<p class=\"{{#if @first}}first{{/if}}\">{{name}}: {{size}}</p>{{/each}}";
const REQUIREMENT: &str = ">=1.2.3-alpha.1, <2.0.0, ~1.4, ^1.4.7";

pub fn all() -> Vec<Work> {
    fn work(name: &'static str, run: impl FnMut() + 'static) -> Work {
        Work { name, run: Box::new(run) }
    }
    let bytes: Vec<u8> = (0..1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let text = hex::encode(&bytes);
    let mut tree = KdTree::new(3);
    for i in 0..1_000u32 {
        let at = |k: u32| f64::from((i * 7 + k).wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 24);
        tree.add([at(0), at(1), at(2)], i).expect("finite");
    }
    let words: Vec<String> = (0..200u32).map(|i| format!("word{}", i.wrapping_mul(2_654_435_761))).collect();
    let mut trie = Trie::new();
    for (i, word) in words.iter().enumerate() {
        trie.insert(word.clone(), i);
    }
    let mut pages = Handlebars::new();
    pages.register_template_string("page", PAGE).expect("a template");
    let rows: Vec<_> = (0..6).map(|i| serde_json::json!({ "name": "row", "size": i })).collect();
    let data = serde_json::json!({ "title": "Sizes", "rows": rows });
    vec![
        work("httparse/request", || {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            black_box(request.parse(black_box(REQUEST)).expect("a request"));
        }),
        work("httparse/response", || {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            black_box(response.parse(black_box(RESPONSE)).expect("a response"));
        }),
        work("hex/encode", move || {
            black_box(hex::encode(black_box(&bytes)));
        }),
        work("hex/decode", move || {
            black_box(hex::decode(black_box(&text)).expect("hex"));
        }),
        work("semver/requirement", || {
            black_box(semver::VersionReq::parse(black_box(REQUIREMENT)).expect("a requirement"));
        }),
        work("kdtree/nearest", move || {
            black_box(tree.nearest(black_box(&[0.5, 0.4, 0.3]), 8, &squared_euclidean).expect("neighbours"));
        }),
        work("radix_trie/get", move || {
            for word in &words {
                black_box(trie.get(black_box(word)));
            }
        }),
        work("handlebars/render", move || {
            black_box(pages.render("page", black_box(&data)).expect("a page"));
        }),
    ]
}
