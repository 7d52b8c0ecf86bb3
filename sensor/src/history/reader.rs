//! Reads histories: JSON lines, plain or compressed with gzip, one line at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use flate2::bufread::MultiGzDecoder;

use super::row::{MAX_LINE, Row, RowError};

/// The first bytes of a gzip file (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How far files are read, to be watched from outside.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Bytes read of files as they lie on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A line that is too long, or none.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's, or gzip that is damaged.
    #[error("{}:{line}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The line that was being read, from 1.
        line: u64,
        /// What happened.
        source: io::Error,
    },
    /// Over [`MAX_LINE`].
    #[error("{}:{line}: a line of more than {MAX_LINE} bytes is none of the history", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// None of the history.
    #[error("{}:{line}: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong with it.
        source: RowError,
    },
}

struct Counted {
    file: File,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The lines of a file, plain or compressed, each within [`MAX_LINE`]. Empty ones are passed over.
pub struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: u64,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("path", &self.path).field("line", &self.line).finish()
    }
}

impl Lines {
    /// Opens a file; `progress` goes on by what is read of it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, progress: &Progress) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io { path: path.to_owned(), line: 0, source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let counted = Counted { file, progress: progress.clone() };
        let mut plain = BufReader::with_capacity(256 << 10, counted);
        let compressed = plain.fill_buf().map_err(failed)?.starts_with(&GZIP);
        let input: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Self { path: path.to_owned(), input, line: 0, buffer: Vec::new() })
    }

    /// The next line without its end, and its number.
    ///
    /// # Errors
    /// It can't be read, or is too long.
    pub fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, ReadError> {
        loop {
            self.line += 1;
            self.buffer.clear();
            let mut limited = (&mut self.input).take(MAX_LINE as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|source| ReadError::Io {
                path: self.path.clone(),
                line: self.line,
                source,
            })?;
            if read == 0 {
                return Ok(None);
            }
            if self.buffer.last() == Some(&b'\n') {
                self.buffer.pop();
            }
            if self.buffer.len() > MAX_LINE {
                return Err(ReadError::TooLong { path: self.path.clone(), line: self.line });
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some((self.line, &self.buffer)));
            }
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The rows of a history.
#[derive(Debug)]
pub struct Reader(Lines);

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, progress: &Progress) -> Result<Self, ReadError> {
        Lines::open(path, progress).map(Self)
    }

    /// The next row.
    ///
    /// # Errors
    /// A line that is none, or can't be read; the error names the file and the line.
    pub fn next_row(&mut self) -> Result<Option<Row>, ReadError> {
        let path = self.0.path.clone();
        match self.0.next_line()? {
            None => Ok(None),
            Some((line, text)) => {
                Row::parse(text).map(Some).map_err(|source| ReadError::Row { path, line, source })
            }
        }
    }
}

/// Searches histories for an event, until some time. Files that are not there are passed over.
///
/// # Errors
/// One can't be read, or time is up.
pub fn find_row(files: &[PathBuf], event: &str, until: Instant) -> anyhow::Result<Option<Row>> {
    /// Lines between two looks at the clock: some milliseconds.
    const LOOK_EVERY: u64 = 4_096;
    let wanted = memchr::memmem::Finder::new(event);
    for path in files.iter().filter(|path| path.exists()) {
        let mut lines = Lines::open(path, &Progress::default())?;
        while let Some((number, line)) = lines.next_line()? {
            if wanted.find(line).is_some()
                && let Ok(row) = Row::parse(line)
                && row.event == event
            {
                return Ok(Some(row));
            }
            if number.is_multiple_of(LOOK_EVERY) && Instant::now() >= until {
                anyhow::bail!("{} is too long to be searched while you wait", path.display());
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::{super::row::tests::scored, *};

    fn all(path: &Path) -> Result<Vec<Row>, ReadError> {
        let mut reader = Reader::open(path, &Progress::default())?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn plain_and_gzip_say_the_same_and_errors_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = (0..40).map(|n| scored(n).row(1)).collect();
        let mut text = Vec::new();
        for row in &rows {
            row.write(&mut text);
            text.push(b'\n');
        }
        let (plain, packed) = (dir.path().join("a.jsonl"), dir.path().join("a.jsonl.gz"));
        fs::write(&plain, &text).unwrap();
        // Two members, as by `cat a.gz b.gz`.
        let (first, second) = text.split_at(text.len() / 3);
        let mut file = File::create(&packed).unwrap();
        for part in [first, second] {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part).unwrap();
            file.write_all(&encoder.finish().unwrap()).unwrap();
        }
        assert_eq!(all(&plain).unwrap(), rows);
        assert_eq!(all(&packed).unwrap(), rows);

        let files = [dir.path().join("none"), packed.clone()];
        let later = Instant::now() + std::time::Duration::from_secs(60);
        assert_eq!(find_row(&files, &rows[30].event, later).unwrap().as_ref(), Some(&rows[30]));
        assert_eq!(find_row(&files, &scored(99).row(1).event, later).unwrap(), None);

        let whole = fs::read(&packed).unwrap();
        fs::write(&packed, &whole[..whole.len() - 9]).unwrap();
        let error = all(&packed).unwrap_err().to_string();
        assert!(error.contains("a.jsonl.gz:"), "{error}");
        text.extend_from_slice(b"{\"version\":1}\n");
        fs::write(&plain, &text).unwrap();
        let error = all(&plain).unwrap_err().to_string();
        assert!(error.contains("a.jsonl:81: not a line of the history: missing field"), "{error}");
        fs::write(&plain, vec![b'x'; MAX_LINE + 1]).unwrap();
        let error = all(&plain).unwrap_err().to_string();
        assert!(error.contains("a.jsonl:1: a line of more than"), "{error}");
        fs::remove_file(&plain).unwrap();
        assert!(all(&plain).unwrap_err().to_string().contains("a.jsonl"));
        assert!(all(dir.path()).is_err());
    }
}
