//! The shape of the TOML file, before any check but that of types and unknown keys.
//!
//! What stands here before a key is its description in `docs/schema/gateway.schema.json`, which a test makes.

use super::spanned::Spanned;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

type Placed<T> = Option<Spanned<T>>;

/// The configuration of the gateway.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub server: Server,
    #[serde(default)]
    pub access_log: AccessLog,
    /// Spans of requests go to a collector of OpenTelemetry's; nowhere without it.
    pub tracing: Option<Tracing>,
    /// What requests are passed on to.
    #[serde(default, rename = "upstream")]
    pub upstreams: Vec<Spanned<Upstream>>,
    /// Which requests are passed on to what; the most specific that matches wins.
    #[serde(default, rename = "route")]
    pub routes: Vec<Spanned<Route>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// IP:PORT or [IPv6]:PORT.
    #[cfg_attr(test, schemars(with = "String"))]
    pub listen: SocketAddr,
    /// Where /healthz, /readyz, /metrics, /traffic and /debug/pprof/ are answered; nowhere without it.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub admin: Option<SocketAddr>,
    /// How many threads serve; one per core without it.
    pub threads: Placed<u64>,
    /// What HTTP/1 in the clear is received and sent through: "epoll", or "io_uring", which takes fewer system calls and a
    /// Linux of 6.1; epoll without it.
    pub io: Placed<String>,
    /// Answered with 200 on the main listeners, before routing.
    pub ready_path: Placed<String>,
    /// Whether upstreams always get `Forwarded` (RFC 7239), not only where one came.
    #[serde(default)]
    pub forwarded: bool,
    /// Whether HTTP/2 is offered in TLS, and taken in the clear from clients that begin with it; true without it.
    pub http2: Option<bool>,
    /// Whether the admin listener makes profiles of the gateway itself (/debug/pprof/); true without it.
    pub profiling: Option<bool>,
    /// Another listener, for TLS.
    pub tls: Placed<Tls>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub timeouts: Timeouts,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Connections of clients, in the whole process; 10000 without it.
    pub connections: Placed<u64>,
    /// Fields in a message; 100 without it.
    pub headers: Placed<u64>,
    /// Bytes of a message's head; 32768 without it.
    pub header_bytes: Placed<u64>,
    /// Bytes of a request's body; 1 GiB without it.
    pub body_bytes: Placed<u64>,
    /// Connections that are kept per address and thread; 64 without it.
    pub upstream_idle: Placed<u64>,
    /// Keys that one limiter remembers; 65536 without it.
    pub limiter_keys: Placed<u64>,
    /// Requests under way over one connection of HTTP/2; 100 without it.
    pub streams: Placed<u64>,
}

/// All in milliseconds, from 1 to an hour.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// From the start of a connection to the end of TLS's handshake; 10000 without it.
    pub tls_handshake_ms: Placed<u64>,
    /// From the end of one request to the whole head of the next; 30000 without it.
    pub client_header_ms: Placed<u64>,
    /// While the client takes nothing of what waits for it; 30000 without it.
    pub client_write_ms: Placed<u64>,
    /// While the client pauses within the body of its request; 30000 without it.
    pub client_body_ms: Placed<u64>,
    /// The look-up of an upstream's name; 1000 without it.
    pub dns_ms: Placed<u64>,
    /// And again for TLS's handshake with the upstream; 1000 without it.
    pub connect_ms: Placed<u64>,
    /// While the upstream takes nothing of the request; 15000 without it.
    pub upstream_write_ms: Placed<u64>,
    /// Until a client that waits for leave to send its body is told to, by the gateway; 1000 without it.
    pub continue_ms: Placed<u64>,
    /// From the last byte of the request to the head of its response; 15000 without it.
    pub response_header_ms: Placed<u64>,
    /// While the upstream pauses within its response; 30000 without it.
    pub response_body_ms: Placed<u64>,
    /// The whole request, with both bodies; 60000 without it.
    pub request_ms: Placed<u64>,
    /// A kept connection; 15000 without it.
    pub upstream_idle_ms: Placed<u64>,
    /// While a connection of another protocol (WebSocket) is silent; an hour without it.
    pub tunnel_idle_ms: Placed<u64>,
    /// How long a stop waits for requests under way; 10000 without it.
    pub drain_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// IP:PORT or [IPv6]:PORT.
    #[cfg_attr(test, schemars(with = "String"))]
    pub listen: SocketAddr,
    /// At least one.
    #[serde(default, rename = "certificate")]
    pub certificates: Vec<Spanned<Certificate>>,
    /// Authorities, in PEM; clients show a certificate of one of them.
    pub client_ca: Placed<PathBuf>,
    /// "required" or "optional"; required without it.
    pub client_auth: Placed<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// The names that it is shown for: a name, `*.` and a name (one label before it), or `*` for all others.
    pub hosts: Spanned<Vec<Spanned<String>>>,
    /// The certificate and those that lead from it to an authority, in PEM; relative to the configuration.
    pub chain: Spanned<PathBuf>,
    /// Its private key, in PEM; relative to the configuration.
    pub key: Spanned<PathBuf>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct AccessLog {
    /// "off", "stdout" or "file"; off without it.
    pub output: Placed<String>,
    pub file: Placed<PathBuf>,
    /// One request in so many is logged; statuses of 500 and above always are.
    pub sample_one_in: Placed<u64>,
}

