//! Feeds the reader of the state file; see [`crate::fuzz`].
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what does not hold shall fail")]

use super::{
    Memory, MemoryConfig,
    hash::{Is, Names},
    persist::header,
};
use crate::{fuzz::Script, time::Time};

const SECRET: [u8; 16] = [7; 16];

/// Records, each of a kind, a length of one byte and so much, under checks that fit.
pub(crate) fn restore(data: &[u8]) {
    let names = Names::new(SECRET);
    let mut bytes = header(&names).to_vec();
    let mut script = Script(data);
    while !script.is_empty() {
        let (kind, len) = (script.byte(), script.byte());
        let payload = script.take(len.into());
        let start = bytes.len();
        bytes.push(kind % 8);
        bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        bytes.extend_from_slice(payload);
        let check = names.short(Is::Record, &[&bytes[start..]]);
        // Now and then one that is damaged.
        bytes.extend_from_slice(&(check ^ u64::from(kind == u8::MAX)).to_le_bytes());
    }
    // And the same as it came.
    let _none = Memory::restore(SECRET, config(), data);
    let (mut memory, _lost) = Memory::restore(SECRET, config(), &bytes).unwrap();
    let before = memory.counters();
    let mut saved = Vec::new();
    memory.begin_snapshot(&mut saved).unwrap();
    while memory.write_changes(16, &mut saved).unwrap() > 0 {}
    let (mut again, lost) = Memory::restore(SECRET, config(), &saved).unwrap();
    assert_eq!((lost.records, lost.torn_bytes), (0, 0), "what was saved is not read");
    let after = again.counters();
    assert_eq!((before.tokens, before.subjects), (after.tokens, after.subjects));
    again.tick(Time::from_unix_secs(1_750_000_000));
    again.tick(Time::from_unix_secs(u64::from(u32::MAX)));
}

fn config() -> MemoryConfig {
    MemoryConfig {
        tokens: 64,
        subjects: 64,
        services: 16,
        key_ids: 16,
        revocations: 16,
        proofs: 16,
        ..MemoryConfig::default()
    }
}
