//! Fetched key sets on disk, so that a restart needs no network.
//!
//! A file holds the answers as they came; they are read with the same limits again. It is named
//! by its issuer and by where the keys were fetched from: another configuration finds no keys of
//! an earlier one.

use std::{
    io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{Error, files, rotation::MAX_EARLIER};
use crate::{keys::MAX_KEY_SET_BYTES, whole_file};

/// The format below.
const VERSION: u32 = 1;
/// The largest cache file: all sets at their longest, with every quote escaped.
const MAX_CACHE_BYTES: usize = 2 * (MAX_EARLIER + 2) * MAX_KEY_SET_BYTES;

/// What a cache file holds. Times are seconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
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
    if !whole_file::is_ours(&metadata) {
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
    whole_file::write(path, &[&serde_json::to_vec(cached)?])
}