/// Requests of sampled traces (W3C Trace Context) are followed, and told by OTLP over HTTP, as JSON.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Tracing {
    /// The collector: one of the upstreams, which has its addresses and its TLS.
    pub upstream: Spanned<String>,
    /// /v1/traces without it.
    pub path: Placed<String>,
    /// `service.name` of the spans; gateway without it.
    pub service: Placed<String>,
    /// One in so many requests that come without a trace begins one; none without it.
    pub begin_one_in: Placed<u64>,
    /// How long the collector may take over a batch, up to a minute; 5000 without it.
    pub timeout_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub name: Spanned<String>,
    /// IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/PATH.
    pub addresses: Spanned<Vec<Spanned<String>>>,
    /// One for each address; all alike without it.
    pub weights: Placed<Vec<Spanned<u64>>>,
    /// "http1", or "http2": with prior knowledge, or as agreed on in TLS; http1 without it.
    pub protocol: Placed<String>,
    /// In the clear without it.
    pub tls: Placed<UpstreamTls>,
    /// "round-robin", "least-requests", "hash:client", "hash:path" or "hash:header:NAME"; round-robin without it.
    pub balance: Placed<String>,
    /// Of each address.
    pub breaker: Option<Breaker>,
    pub retry: Option<Retry>,
    pub health: Option<Health>,
    /// Requests under way from one thread; more are refused with 503.
    pub in_flight_max: Placed<u64>,
    /// How long an address that came back is given less than its share; 0 without it.
    pub slow_start_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTls {
    /// Authorities, in PEM; the upstream shows a certificate of one of them.
    pub ca: Spanned<PathBuf>,
    /// What the certificate must be for; the name in the address without it.
    pub server_name: Placed<String>,
    /// What the gateway shows, in PEM; nothing without it.
    pub chain: Placed<PathBuf>,
    /// Its private key.
    pub key: Placed<PathBuf>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Besides the first.
    pub attempts: Spanned<u64>,
    /// Before the first of them, then twice as long; 25 without it.
    pub backoff_ms: Placed<u64>,
    /// 1000 without it.
    pub backoff_max_ms: Placed<u64>,
    /// Attempts for so many requests in a hundred; 20 without it.
    pub budget_percent: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// What is asked for; an address is well that answers with a status from 200 to 399.
    pub path: Spanned<String>,
    /// 5000 without it.
    pub interval_ms: Placed<u64>,
    /// 1000 without it.
    pub timeout_ms: Placed<u64>,
    /// Answers in a row; 2 without it.
    pub healthy_after: Placed<u64>,
    /// Answers in a row; 3 without it.
    pub unhealthy_after: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Breaker {
    /// In a row.
    pub failures: Spanned<u64>,
    pub open_ms: Spanned<u64>,
    /// Trials before it closes.
    pub half_open_max: Spanned<u64>,
    /// Or so many failures in a hundred of the last `window_ms`.
    pub percent: Placed<u64>,
    /// 10000 without it.
    pub window_ms: Placed<u64>,
    /// Before a share says anything; 20 without it.
    pub requests_min: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub name: Spanned<String>,
    /// A name, `*.` and a name, or any host without it.
    pub host: Placed<String>,
    /// All without it; GET brings HEAD.
    pub methods: Placed<Vec<Spanned<String>>>,
    /// By segments; `{name}` is any one segment.
    pub prefix: Placed<String>,
    /// Instead of `prefix`: this path alone.
    pub path: Placed<String>,
    /// These fields with these values; "*" is any.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// These parameters of the query with these values; "*" is any.
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<String>>,
    pub upstream: Placed<String>,
    /// Instead of `upstream`: several, by weight.
    pub split: Placed<Vec<Share>>,
    /// Instead of `upstream`.
    pub redirect: Option<Redirect>,
    /// Whether the upstream gets only what follows the route's path.
    #[serde(default)]
    pub strip_prefix: bool,
    /// The path that the upstream gets; `{rest}` is what follows the route's.
    pub rewrite: Placed<String>,
    pub limit: Option<Limit>,
    #[serde(default)]
    pub request_headers: Fields,
    #[serde(default)]
    pub response_headers: Fields,
    /// Instead of the server's.
    pub request_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    pub upstream: Spanned<String>,
    pub weight: Spanned<u64>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Redirect {
    /// A path or an address, with `{host}`, `{rest}` and the route's parameters.
    pub to: Spanned<String>,
    /// 301, 302, 303, 307 or 308; 308 without it.
    pub status: Placed<u64>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    #[serde(default)]
    pub set: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub requests: Spanned<u64>,
    pub window_ms: Spanned<u64>,
    /// "client", "route" or "header:NAME".
    pub key: Spanned<String>,
}
