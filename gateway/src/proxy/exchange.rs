//! One request and its upstream: an instance, a connection, the exchange, and another attempt where that is safe.

use super::account::Account;
use super::duplex::{Asking, Down, Duplex, Ended, Up};
use super::judge::Plan;
use super::refusal::{Failure, Refusal};
use super::tunnel;
use super::{Connection, Then};
use crate::active::{Active, Instance, Route, Upstream};
use crate::balance::{self, Candidate};
use crate::breaker::{Admission, Outcome, Permit, State};
use crate::config::{Balance, Protocol, Retry};
use crate::http1::buffer::Buffer;
use crate::metrics::Counter;
use crate::upstream::{ConnectError, Open};
use crate::worker::Worker;
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What becomes of the client's connection.
pub(super) enum After {
    Next,
    Close,
    BreakOff,
    Linger,
    Refuse(Refusal, Then),
}

pub(super) struct Exchange<'a> {
    connection: &'a mut Connection,
    active: &'a Active,
    route: &'a Route,
    upstream: &'a Upstream,
    account: &'a mut Account,
    plan: Plan,
    /// Instances that were asked in vain, by their places.
    tried: Vec<usize>,
    /// Attempts besides the first that the upstream's rule allowed.
    retried: u32,
}

/// How an attempt went wrong.
struct Failed {
    failure: Failure,
    /// The client has been sent a part of an answer.
    has_begun: bool,
    /// It went over a kept connection, and nothing came back.
    was_stale: bool,
    sent_bytes: u64,
}

/// Other instances that are tried where no connection could be had: more would only add to an outage.
const ELSEWHERE_MAX: usize = 2;
/// When to come back to an upstream that has too much to do; nobody knows, and a second is soon.
const OVERLOADED_RETRY_MS: u64 = 1000;

