//! Lines that a bench prints.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| perfsuite::fuzzing::bench_output(data));
