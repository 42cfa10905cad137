//! Target directories kept between jobs, so that dependencies are not built again.
//!
//! Each repository has a place of its own, since its build scripts can leave there what they like. Within it, keyed by
//! what decides how dependencies build: lockfile, toolchain, flags. Written after builds of the base only; a job works on
//! a copy, so nothing from a pull request's build is ever reused.

use super::home::read_bounded;
use super::{Places, Task, copy_tree, say, stopped};
use crate::disk;
use crate::model::wire::Phase;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Entries that are kept: a target directory is some hundred megabytes, and a repository changes its lockfile a few
/// times a week.
const ENTRIES_MAX: usize = 4;
/// Changes when what is stored, or how it is built, changes.
const FORMAT: &str = "4";

/// Starts from the stored target directory, where there is one.
pub(super) fn restore(task: &Task, places: &Places) -> anyhow::Result<()> {
    let Some(entry) = entry(task, places) else { return Ok(()) };
    if !entry.is_dir() {
        return Ok(());
    }
    stopped(task.observer)?;
    say(task.observer, Phase::Building, "starting from the kept build of the dependencies");
    let target = places.target();
    disk::remove_tree(&target)?;
    if let Err(error) = copy_tree(&entry, &target) {
        // A broken entry costs a build, not the job.
        tracing::warn!(error = format!("{error:#}"), "the kept build cannot be used");
        let _ = disk::remove_tree(&entry);
        let _ = disk::remove_tree(&target);
        std::fs::create_dir_all(&target)?;
    }
    touch(&entry);
    touch(&place(task));
    Ok(())
}

/// Keeps the target directory, unless its like is kept already. Failing to is no reason to fail the job.
pub(super) fn store(task: &Task, places: &Places) {
    let Some(entry) = entry(task, places) else { return };
    if entry.is_dir() {
        return;
    }
    if let Err(error) = store_as(&entry, &places.target()) {
        tracing::warn!(error = format!("{error:#}"), "the build is not kept");
    }
}

fn store_as(entry: &Path, target: &Path) -> anyhow::Result<()> {
    let Some(directory) = entry.parent() else { return Ok(()) };
    std::fs::create_dir_all(directory)?;
    evict(directory, ENTRIES_MAX - 1)?;
    // Whole or not at all: copied aside, then renamed.
    let aside = tempfile::Builder::new().prefix(".storing-").tempdir_in(directory)?;
    let copy = aside.path().join("target");
    copy_tree(target, &copy)?;
    match std::fs::rename(&copy, entry) {
        // Another job was sooner.
        Err(_) if entry.is_dir() => Ok(()),
        result => Ok(result?),
    }
}

/// Removes the entries that were used longest ago.
fn evict(directory: &Path, keep: usize) -> anyhow::Result<()> {
    let mut entries = entries(directory);
    entries.sort();
    let surplus = entries.len().saturating_sub(keep);
    for (_, entry) in entries.drain(..surplus) {
        disk::remove_tree(&entry)?;
    }
    Ok(())
}

/// The mark inside an entry whose time says when it was used last: the directory's own time is part of the copy.
const MARK: &str = ".last-used";

fn touch(entry: &Path) {
    // Only decides what is evicted first.
    let mark = entry.join(MARK);
    // A build may have left a link there.
    let _ = std::fs::remove_file(&mark);
    let _ = std::fs::File::create_new(&mark);
}

fn used(entry: &Path) -> Option<SystemTime> {
    let times = [entry.join(MARK), entry.to_owned()];
    times.iter().find_map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok())
}

fn entry(task: &Task, places: &Places) -> Option<PathBuf> {
    let lock = read_bounded(&places.source().join("Cargo.lock"))?;
    let flags = read_bounded(&places.source().join(".cargo/config.toml")).unwrap_or_default();
    let walls = if task.sandbox.walled() { "walled" } else { "bare" };
    let mut hash = Sha256::new();
    for part in [FORMAT.as_bytes(), places.rustc.as_bytes(), walls.as_bytes(), &flags, &lock] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key = hex::encode(hash.finalize());
    Some(place(task).join(TARGETS).join(&key[..32]))
}

const TARGETS: &str = "targets";

