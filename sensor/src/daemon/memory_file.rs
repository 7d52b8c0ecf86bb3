//! What is remembered of tokens, kept over a restart.
//!
//! The file is a log of records that stand alone: changes are appended every second, so a daemon
//! that is killed loses what changed in the last one. When the log has outgrown what it holds, a
//! new one is written beside it, piece by piece so that reading the ring does not wait, and takes
//! its place. A thread of its own writes, one piece at a time: a disk may be busy for seconds, in
//! which the ring would overflow. What changes meanwhile is written with the next piece.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use crate::memory::{Memory, MemoryConfig};

const FILE_NAME: &str = "tokens.state";

/// A state file that is larger is not read: it is none of ours.
const MAX_BYTES: u64 = 1 << 30;

/// Records written at a time: a few milliseconds.
const PIECE: usize = 8_192;

/// A log is not rewritten below this size.
const MIN_REWRITE: u64 = 8 << 20;

/// How long the end waits for the disk.
const FINISH: Duration = Duration::from_secs(10);

/// The state file of a running daemon.
#[derive(Debug)]
pub(super) struct MemoryFile {
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

impl MemoryFile {
    /// Reads the state in `state_dir` as far as it is sound, and begins a new log. What can't be
    /// read is said and left behind: an empty memory is no reason not to watch.
    pub(super) fn open(
        state_dir: &Path,
        secret: [u8; 16],
        config: &MemoryConfig,
    ) -> io::Result<(Self, Memory)> {
        fs::create_dir_all(state_dir)?;
        let path = state_dir.join(FILE_NAME);
        let mut memory = restore(&path, secret, config);
        let mut log = create(&path.with_extension("new"))?;
        let mut len = 0;
        let mut buffer = Vec::new();
        memory.begin_snapshot(&mut buffer)?;
        loop {
            let left = memory.write_changes(PIECE, &mut buffer)?;
            log.write_all(&buffer)?;
            len += buffer.len() as u64;
            buffer.clear();
            if left == 0 {
                break;
            }
        }
        log.sync_data()?;
        fs::rename(path.with_extension("new"), &path)?;
        Ok((Self::start(path, log, len)?, memory))
    }

    /// Goes on with a log of so many bytes.
    fn start(path: PathBuf, log: File, len: u64) -> io::Result<Self> {
        let ((to, jobs), (tell, done)) = (channel(), channel());
        let place = path.clone();
        thread::Builder::new()
            .name("jotwatch-tokens".into())
            .spawn(move || write(&place, log, &jobs, &tell))?;
        let (under_way, next, anew, failing) = (None, None, false, false);
        Ok(Self { path, to, done, under_way, len, whole: len, next, anew, failing })
    }

    /// Has the next calls of [`MemoryFile::save`] write the file whole: it holds what was forgotten.
    pub(super) fn write_anew(&mut self) {
        (self.next, self.anew) = (None, true);
    }

    /// Whether that is done; `Some(false)` where writing fails.
    pub(super) fn is_written_anew(&self) -> Option<bool> {
        if self.failing {
            return Some(false);
        }
        (!self.anew && self.next.is_none()).then_some(true)
    }

    /// Has what changed since the last call appended, unless the disk is still at that. A failure is
    /// said once until it is over; then everything is written anew: of what failed nobody knows how
    /// much is in the log.
    pub(super) fn save(&mut self, memory: &mut Memory) {
        match self.done.try_recv() {
            Ok(done) => {
                let saved = self.settle(done);
                self.told(saved);
            }
            Err(TryRecvError::Empty) if self.under_way.is_some() => return,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.told(Err(gone())),
        }
        let begun = self.begin(memory);
        self.told(begun);
    }

    /// Writes all that is not yet written, and waits for it. Ends early where writing fails, or takes
    /// longer than [`FINISH`] for one piece.
    pub(super) fn finish(&mut self, memory: &mut Memory) {
        loop {
            self.save(memory);
            if self.under_way.is_none() {
                return;
            }
            self.wait();
            if self.under_way.is_some() || self.failing && self.next.is_none() {
                return;
            }
        }
    }

