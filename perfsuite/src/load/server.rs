//! One server process of a round: started on a free port, asked until it is ready, watched, stopped.

use super::{
    affinity::Pinned, cpu::CpuReading, lane::http2, listening::listening, response::ResponseReader, streams,
    wire::RoundFailure,
};
use crate::model::{FailureReason, Side, job::Protocol};
use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, ChildStderr, Command},
};

/// The end of a server's stderr that a failed row shows.
const TAIL_BYTES: usize = 8 << 10;
/// Attempts to start on a fresh port when the one before was taken between our look and the server's bind.
const PORT_TRIES: u32 = 3;
/// Between two questions whether a server is ready.
const READY_PAUSE: Duration = Duration::from_millis(5);
/// One such question; a server that is starting may take the connection and say nothing.
const READY_ANSWER: Duration = Duration::from_secs(1);
const READY_BODY_MAX_BYTES: u64 = 1 << 20;
/// How long a killed process may take to go, and its last words to arrive.
const STOP: Duration = Duration::from_secs(2);

/// How to know that a server is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It accepts a connection.
    Connect,
    /// This request is answered with 2xx.
    Request { method: String, path: String, protocol: Protocol },
}

impl Readiness {
    /// Parses `METHOD /path`.
    pub(super) fn parse(text: &str, protocol: Protocol) -> Option<Self> {
        let (method, path) = text.split_once(' ')?;
        let word = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphabetic());
        (word && path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())).then(|| Self::Request {
            method: method.into(),
            path: path.into(),
            protocol,
        })
    }
}

/// What is to be started. `argv` gets the address that was picked.
pub(super) struct Start<'a> {
    pub(super) side: Option<Side>,
    pub(super) argv: &'a dyn Fn(SocketAddr) -> Vec<String>,
    pub(super) cwd: &'a Path,
    pub(super) readiness: &'a Readiness,
    pub(super) limit: Duration,
    /// Where it runs; `None`: anywhere.
    pub(super) cores: Option<&'a [usize]>,
}

pub(super) struct Server {
    pub(super) side: Option<Side>,
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    child: Child,
    tail: Arc<Mutex<VecDeque<u8>>>,
}

