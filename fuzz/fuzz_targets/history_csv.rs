//! A history as comma-separated values.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| perfsuite::fuzzing::history_csv(data));
