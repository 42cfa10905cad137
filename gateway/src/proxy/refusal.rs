//! The gateway's own answers: why a request was not passed on, or came back without an upstream's answer.

use crate::http1::body::BadBody;
use crate::http1::onward::{push_decimal, status_line};
use crate::http1::request::BadRequest;
use crate::http1::response::BadResponse;
use crate::metrics::Phase;
use crate::path::BadPath;
use crate::route::Methods;
use std::borrow::Cow;

/// Why a request has no answer of an upstream.
#[derive(Debug)]
pub(super) enum Refusal {
    Bad(BadRequest),
    HeadTooSlow,
    BadPath(BadPath),
    NoRoute,
    WrongMethod(Methods),
    Limited {
        retry_after_ms: u64,
    },
    /// Every instance of the upstream is given a rest.
    Resting {
        retry_after_ms: u64,
    },
    /// As many requests wait for this upstream as may.
    Overloaded {
        retry_after_ms: u64,
    },
    BodyTooLarge,
    Failed(Failure),
}

/// Why an exchange with an upstream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Dns,
    DnsTimeout,
    Connect,
    ConnectTimeout,
    /// Of TLS.
    Handshake,
    HandshakeTimeout,
    /// The upstream did not take the request in time.
    WriteTimeout,
    /// The upstream had the whole request, and said nothing for too long.
    ResponseTimeout,
    /// The upstream paused for too long within its answer.
    PauseTimeout,
    /// The whole request took too long.
    RequestTimeout,
    /// It took longer than its client was willing to wait.
    ClientDeadline,
    /// The upstream closed the connection without an answer.
    Closed,
    BadResponse(BadResponse),
    /// The upstream's answer broke off, or went on as it may not.
    BrokeOff(BadBody),
    /// An answer that says to try elsewhere.
    Unavailable(u16),
    ClientSlow,
    ClientGone,
    /// The client takes nothing of the answer.
    ClientStalled,
    BadBody(BadBody),
}

impl Failure {
    /// Whether the upstream is to blame.
    pub(super) fn is_of_upstream(self) -> bool {
        !matches!(
            self,
            Failure::ClientSlow
                | Failure::ClientGone
                | Failure::ClientStalled
                | Failure::ClientDeadline
                | Failure::BadBody(_)
        )
    }

    /// Whether there was no connection, so that nothing was sent.
    pub(super) fn is_of_connecting(self) -> bool {
        matches!(
            self,
            Failure::Dns
                | Failure::DnsTimeout
                | Failure::Connect
                | Failure::ConnectTimeout
                | Failure::Handshake
                | Failure::HandshakeTimeout
        )
    }

    /// The phase that took too long, if that is what went wrong.
    pub(super) fn phase(self) -> Option<Phase> {
        Some(match self {
            Failure::DnsTimeout => Phase::Dns,
            Failure::ConnectTimeout => Phase::Connect,
            Failure::HandshakeTimeout => Phase::UpstreamTls,
            Failure::WriteTimeout => Phase::UpstreamWrite,
            Failure::ResponseTimeout => Phase::ResponseHeader,
            Failure::PauseTimeout => Phase::ResponseBody,
            Failure::RequestTimeout | Failure::ClientDeadline => Phase::Request,
            Failure::ClientSlow => Phase::ClientBody,
            Failure::ClientStalled => Phase::ClientWrite,
            _ => return None,
        })
    }

