//! The head of a request: parsed strictly, and refused wherever two readers could see two requests.

use super::field::{Known, Options, members};
use super::framing::{BadFraming, Framing, Lengths};
use super::scan::BadLine;
use crate::path::PATH_MAX_BYTES;
use httparse::{Error, Header, Status};
use std::mem::MaybeUninit;

/// The host, the path and the query that a request names, its fields, and what they say about its framing.
/// Nothing is copied: all of it lies in the bytes that were parsed, the fields' list in `'h`.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    /// The whole head, with its empty line.
    pub bytes: &'b [u8],
    pub method: &'b str,
    pub is_http_11: bool,
    /// As it came, not in normal form; `*` in a request for the server as such.
    pub path: &'b str,
    pub query: Option<&'b str>,
    /// From an absolute target, which wins, or from the field. None only in HTTP/1.0.
    pub host: Option<&'b str>,
    pub fields: &'h [Header<'b>],
    pub framing: Framing,
    pub options: Options,
    pub expects_continue: bool,
    pub upgrade: Option<&'b [u8]>,
    pub seen: Seen,
}

/// Which fields there are, among those that a proxy writes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u32);

impl Seen {
    pub fn add(&mut self, known: Known) {
        self.0 |= 1 << known as u32;
    }

    pub fn has(self, known: Known) -> bool {
        self.0 & 1 << known as u32 != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    BareLf,
    /// No request line, or no sense in it.
    BadLine,
    /// HTTP, but of a version that this does not speak.
    BadVersion,
    BadName,
    BadValue,
    TooManyFields,
    HeadTooLarge,
    TargetTooLong,
    BadTarget,
    NoHost,
    TwoHosts,
    BadHost,
    Framing(BadFraming),
    /// `CONNECT`: tunnels are not offered.
    Tunnel,
    /// `TRACE` with a body (RFC 9110, section 9.3.8).
    BodyOfTrace,
    /// An `Expect` of something else than leave to send the body.
    UnknownExpectation,
}

impl BadRequest {
    pub fn status(self) -> u16 {
        match self {
            BadRequest::BadVersion => 505,
            BadRequest::TooManyFields | BadRequest::HeadTooLarge => 431,
            BadRequest::TargetTooLong => 414,
            BadRequest::Tunnel | BadRequest::Framing(BadFraming::UnknownCoding) => 501,
            BadRequest::UnknownExpectation => 417,
            _ => 400,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            BadRequest::BareLf => "a line of the request does not end in CR LF",
            BadRequest::BadLine => "the request line makes no sense",
            BadRequest::BadVersion => "this version of HTTP is not spoken here",
            BadRequest::BadName => "a field name is not valid",
            BadRequest::BadValue => "a field value is not valid",
            BadRequest::TooManyFields => "the request has too many fields",
            BadRequest::HeadTooLarge => "the head of the request is too large",
            BadRequest::TargetTooLong => "the target is too long",
            BadRequest::BadTarget => "the target is not valid",
            BadRequest::NoHost => "the request names no host",
            BadRequest::TwoHosts => "the request names more than one host",
            BadRequest::BadHost => "the host is not valid",
            BadRequest::Framing(bad) => bad.reason(),
            BadRequest::Tunnel => "tunnels are not offered",
            BadRequest::BodyOfTrace => "a TRACE with a body",
            BadRequest::UnknownExpectation => "the expectation is not known",
        }
    }
}

impl From<BadLine> for BadRequest {
    fn from(bad: BadLine) -> BadRequest {
        match bad {
            BadLine::BareLf => BadRequest::BareLf,
            BadLine::Empty => BadRequest::BadLine,
        }
    }
}

/// Parses a whole head, as [`super::scan::HeadScan`] found it. `slots` bounds the fields.
pub fn parse<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<RequestHead<'h, 'b>, BadRequest> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, slots) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(BadRequest::BadLine),
        Err(error) => return Err(fault(error, bytes)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(BadRequest::BadLine);
    };
    let target = target_of(method, target)?;
    let mut head = RequestHead {
        bytes,
        method,
        is_http_11: minor == 1,
        path: target.path,
        query: target.query,
        host: target.authority,
        fields: request.headers,
        framing: Framing::Empty,
        options: Options::default(),
        expects_continue: false,
        upgrade: None,
        seen: Seen::default(),
    };
    head.read_fields()?;
    Ok(head)
}

