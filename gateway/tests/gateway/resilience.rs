//! Several instances: balanced, checked, given a rest, tried again, and never asked more than they can take.

use crate::support::*;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

fn table(addresses: &[String], more: &str) -> String {
    let list: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let upstream = format!("[[upstream]]\nname = \"u\"\naddresses = [{}]\n{more}\n", list.join(", "));
    [upstream, route("all", "/", "u", "")].concat()
}

fn address(upstream: &Upstream) -> String {
    upstream.address.to_string()
}

#[test]
fn a_dead_instance_is_passed_over() {
    let (_held, dead) = dead_address();
    let shop = Upstream::named("shop");
    let gateway = Gateway::start(&table(&[dead.to_string(), address(&shop)], ""));
    for _ in 0..8 {
        let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(gateway.client().ask(post).text(), "shop", "nothing was sent, so a POST is safe too");
    }
    assert!(
        gateway
            .metric("gateway_upstream_retries_total{upstream=\"u\"}")
            .is_some_and(|retries| retries >= 1.0)
    );
    gateway.stop();
}

#[test]
fn an_instance_whose_breaker_is_open_is_left_out() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let failing = Upstream::start(move |mut request| {
        counted.fetch_add(1, Ordering::SeqCst);
        request.reply(500, "", b"")
    });
    let shop = Upstream::named("shop");
    let breaker = "breaker = { failures = 2, open_ms = 3600000, half_open_max = 1 }";
    let gateway = Gateway::start(&table(&[address(&failing), address(&shop)], breaker));
    let statuses: Vec<_> = (0..20).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 2, "{statuses:?}");
    assert_eq!(failures.load(Ordering::SeqCst), 2);
    assert_eq!(gateway.breaker_state("u", &failing), Some(2.0));
    assert_eq!(gateway.breaker_state("u", &shop), Some(0.0));
    gateway.stop();
}

#[test]
fn an_unavailable_answer_is_asked_for_again_where_that_is_safe() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let flaky = Upstream::start(move |mut request| {
        request.body();
        let status = if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { 503 } else { 200 };
        request.reply(status, "", b"")
    });
    let retry = "retry = { attempts = 1, backoff_ms = 1, budget_percent = 100 }";
    let gateway = Gateway::start(&table(&[address(&flaky)], retry));
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(gateway.client().ask(post).status, 503, "a POST is not sent twice");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    gateway.stop();
}

#[test]
fn attempts_end_with_their_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let down = Upstream::start(move |mut request| {
        counted.fetch_add(1, Ordering::SeqCst);
        request.reply(503, "", b"")
    });
    let retry = "retry = { attempts = 3, backoff_ms = 0, budget_percent = 10 }";
    let gateway = Gateway::start(&table(&[address(&down)], retry));
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 503);
    }
    // One thread serves the one connection: a tenth of 50, and three ahead.
    let attempts = asked.load(Ordering::SeqCst);
    assert!((51..=59).contains(&attempts), "{attempts}");
    gateway.stop();
}

#[test]
fn an_unwell_instance_is_left_out_until_it_is_well() {
    let well = Arc::new(AtomicBool::new(false));
    let answer = well.clone();
    let sick = Upstream::start(move |mut request| match request.head.first_line.contains("/healthz") {
        true if answer.load(Ordering::SeqCst) => request.reply(200, "", b""),
        true => request.reply(503, "", b""),
        false => request.reply(200, "", b"sick"),
    });
    let shop = Upstream::named("shop");
    let health = "health = { path = \"/healthz\", interval_ms = 20, unhealthy_after = 2, healthy_after = 2, timeout_ms = 30000 }";
    let gateway = Gateway::start(&table(&[address(&sick), address(&shop)], health));
    let healthy = |upstream: &Upstream| {
        let address = upstream.address;
        gateway.metric(&format!("gateway_instance_healthy{{upstream=\"u\",address=\"{address}\"}}"))
    };
    until("it is thought unwell", || healthy(&sick) == Some(0.0));
    assert_eq!(healthy(&shop), Some(1.0));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "shop");
    }
    well.store(true, Ordering::SeqCst);
    until("it is asked again", || gateway.get("/").text() == "sick");
    gateway.stop();
}

#[test]
fn requests_that_are_alike_reach_one_instance() {
    let names = ["a", "b", "c", "d"];
    let instances: Vec<_> = names.map(Upstream::named).into();
    let addresses: Vec<_> = instances.iter().map(address).collect();
    let gateway = Gateway::start(&table(&addresses, "balance = \"hash:header:x-user\""));
    let ask = |user: usize| {
        gateway.client().ask(&format!("GET / HTTP/1.1\r\nhost: x\r\nx-user: {user}\r\n\r\n")).text()
    };
    let mut used = HashSet::new();
    for user in 0..40 {
        let instance = ask(user);
        assert_eq!(ask(user), instance);
        used.insert(instance);
    }
    assert!(used.len() > 1, "forty users share one instance by a chance of one in 4^39");
    gateway.stop();
}

