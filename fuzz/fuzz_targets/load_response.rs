//! HTTP answers of a server under test.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| perfsuite::fuzzing::load_response(data));
