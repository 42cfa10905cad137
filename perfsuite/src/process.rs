//! One child process and all that it starts: output read with a deadline, bounded, and nothing left behind.

use crate::model::wire::LOG_LINE_CHARS_MAX;
use crate::observe::Observer;
use crate::sandbox::disk::{DiskWatch, Overfull};
use crate::sandbox::sys;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a wait looks at the deadline, the stop order and the disk. A stop feels immediate to a person, and ten
/// wake-ups a second do not disturb what is measured.
const TICK: Duration = Duration::from_millis(100);
/// The same where the kernel cannot tell us that a process ended (before 5.3).
const TICK_WITHOUT_PIDFD: Duration = Duration::from_millis(5);
/// After everything was killed: how long its last output, and its disappearance, are waited for.
const AFTERMATH_MAX: Duration = Duration::from_secs(5);
/// One read: the size of a pipe.
const READ_BYTES: usize = 64 << 10;

/// How a program ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// Why a child is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(Exit),
    /// Killed at its deadline.
    TimedOut,
    /// Killed because the observer said stop, or by [`Running::kill`](crate::sandbox::Running::kill).
    Stopped,
    /// Killed because it filled the disk beyond its limit.
    DiskFull,
    /// Killed because the machine's disk is nearly full, whoever filled it.
    MachineFull,
}

/// Bounds that a child ran into and that did not end it: how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// New processes or threads.
    pub processes: u64,
    /// Processes killed for want of memory.
    pub memory: u64,
}

/// What is left of a child.
#[derive(Clone, Debug)]
pub struct Finished {
    pub end: End,
    /// The last `stdout_max` bytes.
    pub stdout: Vec<u8>,
    /// More was written to stdout than was kept.
    pub stdout_cut: bool,
    /// The last `stderr_max` bytes, with what is not UTF-8 replaced.
    pub stderr_tail: String,
    pub elapsed: Duration,
    /// Known where a control group bounds it.
    pub refused: Refused,
}

impl Finished {
    pub fn success(&self) -> bool {
        self.end == End::Exited(Exit::Code(0))
    }

    pub fn timed_out(&self) -> bool {
        self.end == End::TimedOut
    }

    pub fn stopped(&self) -> bool {
        self.end == End::Stopped
    }

    /// The end in words: `exit code 101`, `killed by signal 6`, `stopped at its time limit`; and what it ran into.
    pub fn in_words(&self) -> String {
        let mut words = self.end.to_string();
        for (count, what) in [
            (self.refused.processes, "at its limit of processes, times refused"),
            (self.refused.memory, "at its limit of memory, processes killed"),
        ] {
            if count > 0 {
                words.push_str(&format!("; {what}: {count}"));
            }
        }
        words
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(Exit::Code(code)) => write!(f, "exit code {code}"),
            End::Exited(Exit::Signal(signal)) => {
                write!(f, "killed by signal {signal}{}", signal_name(*signal))
            }
            End::TimedOut => f.write_str("stopped at its time limit"),
            End::Stopped => f.write_str("stopped on request"),
            End::DiskFull => f.write_str("stopped at its disk limit"),
            End::MachineFull => f.write_str("stopped because the machine's disk is nearly full"),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (abort)",
        libc::SIGSEGV => " (segmentation fault)",
        libc::SIGKILL => " (killed, for instance for want of memory)",
        libc::SIGXFSZ => " (file size limit)",
        libc::SIGSYS => " (forbidden system call)",
        _ => "",
    }
}

/// What is watched while a child runs.
pub(crate) struct Watch {
    pub(crate) deadline: Instant,
    pub(crate) started: Instant,
    pub(crate) stdout_max: usize,
    pub(crate) stderr_max: usize,
    pub(crate) echo: Echo,
    pub(crate) disk: Option<DiskWatch>,
}

/// Which output goes to the observer's log, line by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    #[default]
    Nothing,
    Stderr,
}

