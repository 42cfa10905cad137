//! Space on disk: how much there is, and making it free again, whatever strangers' code left behind.

use crate::sandbox::sys;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file system, as ordinary users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// The file system that a path is on.
pub fn space(path: &Path) -> io::Result<Space> {
    let (free_bytes, total_bytes) = sys::space(path)?;
    Ok(Space { free_bytes, total_bytes })
}

/// Removes a file or a directory and all in it; absent is removed. Links are not followed.
///
/// By `rm`, which takes directories nested a hundred thousand deep: a function that calls itself for each would end the
/// process. What its owner may not read or enter (mode 000) goes too.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if !exists(path)? {
        return Ok(());
    }
    let first = run("rm", &["-rf", "--one-file-system", "--"], path)?;
    if !exists(path)? {
        return Ok(());
    }
    // Changes nothing behind links. What it cannot change, `rm` will complain about.
    let _ = run("chmod", &["-R", "u+rwx", "--"], path);
    let second = run("rm", &["-rf", "--one-file-system", "--"], path)?;
    if exists(path)? {
        let said = if second.is_empty() { first } else { second };
        let words = format!("cannot remove {}: {}", path.display(), said.lines().next().unwrap_or_default());
        return Err(io::Error::other(words));
    }
    Ok(())
}

/// Removes all that is in a directory.
pub fn empty(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn exists(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What it complained about.
fn run(program: &str, options: &[&str], path: &Path) -> io::Result<String> {
    let output = Command::new(program).args(options).arg(path).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn whatever_was_left_goes_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (job, outside) = (place.path().join("job"), place.path().join("outside"));
        std::fs::create_dir_all(job.join("a/closed")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        symlink(&outside, job.join("link")).unwrap();
        symlink(&outside, job.join("a/closed/link")).unwrap();
        std::fs::write(job.join("-rf"), "x").unwrap();
        std::fs::write(job.join("a line\nand another"), "x").unwrap();
        std::fs::set_permissions(job.join("a/closed"), std::fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&job).unwrap();
        assert!(!job.exists() && outside.join("precious").exists());
        remove_tree(&job).unwrap();
    }

    #[test]
    fn a_directory_is_emptied() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("c"), "x").unwrap();
        empty(place.path()).unwrap();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        assert!(empty(&place.path().join("absent")).is_err());
    }

    #[test]
    fn a_file_system_has_a_size() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
    }
}
