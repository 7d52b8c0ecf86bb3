//! The way of a segment's bytes into a stream (`tcp_data_queue` in net/ipv4/tcp_input.c).

use super::{Delivery, End, FlowStats, InOrder, Limits, Queued, Stream};
use crate::{
    finding::{Finding, FindingId},
    flow::queue::Queue,
    time::Time,
};

/// Findings that wait to be taken; more in the meantime are only counted.
const MAX_FINDINGS: usize = 4;

impl Stream {
    /// The clock was set by so many nanoseconds.
    pub(in crate::flow) fn clock_set(&mut self, by: i64) {
        self.held.clock_set(by);
        self.fin_at = self.fin_at.moved(by);
        if let Some(rare) = &mut self.rare {
            rare.queue.clock_set(by);
            if let Some((_, at)) = &mut rare.replacing {
                *at = at.moved(by);
            }
        }
    }

    pub(super) fn push_data(
        &mut self,
        mut new: Incoming<'_>,
        live: bool,
        fin: bool,
        limits: &Limits,
        stats: &mut FlowStats,
    ) {
        let next = self.held.end();
        if new.start == next && self.rare.is_none() {
            self.append(new, limits, stats);
            return;
        }
        if new.start > next + u64::from(limits.window) {
            if self.delivery == Delivery::OnConfirmation {
                stats.out_of_window += 1;
                return;
            }
            // The sender's own TCP sent this: everything before it was lost to the capture.
            stats.holes_given_up += 1;
            self.advance(new.start, new.at, limits, stats);
        }
        if new.len == 1 && new.end() == next && self.confirmed == next {
            // A keep-alive probe may carry one byte of garbage (RFC 9293, section 3.8.4).
            stats.retransmitted += 1;
            return;
        }
        let differing = self.compare(&new, stats);
        if live {
            self.replace_refused(&new, differing, stats);
        }
        let next = self.held.end();
        if new.end() <= next {
            stats.retransmitted += 1;
        } else if new.start <= next {
            new.skip(next - new.start);
            self.append(new, limits, stats);
            self.drain(limits, stats);
        } else {
            self.enqueue(new, fin, limits, stats);
        }
        self.tidy();
    }

    /// Appends what begins at the end of what is in order.
    fn append(&mut self, new: Incoming<'_>, limits: &Limits, stats: &mut FlowStats) {
        let mut room = limits.buffered.saturating_sub(self.buffered());
        if new.payload.len() > room {
            // In order comes before out of order, and what nobody has read before both.
            self.held.release(self.pos);
            room = limits.buffered.saturating_sub(self.buffered());
            while new.payload.len() > room
                && let Some(last) = self.rare.as_mut().and_then(|rare| rare.queue.pop_last())
            {
                stats.limit_dropped += last.bytes.len() as u64;
                room = limits.buffered.saturating_sub(self.buffered());
            }
        }
        let mut taken = new.payload.get(..room).unwrap_or(new.payload);
        if !self.held.push_data(taken, new.at) {
            taken = &[];
        }
        let gap = new.len - taken.len() as u64;
        self.held.push_gap(gap, new.at);
        stats.gap_bytes += gap;
        stats.limit_dropped += (new.payload.len() - taken.len()) as u64;
        if self.delivery == Delivery::OnConfirmation
            && self.held.len() > limits.buffered / 2
            && self.ready < self.held.end()
        {
            self.ready = self.held.end();
            stats.unconfirmed += 1;
        }
    }

    /// Moves queued segments that are in order now, as `tcp_ofo_queue`: bytes in sequence win.
    fn drain(&mut self, limits: &Limits, stats: &mut FlowStats) {
        loop {
            let next = self.held.end();
            let Some(segment) = self.rare.as_mut().and_then(|rare| rare.queue.pop_reached(next))
            else {
                return;
            };
            if segment.data_end > next {
                let mut new = Incoming {
                    start: segment.start,
                    len: segment.data_end - segment.start,
                    payload: &segment.bytes,
                    at: segment.at,
                };
                new.skip(next - segment.start);
                self.append(new, limits, stats);
            }
        }
    }

    /// Makes everything before `upto` in order, as was told at `at`: what is not held becomes a
    /// gap.
    pub(super) fn advance(&mut self, upto: u64, at: Time, limits: &Limits, stats: &mut FlowStats) {
        loop {
            self.drain(limits, stats);
            let next = self.held.end();
            if next >= upto {
                break;
            }
            let queue = self.rare.as_ref().map(|rare| &rare.queue);
            let at = queue.and_then(Queue::oldest).unwrap_or(at);
            let to = queue.and_then(Queue::first_start).map_or(upto, |first| first.min(upto));
            self.held.push_gap(to - next, at);
            stats.gap_bytes += to - next;
        }
        self.tidy();
    }

    /// Gives up the first hole.
    pub(super) fn skip_hole(&mut self, limits: &Limits, stats: &mut FlowStats) {
        let first = self.rare.as_ref().and_then(|rare| rare.queue.first());
        if let Some((first, at)) = first {
            // One more, so that the segment behind the hole is taken too.
            self.advance(first + 1, at, limits, stats);
        }
        self.close_in_order();
    }

