//! The part of a stream that is in sequence: bytes, with the gaps between them.

use std::{ops::Range, time::Duration};

use smallvec::SmallVec;

use crate::time::Time;

/// Most runs that one stream keeps. Above it neighbouring arrival times are thinned out, and
/// bytes that would need a run of their own behind a gap become part of the gap.
pub(super) const MAX_RUNS: usize = 64;

/// Consecutive sequence numbers of one kind. A run ends where the next begins.
#[derive(Clone, Copy)]
struct Run {
    start: u64,
    at: Time,
    gap: bool,
}

/// Consecutive sequence numbers, unwrapped to 64 bits, as runs of data and gaps. Only data is
/// stored, back to back.
pub(super) struct InOrder {
    bytes: Vec<u8>,
    /// Released bytes at the front of `bytes`.
    head: usize,
    runs: SmallVec<[Run; 2]>,
    end: u64,
}

/// What stands at a position.
pub(super) enum Piece<'a> {
    Data { bytes: &'a [u8], at: Time },
    Gap { len: u64 },
}

impl InOrder {
    pub(super) fn new(start: u64) -> Self {
        Self { bytes: Vec::new(), head: 0, runs: SmallVec::new(), end: start }
    }

    /// The first sequence number that is still held.
    pub(super) fn base(&self) -> u64 {
        self.runs.first().map_or(self.end, |run| run.start)
    }

    /// The sequence number behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of data held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.head..).unwrap_or_default()
    }

    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.head..).unwrap_or_default()
    }

    /// Appends `data`; false, and nothing appended, when that takes one run too many.
    pub(super) fn push_data(&mut self, data: &[u8], at: Time) -> bool {
        if data.is_empty() {
            return true;
        }
        match self.runs.last() {
            Some(last) if !last.gap && last.at == at => {}
            _ => {
                if self.runs.len() >= MAX_RUNS {
                    self.thin();
                }
                match self.runs.last() {
                    Some(last) if self.runs.len() >= MAX_RUNS && last.gap => return false,
                    // Full of gaps, but this joins the data before it: only its time is lost.
                    Some(_) if self.runs.len() >= MAX_RUNS => {}
                    _ => self.runs.push(Run { start: self.end, at, gap: false }),
                }
            }
        }
        self.make_room(data.len());
        self.bytes.extend_from_slice(data);
        self.end += data.len() as u64;
        true
    }

    /// Passes over `len` sequence numbers whose content nobody needs; nothing may be held.
    pub(super) fn pass(&mut self, len: u64) {
        self.end += len;
    }

    /// The clock was set by so many nanoseconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        for run in &mut self.runs {
            run.at = run.at.moved(by);
        }
    }

    /// Whether neither data nor a gap is held.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends `len` sequence numbers without content.
    pub(super) fn push_gap(&mut self, len: u64, at: Time) {
        if len == 0 {
            return;
        }
        if self.runs.last().is_none_or(|last| !last.gap) {
            // One above the limit at most: behind a gap nothing but a gap is taken then.
            self.runs.push(Run { start: self.end, at, gap: true });
        }
        self.end += len;
    }

    /// Room for `more` bytes: moves what is held to the front where at least as much has been
    /// released since, else to a buffer of twice the size. Either way a byte moves O(1) times
    /// for each byte appended.
    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        let held = self.len();
        if self.head >= held && self.bytes.capacity() >= held + more {
            self.bytes.drain(..self.head);
        } else {
            let mut grown = Vec::with_capacity((held * 2).max(held + more));
            grown.extend_from_slice(self.data());
            self.bytes = grown;
        }
        self.head = 0;
    }

    /// Halves the resolution of the older half of the arrival times: of two neighbouring runs of
    /// data the earlier one's time stands for both.
    fn thin(&mut self) {
        let (mut index, mut absorbs) = (0, false);
        self.runs.retain(|run| {
            let absorbed = absorbs && !run.gap && index < MAX_RUNS / 2;
            absorbs = !run.gap && !absorbed;
            index += 1;
            !absorbed
        });
    }

    fn spans(&self) -> impl Iterator<Item = (Range<u64>, Run)> {
        let ends = self.runs.iter().skip(1).map(|run| run.start).chain([self.end]);
        self.runs.iter().zip(ends).map(|(run, end)| (run.start..end, *run))
    }

    /// Where the data between two sequence numbers lies: the first sequence number of each part,
    /// and its range in [`data`](Self::data).
    pub(super) fn parts(&self, lo: u64, hi: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
        let mut index = 0_usize;
        self.spans().filter_map(move |(span, run)| {
            if run.gap {
                return None;
            }
            let first = index;
            index += (span.end - span.start) as usize;
            let (from, to) = (span.start.max(lo), span.end.min(hi));
            (from < to).then(|| {
                let at = first + (from - span.start) as usize;
                (from, at..at + (to - from) as usize)
            })
        })
    }

    /// The longest piece of one kind in `pos..limit`.
    pub(super) fn piece(&self, pos: u64, limit: u64) -> Option<Piece<'_>> {
        let mut index = 0_usize;
        let mut found: Option<(Range<usize>, Time)> = None;
        for (span, run) in self.spans() {
            if span.start >= limit {
                break;
            }
            let (from, to) = (span.start.max(pos), span.end.min(limit));
            let len = to.saturating_sub(from);
            match &mut found {
                Some(_) if run.gap => break,
                Some((range, _)) => range.end += len as usize,
                None if len == 0 => {}
                None if run.gap => return Some(Piece::Gap { len }),
                None => {
                    let first = index + (from - span.start) as usize;
                    found = Some((first..first + len as usize, run.at));
                }
            }
            if !run.gap {
                index += (span.end - span.start) as usize;
            }
        }
        let (range, at) = found?;
        Some(Piece::Data { bytes: self.data().get(range)?, at })
    }

    /// When the segment that brought `seq` arrived; of the last one held where `seq` is beyond.
    pub(super) fn arrival(&self, seq: u64) -> Option<Time> {
        let behind = self.runs.partition_point(|run| run.start <= seq);
        self.runs.get(behind.saturating_sub(1)).map(|run| run.at)
    }

    /// The first sequence number from `from` on whose segment arrived less than `age` before
    /// `now`, or the end.
    pub(super) fn first_younger(&self, from: u64, now: Time, age: Duration) -> u64 {
        self.spans()
            .find(|(span, run)| span.end > from && run.at + age > now)
            .map_or(self.end, |(span, _)| span.start.max(from))
    }

    /// Forgets everything before `to`; frees the memory when nothing is left.
    pub(super) fn release(&mut self, to: u64) {
        let to = to.min(self.end);
        let (mut bytes, mut runs) = (0_u64, 0);
        for (span, run) in self.spans() {
            if span.start >= to {
                break;
            }
            if !run.gap {
                bytes += span.end.min(to) - span.start;
            }
            runs += usize::from(span.end <= to);
        }
        self.head += bytes as usize;
        if runs == self.runs.len() {
            *self = Self::new(self.end);
            return;
        }
        if runs > 0 {
            self.runs.drain(..runs);
        }
        if let Some(first) = self.runs.first_mut() {
            first.start = first.start.max(to);
        }
        if self.head >= self.bytes.len() {
            self.bytes = Vec::new();
            self.head = 0;
        }
    }

    /// Whether there is a gap among what is held.
    pub(super) fn has_gap(&self) -> bool {
        self.runs.iter().any(|run| run.gap)
    }
}