impl<'b> RequestHead<'_, 'b> {
    /// The first field of a name.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    fn read_fields(&mut self) -> Result<(), BadRequest> {
        let mut lengths = Lengths::default();
        let mut host_field = None;
        for field in self.fields {
            let known = Known::of(field.name);
            match known {
                Known::Other => continue,
                Known::Host if host_field.is_some() => return Err(BadRequest::TwoHosts),
                Known::Host => host_field = Some(field.value),
                Known::ContentLength => lengths.add_length(field.value).map_err(BadRequest::Framing)?,
                Known::TransferEncoding => lengths.add_coding(field.value),
                Known::Connection => self.options.add(field.value),
                Known::Upgrade => self.upgrade = Some(field.value),
                Known::Expect => {
                    if !field.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(BadRequest::UnknownExpectation);
                    }
                    self.expects_continue = true;
                }
                _ => {}
            }
            self.seen.add(known);
        }
        self.set_host(host_field)?;
        self.framing =
            lengths.framing(self.is_http_11).map_err(BadRequest::Framing)?.unwrap_or(Framing::Empty);
        let has_body = !matches!(self.framing, Framing::Empty | Framing::Length(0));
        if has_body && self.method == "TRACE" {
            return Err(BadRequest::BodyOfTrace);
        }
        // Of HTTP/1.0, and without a body, an expectation is to be ignored (RFC 9110, section 10.1.1).
        self.expects_continue &= has_body && self.is_http_11;
        let goes_on = self.options.upgrade && self.is_http_11 && !has_body;
        self.upgrade = self.upgrade.filter(|protocols| goes_on && !members(protocols).any(is_http));
        Ok(())
    }

    /// RFC 9112, section 3.2: exactly one field in HTTP/1.1, valid even where an absolute target wins.
    fn set_host(&mut self, field: Option<&'b [u8]>) -> Result<(), BadRequest> {
        let Some(value) = field else {
            return if self.is_http_11 { Err(BadRequest::NoHost) } else { Ok(()) };
        };
        let text = std::str::from_utf8(value).map_err(|_| BadRequest::BadHost)?;
        if !is_authority(text) {
            return Err(BadRequest::BadHost);
        }
        self.host = self.host.or(Some(text));
        Ok(())
    }
}

/// Whether a protocol to change to is HTTP itself, or TLS below it. What is asked for within it would pass
/// every route and every limit unseen, so it is never passed on.
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

struct Target<'b> {
    authority: Option<&'b str>,
    path: &'b str,
    query: Option<&'b str>,
}

fn target_of<'b>(method: &str, target: &'b str) -> Result<Target<'b>, BadRequest> {
    if method == "CONNECT" {
        return Err(BadRequest::Tunnel);
    }
    if target.len() > PATH_MAX_BYTES {
        return Err(BadRequest::TargetTooLong);
    }
    // A fragment never leaves its client, and a backslash is a slash to some servers and none to others.
    if target.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'\\')) {
        return Err(BadRequest::BadTarget);
    }
    if target == "*" {
        return match method {
            "OPTIONS" => Ok(Target { authority: None, path: target, query: None }),
            _ => Err(BadRequest::BadTarget),
        };
    }
    let (authority, rest) = match target.starts_with('/') {
        true => (None, target),
        false => {
            let (scheme, rest) = target.split_once("://").ok_or(BadRequest::BadTarget)?;
            if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
                return Err(BadRequest::BadTarget);
            }
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if authority.is_empty() || !is_authority(authority) {
                return Err(BadRequest::BadHost);
            }
            (Some(authority), rest)
        }
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Ok(Target { authority, path: if path.is_empty() { "/" } else { path }, query })
}

/// A host and perhaps a port (RFC 3986, section 3.2), without the user that may stand before them. Empty is
/// valid: that is how a target without an authority is sent.
fn is_authority(text: &str) -> bool {
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, after)) => {
                let valid =
                    inside.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
                if !valid || inside.is_empty() || !(after.is_empty() || after.starts_with(':')) {
                    return false;
                }
                ("", after.strip_prefix(':').unwrap_or(""))
            }
            None => return false,
        },
        None => text.split_once(':').unwrap_or((text, "")),
    };
    host.bytes().all(is_of_host) && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn fault(error: Error, bytes: &[u8]) -> BadRequest {
    match error {
        Error::HeaderName => BadRequest::BadName,
        Error::HeaderValue => BadRequest::BadValue,
        Error::TooManyHeaders => BadRequest::TooManyFields,
        Error::Version if names_a_version(bytes) => BadRequest::BadVersion,
        _ => BadRequest::BadLine,
    }
}

