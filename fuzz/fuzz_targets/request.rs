//! One request: its head both ways, its tokens, its client, its score.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::request(data));
