//! Commands in comments.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::comment_command(data));
