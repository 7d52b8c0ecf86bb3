//! The last good text of each feed that is fetched, so that a restart needs no network.
//!
//! A file holds one line of JSON, and the text as it came; it is read with the same limits again. It
//! is named by feed and URL: another configuration finds nothing of an earlier one. The time of its
//! last change is when the text was last known to be current.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::{config::Config, time::Time, whole_file};

/// The folder in `daemon.state_dir`.
const FOLDER: &str = "feeds";

/// The format below.
const VERSION: u32 = 1;

/// The longest first line: two validators at their longest, escaped.
const MAX_HEAD: u64 = 8 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    etag: Option<String>,
    last_modified: Option<String>,
    bytes: u64,
}

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) text: Vec<u8>,
    /// When it was last known to be current.
    pub(super) at: Time,
}

/// The file of a feed.
pub(super) fn path(config: &Config, name: &str, url: &str) -> PathBuf {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(url.as_bytes());
    let hash = hash.finish();
    let hex = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    config.daemon.state_dir.join(FOLDER).join(format!("{name}-{hex}"))
}

/// Reads a file of a text of at most `most` bytes; `None` where there is none.
///
/// # Errors
/// Why it is not used, in a few words.
pub(super) fn load(path: &Path, most: u64) -> Result<Option<Kept>, String> {
    let refused = |why: &dyn std::fmt::Display| Err(format!("{}: {why}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refused(&error),
    };
    let read = || -> io::Result<_> {
        let metadata = file.metadata()?;
        let at = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut reader = BufReader::new(&file);
        let (mut line, mut text) = (Vec::new(), Vec::new());
        (&mut reader).take(MAX_HEAD).read_until(b'\n', &mut line)?;
        reader.take(most + 1).read_to_end(&mut text)?;
        Ok((metadata, Time::EPOCH + at, line, text))
    };
    let (metadata, at, line, text) = match read() {
        Ok(read) => read,
        Err(error) => return refused(&error),
    };
    if !whole_file::is_ours(&metadata) || !metadata.is_file() {
        return refused(&"others may write it");
    }
    match serde_json::from_slice::<Head>(&line) {
        Ok(head) if head.version != VERSION => refused(&"written by another version"),
        Ok(head) if head.bytes > most => refused(&"larger than max_bytes"),
        Ok(head) if head.bytes == text.len() as u64 => {
            Ok(Some(Kept { etag: head.etag, last_modified: head.last_modified, text, at }))
        }
        _ => refused(&"torn, or no text of a feed"),
    }
}

/// Keeps a text.
pub(super) fn store(
    path: &Path,
    (etag, last_modified): (Option<String>, Option<String>),
    text: &[u8],
) -> io::Result<()> {
    let head = Head { version: VERSION, etag, last_modified, bytes: text.len() as u64 };
    let mut line = serde_json::to_vec(&head)?;
    line.push(b'\n');
    whole_file::write(path, &[&line, text])
}

/// What is kept is still current.
pub(super) fn touch(path: &Path, now: Time) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_modified(UNIX_EPOCH + now.since(Time::EPOCH))
}

/// Removes what is kept of feeds that the configuration does not name.
pub(super) fn prune(config: &Config) {
    let feeds = config.feeds.iter().chain(&config.enforcement.feeds);
    let named: HashSet<PathBuf> = feeds
        .filter_map(|feed| Some(path(config, feed.name.get_ref(), feed.url.as_ref()?.get_ref())))
        .collect();
    let Ok(entries) = fs::read_dir(config.daemon.state_dir.join(FOLDER)) else { return };
    for entry in entries.flatten().map(|entry| entry.path()) {
        if !named.contains(&entry) {
            let _ = fs::remove_file(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_text_is_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feeds").join("a");
        assert_eq!(load(&path, 100), Ok(None));
        store(&path, (Some("\"x\"".into()), None), b"192.0.2.1\n# {}\n").unwrap();
        touch(&path, Time::from_unix_secs(1_000)).unwrap();
        let kept = load(&path, 100).unwrap().unwrap();
        assert_eq!(kept.text, b"192.0.2.1\n# {}\n");
        assert_eq!((kept.etag.as_deref(), kept.last_modified), (Some("\"x\""), None));
        assert_eq!(kept.at.unix_secs(), 1_000);
        assert!(load(&path, 14).unwrap_err().ends_with("larger than max_bytes"));
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let error = load(&path, 100).unwrap_err();
            assert!(error.ends_with("torn, or no text of a feed"), "{len}: {error}");
        }
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(load(&path, 100).unwrap_err().ends_with("others may write it"));
    }

    #[test]
    fn what_no_feed_is_kept_for_goes() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[daemon]\nstate_dir = {:?}\n[[feed]]\nname = \"a\"\nurl = \"https://a/\"\n\
             [[enforcement.feed]]\nname = \"b\"\nurl = \"https://b/\"\n",
            dir.path()
        );
        let config = crate::config::parse(&text, Path::new("c.toml")).unwrap();
        let all =
            [("a", "https://a/"), ("b", "https://b/"), ("a", "https://b/"), ("c", "https://a/")];
        let all = all.map(|(name, url)| path(&config, name, url));
        for path in &all {
            store(path, (None, None), b"").unwrap();
        }
        prune(&config);
        assert_eq!(all.map(|path| path.exists()), [true, true, false, false]);
    }
}
