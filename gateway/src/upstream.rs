//! Connections to upstreams: opened within bounds, kept alive in a pool of one thread. One of HTTP/1 is kept while
//! nobody uses it, one of HTTP/2 is shared by all who do.
//!
//! Nothing here is shared between threads, so taking and returning a connection costs no lock.

use crate::active::{Instance, Upstream};
use crate::config::{Address, Protocol, Server};
use crate::http2::{self, Line};
use crate::ring::Ring;
use crate::stream::{Stream, Wire};
use crate::tls;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// An instance for as long as its address and its upstream's name stay, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(pub u64);

/// Ids count up, so one multiplication spreads them.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

type ById<T> = HashMap<InstanceId, T, BuildHasherDefault<IdHasher>>;

/// Idle connections of one thread, by instance, and the names that it has resolved.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<ById<Vec<Idle>>>,
    lines: RefCell<ById<Vec<Shared>>>,
    names: RefCell<HashMap<Arc<str>, Resolved>>,
    ring: Option<Rc<Ring>>,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
    to: Option<Named>,
}

/// A connection of HTTP/2.
#[derive(Debug)]
struct Shared {
    line: Line,
    /// When it was asked for last.
    since: Instant,
    to: Option<Named>,
}

fn leads_by(to: &Option<Named>, name: &Arc<str>) -> bool {
    to.as_ref().is_some_and(|to| to.name == *name)
}

/// Where a name led when a connection was opened; it may lead elsewhere by now.
#[derive(Clone, Debug)]
pub struct Named {
    name: Arc<str>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Resolved {
    addresses: Vec<SocketAddr>,
    at: Instant,
    turn: usize,
}

/// How long an answer of the DNS is used. The resolver does not say how long it holds; short enough that a
/// changed name is followed at once for people's purposes, long enough to cost nothing.
const NAME_HOLDS: Duration = Duration::from_secs(5);
/// Names that a thread remembers; one for each configured address, and those of configurations before.
const NAMES_MAX: usize = 1024;

/// An open connection, and the name that led there.
#[derive(Debug)]
pub struct Open {
    pub stream: Stream,
    pub to: Option<Named>,
}

impl Pool {
    /// Whose connections of HTTP/1 go through the ring, where there is one.
    pub fn new(ring: Option<Rc<Ring>>) -> Pool {
        Pool { ring, ..Pool::default() }
    }

    fn wire(&self, stream: TcpStream, protocol: Protocol) -> Result<Wire, ConnectError> {
        let ring = self.ring.as_ref().filter(|_| protocol == Protocol::Http1);
        Wire::tcp(stream, ring).map_err(ConnectError::Failed)
    }

    /// The connection that was used last, so that those that are not needed grow old and go.
    pub fn take(&self, id: InstanceId, now: Instant, idle_max: Duration) -> Option<Open> {
        let mut idle = self.idle.borrow_mut();
        let of_instance = idle.get_mut(&id)?;
        while let Some(Idle { mut stream, since, to }) = of_instance.pop() {
            if now.saturating_duration_since(since) < idle_max && stream.is_quiet() {
                return Some(Open { stream, to });
            }
        }
        None
    }

    /// A stream over a connection that has room for one more.
    pub fn ask(&self, instance: &Instance, now: Instant) -> Option<Open> {
        let mut lines = self.lines.borrow_mut();
        let shared = lines.get_mut(&instance.id)?;
        let shared = shared.iter_mut().find(|shared| !shared.line.is_gone() && shared.line.has_room())?;
        shared.since = now;
        let stream = Stream::Asked(Box::new(shared.line.ask(&instance.host())));
        Some(Open { stream, to: shared.to.clone() })
    }

