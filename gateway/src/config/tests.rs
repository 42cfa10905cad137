//! What a file may say, and where an error points.

use super::*;
use crate::route::{HostPattern, Methods, Verb};

const SMALL: &str = r#"[server]
listen = "127.0.0.1:8080"

[[upstream]]
name = "shop"
addresses = ["127.0.0.1:9000", "origin.example:9001"]
breaker = { failures = 5, open_ms = 1000, half_open_max = 2 }

[[route]]
name = "all"
prefix = "/"
upstream = "shop"

[[route]]
name = "users"
host = "*.Example.com"
methods = ["GET", "POST"]
prefix = "/api/v1/users"
upstream = "shop"
strip_prefix = true
limit = { requests = 10, window_ms = 1000, key = "header:X-Api-Key" }
"#;

/// The error of a file that is [`SMALL`] with one text in it changed.
#[track_caller]
fn check(from: &str, to: &str, expect: &str) {
    assert_eq!(SMALL.matches(from).count(), 1, "{from}");
    let error = Config::parse(&SMALL.replace(from, to)).expect_err("a fault");
    let shown = error.to_string();
    assert!(shown.starts_with(expect), "{to}\n  gave {shown}\n  not  {expect}");
}

#[test]
fn a_file_is_read() {
    let config = Config::parse(SMALL).expect("a valid file");
    assert_eq!(config.server.admin, None);
    assert_eq!(config.server.timeouts.connect, Duration::from_secs(1));
    assert_eq!(config.access_log, AccessLog { output: LogOutput::Off, sample_one_in: 1 });
    let [upstream] = &config.upstreams[..] else { panic!("one upstream") };
    assert_eq!(upstream.addresses[1], Address::Name("origin.example:9001".into()));
    assert_eq!(upstream.breaker, Some(breaker::Rule::in_a_row(5, 1000, 2)));
    let [all, users] = &config.routes[..] else { panic!("two routes") };
    assert_eq!((&all.rule.host, all.rule.methods), (&HostPattern::Any, Methods::ALL));
    assert_eq!(users.rule.host, HostPattern::Under("example.com".into()));
    assert!(users.rule.methods.contains(Verb::Head) && !users.rule.methods.contains(Verb::Put));
    let limit = users.limit.as_ref().expect("a limit");
    assert_eq!(limit.by, LimitBy::Header(HeaderName::from_static("x-api-key")));
    assert_eq!((&users.rewrite, &all.rewrite), (&Rewrite::Strip, &Rewrite::None));
}

#[test]
fn a_fault_is_named_with_its_place() {
    check("listen =", "lisen =", "2:1: unknown field `lisen`");
    check("\"127.0.0.1:8080\"", "\"here\"", "2:10: ");
    check("[[upstream]]", "[[upstream]", "4:");
    check("name = \"shop\"", "name = \"sh op\"", "5:8: must be 1 to 64 letters");
    check("\"origin.example:9001\"", "\"origin.example\"", "6:32: `origin.example` is no address");
    check("\"origin.example:9001\"", "\"origin.example:0\"", "6:32: `origin.example:0` is no address");
    check("failures = 5", "failures = 0", "7:24: must be from 1 to 1000000");
    check("failures = 5", "failures = -5", "7:24: ");
    check("name = \"users\"", "name = \"all\"", "15:8: a second route named `all`");
    check("\"*.Example.com\"", "\"a..b\"", "16:8: must be a host name");
    check("\"*.Example.com\"", "\"a:80\"", "16:8: must be a host name");
    check("\"POST\"", "\"post\"", "17:19: must be GET");
    check("[\"GET\", \"POST\"]", "[]", "17:11: names no method");
    check("\"/api/v1/users\"", "\"api\"", "18:10: the path does not start with a slash");
    check("\"/api/v1/users\"", "\"/a/../b\"", "18:10: no request has this path; write `/b`");
    check("\"/api/v1/users\"", "\"/a?b\"", "18:10: must be a path alone");
    check("strip_prefix = true", "strip_prefix = 1", "20:16: ");
    check("window_ms = 1000", "window_ms = 100000000", "21:38: must be from 1 to 86400000");
    check("\"header:X-Api-Key\"", "\"cookie\"", "21:50: must be \"client\"");
    check("\"header:X-Api-Key\"", "\"header:\"", "21:50: must be \"client\"");
}

