//! Headers and body of a webhook.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bot::fuzzing::webhook(data));
