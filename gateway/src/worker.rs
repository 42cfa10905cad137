//! One thread: its listener, its connections, its pool. Nothing that a request touches here is shared but
//! the configuration in force, the limiters, the breakers and the counters.

use crate::access_log::AccessLog;
use crate::active::{Active, InForce};
use crate::balance::mix;
use crate::clock::Clock;
use crate::config::{Io, Server};
use crate::http1::buffer::Buffers;
use crate::metrics::Metrics;
use crate::proxy::{Client, Speaks, serve};
use crate::ring::Ring;
use crate::spans::Spans;
use crate::stream::Wire;
use crate::tls;
use crate::traffic::Traffic;
use crate::upstream::Pool;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

/// Up to this many fields of a message are parsed on the stack; a larger bound costs an allocation.
pub const FIELDS_ON_STACK: usize = 100;

/// What the threads share.
#[derive(Debug)]
pub struct Shared {
    pub active: InForce,
    pub metrics: Metrics,
    pub log: AccessLog,
    pub spans: Spans,
    pub traffic: Traffic,
    /// Of the limiters' keys; a secret of this process.
    pub seed: u64,
    /// The zero of the clock that limiters and breakers are given.
    pub epoch: Instant,
    pub threads: usize,
}

/// How often idle upstream connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a thread that ends waits for its last words to be sent.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// How often the wall clock is read: its seconds stand in `Date` fields.
const TICK: Duration = Duration::from_secs(1);
/// After an accept that failed, most likely for want of file descriptors; to try at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub struct Worker {
    pub thread: usize,
    pub shared: Arc<Shared>,
    pub pool: Pool,
    ring: Option<Rc<Ring>>,
    pub buffers: RefCell<Buffers>,
    /// Where heads are put together.
    pub scratch: RefCell<Vec<u8>>,
    clock: RefCell<Clock>,
    view: RefCell<Rc<View>>,
    /// The number that `view` was taken at.
    changes: Cell<u64>,
    ids: RequestIds,
    turn: Cell<usize>,
    unsampled: Cell<u32>,
    chance: Cell<u64>,
    seats: RefCell<Seats>,
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

/// Where one thread accepts connections.
#[derive(Debug)]
pub struct Listeners<L> {
    pub plain: L,
    pub tls: Option<L>,
}

/// Serves until `stop` says so and all requests under way are over, or their time is.
pub fn run(
    thread: usize,
    shared: Arc<Shared>,
    listeners: Listeners<std::net::TcpListener>,
    stop: watch::Receiver<bool>,
) {
    crate::profile::thread_begins();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(thread, %error, "no runtime for a thread"),
    };
    runtime.block_on(async move {
        let plain = TcpListener::from_std(listeners.plain);
        let tls = listeners.tls.map(TcpListener::from_std).transpose();
        let listeners = match (plain, tls) {
            (Ok(plain), Ok(tls)) => Listeners { plain, tls },
            (Err(error), _) | (_, Err(error)) => {
                return tracing::error!(thread, %error, "no listener for a thread");
            }
        };
        let worker = Rc::new(Worker::new(thread, shared));
        if let Some(ring) = &worker.ring {
            worker.shared.metrics.threads.of(thread).rings.add(1);
            spawn_local(ring.clone().drive());
        }
        spawn_local(watch_for_stop(worker.clone(), stop));
        spawn_local(sweep(worker.clone()));
        spawn_local(tick(worker.clone()));
        accept(&worker, listeners).await;
        drain(&worker).await;
        if let Some(ring) = &worker.ring {
            ring.settle(SETTLE_MAX).await;
        }
    });
}

impl Worker {
    fn new(thread: usize, shared: Arc<Shared>) -> Worker {
        let changes = shared.active.changes();
        let view = Rc::new(View(shared.active.load_full()));
        let ring = ring(thread, &view.active().server);
        Worker {
            thread,
            pool: Pool::new(ring.clone()),
            ring,
            buffers: RefCell::default(),
            scratch: RefCell::default(),
            clock: RefCell::new(Clock::read()),
            view: RefCell::new(view),
            changes: Cell::new(changes),
            ids: RequestIds::new(shared.seed, thread),
            turn: Cell::new(thread),
            unsampled: Cell::new(0),
            chance: Cell::new(mix(shared.seed ^ thread as u64)),
            seats: RefCell::default(),
            closed: Notify::new(),
            stopping: Cell::new(false),
            stop: Notify::new(),
            shared,
        }
    }