impl<'a> Exchange<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        active: &'a Active,
        account: &'a mut Account,
        plan: Plan,
    ) -> Exchange<'a> {
        let route = &active.routes[plan.route.index()];
        let upstream = &active.upstreams[plan.upstream];
        account.upstream = Some(plan.upstream);
        Exchange { connection, active, route, upstream, account, plan, tried: Vec::new(), retried: 0 }
    }

    pub(super) async fn run(mut self) -> After {
        let counts = self.upstream.counts.of(self.connection.worker.thread);
        let most = self.upstream.in_flight_max.map_or(u64::MAX, u64::from);
        if counts.in_flight.get() >= most {
            counts.overloaded.add(1);
            return self.refuse(Refusal::Overloaded { retry_after_ms: OVERLOADED_RETRY_MS });
        }
        let _under_way = UnderWay::count(&counts.in_flight);
        if let Some(retry) = &self.upstream.retry {
            counts.budget.earn(retry.budget_percent);
        }
        let mut may_be_stale = true;
        // Read anew only before another attempt: the first comes at once.
        let mut now = self.account.started;
        loop {
            let (place, permit) = match self.pick(now) {
                Ok(picked) => picked,
                Err(refusal) => return self.refuse(refusal),
            };
            let failed = match self.attempt(place, permit, may_be_stale, now).await {
                Ok(after) => return after,
                Err(failed) => failed,
            };
            if let Some(phase) = failed.failure.phase() {
                let worker = &self.connection.worker;
                worker.shared.metrics.threads.of(worker.thread).timed_out(phase);
            }
            if failed.has_begun {
                // The client sees that it is not whole: the connection ends before the body does.
                self.account.reason = Some(failed.failure.reason());
                return After::BreakOff;
            }
            match self.may_try_again(&failed) {
                Again::SameInstance => may_be_stale = false,
                Again::Elsewhere => self.tried.push(place),
                Again::After(pause) => {
                    self.tried.push(place);
                    self.retried += 1;
                    counts.budget.spend();
                    sleep(pause).await;
                }
                Again::No => return self.refuse(Refusal::Failed(failed.failure)),
            }
            counts.retries.add(1);
            now = Instant::now();
        }
    }

    /// Whether another attempt is safe: nothing that an upstream may have acted upon is sent twice, unless
    /// that is the same as once (RFC 9110, section 9.2.2).
    fn may_try_again(&mut self, failed: &Failed) -> Again {
        let rewound = self.connection.buffer.as_mut().is_some_and(Buffer::rewind);
        let is_safe = failed.sent_bytes == 0 || self.plan.idempotent;
        if !rewound || !is_safe || !failed.failure.is_of_upstream() {
            return Again::No;
        }
        if failed.was_stale {
            return Again::SameInstance;
        }
        let is_of_connecting = failed.failure.is_of_connecting();
        let others = self.upstream.instances.len() > self.tried.len() + 1;
        if is_of_connecting && others && self.tried.len() < ELSEWHERE_MAX {
            return Again::Elsewhere;
        }
        let might_pass = is_of_connecting
            || matches!(failed.failure, Failure::Closed | Failure::Unavailable(_) | Failure::ResponseTimeout);
        match self.retry_now() {
            Some(retry) if might_pass => {
                let pause = backoff(retry, self.retried, self.connection.worker.chance());
                match Instant::now() + pause < self.plan.deadline {
                    true => Again::After(pause),
                    false => Again::No,
                }
            }
            _ => Again::No,
        }
    }

    /// The rule for another attempt, if it and the budget allow one.
    fn retry_now(&self) -> Option<&'a Retry> {
        let retry = self.upstream.retry.as_ref()?;
        let budget = &self.upstream.counts.of(self.connection.worker.thread).budget;
        (self.plan.idempotent && self.retried < retry.attempts && budget.has_more()).then_some(retry)
    }

    fn refuse(&mut self, refusal: Refusal) -> After {
        let was_read = self.plan.body.is_done();
        if let Some(buffer) = &mut self.connection.buffer {
            buffer.drop_pending();
        }
        let then = match (was_read, self.plan.keeps) {
            (true, true) => Then::Next,
            (true, false) => Then::Close,
            (false, _) => Then::Linger,
        };
        After::Refuse(refusal, then)
    }

    /// An instance by the upstream's way of balancing, among those that are well, were not tried, and whose
    /// breaker lets them be asked.
    fn pick(&self, now: Instant) -> Result<(usize, Settled<'a>), Refusal> {
        let worker = &self.connection.worker;
        let upstream = self.upstream;
        let now_ms = worker.clock_ms(now);
        if let [instance] = &upstream.instances[..] {
            let permit = Settled::admit(instance, now_ms);
            return permit.map(|permit| (0, permit)).map_err(|retry_after_ms| self.resting(retry_after_ms));
        }
        let any_is_well = upstream.instances.iter().any(|instance| instance.is_well());
        let all_were_tried = self.tried.len() >= upstream.instances.len();
        let instances = upstream.instances.iter().enumerate();
        let mut candidates: Vec<Candidate> = instances
            .filter(|(place, instance)| {
                (all_were_tried || !self.tried.contains(place)) && (instance.is_well() || !any_is_well)
            })
            .map(|(place, instance)| Candidate {
                place,
                weight: instance.weight_now(now_ms, upstream.slow_start_ms),
                in_flight: instance.counts(worker.thread).in_flight.get(),
                identity: instance.identity,
            })
            .collect();
        let turn = worker.next_turn();
        let mut soonest = u64::MAX;
        while let Some(place) = match upstream.balance {
            Balance::RoundRobin => balance::in_turn(&candidates, turn as u64),
            Balance::LeastRequests => balance::least_requests(&candidates, worker.chance()),
            Balance::Hash(_) => balance::by_key(&candidates, self.plan.hash),
        } {
            match Settled::admit(&upstream.instances[place], now_ms) {
                Ok(permit) => return Ok((place, permit)),
                Err(retry_after_ms) => soonest = soonest.min(retry_after_ms),
            }
            candidates.retain(|candidate| candidate.place != place);
        }
        Err(self.resting(if soonest == u64::MAX { OVERLOADED_RETRY_MS } else { soonest }))
    }

    fn resting(&self, retry_after_ms: u64) -> Refusal {
        self.upstream.counts.of(self.connection.worker.thread).refused_by_breaker.add(1);
        Refusal::Resting { retry_after_ms }
    }

    async fn attempt(
        &mut self,
        place: usize,
        permit: Settled<'a>,
        may_be_stale: bool,
        now: Instant,
    ) -> Result<After, Failed> {
        let instance = &self.upstream.instances[place];
        self.account.set_address(&instance.address);
        let server = &self.active.server;
        let worker = self.connection.worker.clone();
        let kept = match (may_be_stale, self.upstream.protocol) {
            (true, Protocol::Http1) => worker.pool.take(instance.id, now, server.timeouts.upstream_idle),
            (true, Protocol::Http2) => worker.pool.ask(instance, now),
            (false, _) => None,
        };
        let is_kept = kept.is_some();
        let counts = instance.counts(worker.thread);
        counts.requests.add(1);
        let _under_way = UnderWay::count(&counts.in_flight);
        let open = match kept {
            Some(open) => Ok(open),
            None => {
                self.upstream.counts.of(worker.thread).connections.add(1);
                let begun = Instant::now();
                let opening = worker.pool.connect(self.upstream, instance, server);
                let opened = timeout_at(self.plan.deadline, opening).await;
                if let Ok(Ok(_)) = opened {
                    self.upstream.counts.of(worker.thread).connect.record(begun.elapsed());
                }
                match opened {
                    Ok(opened) => opened.map_err(|error| {
                        let (upstream, address) = (&self.upstream.name, &instance.address);
                        tracing::debug!(upstream, %address, ?error, "no connection");
                        of_connecting(&error)
                    }),
                    Err(_) => Err(self.plan.overdue),
                }
            }
        };
        let open = match open {
            Ok(open) => open,
            Err(failure) => {
                settle((self.upstream, self.route), permit, Err(failure), &worker, Instant::now());
                return Err(Failed { failure, has_begun: false, was_stale: false, sent_bytes: 0 });
            }
        };
        // To open a connection took time; to take one out of the pool did not.
        let now = if is_kept { now } else { Instant::now() };
        self.talk(instance, open, (is_kept, now), permit, &worker).await
    }

    async fn talk(
        &mut self,
        instance: &Instance,
        mut open: Open,
        (is_kept, now): (bool, Instant),
        permit: Settled<'a>,
        worker: &Worker,
    ) -> Result<After, Failed> {
        let server = &self.active.server;
        let tries_elsewhere = self.retry_now().is_some();
        let connection = &mut *self.connection;
        let Some(mut request) = connection.buffer.take() else {
            return Ok(After::Close);
        };
        let leave_at = self.plan.expects_continue.then(|| now + server.timeouts.continue_after);
        let asking = Asking {
            asked: self.plan.asked,
            is_http_11: self.plan.is_http_11,
            keeps: self.plan.keeps,
            deadline: self.plan.deadline,
            overdue: self.plan.overdue,
            remove: &self.route.response_fields.remove,
            set: &self.route.response_fields.set,
            tries_elsewhere,
        };
        let mut permit = Some(permit);
        let this = (self.upstream, self.route);
        let counts = self.upstream.counts.of(worker.thread);
        let mut on_status = |status, at: Instant| {
            counts.first_byte.record(at.saturating_duration_since(now));
            if let Some(permit) = permit.take() {
                settle(this, permit, Ok(status), worker, at);
            }
        };
        let mut duplex = Duplex {
            worker,
            limits: &server.limits,
            timeouts: &server.timeouts,
            asking,
            client: &mut connection.stream,
            request: &mut request,
            upstream: &mut open.stream,
            timer: &mut connection.timer,
            up: Up::new(self.plan.body, leave_at, now),
            down: Down::new(now),
            answer: None,
            now: Some(now),
            on_status: &mut on_status,
        };
        let outcome = poll_fn(|cx| duplex.poll(cx)).await;
        let Duplex { up, down, answer, .. } = duplex;
        self.plan.body = up.body;
        if down.has_begun() {
            self.account.status = down.status;
            self.account.body_bytes = down.body_bytes;
        }
        let was_stale = is_kept && outcome == Err(Failure::Closed) && !down.has_begun();
        // A stale connection says nothing about the instance.
        match (&outcome, permit) {
            (Err(failure), Some(permit)) if !was_stale => {
                settle(this, permit, Err(*failure), worker, Instant::now());
            }
            (Err(failure), None) => count(self.upstream, *failure, worker),
            _ => {}
        }
        let connection = &mut *self.connection;
        let result = match outcome {
            Ok(ended) if ended.switched => {
                let from_upstream = answer.unwrap_or_else(|| worker.buffers.borrow_mut().take_small());
                let (client, upstream) = (&mut connection.stream, &mut open.stream);
                let idle = server.timeouts.tunnel_idle;
                let bytes =
                    tunnel::run((client, request), (upstream, from_upstream), &mut connection.timer, idle)
                        .await;
                self.account.body_bytes = bytes;
                return Ok(After::Close);
            }
            Ok(ended) => Ok(self.finish(ended, instance, open, request, up.is_done(), worker)),
            Err(failure) => {
                connection.buffer = Some(request);
                let sent_bytes = if open.stream.was_refused() { 0 } else { up.sent_bytes };
                Err(Failed { failure, has_begun: down.has_begun(), was_stale, sent_bytes })
            }
        };
        if let Some(answer) = answer {
            worker.buffers.borrow_mut().give_back(answer);
        }
        result
    }

    fn finish(
        &mut self,
        ended: Ended,
        instance: &Instance,
        open: Open,
        mut request: Buffer,
        was_sent: bool,
        worker: &Worker,
    ) -> After {
        let now = Instant::now();
        self.connection.since = now;
        if ended.upstream_goes_on {
            let most = self.active.server.limits.upstream_idle;
            worker.pool.put(instance.id, open, now, most);
        }
        request.forget_what_was_sent();
        self.connection.buffer = Some(request);
        match (ended.client_goes_on, was_sent) {
            (true, _) => After::Next,
            (false, true) => After::Close,
            (false, false) => After::Linger,
        }
    }
}

