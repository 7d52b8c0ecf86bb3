//! The end of a journal that is read, by one sink.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    Journal, Position, Record,
    cursor::Cursor,
    erase,
    segment::{self, Lines},
};
use crate::event::Head;

/// What [`Reader::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Events, or some that the filter keeps back.
    Some,
    /// Nothing new until the time was over or somebody woke the readers.
    Nothing,
    /// Everything was read, and nothing more comes.
    End,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    first: u64,
    /// The number of the line that is read next.
    next: u64,
    lines: Lines,
}

/// Reads events in order. What was read is read again unless it is confirmed.
#[derive(Debug)]
pub struct Reader {
    journal: Arc<Journal>,
    position: Arc<Position>,
    cursor: Option<Cursor>,
    next: u64,
    wakes: u64,
    erasures: u64,
    open: Option<Open>,
}

impl Reader {
    pub(super) fn new(
        journal: Arc<Journal>,
        position: Arc<Position>,
        cursor: Option<Cursor>,
        next: u64,
    ) -> Self {
        let wakes = journal.state().wakes;
        Self { journal, position, cursor, next, wakes, erasures: 0, open: None }
    }

    /// How far it is.
    #[must_use]
    pub fn position(&self) -> Arc<Position> {
        Arc::clone(&self.position)
    }

    /// The number of the event that is read next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Appends to `out` those of the next `max` events that the filter lets pass, and waits for
    /// some for at most `wait`.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(&mut self, out: &mut Vec<Record>, max: usize, wait: Duration) -> io::Result<Read> {
        let until = Instant::now() + wait;
        let journal = Arc::clone(&self.journal);
        let mut state = journal.state();
        loop {
            self.next = self.next.max(state.oldest());
            if self.next < state.end() {
                break;
            }
            if state.closed {
                return Ok(Read::End);
            }
            let left = until.saturating_duration_since(Instant::now());
            if self.wakes != state.wakes || left.is_zero() {
                self.wakes = state.wakes;
                return Ok(Read::Nothing);
            }
            let waited = journal.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        if self.erasures != state.erasures {
            // What was read ahead of the file may be what is erased now.
            (self.erasures, self.open) = (state.erasures, None);
        }
        if state.tail.front().is_some_and(|first| first.sequence <= self.next) {
            let from = state.tail.partition_point(|record| record.sequence < self.next);
            let records = state.tail.iter().skip(from).take(max).cloned().collect::<Vec<_>>();
            drop(state);
            self.open = None;
            if let Some(last) = records.last() {
                self.next = last.sequence + 1;
            }
            let wanted = records.into_iter().filter(|record| self.wants(&record.line));
            out.extend(wanted);
            return Ok(Read::Some);
        }
        let at = state.segments.partition_point(|segment| segment.first <= self.next);
        let first = at.checked_sub(1).and_then(|at| state.segments.get(at)).map(|s| s.first);
        let after = state.segments.get(at).map(|segment| segment.first);
        let in_memory = state.tail.front().map_or(state.end(), |record| record.sequence);
        let end = after.unwrap_or(state.written);
        drop(state);
        let Some(first) = first.filter(|_| self.next < end) else {
            // Nothing has the numbers from here on.
            self.next = after.unwrap_or(in_memory);
            return Ok(Read::Some);
        };
        self.read_file(out, max, first, end)
    }

    /// Reads from the file that begins with number `first`, up to `end`.
    fn read_file(
        &mut self,
        out: &mut Vec<Record>,
        max: usize,
        first: u64,
        end: u64,
    ) -> io::Result<Read> {
        let goes_on = |open: &Open| open.first == first && open.next == self.next;
        let mut open = match self.open.take().filter(goes_on) {
            Some(open) => open,
            None => {
                let path = segment::path(&self.journal.dir, first);
                let lines = match Lines::open(&path) {
                    Ok(lines) => lines,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let state = self.journal.state();
                        // It gave way just now, or somebody has removed it.
                        self.next = match state.segments.iter().any(|file| file.first == first) {
                            true => end,
                            false => self.next.max(state.oldest()),
                        };
                        return Ok(Read::Some);
                    }
                    Err(error) => return Err(error),
                };
                Open { first, next: first, lines }
            }
        };
        let mut left = max;
        while left > 0 && open.next < end {
            let Some(line) = open.lines.next_line()? else {
                // Numbers are left out between files only.
                self.next = end;
                return Ok(Read::Some);
            };
            let sequence = open.next;
            open.next += 1;
            if sequence < self.next {
                continue;
            }
            left -= 1;
            // What a crash of the machine has left as other than an event is passed over.
            if let Some(event) = Head::of(line)
                && self.position.filter().passes(&event)
            {
                out.push(Record { sequence, severity: event.severity, line: line.into() });
            }
        }
        self.next = open.next.max(self.next);
        self.open = Some(open);
        Ok(Read::Some)
    }

    /// All before this number were delivered, and are not read again.
    ///
    /// # Errors
    /// The place can't be kept: a restart delivers some of them again.
    pub fn confirm(&mut self, before: u64) -> io::Result<()> {
        if self.position.confirmed.swap(before, Relaxed) == before {
            return Ok(());
        }
        self.cursor.as_mut().map_or(Ok(()), |cursor| cursor.keep(before))
    }

    /// Begins behind what another reader, whose place this one takes over, had confirmed.
    pub fn go_on_from(&mut self, other: &Position) {
        self.position.confirmed.fetch_max(other.confirmed.load(Relaxed), Relaxed);
        self.rewind();
    }

    /// Reads again what is not confirmed.
    pub fn rewind(&mut self) {
        self.next = self.position.confirmed.load(Relaxed);
        self.open = None;
    }

    /// Nothing more is delivered. What is left waits for the next reader of this name; without a
    /// name it is lost, and counted.
    pub fn abandon(&mut self) {
        if self.cursor.is_some() {
            return;
        }
        self.rewind();
        let mut rest = Vec::new();
        while let Ok(Read::Some) = self.read(&mut rest, usize::MAX, Duration::ZERO) {
            for record in rest.drain(..) {
                self.position.lose(&record.line);
            }
        }
        self.position.confirmed.store(self.next, Relaxed);
    }

    fn wants(&self, line: &[u8]) -> bool {
        let filter = self.position.filter();
        if erase::is_erased(line) {
            return false;
        }
        filter.is_open() || Head::of(line).is_some_and(|event| filter.passes(&event))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.journal.state();
        state.readers.retain(|reader| !Arc::ptr_eq(reader, &self.position));
    }
}
