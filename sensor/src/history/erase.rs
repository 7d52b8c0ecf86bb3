//! Taking a subject's lines out of a history.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{
    file::HistoryFile,
    reader::{Lines, Progress, ReadError},
};

/// In front of a line's subject, 32 hexadecimal digits.
const SUBJECT: &[u8] = b"\"subject\":\"";

/// Takes the lines of these subjects out of a history and the part of it that was set aside; gives
/// how many. Each file is written anew and takes the old one's place. Nobody may append meanwhile.
///
/// # Errors
/// The system's, or a line that is none: the file is as it was.
pub fn erase(path: &Path, subjects: &HashSet<u128>) -> io::Result<u64> {
    let parts = [HistoryFile::aside(path), path.to_owned()];
    parts.iter().map(|part| erase_part(part, subjects)).sum()
}

fn erase_part(path: &Path, subjects: &HashSet<u128>) -> io::Result<u64> {
    let failed = |error: ReadError| match error {
        ReadError::Io { source, .. } => source,
        other => io::Error::other(other.to_string()),
    };
    let mut lines = match Lines::open(path, &Progress::default()).map_err(failed) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let copied = create(fresh).and_then(|file| {
        let mut out = BufWriter::with_capacity(256 << 10, file);
        let mut erased = 0;
        while let Some((_, line)) = lines.next_line().map_err(failed)? {
            if subject(line).is_some_and(|subject| subjects.contains(&subject)) {
                erased += 1;
                continue;
            }
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
        if erased > 0 {
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            fs::rename(fresh, path)?;
        }
        Ok(erased)
    });
    if !matches!(copied, Ok(1..)) {
        let _ = fs::remove_file(fresh);
    }
    copied
}

fn create(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

fn subject(line: &[u8]) -> Option<u128> {
    let at = memchr::memmem::find(line, SUBJECT)? + SUBJECT.len();
    let digits = std::str::from_utf8(line.get(at..at + 32)?).ok()?;
    u128::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{
        super::{Reader, Row, Scored, row::tests::scored},
        *,
    };

    fn of(event: u64, subject: u128) -> Scored {
        Scored { subject, ..scored(event) }
    }

    fn subjects(path: &Path) -> Vec<u128> {
        let mut reader = Reader::open(path, &Progress::default()).unwrap();
        let rows = std::iter::from_fn(|| reader.next_row().unwrap());
        rows.map(|row: Row| row.subject_hash().unwrap()).collect()
    }

    #[test]
    fn the_lines_of_a_subject_go_from_both_files_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        let mut file = HistoryFile::open(&path, 40_000).unwrap();
        for event in 0..40 {
            let mut line = Vec::new();
            of(event, u128::from(event % 4)).row(1).write(&mut line);
            file.append(&line).unwrap();
        }
        drop(file);
        let aside = HistoryFile::aside(&path);
        let before = [subjects(&aside), subjects(&path)];
        assert!(before.iter().all(|part| part.contains(&2) && part.contains(&3)));
        let theirs = |part: &Vec<u128>| part.iter().filter(|s| **s == 2 || **s == 7).count();
        let count = before.iter().map(theirs).sum::<usize>() as u64;
        assert_eq!(erase(&path, &HashSet::from([2, 7])).unwrap(), count);
        for (part, before) in [&aside, &path].into_iter().zip(before) {
            let kept: Vec<u128> = before.into_iter().filter(|subject| *subject != 2).collect();
            assert_eq!(subjects(part), kept);
            assert_eq!(part.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(erase(&path, &HashSet::from([2])).unwrap(), 0);
        assert_eq!(erase(&dir.path().join("none"), &HashSet::from([2])).unwrap(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // What is no history is left alone.
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(erase(&path, &HashSet::from([3])).is_err());
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
