//! Memory and processes of a command and all that it starts together, by control groups where the runner may make them.
//!
//! Version 2 needs a group that was delegated to the runner (a systemd unit with `Delegate=yes`, or a user's session);
//! version 1 needs root. Where there is neither, each process has its own limit of memory only, and processes are
//! bounded by the user namespace alone.

use super::command::Limits;
use crate::process::Refused;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const MOUNT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "paceline-";

/// Makes groups, and keeps those that are free: making and removing one takes longer than a short program runs.
#[derive(Clone, Debug)]
pub(super) struct Cgroups {
    version: Version,
    /// Where groups are made for memory, and in version 1 for processes.
    parents: Parents,
    free: Arc<Mutex<Vec<Directories>>>,
}

#[derive(Clone, Debug)]
struct Parents {
    memory: PathBuf,
    /// In version 2 the same.
    processes: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group for one command at a time; free again when dropped.
#[derive(Debug)]
pub(super) struct Group {
    directories: Option<Directories>,
    /// What the group had counted before this command: it may have had others.
    before: Refused,
    free: Arc<Mutex<Vec<Directories>>>,
}

#[derive(Debug)]
struct Directories {
    version: Version,
    memory: Directory,
    processes: Option<Directory>,
}

/// A group's directory; removed when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Cgroups {
    /// Tries out where a group can be made.
    pub(super) fn find() -> Option<Cgroups> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let at = |controller: &str| {
            let lines = own.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
            lines
                .into_iter()
                .find(|line| line.len() == 3 && line[1].split(',').any(|c| c == controller))
                .map(|line| line[2].trim_start_matches('/').to_owned())
        };
        let mut candidates = vec![];
        if let Some(path) = at("").filter(|_| Path::new(MOUNT).join("cgroup.controllers").exists()) {
            let group = Path::new(MOUNT).join(path);
            // A group with processes in it cannot have limited children, but the one above it can.
            for parent in group.parent().into_iter().chain([group.as_path()]) {
                let parents = Parents { memory: parent.to_owned(), processes: Some(parent.to_owned()) };
                candidates.push((Version::Two, parents));
            }
        }
        if let Some(path) = at("memory") {
            let memory = Path::new(MOUNT).join("memory").join(path);
            let processes = at("pids").map(|path| Path::new(MOUNT).join("pids").join(path));
            candidates.push((Version::One, Parents { memory: memory.clone(), processes }));
            candidates.push((Version::One, Parents { memory, processes: None }));
        }
        candidates.into_iter().find_map(|(version, parents)| {
            if !parents.memory.starts_with(MOUNT) {
                return None;
            }
            let found = Cgroups { version, parents, free: Arc::default() };
            found.sweep();
            found.group(&Limits::default()).ok().map(|_| found)
        })
    }

    /// Whether processes are bounded too.
    pub(super) fn bounds_processes(&self) -> bool {
        self.parents.processes.is_some()
    }

    /// A group whose processes together keep within the limits of memory and processes.
    pub(super) fn group(&self, limits: &Limits) -> io::Result<Group> {
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let directories = match recycled {
            Some(directories) => directories,
            None => self.make()?,
        };
        directories.limit(limits)?;
        let before = directories.refused();
        Ok(Group { directories: Some(directories), before, free: self.free.clone() })
    }

    fn make(&self) -> io::Result<Directories> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.version == Version::Two {
            // Refused where it is not ours to say; then the limits' files are missing below.
            for controller in ["+memory", "+pids"] {
                let _ = fs::write(self.parents.memory.join("cgroup.subtree_control"), controller);
            }
        }
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let make = |parent: &Path| {
            let path = parent.join(&name);
            fs::create_dir(&path).map(|()| Directory(path))
        };
        let memory = make(&self.parents.memory)?;
        let processes = match (self.version, &self.parents.processes) {
            (Version::One, Some(parent)) => Some(make(parent)?),
            _ => None,
        };
        Ok(Directories { version: self.version, memory, processes })
    }

    /// Removes groups of runners that are no more.
    fn sweep(&self) {
        for parent in [Some(&self.parents.memory), self.parents.processes.as_ref()].into_iter().flatten() {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
                if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

impl Directories {
    fn processes(&self) -> &Path {
        self.processes.as_ref().map_or(&self.memory.0, |directory| &directory.0)
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let (group, bytes) = (&self.memory.0, limits.memory_bytes);
        let (memory, with_swap) = match self.version {
            Version::Two => ("memory.max", "memory.swap.max"),
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        };
        let swap = if self.version == Version::Two { 0 } else { bytes };
        // Version 1 insists that memory with swap is never below memory alone: raise the former first, lower it last.
        let _ = fs::write(group.join(with_swap), swap.to_string());
        fs::write(group.join(memory), bytes.to_string())?;
        // Absent on machines without accounting of swap.
        let _ = fs::write(group.join(with_swap), swap.to_string());
        if self.version == Version::Two {
            // Memory has run out for all of them, or for none. Kernels before 4.19 do not know this.
            let _ = fs::write(group.join("memory.oom.group"), "1");
        }
        let processes = fs::write(self.processes().join("pids.max"), limits.processes.to_string());
        // Not delegated in version 2: the user namespace bounds them.
        if self.processes.is_some() { processes } else { Ok(()) }
    }

    /// What the kernel has counted since the group was made.
    fn refused(&self) -> Refused {
        let count = |file: PathBuf, name: &str| -> Option<u64> {
            let text = fs::read_to_string(file).ok()?;
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let memory = match self.version {
            Version::Two => "memory.events",
            Version::One => "memory.oom_control",
        };
        Refused {
            processes: count(self.processes().join("pids.events"), "max ").unwrap_or(0),
            memory: count(self.memory.0.join(memory), "oom_kill ").unwrap_or(0),
        }
    }
}

impl Group {
    /// The files through which a process joins.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        let Some(directories) = &self.directories else { return vec![] };
        let all = [Some(&directories.memory), directories.processes.as_ref()];
        all.into_iter().flatten().map(|directory| directory.0.join("cgroup.procs")).collect()
    }

    pub(super) fn bounds_processes(&self) -> bool {
        self.directories.as_ref().is_some_and(|directories| directories.processes().join("pids.max").exists())
    }

    /// What it refused to the present command.
    pub(super) fn refused(&self) -> Refused {
        let now = self.directories.as_ref().map(Directories::refused).unwrap_or_default();
        Refused {
            processes: now.processes.saturating_sub(self.before.processes),
            memory: now.memory.saturating_sub(self.before.memory),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.directories.take());
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The dead leave a moment later; a group that stays is empty, and swept by the next runner.
        for _ in 0..20 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
