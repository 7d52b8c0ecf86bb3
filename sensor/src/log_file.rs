//! A log of what is kept over a restart, written by a thread of its own.
//!
//! Its records stand alone, each replacing what an earlier one said of the same thing. What changed is
//! appended every second, so a daemon that is killed loses what changed in the last one. When the log
//! has outgrown what it holds, a new one is written beside it and takes its place; a crash in that
//! time loses what changed in it. A disk may be busy for seconds, in which the ring would overflow: the
//! thread that reads it hands over one piece at a time and waits for none but at the end. What
//! changes meanwhile is written with the next piece.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// A log is not written anew below this size.
const MIN_REWRITE: u64 = 8 << 20;

/// How long the end waits for the disk.
const FINISH: Duration = Duration::from_secs(10);

/// What a log is of.
pub(crate) trait Records {
    /// Records that are written at a time: what the thread that reads the ring can spare time for.
    const PIECE: usize;

    /// Writes what a log begins with, and has all there is count as changed.
    ///
    /// # Errors
    /// It can't be put in bytes.
    fn begin_snapshot(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Writes up to [`PIECE`](Self::PIECE) records of what changed since they were written last; gives
    /// how many are left.
    ///
    /// # Errors
    /// They can't be put in bytes; they are lost, so a new log is to be begun.
    fn write_changes(&mut self, out: &mut Vec<u8>) -> io::Result<usize>;

    /// Whether more changed than could be noted, so that a new log is to be begun.
    fn is_overrun(&mut self) -> bool;
}

/// The log of a running daemon.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    to: Sender<Job>,
    done: Receiver<io::Result<()>>,
    /// What the thread is at.
    under_way: Option<UnderWay>,
    len: u64,
    /// Size of the log when it had been written whole.
    whole: u64,
    /// Bytes of the log that is being written to replace this one.
    next: Option<u64>,
    /// It is to be written whole, however long it is.
    anew: bool,
    failing: bool,
}

/// What the thread writes.
#[derive(Debug)]
enum Job {
    /// More of the log.
    Append(Vec<u8>),
    /// More of the log that is to take this one's place, which it does behind the last piece.
    Beside { first: bool, bytes: Vec<u8>, last: bool },
}

/// What becomes of the log when a job is done.
#[derive(Clone, Copy, Debug)]
enum UnderWay {
    Append { bytes: u64 },
    Beside,
    Replace { bytes: u64 },
}

