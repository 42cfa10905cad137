//! Where a message's body ends: decided from its fields, and refused wherever two readers might differ.

use super::field::members;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Empty,
    /// So many bytes.
    Length(u64),
    Chunked,
    /// Everything until the connection ends; only a response can be so.
    UntilClose,
}

/// Why a message's fields say nothing certain about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFraming {
    LengthAndCoding,
    TwoLengths,
    BadLength,
    /// The last coding is not chunked, or chunked comes twice.
    BadCoding,
    /// A coding that is not known here, with chunked at its end.
    UnknownCoding,
    /// A transfer coding in a message of HTTP/1.0, which has none.
    CodingInOldVersion,
}

impl fmt::Display for BadFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl BadFraming {
    pub fn reason(self) -> &'static str {
        match self {
            BadFraming::LengthAndCoding => "both a length and a transfer coding",
            BadFraming::TwoLengths => "more than one content length",
            BadFraming::BadLength => "a content length that is no number",
            BadFraming::BadCoding => "a transfer coding that does not end in chunked",
            BadFraming::UnknownCoding => "a transfer coding that is not known",
            BadFraming::CodingInOldVersion => "a transfer coding in HTTP/1.0",
        }
    }
}

/// What the framing fields of one message say, gathered field by field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lengths {
    length: Option<u64>,
    codings: u32,
    chunked: u32,
    chunked_last: bool,
}

impl Lengths {
    /// A `Content-Length` field. A second one is a fault even if it says the same, and so is a list: RFC
    /// 9110, section 8.6, allows to refuse them, and a sender that is sure of its length sends it once.
    pub fn add_length(&mut self, value: &[u8]) -> Result<(), BadFraming> {
        let number = decimal(value).ok_or(BadFraming::BadLength)?;
        match self.length.replace(number) {
            None => Ok(()),
            Some(_) => Err(BadFraming::TwoLengths),
        }
    }

    pub fn add_coding(&mut self, value: &[u8]) {
        let before = self.codings;
        for coding in members(value) {
            self.codings += 1;
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += u32::from(self.chunked_last);
        }
        if self.codings == before {
            // An empty field names no coding, and yet it is there: not chunked.
            self.codings += 1;
            self.chunked_last = false;
        }
    }

    /// The rule of RFC 9112, section 6.3, but for the parts that let a recipient guess.
    pub fn framing(&self, is_http_11: bool) -> Result<Option<Framing>, BadFraming> {
        if self.codings == 0 {
            return Ok(self.length.map(Framing::Length));
        }
        if self.length.is_some() {
            Err(BadFraming::LengthAndCoding)
        } else if !is_http_11 {
            Err(BadFraming::CodingInOldVersion)
        } else if !self.chunked_last || self.chunked > 1 {
            Err(BadFraming::BadCoding)
        } else if self.codings > 1 {
            Err(BadFraming::UnknownCoding)
        } else {
            Ok(Some(Framing::Chunked))
        }
    }
}

/// Digits alone: no sign, no space, no list, nothing that another reader could take for another number.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &str, expect: Result<Option<Framing>, BadFraming>) {
        let mut lengths = Lengths::default();
        let mut outcome = Ok(());
        for field in fields.split('|').filter(|field| !field.is_empty()) {
            match field.split_once('=').expect("a field") {
                ("cl", value) => outcome = outcome.and(lengths.add_length(value.as_bytes())),
                (_, value) => lengths.add_coding(value.as_bytes()),
            }
        }
        assert_eq!(outcome.and_then(|()| lengths.framing(true)), expect, "{fields}");
    }

    #[test]
    fn only_one_reading_is_taken() {
        check("", Ok(None));
        check("cl=0", Ok(Some(Framing::Length(0))));
        check("cl=9223372036854775807", Ok(Some(Framing::Length(i64::MAX as u64))));
        check("te=chunked", Ok(Some(Framing::Chunked)));
        check("te=CHUNKED", Ok(Some(Framing::Chunked)));
        check("te=,chunked,", Ok(Some(Framing::Chunked)));
        check("cl=5|cl=5", Err(BadFraming::TwoLengths));
        check("cl=5|cl=6", Err(BadFraming::TwoLengths));
        for bad in
            ["5, 5", "+5", "-5", "0x5", "5 5", "", "1e3", "99999999999999999999", "18446744073709551616"]
        {
            check(&format!("cl={bad}"), Err(BadFraming::BadLength));
        }
        check("cl=5|te=chunked", Err(BadFraming::LengthAndCoding));
        check("te=chunked|cl=5", Err(BadFraming::LengthAndCoding));
        check("te=identity", Err(BadFraming::BadCoding));
        check("te=", Err(BadFraming::BadCoding));
        check("te=chunked, identity", Err(BadFraming::BadCoding));
        check("te=chunked|te=identity", Err(BadFraming::BadCoding));
        check("te=chunked|te=", Err(BadFraming::BadCoding));
        check("te=chunked, chunked", Err(BadFraming::BadCoding));
        check("te=chunked|te=chunked", Err(BadFraming::BadCoding));
        check("te=xchunked", Err(BadFraming::BadCoding));
        check("te=chunked;q=1", Err(BadFraming::BadCoding));
        check("te=gzip, chunked", Err(BadFraming::UnknownCoding));
        let mut old = Lengths::default();
        old.add_coding(b"chunked");
        assert_eq!(old.framing(false), Err(BadFraming::CodingInOldVersion));
    }
}
