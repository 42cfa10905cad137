//! The running gateway: its threads and listeners, from the start to the end of the drain.

use crate::access_log::{AccessLog, Writer};
use crate::active::InForce;
use crate::admin;
use crate::config::Address;
use crate::metrics::Metrics;
use crate::reload::Source;
use crate::spans;
use crate::traffic::Traffic;
use crate::worker::{self, Listeners, Shared, bind_advice};
use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How to start. What is given here wins over the file, at the start and at every reload.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub config: PathBuf,
    pub listen: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub threads: Option<usize>,
    /// Takes the place of every upstream's addresses.
    pub upstream: Option<Address>,
}

/// Connections that may wait to be accepted, per thread; the kernel takes less if it is set to.
const BACKLOG: i32 = 1024;
/// Commands that may wait; a signal that comes while as many wait would change nothing.
const COMMANDS: usize = 8;

pub enum Command {
    /// Read the configuration now, and open the access log anew.
    Reload,
}

/// A gateway that serves. Dropped, it stops without waiting; [`Running::stop`] waits.
pub struct Running {
    pub listen: SocketAddr,
    pub listen_tls: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    commands: mpsc::Sender<Command>,
    proxy_threads: Vec<JoinHandle<()>>,
    admin_thread: JoinHandle<()>,
    log_writer: Writer,
}

/// Starts all threads; when this returns, the listeners accept.
pub fn start(options: &Options) -> anyhow::Result<Running> {
    let (source, loaded) = Source::open(options)?;
    let config = &loaded.config;
    let threads =
        config.server.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let (plain, listen) = listeners(config.server.listen, threads)?;
    let (for_tls, listen_tls) = match &config.server.tls {
        Some(tls) => {
            let (listeners, listen) = listeners(tls.listen, threads)?;
            (listeners, Some(listen))
        }
        None => (Vec::new(), None),
    };
    let admin_listener = match config.server.admin {
        Some(address) => Some(bind(address, Reuse::No)?),
        None => None,
    };
    let admin =
        admin_listener.as_ref().map(TcpListener::local_addr).transpose().context("no admin address")?;
    let (log, log_writer) = AccessLog::start(&config.access_log.output)?;
    let (spans, finished) = spans::queue();
    let shared = Arc::new(Shared {
        active: InForce::new(loaded.activate(None, threads)),
        metrics: Metrics::new(threads),
        log,
        spans,
        traffic: Traffic::new(threads),
        seed: RandomState::new().hash_one("limit"),
        epoch: Instant::now(),
        threads,
    });

    let (stop, stopped) = watch::channel(false);
    let (commands, received) = mpsc::channel(COMMANDS);
    let mut proxy_threads = Vec::with_capacity(threads);
    let mut for_tls = for_tls.into_iter();
    for (number, plain) in plain.into_iter().enumerate() {
        let listeners = Listeners { plain, tls: for_tls.next() };
        let (shared, stopped) = (shared.clone(), stopped.clone());
        let name = format!("proxy-{number}");
        let body = move || worker::run(number, shared, listeners, stopped);
        proxy_threads.push(thread::Builder::new().name(name).spawn(body).context("no thread to serve with")?);
    }
    let body = move || admin::run(shared, (admin_listener, stopped), source, received, finished);
    let admin_thread = thread::Builder::new().name("admin".into()).spawn(body).context("no admin thread")?;
    Ok(Running { listen, listen_tls, admin, stop, commands, proxy_threads, admin_thread, log_writer })
}

impl Running {
    /// Reads the configuration now and not at the next look at the file.
    pub fn reload(&self) {
        let _ = self.commands.try_send(Command::Reload);
    }

    /// Accepts no more, waits for the requests under way within the drain's bound, and ends all threads.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        for thread in self.proxy_threads {
            let _ = thread.join();
        }
        // Only now: until here the admin listener answers that the gateway is stopping.
        drop(self.commands);
        let _ = self.admin_thread.join();
        self.log_writer.join();
    }
}

/// A listener for each thread on one address, and the address; the kernel spreads the connections over them.
fn listeners(address: SocketAddr, threads: usize) -> anyhow::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = bind(address, Reuse::Port)?;
    let bound = first.local_addr().context("no address of the listener")?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(bind(bound, Reuse::Port)?);
    }
    Ok((listeners, bound))
}

/// Whether several sockets of this process share the port.
#[derive(PartialEq, Eq)]
enum Reuse {
    Port,
    No,
}

fn bind(address: SocketAddr, reuse: Reuse) -> anyhow::Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port that another program listens on is refused even so, unless that program shares it too.
        socket.set_reuse_address(true)?;
        if reuse == Reuse::Port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        // Whose connections have it from there, so that it costs none of them a system call.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| {
        let advice = bind_advice(&error);
        anyhow::Error::new(error).context(format!("cannot listen on {address}: {advice}"))
    })
}
