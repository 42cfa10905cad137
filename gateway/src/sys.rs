//! All unsafe code of this crate, each block with its reason. Nothing here depends on what lies above it, and nothing that
//! is safe to call from there can break a promise that is made here.
//!
//! | | |
//! |---|---|
//! | `uring` | what is asked of the kernel through io_uring; `chunks` is the memory that it writes what came into |
//! | `profiling` | a signal that copies the stack it interrupts, the walk up one's own, an allocator that tells what it does |
//!
//! `scripts/miri` runs what of it needs no kernel under Miri.
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block, unsafe_op_in_unsafe_fn)]

#[cfg(all(feature = "profile", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod profiling;
pub mod uring;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
            match entry.path() {
                path if path.is_dir() => sources(&path, into),
                path => into.push(path),
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files, and nothing unsafe")]
    fn unsafe_code_is_allowed_here_alone() {
        let (own, mut all) = (Path::new(env!("CARGO_MANIFEST_DIR")), Vec::new());
        ["src", "tests", "benches"].iter().for_each(|directory| sources(&own.join(directory), &mut all));
        // In two halves, which this file does not have as one.
        let lint = concat!("unsafe", "_code)]");
        all.retain(|file| fs::read(file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(lint)));
        assert_eq!(all, [own.join("src/sys.rs")]);
    }
}
