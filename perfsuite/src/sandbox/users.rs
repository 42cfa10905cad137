//! The users that measured code runs as when the runner is root: another for each runner, so that jobs which run beside
//! each other share no limit that counts by user, and none could touch the other's processes.

use anyhow::Context;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

/// Numbers that no system hands out: beyond those of people and of services, and between the ranges that systemd takes
/// for homes (to 60,577) and for services of a moment (from 61,184).
const NUMBERS: RangeInclusive<u32> = 61_000..=61_183;
/// Its files say which numbers are taken. Only root writes there.
const TAKEN: &str = "/run/paceline-users";

/// A number that is ours until this is dropped, or the process is gone.
#[derive(Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    /// Locked.
    _taken: File,
}

/// The first number that nobody has.
pub(super) fn take() -> anyhow::Result<User> {
    take_in(Path::new(TAKEN))
}

fn take_in(directory: &Path) -> anyhow::Result<User> {
    use std::os::unix::fs::DirBuilderExt;
    let cannot = || format!("cannot use {}", directory.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(cannot)?;
    for uid in NUMBERS {
        let path = directory.join(uid.to_string());
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).with_context(cannot)?;
        if file.try_lock().is_ok() {
            return Ok(User { uid, _taken: file });
        }
    }
    anyhow::bail!("{} runners are at work on this machine; no more fit", NUMBERS.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_number_that_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("users");
        let first = take_in(&place).unwrap();
        let second = take_in(&place).unwrap();
        assert_eq!((first.uid, second.uid), (61_000, 61_001));
        drop(first);
        assert_eq!(take_in(&place).unwrap().uid, 61_000);
    }
}
