//! What a runner uploads.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::evidence(data));
