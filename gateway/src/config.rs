//! The configuration: what a checked file says, in our own words.
//!
//! [`Config::parse`] is pure: text in, configuration or an error with line and column out.

mod check;
mod check_route;
mod check_tls;
mod check_upstream;
mod file;
pub mod rewrite;
mod spanned;

use self::rewrite::Template;
use crate::{breaker, limit, route};
use http::HeaderName;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// None: no request is followed.
    pub tracing: Option<Tracing>,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    /// None: one per core.
    pub threads: Option<usize>,
    pub io: Io,
    /// Answered with 200 on the main listener, before routing.
    pub ready_path: Option<String>,
    /// Whether upstreams get a `Forwarded` field even where no hop before began it.
    pub forwarded: bool,
    /// Whether HTTP/2 is offered to clients: in TLS, and to those that begin with it (prior knowledge).
    pub http2: bool,
    /// Whether profiles of this process are made for those who reach the admin listener.
    pub profiling: bool,
    pub tls: Option<Tls>,
    pub limits: Limits,
    pub timeouts: Timeouts,
}

/// What the data plane receives and sends through, where it speaks HTTP/1 over TCP in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    Epoll,
    /// Where the kernel allows it, else as above.
    Uring,
}

/// A listener for TLS, besides the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub listen: SocketAddr,
    /// At least one.
    pub certificates: Vec<Certificate>,
    /// None: clients are not asked for certificates.
    pub clients: Option<TlsClients>,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The names that it is shown for; no two certificates have one in common.
    pub hosts: Vec<route::HostPattern>,
    /// The certificate, and those that lead from it to an authority.
    pub chain: PlacedPath,
    pub key: PlacedPath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClients {
    /// The authorities whose certificates are taken.
    pub ca: PlacedPath,
    pub auth: ClientAuth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    Required,
    /// A client may show none; one that is not valid is refused all the same.
    Optional,
}

/// A place in the file. Both counts start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    fn of(text: &str, offset: usize) -> Place {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    pub fn error(self, message: impl Into<String>) -> ConfigError {
        ConfigError { line: self.line, column: self.column, message: message.into() }
    }
}

/// Another file that the configuration names, relative to its own folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPath {
    pub path: PathBuf,
    pub place: Place,
}

impl PlacedPath {
    /// What is wrong with the file.
    pub fn error(&self, message: impl fmt::Display) -> ConfigError {
        self.place.error(format!("`{}` {message}", self.path.display()))
    }
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
    /// Requests under way over one connection of HTTP/2.
    pub streams: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start of a connection to the end of TLS's handshake.
    pub tls_handshake: Duration,
    /// From the end of one request, or the start of a connection, to the whole head of the next.
    pub client_header: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub client_write: Duration,
    /// How long a client may pause within the body of its request.
    pub client_body: Duration,
    /// The look-up of an upstream's name.
    pub dns: Duration,
    pub connect: Duration,
    /// How long an upstream may take none of a request's bytes.
    pub upstream_write: Duration,
    /// How long an upstream may leave open whether it wants a body that a client holds back; then the client
    /// is told to send it.
    pub continue_after: Duration,
    /// To the head of the response, counted from the last byte of the request.
    pub response_header: Duration,
    /// How long an upstream may pause within its response.
    pub response_body: Duration,
    /// The whole request, to the last byte of the response.
    pub request: Duration,
    /// How long an upstream connection may wait for its next request.
    pub upstream_idle: Duration,
    /// How long a connection of another protocol, such as WebSocket, may be silent.
    pub tunnel_idle: Duration,
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

/// Where spans go to, and of which requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The place in [`Config::upstreams`]; it speaks HTTP/1.
    pub upstream: usize,
    pub path: String,
    /// What the spans are of, as the collector names it.
    pub service: String,
    /// One in so many requests that come without a trace begins one.
    pub begin_one_in: Option<u32>,
    /// How long the collector may take over a batch.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: String,
    /// At least one.
    pub addresses: Vec<Address>,
    /// As many, each at least 1.
    pub weights: Vec<u32>,
    pub protocol: Protocol,
    /// None: in the clear.
    pub tls: Option<UpstreamTls>,
    pub balance: Balance,
    /// Of each instance.
    pub breaker: Option<breaker::Rule>,
    pub retry: Option<Retry>,
    pub health: Option<Health>,
    /// Requests under way to all instances, from one thread.
    pub in_flight_max: Option<u32>,
    /// How long an instance that came back is given less than its share.
    pub slow_start: Duration,
}

/// TLS to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities whose certificates are taken.
    pub ca: PlacedPath,
    /// The name that certificates must be for. None: that of the address; an address without a name has one here.
    pub server_name: Option<String>,
    /// What the gateway shows.
    pub own: Option<OwnCertificate>,
    pub place: Place,
}

/// A certificate that is shown to upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    pub chain: PlacedPath,
    pub key: PlacedPath,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge (RFC 9113, section 3.3), or as agreed on in TLS.
    Http2,
}

/// Which instance is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turns, by weight.
    RoundRobin,
    /// Of two by chance, the one with fewer requests under way for its weight.
    LeastRequests,
    /// The same for requests that are alike, whatever instances come and go.
    Hash(HashBy),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    Client,
    Path,
    Header(HeaderName),
}

/// Further attempts, where they are safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Besides the first.
    pub attempts: u32,
    /// Before the first of them; twice as long before each that follows, up to the most.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// Attempts at most for so many requests in a hundred.
    pub budget_percent: u32,
}

/// How instances are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Answers in a row that change what is thought of an instance.
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Ip(SocketAddr),
    /// `name:port`; where it leads is asked for again every few seconds.
    Name(Arc<str>),
    /// `unix:` and an absolute path.
    Unix(Arc<Path>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Name(name) => f.write_str(name),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Ok(address) = text.parse() {
            return Ok(Address::Ip(address));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // A socket's address has room for 107 bytes and a NUL (unix(7)).
            return match path.starts_with('/') && path.len() <= 107 {
                true => Ok(Address::Unix(Path::new(path).into())),
                false => Err(format!(
                    "`{text}` is no address: write unix: and an absolute path of at most 107 bytes"
                )),
            };
        }
        let valid = text.rsplit_once(':').is_some_and(|(name, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            let is_name = !name.is_empty() && name.len() <= route::HOST_MAX_BYTES && name.chars().all(plain);
            is_name && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !valid {
            return Err(format!(
                "`{text}` is no address: write IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/PATH"
            ));
        }
        Ok(Address::Name(text.into()))
    }
}

#[derive(Clone, Debug)]
pub struct Route {
    pub name: String,
    pub rule: route::Rule,
    pub action: Action,
    pub rewrite: Rewrite,
    pub limit: Option<Limit>,
    pub request_fields: Fields,
    pub response_fields: Fields,
    /// In place of the server's bound for a whole request.
    pub request_timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To one of these, by weight; at least one.
    Pass(Vec<Share>),
    Redirect {
        status: u16,
        to: Template,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub weight: u32,
    /// The place in [`Config::upstreams`].
    pub upstream: usize,
}

/// The path that the upstream gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    None,
    /// What follows the route's path.
    Strip,
    To(Template),
}

/// Fields that are removed, and then set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub remove: Vec<String>,
    pub set: Vec<(String, String)>,
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
        Place::of(text, offset).error(message)
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
