//! The file of labels: a log of lines that stand alone, the later replacing the earlier.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Full, Labels, Record};
use crate::history::{Lines, Progress, ReadError};

const FILE_NAME: &str = "labels.jsonl";

/// The file of a running daemon.
#[derive(Debug)]
pub struct LabelFile {
    path: PathBuf,
    log: File,
    len: u64,
}

impl LabelFile {
    /// Where the file lies in a state folder.
    #[must_use]
    pub fn path_in(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE_NAME)
    }

    /// Reads the labels in `state_dir`, and begins a new file with those in force. A line that
    /// can't be read is told of and goes; a crash tears the last at most.
    ///
    /// # Errors
    /// The folder or the file can't be read or written: labels are people's work, and going on
    /// would lose them.
    pub fn open(state_dir: &Path) -> io::Result<(Self, Labels)> {
        fs::create_dir_all(state_dir)?;
        let path = Self::path_in(state_dir);
        let mut labels = Labels::default();
        let bad = match restore(&path, &mut labels) {
            Ok(bad) => bad,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if bad > 0 {
            // What can't be read now may be by another version.
            fs::copy(&path, path.with_extension("bad"))?;
            tracing::warn!(
                "{}: {bad} lines are no labels; the file as it was is beside, as .bad",
                path.display()
            );
        }
        let (log, len) = write_whole(&path, &labels)?;
        Ok((Self { path, log, len }, labels))
    }

    /// Writes the file whole, without what is no more in force.
    ///
    /// # Errors
    /// It can't be written; the old one stays.
    pub fn write_anew(&mut self, labels: &Labels) -> io::Result<()> {
        (self.log, self.len) = write_whole(&self.path, labels)?;
        Ok(())
    }

    /// Appends a record and waits until it is on the disk.
    ///
    /// # Errors
    /// It is not; the file is as it was.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = Vec::new();
        record.write(&mut line)?;
        let written = self.log.write_all(&line).and_then(|()| self.log.sync_data());
        if let Err(error) = written {
            self.log.set_len(self.len)?;
            return Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())));
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

/// Gives how many lines were none.
fn restore(path: &Path, labels: &mut Labels) -> io::Result<u64> {
    let failed = |error: ReadError| match error {
        ReadError::Io { source, .. } => source,
        other => io::Error::other(other.to_string()),
    };
    let mut lines = Lines::open(path, &Progress::default()).map_err(failed)?;
    let mut bad = 0;
    while let Some((_, line)) = lines.next_line().map_err(failed)? {
        let taken =
            Record::parse(line).is_ok_and(|record| !matches!(labels.take(record), Err(Full)));
        bad += u64::from(!taken);
    }
    Ok(bad)
}

fn write_whole(path: &Path, labels: &Labels) -> io::Result<(File, u64)> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&fresh)?;
    let mut lines = Vec::new();
    for record in labels.iter() {
        record.write(&mut lines)?;
    }
    file.write_all(&lines)?;
    file.sync_data()?;
    fs::rename(&fresh, path)?;
    Ok((file, lines.len() as u64))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{
        super::{Label, record::tests::record},
        *,
    };

    #[test]
    fn labels_are_there_after_a_restart_and_a_torn_end_costs_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, labels) = LabelFile::open(dir.path()).unwrap();
        assert_eq!(labels.iter().len(), 0);
        for n in 0..5 {
            file.append(&record(n, Some(Label::Benign), n)).unwrap();
        }
        file.append(&record(2, None, 9)).unwrap();
        file.append(&record(3, Some(Label::Malicious), 9)).unwrap();
        drop(file);
        let path = LabelFile::path_in(dir.path());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let seven = fs::read(&path).unwrap();
        let (_, labels) = LabelFile::open(dir.path()).unwrap();
        let found: Vec<_> = labels.iter().map(|record| record.label.unwrap()).collect();
        assert_eq!(found, [Label::Benign, Label::Benign, Label::Malicious, Label::Benign]);
        assert!(fs::metadata(&path).unwrap().len() < seven.len() as u64);
        assert!(!path.with_extension("bad").exists());
        // Torn at every place, never more than the last is lost.
        let last = seven.len() - 2;
        for end in [last, last - 100, last - 700] {
            fs::write(&path, &seven[..end]).unwrap();
            let (_, labels) = LabelFile::open(dir.path()).unwrap();
            assert_eq!(labels.iter().len(), 4);
            assert_eq!(fs::read(path.with_extension("bad")).unwrap(), &seven[..end]);
            fs::remove_file(path.with_extension("bad")).unwrap();
        }
    }
}
