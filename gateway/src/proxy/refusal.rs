//! The gateway's own answers: why a request was not passed on, or came back without an upstream's answer.

use super::body::Content;
use super::exchange::Failure;
use crate::route::Methods;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

#[derive(Debug)]
pub(super) enum Refusal {
    BadHost,
    BadFraming,
    BadPath,
    NoTunnel,
    NoRoute,
    WrongMethod(Methods),
    Limited { retry_after_ms: u64 },
    BreakerOpen { retry_after_ms: u64 },
    BodyTooLarge,
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Failed(failure)
    }
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::BadHost | Refusal::BadFraming | Refusal::BadPath => StatusCode::BAD_REQUEST,
            Refusal::NoTunnel => StatusCode::NOT_IMPLEMENTED,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::BreakerOpen { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Failed(failure) => match failure {
                Failure::ConnectTimeout | Failure::ResponseTimeout | Failure::RequestTimeout => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                Failure::Connect | Failure::Broken => StatusCode::BAD_GATEWAY,
                Failure::ClientSlow => StatusCode::REQUEST_TIMEOUT,
                Failure::ClientBroken => StatusCode::BAD_REQUEST,
                Failure::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            },
        }
    }

    /// For the client and for the access log; says nothing about the inside of the network.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Refusal::BadHost => "the request does not name one host",
            Refusal::BadFraming => "the request has both a length and a transfer coding",
            Refusal::BadPath => "the path is not valid",
            Refusal::NoTunnel => "tunnels are not offered",
            Refusal::NoRoute => "no route",
            Refusal::WrongMethod(_) => "no route for this method",
            Refusal::Limited { .. } => "too many requests",
            Refusal::BreakerOpen { .. } => "the upstream is given a rest",
            Refusal::BodyTooLarge => "the request body is too large",
            Refusal::Failed(failure) => match failure {
                Failure::Connect => "no connection to the upstream",
                Failure::ConnectTimeout => "no connection to the upstream in time",
                Failure::ResponseTimeout => "no answer from the upstream in time",
                Failure::RequestTimeout => "the request took too long",
                Failure::Broken => "the upstream broke off or made no sense",
                Failure::ClientSlow => "the request body took too long",
                Failure::ClientBroken => "the request body broke off",
                Failure::BodyTooLarge => "the request body is too large",
            },
        }
    }

    pub(super) fn response(&self) -> Response<Content> {
        let mut response = text(self.status(), self.reason());
        let headers = response.headers_mut();
        match self {
            Refusal::WrongMethod(allowed) => {
                let names = HeaderValue::from_str(&allowed.to_string());
                headers.insert(ALLOW, names.expect("names of methods make a field value"));
            }
            Refusal::Limited { retry_after_ms } | Refusal::BreakerOpen { retry_after_ms } => {
                // Whole seconds, rounded up: who waits as told is not early.
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1000).max(1)));
            }
            // Where the next request begins is not certain any more.
            Refusal::BadHost | Refusal::BadFraming => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// The answer to the check of readiness.
pub(super) fn ready(stopping: bool) -> Response<Content> {
    match stopping {
        true => text(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        false => text(StatusCode::OK, "ready"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Content> {
    let mut response = Response::new(Content::Own(Some(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
