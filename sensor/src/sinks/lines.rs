//! JSON lines to stdout or to a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileExt as _, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    FileConfig,
    format::{Format, Origin},
    outlet::Outlet,
};
use crate::journal::Record;

/// When a file is set aside.
#[derive(Clone, Debug)]
struct Rotation {
    path: PathBuf,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
    /// Files that were set aside and stay.
    keep: usize,
}

/// A file, or stdout, that takes JSON lines.
pub(super) struct Lines {
    /// Absent for stdout.
    rotation: Option<Rotation>,
    format: Format,
    file: File,
    /// Bytes in the file, and since when.
    len: u64,
    begun: SystemTime,
    buffer: Vec<u8>,
    /// A line of which only the first bytes could be written; it counts as taken over.
    torn: Vec<u8>,
    /// How many.
    torn_at: usize,
}

impl Lines {
    pub(super) fn stdout() -> io::Result<Self> {
        // The descriptor itself: the standard library's buffer does not tell how much was
        // written when a write fails.
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Self::new(None, Format::Json, fd.into())
    }

    pub(super) fn file(config: &FileConfig) -> io::Result<Self> {
        let rotation = Rotation {
            path: config.path.clone(),
            max_bytes: config.max_bytes,
            max_age: config.max_hours.map(|hours| Duration::from_secs(hours * 3600)),
            keep: config.keep,
        };
        let file = open(&rotation.path)?;
        Self::new(Some(rotation), config.format, file)
    }

    fn new(rotation: Option<Rotation>, format: Format, file: File) -> io::Result<Self> {
        let (len, begun) = state(&file)?;
        let torn = Vec::new();
        Ok(Self { rotation, format, file, len, begun, buffer: Vec::new(), torn, torn_at: 0 })
    }

    /// Over any descriptor.
    #[cfg(test)]
    pub(super) fn over(file: File) -> io::Result<Self> {
        Self::new(None, Format::Json, file)
    }

    /// Sets the file aside where it would get too large, or has become too old.
    fn rotate(&mut self, more: usize) -> io::Result<()> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let large = rotation.max_bytes.is_some_and(|max| self.len + more as u64 > max);
        let age = SystemTime::now().duration_since(self.begun).unwrap_or_default();
        let old = rotation.max_age.is_some_and(|max| age >= max);
        if self.len == 0 || !(large || old) {
            return Ok(());
        }
        for number in (1..rotation.keep).rev() {
            set_aside(&aside(&rotation.path, number), &aside(&rotation.path, number + 1))?;
        }
        match rotation.keep {
            0 => fs::remove_file(&rotation.path)?,
            _ => set_aside(&rotation.path, &aside(&rotation.path, 1))?,
        }
        self.reopen()
    }

    /// Completes the line that was torn.
    fn mend(&mut self) -> io::Result<()> {
        let (written, result) =
            write(&mut self.file, self.torn.get(self.torn_at..).unwrap_or_default());
        self.torn_at += written;
        if result.is_ok() {
            self.torn.clear();
            self.torn_at = 0;
        }
        result
    }
}

impl Outlet for Lines {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        self.buffer.clear();
        for record in batch {
            self.buffer.extend_from_slice(&self.format.line(&record.line, Origin::own()));
            self.buffer.push(b'\n');
        }
        if let Err(error) = self.mend().and_then(|()| self.rotate(self.buffer.len())) {
            return (0, Err(error));
        }
        let (written, result) = write(&mut self.file, &self.buffer);
        self.len += written as u64;
        let (done, rest) = self.buffer.split_at(written.min(self.buffer.len()));
        let mut taken = memchr::memchr_iter(b'\n', done).count();
        let begun = done.len() - memchr::memrchr(b'\n', done).map_or(0, |at| at + 1);
        if begun > 0 {
            let (_, head) = done.split_at(done.len() - begun);
            let tail = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or_default();
            self.torn = [head, tail].concat();
            self.torn_at = begun;
            taken += 1;
        }
        (taken, result)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let file = open(&rotation.path)?;
        // The old file gets the rest of its last line; where it can't, the new one gets it whole.
        if self.mend().is_err() {
            self.torn_at = 0;
        }
        (self.len, self.begun) = state(&file)?;
        self.file = file;
        Ok(())
    }
}

/// `PATH.1` for the file that was set aside last.
fn aside(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn set_aside(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes of a file, and when it was begun: where the file system does not tell, its last change.
fn state(file: &File) -> io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    let begun = metadata.created().or_else(|_| metadata.modified())?;
    Ok((metadata.len(), begun))
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let found = file.metadata()?;
    if let Some(last) = found.len().checked_sub(1).filter(|_| found.is_file()) {
        let mut byte = [0];
        File::open(path)?.read_exact_at(&mut byte, last)?;
        // A kill tore the line: what is told again is to begin one of its own.
        if byte != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Writes all of it, or says how much of it was written.
fn write(to: &mut impl Write, mut bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                written += n;
                bytes = bytes.get(n..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