/// Reports what became of an attempt to the breaker and the counters.
fn settle(
    of: (&Upstream, &Route),
    mut permit: Settled<'_>,
    outcome: Result<u16, Failure>,
    worker: &Worker,
    now: Instant,
) {
    let (upstream, route) = of;
    if let Err(failure) = outcome {
        count(upstream, failure, worker);
    }
    let outcome = match outcome {
        Ok(status) if status >= 500 => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(failure) if failure.is_of_upstream() => Outcome::Failure,
        Err(_) => Outcome::GivenUp,
    };
    let now_ms = worker.clock_ms(now);
    if let Some(state) = permit.report(outcome, now_ms) {
        if state == State::Closed {
            permit.instance.came_back(now_ms);
        }
        let address = &permit.instance.address;
        tracing::warn!(upstream = upstream.name, %address, route = route.name, ?state, "the breaker changed");
    }
}

fn count(upstream: &Upstream, failure: Failure, worker: &Worker) {
    let counts = upstream.counts.of(worker.thread);
    match failure {
        Failure::Connect | Failure::Dns | Failure::Handshake => counts.connect_failed.add(1),
        failure if failure.is_of_connecting() => counts.connect_timeout.add(1),
        Failure::Closed | Failure::BadResponse(_) | Failure::BrokeOff(_) => counts.broken.add(1),
        failure if failure.is_of_upstream() => counts.response_timeout.add(1),
        _ => {}
    }
}

