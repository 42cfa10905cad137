//! Requests of HTTP/2 in the shape of HTTP/1: one each, and the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::http2(data));
