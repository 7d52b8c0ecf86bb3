//! The files of a journal as any process may read them that has the right to.

use std::{io, path::Path, path::PathBuf, time::SystemTime};

use super::segment::{self, Lines};

/// Reads the events that are kept, the oldest first, also while a daemon appends to them.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    current: Option<(u64, Lines)>,
}

impl History {
    /// Begins at the first file that has something of this time or later, the oldest one without a
    /// time. Events before it can still come: files hold many.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(dir: &Path, since: Option<SystemTime>) -> io::Result<Self> {
        let mut files = segment::find(dir)?;
        if let Some(since) = since {
            // A file that is gone by now is old.
            let old = |(_, path): &(u64, PathBuf)| {
                path.metadata().and_then(|m| m.modified()).map_or(true, |newest| newest < since)
            };
            let old = files.iter().take_while(|file| old(file)).count();
            files.drain(..old.min(files.len().saturating_sub(1)));
        }
        let mut history = Self { dir: dir.to_owned(), current: None };
        for (first, path) in files {
            if history.begin(first, &path)? {
                break;
            }
        }
        Ok(history)
    }

    /// The next event as it was written, without a line feed; `None` where there is none yet.
    ///
    /// # Errors
    /// The system's.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let before = self.current.as_ref().map(|(first, _)| *first);
            if let Some(line) = self.line()? {
                return Ok(Some(line));
            }
            let later = segment::find(&self.dir)?
                .into_iter()
                .find(|(first, _)| before.is_none_or(|before| *first > before));
            let Some((first, path)) = later else { return Ok(None) };
            // What was appended before the next file was begun.
            if let Some(line) = self.line()? {
                return Ok(Some(line));
            }
            self.begin(first, &path)?;
        }
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((_, lines)) = &mut self.current else { return Ok(None) };
        Ok(lines.next_line()?.map(<[u8]>::to_vec))
    }

    /// False where the file gave way just now.
    fn begin(&mut self, first: u64, path: &Path) -> io::Result<bool> {
        match Lines::open(path) {
            Ok(lines) => {
                self.current = Some((first, lines));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
