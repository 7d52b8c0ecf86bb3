//! A capture file, or any observations in any order, through the whole pipeline.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::pipeline(data));