impl LogFile {
    /// Begins a new log at `path` with all that there is.
    ///
    /// # Errors
    /// It can't be written; what was there stays.
    pub(crate) fn create(path: PathBuf, records: &mut impl Records) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut log = create(&fresh)?;
        let (mut len, mut buffer) = (0, Vec::new());
        records.begin_snapshot(&mut buffer)?;
        loop {
            let left = records.write_changes(&mut buffer)?;
            log.write_all(&buffer)?;
            len += buffer.len() as u64;
            buffer.clear();
            if left == 0 {
                break;
            }
        }
        log.sync_data()?;
        fs::rename(fresh, &path)?;
        Self::start(path, log, len)
    }

    /// Goes on with a log of so many bytes.
    pub(crate) fn start(path: PathBuf, log: File, len: u64) -> io::Result<Self> {
        let ((to, jobs), (tell, done)) = (channel(), channel());
        let place = path.clone();
        thread::Builder::new()
            .name("jotwatch-state".into())
            .spawn(move || write(&place, log, &jobs, &tell))?;
        let (under_way, next, anew, failing) = (None, None, false, false);
        Ok(Self { path, to, done, under_way, len, whole: len, next, anew, failing })
    }

    /// Has the next calls of [`LogFile::save`] write the log whole: it holds what was forgotten.
    pub(crate) fn write_anew(&mut self) {
        (self.next, self.anew) = (None, true);
    }

    /// Whether that is done; `Some(false)` where writing fails.
    pub(crate) fn is_written_anew(&self) -> Option<bool> {
        if self.failing {
            return Some(false);
        }
        (!self.anew && self.next.is_none()).then_some(true)
    }

    /// Has what changed since the last call appended, unless the disk is still at that. A failure is
    /// said once until it is over; then everything is written anew: of what failed nobody knows how
    /// much is in the log.
    pub(crate) fn save(&mut self, records: &mut impl Records) {
        if !self.wait(Duration::ZERO) {
            return;
        }
        let begun = self.begin(records);
        self.told(begun);
    }

    /// Writes all that is not yet written, and waits for it. Ends early where writing fails, or takes
    /// longer than [`FINISH`] for one piece.
    pub(crate) fn finish(&mut self, records: &mut impl Records) {
        loop {
            self.save(records);
            if self.under_way.is_none() {
                return;
            }
            if !self.wait(FINISH) {
                return self.told(Err(io::ErrorKind::TimedOut.into()));
            }
            if self.failing && self.next.is_none() {
                return;
            }
        }
    }

    /// Whether all that was handed over is written, or failed; waits for it up to `within`.
    pub(crate) fn is_at_rest(&mut self, within: Duration) -> bool {
        self.wait(within) && self.next.is_none()
    }

    /// Waits up to `within` until the thread has written what it was given; whether it has.
    fn wait(&mut self, within: Duration) -> bool {
        if self.under_way.is_none() {
            return true;
        }
        let saved = match self.done.recv_timeout(within) {
            Ok(done) => self.settle(done),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => self.settle(Err(gone())),
        };
        self.told(saved);
        true
    }

    fn told(&mut self, saved: io::Result<()>) {
        match saved {
            // Over when the log is another one.
            Ok(()) => self.failing &= self.next.is_some(),
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!("{}: {error}; not kept over a restart", self.path.display());
            }
            Err(_) => {}
        }
    }

    /// Takes note of a job that is done.
    fn settle(&mut self, done: io::Result<()>) -> io::Result<()> {
        let under_way = self.under_way.take();
        if done.is_err() {
            // The old log is as it was, or ends in a part of a batch; the next attempt begins anew.
            self.next = None;
            return done;
        }
        match under_way {
            Some(UnderWay::Append { bytes }) => self.len += bytes,
            Some(UnderWay::Replace { bytes }) => {
                (self.len, self.whole, self.next) = (bytes, bytes, None);
            }
            Some(UnderWay::Beside) | None => {}
        }
        done
    }

    /// Gives the thread what is to be written, where that is anything.
    fn begin(&mut self, records: &mut impl Records) -> io::Result<()> {
        let mut bytes = Vec::new();
        if records.is_overrun() {
            self.write_anew();
        }
        let outgrown = self.len > MIN_REWRITE.max(2 * self.whole);
        let first = self.next.is_none() && (outgrown || self.anew || self.failing);
        if first {
            records.begin_snapshot(&mut bytes)?;
            (self.next, self.anew) = (Some(0), false);
        }
        let last = records.write_changes(&mut bytes)? == 0;
        let len = bytes.len() as u64;
        let (job, under_way) = match &mut self.next {
            None if bytes.is_empty() => return Ok(()),
            None => (Job::Append(bytes), UnderWay::Append { bytes: len }),
            Some(beside) => {
                *beside += len;
                let under_way =
                    if last { UnderWay::Replace { bytes: *beside } } else { UnderWay::Beside };
                (Job::Beside { first, bytes, last }, under_way)
            }
        };
        self.to.send(job).map_err(|_| gone())?;
        self.under_way = Some(under_way);
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes it is gone")
}

/// Writes one job after the other to a log and to the one that takes its place, and tells of each.
fn write(path: &Path, mut log: File, jobs: &Receiver<Job>, tell: &Sender<io::Result<()>>) {
    let fresh = path.with_extension("new");
    let mut next = None;
    for job in jobs {
        let done = match job {
            Job::Append(bytes) => log.write_all(&bytes),
            Job::Beside { first, bytes, last } => {
                let done = beside(&fresh, &mut next, first, &bytes).and_then(|file| {
                    if last {
                        file.sync_data()?;
                        fs::rename(&fresh, path)?;
                    }
                    Ok(())
                });
                match (&done, next.take()) {
                    (Ok(()), Some(file)) if last => log = file,
                    (Ok(()), file) => next = file,
                    // The disk may be full of it.
                    (Err(_), _) => drop(fs::remove_file(&fresh)),
                }
                done
            }
        };
        if tell.send(done).is_err() {
            return;
        }
    }
}