/// The part of the cache that is this repository's.
pub(super) fn place(task: &Task) -> PathBuf {
    place_of(&task.cache, task.repository_name)
}

pub(super) fn place_of(cache: &Path, repository_name: &str) -> PathBuf {
    let digest = hex::encode(Sha256::digest(repository_name.as_bytes()));
    cache.join("repositories").join(&digest[..32])
}

/// Frees space below `cache` until `reserve_bytes` are free: kept builds of any repository, the longest unused first,
/// then whole repositories' places. Nothing else may be at work there. What was freed, in entries.
pub fn make_room(cache: &Path, reserve_bytes: u64) -> anyhow::Result<usize> {
    let repositories = cache.join("repositories");
    let enough =
        || -> anyhow::Result<bool> { Ok(!cache.exists() || disk::space(cache)?.free_bytes >= reserve_bytes) };
    let mut freed = 0;
    let places = entries(&repositories);
    let mut targets: Vec<(SystemTime, PathBuf)> =
        places.iter().flat_map(|(_, place)| entries(&place.join(TARGETS))).collect();
    targets.sort();
    let mut whole: Vec<(SystemTime, PathBuf)> = places;
    whole.sort();
    for (_, entry) in targets.into_iter().chain(whole) {
        if enough()? {
            break;
        }
        tracing::info!(entry = %entry.display(), "removing a kept build: the disk is nearly full");
        disk::remove_tree(&entry)?;
        freed += 1;
    }
    Ok(freed)
}

/// What is below a directory, with the time of its last use.
fn entries(directory: &Path) -> Vec<(SystemTime, PathBuf)> {
    let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    found
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter_map(|entry| Some((used(&entry.path())?, entry.path())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_longest_unused_go_first() {
        let root = tempfile::tempdir().unwrap();
        for (age, name) in ["old", "middle", "new"].iter().rev().enumerate() {
            let entry = root.path().join(name);
            std::fs::create_dir(&entry).unwrap();
            touch(&entry);
            let mark = std::fs::File::options().write(true).open(entry.join(MARK)).unwrap();
            mark.set_modified(SystemTime::now() - Duration::from_secs(60 * age as u64)).unwrap();
        }
        std::fs::create_dir(root.path().join(".storing-x")).unwrap();
        evict(root.path(), 1).unwrap();
        assert!(root.path().join("new").is_dir());
        assert!(root.path().join(".storing-x").is_dir());
        assert!(!root.path().join("old").exists() && !root.path().join("middle").exists());
    }

    #[test]
    fn room_is_made_by_the_longest_unused_of_all_repositories() {
        let cache = tempfile::tempdir().unwrap();
        let entry = |repository: &str, name: &str, age: u64| {
            let entry = cache.path().join("repositories").join(repository).join(TARGETS).join(name);
            std::fs::create_dir_all(&entry).unwrap();
            touch(&entry);
            let mark = std::fs::File::options().write(true).open(entry.join(MARK)).unwrap();
            mark.set_modified(SystemTime::now() - Duration::from_secs(60 * age)).unwrap();
            entry
        };
        let kept = [entry("a", "new", 1), entry("b", "old", 9), entry("a", "older", 99)];
        assert_eq!(make_room(cache.path(), 0).unwrap(), 0);
        assert!(kept.iter().all(|entry| entry.exists()));
        // No disk has that much: everything goes, builds first.
        assert_eq!(make_room(cache.path(), u64::MAX).unwrap(), 5);
        assert_eq!(std::fs::read_dir(cache.path().join("repositories")).unwrap().count(), 0);
        assert_eq!(make_room(&cache.path().join("absent"), u64::MAX).unwrap(), 0);
    }

    #[test]
    fn what_is_stored_is_a_copy() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("a"), "1").unwrap();
        let entry = root.path().join("targets/key");
        store_as(&entry, &target).unwrap();
        std::fs::write(target.join("a"), "2").unwrap();
        assert_eq!(std::fs::read_to_string(entry.join("a")).unwrap(), "1");
        store_as(&entry, &target).unwrap();
        assert_eq!(std::fs::read_dir(root.path().join("targets")).unwrap().count(), 1, "nothing left aside");
    }
}
