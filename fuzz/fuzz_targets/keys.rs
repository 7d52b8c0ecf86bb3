//! Keys in every format, and what an issuer's server answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::keys(data));
