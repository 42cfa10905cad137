//! Connections to upstreams: opened with a bound, kept alive in a pool of one thread.
//!
//! Nothing here is shared between threads, so taking and returning a connection costs no lock.

use crate::config::{Address, Limits};
use crate::proxy::body::RequestBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

pub type Connection = SendRequest<RequestBody>;

/// Idle connections of one thread, by address.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<Address, Vec<Idle>>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, so that those that are not needed grow old and go.
    fn take(&self, address: &Address, now: Instant, idle_max: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let of_address = idle.get_mut(address)?;
        while let Some(Idle { connection, since }) = of_address.pop() {
            if !connection.is_closed() && now.duration_since(since) < idle_max {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, address: &Address, connection: Connection, most: usize) {
        let mut idle = self.idle.borrow_mut();
        let fresh = Idle { connection, since: Instant::now() };
        match idle.get_mut(address) {
            Some(of_address) if of_address.len() < most => of_address.push(fresh),
            Some(_) => {}
            None if most > 0 => {
                idle.insert(address.clone(), vec![fresh]);
            }
            None => {}
        }
    }

    /// Closes what has been idle for too long, and what the other side has closed.
    pub fn sweep(&self, now: Instant, idle_max: Duration) {
        self.idle.borrow_mut().retain(|_, of_address| {
            of_address
                .retain(|idle| !idle.connection.is_closed() && now.duration_since(idle.since) < idle_max);
            !of_address.is_empty()
        });
    }
}

/// A connection for one exchange. Dropped, it is closed; [`Lease::give_back`] keeps it.
pub struct Lease {
    pub connection: Connection,
    address: Address,
    pool: Rc<Pool>,
    most_idle: usize,
}

impl Lease {
    /// Only after the whole response was read and the whole request was sent.
    pub fn give_back(self) {
        if !self.connection.is_closed() {
            self.pool.put(&self.address, self.connection, self.most_idle);
        }
    }
}

#[derive(Debug)]
pub enum ConnectError {
    Failed(io::Error),
    TimedOut,
}

/// What a lease is taken under.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub limits: &'a Limits,
    pub connect: Duration,
    pub idle: Duration,
}

/// A kept connection if there is one, else none.
pub async fn pooled(pool: &Rc<Pool>, address: &Address, terms: Terms<'_>) -> Option<Lease> {
    let now = Instant::now();
    loop {
        let mut connection = pool.take(address, now, terms.idle)?;
        // One that was given back a moment ago may still have to notice that its response is over.
        let ready =
            connection.is_ready() || matches!(timeout(terms.connect, connection.ready()).await, Ok(Ok(())));
        if ready {
            let most_idle = terms.limits.upstream_idle;
            return Some(Lease { connection, address: address.clone(), pool: pool.clone(), most_idle });
        }
    }
}

/// A new connection, and a task on this thread that drives it.
pub async fn connect(pool: &Rc<Pool>, address: &Address, terms: Terms<'_>) -> Result<Lease, ConnectError> {
    let opened = match timeout(terms.connect, open(address)).await {
        Ok(opened) => opened.map_err(ConnectError::Failed)?,
        Err(_) => return Err(ConnectError::TimedOut),
    };
    let mut builder = http1::Builder::new();
    builder.max_header_size(terms.limits.header_bytes);
    if terms.limits.headers != crate::proxy::HEADERS_WITHOUT_ALLOCATION {
        builder.max_headers(terms.limits.headers);
    }
    let (connection, driver) = builder
        .handshake(TokioIo::new(opened))
        .await
        .map_err(|error| ConnectError::Failed(io::Error::other(error)))?;
    tokio::task::spawn_local(async move {
        // Whoever waits for the response learns of a fault; on an idle connection it means nothing.
        let _ = driver.await;
    });
    let most_idle = terms.limits.upstream_idle;
    Ok(Lease { connection, address: address.clone(), pool: pool.clone(), most_idle })
}

async fn open(address: &Address) -> io::Result<TcpStream> {
    let stream = match address {
        Address::Ip(address) => TcpStream::connect(address).await?,
        Address::Name(name) => TcpStream::connect(&**name).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}
