//! The files of sinks: secrets, keys, certificates, templates.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use zeroize::Zeroizing;

use crate::whole_file;

/// Which key of a sink's table a file is named by, and why it can't be used. Nothing of its content.
#[derive(Debug, thiserror::Error)]
#[error("{key} {}: {source}", path.display())]
pub struct FileError {
    /// The key.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// What is wrong with the file that this key names.
pub(super) fn wrong(key: &'static str, path: &Path) -> impl Fn(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |source| FileError { key, path: path.clone(), source }
}

/// An error in our own words.
pub(super) fn invalid(said: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, said.into())
}

/// A regular file of at most `max` bytes.
///
/// # Errors
/// The system's; it is longer or something else.
pub(super) fn read(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(read_with_mode(path, max)?.0)
}

/// The same of a secret, which nobody but its owner may read or write.
///
/// # Errors
/// As [`read`]; others may.
pub(super) fn secret(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let (bytes, mode) = read_with_mode(path, max)?;
    match mode & 0o077 {
        0 => Ok(bytes),
        _ => Err(invalid(format!("others may read or write it (mode {mode:04o}); make it 0600"))),
    }
}

fn read_with_mode(path: &Path, max: usize) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = whole_file::open(path)?;
    let metadata = file.metadata()?;
    // Growing would leave a copy of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max.min(metadata.len() as usize) + 2));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > max {
        true => Err(invalid(format!("over {max} bytes"))),
        false => Ok((bytes, metadata.mode() & 0o777)),
    }
}

/// What tells that a file was replaced or written to: inode, length, time of its last change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<(u64, u64, Option<SystemTime>)>>);

impl Stamps {
    /// Of these files as they are now.
    pub(super) fn of(paths: &[&Path]) -> Self {
        let stamp = |path: &&Path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
        };
        Self(paths.iter().map(stamp).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_private_small_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let load = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            secret(&path, 100).map_err(|error| wrong("key_file", &path)(error).to_string())
        };
        for mode in [0o600, 0o400] {
            assert_eq!(**load("s3cret\n", mode).unwrap(), *b"s3cret\n");
        }
        for mode in [0o644, 0o660, 0o601, 0o640] {
            let error = load("s3cret", mode).unwrap_err();
            assert!(error.contains("others may read") && !error.contains("s3cret"), "{error}");
            assert!(error.starts_with(&format!("key_file {}: ", path.display())), "{error}");
        }
        assert!(load(&"x".repeat(101), 0o600).unwrap_err().contains("over 100 bytes"));
        assert!(secret(dir.path(), 100).unwrap_err().to_string().contains("not a regular file"));
        assert!(secret(&dir.path().join("none"), 100).is_err());
    }

    #[test]
    fn a_file_that_is_replaced_or_written_to_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let now = || Stamps::of(&[path.as_path()]);
        let mut seen = vec![now()];
        fs::write(&path, "x").unwrap();
        seen.push(now());
        assert_eq!(now(), now());
        fs::write(&path, "xy").unwrap();
        seen.push(now());
        fs::write(&other, "xy").unwrap();
        fs::rename(&other, &path).unwrap();
        seen.push(now());
        for (i, one) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(one), "{i}");
        }
    }
}
