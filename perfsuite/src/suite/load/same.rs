//! Whether both sides of a scenario are the same program with the same files: then nothing can have changed.

use super::SideFiles;
use crate::model::LoadSuite;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes compared at once.
const PIECE_BYTES: usize = 64 << 10;

/// True when every file that the server's command names is byte for byte the same on both sides, a built one among
/// them. False in doubt: where something cannot be read, or is a directory.
pub fn identical(load: &LoadSuite, base: SideFiles<'_>, head: SideFiles<'_>) -> bool {
    let mut built = false;
    for word in &load.server {
        let (one, other) = match (file(word, base), file(word, head)) {
            (Some(one), Some(other)) => (one, other),
            _ if word.contains("{target}") || word.contains("{checkout}") => return false,
            _ => continue,
        };
        if !same_bytes(&one, &other).unwrap_or(false) {
            return false;
        }
        built |= word.starts_with("{target}");
    }
    built
}

/// The file that a word is the path of.
fn file(word: &str, side: SideFiles<'_>) -> Option<PathBuf> {
    let below = |directory: &Path, rest: &str| directory.join(rest);
    let target = word.strip_prefix("{target}/").map(|rest| below(side.target, rest));
    target.or_else(|| word.strip_prefix("{checkout}/").map(|rest| below(side.checkout, rest)))
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (one_is, other_is) = (fs::metadata(one)?, fs::metadata(other)?);
    if !one_is.is_file() || !other_is.is_file() || one_is.len() != other_is.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut unread = one_is.len();
    while unread > 0 {
        let piece = unread.min(PIECE_BYTES as u64) as usize;
        one.read_exact(&mut left[..piece])?;
        other.read_exact(&mut right[..piece])?;
        if left[..piece] != right[..piece] {
            return Ok(false);
        }
        unread -= piece as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(server: &[&str]) -> LoadSuite {
        let text = serde_json::json!({ "build": [], "server": server, "requests": [] });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn the_same_program_and_files_are_identical_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        for side in ["base", "head"] {
            let side = directory.path().join(side);
            fs::create_dir_all(&side).unwrap();
            fs::write(side.join("server"), vec![7; 100_000]).unwrap();
            fs::write(side.join("conf"), side.to_string_lossy().len().to_string()).unwrap();
        }
        let (base, head) = (directory.path().join("base"), directory.path().join("head"));
        let check = |words: &[&str]| {
            let base = SideFiles { checkout: &base, target: &base };
            let head = SideFiles { checkout: &head, target: &head };
            identical(&load(words), base, head)
        };
        assert!(check(&["{target}/server", "--listen", "{listen}"]));
        assert!(check(&["{target}/server", "--config", "{checkout}/conf"]));
        assert!(!check(&["python3", "{checkout}/conf"]), "nothing built is named");
        assert!(!check(&["{target}/server", "--config={checkout}/conf"]), "not the path of a file");
        assert!(!check(&["{target}/server", "{checkout}/missing"]));
        let mut changed = vec![7; 100_000];
        changed[99_999] = 8;
        fs::write(head.join("server"), changed).unwrap();
        assert!(!check(&["{target}/server", "--listen", "{listen}"]));
    }
}
