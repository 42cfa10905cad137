//! What is counted, and its text for Prometheus.
//!
//! Every thread counts in a stripe of its own, made at its first use, so that counting takes no lock and
//! moves no cache line between cores. A scrape adds the stripes up.

use crate::active::Active;
use crate::spans::SpanCounts;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Of one thread, which alone writes it: so adding is a load and a store, and never a locked instruction. Others
/// read it. Two writers would lose counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Relaxed);
    }

    /// Only for a counter that is used as a gauge.
    pub fn subtract(&self, count: u64) {
        self.0.store(self.get().wrapping_sub(count), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Of all threads; for what is rare.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` for each thread.
#[derive(Debug)]
pub struct Striped<T> {
    stripes: Box<[OnceLock<Box<T>>]>,
}

impl<T: Default> Striped<T> {
    pub fn new(threads: usize) -> Striped<T> {
        Striped { stripes: (0..threads).map(|_| OnceLock::new()).collect() }
    }

    pub fn of(&self, thread: usize) -> &T {
        self.stripes[thread].get_or_init(Box::default)
    }

    fn sum(&self, count: impl Fn(&T) -> &Counter) -> u64 {
        self.stripes.iter().filter_map(OnceLock::get).map(|stripe| count(stripe).get()).sum()
    }

    fn is_unused(&self) -> bool {
        self.stripes.iter().all(|stripe| stripe.get().is_none())
    }
}

/// Upper bounds of the latency histogram: fine around a millisecond, where a gateway lives, and up to ten
/// seconds, where a client has gone.
const LATENCY_BOUNDS: [(u64, &str); 14] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

/// Of one route, on one thread.
#[derive(Debug, Default)]
pub struct RouteCounts {
    /// By the first digit of the status, less one.
    classes: [Counter; 5],
    latency: Histogram,
    pub limited: Counter,
}

/// How long something took, how often.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By [`LATENCY_BOUNDS`], and one for all above.
    buckets: [Counter; LATENCY_BOUNDS.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS.iter().position(|(bound_us, _)| us <= *bound_us);
        self.buckets[bucket.unwrap_or(LATENCY_BOUNDS.len())].add(1);
        self.sum_us.add(us);
    }
}

impl RouteCounts {
    pub fn request(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].add(1);
        self.latency.record(duration);
    }
}

/// How many attempts may still be made besides the first ones: a share of the requests, and a few. Of one thread,
/// as a [`Counter`] is.
#[derive(Debug, Default)]
pub struct Budget(AtomicI64);

/// What one attempt takes, in parts of a request in a hundred.
const ATTEMPT: i64 = 100;
/// So many may be made before there were requests to take a share of.
const ATTEMPTS_AHEAD: i64 = 3;
/// So many may be saved up.
const ATTEMPTS_SAVED: i64 = 10;

impl Budget {
    pub fn earn(&self, percent: u32) {
        if self.0.load(Relaxed) < ATTEMPTS_SAVED * ATTEMPT {
            self.0.store(self.0.load(Relaxed) + i64::from(percent), Relaxed);
        }
    }

    pub fn has_more(&self) -> bool {
        self.0.load(Relaxed) > -(ATTEMPTS_AHEAD * ATTEMPT)
    }

    pub fn spend(&self) {
        self.0.store(self.0.load(Relaxed) - ATTEMPT, Relaxed);
    }
}

/// Of one upstream, on one thread.
#[derive(Debug, Default)]
pub struct UpstreamCounts {
    pub connections: Counter,
    pub retries: Counter,
    pub refused_by_breaker: Counter,
    /// Refused because as many as may were under way.
    pub overloaded: Counter,
    /// Requests under way now.
    pub in_flight: Counter,
    pub budget: Budget,
    pub connect_failed: Counter,
    pub connect_timeout: Counter,
    pub response_timeout: Counter,
    pub broken: Counter,
    /// From the wish for a new connection to the connection, with the look-up of its name.
    pub connect: Histogram,
    /// From there to the head of the answer.
    pub first_byte: Histogram,
}

/// Of one instance, on one thread.
#[derive(Debug, Default)]
pub struct InstanceCounts {
    pub requests: Counter,
    /// Under way now.
    pub in_flight: Counter,
}

/// Of the process, on one thread.
#[derive(Debug, Default)]
pub struct ThreadCounts {
    pub connections_open: Counter,
    pub connections: Counter,
    pub http2_connections: Counter,
    /// 1 where it runs on io_uring.
    pub rings: Counter,
    pub tls_handshakes: Counter,
    pub tls_failed: Counter,
    pub tls_timed_out: Counter,
    timeouts: [Counter; Phase::ALL.len()],
}

impl ThreadCounts {
    pub fn timed_out(&self, phase: Phase) {
        self.timeouts[phase as usize].add(1);
    }
}

/// What may take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    ClientHeader,
    ClientBody,
    ClientWrite,
    Dns,
    Connect,
    UpstreamTls,
    UpstreamWrite,
    ResponseHeader,
    ResponseBody,
    Request,
}

impl Phase {
    /// In order, as in the configuration.
    const ALL: [(Phase, &str); 10] = [
        (Phase::ClientHeader, "client_header"),
        (Phase::ClientBody, "client_body"),
        (Phase::ClientWrite, "client_write"),
        (Phase::Dns, "dns"),
        (Phase::Connect, "connect"),
        (Phase::UpstreamTls, "upstream_tls"),
        (Phase::UpstreamWrite, "upstream_write"),
        (Phase::ResponseHeader, "response_header"),
        (Phase::ResponseBody, "response_body"),
        (Phase::Request, "request"),
    ];
}

#[derive(Debug)]
pub struct Metrics {
    pub threads: Striped<ThreadCounts>,
    /// Requests that no route took.
    pub unrouted: Striped<RouteCounts>,
    pub log_lines_dropped: SharedCounter,
    pub spans: SpanCounts,
    pub reloads_taken: SharedCounter,
    pub reloads_refused: SharedCounter,
}

impl Metrics {
    pub fn new(threads: usize) -> Metrics {
        Metrics {
            threads: Striped::new(threads),
            unrouted: Striped::new(threads),
            log_lines_dropped: SharedCounter::default(),
            spans: SpanCounts::default(),
            reloads_taken: SharedCounter::default(),
            reloads_refused: SharedCounter::default(),
        }
    }
}

/// The label of requests that no route took; no route can have this name.
const UNROUTED: &str = "(none)";

/// The text of a scrape (Prometheus exposition format 0.0.4). Routes that nobody asked for are left out.
pub fn render(metrics: &Metrics, active: &Active) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let used: Vec<(&str, &Striped<RouteCounts>)> = active
        .routes
        .iter()
        .map(|route| (route.name.as_str(), &*route.counts))
        .chain([(UNROUTED, &metrics.unrouted)])
        .filter(|(_, counts)| !counts.is_unused())
        .collect();

    family(&mut out, "gateway_requests_total", "counter", "Requests answered, by route and status class.");
    for (route, counts) in &used {
        for class in 0..5 {
            let count = counts.sum(|stripe| &stripe.classes[class]);
            if count > 0 {
                let class = class + 1;
                line(
                    &mut out,
                    "gateway_requests_total",
                    &format!("route=\"{route}\",class=\"{class}xx\""),
                    count,
                );
            }
        }
    }
    let seconds = "gateway_request_duration_seconds";
    family(&mut out, seconds, "histogram", "Time from a request's head to the last byte of its response.");
    for (route, counts) in &used {
        histogram(&mut out, (seconds, &format!("route=\"{route}\"")), counts, |stripe| &stripe.latency);
    }
    family(&mut out, "gateway_limited_total", "counter", "Requests refused by a route's limiter.");
    for (route, counts) in &used {
        let count = counts.sum(|stripe| &stripe.limited);
        line(&mut out, "gateway_limited_total", &format!("route=\"{route}\""), count);
    }
    upstreams(&mut out, active);
    process(&mut out, metrics, active);
    out
}

/// One of a thread's counters.
type PickThread = fn(&ThreadCounts) -> &Counter;
/// One of an upstream's phases.
type PickPhase = fn(&UpstreamCounts) -> &Histogram;
/// One of an upstream's counters.
type PickUpstream = fn(&UpstreamCounts) -> &Counter;

fn upstreams(out: &mut String, active: &Active) {
    family(
        out,
        "gateway_upstream_errors_total",
        "counter",
        "Exchanges with an upstream that failed, by kind.",
    );
    for upstream in &active.upstreams {
        let kinds: [(&str, PickUpstream); 4] = [
            ("connect", |stripe| &stripe.connect_failed),
            ("connect_timeout", |stripe| &stripe.connect_timeout),
            ("response_timeout", |stripe| &stripe.response_timeout),
            ("broken", |stripe| &stripe.broken),
        ];
        for (kind, counter) in kinds {
            let labels = format!("upstream=\"{}\",kind=\"{kind}\"", upstream.name);
            line(out, "gateway_upstream_errors_total", &labels, upstream.counts.sum(counter));
        }
    }
    let phases = "gateway_upstream_phase_seconds";
    family(out, phases, "histogram", "Time to a new connection, and from there to the head of the answer.");
    for upstream in active.upstreams.iter().filter(|upstream| !upstream.counts.is_unused()) {
        let picks: [(&str, PickPhase); 2] =
            [("connect", |stripe| &stripe.connect), ("first_byte", |stripe| &stripe.first_byte)];
        for (phase, pick) in picks {
            let labels = format!("upstream=\"{}\",phase=\"{phase}\"", upstream.name);
            histogram(out, (phases, &labels), &upstream.counts, pick);
        }
    }
    let counters: [(&str, &str, PickUpstream); 4] = [
        ("gateway_upstream_connections_total", "Connections opened.", |stripe| &stripe.connections),
        ("gateway_upstream_overloaded_total", "Requests refused because too many were under way.", |s| {
            &s.overloaded
        }),
        ("gateway_upstream_retries_total", "Requests sent again after a stale connection.", |s| &s.retries),
        ("gateway_breaker_refused_total", "Requests refused by a breaker.", |s| &s.refused_by_breaker),
    ];
    for (name, help, counter) in counters {
        family(out, name, "counter", help);
        for upstream in &active.upstreams {
            line(out, name, &format!("upstream=\"{}\"", upstream.name), upstream.counts.sum(counter));
        }
    }
    family(out, "gateway_instance_healthy", "gauge", "1 well, 0 unwell, by the checks of its health.");
    for upstream in active.upstreams.iter().filter(|upstream| upstream.health.is_some()) {
        for instance in &upstream.instances {
            let labels = format!("upstream=\"{}\",address=\"{}\"", upstream.name, instance.address);
            line(out, "gateway_instance_healthy", &labels, u8::from(instance.is_well()));
        }
    }
    family(out, "gateway_breaker_state", "gauge", "0 closed, 1 half open, 2 open.");
    for upstream in &active.upstreams {
        for instance in &upstream.instances {
            if let Some(breaker) = &instance.breaker {
                let labels = format!("upstream=\"{}\",address=\"{}\"", upstream.name, instance.address);
                line(out, "gateway_breaker_state", &labels, breaker.state_number());
            }
        }
    }
}

fn process(out: &mut String, metrics: &Metrics, active: &Active) {
    family(out, "gateway_connections", "gauge", "Client connections open now.");
    line(out, "gateway_connections", "", metrics.threads.sum(|stripe| &stripe.connections_open));
    family(out, "gateway_connections_total", "counter", "Client connections accepted.");
    line(out, "gateway_connections_total", "", metrics.threads.sum(|stripe| &stripe.connections));
    family(out, "gateway_timeouts_total", "counter", "Waits that ran out, by phase; of each attempt.");
    for (phase, name) in Phase::ALL {
        let count = metrics.threads.sum(|stripe| &stripe.timeouts[phase as usize]);
        line(out, "gateway_timeouts_total", &format!("phase=\"{name}\""), count);
    }
    family(out, "gateway_http2_connections_total", "counter", "Client connections that spoke HTTP/2.");
    line(out, "gateway_http2_connections_total", "", metrics.threads.sum(|stripe| &stripe.http2_connections));
    family(out, "gateway_io_uring_threads", "gauge", "Threads that receive and send through io_uring.");
    line(out, "gateway_io_uring_threads", "", metrics.threads.sum(|stripe| &stripe.rings));
    let tls = "gateway_tls_handshakes_total";
    family(out, tls, "counter", "Handshakes with clients, by outcome.");
    let outcomes: [(&str, PickThread); 3] = [
        ("done", |stripe| &stripe.tls_handshakes),
        ("failed", |stripe| &stripe.tls_failed),
        ("timeout", |stripe| &stripe.tls_timed_out),
    ];
    for (outcome, counter) in outcomes {
        line(out, tls, &format!("outcome=\"{outcome}\""), metrics.threads.sum(counter));
    }
    family(out, "gateway_config_routes", "gauge", "Routes of the configuration in force.");
    line(out, "gateway_config_routes", "", active.routes.len());
    family(out, "gateway_config_reloads_total", "counter", "Changes of the configuration file, by outcome.");
    line(out, "gateway_config_reloads_total", "outcome=\"taken\"", metrics.reloads_taken.get());
    line(out, "gateway_config_reloads_total", "outcome=\"refused\"", metrics.reloads_refused.get());
    family(
        out,
        "gateway_access_log_dropped_total",
        "counter",
        "Lines dropped because the log could not keep up.",
    );
    line(out, "gateway_access_log_dropped_total", "", metrics.log_lines_dropped.get());
    let spans = "gateway_spans_total";
    family(out, spans, "counter", "Spans of requests that were followed, by what became of them.");
    let of = &metrics.spans;
    for (outcome, counter) in [("sent", &of.sent), ("overflowed", &of.overflowed), ("failed", &of.failed)] {
        line(out, spans, &format!("outcome=\"{outcome}\""), counter.get());
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The lines of one histogram, which has a name and labels.
fn histogram<T: Default>(
    out: &mut String,
    (name, labels): (&str, &str),
    counts: &Striped<T>,
    pick: impl Fn(&T) -> &Histogram,
) {
    let mut below = 0;
    for (bucket, bound) in LATENCY_BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]).enumerate() {
        below += counts.sum(|stripe| &pick(stripe).buckets[bucket]);
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), below);
    }
    let sum_us = counts.sum(|stripe| &pick(stripe).sum_us);
    line(out, &format!("{name}_sum"), labels, sum_us as f64 / 1e6);
    line(out, &format!("{name}_count"), labels, below);
}

/// Names that come from the configuration hold nothing that would need an escape.
fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_scrape_adds_the_threads_up() {
        let config = Config::parse(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"u\"\naddresses = [\"127.0.0.1:1\"]\n\
             breaker = { failures = 1, open_ms = 1, half_open_max = 1 }\n\
             [[route]]\nname = \"r\"\nprefix = \"/\"\nupstream = \"u\"\n\
             [[route]]\nname = \"quiet\"\nprefix = \"/q\"\nupstream = \"u\"\n",
        )
        .expect("a valid file");
        let active = Active::build(config, None, 2);
        let metrics = Metrics::new(2);
        let counts = &active.routes[0].counts;
        counts.of(0).request(200, Duration::from_micros(800));
        counts.of(1).request(204, Duration::from_micros(1_000));
        counts.of(1).request(502, Duration::from_secs(60));
        counts.of(1).limited.add(3);
        metrics.unrouted.of(0).request(404, Duration::ZERO);
        let text = render(&metrics, &active);
        for expect in [
            "gateway_requests_total{route=\"r\",class=\"2xx\"} 2",
            "gateway_requests_total{route=\"r\",class=\"5xx\"} 1",
            "gateway_requests_total{route=\"(none)\",class=\"4xx\"} 1",
            "gateway_request_duration_seconds_bucket{route=\"r\",le=\"0.0005\"} 0",
            "gateway_request_duration_seconds_bucket{route=\"r\",le=\"0.001\"} 2",
            "gateway_request_duration_seconds_bucket{route=\"r\",le=\"10\"} 2",
            "gateway_request_duration_seconds_bucket{route=\"r\",le=\"+Inf\"} 3",
            "gateway_request_duration_seconds_sum{route=\"r\"} 60.0018",
            "gateway_request_duration_seconds_count{route=\"r\"} 3",
            "gateway_limited_total{route=\"r\"} 3",
            "gateway_breaker_state{upstream=\"u\",address=\"127.0.0.1:1\"} 0",
            "gateway_connections 0",
        ] {
            assert!(text.lines().any(|line| line == expect), "{expect}\nin\n{text}");
        }
        assert!(!text.contains("quiet"), "a route that nobody asked for is left out");
    }
}
