//! One exchange with an upstream: a connection, the request, the head of the response, each in its time.

use super::body::{BodyFault, Progress, Relay, RequestBody};
use crate::active::Upstream;
use crate::config::Server;
use crate::upstream::{ConnectError, Lease, Terms, connect, pooled};
use crate::worker::Worker;
use http::{Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;
use std::pin::pin;
use tokio::time::{Instant, timeout_at};

pub(super) struct Exchange<'a> {
    pub(super) worker: &'a Worker,
    pub(super) server: &'a Server,
    pub(super) upstream: &'a Upstream,
    pub(super) deadline: Instant,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    ConnectTimeout,
    /// The upstream had the whole request, or did not take it, for too long.
    ResponseTimeout,
    RequestTimeout,
    Broken,
    ClientSlow,
    ClientBroken,
    BodyTooLarge,
}

impl Failure {
    /// Whether the upstream is to blame.
    pub(super) fn is_of_upstream(self) -> bool {
        !matches!(self, Failure::ClientSlow | Failure::ClientBroken | Failure::BodyTooLarge)
    }
}

/// A failure, and the request if it was never sent.
struct Unanswered {
    failure: Failure,
    request: Option<Request<RequestBody>>,
}

impl Exchange<'_> {
    pub(super) async fn run(
        &self,
        head: request::Parts,
        body: RequestBody,
    ) -> Result<(Response<()>, Relay), Failure> {
        let answered = self.answer(Request::from_parts(head, body)).await;
        self.count(answered.as_ref().err());
        answered
    }

    /// Over a kept connection if there is one, and once more over a new one if that had gone stale.
    async fn answer(&self, request: Request<RequestBody>) -> Result<(Response<()>, Relay), Failure> {
        let addresses = &self.upstream.addresses;
        let address = &addresses[self.worker.next_turn() % addresses.len()];
        let timeouts = &self.server.timeouts;
        let terms =
            Terms { limits: &self.server.limits, connect: timeouts.connect, idle: timeouts.upstream_idle };
        let pool = &self.worker.pool;
        let request = match pooled(pool, address, terms).await {
            None => request,
            Some(lease) => {
                let spare = spare(&request);
                match self.send(lease, request).await {
                    Ok(answer) => return Ok(answer),
                    Err(Unanswered { failure: Failure::Broken, request }) => {
                        let again = request.or(spare).ok_or(Failure::Broken)?;
                        self.upstream.counts.of(self.worker.thread).retries.add(1);
                        again
                    }
                    Err(unanswered) => return Err(unanswered.failure),
                }
            }
        };
        let lease = connect(pool, address, terms).await.map_err(|error| match error {
            ConnectError::Failed(error) => {
                tracing::debug!(upstream = self.upstream.name, %address, %error, "no connection");
                Failure::Connect
            }
            ConnectError::TimedOut => Failure::ConnectTimeout,
        })?;
        self.upstream.counts.of(self.worker.thread).connections.add(1);
        self.send(lease, request).await.map_err(|unanswered| unanswered.failure)
    }

    /// Sends a request and waits for the head of its response: no longer than the bound since the request
    /// last moved, and in no case past the deadline.
    async fn send(
        &self,
        mut lease: Lease,
        request: Request<RequestBody>,
    ) -> Result<(Response<()>, Relay), Unanswered> {
        let patience = self.server.timeouts.response_header;
        let progress = request.body().progress();
        let mut moved = Instant::now();
        let mut sending = pin!(lease.connection.try_send_request(request));
        let response = loop {
            let waits_for_client = progress.as_ref().is_some_and(|body| body.waits_for_client.get());
            let end = if waits_for_client { self.deadline } else { self.deadline.min(moved + patience) };
            match timeout_at(end, sending.as_mut()).await {
                Ok(Ok(response)) => break response,
                Ok(Err(mut error)) => {
                    let request = error.take_message();
                    let failure = blame(progress.as_deref(), Failure::Broken);
                    return Err(Unanswered { failure, request });
                }
                Err(_) => {
                    let last = progress.as_ref().map_or(moved, |body| body.moved.get());
                    if let Some(failure) = self.out_of_time(last.max(moved), progress.as_deref()) {
                        return Err(Unanswered { failure, request: None });
                    }
                    moved = last.max(moved);
                }
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it: `Upgrade` is not passed on.
            return Err(Unanswered { failure: Failure::Broken, request: None });
        }
        let (head, incoming): (_, Incoming) = response.into_parts();
        let relay = Relay::new(incoming, lease, progress, self.deadline);
        Ok((Response::from_parts(head, ()), relay))
    }

    /// What has run out, if anything has, when the request last moved at `moved`.
    fn out_of_time(&self, moved: Instant, progress: Option<&Progress>) -> Option<Failure> {
        let now = Instant::now();
        let waits_for_client = progress.is_some_and(|body| body.waits_for_client.get());
        if now >= self.deadline {
            Some(if waits_for_client { Failure::ClientSlow } else { Failure::RequestTimeout })
        } else if !waits_for_client && now >= moved + self.server.timeouts.response_header {
            Some(Failure::ResponseTimeout)
        } else {
            None
        }
    }

    fn count(&self, failure: Option<&Failure>) {
        let counts = self.upstream.counts.of(self.worker.thread);
        match failure {
            Some(Failure::Connect) => counts.connect_failed.add(1),
            Some(Failure::ConnectTimeout) => counts.connect_timeout.add(1),
            Some(Failure::ResponseTimeout | Failure::RequestTimeout) => counts.response_timeout.add(1),
            Some(Failure::Broken) => counts.broken.add(1),
            Some(Failure::ClientSlow | Failure::ClientBroken | Failure::BodyTooLarge) | None => {}
        }
    }
}

/// A copy for a second try, where one is safe although the first may have arrived: the method is
/// idempotent (RFC 9110, section 9.2.2) and there is no body, which could only be read once.
fn spare(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !idempotent || !request.body().is_none() {
        return None;
    }
    let mut copy = Request::new(RequestBody::none());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// A connection breaks, too, when the body of the request does; then the client is to blame.
fn blame(progress: Option<&Progress>, otherwise: Failure) -> Failure {
    match progress.and_then(|body| body.fault.get()) {
        Some(BodyFault::TooLarge) => Failure::BodyTooLarge,
        Some(BodyFault::TooSlow) => Failure::ClientSlow,
        Some(BodyFault::Broken) => Failure::ClientBroken,
        None => otherwise,
    }
}
