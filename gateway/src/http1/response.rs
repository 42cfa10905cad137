//! The head of an upstream's response: parsed as strictly as a request's.

use super::field::{Known, Options};
use super::framing::{BadFraming, Framing, Lengths};
use super::request::Seen;
use super::scan::BadLine;
use httparse::{Error, Header, Status};
use std::mem::MaybeUninit;

#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    pub bytes: &'b [u8],
    pub status: u16,
    pub reason: &'b str,
    pub is_http_11: bool,
    pub fields: &'h [Header<'b>],
    pub framing: Framing,
    /// The length that a field gives, also where no body follows, as after a HEAD.
    pub length: Option<u64>,
    pub options: Options,
    pub upgrade: Option<&'b [u8]>,
    pub seen: Seen,
}

/// What the request was, as far as it decides where its response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Head,
    /// With the leave to speak another protocol from then on.
    Upgrade,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadResponse {
    BareLf,
    BadLine,
    BadName,
    BadValue,
    TooManyFields,
    HeadTooLarge,
    Framing(BadFraming),
    /// 101 where nobody asked for it, or without saying to what.
    Upgrade,
}

impl BadResponse {
    pub fn reason(self) -> &'static str {
        match self {
            BadResponse::BareLf => "a line of the upstream's answer does not end in CR LF",
            BadResponse::BadLine => "the upstream's answer makes no sense",
            BadResponse::BadName => "a field name of the upstream's answer is not valid",
            BadResponse::BadValue => "a field value of the upstream's answer is not valid",
            BadResponse::TooManyFields => "the upstream's answer has too many fields",
            BadResponse::HeadTooLarge => "the head of the upstream's answer is too large",
            BadResponse::Framing(_) => "the upstream's answer has no certain end",
            BadResponse::Upgrade => "the upstream changed to a protocol that nobody asked for",
        }
    }
}

impl From<BadLine> for BadResponse {
    fn from(bad: BadLine) -> BadResponse {
        match bad {
            BadLine::BareLf => BadResponse::BareLf,
            BadLine::Empty => BadResponse::BadLine,
        }
    }
}

/// Parses a whole head, as [`super::scan::HeadScan`] found it. `slots` bounds the fields.
pub fn parse<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut [MaybeUninit<Header<'b>>],
    asked: Asked,
) -> Result<ResponseHead<'h, 'b>, BadResponse> {
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots);
    match parsed {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(BadResponse::BadLine),
        Err(Error::HeaderName) => return Err(BadResponse::BadName),
        Err(Error::HeaderValue) => return Err(BadResponse::BadValue),
        Err(Error::TooManyHeaders) => return Err(BadResponse::TooManyFields),
        Err(_) => return Err(BadResponse::BadLine),
    }
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(BadResponse::BadLine);
    };
    if !(100..=599).contains(&status) {
        return Err(BadResponse::BadLine);
    }
    let mut head = ResponseHead {
        bytes,
        status,
        reason: response.reason.unwrap_or_default(),
        is_http_11: minor == 1,
        fields: response.headers,
        framing: Framing::Empty,
        length: None,
        options: Options::default(),
        upgrade: None,
        seen: Seen::default(),
    };
    head.read_fields(asked)?;
    Ok(head)
}

impl ResponseHead<'_, '_> {
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the upstream's connection can carry another exchange after this one.
    pub fn persists(&self) -> bool {
        self.framing != Framing::UntilClose && self.options.persists(self.is_http_11)
    }

    fn read_fields(&mut self, asked: Asked) -> Result<(), BadResponse> {
        let mut lengths = Lengths::default();
        for field in self.fields {
            let known = Known::of(field.name);
            match known {
                Known::Other => continue,
                Known::ContentLength => lengths.add_length(field.value).map_err(BadResponse::Framing)?,
                Known::TransferEncoding => lengths.add_coding(field.value),
                Known::Connection => self.options.add(field.value),
                Known::Upgrade => self.upgrade = Some(field.value),
                _ => {}
            }
            self.seen.add(known);
        }
        let framing = lengths.framing(self.is_http_11).map_err(BadResponse::Framing)?;
        self.length = match framing {
            Some(Framing::Length(length)) => Some(length),
            _ => None,
        };
        if self.status == 101 && (asked != Asked::Upgrade || self.upgrade.is_none()) {
            return Err(BadResponse::Upgrade);
        }
        let has_no_body = asked == Asked::Head || self.status < 200 || matches!(self.status, 204 | 304);
        self.framing = match framing {
            _ if has_no_body => Framing::Empty,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, asked: Asked, expect: Result<(u16, Framing, bool), BadResponse>) {
        let mut slots = [const { MaybeUninit::uninit() }; 8];
        let head = parse(text.as_bytes(), &mut slots, asked);
        let head = head.map(|head| (head.status, head.framing, head.persists()));
        assert_eq!(head, expect, "{text:?}");
    }

    #[test]
    fn a_response_ends_where_the_rules_say() {
        let other = Asked::Other;
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", other, Ok((200, Framing::Length(3), true)));
        check("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n", other, Ok((200, Framing::Chunked, true)));
        check("HTTP/1.1 200 OK\r\n\r\n", other, Ok((200, Framing::UntilClose, false)));
        check("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", other, Ok((200, Framing::Length(3), false)));
        let kept = "HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n";
        check(kept, other, Ok((200, Framing::Length(3), true)));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Asked::Head, Ok((200, Framing::Empty, true)));
        check("HTTP/1.1 304 X\r\ncontent-length: 3\r\n\r\n", other, Ok((304, Framing::Empty, true)));
        check("HTTP/1.1 204 X\r\nconnection: close\r\n\r\n", other, Ok((204, Framing::Empty, false)));
        check("HTTP/1.1 103 X\r\n\r\n", other, Ok((103, Framing::Empty, true)));
        let switch = "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        check(switch, Asked::Upgrade, Ok((101, Framing::Empty, true)));
    }

    #[test]
    fn answers_without_a_certain_end_are_refused() {
        let other = Asked::Other;
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
        check(both, other, Err(BadResponse::Framing(BadFraming::LengthAndCoding)));
        let two = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n";
        check(two, other, Err(BadResponse::Framing(BadFraming::TwoLengths)));
        check("HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n", other, Err(BadResponse::Upgrade));
        check("HTTP/1.1 101 X\r\n\r\n", Asked::Upgrade, Err(BadResponse::Upgrade));
        check("HTTP/1.1 099 X\r\n\r\n", other, Err(BadResponse::BadLine));
        check("HTTP/1.1 600 X\r\n\r\n", other, Err(BadResponse::BadLine));
        check("HTTP/2 200 X\r\n\r\n", other, Err(BadResponse::BadLine));
        check("SSH-2.0-x\r\n\r\n", other, Err(BadResponse::BadLine));
        check("HTTP/1.1 200 OK\r\na : b\r\n\r\n", other, Err(BadResponse::BadName));
        check("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", other, Err(BadResponse::BadName));
    }
}
