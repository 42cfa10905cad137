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
    assert_eq!(upstream.breaker, Some(breaker::Rule { failures: 5, open_ms: 1000, half_open_max: 2 }));
    let [all, users] = &config.routes[..] else { panic!("two routes") };
    assert_eq!((&all.rule.host, all.rule.methods), (&HostPattern::Any, Methods::ALL));
    assert_eq!(users.rule.host, HostPattern::Under("example.com".into()));
    assert!(users.rule.methods.contains(Verb::Head) && !users.rule.methods.contains(Verb::Put));
    let limit = users.limit.as_ref().expect("a limit");
    assert_eq!(limit.by, LimitBy::Header(HeaderName::from_static("x-api-key")));
    assert!(users.strip_prefix && !all.strip_prefix);
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

#[test]
fn columns_count_characters() {
    let error = ConfigError::at("a\n\u{e9}\u{e9} b", 7, "x");
    assert_eq!((error.line, error.column), (2, 4));
}
