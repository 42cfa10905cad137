//! What becomes of a request, decided from its head alone: an answer of our own, or a plan for an upstream.
//!
//! Nothing here waits, so all of it works on the bytes where they lie.

use super::account::Account;
use super::refusal::{Answer, Failure, Refusal};
use super::{Client, Then};
use crate::active::{Active, Route};
use crate::balance;
use crate::config::{Action, Balance, HashBy, LimitBy, Protocol, Rewrite, Share, rewrite};
use crate::http1::body::{Body, Form};
use crate::http1::buffer::Buffer;
use crate::http1::field::Known;
use crate::http1::framing::{Framing, decimal};
use crate::http1::onward::{self, Deadline, Hop, Target};
use crate::http1::request::{self, RequestHead};
use crate::http1::response::Asked;
use crate::limit::{Decision, Key};
use crate::path::normalize;
use crate::route::{Condition, Found, Part, RouteId, Verb};
use crate::worker::{FIELDS_ON_STACK, Worker};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Judged {
    pub(super) account: Account,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Own(Answer, Then),
    /// The head, as it goes on, is pending in the buffer.
    Pass(Box<Plan>),
}

/// A request that an upstream is to answer.
pub(super) struct Plan {
    pub(super) route: RouteId,
    /// The place in [`Active::upstreams`].
    pub(super) upstream: usize,
    pub(super) asked: Asked,
    pub(super) is_http_11: bool,
    pub(super) keeps: bool,
    pub(super) idempotent: bool,
    pub(super) expects_continue: bool,
    pub(super) body: Body,
    pub(super) deadline: Instant,
    /// What it is when the deadline has passed.
    pub(super) overdue: Failure,
    /// Of what the upstream balances by, if it does.
    pub(super) hash: u64,
}

/// Judges the head of this length at the front of the buffer, and takes it out or puts ours in its place.
pub(super) fn judge(worker: &Rc<Worker>, client: &Rc<Client>, buffer: &mut Buffer, length: usize) -> Judged {
    let view = worker.view();
    let active = view.active();
    let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let slots = match active.server.limits.headers {
        few @ ..=FIELDS_ON_STACK => &mut stack[..few],
        many => {
            heap.resize_with(many, MaybeUninit::uninit);
            &mut heap[..]
        }
    };
    let head = match request::parse(&buffer.unjudged()[..length], slots) {
        Ok(head) => head,
        Err(bad) => {
            let mut account = Account::open_unread(worker, &view, client);
            let refusal = Refusal::Bad(bad);
            account.reason = Some(refusal.reason());
            return Judged { account, outcome: Outcome::Own(refusal.answer(), Then::Linger) };
        }
    };
    let mut account = Account::open(worker, &view, client, &head);
    let keeps = head.options.persists(head.is_http_11);
    let framing = head.framing;
    let mut scratch = worker.scratch.borrow_mut();
    scratch.clear();
    let judging = Judging { worker, client, active };
    match judging.decide(&head, &mut account, &mut scratch) {
        Ok(Decided::Pass(mut plan)) => {
            buffer.replace_head(length, &scratch);
            buffer.keep_what_is_sent();
            // What of the body is at hand: it leaves with the head, and if it is at fault, nothing leaves.
            match plan.body.judge(buffer) {
                Ok(()) => Judged { account, outcome: Outcome::Pass(plan) },
                Err(bad) => {
                    let refusal = Refusal::Failed(Failure::BadBody(bad));
                    account.reason = Some(refusal.reason());
                    Judged { account, outcome: Outcome::Own(refusal.answer(), Then::Linger) }
                }
            }
        }
        own => {
            let answer = match own {
                Ok(Decided::Own(answer)) => answer,
                Err(refusal) => {
                    account.reason = Some(refusal.reason());
                    refusal.answer()
                }
                Ok(Decided::Pass(_)) => unreachable!("taken by the arm above"),
            };
            let then = leave_out(buffer, length, framing, keeps);
            Judged { account, outcome: Outcome::Own(answer, then) }
        }
    }
}

/// Takes a request out of the buffer that nobody will get, with its body if all of that is there already.
fn leave_out(buffer: &mut Buffer, length: usize, framing: Framing, keeps: bool) -> Then {
    buffer.skip(length);
    let at_hand = buffer.unjudged().len() as u64;
    match framing {
        Framing::Empty if keeps => Then::Next,
        Framing::Empty => Then::Close,
        Framing::Length(body) if body <= at_hand => {
            buffer.skip(body as usize);
            if keeps { Then::Next } else { Then::Close }
        }
        _ => Then::Linger,
    }
}