    /// `tcp_data_queue_ofo`.
    fn enqueue(&mut self, new: Incoming<'_>, fin: bool, limits: &Limits, stats: &mut FlowStats) {
        let end = new.end() + u64::from(fin);
        if self.rare.as_ref().is_some_and(|rare| rare.queue.covers(new.start, end)) {
            stats.retransmitted += 1;
            return;
        }
        let size = new.payload.len();
        loop {
            let queued = self.rare.as_ref().map_or(0, |rare| rare.queue.count());
            if queued < limits.queued && self.buffered() + size <= limits.buffered {
                break;
            }
            if self.delivery == Delivery::OnArrival && queued > 0 {
                stats.holes_given_up += 1;
                self.skip_hole(limits, stats);
                if self.end != End::Open {
                    // A FIN stood behind that hole.
                    stats.out_of_window += 1;
                    return;
                }
                if new.start > self.held.end() {
                    continue;
                }
                // The hole before this one is given up: it may be in order now.
                let mut new = new;
                let known = self.held.end() - new.start;
                if known < new.len {
                    new.skip(known);
                    self.append(new, limits, stats);
                    self.drain(limits, stats);
                }
                return;
            }
            // The service reads the lower bytes first: the highest go.
            let rare = self.rare.get_or_insert_default();
            if rare.queue.last_start().is_none_or(|last| last < new.start) {
                stats.limit_dropped += size as u64;
                return;
            }
            let dropped = rare.queue.pop_last().map_or(0, |last| last.bytes.len());
            stats.limit_dropped += dropped as u64;
        }
        self.rare.get_or_insert_default().queue.insert(Queued {
            start: new.start,
            data_end: new.end(),
            end,
            at: new.at,
            bytes: new.payload.into(),
        });
    }

    /// Compares a segment with everything held for the same sequence numbers. Gives the first and
    /// the last sequence number that differ.
    fn compare(&mut self, new: &Incoming<'_>, stats: &mut FlowStats) -> Option<(u64, u64)> {
        let (lo, hi) = (new.start, new.start + new.payload.len() as u64);
        let mut clash = Clash::default();
        if lo < self.held.end() {
            let data = self.held.data();
            for (from, range) in self.held.parts(lo, hi) {
                clash.add(from, data.get(range).unwrap_or_default(), new.from(from));
            }
        }
        for other in self.rare.iter().flat_map(|rare| rare.queue.overlapping(lo, hi)) {
            let from = other.start.max(lo);
            let held = other.bytes.get((from - other.start) as usize..).unwrap_or_default();
            clash.add(from, held, new.from(from));
        }
        let (first, last) = clash.span?;
        stats.overlap_conflicts += 1;
        let findings = &mut self.rare.get_or_insert_default().findings;
        if findings.len() < MAX_FINDINGS {
            findings.push(Finding::new(
                FindingId::TcpOverlapConflict,
                // How many differ depends on how the sender cut them; where they begin does not.
                format!("bytes differ from stream offset {} on", first.saturating_sub(self.origin)),
            ));
        }
        Some((first, last))
    }

    /// A segment reached from the byte that the service expects into bytes that are held: TCP had
    /// not taken the segment that brought those, so this one's bytes count. Bytes beyond the
    /// refused segment that TCP may have queued go the same way (`tcp_ofo_queue`).
    ///
    /// It may also be that TCP has not come to the first segment yet (the socket's backlog). Then
    /// the first one counts; the two cases can't be told apart here, and a finding says so.
    fn replace_refused(
        &mut self,
        new: &Incoming<'_>,
        differing: Option<(u64, u64)>,
        stats: &mut FlowStats,
    ) {
        let next = self.held.end();
        let continues =
            self.rare.as_mut().and_then(|rare| rare.replacing.take()) == Some((new.start, new.at));
        let refused = new.start <= self.confirmed && self.confirmed < new.end();
        if !(refused || continues) || self.confirmed >= next || new.start >= next {
            return;
        }
        self.rare.get_or_insert_default().replacing = Some((new.end(), new.at));
        let lo = new.start.max(self.confirmed);
        let differing = differing.filter(|&(_, last)| last >= lo);
        if lo < self.held.base() || (lo < self.pos && differing.is_some()) {
            // Delivered already, and the service reads something else.
            self.held = InOrder::new(lo);
            self.pos = lo;
            self.ready = lo;
            self.restart = true;
            stats.restarts += 1;
            return;
        }
        let Some((first, _)) = differing else { return };
        if first.max(lo) < self.ready && !self.restart {
            self.restart = true;
            stats.restarts += 1;
        }
        let parts: Vec<_> = self.held.parts(lo, new.start + new.payload.len() as u64).collect();
        for (from, range) in parts {
            let held = self.held.data_mut().get_mut(range).unwrap_or_default();
            for (old, new) in held.iter_mut().zip(new.from(from)) {
                *old = *new;
            }
        }
    }
}

/// The data of one segment.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) start: u64,
    /// On the wire.
    pub(super) len: u64,
    pub(super) payload: &'a [u8],
    pub(super) at: Time,
}

impl<'a> Incoming<'a> {
    fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Drops the first `n` bytes, at most all.
    fn skip(&mut self, n: u64) {
        self.payload = self.payload.get(n as usize..).unwrap_or_default();
        self.start += n;
        self.len -= n;
    }

    /// The payload from sequence number `seq` on.
    fn from(&self, seq: u64) -> &'a [u8] {
        self.payload.get(seq.saturating_sub(self.start) as usize..).unwrap_or_default()
    }
}

/// Where two copies differ.
#[derive(Default)]
struct Clash {
    count: u64,
    span: Option<(u64, u64)>,
}

impl Clash {
    /// Compares two copies from sequence number `from` on, as far as both go.
    fn add(&mut self, from: u64, held: &[u8], new: &[u8]) {
        let len = held.len().min(new.len());
        let (held, new) = (held.get(..len), new.get(..len));
        if held == new {
            return;
        }
        for (k, (a, b)) in held.into_iter().flatten().zip(new.into_iter().flatten()).enumerate() {
            if a != b {
                let seq = from + k as u64;
                self.count += 1;
                let (first, last) = self.span.unwrap_or((seq, seq));
                self.span = Some((first.min(seq), last.max(seq)));
            }
        }
    }
}
