//! Segments behind a hole, as Linux keeps them (`tcp_data_queue_ofo` and `tcp_ofo_queue` in
//! net/ipv4/tcp_input.c).

use std::collections::VecDeque;

use crate::time::Time;

/// A segment that waits for the bytes before it.
pub(super) struct Queued {
    /// First sequence number, unwrapped.
    pub(super) start: u64,
    /// Behind the last payload byte on the wire.
    pub(super) data_end: u64,
    /// `data_end`, and one more with a FIN: `TCP_SKB_CB(skb)->end_seq`.
    pub(super) end: u64,
    pub(super) at: Time,
    /// The payload's first bytes.
    pub(super) bytes: Box<[u8]>,
}

/// The out-of-order queue. No segment lies wholly inside another, therefore both starts and ends
/// ascend.
#[derive(Default)]
pub(super) struct Queue {
    segments: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Segments waiting.
    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the first segment begins.
    pub(super) fn first_start(&self) -> Option<u64> {
        self.first().map(|(start, _)| start)
    }

    /// Where the first segment begins, and when it arrived.
    pub(super) fn first(&self) -> Option<(u64, Time)> {
        self.segments.front().map(|segment| (segment.start, segment.at))
    }

    /// Where the last segment begins.
    pub(super) fn last_start(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.start)
    }

    /// Behind the last known payload byte.
    pub(super) fn data_end(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.data_end)
    }

    /// When the segment that has waited longest arrived.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.segments.iter().map(|segment| segment.at).min()
    }

    /// The clock was set by so many nanoseconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        for segment in &mut self.segments {
            segment.at = segment.at.moved(by);
        }
    }

    /// The segments that share sequence numbers with `lo..hi`.
    pub(super) fn overlapping(&self, lo: u64, hi: u64) -> impl Iterator<Item = &Queued> {
        let first = self.segments.partition_point(|segment| segment.data_end <= lo);
        self.segments.range(first..).take_while(move |segment| segment.start < hi)
    }

    /// "All the bits are present. Drop."
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        let next = self.segments.partition_point(|segment| segment.start <= start);
        next.checked_sub(1)
            .and_then(|before| self.segments.get(before))
            .is_some_and(|before| end <= before.end)
    }

    /// Inserts a segment that the queue does not [cover](Self::covers).
    ///
    /// Segments that it covers are removed, among them one with the same start ("skb's seq ==
    /// skb1's seq and skb covers skb1. Replace skb1 with skb."). A partial overlap stays: the
    /// segment with the lower start is read first and so supplies the shared bytes.
    ///
    /// Linux may also coalesce neighbours (`tcp_ooo_try_coalesce`), which depends on how the
    /// packets lie in its memory and can't be known here. It only matters for bytes that differ
    /// in an overlap, and that is a finding in any case.
    pub(super) fn insert(&mut self, segment: Queued) {
        let from = self.segments.partition_point(|other| other.start < segment.start);
        let to = self.segments.partition_point(|other| other.end <= segment.end).max(from);
        let covered: usize = self.segments.drain(from..to).map(|other| other.bytes.len()).sum();
        self.bytes = self.bytes - covered + segment.bytes.len();
        self.segments.insert(from, segment);
    }

    /// Takes the first segment if it begins at or before `next`.
    pub(super) fn pop_reached(&mut self, next: u64) -> Option<Queued> {
        if self.first_start()? > next {
            return None;
        }
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.bytes.len();
        Some(segment)
    }

    /// Takes the last segment (`tcp_prune_ofo_queue` starts there too).
    pub(super) fn pop_last(&mut self) -> Option<Queued> {
        let segment = self.segments.pop_back()?;
        self.bytes -= segment.bytes.len();
        Some(segment)
    }
}
