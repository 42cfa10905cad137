//! Paths, header fields and configurations as the gateway reads them; `gateway_framing` has the messages.
#![no_main]

use gateway::config::Config;
use gateway::headers::{self, Hop};
use gateway::path::normalize;
use http::{HeaderMap, HeaderName, HeaderValue};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match (kind % 3, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => path(text),
        (1, Ok(text)) => config(text),
        _ => fields(bytes),
    }
});

/// The normal form is its own normal form, and leads nowhere above the root.
fn path(text: &str) {
    let Ok(normal) = normalize(text) else { return };
    assert_eq!(normalize(&normal).as_deref(), Ok(&*normal), "from {text:?}");
    assert!(normal.starts_with('/') && !normal.contains("//"), "{text:?} became {normal:?}");
    assert!(
        !normal.split('/').any(|segment| segment == "." || segment == ".."),
        "{text:?} became {normal:?}"
    );
    assert!(!normal.to_ascii_lowercase().contains("%2e") && !normal.contains("%00"), "{normal:?}");
}

/// A configuration that cannot be used says where.
fn config(text: &str) {
    if let Err(error) = Config::parse(text) {
        let lines = text.split('\n').count();
        assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error} of {lines} lines");
        assert!(!error.message.is_empty());
    }
}

/// What ends at this hop goes no further, whatever `Connection` says.
fn fields(bytes: &[u8]) {
    let mut map = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..at], line.get(at + 1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    let hop = Hop {
        client: HeaderValue::from_static("192.0.2.1"),
        scheme: HeaderValue::from_static("http"),
        host: None,
        request_id: HeaderValue::from_static("own"),
    };
    let framing = |map: &HeaderMap| ["host", "content-length"].map(|name| map.get_all(name).iter().count());
    let before = framing(&map);
    headers::forward(&mut map, &hop);
    assert_eq!(framing(&map), before, "no sender may remove what frames and addresses the message");
    for gone in
        ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization"]
    {
        assert!(!map.contains_key(gone), "{gone} went on");
    }
    assert!(!map.contains_key("x-forwarded-host"), "a client's word for the host it asked");
    let id = map.get("x-request-id").expect("each request has an id");
    assert!(id.len() <= headers::REQUEST_ID_MAX_BYTES && id.to_str().is_ok());
    assert!(map.contains_key("via") && map.contains_key("x-forwarded-for"));
}
