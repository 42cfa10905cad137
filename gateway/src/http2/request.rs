//! The fields of a client's request, written down as HTTP/1 has them while they are read. Pure.
//!
//! What is written is judged by the parser that judges everybody's HTTP/1, so only what the text could not show
//! is judged here: what RFC 9113, section 8, calls malformed, pseudo-header fields that contradict the fields, and
//! bytes that would end a line or a word of the text.

use super::Carried;
use crate::http1::framing::{BadFraming, decimal};
use crate::http1::request::BadRequest;

/// What a field counts besides its name and value (RFC 9113, section 6.5.2).
const FIELD_BYTES: usize = 32;

/// Why nothing of a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The stream is reset.
    Malformed,
    /// It is answered.
    Refused(BadRequest),
}

/// One request after the other; what they were written in is used again.
#[derive(Debug, Default)]
pub struct RequestText {
    text: Vec<u8>,
    /// The pseudo-header fields behind each other, and where each ends.
    pseudo: Vec<u8>,
    places: [Option<(usize, usize)>; 4],
    /// Crumbs of one cookie (section 8.2.3).
    cookie: Vec<u8>,
    /// The request line has been written: only fields may follow.
    has_line: bool,
    has_host: bool,
    /// What the first `content-length` says.
    length: Option<Option<u64>>,
    left_bytes: usize,
    fault: Option<Fault>,
}

/// Places of the pseudo-header fields.
const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;

impl RequestText {
    /// `header_bytes` bounds the list of fields.
    pub fn begin(&mut self, header_bytes: usize) {
        self.text.clear();
        self.pseudo.clear();
        self.cookie.clear();
        self.places = [None; 4];
        (self.has_line, self.has_host) = (false, false);
        (self.length, self.fault) = (None, None);
        self.left_bytes = header_bytes;
    }

    /// The head as HTTP/1 has it, once [`RequestText::end`] has said that there is one.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub fn is_head(&self) -> bool {
        self.pseudo(METHOD) == Some(b"HEAD")
    }

    /// Takes the next field; false when no more are wanted.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        match self.left_bytes.checked_sub(name.len() + value.len() + FIELD_BYTES) {
            Some(left) => self.left_bytes = left,
            None => {
                self.fault = Some(Fault::Refused(BadRequest::HeadTooLarge));
                return false;
            }
        }
        let taken = match name.first() {
            Some(b':') => self.take_pseudo(&name[1..], value),
            _ => self.take_field(name, value),
        };
        match taken {
            Ok(()) => true,
            Err(Fault::Malformed) => {
                self.fault = Some(Fault::Malformed);
                false
            }
            Err(refused) => {
                // What is malformed may still follow, and weighs more.
                self.fault.get_or_insert(refused);
                true
            }
        }
    }

    /// `ends` says that no body follows.
    pub fn end(&mut self, ends: bool) -> Result<Carried, Fault> {
        match self.fault {
            Some(fault @ (Fault::Malformed | Fault::Refused(BadRequest::HeadTooLarge))) => return Err(fault),
            _ => self.write_line()?,
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.cookie.is_empty() {
            write_field(&mut self.text, b"cookie", &self.cookie);
        }
        let carried = match (self.length, ends) {
            (Some(Some(0)), _) => Carried::Nothing,
            (Some(Some(length)), false) => Carried::Length(length),
            (Some(_), _) => return Err(Fault::Refused(BadRequest::Framing(BadFraming::BadLength))),
            (None, true) => {
                // RFC 9110, section 8.6: where a body could be meant, its absence is said.
                if matches!(self.pseudo(METHOD), Some(b"POST" | b"PUT" | b"PATCH")) {
                    write_field(&mut self.text, b"content-length", b"0");
                }
                Carried::Nothing
            }
            (None, false) => {
                write_field(&mut self.text, b"transfer-encoding", b"chunked");
                Carried::Chunks
            }
        };
        self.text.extend_from_slice(b"\r\n");
        Ok(carried)
    }

    fn pseudo(&self, place: usize) -> Option<&[u8]> {
        self.places[place].map(|(from, to)| &self.pseudo[from..to])
    }

    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let place = match name {
            b"method" => METHOD,
            b"scheme" => SCHEME,
            b"authority" => AUTHORITY,
            b"path" => PATH,
            _ => return Err(Fault::Malformed),
        };
        if self.has_line || self.places[place].is_some() || !is_value(value) {
            return Err(Fault::Malformed);
        }
        let from = self.pseudo.len();
        self.pseudo.extend_from_slice(value);
        self.places[place] = Some((from, self.pseudo.len()));
        Ok(())
    }

    /// The request line and the host, as soon as all that they are made of is known.
    fn write_line(&mut self) -> Result<(), Fault> {
        if self.has_line {
            return Ok(());
        }
        self.has_line = true;
        let place = |place: usize| self.places[place].map(|(from, to)| &self.pseudo[from..to]);
        let method =
            place(METHOD).filter(|method| !method.is_empty() && method.iter().all(|byte| is_token(*byte)));
        let method = method.ok_or(Fault::Malformed)?;
        if method == b"CONNECT" {
            self.fault.get_or_insert(Fault::Refused(BadRequest::Tunnel));
            return Ok(());
        }
        let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let scheme = place(SCHEME).filter(|scheme| !scheme.is_empty() && scheme.iter().all(is_of_scheme));
        let path = place(PATH).filter(|path| !path.is_empty());
        let (Some(_), Some(path)) = (scheme, path) else { return Err(Fault::Malformed) };
        // Anything else would be taken for an absolute target, which names another host, or for other words.
        if (path[0] != b'/' && path != b"*") || !path.iter().all(u8::is_ascii_graphic) {
            self.fault.get_or_insert(Fault::Refused(BadRequest::BadTarget));
            return Ok(());
        }
        for part in [method, b" ", path, b" HTTP/1.1\r\n"] {
            self.text.extend_from_slice(part);
        }
        if let Some(authority) = place(AUTHORITY) {
            if authority.is_empty() || !authority.iter().all(u8::is_ascii_graphic) {
                self.fault.get_or_insert(Fault::Refused(BadRequest::BadHost));
                return Ok(());
            }
            write_field(&mut self.text, b"host", authority);
        }
        Ok(())
    }

    fn take_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.write_line()?;
        if !is_field(name, value) {
            return Err(Fault::Malformed);
        }
        match name {
            b"te" if value != b"trailers" => return Err(Fault::Malformed),
            b"host" => return self.take_host(value),
            b"cookie" if is_bare(value) => {
                if !self.cookie.is_empty() {
                    self.cookie.extend_from_slice(b"; ");
                }
                self.cookie.extend_from_slice(value);
                return Ok(());
            }
            b"content-length" => {
                self.length.get_or_insert(decimal(value));
            }
            _ => {}
        }
        if !is_bare(value) {
            return Err(Fault::Refused(BadRequest::BadValue));
        }
        write_field(&mut self.text, name, value);
        Ok(())
    }

    /// The one host that a request names, in one place or in both alike (section 8.3.1).
    fn take_host(&mut self, value: &[u8]) -> Result<(), Fault> {
        if std::mem::replace(&mut self.has_host, true) {
            return Err(Fault::Refused(BadRequest::TwoHosts));
        }
        if !is_bare(value) {
            return Err(Fault::Refused(BadRequest::BadHost));
        }
        match self.pseudo(AUTHORITY) {
            Some(authority) if !authority.eq_ignore_ascii_case(value) => {
                return Err(Fault::Refused(BadRequest::TwoHosts));
            }
            Some(_) => {}
            None => write_field(&mut self.text, b"host", value),
        }
        Ok(())
    }
}

