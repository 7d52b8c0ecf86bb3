//! Feeds, denylist and revocation files, routes, databases of networks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::lists(data));
