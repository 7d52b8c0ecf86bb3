//! What reassembly is held against, by its tests and by fuzzing: a driver of one [`Stream`], and a
//! dumb model of Linux's receive queue.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "what differs shall fail")]

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{Chunk, Delivery, FlowStats, Limits, Stream};
use crate::{
    capture::{Direction, FlowKey, Segment, TcpFlags},
    time::Time,
};

pub(crate) const T0: Time = Time::from_unix_secs(1_000);

#[cfg(test)]
pub(crate) fn at(ms: u64) -> Time {
    T0 + Duration::from_millis(ms)
}

pub(crate) fn segment(seq: u32, payload: &[u8]) -> Segment<'_> {
    let addr = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Segment {
        flow: FlowKey { client: addr(40_000), server: addr(80), scope: 0 },
        cookie: 0,
        direction: Direction::ToServer,
        at: T0,
        seq,
        len: payload.len() as u32,
        payload,
        flags: TcpFlags::default(),
        ack: None,
        rcv_nxt: None,
        request: false,
    }
}

pub(crate) fn live(seq: u32, payload: &[u8], rcv_nxt: u32) -> Segment<'_> {
    Segment { rcv_nxt: Some(rcv_nxt), ..segment(seq, payload) }
}

pub(crate) const SYN: TcpFlags = TcpFlags { syn: true, fin: false, rst: false };
#[cfg(test)]
pub(crate) const FIN: TcpFlags = TcpFlags { syn: false, fin: true, rst: false };
#[cfg(test)]
pub(crate) const RST: TcpFlags = TcpFlags { syn: false, fin: false, rst: true };

/// One stream and what was read of it: `None` is a byte of a gap.
pub(crate) struct Bench {
    pub(crate) stream: Stream,
    pub(crate) limits: Limits,
    pub(crate) stats: FlowStats,
    /// When what is confirmed is confirmed.
    pub(crate) now: Time,
    pub(crate) out: Vec<Option<u8>>,
    pub(crate) end: Option<bool>,
}

impl Bench {
    pub(crate) fn new(delivery: Delivery) -> Self {
        let limits = Limits::DEFAULT;
        let stats = FlowStats::default();
        let stream = Stream::new(delivery);
        Self { stream, limits, stats, now: T0, out: Vec::new(), end: None }
    }

    pub(crate) fn push(&mut self, segment: &Segment<'_>) {
        self.stream.push(segment, &self.limits, &mut self.stats);
        self.check();
    }

    /// As [`push`](Self::push), but reads what needs no reassembly from the segment itself.
    pub(crate) fn push_or_pass(&mut self, segment: &Segment<'_>) {
        if self.stream.is_next(segment, &self.limits) {
            assert!(self.stream.is_read());
            self.out.extend(segment.payload.iter().copied().map(Some));
            self.stream.pass(segment);
            assert!(self.stream.is_read());
        } else {
            self.push(segment);
        }
    }

    pub(crate) fn confirm(&mut self, upto: u32) {
        self.stream.confirm(upto, self.now, &self.limits, &mut self.stats);
        self.check();
    }

    pub(crate) fn accepted(&mut self, rcv_nxt: u32) {
        self.stream.accepted(rcv_nxt, None, self.now, &self.limits, &mut self.stats);
        self.check();
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.stream.expire(now, &self.limits, &mut self.stats);
        self.check();
    }

    pub(crate) fn flush(&mut self) {
        self.stream.flush(&self.limits, &mut self.stats);
    }

    pub(crate) fn check(&self) {
        assert!(self.stream.buffered() <= self.limits.buffered);
    }

    /// Reads at most `most` bytes or sequence numbers.
    pub(crate) fn read(&mut self, mut most: u64) {
        while most > 0 {
            let n = match self.stream.readable() {
                Chunk::Data { bytes, .. } => {
                    let n = (bytes.len() as u64).min(most);
                    self.out.extend(bytes[..n as usize].iter().copied().map(Some));
                    n
                }
                Chunk::Gap { len } => {
                    let n = len.min(most);
                    self.out.extend((0..n.min(1 << 12)).map(|_| None));
                    n
                }
                Chunk::Restart => {
                    self.stream.consume(0);
                    self.out.truncate(self.stream.offset() as usize);
                    continue;
                }
                Chunk::End { reset } => {
                    self.end = Some(reset);
                    return;
                }
                Chunk::Empty => return,
            };
            most -= n;
            let before = self.stream.offset();
            self.stream.consume(n);
            assert_eq!(self.stream.offset(), before + n);
        }
    }

    /// Everything readable so far, gaps as dots.
    #[cfg(test)]
    pub(crate) fn text(&mut self) -> String {
        self.read(u64::MAX);
        self.out.iter().map(|byte| char::from(byte.unwrap_or(b'.'))).collect()
    }
}

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
pub(crate) struct Step {
    pub(crate) start: usize,
    pub(crate) bytes: Vec<u8>,
    /// Whether the kernel's TCP takes it; whether the sensor sees it.
    pub(crate) taken: bool,
    pub(crate) seen: bool,
    /// How much is read afterwards.
    pub(crate) read: u64,
    /// Whether the other side confirms, and TCP works off its backlog, afterwards.
    pub(crate) confirm: bool,
    /// Milliseconds to the next step.
    pub(crate) pause: u64,
}

