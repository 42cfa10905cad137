//! Sends one schedule to one or two servers, open loop: the clock decides when, not the answers.

use super::{
    lane::{BadRequest, Lane, Pending, nanos},
    precise::PreciseTimer,
    schedule::Due,
    wire::{Tally, histogram},
};
use crate::model::{
    Side,
    job::{Protocol, Request},
};
use hdrhistogram::Histogram;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Over all sides: more descriptors than that are the machine's limit, not a scenario.
pub const CONNECTIONS_MAX: usize = 10_000;
/// A response's body; a scenario that wants more than this on loopback measures memory copies.
pub const RESPONSE_MAX_BYTES: u64 = 64 << 20;
/// Requests sent in a row when behind schedule, before answers get their turn.
const BURST_MAX: u32 = 32;
/// How long answers are waited for after the last request was due; later ones count as unanswered.
const DRAIN: Duration = Duration::from_secs(2);
/// How long all connections together may take to open; a busy machine needs seconds for what should take milliseconds.
const CONNECT: Duration = Duration::from_secs(10);
/// A generator that needs more than this many windows to send one window's schedule stops there.
const WINDOWS_MAX: u32 = 2;

/// A server under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub side: Side,
    pub address: SocketAddr,
}

#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    #[error(transparent)]
    Request(#[from] BadRequest),
    #[error("no request to send")]
    NoRequest,
    #[error("{} took {connected} of {wanted} connections within {} s", side.as_str(), CONNECT.as_secs())]
    Connect { side: Side, connected: usize, wanted: usize },
    #[error("timer: {0}")]
    Timer(#[from] io::Error),
}

/// Open connections to all targets. Dropping it closes them.
pub struct Generator {
    lanes: Vec<Arc<Lane>>,
    timer: PreciseTimer,
    runs: u32,
    /// Receivers; aborted when dropped.
    _tasks: JoinSet<()>,
}

/// What one schedule saw.
#[derive(Clone, Debug)]
pub struct Observed {
    pub sides: Vec<(Side, Tally)>,
    /// By how much each request was handed out after its time: the generator's own fault (or its machine's), part of
    /// every latency, the same for both sides.
    pub lateness: Histogram<u64>,
    /// Requests that were given up because the generator was too far behind.
    pub unsent: u64,
    pub elapsed: Duration,
}

impl Generator {
    /// Opens `connections` in equal parts to `targets`, at least one each.
    pub async fn connect(
        targets: &[Target],
        connections: usize,
        protocol: Protocol,
        requests: &[Request],
        response_max_bytes: u64,
    ) -> Result<Self, GeneratorError> {
        if requests.is_empty() {
            return Err(GeneratorError::NoRequest);
        }
        let each = connections.clamp(1, CONNECTIONS_MAX).div_ceil(targets.len().max(1));
        let mut tasks = JoinSet::new();
        let mut lanes = Vec::with_capacity(targets.len());
        for target in targets {
            let bytes = response_max_bytes.min(RESPONSE_MAX_BYTES);
            let lane = Arc::new(Lane::new(target.side, target.address, each, protocol, requests, bytes)?);
            for slot in 0..each {
                tasks.spawn(lane.clone().serve(slot));
            }
            lanes.push(lane);
        }
        let generator = Self { lanes, timer: PreciseTimer::new()?, runs: 0, _tasks: tasks };
        generator.wait_connected(each).await?;
        Ok(generator)
    }

    /// Takes these statuses for good answers, too.
    pub fn expect(&self, statuses: &[u16]) {
        self.lanes.iter().for_each(|lane| lane.expect(statuses));
    }

    /// Sends `dues`, waits for the answers, and tells what was seen. Bounded by twice the schedule and the drain.
    pub async fn run(&mut self, dues: &[Due]) -> Result<Observed, GeneratorError> {
        self.runs += 1;
        let begun = Instant::now();
        let window = Duration::from_nanos(dues.last().map_or(0, |due| due.at_ns));
        for lane in &self.lanes {
            lane.begin(self.runs, begun, window);
        }
        let give_up = window * WINDOWS_MAX + DRAIN;
        let mut lateness = histogram();
        let mut sent = 0;
        let mut burst = 0;
        for due in dues {
            let at = Duration::from_nanos(due.at_ns);
            let mut now = begun.elapsed();
            while now < at {
                self.timer.sleep(at - now).await?;
                now = begun.elapsed();
                burst = 0;
            }
            if now > give_up {
                break;
            }
            lateness.saturating_record(nanos(now - at));
            if let Some(lane) = self.lanes.iter().find(|lane| lane.side == due.side) {
                lane.dispatch(Pending::new(at, due.template, self.runs));
            }
            sent += 1;
            burst += 1;
            if burst == BURST_MAX {
                tokio::task::yield_now().await;
                burst = 0;
            }
        }
        let drained_by = Instant::now() + DRAIN;
        while self.lanes.iter().any(|lane| lane.outstanding() > 0) && Instant::now() < drained_by {
            self.timer.sleep(Duration::from_millis(1)).await?;
        }
        let elapsed = begun.elapsed();
        let sides = self.lanes.iter().map(|lane| (lane.side, lane.finish())).collect();
        Ok(Observed { sides, lateness, unsent: (dues.len() - sent) as u64, elapsed })
    }

    async fn wait_connected(&self, each: usize) -> Result<(), GeneratorError> {
        let limit = Instant::now() + CONNECT;
        loop {
            let short = self.lanes.iter().find(|lane| lane.connected() < each);
            match short {
                None => return Ok(()),
                Some(lane) if Instant::now() > limit => {
                    return Err(GeneratorError::Connect {
                        side: lane.side,
                        connected: lane.connected(),
                        wanted: each,
                    });
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

impl Observed {
    pub fn of(&self, side: Side) -> Option<&Tally> {
        self.sides.iter().find(|(s, _)| *s == side).map(|(_, tally)| tally)
    }

    pub fn errors(&self) -> u64 {
        self.sides.iter().map(|(_, tally)| tally.failed()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        schedule::{ScheduleSpec, Spacing, schedule},
        wire::ErrorKind,
    };
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// A server for one request at a time: `answer` gets the running number of the request.
    async fn server<F, A>(answer: F) -> SocketAddr
    where
        F: Fn(u32) -> A + Send + Sync + 'static,
        A: Future<Output = &'static [u8]> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        let count = Arc::new(AtomicU32::new(0));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answer, count) = (answer.clone(), count.clone());
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let bytes = answer(count.fetch_add(1, Ordering::Relaxed)).await;
                        // Nothing to say: hang up.
                        if bytes.is_empty() || stream.write_all(bytes).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    async fn healthy() -> SocketAddr {
        server(async |_| OK).await
    }

    async fn observe(targets: &[Target], connections: usize, rate_per_second: f64) -> Observed {
        let requests = [Request { method: "GET".into(), path: "/".into() }];
        let mut generator =
            Generator::connect(targets, connections, Protocol::Http1, &requests, 1000).await.unwrap();
        let spec = ScheduleSpec {
            rate_per_second,
            window_ns: 1_000_000_000,
            spacing: Spacing::Constant,
            sides: targets.iter().map(|target| target.side).collect(),
            templates: 1,
            seed: 1,
        };
        generator.run(&schedule(&spec)).await.unwrap()
    }

    fn base(address: SocketAddr) -> Target {
        Target { side: Side::Base, address }
    }

    #[tokio::test]
    async fn every_request_is_sent_and_answered_on_its_side() {
        let (one, two) = (healthy().await, healthy().await);
        let targets = [base(one), Target { side: Side::Head, address: two }];
        let observed = observe(&targets, 8, 400.0).await;
        let (base, head) = (observed.of(Side::Base).unwrap(), observed.of(Side::Head).unwrap());
        assert_eq!(base.scheduled + head.scheduled, 400);
        assert!(base.scheduled > 100 && head.scheduled > 100);
        for tally in [base, head] {
            assert_eq!(tally.answered, tally.scheduled, "{:?}", tally.errors);
            assert_eq!(tally.latency.len(), tally.scheduled);
        }
        assert_eq!(observed.lateness.len(), 400);
        assert_eq!(observed.unsent, 0);
    }

    /// A closed loop would see one slow request; whoever was due in the stall waited too, and counts.
    #[tokio::test]
    async fn a_stall_is_seen_by_all_who_waited() {
        let stalled = server(async |n| {
            if n == 100 {
                // Holds up the whole process, like a collector or a lock: this runtime has one thread. The generator
                // shares it, so its own lateness is part of what is counted.
                std::thread::sleep(Duration::from_millis(500));
            }
            OK
        });
        let observed = observe(&[base(stalled.await)], 8, 400.0).await;
        let tally = observed.of(Side::Base).unwrap();
        assert_eq!(tally.answered, 400);
        let p99 = tally.latency.value_at_quantile(0.99);
        assert!(p99 >= 400_000_000, "p99 {p99} ns hides a stall of 500 ms");
        // Half a second of a second's schedule: half of the requests waited, the last of them not at all.
        let waited = tally.latency.count_between(50_000_000, u64::MAX);
        assert!(waited >= 150, "only {waited} requests saw the stall");
    }

    /// One connection and a slow server: requests wait for the connection, and their waiting counts.
    #[tokio::test]
    async fn waiting_for_a_connection_counts() {
        let slow = server(async |_| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            OK
        });
        let observed = observe(&[base(slow.await)], 1, 100.0).await;
        let tally = observed.of(Side::Base).unwrap();
        // 100 requests of 20 ms take two seconds; the last was due after one.
        let longest = tally.latency.max();
        assert!(longest >= 900_000_000, "{longest} ns");
        assert!(tally.latency.value_at_quantile(0.5) >= 200_000_000);
    }

    /// A server of HTTP/2 that answers `answer` of the running number of the request: status, length; none is a reset.
    async fn streams(answer: impl Fn(u32) -> Option<(u16, usize)> + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicU32::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, count) = (answer.clone(), count.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        match answer(count.fetch_add(1, Ordering::Relaxed)) {
                            Some((status, length)) => {
                                let head = http::Response::builder().status(status).body(()).unwrap();
                                let mut body = respond.send_response(head, length == 0).unwrap();
                                if length > 0 {
                                    body.send_data(vec![b'x'; length].into(), true).unwrap();
                                }
                            }
                            None => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                        }
                    }
                });
            }
        });
        address
    }

    async fn observe_streams(address: SocketAddr, rate_per_second: f64) -> Observed {
        let requests = [Request { method: "GET".into(), path: "/a?b=c".into() }];
        let mut generator =
            Generator::connect(&[base(address)], 2, Protocol::Http2, &requests, 1000).await.unwrap();
        let due =
            |n: u64| Due { at_ns: (n as f64 * 1e9 / rate_per_second) as u64, side: Side::Base, template: 0 };
        generator.run(&(0..200).map(due).collect::<Vec<_>>()).await.unwrap()
    }

    #[tokio::test]
    async fn requests_share_connections_of_http2() {
        // All at once: more than two connections carry, so that some wait.
        for rate in [400.0, 1e6] {
            let observed = observe_streams(streams(|n| Some((200, n as usize % 3 * 400))).await, rate).await;
            let tally = observed.of(Side::Base).unwrap();
            assert_eq!((tally.answered, tally.failed()), (200, 0), "{:?}", tally.errors);
            assert_eq!(tally.latency.len(), 200);
        }
    }

    #[tokio::test]
    async fn errors_of_http2_are_counted_by_kind() {
        let failing = streams(|n| match n % 4 {
            0 => Some((500, 2)),
            1 => None,
            2 => Some((200, 1001)),
            _ => Some((204, 0)),
        });
        let observed = observe_streams(failing.await, 400.0).await;
        let tally = observed.of(Side::Base).unwrap();
        let of = |kind| tally.errors.get(&kind).copied().unwrap_or(0);
        assert_eq!(
            (tally.answered, of(ErrorKind::Status), of(ErrorKind::Closed), of(ErrorKind::TooLarge)),
            (50, 50, 50, 50),
            "{:?}",
            tally.errors
        );
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_http2_is_an_error() {
        let requests = [Request { method: "GET".into(), path: "/".into() }];
        let other = server(async |_| b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n".as_slice()).await;
        let generator = Generator::connect(&[base(other)], 1, Protocol::Http2, &requests, 1000).await;
        if let Ok(mut generator) = generator {
            // The connection is there before the other side has said anything.
            let due = Due { at_ns: 0, side: Side::Base, template: 0 };
            let observed = generator.run(&[due]).await.unwrap();
            assert_eq!(observed.of(Side::Base).unwrap().answered, 0);
        }
    }

    #[tokio::test]
    async fn errors_are_counted_by_side_and_kind() {
        let failing = server(async |n| match n % 4 {
            0 => b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".as_slice(),
            1 => b"SMTP ready\r\n",
            2 => b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n",
            _ => OK,
        });
        let targets = [base(healthy().await), Target { side: Side::Head, address: failing.await }];
        let observed = observe(&targets, 4, 400.0).await;
        assert_eq!(observed.of(Side::Base).unwrap().failed(), 0);
        let head = observed.of(Side::Head).unwrap();
        assert!(head.errors[&ErrorKind::Status] > 20, "{:?}", head.errors);
        assert!(head.errors[&ErrorKind::Malformed] > 20, "{:?}", head.errors);
        assert!(head.errors[&ErrorKind::TooLarge] > 20, "{:?}", head.errors);
        assert_eq!(head.answered + head.failed(), head.scheduled);
        assert_eq!(observed.errors(), head.failed());
    }

    #[tokio::test]
    async fn what_is_expected_is_no_error() {
        let refusing = server(async |n| match n % 2 {
            0 => b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n".as_slice(),
            _ => b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        });
        let requests = [Request { method: "GET".into(), path: "/".into() }];
        let mut generator =
            Generator::connect(&[base(refusing.await)], 2, Protocol::Http1, &requests, 1000).await.unwrap();
        generator.expect(&[429]);
        let due = |n: u64| Due { at_ns: n * 5_000_000, side: Side::Base, template: 0 };
        let observed = generator.run(&(0..40).map(due).collect::<Vec<_>>()).await.unwrap();
        let tally = observed.of(Side::Base).unwrap();
        assert_eq!((tally.answered, tally.errors[&ErrorKind::Status]), (20, 20));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_slow_not_absent() {
        let silent = server(async |_| std::future::pending().await);
        let observed = observe(&[base(silent.await)], 2, 50.0).await;
        let tally = observed.of(Side::Base).unwrap();
        assert_eq!(tally.errors[&ErrorKind::Unanswered], tally.scheduled);
        assert_eq!(tally.latency.len(), tally.scheduled);
        assert!(tally.latency.min() >= 1_900_000_000);
    }

    #[tokio::test]
    async fn a_connection_that_closes_between_requests_is_no_error() {
        let closing = server(async |n| if n % 3 == 2 { b"".as_slice() } else { OK });
        let observed = observe(&[base(closing.await)], 1, 100.0).await;
        let tally = observed.of(Side::Base).unwrap();
        // Each refused request is sent once more on a fresh connection, where the next number is not a third one.
        assert_eq!((tally.answered, tally.failed()), (100, 0), "{:?}", tally.errors);
    }

    #[tokio::test]
    async fn no_server_is_an_error_that_names_the_side() {
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let requests = [Request { method: "GET".into(), path: "/".into() }];
        let error =
            Generator::connect(&[base(gone)], 2, Protocol::Http1, &requests, 1000).await.err().unwrap();
        assert!(matches!(error, GeneratorError::Connect { side: Side::Base, connected: 0, .. }), "{error}");
    }
}
