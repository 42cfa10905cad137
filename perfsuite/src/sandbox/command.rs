//! What is asked of the sandbox: a program, what it may see, and its limits.

use super::Walls;
use crate::process::Echo;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the checkout is seen inside walls: the same for both sides, so that equal sources give equal executables.
pub const SOURCE_INSIDE: &str = "/build/src";
/// Where the target directory is seen inside walls.
pub const TARGET_INSIDE: &str = "/build/target";
/// Where `CARGO_HOME` is seen inside walls.
pub const CARGO_INSIDE: &str = "/build/cargo";
/// Where the toolchain is seen inside walls when it is not below `/usr`.
pub const RUST_INSIDE: &str = "/build/rust";

/// Reach beyond the program's own loopback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    None,
    /// For fetching dependencies only: the machine's network, with the same walls otherwise.
    Fetch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A host path and the place where the program sees it.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) host: PathBuf,
    pub(crate) inside: PathBuf,
    pub(crate) access: Access,
}

/// The bounds of one command and everything that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// One file.
    pub file_bytes: u64,
    /// All that is written below the writable paths together.
    pub disk_bytes: u64,
    /// What stays free on the disk of those paths, whoever it is that fills it.
    pub disk_reserve_bytes: u64,
    /// The tmpfs on `/tmp`.
    pub tmp_bytes: u64,
    pub deadline: Duration,
}

impl Default for Limits {
    /// Enough for the build of a large workspace: 4 GiB of memory, 64 threads a core (a compiler runs 16 and more),
    /// 4 GiB a file, 20 GiB of target directory, 1 GiB of temporary files, half an hour. Of the disk, what a database
    /// needs for its journal, and a person to log in and look.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Self {
            memory_bytes: 4 << 30,
            processes: (cores * 64).max(1024),
            file_bytes: 4 << 30,
            disk_bytes: 20 << 30,
            disk_reserve_bytes: 512 << 20,
            tmp_bytes: 1 << 30,
            deadline: Duration::from_secs(30 * 60),
        }
    }
}

/// A program to run, made by [`Sandbox::command`](super::Sandbox::command). Its environment holds `PATH`, `HOME`,
/// `LANG` and, after [`Command::cargo_home`], `CARGO_HOME`; nothing else but what is set here.
#[derive(Clone, Debug)]
pub struct Command {
    pub(crate) walls: Walls,
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) mounts: Vec<Mount>,
    /// The host's directory that is mounted as `CARGO_HOME`.
    pub(crate) cargo_home: Option<PathBuf>,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    pub(crate) stdout_max: usize,
    pub(crate) stderr_max: usize,
    pub(crate) echo: Echo,
    pub(crate) talk: Talk,
}

/// Whether the caller speaks with the program, line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Stdin is empty, stdout is collected.
    Nothing,
    /// Stdin and stdout are the caller's.
    Lines,
}

impl Command {
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// The working directory, as the program sees it.
    pub fn cwd(&mut self, seen: impl AsRef<Path>) -> &mut Self {
        self.cwd = Some(seen.as_ref().to_owned());
        self
    }

    /// Lets the program read `host`, at `inside` within walls. Returns the path that the program sees: without walls
    /// that is `host` itself.
    pub fn read(&mut self, host: impl AsRef<Path>, inside: impl AsRef<Path>) -> PathBuf {
        self.mount(host.as_ref(), inside.as_ref(), Access::Read)
    }

    /// Lets the program write below `host`, at `inside` within walls. Returns the path that the program sees. Run as
    /// root, the directory and all in it are given to the sandbox's user.
    pub fn write(&mut self, host: impl AsRef<Path>, inside: impl AsRef<Path>) -> PathBuf {
        self.mount(host.as_ref(), inside.as_ref(), Access::Write)
    }

    /// Mounts `host` as `CARGO_HOME` for reading, and sets the variable. Within walls its `config.toml` is replaced by
    /// what applies of the owner's; `host` must not be the owner's own.
    pub fn cargo_home(&mut self, host: impl AsRef<Path>) -> &mut Self {
        let seen = self.read(&host, CARGO_INSIDE);
        self.cargo_home = Some(host.as_ref().to_owned());
        self.env("CARGO_HOME", seen)
    }

    /// The same for writing, as fetching needs it.
    pub fn cargo_home_writable(&mut self, host: impl AsRef<Path>) -> &mut Self {
        let seen = self.write(&host, CARGO_INSIDE);
        self.cargo_home = Some(host.as_ref().to_owned());
        self.env("CARGO_HOME", seen)
    }

    pub fn network(&mut self, network: Network) -> &mut Self {
        self.network = network;
        self
    }

    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    pub fn deadline(&mut self, deadline: Duration) -> &mut Self {
        self.limits.deadline = deadline;
        self
    }

    /// Bytes of output that are kept; of longer output, the end.
    pub fn keep(&mut self, stdout_max: usize, stderr_max: usize) -> &mut Self {
        (self.stdout_max, self.stderr_max) = (stdout_max, stderr_max);
        self
    }

    /// Sends output to the observer's log as it comes, line by line.
    pub fn echo(&mut self, echo: Echo) -> &mut Self {
        self.echo = echo;
        self
    }

    /// For [`Sandbox::spawn`](super::Sandbox::spawn): stdin and stdout are spoken by
    /// [`Running::write_line`](super::Running::write_line) and [`Running::read_line`](super::Running::read_line).
    pub fn talk(&mut self) -> &mut Self {
        self.talk = Talk::Lines;
        self
    }

    fn mount(&mut self, host: &Path, inside: &Path, access: Access) -> PathBuf {
        let mount = Mount { host: host.to_owned(), inside: inside.to_owned(), access };
        let seen = match self.walls {
            Walls::Bubblewrap => inside.to_owned(),
            Walls::None => host.to_owned(),
        };
        self.mounts.push(mount);
        seen
    }
}
