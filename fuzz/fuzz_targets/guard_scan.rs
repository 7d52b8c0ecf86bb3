//! The kernel's reader of heads against the daemon's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::guard_scan(data));
