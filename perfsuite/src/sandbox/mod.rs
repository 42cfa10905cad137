//! Where measured code runs: walls by bubblewrap, or none, said plainly.
//!
//! With walls, a program sees system directories, the toolchain and its own paths; no network but its own loopback, no
//! other process, no environment but the given one. It runs as a user of its own when the runner is root, and everything
//! that it started is dead when [`Sandbox::run`] returns. Without walls it runs in a process group of its own with an
//! empty environment and the same limits where the system has them: good for one's own code only.

mod bwrap;
mod cargo_config;
mod cgroup;
mod command;
pub(crate) mod disk;
#[cfg(test)]
mod hostile_tests;
mod lines;
mod running;
mod seccomp;
pub(crate) mod sys;
mod toolchain;
mod users;

pub use command::{CARGO_INSIDE, Command, Limits, Network, RUST_INSIDE, SOURCE_INSIDE, TARGET_INSIDE};
#[cfg(any(test, fuzzing))]
pub(crate) use lines::lines_of;
pub use running::Running;
pub use toolchain::Toolchain;

use crate::model::{MissingTool, Tool, Trust};
use crate::observe::Observer;
use crate::process::{Echo, Finished};
use anyhow::Context;
use command::{Access, Talk};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Output that is kept when the caller does not say: a report of a bench, and the end of a compiler's complaint.
const STDOUT_MAX_DEFAULT: usize = 4 << 20;
const STDERR_MAX_DEFAULT: usize = 64 << 10;

/// Whether walls are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Preference {
    /// Walls where they can be had.
    #[default]
    Auto,
    /// No walls, whatever could be had: for one's own code.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walls {
    Bubblewrap,
    None,
}

/// The walls that this machine offers, and the toolchain seen inside them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sandbox {
    kind: Arc<Kind>,
    toolchain: Arc<Toolchain>,
    cgroups: Option<cgroup::Cgroups>,
    /// Directories that measured code has been able to write to: no link in them is trusted.
    written: Arc<Mutex<BTreeSet<PathBuf>>>,
    disk: disk::Ledger,
}

#[derive(Debug)]
pub enum Kind {
    Bubblewrap(bwrap::Bubblewrap),
    /// None, with the reason in words.
    None {
        reason: String,
        missing: Option<MissingTool>,
    },
}

impl Sandbox {
    /// Finds the toolchain and tries the walls out. Fails when there is no Rust toolchain.
    pub fn detect(preference: Preference) -> anyhow::Result<Sandbox> {
        let toolchain = Arc::new(Toolchain::find()?);
        let cgroups = cgroup::Cgroups::find();
        let of = |kind| Sandbox {
            kind: Arc::new(kind),
            toolchain: toolchain.clone(),
            cgroups: cgroups.clone(),
            written: Arc::default(),
            disk: disk::Ledger::default(),
        };
        let kind = match preference {
            Preference::Off => Kind::None { reason: "switched off".into(), missing: None },
            Preference::Auto => match bwrap::Bubblewrap::find() {
                Ok(found) => {
                    let candidate = of(Kind::Bubblewrap(found));
                    match candidate.try_out() {
                        Ok(()) => return Ok(candidate),
                        Err(error) => Kind::None { reason: format!("{error:#}"), missing: None },
                    }
                }
                Err(error) => {
                    Kind::None { reason: format!("{error:#}"), missing: Some(bubblewrap_missing()) }
                }
            },
        };
        Ok(of(kind))
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub fn walled(&self) -> bool {
        matches!(*self.kind, Kind::Bubblewrap(_))
    }

    pub fn toolchain(&self) -> &Toolchain {
        &self.toolchain
    }

    /// One line for the environment: `bubblewrap 0.8.0, as a user of its own, memory and processes by cgroup`, or
    /// `none: ` and the reason.
    pub fn describe(&self) -> String {
        match &*self.kind {
            Kind::Bubblewrap(bubblewrap) => format!("{}, {}", bubblewrap.describe(), self.memory_by()),
            Kind::None { reason, .. } => format!("none: {reason}"),
        }
    }

    fn memory_by(&self) -> &'static str {
        match &self.cgroups {
            Some(cgroups) if cgroups.bounds_processes() => "memory and processes by cgroup",
            Some(_) => "memory by cgroup",
            None => "memory by process",
        }
    }

    /// What to install for walls, where that is what is missing.
    pub fn missing(&self) -> Option<MissingTool> {
        match &*self.kind {
            Kind::Bubblewrap(_) => None,
            Kind::None { missing, .. } => missing.clone(),
        }
    }

