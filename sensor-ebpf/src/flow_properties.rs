//! Whatever comes, in whatever order and pieces.

use std::{format, vec, vec::Vec};

use jotwatch_common::TO_SERVER;
use proptest::prelude::*;

use super::{OK, REQUEST_BUDGET, Tap};

/// One message: its text, and how many bytes of it are head.
fn request() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let get = "GET /[a-z]{0,200} HTTP/1.1\r\nHost: [a-z]{1,20}\r\nAuthorization: Bearer [A-Za-z0-9]{0,900}\r\n\r\n";
    prop_oneof![
        get.prop_map(|t| (t.clone().into_bytes(), t.len())),
        ("[a-z]{0,9000}", 0usize..60_000).prop_map(|(name, body)| {
            let head =
                format!("POST /{name} HTTP/1.1\r\nHost: e\r\nContent-Length: {body}\r\n\r\n");
            let n = head.len();
            let mut all = head.into_bytes();
            all.resize(n + body, b'x');
            (all, n)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever order segments come in, and however often: each byte is new once, as long as no
    /// more than two gaps are open at a time and each is filled from its front.
    #[test]
    fn each_byte_is_new_once(
        lens in proptest::collection::vec(1u32..3000, 1..60),
        order in proptest::collection::vec((0usize..3, any::<bool>()), 1..200),
    ) {
        let starts: Vec<u32> = lens.iter().scan(0, |at, len| {
            let start = *at;
            *at += len;
            Some(start)
        }).collect();
        let total: u32 = lens.iter().sum();
        let mut tap = Tap::new();
        tap.ask("POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 1000000\r\n\r\n");
        let base = tap.seq[0];
        let mut come = vec![false; total as usize];
        // Two queues, each in order, as of two processors.
        let mut queues: [Vec<usize>; 2] = [(0..lens.len()).step_by(2).collect(), (1..lens.len()).step_by(2).collect()];
        let mut sent = vec![];
        for (queue, again) in order.into_iter().chain(std::iter::repeat_n((0, false), 60)).chain(std::iter::repeat_n((1, false), 60)) {
            let i = if again && !sent.is_empty() {
                sent[queue % sent.len()]
            } else {
                let (this, other) = (queue % 2, 1 - queue % 2);
                // Never more than two gaps: the other queue is at most one segment behind.
                let behind = queues[other].first().is_some_and(|o| queues[this].first().is_none_or(|t| o + 3 < *t));
                let from = if behind || queues[this].is_empty() { other } else { this };
                if queues[from].is_empty() { continue }
                queues[from].remove(0)
            };
            sent.push(i);
            let (at, len) = (starts[i], lens[i]);
            let new = (at..at + len).filter(|b| !std::mem::replace(&mut come[*b as usize], true)).count() as u32;
            let old = tap.at(TO_SERVER, base.wrapping_add(at), &vec![b'x'; len as usize], false, false).old;
            prop_assert_eq!(len - old, new, "{} bytes at {}", len, at);
        }
    }

    /// However a connection is cut into segments: every head is copied, every body at least up
    /// to its budget, and exactly framed bodies not far beyond.
    #[test]
    fn heads_are_copied_however_they_are_cut(
        messages in proptest::collection::vec((request(), any::<bool>()), 1..8),
        cuts in proptest::collection::vec(1usize..5000, 1..20),
    ) {
        let mut tap = Tap::new();
        let mut cut = cuts.iter().cycle();
        for ((text, head), answered) in messages {
            // A body whose head was cut has no known end: what is pipelined behind it within the
            // turn is copied up to the turn's cap only.
            let answered = answered || text.starts_with(b"POST");
            let mut at = 0;
            while at < text.len() {
                let end = text.len().min(at + cut.next().unwrap());
                let copied = tap.send(TO_SERVER, &text[at..end], end == text.len());
                let wanted = text.len().min(head + REQUEST_BUDGET as usize).saturating_sub(at);
                prop_assert!(
                    copied >= wanted.min(end - at),
                    "at {} of {} (head {}): {} copied, {} wanted",
                    at, text.len(), head, copied, wanted.min(end - at)
                );
                at = end;
            }
            if answered {
                prop_assert_eq!(tap.answer(OK), OK.len());
            }
        }
    }
}