    /// The configuration in force now.
    pub fn view(&self) -> Rc<View> {
        let changes = self.shared.active.changes();
        if changes != self.changes.get() {
            self.changes.set(changes);
            *self.view.borrow_mut() = Rc::new(View(self.shared.active.load_full()));
        }
        self.view.borrow().clone()
    }

    pub fn clock_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.shared.epoch).as_millis() as u64
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        self.clock.borrow().unix_ms(at)
    }

    /// Now, as in a `Date` field.
    pub fn date(&self) -> Rc<str> {
        self.clock.borrow().date()
    }

    pub fn new_request_id(&self) -> RequestId {
        self.ids.next()
    }

    /// Round robin over the instances of whichever upstream asks; threads start apart.
    pub fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// A number by chance; good enough to spread load, and not to keep a secret.
    pub fn chance(&self) -> u64 {
        let state = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(state);
        mix(state)
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

    /// Ready once the gateway stops.
    pub async fn stopped(&self) {
        let stop = self.stop.notified();
        if !self.stopping.get() {
            stop.await;
        }
    }

    /// This thread's part of the connections that the process may have.
    fn connections_max(&self) -> usize {
        self.view().active().server.limits.connections.div_ceil(self.shared.threads)
    }

    fn open(&self) -> usize {
        self.seats.borrow().taken
    }
}

/// The ring of a thread, if it is to have one and the kernel allows it.
fn ring(thread: usize, server: &Server) -> Option<Rc<Ring>> {
    if server.io == Io::Epoll {
        return None;
    }
    match Ring::open() {
        Ok(ring) => Some(ring),
        Err(error) => {
            tracing::warn!(thread, %error, "no io_uring here: it goes without");
            None
        }
    }
}

async fn watch_for_stop(worker: Rc<Worker>, mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
    worker.stopping.set(true);
    worker.stop.notify_waiters();
    // Those that wait for a request look whether they still should.
    for waker in worker.seats.borrow().wakers.iter().flatten() {
        waker.wake_by_ref();
    }
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let view = worker.view();
        let timeouts = &view.active().server.timeouts;
        worker.pool.refresh_names(timeouts.dns).await;
        worker.pool.sweep(Instant::now(), timeouts.upstream_idle);
        if let Some(ring) = &worker.ring {
            ring.sweep(Instant::now());
        }
    }
}

async fn tick(worker: Rc<Worker>) {
    loop {
        sleep(TICK).await;
        *worker.clock.borrow_mut() = Clock::read();
        // A thread without requests lets go of a configuration that is no longer in force, too.
        worker.view();
    }
}