#[test]
fn what_is_received_and_sent_through_is_named() {
    let with =
        |io: &str| Config::parse(&SMALL.replacen("[server]\n", &format!("[server]\nio = \"{io}\"\n"), 1));
    assert_eq!(Config::parse(SMALL).expect("a valid file").server.io, Io::Epoll);
    assert_eq!(with("epoll").expect("a valid file").server.io, Io::Epoll);
    assert_eq!(with("io_uring").expect("a valid file").server.io, Io::Uring);
    let fault = with("kqueue").expect_err("a fault").to_string();
    assert_eq!(fault, "2:6: must be \"epoll\" or \"io_uring\"");
}

#[test]
fn faults_between_two_values_are_found() {
    let add = |more: &str| Config::parse(&format!("{SMALL}{more}")).expect_err("a fault").to_string();
    assert_eq!(
        add("[[route]]\nname = \"again\"\nprefix = \"/\"\nupstream = \"shop\"\n"),
        "24:10: matches the same requests as route `all`"
    );
    assert_eq!(
        add("[[route]]\nname = \"x\"\nprefix = \"/x\"\nupstream = \"none\"\n"),
        "25:12: no upstream named `none`"
    );
    assert_eq!(
        add("[[upstream]]\nname = \"shop\"\naddresses = [\"[::1]:1\"]\n"),
        "23:8: a second upstream named `shop`"
    );
    assert_eq!(add("[access_log]\noutput = \"file\"\n"), "23:10: `output = \"file\"` needs `file`");
    assert_eq!(add("[access_log]\nfile = \"x\"\n"), "23:8: `file` needs `output = \"file\"`");
    assert_eq!(add("[server.limits]\nheader_bytes = 1\n"), "23:16: must be from 8192 to 1048576");
}

/// A file with one more route of these lines.
fn with_route(lines: &str) -> Result<Config, String> {
    Config::parse(&format!("{SMALL}[[route]]\nname = \"x\"\n{lines}\n")).map_err(|error| error.to_string())
}

#[test]
fn routes_are_read_in_all_their_forms() {
    let route = |lines: &str| with_route(lines).expect(lines).routes.pop().expect("a route");
    let exact = route("path = \"/users/{id}\"\nupstream = \"shop\"\nrewrite = \"/u/{id}\"\nrequest_ms = 5");
    assert!(exact.rule.exact && matches!(exact.rewrite, Rewrite::To(_)));
    assert_eq!(exact.request_timeout, Some(Duration::from_millis(5)));
    let split = route(
        "prefix = \"/s\"\nsplit = [{ upstream = \"shop\", weight = 9 }, { upstream = \"shop\", weight = 1 }]\n\
         headers = { X-Canary = \"*\" }\nquery = { v = \"2\" }",
    );
    assert!(matches!(&split.action, Action::Pass(shares) if shares.len() == 2));
    assert_eq!(split.rule.conditions.len(), 2);
    assert_eq!(split.rule.conditions[0].name, "x-canary");
    let moved = route("prefix = \"/old\"\nredirect = { to = \"https://{host}/new{rest}\", status = 301 }");
    assert!(matches!(moved.action, Action::Redirect { status: 301, .. }));
    let fields = route(
        "prefix = \"/f\"\nupstream = \"shop\"\nrequest_headers = { remove = [\"Cookie\"], set = { X-Team = \"a\" } }",
    );
    assert_eq!(fields.request_fields.remove, ["Cookie"]);
}

