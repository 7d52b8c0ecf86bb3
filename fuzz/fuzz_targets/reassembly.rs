//! Segments in any order against a dumb model of Linux's receive queue.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::reassembly(data));