/// A child, and the handle on everything that descends from it.
pub(crate) struct Family {
    pid: u32,
    /// Readable once the child has ended.
    ended: Option<OwnedFd>,
    /// Inside walls: the first process of the child's PID namespace. Its death is the death of all of them.
    init: Option<OwnedFd>,
    /// Held while signalling by number, so that the number is still ours.
    reaped: Mutex<bool>,
}

impl Family {
    pub(crate) fn new(pid: u32, init: Option<OwnedFd>) -> Family {
        Family { pid, ended: sys::pidfd(pid).ok(), init, reaped: Mutex::new(false) }
    }

    /// Everything dies, at once. Harmless when nothing lives.
    pub(crate) fn kill(&self) {
        if let Some(init) = &self.init {
            sys::pidfd_kill(init.as_fd());
        }
        let reaped = self.reaped.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*reaped {
            sys::kill_group(self.pid);
        }
    }

    fn reap(&self, child: &mut Child) -> io::Result<std::process::ExitStatus> {
        let mut reaped = self.reaped.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let status = child.wait()?;
        *reaped = true;
        Ok(status)
    }

    /// Waits until the PID namespace is empty: only then nothing writes to the job's directories any more.
    fn wait_until_gone(&self) -> io::Result<()> {
        let Some(init) = &self.init else { return Ok(()) };
        let until = Instant::now() + AFTERMATH_MAX;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if sys::poll([Some(init.as_fd())], left)?[0] {
                return Ok(());
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "processes in the sandbox did not die"))
    }
}

/// Reads until the child ends, is stopped, or its time is over; then kills what is left of its family.
pub(crate) fn attend(
    child: &mut Child,
    family: &Family,
    watch: Watch,
    observer: &dyn Observer,
) -> io::Result<Finished> {
    let mut out = Pipe::new(child.stdout.take(), watch.stdout_max, None)?;
    let log = (watch.echo == Echo::Stderr).then_some(observer);
    let mut err = Pipe::new(child.stderr.take(), watch.stderr_max, log)?;
    let outcome = wait_for_end(family, &watch, observer, &mut out, &mut err);
    family.kill();
    let drained = drain(&mut out, &mut err);
    let status = family.reap(child)?;
    family.wait_until_gone()?;
    err.flush_line();
    let end = match outcome? {
        Some(end) => end,
        None => End::Exited(exit_of(status, family.init.is_some())),
    };
    drained?;
    Ok(Finished {
        end,
        stdout_cut: out.tail.cut,
        stdout: out.tail.into_bytes(),
        stderr_tail: String::from_utf8_lossy(&err.tail.into_bytes()).into_owned(),
        elapsed: watch.started.elapsed(),
        refused: Refused::default(),
    })
}

/// `None`: the child ended by itself.
fn wait_for_end(
    family: &Family,
    watch: &Watch,
    observer: &dyn Observer,
    out: &mut Pipe<'_, ChildStdout>,
    err: &mut Pipe<'_, ChildStderr>,
) -> io::Result<Option<End>> {
    let tick = if family.ended.is_some() { TICK } else { TICK_WITHOUT_PIDFD };
    loop {
        let now = Instant::now();
        let Some(left) = watch.deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
            return Ok(Some(End::TimedOut));
        };
        if observer.stopped() {
            return Ok(Some(End::Stopped));
        }
        match watch.disk.as_ref().and_then(DiskWatch::exceeded) {
            Some(Overfull::Limit) => return Ok(Some(End::DiskFull)),
            Some(Overfull::Machine) => return Ok(Some(End::MachineFull)),
            None => {}
        }
        let ended = family.ended.as_ref().map(|fd| fd.as_fd());
        let [_, out_ready, err_ready] = sys::poll([ended, out.fd(), err.fd()], left.min(tick))?;
        if out_ready {
            out.read_some()?;
        }
        if err_ready {
            err.read_some()?;
        }
        if sys::has_ended(family.pid)? {
            // Killed by whoever set the observer's flag just before.
            return Ok(observer.stopped().then_some(End::Stopped));
        }
    }
}

