//! What local callers ask, and lines of events in every shape.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::local(data));
