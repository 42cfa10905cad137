//! The shape of the TOML file, before any check but that of types and unknown keys.

use serde::Deserialize;
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
    pub connect_ms: Placed<u64>,
    pub response_header_ms: Placed<u64>,
    pub request_ms: Placed<u64>,
    pub upstream_idle_ms: Placed<u64>,
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
    pub breaker: Option<Breaker>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Breaker {
    pub failures: Spanned<u64>,
    pub open_ms: Spanned<u64>,
    pub half_open_max: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub name: Spanned<String>,
    pub host: Placed<String>,
    pub methods: Placed<Vec<Spanned<String>>>,
    pub prefix: Spanned<String>,
    pub upstream: Spanned<String>,
    #[serde(default)]
    pub strip_prefix: bool,
    pub limit: Option<Limit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub requests: Spanned<u64>,
    pub window_ms: Spanned<u64>,
    pub key: Spanned<String>,
}
