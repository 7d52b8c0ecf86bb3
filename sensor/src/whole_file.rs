//! Files that are written whole or not at all, and read only where they are files, and nobody else
//! may have written them.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::process::geteuid;

/// Tells the writes of this process apart.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Opens a regular file to read it, also behind a symbolic link. Of what else may have the name, a
/// named pipe would have its reader wait for a writer, and a device may never end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Whether only this user and root may have written the file.
pub(crate) fn is_ours(metadata: &Metadata) -> bool {
    let ours = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
    ours && metadata.mode() & 0o022 == 0
}

/// Writes a file of mode 0600 from these pieces, in a folder that is made where it is not there.
pub(crate) fn write(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    remove_leftovers(path);
    // Two may write at once: a reload does not wait for the thread before it. What a crash leaves
    // behind is in the way at most of a process with the same id.
    let fresh = path.with_extension(format!(
        "{}-{}.new",
        process::id(),
        WRITES.fetch_add(1, Ordering::Relaxed)
    ));
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let written = pieces
        .iter()
        .try_for_each(|piece| file.write_all(piece))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The disk may be full of it.
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// Removes what processes before this one have left of the file when they were killed in the middle
/// of writing it. A folder that can't be read keeps it.
fn remove_leftovers(path: &Path) {
    let (Some(dir), Some(stem)) = (path.parent(), path.file_stem().and_then(OsStr::to_str)) else {
        return;
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_leftover = name
            .to_str()
            .and_then(|name| name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".new"))
            .and_then(|writer| writer.split_once('-'))
            .is_some_and(|(writer, number)| {
                writer.parse::<u32>().is_ok_and(|id| id != process::id())
                    && number.parse::<u64>().is_ok()
            });
        if is_leftover {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let [pipe, file, link] = ["pipe", "file", "link"].map(|name| dir.path().join(name));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [&pipe, dir.path(), Path::new("/dev/zero")] {
            let error = open(path).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{}", path.display());
        }
        assert_eq!(open(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(io::read_to_string(open(&link).unwrap()).unwrap(), "x");
        assert_eq!(write(&pipe, &[b"y"]).map(|()| fs::read(&pipe).unwrap()).unwrap(), b"y");
    }

    #[test]
    fn what_a_killed_writer_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("learned.jsonl");
        let [left, other, own, strange] =
            ["learned.0-3.new", "other.0-3.new", "learned.new", "learned.0-x.new"]
                .map(|name| dir.path().join(name));
        let ours = dir.path().join(format!("learned.{}-999999.new", process::id()));
        for path in [&left, &other, &own, &strange, &ours] {
            fs::write(path, "x").unwrap();
        }
        write(&path, &[b"y"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"y");
        assert!(!left.exists());
        assert!([other, own, strange, ours].iter().all(|path| path.exists()));
    }
}