#[test]
fn routes_that_make_no_sense_are_named() {
    let fault = |lines: &str| with_route(lines).map(|_| ()).expect_err(lines);
    for (lines, expect) in [
        ("upstream = \"shop\"", "22:1: needs `prefix` or `path`"),
        ("prefix = \"/x\"\npath = \"/x\"\nupstream = \"shop\"", "25:8: `path` and `prefix` exclude"),
        ("prefix = \"/x\"", "22:1: needs `upstream`, `split` or `redirect`"),
        ("prefix = \"/x/{id\"\nupstream = \"shop\"", "24:10: a parameter takes a whole segment"),
        ("prefix = \"/{a}/{a}\"\nupstream = \"shop\"", "24:10: a second parameter"),
        ("prefix = \"/x\"\nupstream = \"shop\"\nrewrite = \"/{id}\"", "26:11: `{id}` is no parameter"),
        ("prefix = \"/x\"\nredirect = { to = \"/y\", status = 200 }", "25:34: must be 301"),
        (
            "prefix = \"/x\"\nupstream = \"shop\"\nrequest_headers = { set = { Host = \"y\" } }",
            "26:36: `Host` is no field",
        ),
        ("prefix = \"/x\"\nsplit = []", "25:9: must list 1 to 16 shares"),
    ] {
        assert!(fault(lines).starts_with(expect), "{lines}\n  gave {}\n  not  {expect}", fault(lines));
    }
}

#[test]
fn upstreams_are_read_in_all_their_forms() {
    let with = |lines: &str| {
        let text = format!("{SMALL}[[upstream]]\nname = \"y\"\n{lines}\n");
        Config::parse(&text).map_err(|error| error.to_string())
    };
    let two = "addresses = [\"unix:/run/a.sock\", \"127.0.0.1:2\"]\n";
    let upstream = with(&format!(
        "{two}weights = [3, 1]\nbalance = \"hash:header:X-User\"\nretry = {{ attempts = 2 }}\n\
         health = {{ path = \"/healthz\" }}\nin_flight_max = 9\nslow_start_ms = 10\n\
         breaker = {{ failures = 5, open_ms = 1, half_open_max = 1, percent = 50 }}"
    ));
    let upstream = upstream.expect("a valid file").upstreams.pop().expect("an upstream");
    assert_eq!(upstream.addresses[0], Address::Unix(Path::new("/run/a.sock").into()));
    assert_eq!((&upstream.weights[..], upstream.in_flight_max), (&[3, 1][..], Some(9)));
    assert!(upstream.breaker.is_some_and(|rule| rule.share.is_some()));
    for (lines, expect) in [
        (format!("{two}weights = [1]"), "25:11: must list a weight for each"),
        (format!("{two}balance = \"best\""), "25:11: must be \"round-robin\""),
        ("addresses = [\"unix:a\"]".into(), "24:14: `unix:a` is no address"),
        (
            format!("{two}breaker = {{ failures = 5, open_ms = 1, half_open_max = 1, window_ms = 9 }}"),
            "25:71: needs `percent`",
        ),
    ] {
        let fault = with(&lines).map(|_| ()).expect_err(&lines);
        assert!(fault.starts_with(expect), "{lines}\n  gave {fault}\n  not  {expect}");
    }
}

#[test]
fn a_listener_for_tls_is_read() {
    let with = |lines: &str| {
        let text = format!("{SMALL}[server.tls]\nlisten = \"127.0.0.1:8443\"\n{lines}\n");
        Config::parse(&text).map(|config| config.server.tls).map_err(|error| error.to_string())
    };
    let files = "chain = \"a.pem\"\nkey = \"a.key\"\n";
    let shop =
        format!("[[server.tls.certificate]]\nhosts = [\"Shop.example\", \"*.shop.example\", \"*\"]\n{files}");
    let tls = with(&format!("client_ca = \"ca.pem\"\nclient_auth = \"optional\"\n{shop}"));
    let tls = tls.expect("a valid file").expect("a listener");
    let [certificate] = &tls.certificates[..] else { panic!("one certificate") };
    let under = HostPattern::Under("shop.example".into());
    assert_eq!(certificate.hosts, [HostPattern::Exact("shop.example".into()), under, HostPattern::Any]);
    assert_eq!((certificate.chain.place.line, certificate.chain.place.column), (28, 9));
    let clients = tls.clients.expect("clients");
    assert_eq!((clients.auth, clients.ca.path.as_path()), (ClientAuth::Optional, Path::new("ca.pem")));
    assert_eq!(with(&shop).expect("a valid file").expect("a listener").clients, None);

    let fault = |lines: &str| with(lines).map(|_| ()).expect_err(lines);
    for (lines, expect) in [
        (String::new(), "22:1: needs a `[[server.tls.certificate]]`"),
        (format!("client_auth = \"optional\"\n{shop}"), "24:15: needs `client_ca`"),
        (format!("client_ca = \"a\"\nclient_auth = \"maybe\"\n{shop}"), "25:15: must be \"required\""),
        (shop.replace("[\"Shop.example\", \"*.shop.example\", \"*\"]", "[]"), "25:9: must list 1 to"),
        (shop.replace("Shop.example", "127.0.0.1"), "25:10: no client names an address"),
        (shop.replace("Shop.example", "[::1]"), "25:10: no client names an address"),
        (shop.replace("Shop.example", "a b"), "25:10: must be a host name"),
        (format!("{shop}{shop}"), "29:10: a second certificate for `Shop.example`"),
        (shop.replace("key", "kay"), "27:1: unknown field `kay`"),
    ] {
        assert!(fault(&lines).starts_with(expect), "{lines}\n  gave {}\n  not  {expect}", fault(&lines));
    }
}

