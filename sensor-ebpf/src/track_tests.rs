//! The state of a connection, and that whatever passes was read as TCP takes it.

use std::{vec, vec::Vec};

use proptest::prelude::*;

use super::{
    AHEAD, BODY, BROKEN, KNOWN, OLD, READ, REFUSED, SETTLED_AFTER, Track, UNKNOWN, UNSETTLED,
};

fn at(start: u32) -> Track {
    Track { mode: KNOWN, start, ..Track::NEW }
}

#[test]
fn messages_follow_each_other_by_what_tcp_has_taken() {
    let mut t = at(1000);
    assert_eq!(t.arrive(1000, 100, 1000, 1), READ);
    assert_eq!((t.offset, t.have), (0, 0));
    // A head of 60 bytes and a body of 500.
    t.pass(1100, 1560, KNOWN, 1);
    // Not taken yet: the body ahead waits, another version does not pass.
    assert_eq!(t.arrive(1100, 100, 1000, 2), AHEAD);
    assert_eq!(t.arrive(1000, 100, 1000, 2), UNSETTLED);
    // Taken: the body passes, in any order; the next message is read, also behind its end.
    assert_eq!(t.arrive(1000, 100, 1100, 3), OLD);
    assert_eq!(t.arrive(1300, 260, 1100, 3), BODY);
    assert_eq!(t.arrive(1100, 460, 1100, 3), BODY);
    assert_eq!(t.arrive(1550, 100, 1100, 3), AHEAD);
    assert_eq!(t.arrive(1550, 100, 1550, 3), READ);
    assert_eq!((t.offset, t.have), (10, 0));
}

#[test]
fn what_tcp_refuses_is_read_anew() {
    let mut t = at(5);
    assert_eq!(t.arrive(5, 10, 5, 1), READ);
    t.pass(15, 15, KNOWN, 1);
    assert_eq!(t.arrive(5, 20, 5, 1 + SETTLED_AFTER), UNSETTLED);
    assert_eq!(t.arrive(5, 20, 5, 2 + SETTLED_AFTER), READ);
    assert_eq!((t.offset, t.have), (0, 0));
}

#[test]
fn pieces_are_joined_and_a_part_of_what_was_read_whole_breaks_it() {
    let mut t = at(0u32.wrapping_sub(3));
    assert_eq!(t.arrive(t.start, 5, t.start, 1), READ);
    t.pass(2, t.start, KNOWN, 1);
    t.keep_pieces(t.start);
    assert_eq!(t.arrive(2, 7, 2, 2), READ);
    assert_eq!((t.offset, t.have), (0, 5));
    // Repeated with what was taken before.
    assert_eq!(t.arrive(0, 9, 2, 2), READ);
    assert_eq!((t.offset, t.have), (2, 5));
    t.pass(9, 9, KNOWN, 2);
    assert_eq!(t.arrive(9, 4, 5, 3 + SETTLED_AFTER), AHEAD);
    assert_eq!(t.arrive(5, 4, 5, 3 + SETTLED_AFTER), REFUSED);
    assert_eq!(t.mode, BROKEN);
    assert_eq!(t.arrive(5, 4, 5, 4 + SETTLED_AFTER), REFUSED);
    t.forget();
    assert_eq!((t.arrive(5, 4, 5, 9), t.mode), (READ, UNKNOWN));
}

#[test]
fn data_of_the_handshake_hands_its_state_on() {
    let mut h = Track::NEW;
    // Without an answer to a SYN, or not from the first byte on, it comes again.
    assert_eq!(h.begin(0, 10, 1), AHEAD);
    h.expect(100);
    assert_eq!((h.begin(90, 20, 1), h.begin(101, 20, 1)), (AHEAD, AHEAD));
    assert_eq!(h.begin(100, 20, 1), READ);
    assert_eq!((h.offset, h.have), (0, 0));
    h.pass(120, 150, KNOWN, 1);
    // No other bytes until that is over.
    assert_eq!(h.begin(100, 30, 1 + SETTLED_AFTER), UNSETTLED);
    // TCP took it: the next message is known. It did not: the first one is.
    for (taken, received, want) in [(120, 20, (KNOWN, 150)), (100, 0, (KNOWN, 100))] {
        let mut t = Track::NEW;
        t.born(taken, received, Some(&h));
        assert_eq!((t.mode, t.start), want);
    }
    // Something else was taken.
    for (taken, received) in [(110, 10), (130, 30), (120, 10), (130, 20)] {
        let mut t = Track::NEW;
        t.born(taken, received, Some(&h));
        assert_eq!(t.mode, UNKNOWN);
        t.born(taken, received, None);
        assert_eq!(t.mode, UNKNOWN);
    }
    // TCP answers the same SYN again; another one starts anew, and its data at once.
    h.expect(100);
    assert_eq!(h.begin(100, 30, 2), UNSETTLED);
    h.expect(7000);
    assert_eq!((h.begin(100, 30, 2), h.begin(7000, 30, 2)), (AHEAD, READ));
}