/// Writes a piece of the log that is to take another's place.
fn beside<'a>(
    fresh: &Path,
    next: &'a mut Option<File>,
    first: bool,
    bytes: &[u8],
) -> io::Result<&'a File> {
    if first {
        *next = Some(create(fresh)?);
    }
    let file = next.as_mut().ok_or(io::ErrorKind::NotFound)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Read as _,
        os::fd::OwnedFd,
        thread,
        time::Duration,
    };

    use super::{LogFile, Records, io};

    /// Longer than any disk takes that the tests run on.
    const LONG: Duration = Duration::from_secs(60);

    /// Numbers, eight bytes each.
    #[derive(Default)]
    struct Numbers {
        all: Vec<u64>,
        changed: Vec<u64>,
        overrun: bool,
    }

    impl Numbers {
        fn add(&mut self, numbers: std::ops::Range<u64>) {
            self.all.extend(numbers.clone());
            self.changed.extend(numbers);
        }

        fn held_by(&self, bytes: &[u8]) -> bool {
            let (numbers, torn) = bytes.as_chunks::<8>();
            let mut read: Vec<u64> =
                numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
            read.sort_unstable();
            read.dedup();
            torn.is_empty() && read == self.all
        }
    }

    impl Records for Numbers {
        const PIECE: usize = 10_000;

        fn begin_snapshot(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
            self.changed.clone_from(&self.all);
            self.overrun = false;
            Ok(())
        }

        fn write_changes(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
            let left = self.changed.len().saturating_sub(Self::PIECE);
            out.extend(self.changed.drain(left..).flat_map(u64::to_le_bytes));
            Ok(left)
        }

        fn is_overrun(&mut self) -> bool {
            self.overrun
        }
    }

    #[test]
    fn a_disk_that_was_full_costs_nothing_once_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.state");
        let mut numbers = Numbers::default();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut file = LogFile::start(path.clone(), full, 0).unwrap();
        numbers.add(0..1);
        file.finish(&mut numbers);
        assert!(file.failing);
        // As a write does that finds room for half of a batch.
        fs::write(&path, "torn").unwrap();
        numbers.add(1..2);
        file.finish(&mut numbers);
        assert!(!file.failing);
        numbers.add(2..3);
        file.finish(&mut numbers);
        assert!(numbers.held_by(&fs::read(path).unwrap()));
        assert!(!dir.path().join("log.new").exists());
    }

    #[test]
    fn all_is_written_in_the_end_in_the_middle_of_a_new_log_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.state");
        let mut numbers = Numbers::default();
        numbers.add(0..100_000);
        let mut file = LogFile::create(path.clone(), &mut numbers).unwrap();
        assert!(numbers.held_by(&fs::read(&path).unwrap()));
        file.write_anew();
        file.save(&mut numbers);
        assert!(file.next.is_some() && file.is_written_anew().is_none());
        assert!(!file.is_at_rest(LONG));
        numbers.add(100_000..101_000);
        file.finish(&mut numbers);
        assert_eq!(file.is_written_anew(), Some(true));
        assert!(file.is_at_rest(Duration::ZERO));
        assert!(numbers.held_by(&fs::read(path).unwrap()));
    }

    #[test]
    fn where_more_changed_than_was_noted_the_log_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.state");
        let mut numbers = Numbers::default();
        let mut file = LogFile::create(path.clone(), &mut numbers).unwrap();
        numbers.add(0..50_000);
        file.save(&mut numbers);
        // In the middle of a new log, too.
        for _ in 0..2 {
            assert!(file.wait(LONG));
            numbers.changed.clear();
            numbers.overrun = true;
            file.save(&mut numbers);
            assert!(file.is_written_anew().is_none());
        }
        file.finish(&mut numbers);
        assert!(numbers.held_by(&fs::read(path).unwrap()));
    }

    /// A pipe that nobody reads takes some bytes and no more, as a disk does that hangs.
    #[test]
    fn a_disk_that_hangs_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (mut disk, log) = io::pipe().unwrap();
        let log = File::from(OwnedFd::from(log));
        let mut file = LogFile::start(dir.path().join("log.state"), log, 0).unwrap();
        let mut numbers = Numbers::default();
        for second in 0..4 {
            numbers.add(second * 10_000..second * 10_000 + 10_000);
            file.save(&mut numbers);
        }
        assert!(file.under_way.is_some() && !file.failing);
        assert!(!file.is_at_rest(Duration::from_millis(1)));
        // It goes on again: nothing of what came meanwhile is missing.
        let mut bytes = Vec::new();
        let reader = thread::spawn(move || disk.read_to_end(&mut bytes).map(|_| bytes));
        file.finish(&mut numbers);
        assert!(file.under_way.is_none() && !file.failing);
        drop(file);
        assert!(numbers.held_by(&reader.join().unwrap().unwrap()));
    }
}
