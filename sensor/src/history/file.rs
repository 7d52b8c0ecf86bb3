//! The file of the history: appended to, and bounded by setting it aside once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::row::MAX_LINE;

/// What is behind the name of the file that was set aside.
const ASIDE: &str = "1";

/// A history file: mode 0600, and no larger together with the one that was set aside than what it
/// was opened with. Lines in it are whole, also behind a crash or a disk that was full.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// The file is set aside before it is larger.
    half: u64,
}

impl HistoryFile {
    /// Opens or makes the file; a line that a crash has torn goes.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut file = open(path)?;
        let len = mend(&mut file)?;
        Ok(Self { path: path.to_owned(), file, len, half: max_bytes / 2 })
    }

    /// The older part: where the file goes when it has half of the bound.
    #[must_use]
    pub fn aside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(ASIDE);
        name.into()
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends whole lines, all or none.
    ///
    /// # Errors
    /// The system's; the file is as it was.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let more = lines.len() as u64;
        if self.len > 0 && self.len + more > self.half {
            fs::rename(&self.path, Self::aside(&self.path))?;
            self.file = open(&self.path)?;
            self.len = mend(&mut self.file)?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // Of a disk that is full the first bytes may have been taken.
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += more;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Cuts off what stands behind the last end of a line; gives the length.
fn mend(file: &mut File) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(MAX_LINE as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(MAX_LINE as u64).read_to_end(&mut tail)?;
    let whole = match memchr::memrchr(b'\n', &tail) {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        None => return Err(io::Error::other("it is no history: a line is too long")),
    };
    if whole < len {
        file.set_len(whole)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_together_stay_within_the_bound_and_hold_the_latest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        let mut file = HistoryFile::open(&path, 1_000).unwrap();
        for n in 0..500 {
            file.append(format!("{n:09}\n").as_bytes()).unwrap();
            let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
            assert_eq!(size(&path), file.len());
            assert!(size(&path) + size(&HistoryFile::aside(&path)) <= 1_000);
        }
        let text = fs::read_to_string(HistoryFile::aside(&path)).unwrap()
            + &fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 50 && lines.last() == Some(&"000000499"));
        let numbers: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        for path in [&path, &HistoryFile::aside(&path)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_torn_line_goes_and_a_readable_file_becomes_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        for (before, after) in [("a\nb\nto", "a\nb\n"), ("to", ""), ("", ""), ("a\n", "a\n")] {
            fs::write(&path, before).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let mut file = HistoryFile::open(&path, 1_000).unwrap();
            file.append(b"new\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after}new\n"));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, vec![b'x'; 2 * MAX_LINE]).unwrap();
        assert!(HistoryFile::open(&path, 1_000).is_err(), "somebody's file is not cut");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), &path).unwrap();
        assert!(HistoryFile::open(&path, 1_000).is_err());
        assert!(HistoryFile::open(Path::new("/dev/null"), 1_000).is_err());
    }
}