#[test]
fn a_message_that_waited_in_the_handshake_goes_on_waiting() {
    let mut h = Track::NEW;
    h.expect(100);
    h.waits = 5;
    let mut t = Track::NEW;
    t.born(100, 0, Some(&h));
    assert_eq!(t.waits, 5);
    h.expect(101);
    assert_eq!(h.waits, 0);
}

/// A message: its first byte is the number of its bytes. What decides on it is the second.
fn messages(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut all) = (bytes, vec![]);
    while let Some(len) = rest.first().map(|&n| usize::from(n).max(1)) {
        let Some((one, behind)) = rest.split_at_checked(len) else { break };
        all.push(one);
        rest = behind;
    }
    all
}

const BAD: u8 = 0xbd;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// A hostile client sends any bytes at any place, in any order; TCP takes a segment or refuses
    /// it, at once or later. The reader lets no message pass of which a byte is [`BAD`]: whatever
    /// is done, none is ever taken.
    #[test]
    fn no_bad_message_is_ever_taken(
        segments in prop::collection::vec(
            (0u32..24, prop::collection::vec(prop::sample::select(vec![1, 2, 3, 5, 8, BAD]), 1..12),
             any::<bool>(), any::<bool>(), 0u64..3),
            1..40,
        ),
    ) {
        let base = 0u32.wrapping_sub(10);
        let mut t = at(base);
        let (mut kept, mut taken, mut now): (Vec<u8>, Vec<u8>, u64) = (vec![], vec![], 1);
        // What passed and lies in the backlog of a socket that is in use.
        let mut backlog: Vec<(u32, Vec<u8>)> = vec![];
        for (back, bytes, accepted, at_once, wait) in segments {
            now += wait * SETTLED_AFTER;
            if wait > 0 || at_once {
                for (seq, bytes) in backlog.drain(..) {
                    take(base, &mut taken, seq, &bytes);
                }
            }
            let next = base.wrapping_add(taken.len() as u32);
            let seq = next.wrapping_add(8).wrapping_sub(back);
            if seq.wrapping_sub(base) as i32 >= 0 && !pass(&mut t, &mut kept, seq, &bytes, next, now) {
                continue;
            }
            if (seq.wrapping_sub(base) as i32) < 0 || !accepted {
                continue;
            }
            if at_once {
                take(base, &mut taken, seq, &bytes);
            } else {
                backlog.push((seq, bytes));
            }
            let bad = messages(&taken).into_iter().find(|m| m.get(1) == Some(&BAD));
            prop_assert!(bad.is_none(), "{taken:?}");
        }
    }
}

/// TCP without a queue for what comes out of order: only what is next is taken.
fn take(base: u32, taken: &mut Vec<u8>, seq: u32, bytes: &[u8]) {
    let at = seq.wrapping_sub(base) as usize;
    if at <= taken.len()
        && let Some(fresh) = bytes.get(taken.len() - at..)
    {
        taken.extend_from_slice(fresh);
    }
}

/// The program's part around the state.
fn pass(t: &mut Track, kept: &mut Vec<u8>, seq: u32, bytes: &[u8], next: u32, now: u64) -> bool {
    let result = t.arrive(seq, bytes.len() as u32, next, now);
    if result == OLD || result == BODY {
        return true;
    }
    if result != READ {
        return false;
    }
    let mut window = kept.get(..t.have as usize).unwrap_or_default().to_vec();
    window.extend_from_slice(&bytes[t.offset as usize..]);
    let mut begin = seq.wrapping_add(t.offset).wrapping_sub(t.have);
    let mut rest = &window[..];
    // A head is two bytes: the length and what decides. Its body follows.
    loop {
        match rest {
            [] => break t.pass(seq.wrapping_add(bytes.len() as u32), begin, KNOWN, now),
            [1 | 0, behind @ ..] => {
                rest = behind;
                begin = begin.wrapping_add(1);
            }
            [_] => {
                t.pass(seq.wrapping_add(bytes.len() as u32), begin, KNOWN, now);
                t.keep_pieces(begin);
                *kept = rest.to_vec();
                break;
            }
            [_, BAD, ..] => return false,
            [len, _, ..] => {
                begin = begin.wrapping_add(u32::from(*len));
                rest = rest.get(usize::from(*len)..).unwrap_or_default();
            }
        }
    }
    true
}