fn open(delivery: Delivery, first: u32) -> Bench {
    let mut b = Bench::new(delivery);
    b.push(&Segment { flags: SYN, ..segment(first.wrapping_sub(1), b"") });
    b
}

/// Every segment is accepted: exactly what Linux reads, never more than is confirmed.
pub(crate) fn reads_what_linux_reads(steps: &[Step], back: u32) {
    let first = 0_u32.wrapping_sub(back);
    let seq = |offset: usize| first.wrapping_add(offset as u32);
    let mut kernel = Kernel::default();
    let mut known = open(Delivery::OnConfirmation, first);
    let mut capture = open(Delivery::OnConfirmation, first);
    let mut arrival = open(Delivery::OnArrival, first);
    let mut passing = open(Delivery::OnArrival, first);
    for step in steps {
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
            assert!(b.out.len() <= kernel.read.len());
        }
    }
    let next = seq(kernel.read.len());
    known.accepted(next);
    capture.confirm(next);
    for b in [&mut known, &mut capture, &mut arrival, &mut passing] {
        b.read(u64::MAX);
        let got: Option<Vec<u8>> = b.out.iter().copied().collect();
        assert_eq!(got.as_ref(), Some(&kernel.read));
        assert_eq!(b.stats.gap_bytes, 0);
    }
}

/// TCP refuses some segments, lags behind with others, and bytes are delivered unconfirmed at
/// times: what Linux reads, or a finding.
pub(crate) fn reads_what_linux_reads_or_says_that_it_may_not(
    steps: &[Step],
    back: u32,
    lags: bool,
    waits: bool,
) {
    let first = 0_u32.wrapping_sub(back);
    let seq = |offset: usize| first.wrapping_add(offset as u32);
    let mut kernel = Kernel::default();
    let mut backlog = VecDeque::new();
    let mut b = open(Delivery::OnConfirmation, first);
    let mut now = T0;
    for step in steps {
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
        b.now = now;
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
        assert_eq!(got, Some(kernel.read));
        assert_eq!(b.stats.restarts, 0);
    }
}

/// Some segments are lost to the sensor: every byte in its place, holes of exact length. The steps
/// are none of another version.
pub(crate) fn what_was_not_seen_is_a_gap_in_its_place(steps: &[Step], back: u32) {
    let first = 0_u32.wrapping_sub(back);
    let seq = |offset: usize| first.wrapping_add(offset as u32);
    let mut kernel = Kernel::default();
    let mut b = open(Delivery::OnConfirmation, first);
    let mut seen = [false; 256];
    // Of each byte that the service read: whether it had been seen by then.
    let mut in_time: Vec<bool> = Vec::new();
    for step in steps {
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
    assert_eq!(b.out.len(), kernel.read.len());
    let gaps = b.out.iter().filter(|byte| byte.is_none()).count() as u64;
    assert_eq!(gaps, b.stats.gap_bytes);
    for (k, byte) in b.out.iter().enumerate() {
        match byte {
            Some(byte) => assert!(seen[k] && *byte == kernel.read[k]),
            None => assert!(!in_time[k]),
        }
    }
    assert_eq!(b.stats.overlap_conflicts, 0);
}

/// A hostile segment: sequence number, bytes, kind, what is confirmed, how much is read, and the
/// milliseconds to the next one.
pub(crate) type Hostile = (u32, usize, u8, Option<u32>, u64, u64);

/// Anything at all: the limits hold ([`Bench::check`]), the position only ever moves forward but
/// for a restart, and everything is freed at the end.
pub(crate) fn limits_hold_on_hostile_input(steps: &[Hostile], arrival: bool) {
    let delivery = if arrival { Delivery::OnArrival } else { Delivery::OnConfirmation };
    let mut b = Bench::new(delivery);
    b.limits = Limits { buffered: 300, queued: 5, window: 2_000, ..Limits::DEFAULT };
    let bytes: Vec<u8> = (0..=255).collect();
    let mut now = T0;
    for (seq, len, kind, next, read, pause) in steps.iter().copied() {
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
        b.now = now;
        if kind % 4 == 0 {
            b.expire(now);
        }
        if let Some(deadline) = b.stream.deadline(&b.limits) {
            assert!(deadline >= T0);
        }
        b.read(read);
        b.out.clear();
    }
    b.flush();
    // A restart truncates what was read; this bench kept nothing.
    b.read(u64::MAX);
    assert!(b.end.is_some());
    assert_eq!(b.stream.buffered(), 0);
    let _ = b.stream.take_findings();
    assert!(b.stream.take_findings().is_empty());
}
