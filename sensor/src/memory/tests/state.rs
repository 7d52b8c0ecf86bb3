//! The state file: written, torn, damaged, read back.

use std::{collections::HashSet, net::SocketAddr};

use super::*;
use crate::memory::persist::Record;

fn filled() -> Memory {
    let mut memory = Memory::new(SECRET, small());
    let server = SocketAddr::new([10, 0, 0, 1].into(), 80);
    let service = ServiceUse { server, cgroup: 7, name: None, audiences: &[] };
    for k in 0..6_u8 {
        let name = format!("t{k}");
        let used = Use {
            check: if k % 2 == 0 { Check::Verified } else { Check::Unverifiable },
            issuer: Some("i"),
            subject: Some(if k % 3 == 0 { "alice" } else { "bob" }),
            id: Some(&name),
            audiences: &["a", "b"],
            expires: Some(START as i64 + 3_600),
            algorithm: Some("ES256"),
            roles: &["user"],
            user_agent: Some(3),
            ..Use::new(keys(&name, &name), [192, 0, 2, k].into(), service)
        };
        for step in 0..u64::from(k) {
            let client = [192, 0, 2, k + step as u8].into();
            let seen = memory.observe(at(10 * step), &Use { client, ..used });
            memory.answered(at(10 * step), seen.handle, 200);
        }
        memory.observe(at(60), &Use { purpose: Purpose::SingleUse, ..used });
    }
    memory.revoked(at(61), &Revocation::Id { issuer: Some("i"), id: "t3" });
    memory
}

/// All records, as bytes.
fn records(memory: &Memory) -> HashSet<Vec<u8>> {
    fn all<E: Entry + Record>(table: &Table<E>) -> impl Iterator<Item = Vec<u8>> + '_ {
        table.iter().map(|entry| {
            let mut out = vec![E::KIND];
            entry.encode(&mut out);
            out
        })
    }
    all(&memory.tokens.table)
        .chain(all(&memory.subjects))
        .chain(all(&memory.services))
        .chain(all(&memory.families))
        .chain(all(&memory.proofs))
        .chain(all(&memory.ended))
        .collect()
}

fn snapshot(memory: &mut Memory) -> Vec<u8> {
    let mut out = Vec::new();
    memory.snapshot(&mut out).unwrap();
    out
}

#[test]
fn comes_back_whole() {
    let mut memory = filled();
    let state = snapshot(&mut memory);
    let (mut back, lost) = Memory::restore(SECRET, small(), &state).unwrap();
    assert_eq!(lost, Lost::default());
    assert_eq!(records(&back), records(&memory));
    assert_eq!(back.clock, memory.clock);
    assert_eq!(back.next_service, memory.next_service);
    // Nothing is left to write.
    assert_eq!(back.write_changes(1_000, &mut Vec::new()).unwrap(), 0);
    assert_eq!(snapshot(&mut back).len(), state.len());
}

#[test]
fn a_log_of_changes_and_a_snapshot_in_pieces_come_back_whole() {
    let mut memory = filled();
    let mut file = snapshot(&mut memory);
    memory.revoked(at(70), &Revocation::Session { issuer: "i", session: "s" });
    memory.revoked(at(71), &Revocation::Session { issuer: "i", session: "r" });
    assert_eq!(memory.write_changes(1, &mut file).unwrap(), 1);
    assert_eq!(memory.write_changes(1, &mut file).unwrap(), 0);
    let (back, lost) = Memory::restore(SECRET, small(), &file).unwrap();
    assert_eq!((lost, records(&back)), (Lost::default(), records(&memory)));

    let mut file = Vec::new();
    memory.begin_snapshot(&mut file).unwrap();
    while memory.write_changes(3, &mut file).unwrap() > 0 {}
    let (back, lost) = Memory::restore(SECRET, small(), &file).unwrap();
    assert_eq!((lost, records(&back)), (Lost::default(), records(&memory)));
}

