//! The end of a journal that is written.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use super::{Journal, Position, Record, SEGMENT_BYTES, SEGMENTS_MIN, segment, state::Segment};
use crate::finding::Severity;

/// The file that is being written.
#[derive(Debug)]
struct Current {
    file: File,
    first: u64,
    /// The number that the next line in it has.
    next: u64,
    bytes: u64,
}

/// Appends events. There is one.
#[derive(Debug)]
pub struct Writer {
    journal: Arc<Journal>,
    /// The number of the next event.
    next: u64,
    current: Option<Current>,
    /// The last file as it was found: first number, lines, bytes.
    found: Option<(u64, u64, u64)>,
    /// Something was written since the last synchronisation.
    dirty: bool,
    /// Files that were written to the end since the last synchronisation.
    full: Vec<File>,
    /// Writing failed: it is not tried again before.
    retry: Option<SystemTime>,
    buffer: Vec<u8>,
}

/// Files that wait to be synchronised; the system sees to others by itself.
const UNSYNCED_MAX: usize = 8;
/// The pause behind a failed attempt to write.
const RETRY: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) const fn new(
        journal: Arc<Journal>,
        next: u64,
        found: Option<(u64, u64, u64)>,
    ) -> Self {
        Self {
            journal,
            next,
            current: None,
            found,
            dirty: false,
            full: Vec::new(),
            retry: None,
            buffer: Vec::new(),
        }
    }

    /// Appends these, and what could not be written before. When it returns they are in the file,
    /// or, where writing fails, held in memory for the next time.
    pub fn append(&mut self, lines: Vec<(Severity, Arc<[u8]>)>, now: SystemTime) {
        let mut fresh = Vec::with_capacity(lines.len());
        for (severity, line) in lines {
            fresh.push(Record { sequence: self.next, severity, line });
            self.next += 1;
        }
        let mut waiting = self.journal.state().unwritten();
        if fresh.is_empty() && waiting.is_empty() {
            return self.tidy(now);
        }
        waiting.extend_from_slice(&fresh);
        // A clock that was set back ends the pause.
        let pause = self.retry.is_some_and(|at| now < at && now + RETRY >= at);
        let (written, error) = if pause { (0, None) } else { self.write(&waiting, now) };
        if !pause {
            self.retry = error.is_some().then(|| now + RETRY);
        }
        let mut state = self.journal.state();
        // First those that were written: they don't count as lost.
        if let Some(last) = written.checked_sub(1).and_then(|last| waiting.get(last)) {
            state.written = last.sequence + 1;
        }
        state.publish(fresh);
        if !pause {
            state.error = error.map(|error| error.to_string());
        }
        drop(state);
        self.journal.changed.notify_all();
        self.tidy(now);
    }

    /// What is not in the files yet.
    #[must_use]
    pub fn unwritten(&self) -> Vec<Record> {
        self.journal.state().unwritten()
    }

    /// Tries to write what could not be written before, without the pause behind a failure, and
    /// gives what still isn't.
    pub fn flush(&mut self, now: SystemTime) -> Vec<Record> {
        self.retry = None;
        self.append(Vec::new(), now);
        self.unwritten()
    }

    /// The files that the disk is to take over: those that were written to since the last time.
    pub fn to_sync(&mut self) -> Vec<File> {
        let mut files = std::mem::take(&mut self.full);
        if std::mem::take(&mut self.dirty)
            && let Some(current) = &self.current
        {
            files.extend(current.file.try_clone());
        }
        files
    }

    /// These are given again the next time.
    pub fn sync_later(&mut self, mut files: Vec<File>) {
        files.truncate(UNSYNCED_MAX.saturating_sub(self.full.len()));
        self.full.append(&mut files);
    }

    /// Nothing more comes: readers that have read everything are told so. `aside`: what could not be
    /// written is kept elsewhere for the next start.
    pub fn close(mut self, aside: bool) {
        for file in self.to_sync() {
            let _ = file.sync_data();
        }
        let mut state = self.journal.state();
        (state.closed, state.aside) = (true, aside);
        drop(state);
        self.journal.changed.notify_all();
    }

    /// Writes as many of these as it can.
    fn write(&mut self, records: &[Record], now: SystemTime) -> (usize, Option<io::Error>) {
        let mut done = 0;
        while let Some(rest) = records.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write_some(rest, now) {
                Ok(written) => done += written,
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Writes the first of these, at least one: those that belong into one file.
    fn write_some(&mut self, records: &[Record], now: SystemTime) -> io::Result<usize> {
        let keep = self.journal.state().keep;
        let full = SEGMENT_BYTES.min(keep.bytes / SEGMENTS_MIN);
        let Some(first) = records.first() else { return Ok(0) };
        self.file_for(first.sequence, full, now)?;
        let Some(current) = &mut self.current else { return Ok(0) };
        self.buffer.clear();
        let mut count = 0;
        for record in records {
            let bytes = current.bytes + self.buffer.len() as u64;
            if record.sequence != current.next + count || (count > 0 && bytes > full) {
                break;
            }
            self.buffer.extend_from_slice(&record.line);
            self.buffer.push(b'\n');
            count += 1;
        }
        if let Err(error) = current.file.write_all(&self.buffer) {
            // What was written of it was not appended. Where it can't be cut off, the file is not
            // written to any more, and the torn line is known by its missing end.
            if current.file.set_len(current.bytes).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        current.bytes += self.buffer.len() as u64;
        current.next += count;
        self.dirty = true;
        let mut state = self.journal.state();
        if let Some(last) = state.segments.back_mut() {
            (last.bytes, last.newest) = (current.bytes, now);
        }
        Ok(usize::try_from(count).unwrap_or(records.len()))
    }

    /// Has `current` be the file that a line of this number goes to.
    fn file_for(&mut self, sequence: u64, full: u64, now: SystemTime) -> io::Result<()> {
        if let Some((first, lines, bytes)) = self.found.take()
            && first + lines == sequence
            && bytes < full
        {
            let file = segment::append_to(&self.journal.dir, first)?;
            self.current = Some(Current { file, first, next: sequence, bytes });
        }
        let goes_on =
            self.current.as_ref().is_some_and(|now| now.next == sequence && now.bytes < full);
        if !goes_on {
            let before = self.to_sync();
            self.sync_later(before);
            if let Some(empty) = self.current.take_if(|current| current.bytes == 0) {
                // Its first line was never written.
                self.remove(empty.first);
            }
            let file = segment::create(&self.journal.dir, sequence)?;
            let mut state = self.journal.state();
            state.segments.retain(|segment| segment.first != sequence);
            state.segments.push_back(Segment { first: sequence, bytes: 0, newest: now });
            drop(state);
            self.current = Some(Current { file, first: sequence, next: sequence, bytes: 0 });
        }
        Ok(())
    }

    fn remove(&self, first: u64) {
        self.journal.state().segments.retain(|segment| segment.first != first);
        let _ = fs::remove_file(segment::path(&self.journal.dir, first));
    }

    /// Throws away what is over what is kept.
    fn tidy(&self, now: SystemTime) {
        let mut state = self.journal.state();
        let surplus = state.surplus(now);
        if surplus.is_empty() {
            return;
        }
        // As far as they are now: they pass over what is gone as soon as they may look.
        let place = |reader: &Arc<Position>| (Arc::clone(reader), reader.confirmed.load(Relaxed));
        let readers = state.readers.iter().map(place).collect::<Vec<_>>();
        drop(state);
        for (gone, end) in surplus {
            let path = segment::path(&self.journal.dir, gone.first);
            for (reader, confirmed) in readers.iter().filter(|(_, confirmed)| *confirmed < end) {
                let first = confirmed.saturating_sub(gone.first);
                if let Err(error) = lose(&path, first, end - gone.first, reader) {
                    tracing::warn!("{}: what is lost can't be counted: {error}", path.display());
                }
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("{}: {error}", path.display());
            }
        }
    }
}

/// Counts the lines of a file from the `first` on, before the `end`, as lost to a reader.
fn lose(path: &Path, first: u64, end: u64, reader: &Position) -> io::Result<()> {
    let mut lines = segment::Lines::open(path)?;
    for at in 0..end {
        let Some(line) = lines.next_line()? else { break };
        if at >= first {
            reader.lose(line);
        }
    }
    Ok(())
}
