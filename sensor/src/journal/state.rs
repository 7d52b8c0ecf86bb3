//! What the writer and the readers of a journal share.

use std::{
    collections::VecDeque,
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::{JournalStatus, Keep, Record, TAIL_BYTES};
use crate::{
    event::{Filter, Head},
    finding::Severity,
};

/// How far a reader is, and what it will never get.
#[derive(Debug)]
pub struct Position {
    /// All before was delivered.
    pub(super) confirmed: AtomicU64,
    lost: [AtomicU64; Severity::ALL.len()],
    filter: Filter,
}

impl Position {
    pub(super) fn new(next: u64, filter: Filter) -> Self {
        Self { confirmed: AtomicU64::new(next), lost: Default::default(), filter }
    }

    /// What gave way to newer events before it was delivered, by severity. What was under way just
    /// then counts, and may have arrived all the same.
    #[must_use]
    pub fn lost(&self) -> [u64; Severity::ALL.len()] {
        self.lost.each_ref().map(|count| count.load(Relaxed))
    }

    pub(super) const fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn misses(&self, sequence: u64) -> bool {
        self.confirmed.load(Relaxed) <= sequence
    }

    /// Counts a line that is gone and was not delivered, unless it is not wanted.
    pub(super) fn lose(&self, line: &[u8]) {
        let severity = match Head::of(line) {
            Some(event) if self.filter.passes(&event) => event.severity,
            _ => return,
        };
        if let Some(count) = self.lost.get(severity as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) bytes: u64,
    /// When something was last appended.
    pub(super) newest: SystemTime,
}

#[derive(Debug)]
pub(super) struct State {
    /// Ascending; the last one is being written.
    pub(super) segments: VecDeque<Segment>,
    /// What was appended last.
    pub(super) tail: VecDeque<Record>,
    tail_bytes: usize,
    /// The number of the next event.
    pub(super) next: u64,
    /// All before are on disk, or lost.
    pub(super) written: u64,
    pub(super) readers: Vec<Arc<Position>>,
    pub(super) keep: Keep,
    pub(super) appended: u64,
    pub(super) wakes: u64,
    /// How often events were erased: who has read ahead in a file reads it again.
    pub(super) erasures: u64,
    pub(super) closed: bool,
    /// Once closed: what is not written is kept elsewhere.
    pub(super) aside: bool,
    pub(super) error: Option<String>,
}

impl State {
    pub(super) fn new(found: &[(u64, PathBuf)], end: u64, keep: Keep) -> io::Result<Self> {
        let segments = found.iter().map(|(first, path)| {
            let metadata = fs::metadata(path)?;
            Ok(Segment { first: *first, bytes: metadata.len(), newest: metadata.modified()? })
        });
        Ok(Self {
            segments: segments.collect::<io::Result<_>>()?,
            tail: VecDeque::new(),
            tail_bytes: 0,
            next: end,
            written: end,
            readers: Vec::new(),
            keep,
            appended: 0,
            wakes: 0,
            erasures: 0,
            closed: false,
            aside: false,
            error: None,
        })
    }

    /// Behind the last event.
    pub(super) const fn end(&self) -> u64 {
        self.next
    }

    /// The oldest event that is still to be had.
    pub(super) fn oldest(&self) -> u64 {
        let in_memory = self.tail.front().map_or(self.next, |record| record.sequence);
        self.segments.front().map_or(in_memory, |segment| segment.first.min(in_memory))
    }

    /// Takes events over into memory; what was there longest gives way.
    pub(super) fn publish(&mut self, records: Vec<Record>) {
        for record in records {
            self.next = record.sequence + 1;
            self.appended += 1;
            self.tail_bytes += record.line.len();
            self.tail.push_back(record);
        }
        while self.tail_bytes > TAIL_BYTES
            && let Some(record) = self.tail.pop_front()
        {
            self.tail_bytes -= record.line.len();
            if record.sequence >= self.written {
                self.written = record.sequence + 1;
                let missing = self.readers.iter().filter(|r| r.misses(record.sequence));
                missing.for_each(|reader| reader.lose(&record.line));
            }
        }
    }

    /// What is not on disk yet.
    pub(super) fn unwritten(&self) -> Vec<Record> {
        let from = self.tail.partition_point(|record| record.sequence < self.written);
        self.tail.iter().skip(from).cloned().collect()
    }

    /// What is not on disk gets there no more: it counts as lost to those of these that had not got
    /// it, unless it is kept elsewhere.
    pub(super) fn give_up(&mut self, readers: &[&Position]) {
        if !self.closed || self.aside {
            return;
        }
        while let Some(record) = self.tail.pop_back_if(|record| record.sequence >= self.written) {
            self.tail_bytes -= record.line.len();
            let missing = readers.iter().filter(|reader| reader.misses(record.sequence));
            missing.for_each(|reader| reader.lose(&record.line));
        }
        self.next = self.written.min(self.next);
    }

    /// The files that are over what is kept, taken out; never the one that is being written. With
    /// each the number behind its events, which are no more in memory either.
    pub(super) fn surplus(&mut self, now: SystemTime) -> Vec<(Segment, u64)> {
        let mut all = self.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        let mut surplus = Vec::new();
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && (all > self.keep.bytes
                || now.duration_since(oldest.newest).is_ok_and(|age| age > self.keep.age))
        {
            all -= oldest.bytes;
            let gone = self.segments.pop_front();
            let next = self.segments.front().map_or(self.next, |segment| segment.first);
            surplus.extend(gone.map(|gone| (gone, next)));
            while let Some(record) = self.tail.pop_front_if(|record| record.sequence < next) {
                self.tail_bytes -= record.line.len();
            }
        }
        surplus
    }

    pub(super) fn status(&self) -> JournalStatus {
        JournalStatus {
            bytes: self.segments.iter().map(|segment| segment.bytes).sum(),
            appended: self.appended,
            unwritten: self.next - self.written.min(self.next),
            error: self.error.clone(),
        }
    }
}
