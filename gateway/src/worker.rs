//! One thread: its listener, its connections, its pool. Nothing that a request touches here is shared but
//! the configuration in force, the limiters, the breakers and the counters.

use crate::access_log::AccessLog;
use crate::active::Active;
use crate::metrics::Metrics;
use crate::proxy::{Client, HEADERS_WITHOUT_ALLOCATION, handle};
use crate::stall::StallGuard;
use crate::upstream::Pool;
use arc_swap::ArcSwap;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

/// What the threads share.
#[derive(Debug)]
pub struct Shared {
    pub active: ArcSwap<Active>,
    pub metrics: Metrics,
    pub log: AccessLog,
    /// Of the limiters' keys; a secret of this process.
    pub seed: u64,
    /// The zero of the clock that limiters and breakers are given.
    pub epoch: Instant,
    pub threads: usize,
}

/// How often idle upstream connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// After an accept that failed, most likely for want of file descriptors; to try at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub struct Worker {
    pub thread: usize,
    pub shared: Arc<Shared>,
    pub pool: Rc<Pool>,
    view: RefCell<Rc<View>>,
    ids: RequestIds,
    turn: Cell<usize>,
    unsampled: Cell<u32>,
    open: Cell<usize>,
    closed: Notify,
    stopping: Cell<bool>,
    stop: Notify,
}

/// The configuration in force as one thread sees it. A request holds its view to its end, and to hold one
/// touches no counter of another thread.
pub struct View(Arc<Active>);

impl View {
    pub fn active(&self) -> &Active {
        &self.0
    }
}

/// Serves until `stop` says so and all requests under way are over, or their time is.
pub fn run(thread: usize, shared: Arc<Shared>, listener: std::net::TcpListener, stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(thread, %error, "no runtime for a thread"),
    };
    LocalSet::new().block_on(&runtime, async move {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(thread, %error, "no listener for a thread"),
        };
        let worker = Rc::new(Worker::new(thread, shared));
        spawn_local(watch_for_stop(worker.clone(), stop));
        spawn_local(sweep(worker.clone()));
        accept(&worker, listener).await;
        drain(&worker).await;
    });
}

impl Worker {
    fn new(thread: usize, shared: Arc<Shared>) -> Worker {
        let view = Rc::new(View(shared.active.load_full()));
        Worker {
            thread,
            pool: Rc::default(),
            view: RefCell::new(view),
            ids: RequestIds::new(shared.seed, thread),
            turn: Cell::new(thread),
            unsampled: Cell::new(0),
            open: Cell::new(0),
            closed: Notify::new(),
            stopping: Cell::new(false),
            stop: Notify::new(),
            shared,
        }
    }

    /// The configuration in force now.
    pub fn view(&self) -> Rc<View> {
        let active = self.shared.active.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&active, &view.0) {
            *view = Rc::new(View(Arc::clone(&active)));
        }
        view.clone()
    }

    pub fn clock_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.shared.epoch).as_millis() as u64
    }

    pub fn new_request_id(&self) -> HeaderValue {
        self.ids.next()
    }

    /// Round robin over the addresses of whichever upstream asks; threads start apart.
    pub fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// True for one request in so many.
    pub fn is_sampled(&self, one_in: u32) -> bool {
        let unsampled = self.unsampled.get() + 1;
        let sampled = unsampled >= one_in;
        self.unsampled.set(if sampled { 0 } else { unsampled });
        sampled
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    async fn stopped(&self) {
        let stop = self.stop.notified();
        if !self.stopping.get() {
            stop.await;
        }
    }

    /// This thread's part of the connections that the process may have.
    fn connections_max(&self) -> usize {
        self.view().active().server.limits.connections.div_ceil(self.shared.threads)
    }
}

async fn watch_for_stop(worker: Rc<Worker>, mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
    worker.stopping.set(true);
    worker.stop.notify_waiters();
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        sleep(SWEEP_EVERY).await;
        worker.pool.sweep(Instant::now(), worker.view().active().server.timeouts.upstream_idle);
    }
}

async fn accept(worker: &Rc<Worker>, listener: TcpListener) {
    let mut stopped = pin!(worker.stopped());
    loop {
        let next = async {
            while worker.open.get() >= worker.connections_max() {
                worker.closed.notified().await;
            }
            listener.accept().await
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, peer)) => open(worker, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection in a task of its own.
fn open(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let counted = Counted::new(worker.clone());
    spawn_local(async move {
        if let Err(error) = serve(&counted.worker, stream, peer).await {
            tracing::debug!(%peer, %error, "a client connection ended early");
        }
    });
}

async fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) -> hyper::Result<()> {
    let view = worker.view();
    let server = &view.active().server;
    let _ = stream.set_nodelay(true);
    let ip = peer.ip().to_canonical();
    let ip_text = HeaderValue::from_str(&ip.to_string()).expect("an address makes a field value");
    let client = Rc::new(Client { ip, ip_text });

    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(server.timeouts.client_header);
    builder.max_header_size(server.limits.header_bytes);
    if server.limits.headers != HEADERS_WITHOUT_ALLOCATION {
        builder.max_headers(server.limits.headers);
    }
    let io = TokioIo::new(StallGuard::new(stream, server.timeouts.client_write));
    let service = service_fn(|request| {
        let answer = handle(worker.clone(), client.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = worker.stopped() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Waits for the connections to end, but not for ever.
async fn drain(worker: &Rc<Worker>) {
    let all_closed = async {
        while worker.open.get() > 0 {
            worker.closed.notified().await;
        }
    };
    let bound = worker.view().active().server.timeouts.drain;
    if timeout(bound, all_closed).await.is_err() {
        tracing::warn!(
            thread = worker.thread,
            open = worker.open.get(),
            "stopped before all requests were over"
        );
    }
}

/// An open connection, counted until it is dropped.
struct Counted {
    worker: Rc<Worker>,
}

impl Counted {
    fn new(worker: Rc<Worker>) -> Counted {
        let counts = worker.shared.metrics.threads.of(worker.thread);
        counts.connections.add(1);
        counts.connections_open.add(1);
        worker.open.set(worker.open.get() + 1);
        Counted { worker }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.shared.metrics.threads.of(worker.thread).connections_open.subtract(1);
        worker.open.set(worker.open.get() - 1);
        worker.closed.notify_one();
    }
}

/// Ids of 32 hexadecimal digits: 16 of the process and the thread, 16 that count up.
struct RequestIds {
    start: [u8; 16],
    count: Cell<u64>,
}

impl RequestIds {
    fn new(seed: u64, thread: usize) -> RequestIds {
        // Mixed, so that no id gives the limiters' secret away.
        let start = crate::limit::Key::new(seed, &thread.to_le_bytes()).mixed();
        RequestIds { start: hex(start), count: Cell::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let count = self.count.get() + 1;
        self.count.set(count);
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.start);
        id[16..].copy_from_slice(&hex(count));
        HeaderValue::from_bytes(&id).expect("hexadecimal digits make a field value")
    }
}

fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15])
}

/// Why a listener could not be had, with what to do about it.
pub fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it, or choose another address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "check the address",
    }
}
