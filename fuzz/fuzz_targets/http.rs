//! Both directions of a connection, cut and with gaps.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::http(data));
