//! One request's life, read top to bottom: account, route, limit, breaker, upstream, response.

pub mod account;
pub mod body;
mod exchange;
mod refusal;
mod target;

use self::account::Account;
use self::body::{Body, RequestBody};
use self::exchange::{Exchange, Failure};
use self::refusal::Refusal;
use crate::active::{Active, Route, Upstream};
use crate::breaker::{Admission, Outcome, Permit};
use crate::config::LimitBy;
use crate::headers::{self, Hop};
use crate::limit::{Decision, Key};
use crate::path::normalize;
use crate::route::{Found, Verb};
use crate::worker::{View, Worker};
use http::header::{EXPECT, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, Version, request};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::rc::Rc;

/// hyper parses up to this many header fields on the stack; any other bound costs an allocation.
pub const HEADERS_WITHOUT_ALLOCATION: usize = 100;

/// The other end of a client connection.
pub struct Client {
    pub ip: IpAddr,
    /// The same, as text for the upstream and for the log.
    pub ip_text: HeaderValue,
}

/// Answers one request. Never fails: what goes wrong becomes a status.
pub async fn handle(worker: Rc<Worker>, client: Rc<Client>, request: Request<Incoming>) -> Response<Body> {
    let view = worker.view();
    let (head, incoming) = request.into_parts();
    let mut account = Account::open(&worker, &view, &client, &head);
    let answer = match is_ready_check(&view, &head) {
        true => Ok(refusal::ready(worker.is_stopping())),
        false => {
            let place = Place { worker: &worker, active: view.active(), client: &client };
            pass_on(place, head, incoming, &mut account).await
        }
    };
    let answer = answer.unwrap_or_else(|refusal| {
        account.reason = Some(refusal.reason());
        refusal.response()
    });
    account.status = answer.status().as_u16();
    answer.map(|content| Body::new(content, account))
}

/// Where a request is served: by whom, under which configuration, for whom.
#[derive(Clone, Copy)]
struct Place<'a> {
    worker: &'a Worker,
    active: &'a Active,
    client: &'a Client,
}

async fn pass_on(
    place: Place<'_>,
    mut head: request::Parts,
    incoming: Incoming,
    account: &mut Account,
) -> Result<Response<body::Content>, Refusal> {
    let Place { worker, active, client } = place;
    let host = target::host(&head)?;
    let path = normalize(head.uri.path()).map_err(|_| Refusal::BadPath)?;
    let route = route(active, &head, host.as_ref(), &path, account)?;
    let target = target::for_upstream(&head.uri, &path, route)?;
    limit(place, route, &head.headers, account)?;
    let upstream = &active.upstreams[route.upstream];
    let body = RequestBody::new(incoming, &active.server, account.deadline())?;
    let permit = Settled::admit(worker, upstream, account)?;

    if let Some(host) = host.as_ref().filter(|_| head.uri.authority().is_some()) {
        head.headers.insert(HOST, host.clone());
    }
    if let Some(target) = target {
        head.uri = target;
    }
    // The server side of hyper answers it as soon as the upstream's side asks for the body.
    head.headers.remove(EXPECT);
    let hop = Hop {
        client: client.ip_text.clone(),
        scheme: HeaderValue::from_static("http"),
        host,
        request_id: worker.new_request_id(),
    };
    headers::forward(&mut head.headers, &hop);
    account.set_request_id(&head.headers);
    head.version = Version::HTTP_11;
    let exchange = Exchange { worker, server: &active.server, upstream, deadline: account.deadline() };
    let response = exchange.run(head, body).await;
    permit.settle(&response);
    let (response, relay) = response?;
    let (mut head, ()) = response.into_parts();
    headers::backward(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, body::Content::Relay(relay)))
}

fn is_ready_check(view: &View, head: &request::Parts) -> bool {
    let path = view.active().server.ready_path.as_deref();
    path == Some(head.uri.path()) && matches!(head.method, Method::GET | Method::HEAD)
}

fn route<'a>(
    active: &'a Active,
    head: &request::Parts,
    host: Option<&HeaderValue>,
    path: &str,
    account: &mut Account,
) -> Result<&'a Route, Refusal> {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    match active.table.find(host, Verb::of(head.method.as_str()), path) {
        Found::Route(id) => {
            account.route = Some(id);
            Ok(&active.routes[id.index()])
        }
        Found::WrongMethod(allowed) => Err(Refusal::WrongMethod(allowed)),
        Found::Nothing => Err(Refusal::NoRoute),
    }
}

fn limit(place: Place<'_>, route: &Route, headers: &HeaderMap, account: &Account) -> Result<(), Refusal> {
    let Place { worker, client, .. } = place;
    let Some(limit) = &route.limit else { return Ok(()) };
    let seed = worker.shared.seed;
    let key = match &limit.by {
        LimitBy::Client => match client.ip {
            IpAddr::V4(ip) => Key::new(seed, &ip.octets()),
            // One customer holds at least a /64, and so may choose the rest of the address at will.
            IpAddr::V6(ip) => Key::new(seed, &ip.octets()[..8]),
        },
        LimitBy::Route => Key::new(seed, b""),
        LimitBy::Header(name) => Key::new(seed, headers.get(name).map_or(b"", HeaderValue::as_bytes)),
    };
    match limit.limiter.allow(key, worker.clock_ms(account.started)) {
        Decision::Allowed => Ok(()),
        Decision::Limited { retry_after_ms } => {
            route.counts.of(worker.thread).limited.add(1);
            Err(Refusal::Limited { retry_after_ms })
        }
    }
}

/// A breaker's permit that is settled exactly once: at the latest when it is dropped, as given up.
struct Settled<'a> {
    worker: &'a Worker,
    upstream: &'a Upstream,
    permit: Option<Permit>,
}

impl<'a> Settled<'a> {
    fn admit(worker: &'a Worker, upstream: &'a Upstream, account: &Account) -> Result<Settled<'a>, Refusal> {
        let admission =
            upstream.breaker.as_ref().map(|breaker| breaker.admit(worker.clock_ms(account.started)));
        match admission {
            None => Ok(Settled { worker, upstream, permit: None }),
            Some(Admission::Pass(permit)) => Ok(Settled { worker, upstream, permit: Some(permit) }),
            Some(Admission::Refused { retry_after_ms }) => {
                upstream.counts.of(worker.thread).refused_by_breaker.add(1);
                Err(Refusal::BreakerOpen { retry_after_ms })
            }
        }
    }

    /// A status of 500 or above is a failure, as is anything that the upstream is to blame for.
    fn settle<T>(mut self, answer: &Result<(Response<()>, T), Failure>) {
        self.report(match answer {
            Ok((response, _)) if response.status().is_server_error() => Outcome::Failure,
            Ok(_) => Outcome::Success,
            Err(failure) if failure.is_of_upstream() => Outcome::Failure,
            Err(_) => Outcome::GivenUp,
        });
    }

    fn report(&mut self, outcome: Outcome) {
        if let (Some(permit), Some(breaker)) = (self.permit.take(), &self.upstream.breaker) {
            let now_ms = self.worker.clock_ms(tokio::time::Instant::now());
            if let Some(state) = breaker.settle(permit, outcome, now_ms) {
                tracing::warn!(upstream = self.upstream.name, ?state, "the breaker changed");
            }
        }
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.report(Outcome::GivenUp);
    }
}
