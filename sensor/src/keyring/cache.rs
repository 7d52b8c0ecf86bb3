//! Fetched key sets on disk, so that a restart needs no network.
//!
//! A file holds the answers as they came; they are read with the same limits again. It is named
//! by its issuer and by where the keys were fetched from: another configuration finds no keys of
//! an earlier one.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::digest;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::{Error, files, rotation::MAX_EARLIER};
use crate::keys::MAX_KEY_SET_BYTES;

/// The format below.
const VERSION: u32 = 1;
/// The largest cache file: all sets at their longest, with every quote escaped.
const MAX_CACHE_BYTES: usize = 2 * (MAX_EARLIER + 2) * MAX_KEY_SET_BYTES;

/// Tells the writes of this process apart.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// What a cache file holds. Times are seconds since the Unix epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cached {
    version: u32,
    /// Where the set was fetched: the validators are of this URL alone.
    pub(super) url: String,
    pub(super) fetched: u64,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) set: String,
    /// Newest first.
    pub(super) earlier: Vec<CachedEarlier>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CachedEarlier {
    pub(super) replaced: u64,
    pub(super) set: String,
}

impl Cached {
    pub(super) fn new(url: String, fetched: u64, set: String) -> Self {
        let (etag, last_modified, earlier) = (None, None, Vec::new());
        Self { version: VERSION, url, fetched, etag, last_modified, set, earlier }
    }
}

/// The file for the keys of `issuer` that are fetched from `source`.
pub(super) fn path(dir: &Path, issuer: Option<&str>, source: &str) -> PathBuf {
    let mut name = digest::Context::new(&digest::SHA256);
    name.update(issuer.unwrap_or_default().as_bytes());
    name.update(&[0, u8::from(issuer.is_some())]);
    name.update(source.as_bytes());
    let name = name.finish();
    let hex = name.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    dir.join(format!("{hex}.json"))
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// Why it is not used, in a few words.
pub(super) fn load(path: &Path) -> Result<Option<Cached>, String> {
    let (bytes, metadata) = match files::read(path, MAX_CACHE_BYTES) {
        Ok(read) => read,
        Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let refused = |why: &str| Err(format!("{}: {why}", path.display()));
    // Whoever writes here decides which signatures are good.
    let ours = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
    if !ours || metadata.mode() & 0o022 != 0 {
        return refused("others may write it");
    }
    match serde_json::from_slice::<Cached>(&bytes) {
        Ok(cached) if cached.version == VERSION => Ok(Some(cached)),
        Ok(_) => refused("written by another version"),
        Err(_) => refused("torn or not a key cache"),
    }
}

/// Writes a file, whole or not at all.
pub(super) fn store(path: &Path, cached: &Cached) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
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
    let written = file
        .write_all(&serde_json::to_vec(cached)?)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The disk may be full of it.
        let _ = fs::remove_file(&fresh);
    }
    written
}
