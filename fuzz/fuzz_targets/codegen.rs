//! Executables and linker maps that strangers built.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| perfsuite::fuzzing::codegen(data));
