//! Files of state and of models.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::state(data));
