//! What compilers, formatters and tests print, read for findings.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| perfsuite::fuzzing::tool_output(data));
