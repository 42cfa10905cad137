//! The header fields of a message on its way through: what ends at this hop goes, what tells the next
//! hop about this one comes.
//!
//! Pure: works on a `HeaderMap` and on values made beforehand.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request id longer than this is replaced: it goes into log lines here and at every hop behind.
pub const REQUEST_ID_MAX_BYTES: usize = 128;

/// Fields that end at this hop whether or not `Connection` names them (RFC 9110, section 7.6.1, with the
/// two proxy fields of RFC 2616, section 13.5.1, and `Trailer`, since trailers are not passed on).
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the next hop is told about a connection and a request.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The address of the client, as text.
    pub client: HeaderValue,
    /// `http` or `https`.
    pub scheme: HeaderValue,
    /// The name that the client asked for, if it gave one.
    pub host: Option<HeaderValue>,
    /// Used when the request brings no id of its own that can be kept.
    pub request_id: HeaderValue,
}

/// Rewrites the fields of a request for the upstream.
pub fn forward(headers: &mut HeaderMap, hop: &Hop) {
    remove_hop_by_hop(headers);
    append(headers, &X_FORWARDED_FOR, &hop.client);
    headers.insert(X_FORWARDED_PROTO, hop.scheme.clone());
    match &hop.host {
        Some(host) => headers.insert(X_FORWARDED_HOST, host.clone()),
        None => headers.remove(X_FORWARDED_HOST),
    };
    append(headers, &header::VIA, &VIA);
    if !headers.get(X_REQUEST_ID).is_some_and(can_keep_id) {
        headers.insert(X_REQUEST_ID, hop.request_id.clone());
    }
}

/// Rewrites the fields of a response for the client.
pub fn backward(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    append(headers, &header::VIA, &VIA);
}

/// The name is a pseudonym (RFC 9110, section 7.6.3), so that it gives no host name away.
static VIA: HeaderValue = HeaderValue::from_static("1.1 gateway");

/// Removes the fields that end at this hop, and those that `Connection` adds to them. The two that frame
/// and address the message stay even when they are named there: no sender may do that, and a message
/// without them would be another message.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The other fields that `Connection` names. Usually it only says `keep-alive` or `close`, and then this
/// allocates nothing.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options
        .map(<[u8]>::trim_ascii)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect()
}

/// Sets a list field, or adds to the one that is there. Several fields of one name become one.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let joined = match headers.contains_key(name) {
        true => join(headers.get_all(name), value),
        false => value.clone(),
    };
    headers.insert(name, joined);
}

fn join(known: header::GetAll<'_, HeaderValue>, last: &HeaderValue) -> HeaderValue {
    let mut list = Vec::with_capacity(64);
    for value in known {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).unwrap_or_else(|_| last.clone())
}

/// Letters, digits and the punctuation of common id formats, so that it can go into a log as it is.
fn can_keep_id(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    !id.is_empty() && id.len() <= REQUEST_ID_MAX_BYTES && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(lines: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a field");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, value.trim().parse().expect("a value"));
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().expect("ascii"))).collect();
        lines.sort();
        lines
    }

    fn hop() -> Hop {
        Hop {
            client: HeaderValue::from_static("192.0.2.7"),
            scheme: HeaderValue::from_static("http"),
            host: Some(HeaderValue::from_static("shop.example")),
            request_id: HeaderValue::from_static("made-here"),
        }
    }

    fn check(request: &str, expect: &str) {
        let mut headers = map(request);
        forward(&mut headers, &hop());
        assert_eq!(lines(&headers), lines(&map(expect)), "{request}");
    }

    const ADDED: &str =
        "x-forwarded-for: 192.0.2.7\nx-forwarded-proto: http\nx-forwarded-host: shop.example\n";

    #[test]
    fn a_request_learns_of_this_hop() {
        check("accept: */*", &format!("accept: */*\nvia: 1.1 gateway\nx-request-id: made-here\n{ADDED}"));
    }

    #[test]
    fn what_earlier_hops_said_is_kept_or_replaced() {
        check(
            "via: 1.0 a
             via: 1.1 b
             x-forwarded-for: 10.0.0.1
             x-forwarded-for: 10.0.0.2, 10.0.0.3
             x-forwarded-proto: https
             x-forwarded-host: evil.example
             x-request-id: ab-12_3",
            "via: 1.0 a, 1.1 b, 1.1 gateway
             x-forwarded-for: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7
             x-forwarded-proto: http
             x-forwarded-host: shop.example
             x-request-id: ab-12_3",
        );
    }

    #[test]
    fn what_ends_at_this_hop_goes() {
        check(
            "connection: keep-alive, X-Private,,Host , content-length, x-request-id
             connection: other
             x-private: 1
             other: 2
             x-request-id: named
             keep-alive: timeout=5
             proxy-connection: keep-alive
             proxy-authorization: secret
             proxy-authenticate: basic
             te: trailers
             trailer: x
             transfer-encoding: chunked
             upgrade: websocket
             host: shop.example
             content-length: 3
             authorization: kept",
            &format!(
                "host: shop.example\ncontent-length: 3\nauthorization: kept
                 via: 1.1 gateway\nx-request-id: made-here\n{ADDED}"
            ),
        );
    }

    #[test]
    fn an_id_that_would_spoil_a_log_is_replaced() {
        for id in ["", "a b", "a\"b", "a\\b", &"a".repeat(129), "\u{e9}"] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).expect("a value"));
            forward(&mut headers, &hop());
            assert_eq!(headers[X_REQUEST_ID], "made-here", "{id}");
        }
    }

    #[test]
    fn a_response_loses_its_hop_and_gains_a_via() {
        let mut headers = map("connection: close\nkeep-alive: x\nupgrade: h2c\nserver: s\nvia: 1.1 origin");
        backward(&mut headers);
        assert_eq!(lines(&headers), ["server: s", "via: 1.1 origin, 1.1 gateway"]);
    }

    proptest! {
        #[test]
        fn nothing_named_by_connection_passes(names in prop::collection::vec("[a-z]{1,8}", 1..6)) {
            let mut headers = HeaderMap::new();
            for name in &names {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                headers.append(name, HeaderValue::from_static("1"));
            }
            headers.insert(header::CONNECTION, names.join(", ").parse().expect("a list"));
            remove_hop_by_hop(&mut headers);
            for name in names.iter().filter(|name| *name != "host") {
                prop_assert!(!headers.contains_key(name.as_str()), "{name}");
            }
        }
    }
}