    /// Waits until the thread has written what it was given.
    fn wait(&mut self) {
        if self.under_way.is_none() {
            return;
        }
        let saved = match self.done.recv_timeout(FINISH) {
            Ok(done) => self.settle(done),
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        };
        self.told(saved);
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
    fn begin(&mut self, memory: &mut Memory) -> io::Result<()> {
        let mut bytes = Vec::new();
        let outgrown = self.len > MIN_REWRITE.max(2 * self.whole);
        let first = self.next.is_none() && (outgrown || self.anew || self.failing);
        if first {
            memory.begin_snapshot(&mut bytes)?;
            (self.next, self.anew) = (Some(0), false);
        }
        let last = memory.write_changes(PIECE, &mut bytes)? == 0;
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

fn restore(path: &Path, secret: [u8; 16], config: &MemoryConfig) -> Memory {
    let empty = || Memory::new(secret, config.clone());
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return empty(),
        Err(error) => {
            tracing::warn!("{}: {error}; tokens seen before are forgotten", path.display());
            return empty();
        }
        Ok(_) => {}
    }
    match Memory::restore(secret, config.clone(), &bytes) {
        Ok((memory, lost)) => {
            if lost.records > 0 || lost.torn_bytes > 0 {
                tracing::warn!(
                    "{}: {} records are damaged and {} bytes at the end are torn; the rest is kept",
                    path.display(),
                    lost.records,
                    lost.torn_bytes
                );
            }
            memory
        }
        Err(error) => {
            tracing::warn!("{}: {error}; tokens seen before are forgotten", path.display());
            empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{Read as _, Write as _},
        os::unix::fs::PermissionsExt as _,
    };

    use super::{FILE_NAME, MemoryFile};
    use crate::{
        memory::{Memory, MemoryConfig, ServiceUse, TokenKeys, Use},
        time::Time,
    };

    fn config() -> MemoryConfig {
        MemoryConfig { tokens: 1_000, subjects: 100, ..MemoryConfig::default() }
    }

    fn use_token(memory: &mut Memory, number: u128) -> bool {
        let server = ([10, 0, 0, 2], 8080).into();
        let keys = TokenKeys {
            fingerprint: number,
            signature: number + 1_000,
            signature_len: 32,
            signing_input: number + 2_000,
        };
        let service = ServiceUse { server, cgroup: 1, name: None, audiences: &[] };
        let used = Use::new(keys, [10, 0, 0, 1].into(), service);
        memory.observe(Time::from_unix_secs(1_700_000_000), &used).first_use
    }

    #[test]
    fn a_disk_that_was_full_costs_nothing_once_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (_, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut file = MemoryFile::start(path.clone(), full, 0).unwrap();
        assert!(use_token(&mut memory, 0));
        file.finish(&mut memory);
        assert!(file.failing);
        // As a write does that finds room for half of a batch.
        let mut log = File::options().append(true).open(&path).unwrap();
        log.write_all(b"torn").unwrap();
        assert!(use_token(&mut memory, 1));
        file.finish(&mut memory);
        assert!(!file.failing);
        assert!(use_token(&mut memory, 2));
        file.finish(&mut memory);
        drop(file);
        let (mut memory, lost) =
            Memory::restore([7; 16], config(), &fs::read(path).unwrap()).unwrap();
        assert!(lost.records == 0 && lost.torn_bytes == 0, "{lost:?}");
        assert!((0..3).all(|number| !use_token(&mut memory, number)));
        assert!(!dir.path().join("tokens.new").exists());
    }

    #[test]
    fn tokens_are_known_after_a_restart_and_a_torn_end_costs_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        for number in 0..20 {
            assert!(use_token(&mut memory, number));
        }
        file.finish(&mut memory);
        assert!(use_token(&mut memory, 20));
        file.finish(&mut memory);
        drop((file, memory));
        let path = dir.path().join(FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let (_, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        assert!((0..=20).all(|number| !use_token(&mut memory, number)));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let (_, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        let forgotten = (0..=20).filter(|&number| use_token(&mut memory, number)).count();
        assert!(forgotten <= 1, "{forgotten}");

        fs::write(&path, "not a state file").unwrap();
        let (_, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        assert!(use_token(&mut memory, 0));
    }

    #[test]
    fn all_is_written_in_the_end_in_the_middle_of_a_new_log_too() {
        let dir = tempfile::tempdir().unwrap();
        let config = MemoryConfig { tokens: 20_000, ..config() };
        let (mut file, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config).unwrap();
        assert!((0..10_000).all(|number| use_token(&mut memory, number)));
        file.write_anew();
        file.save(&mut memory);
        assert!(file.next.is_some());
        assert!((10_000..11_000).all(|number| use_token(&mut memory, number)));
        file.finish(&mut memory);
        assert_eq!(file.is_written_anew(), Some(true));
        drop(file);
        let bytes = fs::read(dir.path().join(FILE_NAME)).unwrap();
        let (mut memory, lost) = Memory::restore([7; 16], config, &bytes).unwrap();
        assert!(lost.records == 0 && lost.torn_bytes == 0, "{lost:?}");
        assert!((0..11_000).all(|number| !use_token(&mut memory, number)));
    }

    /// A pipe that nobody reads takes some bytes and no more, as a disk does that hangs.
    #[test]
    fn a_disk_that_hangs_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (mut disk, log) = std::io::pipe().unwrap();
        let config = MemoryConfig { tokens: 10_000, ..config() };
        let mut memory = Memory::new([7; 16], config.clone());
        let log = File::from(std::os::fd::OwnedFd::from(log));
        let mut file = MemoryFile::start(path, log, 0).unwrap();
        let mut bytes = Vec::new();
        memory.begin_snapshot(&mut bytes).unwrap();
        for second in 0..4 {
            for number in 0..1_000 {
                assert!(use_token(&mut memory, second * 1_000 + number));
            }
            file.save(&mut memory);
        }
        assert!(file.under_way.is_some() && !file.failing);
        // It goes on again: nothing of what came meanwhile is missing.
        let reader = std::thread::spawn(move || disk.read_to_end(&mut bytes).map(|_| bytes));
        file.finish(&mut memory);
        assert!(file.under_way.is_none() && !file.failing);
        drop(file);
        let bytes = reader.join().unwrap().unwrap();
        let (mut memory, lost) = Memory::restore([7; 16], config, &bytes).unwrap();
        assert!(lost.records == 0 && lost.torn_bytes == 0, "{lost:?}");
        assert!((0..4_000).all(|number| !use_token(&mut memory, number)));
    }
}