    /// Refuses strangers' code without walls, in words that say what to do.
    pub fn permit(&self, trust: Trust) -> Result<(), String> {
        match (&*self.kind, trust) {
            (Kind::Bubblewrap(_), _) | (_, Trust::Own) => Ok(()),
            (Kind::None { reason, missing }, Trust::Stranger) => {
                let advice = match missing {
                    Some(tool) => format!("install the package `{}` on the runner", tool.package),
                    None => "let the runner use unprivileged user namespaces, and start it again".into(),
                };
                Err(format!(
                    "Code from others runs in a sandbox only, and there is none here ({reason}). To allow it, {advice}."
                ))
            }
        }
    }

    /// A command with the fixed part of the environment: `PATH` (the toolchain, then the system), `HOME`, `LANG`.
    /// `program` is looked up on that path unless it holds a slash.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let walls = if self.walled() { Walls::Bubblewrap } else { Walls::None };
        let mut command = Command {
            walls,
            program: program.as_ref().to_owned(),
            args: vec![],
            cwd: None,
            env: BTreeMap::new(),
            mounts: vec![],
            cargo_home: None,
            network: Network::None,
            limits: Limits::default(),
            stdout_max: STDOUT_MAX_DEFAULT,
            stderr_max: STDERR_MAX_DEFAULT,
            echo: Echo::Nothing,
            talk: Talk::Nothing,
        };
        let home = match walls {
            Walls::Bubblewrap => OsString::from("/tmp"),
            Walls::None => std::env::var_os("HOME").unwrap_or_else(|| "/".into()),
        };
        command.env("HOME", home).env("LANG", "C.UTF-8").env("PATH", self.toolchain.search_path(walls));
        command
    }

    /// Runs to the end, its deadline, or the observer's stop. Nothing that it started lives on.
    pub fn run(&self, command: &Command, observer: &dyn Observer) -> io::Result<Finished> {
        running::run(self, command, observer)
    }

    /// Starts and returns. The thread that calls this must live as long as the program: its end is the program's end.
    pub fn spawn(&self, command: &Command) -> io::Result<Running> {
        running::spawn(self, command)
    }

    /// Gives a directory and all in it to the user that measured code runs as. Does nothing unless the runner is root
    /// and there are walls. Links are not followed; nothing may run in there meanwhile.
    pub fn give(&self, directory: &Path) -> io::Result<()> {
        match &*self.kind {
            Kind::Bubblewrap(bubblewrap) => bubblewrap.give(directory),
            Kind::None { .. } => Ok(()),
        }
    }

    /// Refuses a path that leads through a link which measured code may have planted, since the runner would follow it
    /// with its own rights. Remembers what is about to become writable.
    fn vet(&self, command: &Command) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for mount in &command.mounts {
            let host = std::path::absolute(&mount.host)?;
            let below = written.iter().find(|directory| host.starts_with(directory) && host != **directory);
            if let Some(directory) = below {
                for part in host.ancestors().take_while(|part| part != directory) {
                    if std::fs::symlink_metadata(part)?.is_symlink() {
                        let words = format!("{} is a link that measured code may have made", part.display());
                        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
                    }
                }
            }
            if mount.access == Access::Write {
                written.insert(host);
            }
        }
        Ok(())
    }

    /// Starts the smallest program inside the walls, since a system may have bubblewrap and forbid what it needs.
    fn try_out(&self) -> anyhow::Result<()> {
        let mut command = self.command("true");
        command.deadline(std::time::Duration::from_secs(10));
        let finished = self
            .run(&command, &crate::observe::Unobserved)
            .context("bubblewrap is installed, but cannot be used here")?;
        anyhow::ensure!(
            finished.success(),
            "bubblewrap is installed, but does not work here: {} {}",
            finished.in_words(),
            finished.stderr_tail.trim()
        );
        Ok(())
    }
}

fn bubblewrap_missing() -> MissingTool {
    MissingTool {
        tool: Tool::Bubblewrap,
        hides: "code from others is refused, and one's own runs without walls".into(),
        package: "bubblewrap".into(),
    }
}

/// Directories that a command may write to, for the disk limit.
fn writable(command: &Command) -> Vec<PathBuf> {
    let writes = command.mounts.iter().filter(|mount| mount.access == Access::Write);
    writes.map(|mount| mount.host.clone()).collect()
}
