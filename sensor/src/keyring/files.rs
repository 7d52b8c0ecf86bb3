//! Keys in files.

use std::{
    fs::Metadata,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use zeroize::Zeroizing;

use super::Error;
use crate::{
    config::IssuerConfig,
    keys::{Key, KeySet, KeySource, MAX_KEY_SET_BYTES, parse_keys},
    whole_file,
};

/// The largest file of an HMAC secret.
const MAX_SECRET_BYTES: usize = 4 << 10;

/// What the files of one issuer hold.
#[derive(Default)]
pub(super) struct FileKeys {
    /// Keys that always serve.
    pub(super) fixed: Vec<Arc<Key>>,
    /// Keys that serve as long as none was ever fetched.
    pub(super) fallback: Vec<Arc<Key>>,
    /// Keys of these files that can't be used.
    pub(super) rejected: usize,
    /// A line about each file with a key that can't be used, or that anybody can write.
    pub(super) warnings: Vec<String>,
}

/// Reads all key files of an issuer.
///
/// # Errors
/// One of them can't be read, holds no usable key, or holds a secret that others may read.
pub(super) fn load(config: &IssuerConfig) -> Result<FileKeys, Error> {
    let mut keys = FileKeys::default();
    for path in &config.key_files {
        let (set, metadata) = read_keys(path)?;
        keys.note(path, &set, &metadata);
        keys.fixed.extend(set.keys);
    }
    for path in &config.secret_files {
        keys.fixed.push(Arc::new(read_secret(path)?));
    }
    if let Some(path) = &config.jwks_file {
        let (set, metadata) = read_keys(path)?;
        keys.note(path, &set, &metadata);
        if config.is_remote() { &mut keys.fallback } else { &mut keys.fixed }.extend(set.keys);
    }
    Ok(keys)
}

impl FileKeys {
    fn note(&mut self, path: &Path, set: &KeySet, metadata: &Metadata) {
        let mode = metadata.mode() & 0o777;
        if mode & 0o002 != 0 {
            self.warnings.push(format!(
                "{}: anybody can write it (mode {mode:04o}), and so sign tokens",
                path.display()
            ));
        }
        self.rejected += set.rejected.len();
        if let Some(first) = set.rejected.first() {
            self.warnings.push(format!(
                "{}: {} of {} keys can't be used; the first is number {}: {}",
                path.display(),
                set.rejected.len(),
                set.keys.len() + set.rejected.len(),
                first.index + 1,
                first.error,
            ));
        }
    }
}

fn read_keys(path: &Path) -> Result<(KeySet, Metadata), Error> {
    let (bytes, metadata) = read(path, MAX_KEY_SET_BYTES)?;
    let set = parse_keys(&bytes, KeySource::File)
        .map_err(|error| Error::Keys { path: path.into(), error })?;
    if set.private {
        ensure_private(path, &metadata)?;
    }
    if set.keys.is_empty() {
        return Err(match set.rejected.first() {
            Some(rejected) => Error::Keys { path: path.into(), error: rejected.error },
            None => Error::NoKey { path: path.into() },
        });
    }
    Ok((set, metadata))
}

fn read_secret(path: &Path) -> Result<Key, Error> {
    let (bytes, metadata) = read(path, MAX_SECRET_BYTES)?;
    ensure_private(path, &metadata)?;
    Key::from_secret(without_line_end(&bytes), None, KeySource::File)
        .map_err(|error| Error::Keys { path: path.into(), error })
}

/// A secret that is text loses one line end, which editors and `echo` add. A secret of random
/// bytes is taken as it is: one in 256 of those ends in 0x0A.
fn without_line_end(secret: &[u8]) -> &[u8] {
    let Some(line) = secret.strip_suffix(b"\n") else { return secret };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if !text.contains(char::is_control) => line,
        _ => secret,
    }
}

fn ensure_private(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::Exposed { path: path.into(), mode }) }
}

/// A regular file of at most `max` bytes, with its owner and permission bits.
pub(super) fn read(path: &Path, max: usize) -> Result<(Zeroizing<Vec<u8>>, Metadata), Error> {
    let unreadable = |source| Error::Unreadable { path: PathBuf::from(path), source };
    let file = whole_file::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if len > max {
        return Err(Error::TooLarge { path: path.into(), max });
    }
    // The capacity is final unless the file grows meanwhile: growing would leave a copy of a
    // secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(Error::TooLarge { path: path.into(), max });
    }
    Ok((bytes, metadata))
}

#[cfg(test)]
mod tests {
    use super::without_line_end;

    #[test]
    fn a_line_end_is_no_part_of_a_secret_that_is_text() {
        for (file, secret) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"s\xc3\xa9cret\r\n", b"s\xc3\xa9cret"),
            (b"secret\n\n", b"secret\n\n"),
            (b"a\nb\n", b"a\nb\n"),
            (b"\x80\xff\x01\n", b"\x80\xff\x01\n"),
            (b"\x01\n", b"\x01\n"),
            (b"\n", b""),
            (b"", b""),
        ] {
            assert_eq!(without_line_end(file), secret);
        }
    }
}
