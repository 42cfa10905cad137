//! HTTP/1 as the gateway reads it: the same in any pieces, and what goes on is read as it was judged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::framing(data));
