//! The files of a journal.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::LINE_MAX;

/// What a file's name ends in.
const SUFFIX: &str = ".jsonl";
/// Digits of the number in a name: names are in the order of numbers.
const DIGITS: usize = 20;

pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Keeps a second daemon out.
pub(super) fn lock(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(error.kind(), "another process has the journal open")
            }
            _ => error,
        }
    })?;
    Ok(file)
}

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:0DIGITS$}{SUFFIX}"))
}

/// The files by the numbers of their first lines, ascending. Others are not ours.
pub(super) fn find(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(digits) = digits
            && digits.len() == DIGITS
            && let Ok(first) = digits.parse()
        {
            found.push((first, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Cuts off a line that was not ended; how many lines and bytes there are.
pub(super) fn mend(path: &Path) -> io::Result<(u64, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut buffer = vec![0; 1 << 16];
    let (mut lines, mut bytes, mut seen) = (0, 0, 0);
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        let read = buffer.get(..len).unwrap_or_default();
        lines += memchr::memchr_iter(b'\n', read).count() as u64;
        if let Some(at) = memchr::memrchr(b'\n', read) {
            bytes = seen + at as u64 + 1;
        }
        seen += len as u64;
    }
    if bytes < seen {
        file.set_len(bytes)?;
    }
    Ok((lines, bytes))
}

/// A new file for events. One of this name holds nothing that was appended.
pub(super) fn create(dir: &Path, first: u64) -> io::Result<File> {
    let path = path(dir, first);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn append_to(dir: &Path, first: u64) -> io::Result<File> {
    OpenOptions::new().append(true).open(path(dir, first))
}

/// The lines of a file.
#[derive(Debug)]
pub(super) struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(1 << 16, File::open(path)?), line: Vec::new() })
    }

    /// The next line without its line feed; `None` at the end, and in front of a line that is not
    /// ended yet.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let room = LINE_MAX.saturating_sub(self.line.len() as u64);
            if room == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.line.last() == Some(&b'\n') {
                self.line.clear();
            }
            let len = (&mut self.file).take(room).read_until(b'\n', &mut self.line)?;
            if self.line.last() == Some(&b'\n') {
                return Ok(self.line.split_last().map(|(_, line)| line));
            }
            if len == 0 {
                return Ok(None);
            }
        }
    }
}
