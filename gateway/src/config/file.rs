//! The shape of the TOML file, before any check but that of types and unknown keys.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::Spanned;

/// A value with its place in the file, so that a later check can point at it.
type Placed<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub server: Server,
    #[serde(default)]
    pub access_log: AccessLog,
    #[serde(default, rename = "upstream")]
    pub upstreams: Vec<Spanned<Upstream>>,
    #[serde(default, rename = "route")]
    pub routes: Vec<Spanned<Route>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub threads: Placed<u64>,
    pub ready_path: Placed<String>,
    #[serde(default)]
    pub forwarded: bool,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub timeouts: Timeouts,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub connections: Placed<u64>,
    pub headers: Placed<u64>,
    pub header_bytes: Placed<u64>,
    pub body_bytes: Placed<u64>,
    pub upstream_idle: Placed<u64>,
    pub limiter_keys: Placed<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub client_header_ms: Placed<u64>,
    pub client_write_ms: Placed<u64>,
    pub client_body_ms: Placed<u64>,
    pub dns_ms: Placed<u64>,
    pub connect_ms: Placed<u64>,
    pub upstream_write_ms: Placed<u64>,
    pub continue_ms: Placed<u64>,
    pub response_header_ms: Placed<u64>,
    pub response_body_ms: Placed<u64>,
    pub request_ms: Placed<u64>,
    pub upstream_idle_ms: Placed<u64>,
    pub tunnel_idle_ms: Placed<u64>,
    pub drain_ms: Placed<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessLog {
    pub output: Placed<String>,
    pub file: Placed<PathBuf>,
    pub sample_one_in: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub name: Spanned<String>,
    pub addresses: Spanned<Vec<Spanned<String>>>,
    pub weights: Placed<Vec<Spanned<u64>>>,
    pub balance: Placed<String>,
    pub breaker: Option<Breaker>,
    pub retry: Option<Retry>,
    pub health: Option<Health>,
    pub in_flight_max: Placed<u64>,
    pub slow_start_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub attempts: Spanned<u64>,
    pub backoff_ms: Placed<u64>,
    pub backoff_max_ms: Placed<u64>,
    pub budget_percent: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub path: Spanned<String>,
    pub interval_ms: Placed<u64>,
    pub timeout_ms: Placed<u64>,
    pub healthy_after: Placed<u64>,
    pub unhealthy_after: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Breaker {
    pub failures: Spanned<u64>,
    pub open_ms: Spanned<u64>,
    pub half_open_max: Spanned<u64>,
    pub percent: Placed<u64>,
    pub window_ms: Placed<u64>,
    pub requests_min: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub name: Spanned<String>,
    pub host: Placed<String>,
    pub methods: Placed<Vec<Spanned<String>>>,
    pub prefix: Placed<String>,
    pub path: Placed<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<String>>,
    pub upstream: Placed<String>,
    pub split: Placed<Vec<Share>>,
    pub redirect: Option<Redirect>,
    #[serde(default)]
    pub strip_prefix: bool,
    pub rewrite: Placed<String>,
    pub limit: Option<Limit>,
    #[serde(default)]
    pub request_headers: Fields,
    #[serde(default)]
    pub response_headers: Fields,
    pub request_ms: Placed<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    pub upstream: Spanned<String>,
    pub weight: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redirect {
    pub to: Spanned<String>,
    pub status: Placed<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    #[serde(default)]
    pub set: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub requests: Spanned<u64>,
    pub window_ms: Spanned<u64>,
    pub key: Spanned<String>,
}
