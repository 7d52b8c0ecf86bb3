//! What is remembered of tokens, kept over a restart.
//!
//! The file is a log of records that stand alone: changes are appended every second, so a daemon
//! that is killed loses what changed in the last one. When the log has outgrown what it holds, a
//! new one is written beside it, piece by piece so that reading the ring does not wait, and takes
//! its place.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::memory::{Memory, MemoryConfig};

const FILE_NAME: &str = "tokens.state";

/// A state file that is larger is not read: it is none of ours.
const MAX_BYTES: u64 = 1 << 30;

/// Records written at a time: a few milliseconds.
const PIECE: usize = 8_192;

/// A log is not rewritten below this size.
const MIN_REWRITE: u64 = 8 << 20;

/// The state file of a running daemon.
#[derive(Debug)]
pub(super) struct MemoryFile {
    path: PathBuf,
    log: File,
    len: u64,
    /// Size of the log when it had been written whole.
    whole: u64,
    /// The log that is being written to replace this one.
    next: Option<(File, u64)>,
    /// It is to be written whole, however long it is.
    anew: bool,
    failing: bool,
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
        Ok((Self { path, log, len, whole: len, next: None, anew: false, failing: false }, memory))
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

    /// Appends what changed since the last call. A failure is said once until it is over; then
    /// everything is written anew: of what failed nobody knows how much is in the log.
    pub(super) fn save(&mut self, memory: &mut Memory) {
        match self.try_save(memory) {
            // Over when the log is another one.
            Ok(()) => self.failing &= self.next.is_some(),
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!("{}: {error}; not kept over a restart", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn try_save(&mut self, memory: &mut Memory) -> io::Result<()> {
        let mut buffer = Vec::new();
        let outgrown = self.len > MIN_REWRITE.max(2 * self.whole);
        if self.next.is_none() && (outgrown || self.anew || self.failing) {
            let file = create(&self.path.with_extension("new"))?;
            memory.begin_snapshot(&mut buffer)?;
            (self.next, self.anew) = (Some((file, 0)), false);
        }
        let left = memory.write_changes(PIECE, &mut buffer)?;
        let Some((file, len)) = &mut self.next else {
            self.log.write_all(&buffer)?;
            self.len += buffer.len() as u64;
            return Ok(());
        };
        *len += buffer.len() as u64;
        if let Err(error) = file.write_all(&buffer) {
            // The old log is as it was; the next attempt begins anew. The disk may be full of it.
            self.next = None;
            let _ = fs::remove_file(self.path.with_extension("new"));
            return Err(error);
        }
        if left == 0
            && let Some((file, len)) = self.next.take()
        {
            file.sync_data()?;
            fs::rename(self.path.with_extension("new"), &self.path)?;
            (self.log, self.len, self.whole) = (file, len, len);
        }
        Ok(())
    }
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
        io::Write as _,
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
        let (mut file, mut memory) = MemoryFile::open(dir.path(), [7; 16], &config()).unwrap();
        let log = std::mem::replace(
            &mut file.log,
            File::options().write(true).open("/dev/full").unwrap(),
        );
        assert!(use_token(&mut memory, 0));
        file.save(&mut memory);
        assert!(file.failing);
        // As a write does that finds room for half of a batch.
        (&log).write_all(b"torn").unwrap();
        assert!(use_token(&mut memory, 1));
        file.save(&mut memory);
        assert!(!file.failing);
        assert!(use_token(&mut memory, 2));
        file.save(&mut memory);
        drop(file);
        let path = dir.path().join(FILE_NAME);
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
        file.save(&mut memory);
        assert!(use_token(&mut memory, 20));
        file.save(&mut memory);
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
}
