//! CODEOWNERS, and who owns what by it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::codeowners(data));
