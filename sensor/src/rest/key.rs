//! The key that callers show.

use std::{io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, ensure};
use aws_lc_rs::{constant_time, digest};
use zeroize::Zeroizing;

use crate::whole_file;

/// The shortest key: 128 bits as hexadecimal digits.
const MIN_BYTES: usize = 32;

/// The longest key.
const MAX_BYTES: usize = 1_024;

/// A key, kept as its hash: how long a comparison takes says nothing of it. `Debug` shows nothing.
#[derive(Clone)]
pub struct Key(digest::Digest);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads a file: one line of 32 to 1024 printable characters, which its owner and his group at
    /// most may read.
    ///
    /// # Errors
    /// Why not, with the file and nothing of its content.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        Self::read(path).with_context(|| format!("rest.key_file {}", path.display()))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = whole_file::open(path)?;
        let metadata = file.metadata()?;
        let mode = metadata.mode() & 0o777;
        ensure!(
            mode & 0o027 == 0,
            "others may read it or its group may write it (mode {mode:03o})"
        );
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 3));
        file.take(MAX_BYTES as u64 + 3).read_to_end(&mut bytes)?;
        let key = bytes.trim_ascii_end();
        ensure!(
            (MIN_BYTES..=MAX_BYTES).contains(&key.len()),
            "the key must have {MIN_BYTES} to {MAX_BYTES} characters"
        );
        // A header field carries no others.
        ensure!(
            key.iter().all(u8::is_ascii_graphic),
            "the key must be of printable ASCII characters"
        );
        Ok(Self::of(key))
    }

    fn of(key: &[u8]) -> Self {
        Self(digest::digest(&digest::SHA256, key))
    }

    /// Whether this is the key.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let shown = Self::of(shown);
        constant_time::verify_slices_are_equal(self.0.as_ref(), shown.0.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    #[test]
    fn a_key_is_private_long_and_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let load = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Key::load(&path).map_err(|error| format!("{error:#}"))
        };
        let text = "0123456789abcdef0123456789abcdef";
        for mode in [0o600, 0o400, 0o640] {
            let key = load(&format!("{text}\n"), mode).unwrap();
            assert!(key.is(text.as_bytes()) && !key.is(b"") && !key.is(&text.as_bytes()[1..]));
            assert!(!format!("{key:?}").contains("0123"));
        }
        for mode in [0o644, 0o604, 0o660, 0o602] {
            assert!(load(text, mode).unwrap_err().contains("others may read it"), "{mode:o}");
        }
        assert!(load(&text[1..], 0o600).unwrap_err().contains("32 to 1024"));
        assert!(load(&text.repeat(40), 0o600).unwrap_err().contains("32 to 1024"));
        for wrong in [format!("{text}\n{text}"), format!("{text} {text}"), "é".repeat(32)] {
            let error = load(&wrong, 0o600).unwrap_err();
            assert!(error.contains("printable ASCII"), "{error}");
            assert!(!error.contains("0123"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Key::load(&path).is_err());
        assert!(Key::load(dir.path()).is_err());
    }
}
