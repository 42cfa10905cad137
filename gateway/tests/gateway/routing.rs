//! Routes, header fields, paths, statuses of the gateway's own, and what a connection may do.

use crate::support::*;

#[test]
fn requests_reach_the_upstream_of_their_route() {
    let (shop, api, wild) = (Upstream::named("shop"), Upstream::named("api"), Upstream::named("wild"));
    let gateway = Gateway::start(
        &[
            shop.table("shop", ""),
            api.table("api", ""),
            wild.table("wild", ""),
            route("home", "/", "shop", ""),
            route("api", "/api", "api", "methods = [\"GET\", \"POST\"]"),
            route("wild", "/", "wild", "host = \"*.example.org\"\nstrip_prefix = true"),
            route("old", "/old/deep", "api", "strip_prefix = true"),
        ]
        .concat(),
    );
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "shop");
    assert_eq!(client.get("/apix").text(), "shop");
    assert_eq!(client.get("/api").text(), "api");
    assert_eq!(client.get("/api/v1?q=1").text(), "api");
    assert_eq!(client.get("/x/../api/%7Eme//y?q=%7E").text(), "api");
    assert_eq!(client.get("/old/deep/er?q").text(), "api");
    assert_eq!(client.get("/old/deep").text(), "api");
    assert_eq!(client.ask("GET /z HTTP/1.1\r\nhost: A.B.Example.org:80\r\n\r\n").text(), "wild");
    assert_eq!(client.ask("GET http://a.example.org/z HTTP/1.1\r\nhost: b\r\n\r\n").text(), "wild");
    assert_eq!(client.ask("PUT /api HTTP/1.1\r\nhost: x\r\n\r\n").text(), "shop");
    let lines: Vec<_> = api.seen().into_iter().map(|head| head.first_line).collect();
    let expect = ["/api", "/api/v1?q=1", "/api/~me/y?q=%7E", "/er?q", "/"];
    assert_eq!(lines, expect.map(|target| format!("GET {target} HTTP/1.1")));
    let wild = wild.seen();
    assert_eq!(wild[1].first_line, "GET /z HTTP/1.1");
    assert_eq!(wild[1].get("host"), Some("a.example.org"), "an absolute target wins over the field");
    assert_eq!(api.connections(), 1, "the upstream's connection was kept");
    gateway.stop();
}