enum Again {
    SameInstance,
    Elsewhere,
    After(Duration),
    No,
}

/// Twice as long each time, up to the most, and of that at least half by chance: those who failed together do
/// not come back together.
fn backoff(retry: &Retry, before: u32, chance: u64) -> Duration {
    let most = retry.backoff.saturating_mul(1 << before.min(16)).min(retry.backoff_max);
    most.mul_f64(0.5 + (chance >> 11) as f64 / (1_u64 << 54) as f64)
}

/// A gauge that is one higher for as long as this lives.
struct UnderWay<'a>(&'a Counter);

impl UnderWay<'_> {
    fn count(gauge: &Counter) -> UnderWay<'_> {
        gauge.add(1);
        UnderWay(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

fn of_connecting(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Dns(_) => Failure::Dns,
        ConnectError::DnsTimedOut => Failure::DnsTimeout,
        ConnectError::Failed(_) => Failure::Connect,
        ConnectError::TimedOut => Failure::ConnectTimeout,
        ConnectError::Tls(_) => Failure::Handshake,
        ConnectError::TlsTimedOut => Failure::HandshakeTimeout,
    }
}

/// A breaker's permit that is settled exactly once: at the latest when it is dropped, as given up.
struct Settled<'a> {
    instance: &'a Instance,
    permit: Option<Permit>,
    now_ms: u64,
}

impl<'a> Settled<'a> {
    /// Refused, with how long from now on it will be.
    fn admit(instance: &'a Instance, now_ms: u64) -> Result<Settled<'a>, u64> {
        let permit = match instance.breaker.as_ref().map(|breaker| breaker.admit(now_ms)) {
            None => None,
            Some(Admission::Pass(permit)) => Some(permit),
            Some(Admission::Refused { retry_after_ms }) => return Err(retry_after_ms),
        };
        Ok(Settled { instance, permit, now_ms })
    }

    /// The state that it led to, if it led to another.
    fn report(&mut self, outcome: Outcome, now_ms: u64) -> Option<State> {
        let (permit, breaker) = (self.permit.take()?, self.instance.breaker.as_ref()?);
        breaker.settle(permit, outcome, now_ms)
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.report(Outcome::GivenUp, self.now_ms);
    }
}
