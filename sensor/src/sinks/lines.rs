//! JSON lines to stdout or to a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::event::Event;

/// A file, or stdout, that takes JSON lines.
pub(super) struct Lines {
    name: String,
    /// Absent for stdout.
    path: Option<PathBuf>,
    file: File,
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
        Ok(Self::new("stdout".to_owned(), None, fd.into()))
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let name = format!("file:{}", path.display());
        Ok(Self::new(name, Some(path.to_owned()), open(path)?))
    }

    fn new(name: String, path: Option<PathBuf>, file: File) -> Self {
        Self { name, path, file, buffer: Vec::new(), torn: Vec::new(), torn_at: 0 }
    }

    /// Over any descriptor.
    #[cfg(test)]
    pub(super) fn over(name: &str, file: File) -> Self {
        Self::new(name.to_owned(), None, file)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn deliver(&mut self, batch: &[Arc<Event>]) -> (usize, io::Result<()>) {
        if let Err(error) = self.mend() {
            return (0, Err(error));
        }
        self.buffer.clear();
        for event in batch {
            event.write(&mut self.buffer);
            self.buffer.push(b'\n');
        }
        let (written, result) = write(&mut self.file, &self.buffer);
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

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = open(path)?;
        // The old file gets the rest of its last line; where it can't, the new one gets it whole.
        if self.mend().is_err() {
            self.torn_at = 0;
        }
        self.file = file;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
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
