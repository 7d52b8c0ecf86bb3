//! Files that are written whole or not at all, and read only where nobody else may have written
//! them.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::process::geteuid;

/// Tells the writes of this process apart.
static WRITES: AtomicU64 = AtomicU64::new(0);

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