async fn accept(worker: &Rc<Worker>, listeners: Listeners<TcpListener>) {
    let mut stopped = pin!(worker.stopped());
    loop {
        let next = async {
            while worker.open() >= worker.connections_max() {
                worker.closed.notified().await;
            }
            let Some(tls) = &listeners.tls else {
                return (listeners.plain.accept().await, Door::Plain);
            };
            tokio::select! {
                accepted = listeners.plain.accept() => (accepted, Door::Plain),
                accepted = tls.accept() => (accepted, Door::Tls),
            }
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = next => accepted,
        };
        match accepted {
            (Ok((stream, peer)), door) => open(worker, stream, peer, door),
            (Err(error), _) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The listener that a connection came by.
#[derive(Clone, Copy)]
enum Door {
    Plain,
    Tls,
}

/// Serves a connection in a task of its own.
fn open(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, door: Door) {
    let seat = Seat::take(worker.clone());
    let (seed, ip) = (worker.shared.seed, peer.ip());
    spawn_local(async move {
        poll_fn(|cx| {
            seat.wake_with(cx.waker());
            Poll::Ready(())
        })
        .await;
        let worker = &seat.worker;
        match door {
            Door::Plain => {
                let client = Client::new(seed, ip, "http", None);
                let Ok(wire) = Wire::tcp(stream, worker.ring.as_ref()) else { return };
                serve(worker, wire, client, Speaks::Unknown).await;
            }
            Door::Tls => {
                // In a box, so that a connection without TLS is not the larger for it.
                if let Some((wire, speaks)) = Box::pin(shake_hands(worker, stream)).await {
                    let sni = wire.server_name().map(Into::into);
                    let client = Client::new(seed, ip, "https", sni);
                    serve(worker, wire, client, speaks).await;
                }
            }
        }
    });
}

/// Begins TLS under the configuration in force; None when there is no understanding in time.
async fn shake_hands(worker: &Rc<Worker>, stream: TcpStream) -> Option<(Wire, Speaks)> {
    let view = worker.view();
    let counts = worker.shared.metrics.threads.of(worker.thread);
    let shaking = async {
        let tls = view.active().tls.as_ref()?;
        let shaken = timeout(view.active().server.timeouts.tls_handshake, tls::accept(tls, stream)).await;
        match shaken {
            Ok(Ok(shaken)) => return Some(shaken),
            Ok(Err(error)) => {
                counts.tls_failed.add(1);
                tracing::debug!(%error, "a handshake of TLS failed");
            }
            Err(_) => counts.tls_timed_out.add(1),
        }
        None
    };
    let shaken = tokio::select! {
        biased;
        shaken = shaking => shaken,
        () = worker.stopped() => None,
    };
    if shaken.is_some() {
        counts.tls_handshakes.add(1);
    }
    shaken
}

/// Waits for the connections to end, but not for ever.
async fn drain(worker: &Rc<Worker>) {
    let all_closed = async {
        while worker.open() > 0 {
            worker.closed.notified().await;
        }
    };
    let bound = worker.view().active().server.timeouts.drain;
    if timeout(bound, all_closed).await.is_err() {
        let open = worker.open();
        tracing::warn!(thread = worker.thread, open, "stopped before all requests were over");
    }
}

/// Who is connected, so that all can be told of a stop at once.
#[derive(Default)]
struct Seats {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    taken: usize,
}

/// An open connection, counted until it is dropped.
struct Seat {
    worker: Rc<Worker>,
    number: usize,
}

impl Seat {
    fn take(worker: Rc<Worker>) -> Seat {
        let counts = worker.shared.metrics.threads.of(worker.thread);
        counts.connections.add(1);
        counts.connections_open.add(1);
        let mut seats = worker.seats.borrow_mut();
        seats.taken += 1;
        let number = seats.free.pop().unwrap_or_else(|| {
            seats.wakers.push(None);
            seats.wakers.len() - 1
        });
        drop(seats);
        Seat { worker, number }
    }

    /// A task keeps its waker for as long as it lives.
    fn wake_with(&self, waker: &Waker) {
        self.worker.seats.borrow_mut().wakers[self.number] = Some(waker.clone());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.shared.metrics.threads.of(worker.thread).connections_open.subtract(1);
        let mut seats = worker.seats.borrow_mut();
        let waker = seats.wakers[self.number].take();
        seats.free.push(self.number);
        seats.taken -= 1;
        drop(seats);
        drop(waker);
        worker.closed.notify_one();
    }
}

/// Ids of 32 hexadecimal digits: 16 of the process and the thread, 16 that count up.
struct RequestIds {
    start: [u8; 16],
    count: Cell<u64>,
}

/// An id that was made here.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 32]);

impl RequestId {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl RequestIds {
    fn new(seed: u64, thread: usize) -> RequestIds {
        // Mixed, so that no id gives the limiters' secret away.
        let start = crate::limit::Key::new(seed, &thread.to_le_bytes()).mixed();
        RequestIds { start: hex(start), count: Cell::new(0) }
    }

    fn next(&self) -> RequestId {
        let count = self.count.get() + 1;
        self.count.set(count);
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.start);
        id[16..].copy_from_slice(&hex(count));
        RequestId(id)
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
