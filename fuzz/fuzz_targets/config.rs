//! A repository's configuration.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::config(data));
