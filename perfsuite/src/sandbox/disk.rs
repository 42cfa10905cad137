//! Notices that measured code fills the disk, whatever it does to hide it.
//!
//! No quota is needed: the free space of the file system is looked at all the time, which costs one system call, and
//! files are counted when it falls, and by period. Between the filling and its end lie a tenth of a second and one
//! count. What other commands of the same sandbox left in a directory counts too.

use super::{Limits, sys};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Files and directories below what is writable. The largest workspaces build some ten thousand; a file of no bytes
/// costs the file system all the same.
const FILES_MAX: u64 = 2_000_000;
/// Directories in each other. A count that goes deeper could be led on for ever, and paths end at 4,096 bytes.
const DEPTH_MAX: u32 = 200;
/// How often files are counted though the free space did not fall: another job may have freed as much. Longer where a
/// count takes long, so that it takes a two-hundredth of the time at most.
const COUNT_PERIOD: Duration = Duration::from_secs(20);
const COUNT_SHARE: u32 = 200;
/// The fall of the free space after which files are counted again, as a part of the limit.
const FALL_SHARE: u64 = 8;

/// What is known of directories that measured code writes to. Shared by the commands of one sandbox.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<BTreeMap<PathBuf, Counted>>>);

#[derive(Clone, Copy, Debug)]
struct Counted {
    tree: Tree,
    free_bytes: u64,
    at: Instant,
    took: Duration,
}

/// Bytes on disk and entries below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tree {
    bytes: u64,
    files: u64,
    too_deep: bool,
}

/// Why a command must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overfull {
    /// Its own limit.
    Limit,
    /// The machine's disk, by whomever.
    Machine,
}

/// The disk limit of one command.
pub(crate) struct DiskWatch {
    ledger: Ledger,
    directories: Vec<PathBuf>,
    limit_bytes: u64,
    reserve_bytes: u64,
    /// For files that were removed and are still open: the processes to look at.
    init: Option<u32>,
}

impl DiskWatch {
    /// `None` when there is nothing to watch.
    pub(super) fn new(
        ledger: &Ledger,
        directories: Vec<PathBuf>,
        limits: &Limits,
        init: Option<u32>,
    ) -> Option<DiskWatch> {
        let (limit_bytes, reserve_bytes) = (limits.disk_bytes, limits.disk_reserve_bytes);
        let watch = DiskWatch { ledger: ledger.clone(), directories, limit_bytes, reserve_bytes, init };
        (!watch.directories.is_empty()).then_some(watch)
    }

    pub(crate) fn exceeded(&self) -> Option<Overfull> {
        let mut ledger = self.ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sum, mut fell) = (Tree::default(), false);
        for directory in &self.directories {
            // A disk that does not answer is left to the program, which will be told by its writes.
            let Ok(free_bytes) = sys::free_bytes(directory) else { continue };
            if free_bytes < self.reserve_bytes {
                return Some(Overfull::Machine);
            }
            let known = ledger.get(directory).copied();
            let current = known.filter(|known| known.holds(free_bytes, self.limit_bytes));
            let counted = current.unwrap_or_else(|| {
                fell |= known.is_some();
                let at = Instant::now();
                let tree = Tree::of(directory);
                let counted = Counted { tree, free_bytes, at, took: at.elapsed() };
                ledger.insert(directory.clone(), counted);
                counted
            });
            sum.add(counted.tree);
        }
        if fell {
            sum.bytes += self.removed_and_open();
        }
        let over = sum.bytes > self.limit_bytes || sum.files > FILES_MAX || sum.too_deep;
        over.then_some(Overfull::Limit)
    }

    /// Bytes of files that have no name any more and are held open.
    fn removed_and_open(&self) -> u64 {
        let devices: BTreeSet<u64> =
            self.directories.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.dev())).collect();
        let mut seen = BTreeMap::new();
        let processes = self.init.map(super::running::descendants).unwrap_or_default();
        for process in processes {
            let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            for meta in open.filter_map(|entry| std::fs::metadata(entry.path()).ok()) {
                if meta.nlink() == 0 && meta.is_file() && devices.contains(&meta.dev()) {
                    seen.insert((meta.dev(), meta.ino()), meta.blocks() * 512);
                }
            }
        }
        seen.values().sum()
    }
}

impl Counted {
    /// Whether it need not be counted again.
    fn holds(&self, free_bytes: u64, limit_bytes: u64) -> bool {
        let fallen = self.free_bytes.saturating_sub(free_bytes);
        let period = COUNT_PERIOD.max(self.took * COUNT_SHARE);
        fallen <= limit_bytes / FALL_SHARE && self.at.elapsed() < period
    }
}

impl Tree {
    /// Links are not followed; what cannot be read counts nothing.
    fn of(directory: &Path) -> Tree {
        let mut tree = Tree::default();
        let mut pending = vec![(directory.to_owned(), 0)];
        while let Some((directory, depth)) = pending.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                tree.files += 1;
                if tree.files > FILES_MAX {
                    return tree;
                }
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() && depth >= DEPTH_MAX => tree.too_deep = true,
                    Ok(meta) if meta.is_dir() => pending.push((entry.path(), depth + 1)),
                    Ok(meta) => tree.bytes += meta.blocks() * 512,
                    Err(_) => {}
                }
            }
        }
        tree
    }

    fn add(&mut self, other: Tree) {
        self.bytes += other.bytes;
        self.files += other.files;
        self.too_deep |= other.too_deep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(ledger: &Ledger, directory: &Path, limit_bytes: u64) -> Option<Overfull> {
        let limits = Limits { disk_bytes: limit_bytes, ..Limits::default() };
        DiskWatch::new(ledger, vec![directory.to_owned()], &limits, None).unwrap().exceeded()
    }

    #[test]
    fn what_earlier_commands_left_counts_too() {
        let (ledger, directory) = (Ledger::default(), tempfile::tempdir().unwrap());
        std::fs::write(directory.path().join("a"), vec![1; 1 << 20]).unwrap();
        assert_eq!(watch(&ledger, directory.path(), 8 << 20), None);
        std::fs::create_dir(directory.path().join("b")).unwrap();
        std::fs::write(directory.path().join("b/c"), vec![1; 9 << 20]).unwrap();
        assert_eq!(watch(&Ledger::default(), directory.path(), 8 << 20), Some(Overfull::Limit));
        assert_eq!(watch(&Ledger::default(), directory.path(), 32 << 20), None);
    }

    #[test]
    fn a_tree_without_end_is_over_any_limit() {
        let directory = tempfile::tempdir().unwrap();
        let deep = (0..DEPTH_MAX + 2).fold(directory.path().to_owned(), |path, _| path.join("d"));
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(watch(&Ledger::default(), directory.path(), u64::MAX), Some(Overfull::Limit));
    }

    #[test]
    fn a_count_holds_until_space_falls_or_time_passes() {
        let of = |age: u64, took_ms: u64| Counted {
            tree: Tree::default(),
            free_bytes: 1_000,
            at: Instant::now().checked_sub(Duration::from_secs(age)).unwrap(),
            took: Duration::from_millis(took_ms),
        };
        assert!(of(0, 1).holds(1_000, 800) && of(0, 1).holds(900, 800) && of(0, 1).holds(5_000, 800));
        assert!(!of(0, 1).holds(899, 800));
        assert!(!of(21, 1).holds(1_000, 800));
        assert!(of(21, 200).holds(1_000, 800), "a slow count is not made all the time");
    }
}