/// Writes a field of a trailer section as HTTP/1 has it; false where it is malformed.
pub(super) fn trailer(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let is_good = is_field(name, value) && is_bare(value) && name != b"te";
    if is_good {
        write_field(out, name, value);
    }
    is_good
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    [name, b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
}

/// A name in lower case, of no field that is of one connection of HTTP/1, and a value (sections 8.2.1 and 8.2.2).
fn is_field(name: &[u8], value: &[u8]) -> bool {
    let is_of_name = |byte: &u8| is_token(*byte) && !byte.is_ascii_uppercase();
    let is_of_hop = matches!(
        name,
        b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection"
    );
    !name.is_empty() && name.iter().all(is_of_name) && !is_of_hop && is_value(value)
}

/// No control characters but the tab: what would end a line in HTTP/1, or be read differently there.
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

/// Without a space at either end, which HTTP/1 would not keep.
fn is_bare(value: &[u8]) -> bool {
    !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    static TOKEN: [bool; 256] = {
        let (mut table, mut byte) = ([false; 256], 0_u8);
        loop {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            if byte == u8::MAX {
                break table;
            }
            byte += 1;
        }
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)], ends: bool) -> Result<(String, Carried), Fault> {
        let mut request = RequestText::default();
        request.begin(1000);
        let _ = fields.iter().all(|(name, value)| request.field(name.as_bytes(), value.as_bytes()));
        let carried = request.end(ends)?;
        Ok((String::from_utf8_lossy(request.text()).into_owned(), carried))
    }

    fn of<'f>(method: &'f str, path: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        [&[(":method", method), (":scheme", "https"), (":path", path)], more].concat()
    }

    #[track_caller]
    fn written(fields: &[(&str, &str)], ends: bool, expect: &str, carried: Carried) {
        assert_eq!(read(fields, ends), Ok((expect.to_owned(), carried)));
    }

    #[track_caller]
    fn refused(fields: &[(&str, &str)], ends: bool, expect: BadRequest) {
        assert_eq!(read(fields, ends), Err(Fault::Refused(expect)), "{fields:?}");
    }

    #[test]
    fn a_request_is_written() {
        written(
            &of("GET", "/a/b?c=d", &[(":authority", "shop.example:8443"), ("x", "y"), ("te", "trailers")]),
            true,
            "GET /a/b?c=d HTTP/1.1\r\nhost: shop.example:8443\r\nx: y\r\nte: trailers\r\n\r\n",
            Carried::Nothing,
        );
        written(
            &of("POST", "/", &[(":authority", "x"), ("content-length", "5"), ("host", "X")]),
            false,
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n",
            Carried::Length(5),
        );
        written(
            &of("POST", "/", &[("host", "x")]),
            false,
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
            Carried::Chunks,
        );
        written(
            &of("PUT", "/", &[(":authority", "x")]),
            true,
            "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            Carried::Nothing,
        );
        written(
            &of("GET", "/", &[(":authority", "x"), ("cookie", "a=1"), ("y", "z"), ("cookie", "b=2")]),
            true,
            "GET / HTTP/1.1\r\nhost: x\r\ny: z\r\ncookie: a=1; b=2\r\n\r\n",
            Carried::Nothing,
        );
        written(
            &of("OPTIONS", "*", &[(":authority", "x")]),
            true,
            "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
            Carried::Nothing,
        );
    }

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        let at =
            |more: &[(&'static str, &'static str)]| of("GET", "/", &[&[(":authority", "x")], more].concat());
        refused(&[(":method", "CONNECT"), (":authority", "x:80")], true, BadRequest::Tunnel);
        refused(&at(&[("host", "y")]), true, BadRequest::TwoHosts);
        refused(&of("GET", "/", &[("host", "x"), ("host", "x")]), true, BadRequest::TwoHosts);
        refused(&at(&[("host", "x ")]), true, BadRequest::BadHost);
        refused(&of("GET", "/", &[(":authority", "")]), true, BadRequest::BadHost);
        refused(&of("GET", "/", &[(":authority", "x y")]), true, BadRequest::BadHost);
        refused(&at(&[("a", " b")]), true, BadRequest::BadValue);
        refused(&at(&[("a", "b\t")]), true, BadRequest::BadValue);
        refused(&at(&[("cookie", "a=1"), ("cookie", " b=2")]), true, BadRequest::BadValue);
        let bad_length = BadRequest::Framing(BadFraming::BadLength);
        refused(&at(&[("content-length", "5")]), true, bad_length);
        refused(&at(&[("content-length", "+5")]), false, bad_length);
        for path in ["http://evil/", "evil", "/ HTTP/1.1", "/\u{e9}", "/a\tb"] {
            refused(&of("GET", path, &[(":authority", "x")]), true, BadRequest::BadTarget);
        }
        let long = "b".repeat(1000);
        refused(&of("GET", "/", &[(":authority", "x"), ("a", &long)]), true, BadRequest::HeadTooLarge);
    }

    #[test]
    fn what_is_malformed_is_not_answered() {
        let good = of("GET", "/", &[(":authority", "x")]);
        let cases: [&[(&str, &str)]; 22] = [
            &[("A", "1")],
            &[("a b", "1")],
            &[("a:b", "1")],
            &[("", "1")],
            &[("\u{e9}", "1")],
            &[("a", "b\r\nc: d")],
            &[("a", "b\nc")],
            &[("a", "b\0c")],
            &[("a", "b\u{b}c")],
            &[("a", "\u{7f}")],
            &[("connection", "close")],
            &[("transfer-encoding", "chunked")],
            &[("upgrade", "h2c")],
            &[("keep-alive", "5")],
            &[("proxy-connection", "keep-alive")],
            &[("te", "gzip")],
            &[(":own", "1")],
            &[(":status", "200")],
            &[(":path", "/b")],
            &[("a", "b"), (":path", "/b")],
            &[("a", " b"), ("A", "1")],
            &[(":", "1")],
        ];
        for case in cases {
            assert_eq!(read(&[&good[..], case].concat(), true), Err(Fault::Malformed), "{case:?}");
        }
        for without in [":method", ":scheme", ":path"] {
            let fields: Vec<_> = good.iter().copied().filter(|(name, _)| *name != without).collect();
            assert_eq!(read(&fields, true), Err(Fault::Malformed), "{without}");
        }
        for fields in
            [of("GE T", "/", &[]), of("", "/", &[]), of("GET", "", &[]), of("GET", "/\r\nx: y", &[])]
        {
            assert_eq!(read(&fields, true), Err(Fault::Malformed), "{fields:?}");
        }
        for (name, value) in
            [(":path", "/"), ("A", "b"), ("a", "b "), ("connection", "x"), ("te", "trailers"), ("a", "\n")]
        {
            assert!(!trailer(&mut Vec::new(), name.as_bytes(), value.as_bytes()), "{name}");
        }
        let mut out = Vec::new();
        assert!(trailer(&mut out, b"grpc-status", b"0"));
        assert_eq!(out, b"grpc-status: 0\r\n");
    }
}
