//! Memory of a command and all that it starts together, by a control group where the runner may make one.
//!
//! Version 2 needs a group that was delegated to the runner (a systemd unit with `Delegate=yes`, or a user's session);
//! version 1 needs root. Where there is neither, each process has its own limit only.

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
    parent: PathBuf,
    free: Arc<Mutex<Vec<Directory>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group for one command at a time; free again when dropped.
#[derive(Debug)]
pub(super) struct Group {
    directory: Option<Directory>,
    free: Arc<Mutex<Vec<Directory>>>,
}

/// A group's directory; removed when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Cgroups {
    /// Tries out where a group can be made.
    pub(super) fn find() -> Option<Cgroups> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let at = |controllers: &str| {
            let lines = own.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
            lines
                .into_iter()
                .find(|line| line.len() == 3 && line[1].split(',').any(|c| c == controllers))
                .map(|line| line[2].trim_start_matches('/').to_owned())
        };
        let mut candidates = vec![];
        if let Some(path) = at("").filter(|_| Path::new(MOUNT).join("cgroup.controllers").exists()) {
            let group = Path::new(MOUNT).join(path);
            // A group with processes in it cannot have limited children, but the one above it can.
            candidates.extend(group.parent().map(|parent| (Version::Two, parent.to_owned())));
            candidates.push((Version::Two, group));
        }
        if let Some(path) = at("memory") {
            candidates.push((Version::One, Path::new(MOUNT).join("memory").join(path)));
        }
        candidates.into_iter().find_map(|(version, parent)| {
            if !parent.starts_with(MOUNT) {
                return None;
            }
            let found = Cgroups { version, parent, free: Arc::default() };
            found.sweep();
            found.group(64 << 20).ok().map(|_| found)
        })
    }

    /// A group whose processes together hold no more than `memory_bytes`.
    pub(super) fn group(&self, memory_bytes: u64) -> io::Result<Group> {
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let directory = match recycled {
            Some(directory) => directory,
            None => self.make()?,
        };
        self.limit(&directory.0, memory_bytes)?;
        Ok(Group { directory: Some(directory), free: self.free.clone() })
    }

    fn make(&self) -> io::Result<Directory> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.version == Version::Two {
            // Refused where it is not ours to say; then the limit's file is missing below.
            let _ = fs::write(self.parent.join("cgroup.subtree_control"), "+memory");
        }
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.parent.join(name);
        fs::create_dir(&path)?;
        Ok(Directory(path))
    }

    fn limit(&self, group: &Path, bytes: u64) -> io::Result<()> {
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
        Ok(())
    }

    /// Removes groups of runners that are no more.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
            if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Group {
    /// The file through which a process joins.
    pub(super) fn door(&self) -> PathBuf {
        self.directory.as_ref().map(|directory| directory.0.join("cgroup.procs")).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.directory.take());
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
