//! The configuration file, and the small languages in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::config(data));