    /// Only after the whole response was read and the whole request was sent.
    pub fn put(&self, id: InstanceId, mut open: Open, now: Instant, most: usize) {
        if let Stream::Asked(_) = open.stream {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_instance = idle.entry(id).or_default();
        if of_instance.len() < most && open.stream.is_watched() {
            of_instance.push(Idle { stream: open.stream, since: now, to: open.to });
        }
    }

    /// Closes what has been idle for too long, what the other side has closed, and what leads to where its
    /// name does not lead any more.
    pub fn sweep(&self, now: Instant, idle_max: Duration) {
        let names = self.names.borrow();
        let leads_on = |to: &Option<Named>| match to {
            Some(Named { name, address }) => {
                names.get(name).is_none_or(|known| known.addresses.contains(address))
            }
            None => true,
        };
        self.idle.borrow_mut().retain(|_, of_instance| {
            of_instance.retain_mut(|idle| {
                let is_young = now.saturating_duration_since(idle.since) < idle_max;
                is_young && leads_on(&idle.to) && idle.stream.is_quiet()
            });
            !of_instance.is_empty()
        });
        self.lines.borrow_mut().retain(|_, of_instance| {
            of_instance.retain(|shared| {
                let is_young = now.saturating_duration_since(shared.since) < idle_max;
                let is_used = !shared.line.is_idle() || is_young;
                // One that nobody keeps ends with the last request over it.
                is_used && !shared.line.is_gone() && leads_on(&shared.to)
            });
            !of_instance.is_empty()
        });
    }

    /// Asks for every name anew that connections are kept to. A name that has no answer now keeps its last.
    pub async fn refresh_names(&self, bound: Duration) {
        let kept = |name: &Arc<str>| {
            let mut idle = self.idle.borrow().values().flatten().any(|idle| leads_by(&idle.to, name));
            idle |= self.lines.borrow().values().flatten().any(|shared| leads_by(&shared.to, name));
            idle |= self.names.borrow().get(name).is_some_and(|known| known.at.elapsed() < NAME_HOLDS);
            idle
        };
        let names: Vec<Arc<str>> = self.names.borrow().keys().cloned().collect();
        for name in names {
            if !kept(&name) {
                self.names.borrow_mut().remove(&name);
                continue;
            }
            if let Ok(Ok(found)) = timeout(bound, lookup_host(&*name)).await {
                let addresses: Vec<SocketAddr> = found.collect();
                if let (false, Some(known)) = (addresses.is_empty(), self.names.borrow_mut().get_mut(&name)) {
                    (known.addresses, known.at) = (addresses, Instant::now());
                }
            }
        }
    }

    /// A stream over a new connection, which others may share if it is of HTTP/2.
    pub async fn connect(
        &self,
        upstream: &Upstream,
        instance: &Instance,
        server: &Server,
    ) -> Result<Open, ConnectError> {
        let bounds = Bounds { dns: server.timeouts.dns, connect: server.timeouts.connect };
        let (wire, to) = self.open(upstream, &instance.address, bounds).await?;
        if upstream.protocol == Protocol::Http1 {
            return Ok(Open { stream: Stream::Wire(wire), to });
        }
        let line = within(bounds.connect, http2::connect(wire, server.limits.header_bytes)).await?;
        let stream = Stream::Asked(Box::new(line.ask(&instance.host())));
        let mut lines = self.lines.borrow_mut();
        let of_instance = lines.entry(instance.id).or_default();
        if of_instance.len() < server.limits.upstream_idle {
            of_instance.push(Shared { line, since: Instant::now(), to: to.clone() });
        }
        Ok(Open { stream, to })
    }

    async fn open(
        &self,
        upstream: &Upstream,
        address: &Address,
        bounds: Bounds,
    ) -> Result<(Wire, Option<Named>), ConnectError> {
        let (ip, to) = match address {
            Address::Unix(path) => {
                return Ok((within(bounds.connect, Wire::connect_unix(path)).await?, None));
            }
            Address::Ip(ip) => (*ip, None),
            Address::Name(name) => {
                let ip = self.resolve(name, bounds.dns).await?;
                (ip, Some(Named { name: name.clone(), address: ip }))
            }
        };
        let stream = within(bounds.connect, Wire::connect_tcp(ip)).await?;
        let Some(outward) = &upstream.tls else { return Ok((self.wire(stream, upstream.protocol)?, to)) };
        let shaking = tls::connect(outward, upstream.protocol, address, stream);
        match timeout(bounds.connect, Box::pin(shaking)).await {
            Ok(Ok(wire)) => Ok((wire, to)),
            Ok(Err(error)) => Err(ConnectError::Tls(error)),
            Err(_) => Err(ConnectError::TlsTimedOut),
        }
    }

    /// An address of a name, in turns; asked of the resolver again when the answer is old.
    async fn resolve(&self, name: &Arc<str>, bound: Duration) -> Result<SocketAddr, ConnectError> {
        if let Some(address) = self.resolved(name, Instant::now()) {
            return Ok(address);
        }
        let addresses: Vec<SocketAddr> = match timeout(bound, lookup_host(&**name)).await {
            Err(_) => return Err(ConnectError::DnsTimedOut),
            Ok(Err(error)) => return Err(ConnectError::Dns(error)),
            Ok(Ok(addresses)) => addresses.collect(),
        };
        if addresses.is_empty() {
            return Err(ConnectError::Dns(io::ErrorKind::NotFound.into()));
        }
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        let turn = names.get(name).map_or(0, |known| known.turn);
        names.insert(name.clone(), Resolved { addresses, at: Instant::now(), turn });
        drop(names);
        self.resolved(name, Instant::now()).ok_or_else(|| ConnectError::Dns(io::ErrorKind::NotFound.into()))
    }

    fn resolved(&self, name: &Arc<str>, now: Instant) -> Option<SocketAddr> {
        let mut names = self.names.borrow_mut();
        let known =
            names.get_mut(name).filter(|known| now.saturating_duration_since(known.at) < NAME_HOLDS)?;
        known.turn = known.turn.wrapping_add(1);
        Some(known.addresses[known.turn % known.addresses.len()])
    }
}

/// How long the phases of opening a connection may take.
#[derive(Clone, Copy)]
struct Bounds {
    dns: Duration,
    connect: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    Dns(io::Error),
    DnsTimedOut,
    Failed(io::Error),
    TimedOut,
    Tls(io::Error),
    TlsTimedOut,
}

async fn within<T>(bound: Duration, opening: impl Future<Output = io::Result<T>>) -> Result<T, ConnectError> {
    match timeout(bound, opening).await {
        Ok(opened) => opened.map_err(ConnectError::Failed),
        Err(_) => Err(ConnectError::TimedOut),
    }
}
