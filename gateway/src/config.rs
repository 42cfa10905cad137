//! The configuration: what a checked file says, in our own words.
//!
//! [`Config::parse`] is pure: text in, configuration or an error with line and column out.

mod check;
mod file;

use crate::{breaker, limit, route};
use http::HeaderName;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A configuration file longer than this is refused before it is parsed: room for [`ROUTES_MAX`] routes,
/// and far from what would exhaust memory.
pub const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Twice the size that the route table is built and measured for.
pub const ROUTES_MAX: usize = 200_000;
pub const UPSTREAMS_MAX: usize = 10_000;
/// Of one upstream. Each has its own pool of connections in every thread.
pub const ADDRESSES_MAX: usize = 256;
/// Names become metric labels and log fields.
pub const NAME_MAX_BYTES: usize = 64;

#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub access_log: AccessLog,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    /// None: one per core.
    pub threads: Option<usize>,
    /// Answered with 200 on the main listener, before routing.
    pub ready_path: Option<String>,
    pub limits: Limits,
    pub timeouts: Timeouts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of the whole process; more wait in the listener's queue.
    pub connections: usize,
    /// Header fields in one message, from either side.
    pub headers: usize,
    /// Bytes of one message head, from either side.
    pub header_bytes: usize,
    /// Bytes of one request body.
    pub body_bytes: u64,
    /// Idle upstream connections per address and thread.
    pub upstream_idle: usize,
    /// Keys that one limiter remembers.
    pub limiter_keys: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of one request, or the start of a connection, to the whole head of the next.
    pub client_header: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub client_write: Duration,
    pub connect: Duration,
    /// To the head of the response, counted from the last byte of the request.
    pub response_header: Duration,
    /// The whole request, to the last byte of the response.
    pub request: Duration,
    /// How long an upstream connection may wait for its next request.
    pub upstream_idle: Duration,
    /// How long a stop waits for requests under way.
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    pub output: LogOutput,
    /// One request in so many is logged; those that end in a status of 500 or above always are.
    pub sample_one_in: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    Off,
    Stdout,
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: String,
    /// At least one.
    pub addresses: Vec<Address>,
    pub breaker: Option<breaker::Rule>,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Ip(SocketAddr),
    /// `name:port`, resolved for every new connection.
    Name(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Name(name) => f.write_str(name),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Ok(address) = text.parse() {
            return Ok(Address::Ip(address));
        }
        let valid = text.rsplit_once(':').is_some_and(|(name, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            let is_name = !name.is_empty() && name.len() <= route::HOST_MAX_BYTES && name.chars().all(plain);
            is_name && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !valid {
            return Err(format!("`{text}` is no address: write IP:PORT, [IPv6]:PORT or NAME:PORT"));
        }
        Ok(Address::Name(text.into()))
    }
}

#[derive(Clone, Debug)]
pub struct Route {
    pub name: String,
    pub rule: route::Rule,
    /// The place in [`Config::upstreams`].
    pub upstream: usize,
    pub strip_prefix: bool,
    pub limit: Option<Limit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub quota: limit::Quota,
    pub by: LimitBy,
}

/// Which requests count together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// Those from one IP address.
    Client,
    /// All of the route.
    Route,
    /// Those with one value of a header field; those without it count as one.
    Header(HeaderName),
}

/// What is wrong with a configuration, and where. Both counts start at 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    fn at(text: &str, offset: usize, message: impl Into<String>) -> ConfigError {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ConfigError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

impl Config {
    /// Parses and checks a file's text.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        let file: file::File = toml::from_str(text).map_err(|error| {
            ConfigError::at(text, error.span().map_or(0, |span| span.start), error.message())
        })?;
        check::Checker::new(text).config(&file)
    }
}

#[cfg(test)]
mod tests;