#[test]
fn a_collector_of_spans_is_read() {
    let with = |lines: &str, more: &str| {
        Config::parse(&format!("{SMALL}[tracing]\n{lines}\n{more}"))
            .map(|config| config.tracing.expect("a collector"))
            .map_err(|error| error.to_string())
    };
    assert_eq!(Config::parse(SMALL).expect("a valid file").tracing, None);
    let tracing = with("upstream = \"shop\"", "").expect("a valid file");
    assert_eq!((tracing.upstream, &*tracing.path, &*tracing.service), (0, "/v1/traces", "gateway"));
    assert_eq!((tracing.begin_one_in, tracing.timeout), (None, Duration::from_secs(5)));
    let all =
        "upstream = \"shop\"\npath = \"/otlp\"\nservice = \"edge\"\nbegin_one_in = 100\ntimeout_ms = 250";
    let tracing = with(all, "").expect("a valid file");
    assert_eq!((&*tracing.path, &*tracing.service, tracing.begin_one_in), ("/otlp", "edge", Some(100)));
    let http2 = "[[upstream]]\nname = \"h2\"\naddresses = [\"127.0.0.1:1\"]\nprotocol = \"http2\"\n";
    for (lines, more, expect) in [
        ("", "", "22:1: missing field `upstream`"),
        ("upstream = \"none\"", "", "23:12: no upstream named `none`"),
        ("upstream = \"h2\"", http2, "23:12: spans are sent in HTTP/1"),
        ("upstream = \"shop\"\npath = \"v1\"", "", "24:8: the path does not start with a slash"),
        ("upstream = \"shop\"\nservice = \"a b\"", "", "24:11: must be 1 to 64 letters"),
        ("upstream = \"shop\"\nbegin_one_in = 0", "", "24:16: must be from 1 to"),
        ("upstream = \"shop\"\ntimeout_ms = 60001", "", "24:14: must be from 1 to 60000"),
        ("upstream = \"shop\"\nendpoint = \"x\"", "", "24:1: unknown field `endpoint`"),
    ] {
        let fault = with(lines, more).map(|_| ()).expect_err(lines);
        assert!(fault.starts_with(expect), "{lines}\n  gave {fault}\n  not  {expect}");
    }
}

#[test]
fn columns_count_characters() {
    let error = ConfigError::at("a\n\u{e9}\u{e9} b", 7, "x");
    assert_eq!((error.line, error.column), (2, 4));
}

/// Set `PACELINE_WRITE_SCHEMAS=1` to write the file anew after a change of the types.
#[test]
fn the_schema_is_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/gateway.schema.json");
    let wanted = serde_json::to_string_pretty(&schemars::schema_for!(file::File)).expect("JSON") + "\n";
    if std::env::var_os("PACELINE_WRITE_SCHEMAS").is_some() {
        std::fs::write(&path, &wanted).expect("a file");
    }
    // A copy of the gateway alone, as the demonstration's, has no docs.
    if path.parent().is_some_and(Path::exists) {
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == wanted, "it is out of date; run the tests with PACELINE_WRITE_SCHEMAS=1");
    }
}
