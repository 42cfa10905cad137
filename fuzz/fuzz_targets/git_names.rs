//! Commits, branches, ranges, repositories.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::git_names(data));
