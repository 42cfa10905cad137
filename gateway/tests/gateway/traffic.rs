//! What the admin listener tells of the traffic.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[test]
fn a_look_at_the_traffic_names_what_is_asked_for() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start(&[shop.table("u", ""), route("all", "/", "u", "")].concat());
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = gateway.client();
            while !done.load(Ordering::Relaxed) {
                let answer = client.ask("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
                assert_eq!(answer.text(), "shop");
            }
        });
        let end = Instant::now() + PATIENCE;
        let seen = loop {
            let text = gateway.admin("/traffic?seconds=1&top=3").text();
            let seen: serde_json::Value = serde_json::from_str(&text).unwrap_or(text.into());
            if seen["requests"] != 0 || Instant::now() > end {
                break seen;
            }
        };
        done.store(true, Ordering::Relaxed);
        asking.join().expect("a client");
        seen
    });
    for (kind, name) in
        [("protocol", "HTTP/1.1"), ("host", "shop.example"), ("route", "all"), ("upstream", "u")]
    {
        assert_eq!(seen[kind][0]["name"], name, "{seen}");
        assert_eq!(seen[kind][0]["requests"], seen["requests"], "{seen}");
    }
    assert_eq!((&seen["sni"], &seen["grpc_method"]), (&serde_json::json!([]), &serde_json::json!([])));
    for bad in ["seconds=0", "seconds=51", "seconds=x", "top=0", "top=101"] {
        assert_eq!(gateway.admin(&format!("/traffic?{bad}")).status, 400, "{bad}");
    }
    gateway.stop();
}