struct Judging<'a> {
    worker: &'a Worker,
    client: &'a Client,
    active: &'a Active,
}

enum Decided {
    Own(Answer),
    Pass(Box<Plan>),
}

impl Judging<'_> {
    fn decide(
        &self,
        head: &RequestHead<'_, '_>,
        account: &mut Account,
        out: &mut Vec<u8>,
    ) -> Result<Decided, Refusal> {
        let active = self.active;
        if active.server.ready_path.as_deref() == Some(head.path) && matches!(head.method, "GET" | "HEAD") {
            return Ok(Decided::Own(Answer::ready(self.worker.is_stopping())));
        }
        if head.path == "*" {
            // For the server as such (RFC 9110, section 9.3.7), which this is to its client.
            return Ok(Decided::Own(Answer::text(200, "")));
        }
        let path = normalize(head.path).map_err(Refusal::BadPath)?;
        let id = self.route(head, &path)?;
        account.route = Some(id);
        let route = &active.routes[id.index()];
        self.limit(route, head, account.started)?;
        let shares = match &route.action {
            Action::Pass(shares) => shares,
            Action::Redirect { status, to } => {
                let mut location = to.fill(&path, route.depth, head.host.unwrap_or_default());
                if let (Some(query), false) = (head.query, location.contains('?')) {
                    location.push('?');
                    location.push_str(query);
                }
                return Ok(Decided::Own(Answer::redirect(*status, location)));
            }
        };
        let upstream = self.share(shares);
        let max_bytes = active.server.limits.body_bytes;
        let body = Body::new(head.framing, Form::Same, max_bytes).map_err(|_| Refusal::BodyTooLarge)?;
        let (deadline, overdue) = self.deadline(head, route, account.started)?;
        self.write(head, &path, (route, upstream), deadline, account, out);
        Ok(Decided::Pass(Box::new(Plan {
            route: id,
            upstream,
            asked: match (head.method, head.upgrade) {
                ("HEAD", _) => Asked::Head,
                (_, Some(_)) => Asked::Upgrade,
                _ => Asked::Other,
            },
            is_http_11: head.is_http_11,
            keeps: head.options.persists(head.is_http_11),
            idempotent: matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
            expects_continue: head.expects_continue,
            body,
            deadline,
            overdue,
            hash: self.hash(upstream, head, &path),
        })))
    }

    fn route(&self, head: &RequestHead<'_, '_>, path: &str) -> Result<RouteId, Refusal> {
        let routes = &self.active.routes;
        let holds =
            |id: RouteId| routes[id.index()].conditions.iter().all(|condition| holds(condition, head));
        let (host, verb) = (head.host.unwrap_or_default(), Verb::of(head.method));
        match self.active.table.find_where(host, verb, path, holds) {
            Found::Route(id) => Ok(id),
            Found::WrongMethod(allowed) => Err(Refusal::WrongMethod(allowed)),
            Found::Nothing => Err(Refusal::NoRoute),
        }
    }

    /// The place of the upstream that is asked.
    fn share(&self, shares: &[Share]) -> usize {
        let place = match shares {
            [_] => Some(0),
            shares => balance::share(shares.iter().map(|share| share.weight), self.worker.chance()),
        };
        shares[place.unwrap_or_default()].upstream
    }

    /// What requests have alike that are to reach one instance.
    fn hash(&self, upstream: usize, head: &RequestHead<'_, '_>, path: &str) -> u64 {
        let Balance::Hash(by) = &self.active.upstreams[upstream].balance else { return 0 };
        // No secret: the same request is to reach the same instance from every gateway.
        let key = match by {
            HashBy::Client => client_key(0, self.client.ip),
            HashBy::Path => Key::new(0, path.as_bytes()),
            HashBy::Header(name) => Key::new(0, head.field(name.as_str()).unwrap_or_default()),
        };
        key.mixed()
    }

    fn limit(&self, route: &Route, head: &RequestHead<'_, '_>, now: Instant) -> Result<(), Refusal> {
        let Some(limit) = &route.limit else { return Ok(()) };
        let seed = self.worker.shared.seed;
        let key = match &limit.by {
            LimitBy::Client => self.client.key,
            LimitBy::Route => Key::new(seed, b""),
            LimitBy::Header(name) => Key::new(seed, head.field(name.as_str()).unwrap_or_default()),
        };
        match limit.limiter.allow(key, self.worker.clock_ms(now)) {
            Decision::Allowed => Ok(()),
            Decision::Limited { retry_after_ms } => {
                route.counts.of(self.worker.thread).limited.add(1);
                Err(Refusal::Limited { retry_after_ms })
            }
        }
    }

    /// When the request has to be over: by our bound, or earlier if the client says so.
    fn deadline(
        &self,
        head: &RequestHead<'_, '_>,
        route: &Route,
        now: Instant,
    ) -> Result<(Instant, Failure), Refusal> {
        let ours = route.request_timeout.unwrap_or(self.active.server.timeouts.request);
        let mut left = ours;
        if head.seen.has(Known::RequestDeadline) {
            let said = head.field("x-request-deadline").and_then(decimal);
            let said = said.map(|unix_ms| unix_ms.saturating_sub(self.worker.unix_ms(now)));
            left = left.min(said.map_or(left, Duration::from_millis));
        }
        if head.seen.has(Known::GrpcTimeout) {
            left = left.min(head.field("grpc-timeout").and_then(grpc_timeout).unwrap_or(left));
        }
        // An upstream is not to blame for a time that the client chose: else a client could open breakers.
        let overdue = if left < ours { Failure::ClientDeadline } else { Failure::RequestTimeout };
        match left.is_zero() {
            true => Err(Refusal::Failed(overdue)),
            false => Ok((now + left, overdue)),
        }
    }

    /// Writes the head as it goes on.
    fn write(
        &self,
        head: &RequestHead<'_, '_>,
        path: &str,
        (route, upstream): (&Route, usize),
        deadline: Instant,
        account: &mut Account,
        out: &mut Vec<u8>,
    ) {
        let worker = self.worker;
        let filled;
        let path = match &route.rewrite {
            Rewrite::None => path,
            Rewrite::Strip => match rewrite::rest(path, route.depth) {
                "" => "/",
                rest => rest,
            },
            Rewrite::To(template) => {
                filled = template.fill(path, route.depth, head.host.unwrap_or_default());
                &filled
            }
        };
        let left = deadline.saturating_duration_since(account.started);
        let deadline = Deadline { unix_ms: worker.unix_ms(deadline), left_ms: left.as_millis() as u64 };
        let id = worker.new_request_id();
        let hop = Hop {
            client: &self.client.ip_text,
            scheme: self.client.scheme,
            request_id: id.as_str(),
            forwarded: self.active.server.forwarded,
            deadline: Some(deadline),
            trailers: self.active.upstreams[upstream].protocol == Protocol::Http2,
            remove: &route.request_fields.remove,
            set: &route.request_fields.set,
            traced: account.traced(),
        };
        let target = Target { path, query: head.query, host: None };
        let (from, to) = onward::request(out, head, target, &hop);
        account.set_request_id(&out[from..to]);
    }
}