impl Server {
    /// Starts a process and waits until it is ready. The failure says which side and why, with its last words.
    pub(super) async fn start(start: &Start<'_>) -> Result<Self, RoundFailure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Self::spawn(start)?;
            let why = match server.wait_ready(start).await {
                Ok(()) => return Ok(server),
                Err(why) => why,
            };
            let taken = matches!(why, NotReady::Exited(_)) && TcpListener::bind(server.address).is_err();
            if !taken || tries == PORT_TRIES {
                return Err(server.fail(FailureReason::NotReady, &why.to_string()).await);
            }
            server.stop().await;
        }
    }

    /// Whether the process has ended by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process and everything below it.
    fn processes(&self) -> Vec<u32> {
        CpuReading::of(self.pid).map(|reading| reading.processes().collect()).unwrap_or_default()
    }

    /// Ends the process and everything below it.
    pub(super) async fn stop(&mut self) {
        let below = self.processes();
        let _ = self.child.start_kill();
        for pid in below.into_iter().filter(|pid| *pid != self.pid) {
            signal::kill(pid);
        }
        let _ = tokio::time::timeout(STOP, self.child.wait()).await;
    }

    /// Stops the server and makes a failure of it.
    pub(super) async fn fail(mut self, reason: FailureReason, what: &str) -> RoundFailure {
        self.stop().await;
        // The reader holds the other end of this count until the pipe is closed, or somebody keeps it open.
        let limit = Instant::now() + STOP;
        while Arc::strong_count(&self.tail) > 1 && Instant::now() < limit {
            tokio::time::sleep(READY_PAUSE).await;
        }
        let tail: Vec<u8> = lock(&self.tail).iter().copied().collect();
        let words = String::from_utf8_lossy(&tail);
        let output = format!("{what}\n{}", words.trim_end());
        RoundFailure { side: self.side, reason, output: output.trim_end().to_owned() }
    }

    fn spawn(start: &Start<'_>) -> Result<Self, RoundFailure> {
        let refuse =
            |output: String| RoundFailure { side: start.side, reason: FailureReason::NotReady, output };
        let address = free_address().map_err(|e| refuse(format!("no free port on loopback: {e}")))?;
        let argv = (start.argv)(address);
        let Some((program, arguments)) = argv.split_first() else {
            return Err(refuse("the command is empty".into()));
        };
        let pinned = start.cores.map(Pinned::to).transpose();
        let _pinned = pinned.map_err(|e| refuse(format!("cannot choose its cores: {e}")))?;
        let spawned = Command::new(program)
            .args(arguments)
            .current_dir(start.cwd)
            .stdin(Stdio::null())
            // An access log at thousands of lines a second would cost the generator its core.
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|e| refuse(format!("cannot start {program}: {e}")))?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep_tail(stderr, tail.clone()));
        }
        let pid = child.id().unwrap_or_default();
        Ok(Self { side: start.side, address, pid, child, tail })
    }

    async fn wait_ready(&mut self, start: &Start<'_>) -> Result<(), NotReady> {
        let limit = Instant::now() + start.limit;
        loop {
            if let Some(status) = self.ended() {
                return Err(NotReady::Exited(status));
            }
            if ask(self.address, start.readiness).await {
                return Ok(());
            }
            if Instant::now() > limit {
                let elsewhere = listening(&self.processes()).into_iter().filter(|at| *at != self.address);
                return Err(NotReady::Limit {
                    after: start.limit,
                    asked: self.address,
                    elsewhere: elsewhere.collect(),
                });
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("ended ({0}) before it was ready")]
    Exited(ExitStatus),
    #[error("was not ready within {:.1} s{}", .after.as_secs_f64(), where_else(*.asked, .elsewhere))]
    Limit { after: Duration, asked: SocketAddr, elsewhere: Vec<SocketAddr> },
}

/// Said of a server that listens where nobody asks.
fn where_else(asked: SocketAddr, elsewhere: &[SocketAddr]) -> String {
    let places: Vec<String> = elsewhere.iter().map(SocketAddr::to_string).collect();
    match places.as_slice() {
        [] => String::new(),
        places => format!(": it was told to listen on {asked} and listens on {}", places.join(", ")),
    }
}

/// Whether the server answers as `readiness` wants it.
async fn ask(address: SocketAddr, readiness: &Readiness) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let Readiness::Request { method, path, protocol } = readiness else {
            return Ok::<_, io::Error>(true);
        };
        if *protocol == Protocol::Http2 {
            let request = http2(method, path, address).ok_or(io::ErrorKind::InvalidInput)?;
            return Ok(streams::ask(stream, request).await);
        }
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reader = ResponseReader::new(READY_BODY_MAX_BYTES);
        reader.expect(method == "HEAD");
        let mut buffer = vec![0; 4096];
        loop {
            let n = stream.read(&mut buffer).await?;
            let answer = if n == 0 { reader.end().map(Some) } else { reader.feed(&buffer[..n]) };
            match answer {
                Ok(Some(answer)) => return Ok((200..300).contains(&answer.status)),
                Ok(None) => {}
                Err(_) => return Ok(false),
            }
        }
    };
    matches!(tokio::time::timeout(READY_ANSWER, answer).await, Ok(Ok(true)))
}

/// An address on loopback that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

async fn keep_tail(mut stderr: ChildStderr, tail: Arc<Mutex<VecDeque<u8>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        let mut tail = lock(&tail);
        tail.extend(&buffer[..n]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }
}

fn lock(tail: &Mutex<VecDeque<u8>>) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ending processes that are not our direct children.
#[allow(unsafe_code)]
mod signal {
    pub(super) fn kill(pid: u32) {
        if let Ok(pid @ 2..) = libc::pid_t::try_from(pid) {
            // SAFETY: no pointers; the pid names one process (never a group), and one that is gone is an error code.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_a_method_and_a_path() {
        let request = |method: &str, path: &str| {
            Some(Readiness::Request { method: method.into(), path: path.into(), protocol: Protocol::Http1 })
        };
        assert_eq!(Readiness::parse("GET /readyz", Protocol::Http1), request("GET", "/readyz"));
        for bad in ["", "GET", "/readyz", "GET readyz", "GET /a b", "GET /a\r\nb: c", " /x"] {
            assert_eq!(Readiness::parse(bad, Protocol::Http1), None, "{bad:?}");
        }
    }
}