/// Whether the first line ends in `HTTP/` and two digits, so that it is only the version that is strange.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::scan::HeadScan;

    fn with<R>(text: &str, then: impl FnOnce(Result<RequestHead<'_, '_>, BadRequest>) -> R) -> R {
        let mut slots = [const { MaybeUninit::uninit() }; 16];
        match HeadScan::default().advance(text.as_bytes()) {
            Ok(Some(length)) => then(parse(&text.as_bytes()[..length], &mut slots)),
            Ok(None) => panic!("not a whole head: {text:?}"),
            Err(bad) => then(Err(bad.into())),
        }
    }

    #[track_caller]
    fn refused(text: &str, expect: BadRequest) {
        with(text, |head| assert_eq!(head.expect_err(text), expect, "{text:?}"));
    }

    #[test]
    fn a_request_is_read() {
        with(
            "POST /a/b?c=d?e HTTP/1.1\r\nHost: Shop.example:80\r\nContent-Length: 5\r\nx:  y \r\n\r\n",
            |head| {
                let head = head.expect("a request");
                assert_eq!((head.method, head.path, head.query), ("POST", "/a/b", Some("c=d?e")));
                assert_eq!((head.host, head.framing), (Some("Shop.example:80"), Framing::Length(5)));
                assert_eq!(head.field("X"), Some(&b"y"[..]));
                assert!(head.is_http_11 && head.seen.has(Known::Host) && !head.seen.has(Known::Via));
            },
        );
        with("GET http://[::1]:80?q HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n", |head| {
            let head = head.expect("a request");
            assert_eq!((head.host, head.path, head.query), (Some("[::1]:80"), "/", Some("q")));
            assert!(head.options.close);
        });
        with("GET / HTTP/1.0\r\n\r\n", |head| assert_eq!(head.expect("a request").host, None));
        with("GET / HTTP/1.1\r\nhost:\r\n\r\n", |head| assert_eq!(head.expect("a request").host, Some("")));
        with("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", |head| assert_eq!(head.expect("a request").path, "*"));
    }

    #[test]
    fn expectations_and_upgrades_hold_only_where_they_mean_something() {
        let is = |text: &str| {
            with(text, |head| {
                let head = head.expect(text);
                (head.expects_continue, head.upgrade.is_some())
            })
        };
        let post = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-Continue\r\n";
        assert_eq!(is(&format!("{post}content-length: 1\r\n\r\n")), (true, false));
        assert_eq!(is(&format!("{post}content-length: 0\r\n\r\n")), (false, false));
        assert_eq!(
            is("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"),
            (false, false)
        );
        let get = "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n";
        assert_eq!(is(&format!("{get}connection: Upgrade\r\n\r\n")), (false, true));
        assert_eq!(is(&format!("{get}\r\n")), (false, false));
        for http in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
            let get = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: {http}\r\n\r\n");
            assert_eq!(is(&get), (false, false), "{http}");
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        let get = |fields: &str| format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        refused(&get("a: b\n"), BadRequest::BareLf);
        refused(&get("a: b\rc\r\n"), BadRequest::BadValue);
        refused(&get("a: b\0\r\n"), BadRequest::BadValue);
        refused(&get("a: b\u{b}c\r\n"), BadRequest::BadValue);
        refused(&get("a : b\r\n"), BadRequest::BadName);
        refused(&get("transfer-encoding : chunked\r\n"), BadRequest::BadName);
        refused(&get(" folded\r\n"), BadRequest::BadName);
        refused(&get("a: b\r\n\tfolded\r\n"), BadRequest::BadName);
        refused(&get("a\r\n"), BadRequest::BadName);
        refused(&get(": b\r\n"), BadRequest::BadName);
        refused(&get("a(b): c\r\n"), BadRequest::BadName);
        refused(&get("\u{e9}: c\r\n"), BadRequest::BadName);
        refused(&get("host: x\r\n"), BadRequest::TwoHosts);
        refused("GET / HTTP/1.1\r\n\r\n", BadRequest::NoHost);
        for host in
            ["a b", "a/b", "user@a", "a:b", "a:123456", "[::1", "[]", "[::1]x", "a\u{e9}", "a?b", "a\"b"]
        {
            refused(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"), BadRequest::BadHost);
        }
        refused("GET http://u@x/ HTTP/1.1\r\nhost: x\r\n\r\n", BadRequest::BadHost);
        refused("GET http:///a HTTP/1.1\r\nhost: x\r\n\r\n", BadRequest::BadHost);
        for target in ["a", "ftp://x/", "*", "/a#b", "/a\\b", "/\u{e9}", "x:80", "//"] {
            let text = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
            match target {
                "//" => with(&text, |head| assert_eq!(head.expect("a request").path, "//")),
                _ => refused(&text, BadRequest::BadTarget),
            }
        }
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET /",
            "GET / a HTTP/1.1",
            " GET / HTTP/1.1",
            "G(T / HTTP/1.1",
        ] {
            refused(&format!("{line}\r\nhost: x\r\n\r\n"), BadRequest::BadLine);
        }
        refused("GET / HTTP/2.0\r\nhost: x\r\n\r\n", BadRequest::BadVersion);
        refused("GET / HTTP/1.2\r\nhost: x\r\n\r\n", BadRequest::BadVersion);
        refused("GET / http/1.1\r\nhost: x\r\n\r\n", BadRequest::BadLine);
        refused("\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n", BadRequest::BadLine);
        refused("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n", BadRequest::Tunnel);
        refused("TRACE / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n", BadRequest::BodyOfTrace);
        refused(&get("expect: 200-maybe\r\n"), BadRequest::UnknownExpectation);
        refused(&get(&"a: b\r\n".repeat(16)), BadRequest::TooManyFields);
        refused(&format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(9000)), BadRequest::TargetTooLong);
        refused(
            &get("content-length: 1\r\ntransfer-encoding: chunked\r\n"),
            BadRequest::Framing(BadFraming::LengthAndCoding),
        );
        refused(
            &get("content-length: 1\r\ncontent-length: 1\r\n"),
            BadRequest::Framing(BadFraming::TwoLengths),
        );
        refused(
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            BadRequest::Framing(BadFraming::CodingInOldVersion),
        );
    }
}