#[test]
fn weights_and_loads_are_followed() {
    let (heavy, light) = (Upstream::named("heavy"), Upstream::named("light"));
    let addresses = [address(&heavy), address(&light)];
    let gateway = Gateway::start(&table(&addresses, "weights = [3, 1]"));
    let mut client = gateway.client();
    let heavies = (0..100).filter(|_| client.get("/").text() == "heavy").count();
    assert!((70..=80).contains(&heavies), "{heavies}");
    gateway.change(&table(&addresses, "balance = \"least-requests\""));
    let seen: HashSet<_> = (0..50).map(|_| client.get("/").text()).collect();
    assert_eq!(seen.len(), 2, "idle ones are chosen by chance");
    gateway.stop();
}

#[test]
fn more_than_an_upstream_can_take_is_refused_at_once() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = Upstream::start(move |mut request| {
        if request.head.first_line.contains("/slow") {
            let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        }
        request.reply(200, "", b"")
    });
    let gateway = Gateway::start(&table(&[address(&slow)], "in_flight_max = 1"));
    // Two threads, and each may have one under way.
    let mut clients: Vec<_> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    let refused = "gateway_upstream_overloaded_total{upstream=\"u\"}";
    until("the others are refused", || {
        gateway.metric(refused).is_some_and(|count| count + slow.seen().len() as f64 == 8.0)
    });
    assert!((1..=2).contains(&slow.seen().len()));
    for _ in 0..2 {
        let _ = release.send(());
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.response(false)).collect();
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, answer.head.get("retry-after")), (503, Some("1")));
    }
    gateway.stop();
}

#[test]
fn requests_are_split_rewritten_and_redirected() {
    let (old, new) = (Upstream::named("old"), Upstream::named("new"));
    let tables = [
        old.table("old", ""),
        new.table("new", ""),
        "[[route]]\nname = \"split\"\nprefix = \"/split\"\n\
         split = [{ upstream = \"old\", weight = 1 }, { upstream = \"new\", weight = 1 }]\n"
            .into(),
        "[[route]]\nname = \"user\"\npath = \"/users/{id}\"\nupstream = \"new\"\nrewrite = \"/u/{id}/of\"\n\
         request_headers = { set = { x-team = \"shop\" }, remove = [\"cookie\"] }\n\
         response_headers = { set = { x-served = \"yes\" } }\n"
            .into(),
        "[[route]]\nname = \"canary\"\nprefix = \"/users\"\nupstream = \"new\"\nheaders = { x-canary = \"1\" }\n\
         query = { v = \"2\" }\n"
            .into(),
        route("users", "/users", "old", ""),
        "[[route]]\nname = \"moved\"\nprefix = \"/moved\"\nredirect = { to = \"https://{host}/here{rest}\", status = 301 }\n"
            .into(),
    ];
    let gateway = Gateway::start(&tables.concat());
    let mut client = gateway.client();
    let seen: HashSet<_> = (0..60).map(|_| client.get("/split").text()).collect();
    assert_eq!(seen.len(), 2);
    let user = client.ask("GET /users/7?q HTTP/1.1\r\nhost: x\r\ncookie: secret\r\n\r\n");
    assert_eq!((user.text().as_str(), user.head.get("x-served")), ("new", Some("yes")));
    let head = new.seen().pop().expect("a request");
    assert_eq!(head.first_line, "GET /u/7/of?q HTTP/1.1");
    assert_eq!((head.get("x-team"), head.get("cookie")), (Some("shop"), None));
    assert_eq!(client.get("/users/7/orders").text(), "old");
    let canary = "host: x\r\nx-canary: 1\r\n\r\n";
    assert_eq!(client.ask(&format!("GET /users/7/orders?a&v=2 HTTP/1.1\r\n{canary}")).text(), "new");
    assert_eq!(client.ask(&format!("GET /users/7/orders?v=3 HTTP/1.1\r\n{canary}")).text(), "old");
    let moved = client.ask("GET /moved/a/b?c=d HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    assert_eq!((moved.status, moved.head.get("location")), (301, Some("https://shop.example/here/a/b?c=d")));
    gateway.stop();
}

#[test]
fn a_client_that_will_not_wait_opens_no_breaker() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = Upstream::start(move |mut request| {
        if request.head.first_line.contains("/slow") {
            let _ = held.lock().expect("a channel").recv_timeout(PATIENCE);
        }
        request.reply(200, "", b"")
    });
    let breaker = "breaker = { failures = 1, open_ms = 3600000, half_open_max = 1 }";
    let gateway = Gateway::start(&table(&[address(&slow)], breaker));
    for _ in 0..2 {
        let hasty = "GET /slow HTTP/1.1\r\nhost: x\r\ngrpc-timeout: 1m\r\n\r\n";
        assert_eq!(gateway.client().ask(hasty).status, 504);
    }
    assert_eq!(gateway.breaker_state("u", &slow), Some(0.0));
    assert_eq!(gateway.get("/").status, 200);
    drop(release);
    gateway.stop();
}
