//! What lies where in a process: its mapped code, by `/proc/PID/maps`.

use std::path::{Path, PathBuf};

/// Mappings of code of one process: programs with hundreds of plugins have some thousands.
const MAPPINGS_MAX: usize = 8_192;

/// Code of a file, mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    /// In the file.
    pub(super) offset: u64,
    /// As the process sees it; in brackets what is no file.
    pub(super) path: PathBuf,
}

/// The code of one process, by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps(Vec<Mapping>);

impl Maps {
    /// Empty when the process is gone.
    pub(super) fn of(process: u32) -> Maps {
        Maps::parse(&std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default())
    }

    fn parse(text: &str) -> Maps {
        let mut mappings: Vec<Mapping> = text.lines().filter_map(mapping).take(MAPPINGS_MAX).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        Maps(mappings)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|mapping| mapping.path.as_path())
    }

    pub(super) fn at(&self, address: u64) -> Option<&Mapping> {
        let after = self.0.partition_point(|mapping| mapping.start <= address);
        self.0.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)
    }
}

/// `START-END rwxp OFFSET DEVICE INODE   PATH`, where it can be run.
fn mapping(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (rights, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (_device, rest) = rest.split_once(' ')?;
    let (_inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    if rights.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let path = path.trim_start();
    // What was replaced or removed since is told with a word that is no part of its name.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Some(Mapping { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_by_address() {
        let maps = Maps::parse(
            "7f10-7f20 r-xp 00001000 fe:00 123      /usr/lib/a b.so\n\
             5500-5600 r-xp 00002000 fe:00 12 /build/bench (deleted)\n\
             5600-5700 rw-p 00003000 fe:00 12 /build/bench\n\
             9000-9001 r-xp 00000000 00:00 0 [vdso]\n\
             nonsense\n\
             a000-b000 r-xp 00000000 00:00 0 \n",
        );
        let found =
            |address| maps.at(address).map(|mapping| (mapping.path.to_str().unwrap(), mapping.offset));
        assert_eq!(found(0x5500), Some(("/build/bench", 0x2000)));
        assert_eq!(found(0x55ff), Some(("/build/bench", 0x2000)));
        assert_eq!(found(0x5600), None, "no code");
        assert_eq!(found(0x7f1f), Some(("/usr/lib/a b.so", 0x1000)));
        assert_eq!(found(0x9000), Some(("[vdso]", 0)));
        assert_eq!(found(0xa000), Some(("", 0)));
        assert_eq!(found(0), None);
    }

    #[test]
    fn ones_own_code_is_mapped() {
        let here = ones_own_code_is_mapped as fn() as usize as u64;
        assert!(Maps::of(std::process::id()).at(here).is_some_and(|mapping| mapping.path.is_absolute()));
        assert!(Maps::of(0).at(here).is_none());
    }
}
