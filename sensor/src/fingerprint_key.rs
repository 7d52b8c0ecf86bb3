//! The secret under which tokens are fingerprinted, and where it lives.
//!
//! A fingerprint lets an engineer see that two events speak of the same token. Without the key
//! nobody can test a guess against it. Each host makes a key of its own.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};

use crate::{token::FingerprintKey, whole_file};

/// Name of the key in the state folder.
pub const FILE_NAME: &str = "fingerprint.key";

/// Replay uses this key unless the configuration names another: the same capture gives the same
/// output everywhere. It is public, so a fingerprint made with it only shows which tokens are equal.
pub const REPLAY: FingerprintKey = FingerprintKey::new(*b"jotwatch replay.");

/// The salt of event ids in replay.
pub const REPLAY_SALT: [u8; 16] = [0; 16];

/// Reads a key: 32 hexadecimal digits, in a file that only its owner may read.
///
/// # Errors
/// The file can't be read, others may read it, or it is not a key. The error never holds its bytes.
pub fn read(path: &Path) -> anyhow::Result<FingerprintKey> {
    let place = || format!("fingerprint key {}", path.display());
    let file = whole_file::open(path).with_context(place)?;
    let mode = file.metadata().with_context(place)?.mode();
    if mode & 0o077 != 0 {
        bail!("{} may be read by others (mode {:03o}); make it 0600", place(), mode & 0o777);
    }
    let mut text = String::new();
    file.take(128).read_to_string(&mut text).with_context(place)?;
    let key = parse(text.trim_end());
    key.with_context(|| format!("{} is not 32 hexadecimal digits", place()))
}

/// Reads the key in `state_dir`, or makes one there.
///
/// # Errors
/// As [`read`], or the folder can't be written.
pub fn read_or_create(state_dir: &Path) -> anyhow::Result<FingerprintKey> {
    let path = state_dir.join(FILE_NAME);
    if !path.exists() {
        create(&path).with_context(|| format!("fingerprint key {}", path.display()))?;
    }
    read(&path)
}

fn create(path: &Path) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole or not at all: a torn key would change every fingerprint.
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

fn parse(text: &str) -> Option<FingerprintKey> {
    let text = text.as_bytes();
    if text.len() != 32 {
        return None;
    }
    let mut key = [0; 16];
    for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    }
    Some(FingerprintKey::new(key))
}

/// A random salt for the event ids of one run of the daemon.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_salt() -> anyhow::Result<[u8; 16]> {
    let mut salt = [0; 16];
    let filled = getrandom::fill(&mut salt);
    ensure!(filled.is_ok(), "the system gives no random bytes");
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{FILE_NAME, read, read_or_create};

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        read_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&path).unwrap();
        read_or_create(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        fs::write(&path, "00112233445566778899aabbccddeeff\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("0600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        read(&path).unwrap();
        for wrong in
            ["", "0011", "+0112233445566778899aabbccddeeff", "zz112233445566778899aabbccddeeff"]
        {
            fs::write(&path, wrong).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }
}
