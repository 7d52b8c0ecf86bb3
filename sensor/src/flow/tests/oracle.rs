//! Random segments against a dumb model of Linux's receive queue, and hostile ones.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::{Bench, SYN, T0, live, segment};
use crate::{
    capture::{Segment, TcpFlags},
    flow::{Delivery, Limits},
};

/// Linux's receive queue, byte by byte and without any structure.
#[derive(Default)]
struct Kernel {
    read: Vec<u8>,
    queue: Vec<(usize, Vec<u8>)>,
}

impl Kernel {
    fn take(&mut self, start: usize, bytes: &[u8]) {
        let end = start + bytes.len();
        if bytes.is_empty() || end <= self.read.len() {
            return;
        }
        if start > self.read.len() {
            if self.queue.iter().any(|(s, b)| *s <= start && end <= s + b.len()) {
                return;
            }
            self.queue.retain(|(s, b)| !(start <= *s && s + b.len() <= end));
            self.queue.push((start, bytes.to_vec()));
            return;
        }
        self.read.extend(&bytes[self.read.len() - start..]);
        self.queue.sort_by_key(|(s, _)| *s);
        while self.queue.first().is_some_and(|(s, _)| *s <= self.read.len()) {
            let (s, b) = self.queue.remove(0);
            let known = (self.read.len() - s).min(b.len());
            self.read.extend(&b[known..]);
        }
    }
}

/// A segment of a made-up connection, and what happens around it.
#[derive(Clone, Debug)]
struct Step {
    start: usize,
    bytes: Vec<u8>,
    /// Whether the kernel's TCP takes it; whether the sensor sees it.
    taken: bool,
    seen: bool,
    /// How much is read afterwards.
    read: u64,
    /// Whether the other side confirms, and TCP works off its backlog, afterwards.
    confirm: bool,
    /// Milliseconds to the next step.
    pause: u64,
}

/// Mostly the bytes that belong there, sometimes others.
fn steps(differing: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..100_usize, 0..30_usize, 0..4_u8, 0..5_u8, 0..6_u8, 0..40_u64, any::<bool>())
        .prop_flat_map(move |(start, len, other, taken, seen, read, confirm)| {
            (0..120_u64).prop_map(move |pause| {
                let shift = u8::from(differing && other == 0) * 100;
                let bytes = (start..start + len).map(|k| (k as u8).wrapping_add(shift)).collect();
                let (taken, seen) = (taken > 0, seen > 0);
                Step { start, bytes, taken, seen, read, confirm, pause }
            })
        });
    proptest::collection::vec(step, 1..60)
}

