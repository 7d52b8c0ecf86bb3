//! What fuzzing feeds: every reader of bytes that others make, and the pipeline as a whole.
//!
//! Built for fuzzing (`cargo xtask fuzz` sets `--cfg fuzzing`) and for this crate's tests, which
//! put every capture case through every target, and what was once found. A target takes any bytes,
//! and panics where something does not hold that has to. Readers that a room keeps to itself are
//! fed by its own `fuzz` module.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "what does not hold shall fail"
)]

mod guard;
mod local;
mod messages;
mod pipeline;
mod script;
#[cfg(test)]
mod seeds;
mod state;
mod tokens;

use std::{io::Cursor, path::Path};

pub(crate) use self::script::Script;
pub use self::{
    guard::guard_scan,
    local::{config, lists, local},
    messages::{http, request},
    pipeline::pipeline,
    state::state,
    tokens::{keys, token},
};
use crate::{
    capture::{Input, file::CaptureFile},
    flow::bench,
};

/// All targets by their names, which those in `fuzz/fuzz_targets` have too.
pub const TARGETS: [(&str, fn(&[u8])); 13] = [
    ("capture_file", capture_file),
    ("config", config),
    ("guard_scan", guard_scan),
    ("http", http),
    ("keys", keys),
    ("lists", lists),
    ("local", local),
    ("pipeline", pipeline),
    ("reassembly", reassembly),
    ("records", records),
    ("request", request),
    ("state", state),
    ("token", token),
];

/// A capture file, pcap or pcapng.
pub fn capture_file(data: &[u8]) {
    let source = Cursor::new(data.to_vec());
    let Ok(mut file) = CaptureFile::from_reader(Path::new("fuzz"), source, &[]) else { return };
    let mut payload = 0;
    while let Ok(Some(input)) = file.next() {
        let Input::Segment(segment) = input else { panic!("a file holds segments") };
        assert!(segment.payload.len() <= segment.len as usize);
        payload += segment.payload.len();
    }
    assert!(payload <= data.len(), "more than the file has");
    assert!(matches!(file.next(), Ok(None)), "it goes on behind its end");
}

/// What the kernel programs hand over.
pub fn records(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 2 {
        0 => crate::capture::live::fuzz::records(data),
        _ => crate::enforce::fuzz::held(data),
    }
}

/// Segments in any order, against the models of `flow::bench`.
pub fn reassembly(data: &[u8]) {
    let mut input = arbitrary::Unstructured::new(data);
    let _out_of_bytes = reassemble(&mut input);
}

fn reassemble(input: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<()> {
    let (kind, back) = (input.int_in_range(0..=3_u8)?, input.int_in_range(0..=149_u32)?);
    let (lags, waits) = (input.arbitrary()?, input.arbitrary()?);
    if kind == 3 {
        let mut steps = Vec::new();
        while !input.is_empty() && steps.len() < 200 {
            let near = input.arbitrary::<bool>()?;
            let number = |input: &mut arbitrary::Unstructured<'_>| match near {
                true => input.int_in_range(0..=399),
                false => input.arbitrary(),
            };
            let seq = number(input)?;
            let (len, kind) = (input.int_in_range(0..=199)?, input.int_in_range(0..=63)?);
            let next = if input.arbitrary()? { Some(number(input)?) } else { None };
            let read = if input.ratio(1, 3)? { u64::MAX } else { input.int_in_range(0..=59)? };
            steps.push((seq, len, kind, next, read, input.int_in_range(0..=399)?));
        }
        bench::limits_hold_on_hostile_input(&steps, lags);
        return Ok(());
    }
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < 200 {
        let (start, len) = (input.int_in_range(0..=99_usize)?, input.int_in_range(0..=29_usize)?);
        let shift = if kind < 2 && input.ratio(1, 4)? { 100_u8 } else { 0 };
        let bytes = (start..start + len).map(|k| (k as u8).wrapping_add(shift)).collect();
        steps.push(bench::Step {
            start,
            bytes,
            taken: input.ratio(4, 5)?,
            seen: input.ratio(5, 6)?,
            read: input.int_in_range(0..=39)?,
            confirm: input.arbitrary()?,
            pause: input.int_in_range(0..=119)?,
        });
    }
    match kind {
        0 => bench::reads_what_linux_reads(&steps, back),
        1 => bench::reads_what_linux_reads_or_says_that_it_may_not(&steps, back, lags, waits),
        _ => bench::what_was_not_seen_is_a_gap_in_its_place(&steps, back),
    }
    Ok(())
}
