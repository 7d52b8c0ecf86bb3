//! Capture files, pcap and pcapng.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jotwatch::fuzz::capture_file(data));
