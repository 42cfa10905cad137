//! Commit messages, and what is found in them.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::commit_message(data));