/// What the dead left in the pipes. Ends by time too: a process that escaped may hold a pipe open for ever.
fn drain(out: &mut Pipe<'_, ChildStdout>, err: &mut Pipe<'_, ChildStderr>) -> io::Result<()> {
    /// Everything is dead already, so what is there is there; an escaped writer gets no more than this.
    const DRAIN_MAX: Duration = Duration::from_millis(500);
    let until = Instant::now() + DRAIN_MAX;
    while out.fd().is_some() || err.fd().is_some() {
        let Some(left) = until.checked_duration_since(Instant::now()) else { break };
        let [out_ready, err_ready] = sys::poll([out.fd(), err.fd()], left)?;
        if out_ready {
            out.read_some()?;
        }
        if err_ready {
            err.read_some()?;
        }
    }
    Ok(())
}

fn exit_of(status: std::process::ExitStatus, walled: bool) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        // bubblewrap reports a signal as shells do.
        (Some(code), _) if walled && (129..=128 + 64).contains(&code) => Exit::Signal(code - 128),
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// One output of a child: read without blocking, its end kept.
struct Pipe<'a, R> {
    reader: Option<R>,
    tail: Tail,
    log: Option<&'a dyn Observer>,
    line: Vec<u8>,
}

impl<'a, R: Read + AsFd> Pipe<'a, R> {
    fn new(reader: Option<R>, max: usize, log: Option<&'a dyn Observer>) -> io::Result<Self> {
        if let Some(reader) = &reader {
            sys::set_nonblocking(reader.as_fd())?;
        }
        Ok(Self { reader, tail: Tail::new(max), log, line: Vec::new() })
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.reader.as_ref().map(|reader| reader.as_fd())
    }

    fn read_some(&mut self) -> io::Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let mut bytes = [0; READ_BYTES];
        match reader.read(&mut bytes) {
            Ok(0) => self.reader = None,
            Ok(n) => {
                self.tail.push(&bytes[..n]);
                self.echo(&bytes[..n]);
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn echo(&mut self, bytes: &[u8]) {
        if self.log.is_none() {
            return;
        }
        for &byte in bytes {
            if byte == b'\n' {
                self.flush_line();
            } else if self.line.len() < LOG_LINE_CHARS_MAX {
                self.line.push(byte);
            }
        }
    }

    fn flush_line(&mut self) {
        if let (Some(log), false) = (self.log, self.line.is_empty()) {
            log.log(String::from_utf8_lossy(&self.line).trim_end());
        }
        self.line.clear();
    }
}

/// The last `max` bytes of a stream.
struct Tail {
    max: usize,
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn new(max: usize) -> Self {
        Self { max, bytes: Vec::new(), cut: false }
    }

    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        self.cut |= self.bytes.len() > self.max;
        // Moved only when it has grown to twice the size: each byte is moved once at most, on average.
        if self.bytes.len() > self.max.saturating_mul(2).max(READ_BYTES) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let over = self.bytes.len().saturating_sub(self.max);
        self.bytes.drain(..over);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.trim();
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        assert!(!tail.cut);
        tail.push(b"cdef");
        assert!(tail.cut);
        assert_eq!(tail.into_bytes(), b"cdef");
    }

    #[test]
    fn a_tail_is_bounded_while_it_grows() {
        let mut tail = Tail::new(10);
        for _ in 0..1000 {
            tail.push(&[7; 1000]);
            assert!(tail.bytes.len() <= READ_BYTES + 1000);
        }
        assert_eq!(tail.into_bytes(), [7; 10]);
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(End::Exited(Exit::Code(101)).to_string(), "exit code 101");
        assert_eq!(End::Exited(Exit::Signal(6)).to_string(), "killed by signal 6 (abort)");
        assert_eq!(End::TimedOut.to_string(), "stopped at its time limit");
    }
}
