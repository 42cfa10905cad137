//! Starting a command inside or outside walls, and the handle on one that runs.

use super::cgroup::Group;
use super::command::{Command, Talk};
use super::disk::DiskWatch;
use super::lines::{Lines, TooLong};
use super::sys::{self, BeforeExec, Rlimit};
use super::{Kind, Sandbox, bwrap, writable};
use crate::model::wire::Progress;
use crate::observe::Observer;
use crate::process::{self, Family, Finished, Refused, Watch};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// bubblewrap reports within milliseconds; a machine that swaps is given this long.
const START_MAX: Duration = Duration::from_secs(20);

pub(super) fn run(sandbox: &Sandbox, command: &Command, observer: &dyn Observer) -> io::Result<Finished> {
    let mut started = start(sandbox, command)?;
    let watch = watch(sandbox, command, started.at, started.init);
    let finished = process::attend(&mut started.child, &started.family, watch, observer)?;
    // The group is free again only now that all are dead.
    Ok(Finished { refused: refused(started.group.as_ref()), ..finished })
}

pub(super) fn spawn(sandbox: &Sandbox, command: &Command) -> io::Result<Running> {
    let Started { mut child, family, at, init, group } = start(sandbox, command)?;
    let pid = child.id();
    let talk = match (command.talk, child.stdin.take()) {
        (Talk::Lines, Some(stdin)) => {
            let stdout = child.stdout.take();
            if let Some(stdout) = &stdout {
                sys::set_nonblocking(stdout.as_fd())?;
            }
            Some(Conversation { stdin, stdout, lines: Lines::default() })
        }
        _ => None,
    };
    let family = Arc::new(family);
    let stop = Arc::new(StopFlag(AtomicBool::new(false)));
    let watch = watch(sandbox, command, at, init);
    let attendant = {
        let (family, stop) = (family.clone(), stop.clone());
        std::thread::Builder::new().name("attend".into()).spawn(move || {
            let finished = process::attend(&mut child, &family, watch, &*stop)?;
            Ok(Finished { refused: refused(group.as_ref()), ..finished })
        })?
    };
    Ok(Running { pid, init, family, stop, talk, attendant: Some(attendant) })
}

/// A program that runs. Dropped, it and everything that it started are killed. Its output is read all the time, so that
/// it never blocks on a full pipe.
pub struct Running {
    pid: u32,
    init: Option<u32>,
    family: Arc<Family>,
    stop: Arc<StopFlag>,
    talk: Option<Conversation>,
    attendant: Option<JoinHandle<io::Result<Finished>>>,
}

