//! What is remembered of tokens, kept over a restart in a log.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use crate::{
    log_file::{LogFile, Records},
    memory::{Memory, MemoryConfig},
};

const FILE_NAME: &str = "tokens.state";

/// A state file that is larger is not read: it is none of ours.
const MAX_BYTES: u64 = 1 << 30;

impl Records for Memory {
    /// A few milliseconds.
    const PIECE: usize = 8_192;

    fn begin_snapshot(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        Self::begin_snapshot(self, out)
    }

    fn write_changes(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        Self::write_changes(self, Self::PIECE, out)
    }

    /// Each entry notes itself.
    fn is_overrun(&mut self) -> bool {
        false
    }
}

/// Reads the state in `state_dir` as far as it is sound, and begins a new log. What can't be read is
/// said and left behind: an empty memory is no reason not to watch.
pub(super) fn open(
    state_dir: &Path,
    secret: [u8; 16],
    config: &MemoryConfig,
) -> io::Result<(LogFile, Memory)> {
    fs::create_dir_all(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    let mut memory = restore(&path, secret, config);
    Ok((LogFile::create(path, &mut memory)?, memory))
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{FILE_NAME, open};
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
    fn tokens_are_known_after_a_restart_and_a_torn_end_costs_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut memory) = open(dir.path(), [7; 16], &config()).unwrap();
        for number in 0..20 {
            assert!(use_token(&mut memory, number));
        }
        file.finish(&mut memory);
        assert!(use_token(&mut memory, 20));
        file.finish(&mut memory);
        drop((file, memory));
        let path = dir.path().join(FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let (_, mut memory) = open(dir.path(), [7; 16], &config()).unwrap();
        assert!((0..=20).all(|number| !use_token(&mut memory, number)));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let (_, mut memory) = open(dir.path(), [7; 16], &config()).unwrap();
        let forgotten = (0..=20).filter(|&number| use_token(&mut memory, number)).count();
        assert!(forgotten <= 1, "{forgotten}");

        fs::write(&path, "not a state file").unwrap();
        let (_, mut memory) = open(dir.path(), [7; 16], &config()).unwrap();
        assert!(use_token(&mut memory, 0));
    }
}