#[test]
fn every_torn_tail_loses_the_tail_and_says_so() {
    let mut memory = filled();
    let (state, whole) = (snapshot(&mut memory), records(&memory));
    let mut before = 0;
    for end in 0..state.len() {
        match Memory::restore(SECRET, small(), &state[..end]) {
            Err(error) => assert!(end < persist::HEADER, "{error} at {end}"),
            Ok((back, lost)) => {
                let got = records(&back);
                assert!(got.is_subset(&whole));
                assert!(got.len() >= before, "a longer file gave less");
                before = got.len();
                // Everything is either there or counted, once the batch's head is there.
                if before > 0 {
                    assert_eq!(got.len() as u64 + lost.records, whole.len() as u64);
                }
            }
        }
    }
    assert_eq!(before, whole.len() - 1);
}

#[test]
fn no_damaged_bit_invents_state() {
    let mut memory = filled();
    let (state, whole) = (snapshot(&mut memory), records(&memory));
    let mut damaged = state.clone();
    for at in 0..state.len() {
        for bit in if at < 64 { 0..8 } else { at % 8..at % 8 + 1 } {
            damaged[at] ^= 1 << bit;
            match Memory::restore(SECRET, small(), &damaged) {
                Err(_) => assert!(at < persist::HEADER),
                Ok((back, lost)) => {
                    let got = records(&back);
                    assert!(got.is_subset(&whole));
                    assert_ne!(lost, Lost::default());
                }
            }
            damaged[at] = state[at];
        }
    }
}

#[test]
fn a_file_of_another_installation_or_none_is_refused() {
    let state = snapshot(&mut filled());
    let restore = |secret, bytes: &[u8]| Memory::restore(secret, small(), bytes).map(|_| ());
    assert_eq!(restore([0; 16], &state), Err(RestoreError::OtherSecret));
    assert_eq!(restore(SECRET, b""), Err(RestoreError::NotAState));
    assert_eq!(restore(SECRET, &[b'x'; 100]), Err(RestoreError::NotAState));
}

#[test]
fn a_smaller_limit_keeps_what_fits() {
    let state = snapshot(&mut filled());
    let config = MemoryConfig { tokens: 2, ..small() };
    let (back, _) = Memory::restore(SECRET, config, &state).unwrap();
    assert_eq!(back.counters().tokens, 2);
    assert_eq!(back.counters().tokens_forgotten.size, 3);
}

#[test]
fn a_token_is_as_small_as_the_budget_of_a_million_needs() {
    assert!(size_of::<Token>() <= 152, "{}", size_of::<Token>());
}

#[test]
fn a_subject_is_forgotten_and_the_file_has_it_no_more() {
    let mut memory = filled();
    let before = records(&memory);
    assert_eq!(memory.forget(&["x".to_owned(), String::new()], "alice"), 0);
    assert_eq!(records(&memory), before);
    let counters = memory.counters();
    assert_eq!(memory.forget(&["i".to_owned(), String::new()], "alice"), 1);
    let after = records(&memory);
    assert!(after.is_subset(&before));
    // A token, and what the subject was allowed; what was revoked stays so.
    assert_eq!(before.len() - after.len(), 2);
    let left = memory.counters();
    assert_eq!((left.tokens, left.subjects), (counters.tokens - 1, counters.subjects - 1));
    assert_eq!((left.revocations, left.proofs), (counters.revocations, counters.proofs));
    assert_eq!(left.tokens_forgotten, counters.tokens_forgotten, "no loss");
    let whole = snapshot(&mut memory);
    let (restored, lost) = Memory::restore(SECRET, small(), &whole).unwrap();
    assert_eq!((records(&restored), lost), (after, Lost::default()));
    assert_eq!(memory.forget(&["i".to_owned()], "bob"), 4);
    assert_eq!(memory.counters().tokens, 0);
}