#[test]
fn what_no_route_takes_has_a_status() {
    let shop = Upstream::named("shop");
    let limits = "[server.limits]\nheader_bytes = 8192\nheaders = 20\nbody_bytes = 10";
    let api = route("api", "/api", "shop", "methods = [\"GET\", \"POST\"]");
    let gateway = Gateway::start_with(limits, &[shop.table("shop", ""), api].concat());
    let ask = |raw: &str| gateway.client().ask(raw);
    let status = |raw: &str| ask(raw).status;
    assert_eq!(status("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), 404);
    let wrong_method = ask("DELETE /api HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((wrong_method.status, wrong_method.head.get("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(status("GET /api HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status("GET /api HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n"), 400);
    assert_eq!(status("GET /api HTTP/1.1\r\nhost: x/y\r\n\r\n"), 400);
    assert_eq!(status("GET http://user@x/api HTTP/1.1\r\nhost: x\r\n\r\n"), 400);
    assert_eq!(status("GET /api/%zz HTTP/1.1\r\nhost: x\r\n\r\n"), 400);
    assert_eq!(status("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n"), 501);
    assert_eq!(status("not http at all\r\n\r\n"), 400);
    assert_eq!(status("POST /api HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n01234567890"), 413);
    let chunked =
        "POST /api HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    assert_eq!(status(chunked), 413);
    let large = format!("GET /api HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(9_000));
    assert_eq!(status(&large), 431);
    let many = format!("GET /api HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(30));
    assert_eq!(status(&many), 431);
    assert_eq!(status("GET /api HTTP/1.0\r\n\r\n"), 200);
    gateway.metric_becomes("gateway_requests_total{route=\"(none)\",class=\"4xx\"}", 10.0);
    gateway.stop();
}

#[test]
fn a_length_beside_a_transfer_coding_never_reaches_an_upstream() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start(&[shop.table("shop", ""), route("all", "/", "shop", "")].concat());
    for fields in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "content-length: 4\r\ncontent-length: 5",
    ] {
        let mut client = gateway.client();
        let raw = format!(
            "POST / HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        client.send(raw.as_bytes());
        let first = client.response(false);
        if first.status == 200 {
            // One reading of it is allowed: the coding wins and the length goes.
            let seen = shop.seen();
            let head = seen.last().expect("a request");
            assert!(head.get("content-length").is_none() || head.get("transfer-encoding").is_none());
        } else {
            assert_eq!(first.status, 400, "{fields}");
        }
        let both =
            |head: &Head| head.get("content-length").is_some() && head.get("transfer-encoding").is_some();
        assert!(!shop.seen().iter().any(both), "{fields}");
    }
    gateway.stop();
}

#[test]
fn fields_of_one_hop_stay_there_and_the_next_is_told_of_it() {
    let shop = Upstream::start(|mut request| {
        request.reply(
            200,
            "connection: x-inner\r\nx-inner: 1\r\nkeep-alive: timeout=9\r\nx-outer: 2\r\n",
            b"ok",
        )
    });
    let gateway = Gateway::start(&[shop.table("shop", ""), route("all", "/", "shop", "")].concat());
    let response = gateway.client().ask(
        "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\n\
         te: trailers\r\nupgrade: websocket\r\nproxy-authorization: secret\r\nx-forwarded-for: 10.0.0.1\r\n\
         x-request-id: mine-7\r\naccept: */*\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    for gone in ["x-inner", "keep-alive", "connection"] {
        assert_eq!(response.head.get(gone), None, "{gone}");
    }
    assert_eq!(response.head.get("x-outer"), Some("2"));
    assert_eq!(response.head.get("via"), Some("1.1 gateway"));
    let seen = &shop.seen()[0];
    for gone in ["connection", "x-mine", "te", "upgrade", "proxy-authorization"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("host"), Some("shop.example"));
    assert_eq!(seen.get("accept"), Some("*/*"));
    assert_eq!(seen.get("x-forwarded-for"), Some("10.0.0.1, 127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-host"), Some("shop.example"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.get("via"), Some("1.1 gateway"));
    assert_eq!(seen.get("x-request-id"), Some("mine-7"));
    gateway.get("/");
    gateway.get("/");
    let id = |n: usize| shop.seen()[n].get("x-request-id").expect("an id").to_owned();
    assert_eq!(id(1).len(), 32);
    assert_ne!(id(1), id(2));
    gateway.stop();
}

#[test]
fn a_head_has_its_length_and_no_body() {
    let shop = Upstream::start(|mut request| match request.head.first_line.starts_with("HEAD") {
        true => {
            use std::io::Write;
            request
                .stream()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                .expect("a gateway");
            Then::Keep
        }
        false => request.reply(204, "", b""),
    });
    let gateway = Gateway::start(&[shop.table("shop", ""), route("all", "/", "shop", "")].concat());
    let mut client = gateway.client();
    let response = client.ask("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((response.status, response.head.get("content-length")), (200, Some("1000")));
    assert_eq!(client.get("/").status, 204);
    assert_eq!(shop.connections(), 1);
    gateway.stop();
}

#[test]
fn addresses_take_turns() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let table = format!(
        "[[upstream]]\nname = \"shop\"\naddresses = [\"{}\", \"localhost:{}\"]\n",
        one.address,
        two.address.port()
    );
    let gateway = Gateway::start(&[table, route("all", "/", "shop", "")].concat());
    let mut client = gateway.client();
    let mut answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    assert_ne!(answers[0], answers[1]);
    answers.sort();
    assert_eq!(answers, ["one", "one", "two", "two"]);
    gateway.stop();
}

#[test]
fn a_limit_refuses_and_says_when_to_come_back() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start(
        &[
            shop.table("shop", ""),
            route(
                "client",
                "/client",
                "shop",
                "limit = { requests = 3, window_ms = 3600000, key = \"client\" }",
            ),
            route(
                "token",
                "/token",
                "shop",
                "limit = { requests = 1, window_ms = 3600000, key = \"header:x-token\" }",
            ),
            route("free", "/free", "shop", ""),
        ]
        .concat(),
    );
    // On two connections, which may be served by two threads: the limit is one.
    let statuses: Vec<_> = (0..4).map(|_| gateway.get("/client").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = gateway.get("/client");
    let seconds: u64 = refused.head.get("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=7200).contains(&seconds), "{seconds}");
    let token = |token: &str| {
        gateway.client().ask(&format!("GET /token HTTP/1.1\r\nhost: x\r\nx-token: {token}\r\n\r\n"))
    };
    assert_eq!([token("a").status, token("b").status, token("a").status], [200, 200, 429]);
    assert_eq!(gateway.get("/free").status, 200);
    gateway.metric_becomes("gateway_limited_total{route=\"client\"}", 2.0);
    gateway.stop();
}

#[test]
fn operators_have_a_listener_of_their_own() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start_with(
        "ready_path = \"/readyz\"",
        &[shop.table("shop", ""), route("all", "/", "shop", "")].concat(),
    );
    assert_eq!(gateway.admin("/healthz").status, 200);
    assert_eq!(gateway.admin("/readyz").status, 200);
    assert_eq!(gateway.admin("/other").status, 404);
    assert_eq!(gateway.get("/readyz").text(), "ready");
    assert_eq!(gateway.get("/healthz").text(), "shop");
    gateway.metric_becomes("gateway_requests_total{route=\"all\",class=\"2xx\"}", 1.0);
    gateway.metric_becomes("gateway_request_duration_seconds_count{route=\"all\"}", 1.0);
    gateway.metric_becomes("gateway_upstream_connections_total{upstream=\"shop\"}", 1.0);
    assert!(gateway.metric("gateway_connections_total").is_some_and(|count| count >= 2.0));
    gateway.stop();
}
