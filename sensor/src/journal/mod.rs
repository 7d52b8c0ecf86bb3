//! What was told, on disk: every event once, as a line of JSON, in files that are bounded.
//!
//! One [`Writer`] appends; every way out has a [`Reader`] with a place of its own, which survives
//! a restart. So a receiver that is down costs neither memory nor another receiver anything: what
//! it has not had yet waits here, and is delivered in order when it is back.
//!
//! Events have sequence numbers. The files hold them in order, [`SEGMENT_BYTES`] each, named by the
//! number of their first line; a gap between numbers is only ever between files. What was just
//! appended stands in memory, too, as a copy of what is in the files: readers that keep up don't touch the disk, and a disk that is
//! full or broken holds nothing up for as long as [`TAIL_BYTES`] last.
//!
//! What is in the files when `append` returns survives the end of the process;
//! what [`Writer::to_sync`] gives is to be
//! synchronised to survive the end of the machine.
#![forbid(unsafe_code)]

mod cursor;
mod erase;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod history;
mod reader;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use self::{cursor::Cursor, state::State};
pub use self::{
    erase::{Erased, Whose},
    history::History,
    reader::{Read, Reader},
    state::Position,
    writer::Writer,
};
use crate::{event::Filter, finding::Severity};

/// Bytes of a file before the next one is begun, and of each of at least [`SEGMENTS_MIN`].
pub const SEGMENT_BYTES: u64 = 4 << 20;
/// What is thrown away at once is at most this part of what is kept.
pub const SEGMENTS_MIN: u64 = 8;
/// Bytes of events that are held in memory; only those that could not be written count as lost
/// when they give way.
pub const TAIL_BYTES: usize = 8 << 20;
/// Bytes of a line that are read back; no event is as long.
pub const LINE_MAX: u64 = 1 << 20;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of all files; the oldest file goes first.
    pub bytes: u64,
    /// A file goes when its last event is older.
    pub age: Duration,
}

/// An event in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number; numbers rise.
    pub sequence: u64,
    /// How grave it is.
    pub severity: Severity,
    /// The event as it was written, without a line feed.
    pub line: Arc<[u8]>,
}

/// How the journal fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JournalStatus {
    /// Bytes of the files.
    pub bytes: u64,
    /// Events since the start.
    pub appended: u64,
    /// Events that are not on disk yet, because it is full or broken.
    pub unwritten: u64,
    /// What writing failed with, where it fails.
    pub error: Option<String>,
}

/// The files and what stands in memory. Shared by the writer and the readers.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    state: Mutex<State>,
    /// Something was appended, or somebody is to look up.
    changed: Condvar,
    /// Held as long as the journal is open.
    _lock: fs::File,
}

impl Journal {
    /// Opens the journal in a folder, which is made with mode 0700 where it is not there. A line
    /// that a crash has torn goes: its event was not appended.
    ///
    /// # Errors
    /// The system's; and `WouldBlock` where another process has the journal open.
    pub fn open(dir: &Path, keep: Keep) -> io::Result<(Arc<Self>, Writer)> {
        segment::make_folder(dir)?;
        let lock = segment::lock(dir)?;
        let found = segment::find(dir)?;
        let in_files = found.last().map_or(0, |(first, _)| *first);
        let (end, last_bytes) = match found.last() {
            Some((first, path)) => {
                let (lines, bytes) = segment::mend(path)?;
                (in_files + lines, Some((*first, lines, bytes)))
            }
            None => (0, None),
        };
        // A place behind the end is one of events that were delivered and never written.
        let end = end.max(cursor::highest(dir)?);
        let state = State::new(&found, end, keep)?;
        let journal = Arc::new(Self {
            dir: dir.to_owned(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            _lock: lock,
        });
        let writer = Writer::new(Arc::clone(&journal), end, last_bytes);
        Ok((journal, writer))
    }

    /// A reader that is at the place which is kept under this name, or at the end where there is
    /// none. Without a name its place is forgotten with it, and it begins at the end.
    ///
    /// # Errors
    /// The place can't be kept.
    pub fn reader(self: &Arc<Self>, name: Option<&str>, filter: Filter) -> io::Result<Reader> {
        let end = self.state().end();
        let (cursor, next) = match name {
            Some(name) => {
                let cursor = Cursor::open(&self.dir, name, end)?;
                let next = cursor.place();
                (Some(cursor), next)
            }
            None => (None, end),
        };
        let position = Arc::new(Position::new(next, filter));
        self.state().readers.push(Arc::clone(&position));
        Ok(Reader::new(Arc::clone(self), position, cursor, next))
    }

    /// Forgets the places of all readers but these.
    ///
    /// # Errors
    /// The system's.
    pub fn forget_but(&self, names: &[&str]) -> io::Result<()> {
        cursor::forget_but(&self.dir, names)
    }

    /// Ends the waiting of all readers, once.
    pub fn wake(&self) {
        self.state().wakes += 1;
        self.changed.notify_all();
    }

    /// How much is kept from now on.
    pub fn keep(&self, keep: Keep) {
        self.state().keep = keep;
    }

    /// Events that a reader has not confirmed, those that its filter keeps back among them.
    #[must_use]
    pub fn behind(&self, position: &Position) -> u64 {
        let state = self.state();
        state.end().saturating_sub(position.confirmed.load(Relaxed).max(state.oldest()))
    }

    /// Nobody waits any more: what could neither be written nor be kept elsewhere counts as lost to
    /// those of these readers that had not got it. Nothing where the writer is not closed.
    pub fn give_up(&self, readers: &[&Position]) {
        self.state().give_up(readers);
    }

    /// Those of the last events that stand in memory, from number `after` on and at most `max`, and
    /// the number behind them.
    #[must_use]
    pub fn latest(&self, after: u64, max: usize) -> (Vec<Record>, u64) {
        let state = self.state();
        let from = state.tail.partition_point(|record| record.sequence < after);
        let from = from.max(state.tail.len().saturating_sub(max));
        let shown = state.tail.iter().skip(from).filter(|record| !erase::is_erased(&record.line));
        (shown.cloned().collect(), state.end())
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        self.state().status()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state as whole as any moment does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of the journal in the daemon's state folder.
#[must_use]
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("events")
}