impl Running {
    /// The program's own process id as the host sees it (not that of the wall around it). Waits for a moment until the
    /// program has been started.
    pub fn pid(&self) -> io::Result<u32> {
        let Some(init) = self.init else { return Ok(self.pid) };
        let until = Instant::now() + START_MAX;
        loop {
            if let Some(child) = children(init).first() {
                return Ok(*child);
            }
            if self.has_ended() || Instant::now() > until {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the program has ended"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The program and everything that descends from it, as the host sees them.
    pub fn pids(&self) -> Vec<u32> {
        match self.init {
            Some(init) => descendants(init),
            None => [vec![self.pid], descendants(self.pid)].concat(),
        }
    }

    pub fn has_ended(&self) -> bool {
        self.attendant.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Kills the program and all that it started. [`Running::finish`] then tells what was left.
    pub fn kill(&self) {
        self.stop.0.store(true, Ordering::Relaxed);
        self.family.kill();
    }

    /// Waits for the end, which comes at the deadline at the latest.
    pub fn finish(mut self) -> io::Result<Finished> {
        self.talk = None;
        match self.attendant.take() {
            Some(attendant) => {
                attendant.join().map_err(|_| io::Error::other("the attending thread panicked"))?
            }
            None => Err(io::Error::other("already finished")),
        }
    }

    /// Writes a line to the program's stdin. Needs [`Command::talk`].
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        let talk = self.talk.as_mut().ok_or_else(not_talking)?;
        talk.stdin.write_all(format!("{line}\n").as_bytes())
    }

    /// The next line of the program's stdout without its end, `None` at the end of file. Needs [`Command::talk`].
    pub fn read_line(&mut self, wait: Duration) -> io::Result<Option<String>> {
        self.talk.as_mut().ok_or_else(not_talking)?.read_line(wait)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(attendant) = self.attendant.take() {
            self.stop.0.store(true, Ordering::Relaxed);
            self.family.kill();
            // Nobody is left who would want to know how it ended.
            let _ = attendant.join();
        }
    }
}

struct Conversation {
    stdin: ChildStdin,
    stdout: Option<ChildStdout>,
    lines: Lines,
}

impl Conversation {
    fn read_line(&mut self, wait: Duration) -> io::Result<Option<String>> {
        let until = Instant::now() + wait;
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Ok(Some(line)),
                Ok(None) => {}
                Err(TooLong) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than a megabyte"));
                }
            }
            let Some(stdout) = &mut self.stdout else { return Ok(None) };
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
            let left = left.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "no line in time"))?;
            if !sys::poll([Some(stdout.as_fd())], left)?[0] {
                continue;
            }
            let mut bytes = [0; 8192];
            match stdout.read(&mut bytes) {
                Ok(0) => self.stdout = None,
                Ok(n) => self.lines.push(&bytes[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn not_talking() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the command was not made with talk()")
}

struct Started {
    child: Child,
    family: Family,
    at: Instant,
    /// The first process inside the walls.
    init: Option<u32>,
    group: Option<Group>,
}

fn start(sandbox: &Sandbox, command: &Command) -> io::Result<Started> {
    sandbox.vet(command)?;
    let group = match &sandbox.cgroups {
        Some(cgroups) => Some(cgroups.group(&command.limits)?),
        None => None,
    };
    match sandbox.kind() {
        Kind::Bubblewrap(bubblewrap) => start_walled(sandbox, bubblewrap, command, group),
        Kind::None { .. } => start_bare(command, group),
    }
}

fn start_bare(command: &Command, group: Option<Group>) -> io::Result<Started> {
    let mut bare = std::process::Command::new(&command.program);
    bare.args(&command.args).env_clear().envs(&command.env);
    if let Some(cwd) = &command.cwd {
        bare.current_dir(cwd);
    }
    pipe_streams(&mut bare, command);
    let before = BeforeExec {
        limits: bwrap::limits(command, group.as_ref())?,
        join: bwrap::doors(group.as_ref())?,
        die_with_parent: true,
        ..BeforeExec::default()
    };
    sys::before_exec(&mut bare, before);
    let at = Instant::now();
    let child = bare.spawn()?;
    let family = Family::new(child.id(), None);
    Ok(Started { child, family, at, init: None, group })
}

fn start_walled(
    sandbox: &Sandbox,
    bubblewrap: &bwrap::Bubblewrap,
    command: &Command,
    group: Option<Group>,
) -> io::Result<Started> {
    let (seccomp_read, seccomp_write) = sys::pipe()?;
    let (info_read, info_write) = sys::pipe()?;
    let (block_read, block_write) = sys::pipe()?;
    // Fits the pipe's buffer (a test says so), so that this does not wait for a reader.
    File::from(seccomp_write).write_all(bubblewrap.seccomp(command.network))?;
    let pipes = bwrap::Descriptors::of(&seccomp_read, &info_write, &block_read);
    let (mut wrapped, before) = bubblewrap.prepare(command, sandbox.toolchain(), pipes, group.as_ref())?;
    pipe_streams(&mut wrapped, command);
    sys::before_exec(&mut wrapped, before);
    let at = Instant::now();
    let mut child = wrapped.spawn()?;
    drop((seccomp_read, info_write, block_read));
    let (init, handle) =
        match admit(info_read, block_write, bwrap::processes(command, group.as_ref()), bubblewrap.user()) {
            Ok(admitted) => admitted,
            Err(error) => return Err(io::Error::other(format!("{error}{}", complaint(&mut child)))),
        };
    let family = Family::new(child.id(), Some(handle));
    Ok(Started { child, family, at, init: Some(init), group })
}

/// bubblewrap has made the namespaces and waits: sets the limit that counts only from here on, and lets it go on.
fn admit(info: OwnedFd, block: OwnedFd, processes: Rlimit, user: Option<u32>) -> io::Result<(u32, OwnedFd)> {
    let init = init_pid(info)?;
    let handle = sys::pidfd(init)?;
    match sys::limit_process(init, processes, user).and_then(|()| File::from(block).write_all(b"\n")) {
        Ok(()) => Ok((init, handle)),
        Err(error) => {
            sys::pidfd_kill(handle.as_fd());
            Err(io::Error::other(format!("cannot limit the sandbox's processes: {error}")))
        }
    }
}

/// Reads `{ "child-pid": N, … }`.
fn init_pid(info: OwnedFd) -> io::Result<u32> {
    let until = Instant::now() + START_MAX;
    let mut info = File::from(info);
    let mut text = Vec::new();
    while !text.ends_with(b"}\n") && !text.ends_with(b"}") {
        let left = until.checked_duration_since(Instant::now());
        let left =
            left.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "bubblewrap did not start in time"))?;
        if sys::poll([Some(info.as_fd())], left)?[0] {
            let mut bytes = [0; 1024];
            match info.read(&mut bytes)? {
                0 => return Err(io::Error::other("bubblewrap did not start")),
                n => text.extend_from_slice(&bytes[..n]),
            }
        }
    }
    let report: serde_json::Value = serde_json::from_slice(&text)?;
    let pid = report["child-pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| io::Error::other("bubblewrap did not say which process it started"))
}

/// What bubblewrap said before it gave up. Kills it, in case that it has not.
fn complaint(child: &mut Child) -> String {
    const COMPLAINT_MAX: usize = 2000;
    const COMPLAINT_WAIT: Duration = Duration::from_millis(500);
    let mut text = vec![0; COMPLAINT_MAX];
    let mut read = 0;
    if let Some(stderr) = &mut child.stderr
        && sys::poll([Some(stderr.as_fd())], COMPLAINT_WAIT).is_ok_and(|[ready]| ready)
    {
        read = stderr.read(&mut text).unwrap_or(0);
    }
    // One that is already gone cannot be killed, which is what we want.
    let _ = child.kill();
    let _ = child.wait();
    match String::from_utf8_lossy(&text[..read]).trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

fn pipe_streams(child: &mut std::process::Command, command: &Command) {
    let stdin = if command.talk == Talk::Lines { Stdio::piped() } else { Stdio::null() };
    child.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
}

/// What the group counted while the command ran.
fn refused(group: Option<&Group>) -> Refused {
    group.map(Group::refused).unwrap_or_default()
}

fn watch(sandbox: &Sandbox, command: &Command, at: Instant, init: Option<u32>) -> Watch {
    Watch {
        started: at,
        deadline: at + command.limits.deadline,
        stdout_max: command.stdout_max,
        stderr_max: command.stderr_max,
        echo: command.echo,
        disk: DiskWatch::new(&sandbox.disk, writable(command), &command.limits, init),
    }
}

/// Children of a process, theirs, and so on.
pub(super) fn descendants(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while next < all.len() {
        all.extend(children(all[next]));
        next += 1;
    }
    all
}

/// Direct children of a process, over all its threads; empty when it is gone.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return vec![] };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// An observer that only knows whether to stop.
struct StopFlag(AtomicBool);

impl Observer for StopFlag {
    fn progress(&self, _: Progress) {}

    fn log(&self, _: &str) {}

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