    fn status(self) -> u16 {
        match self {
            Failure::Dns | Failure::Connect | Failure::Handshake | Failure::Closed => 502,
            Failure::BadResponse(_) | Failure::BrokeOff(_) => 502,
            Failure::DnsTimeout | Failure::ConnectTimeout | Failure::HandshakeTimeout => 504,
            Failure::WriteTimeout => 504,
            Failure::ResponseTimeout | Failure::PauseTimeout => 504,
            Failure::RequestTimeout | Failure::ClientDeadline => 504,
            Failure::Unavailable(status) => status,
            Failure::ClientSlow => 408,
            Failure::ClientGone | Failure::ClientStalled => 499,
            Failure::BadBody(BadBody::TooLarge) => 413,
            Failure::BadBody(_) => 400,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Failure::Dns => "the upstream's name leads nowhere",
            Failure::DnsTimeout => "the upstream's name was not found in time",
            Failure::Connect => "no connection to the upstream",
            Failure::ConnectTimeout => "no connection to the upstream in time",
            Failure::Handshake => "no understanding with the upstream in TLS",
            Failure::HandshakeTimeout => "no understanding with the upstream in TLS in time",
            Failure::WriteTimeout => "the upstream did not take the request in time",
            Failure::ResponseTimeout => "no answer from the upstream in time",
            Failure::PauseTimeout => "the upstream paused for too long",
            Failure::RequestTimeout | Failure::ClientDeadline => "the request took too long",
            Failure::Closed => "the upstream broke off without an answer",
            Failure::BadResponse(bad) => bad.reason(),
            Failure::BrokeOff(_) => "the upstream broke off its response",
            Failure::Unavailable(_) => "the upstream is not available",
            Failure::ClientSlow => "the request body took too long",
            Failure::ClientGone => "the client went away",
            Failure::ClientStalled => "the client took too long to read",
            Failure::BadBody(BadBody::TooLarge) => "the request body is too large",
            Failure::BadBody(BadBody::Truncated) => "the request body broke off",
            Failure::BadBody(_) => "the request body is not valid",
        }
    }
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::Bad(bad) => bad.status(),
            Refusal::HeadTooSlow => 408,
            Refusal::BadPath(BadPath::TooLong) => 414,
            Refusal::BadPath(_) => 400,
            Refusal::NoRoute => 404,
            Refusal::WrongMethod(_) => 405,
            Refusal::Limited { .. } => 429,
            Refusal::Resting { .. } | Refusal::Overloaded { .. } => 503,
            Refusal::BodyTooLarge => 413,
            Refusal::Failed(failure) => failure.status(),
        }
    }

    /// For the client and for the access log; says nothing about the inside of the network.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Refusal::Bad(bad) => bad.reason(),
            Refusal::HeadTooSlow => "the head of the request took too long",
            Refusal::BadPath(_) => "the path is not valid",
            Refusal::NoRoute => "no route",
            Refusal::WrongMethod(_) => "no route for this method",
            Refusal::Limited { .. } => "too many requests",
            Refusal::Resting { .. } => "the upstream is given a rest",
            Refusal::Overloaded { .. } => "too many requests wait for the upstream",
            Refusal::BodyTooLarge => "the request body is too large",
            Refusal::Failed(failure) => failure.reason(),
        }
    }

    pub(super) fn is_of_a_client_that_left(&self) -> bool {
        matches!(self, Refusal::Failed(Failure::ClientGone | Failure::ClientStalled))
    }

    pub(super) fn answer(&self) -> Answer {
        let mut answer = Answer::text(self.status(), self.reason());
        match self {
            Refusal::WrongMethod(allowed) => answer.field = Some(("allow", allowed.to_string())),
            Refusal::Limited { retry_after_ms }
            | Refusal::Resting { retry_after_ms }
            | Refusal::Overloaded { retry_after_ms } => {
                // Whole seconds, rounded up: who waits as told is not early.
                answer.field = Some(("retry-after", retry_after_ms.div_ceil(1000).max(1).to_string()));
            }
            _ => {}
        }
        answer
    }
}

/// A response of the gateway's own.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    field: Option<(&'static str, String)>,
    text: Cow<'static, str>,
}

impl Answer {
    pub(super) fn text(status: u16, text: &'static str) -> Answer {
        Answer { status, field: None, text: text.into() }
    }

    /// The answer to the check of readiness.
    pub(super) fn ready(stopping: bool) -> Answer {
        match stopping {
            true => Answer::text(503, "stopping"),
            false => Answer::text(200, "ready"),
        }
    }

    /// To another place; `status` is one of 301, 302, 303, 307 and 308.
    pub(super) fn redirect(status: u16, location: String) -> Answer {
        Answer { status, field: Some(("location", location)), text: "".into() }
    }

    pub(super) fn body_bytes(&self, is_head: bool) -> u64 {
        if is_head { 0 } else { self.text.len() as u64 }
    }

    /// To a call of gRPC: its status stands in a field, and that of HTTP is always 200.
    pub(super) fn grpc(&self, closes: bool, date: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        status_line(&mut out, 200, phrase(200));
        out.extend_from_slice(b"content-type: application/grpc\r\ncontent-length: 0\r\ngrpc-status: ");
        push_decimal(&mut out, u64::from(grpc_status(self.status)));
        // The reasons are plain ASCII without percent signs, and so need no escapes.
        let parts = ["\r\ngrpc-message: ", &self.text, "\r\ndate: ", date];
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(if closes { &b"\r\nconnection: close\r\n\r\n"[..] } else { b"\r\n\r\n" });
        out
    }

    pub(super) fn bytes(&self, is_head: bool, closes: bool, date: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        status_line(&mut out, self.status, phrase(self.status));
        out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\ncontent-length: ");
        push_decimal(&mut out, self.text.len() as u64);
        out.extend_from_slice(b"\r\ndate: ");
        out.extend_from_slice(date.as_bytes());
        if let Some((name, value)) = &self.field {
            ["\r\n", name, ": ", value].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        }
        if closes {
            out.extend_from_slice(b"\r\nconnection: close");
        }
        out.extend_from_slice(b"\r\n\r\n");
        if !is_head {
            out.extend_from_slice(self.text.as_bytes());
        }
        out
    }
}

/// What a status is in the words of gRPC (its HTTP to gRPC status code mapping, and a deadline's own code).
fn grpc_status(status: u16) -> u8 {
    const DEADLINE_EXCEEDED: u8 = 4;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    match status {
        200 => 0,
        504 => DEADLINE_EXCEEDED,
        413 | 429 => RESOURCE_EXHAUSTED,
        404 | 405 | 501 => UNIMPLEMENTED,
        408 | 502 | 503 => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// Of the statuses that are given here (RFC 9110, section 15).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