fn open(delivery: Delivery, first: u32) -> Bench {
    let mut b = Bench::new(delivery);
    b.push(&Segment { flags: SYN, ..segment(first.wrapping_sub(1), b"") });
    b
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every segment is accepted: exactly what Linux reads, never more than is confirmed.
    #[test]
    fn reads_what_linux_reads(steps in steps(true), back in 0..150_u32) {
        let first = 0_u32.wrapping_sub(back);
        let seq = |offset: usize| first.wrapping_add(offset as u32);
        let mut kernel = Kernel::default();
        let mut known = open(Delivery::OnConfirmation, first);
        let mut capture = open(Delivery::OnConfirmation, first);
        let mut arrival = open(Delivery::OnArrival, first);
        let mut passing = open(Delivery::OnArrival, first);
        for step in &steps {
            let next = seq(kernel.read.len());
            known.push(&live(seq(step.start), &step.bytes, next));
            capture.push(&segment(seq(step.start), &step.bytes));
            arrival.push(&segment(seq(step.start), &step.bytes));
            passing.push_or_pass(&segment(seq(step.start), &step.bytes));
            kernel.take(step.start, &step.bytes);
            if step.confirm {
                capture.confirm(seq(kernel.read.len()));
            }
            for b in [&mut known, &mut capture, &mut arrival, &mut passing] {
                b.read(step.read);
                prop_assert!(b.out.len() <= kernel.read.len());
            }
        }
        let next = seq(kernel.read.len());
        known.accepted(next);
        capture.confirm(next);
        for b in [&mut known, &mut capture, &mut arrival, &mut passing] {
            b.read(u64::MAX);
            let got: Option<Vec<u8>> = b.out.iter().copied().collect();
            prop_assert_eq!(got.as_ref(), Some(&kernel.read));
            prop_assert_eq!(b.stats.gap_bytes, 0);
        }
    }

    /// TCP refuses some segments, lags behind with others, and bytes are delivered unconfirmed
    /// at times: what Linux reads, or a finding.
    #[test]
    fn reads_what_linux_reads_or_says_that_it_may_not(
        steps in steps(true),
        back in 0..150_u32,
        lags in any::<bool>(),
        waits in any::<bool>(),
    ) {
        let first = 0_u32.wrapping_sub(back);
        let seq = |offset: usize| first.wrapping_add(offset as u32);
        let mut kernel = Kernel::default();
        let mut backlog = VecDeque::new();
        let mut b = open(Delivery::OnConfirmation, first);
        let mut now = T0;
        for step in &steps {
            let next = seq(kernel.read.len());
            b.push(&Segment { at: now, ..live(seq(step.start), &step.bytes, next) });
            if step.taken {
                backlog.push_back(step);
            }
            if step.confirm || !lags {
                for step in backlog.drain(..) {
                    kernel.take(step.start, &step.bytes);
                }
            }
            if step.confirm {
                b.accepted(seq(kernel.read.len()));
            }
            b.read(step.read);
            now = now + Duration::from_millis(step.pause);
            if waits {
                b.expire(now);
            }
        }
        for step in backlog {
            kernel.take(step.start, &step.bytes);
        }
        b.accepted(seq(kernel.read.len()));
        b.read(u64::MAX);
        b.out.truncate(kernel.read.len());
        let got: Option<Vec<u8>> = b.out.iter().copied().collect();
        if b.stats.overlap_conflicts == 0 {
            prop_assert_eq!(got, Some(kernel.read));
            prop_assert_eq!(b.stats.restarts, 0);
        }
    }

    /// Some segments are lost to the sensor: every byte in its place, holes of exact length.
    #[test]
    fn what_was_not_seen_is_a_gap_in_its_place(steps in steps(false), back in 0..150_u32) {
        let first = 0_u32.wrapping_sub(back);
        let seq = |offset: usize| first.wrapping_add(offset as u32);
        let mut kernel = Kernel::default();
        let mut b = open(Delivery::OnConfirmation, first);
        let mut seen = [false; 256];
        // Of each byte that the service read: whether it had been seen by then.
        let mut in_time: Vec<bool> = Vec::new();
        for step in &steps {
            if step.seen {
                b.push(&live(seq(step.start), &step.bytes, seq(kernel.read.len())));
                seen[step.start..step.start + step.bytes.len()].fill(true);
            }
            let before = kernel.read.len();
            kernel.take(step.start, &step.bytes);
            in_time.extend(&seen[before..kernel.read.len()]);
            if step.confirm {
                b.accepted(seq(kernel.read.len()));
            }
            b.read(step.read);
        }
        b.accepted(seq(kernel.read.len()));
        b.read(u64::MAX);
        prop_assert_eq!(b.out.len(), kernel.read.len());
        let gaps = b.out.iter().filter(|byte| byte.is_none()).count() as u64;
        prop_assert_eq!(gaps, b.stats.gap_bytes);
        for (k, byte) in b.out.iter().enumerate() {
            match byte {
                Some(byte) => prop_assert!(seen[k] && *byte == kernel.read[k]),
                None => prop_assert!(!in_time[k]),
            }
        }
        prop_assert_eq!(b.stats.overlap_conflicts, 0);
    }

    /// Anything at all: the limits hold (`Bench::check`), the position only ever moves forward
    /// but for a restart, and everything is freed at the end.
    #[test]
    fn limits_hold_on_hostile_input(
        steps in proptest::collection::vec(
            (
                prop_oneof![0..400_u32, any::<u32>()],
                prop_oneof![0..200_usize, 0..3_usize],
                0..64_u8,
                proptest::option::of(prop_oneof![0..400_u32, any::<u32>()]),
                prop_oneof![0..60_u64, Just(u64::MAX)],
                0..400_u64,
            ),
            1..80,
        ),
        arrival in any::<bool>(),
    ) {
        let delivery = if arrival { Delivery::OnArrival } else { Delivery::OnConfirmation };
        let mut b = Bench::new(delivery);
        b.limits = Limits { buffered: 300, queued: 5, window: 2_000, ..Limits::DEFAULT };
        let bytes: Vec<u8> = (0..=255).collect();
        let mut now = T0;
        for (seq, len, kind, next, read, pause) in steps {
            let flags = TcpFlags { syn: kind == 1, fin: kind == 2, rst: kind == 3 };
            let payload = &bytes[usize::from(kind)..usize::from(kind) + len.min(190)];
            let extra = if kind % 8 == 0 { u32::from(kind) * 3 } else { 0 };
            let len = payload.len() as u32 + extra;
            b.push(&Segment { at: now, flags, len, ..segment(seq, payload) });
            match next {
                Some(next) if kind % 2 == 0 => b.confirm(next),
                Some(next) => b.push(&Segment { at: now, flags, ..live(seq, payload, next) }),
                None => {}
            }
            now = now + Duration::from_millis(pause);
            if kind % 4 == 0 {
                b.expire(now);
            }
            if let Some(deadline) = b.stream.deadline(&b.limits) {
                prop_assert!(deadline >= T0);
            }
            b.read(read);
            b.out.clear();
        }
        b.flush();
        // A restart truncates what was read; this bench kept nothing.
        b.read(u64::MAX);
        prop_assert!(b.end.is_some());
        prop_assert_eq!(b.stream.buffered(), 0);
        let _ = b.stream.take_findings();
        prop_assert!(b.stream.take_findings().is_empty());
    }
}