/// What a client is known by where clients are counted or told apart.
pub(super) fn client_key(seed: u64, ip: IpAddr) -> Key {
    match ip {
        IpAddr::V4(ip) => Key::new(seed, &ip.octets()),
        // One customer holds at least a /64, and so may choose the rest of the address at will.
        IpAddr::V6(ip) => Key::new(seed, &ip.octets()[..8]),
    }
}

/// Whether one of the fields, or one of the query's parameters as they stand there, is as asked for.
fn holds(condition: &Condition, head: &RequestHead<'_, '_>) -> bool {
    let is_value = |value: &[u8]| condition.value.as_ref().is_none_or(|asked| asked.as_bytes() == value);
    match condition.of {
        Part::Field => {
            let mut named =
                head.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(&condition.name));
            named.any(|field| is_value(field.value))
        }
        Part::Query => head.query.unwrap_or_default().split('&').any(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            name == condition.name && is_value(value.as_bytes())
        }),
    }
}

/// Digits and a unit (the gRPC protocol over HTTP/2, `Timeout`).
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let number = if digits.len() <= 8 { decimal(digits)? } else { return None };
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_grpc_are_read() {
        assert_eq!(grpc_timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout(b"2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "m", "12", "1x", "123456789m", "-1m"] {
            assert_eq!(grpc_timeout(bad.as_bytes()), None, "{bad}");
        }
    }
}
