//! Target directories kept between jobs, so that dependencies are not built again.
//!
//! Keyed by what decides how dependencies build: lockfile, toolchain, flags. Written after builds of the base only; a
//! job works on a copy, so nothing from a pull request's build is ever reused.

use super::home::read_bounded;
use super::{Places, Task, copy_tree, say, stopped};
use crate::model::wire::Phase;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Entries that are kept: a target directory is some hundred megabytes, and a repository changes its lockfile a few
/// times a week.
const ENTRIES_MAX: usize = 4;
/// Changes when what is stored, or how it is built, changes.
const FORMAT: &str = "3";

/// Starts from the stored target directory, where there is one.
pub(super) fn restore(task: &Task, places: &Places) -> anyhow::Result<()> {
    let Some(entry) = entry(task, places) else { return Ok(()) };
    if !entry.is_dir() {
        return Ok(());
    }
    stopped(task.observer)?;
    say(task.observer, Phase::Building, "starting from the kept build of the dependencies");
    let target = places.target();
    std::fs::remove_dir_all(&target)?;
    if let Err(error) = copy_tree(&entry, &target) {
        // A broken entry costs a build, not the job.
        tracing::warn!(error = format!("{error:#}"), "the kept build cannot be used");
        let _ = std::fs::remove_dir_all(&entry);
        let _ = std::fs::remove_dir_all(&target);
        std::fs::create_dir_all(&target)?;
    }
    touch(&entry);
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
    let mut entries: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(directory)?
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter_map(|entry| Some((used(&entry.path())?, entry.path())))
        .collect();
    entries.sort();
    let surplus = entries.len().saturating_sub(keep);
    for (_, entry) in entries.drain(..surplus) {
        std::fs::remove_dir_all(entry)?;
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
    Some(task.cache.join("targets").join(&key[..32]))
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
