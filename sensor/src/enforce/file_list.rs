//! Denylists in files: one entry a line, read whole or not at all.
//!
//! ```text
//! # what stands behind a # or a ; is a comment
//! 198.51.100.7
//! 203.0.113.0/24 ; as threat feeds write it
//! 2001:db8::/32
//! token-key 0011223344556677
//! subject mallory
//! subject mallory https://id.example
//! ```
//!
//! A plain list of addresses and networks, which is what most threat feeds are, needs no change.

use std::{
    collections::HashSet,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    entry::{Denied, EntryError, Source, Terms, Written},
    tables::TokenKey,
};
use crate::{feeds::Feed, networks, policy::AllowedName, time::Time, whole_file};

/// Bytes of one file: a million token keys and comments.
pub const MAX_FILE_BYTES: usize = 128 << 20;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has over [`MAX_FILE_BYTES`].
    #[error("{}: over 128 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is no entry.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// The entries of one file.
#[derive(Clone, Debug)]
pub struct FileList {
    name: String,
    /// Ascending, each once: a million take 16 MB.
    tokens: Arc<[TokenKey]>,
    /// Ascending, each once.
    networks: Vec<IpNet>,
    /// Where each network stands first.
    lines: Vec<u32>,
    subjects: HashSet<AllowedName>,
    loaded: Time,
    is_feed: bool,
}

/// Ascending, each once, with the first line of each.
fn sorted(mut found: Vec<(IpNet, u32)>) -> (Vec<IpNet>, Vec<u32>) {
    found.sort_unstable();
    found.dedup_by_key(|(network, _)| *network);
    found.into_iter().unzip()
}

impl FileList {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, is too large, or a line of it is no entry; the error names the line.
    pub fn load(path: &Path, now: Time) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.into(), source };
        let file = whole_file::open(path).map_err(unreadable)?;
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { path: path.into() });
        }
        Self::parse(&text, path, now)
    }

    /// Reads the bytes of a file; `path` is for its name and for errors.
    ///
    /// # Errors
    /// A line is no entry.
    pub fn parse(text: &[u8], path: &Path, now: Time) -> Result<Self, FileError> {
        let mut found: Vec<(IpNet, u32)> = Vec::new();
        let (mut tokens, mut subjects) = (Vec::new(), HashSet::new());
        // A byte order mark in front is no part of the first entry.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (number, line) in (1_u32..).zip(text.split(|&byte| byte == b'\n')) {
            let wrong =
                |message| FileError::Line { path: path.into(), line: number as usize, message };
            let line = std::str::from_utf8(line).map_err(|_| wrong("not UTF-8".to_owned()))?;
            match entry(line).map_err(wrong)? {
                None | Some(Denied::Flow(_)) => {}
                Some(Denied::Token(key)) => tokens.push(key),
                Some(Denied::Network(network)) => found.push((network, number)),
                Some(Denied::Subject(name)) => drop(subjects.insert(name)),
            }
        }
        tokens.sort_unstable();
        tokens.dedup();
        let (networks, lines) = sorted(found);
        let (tokens, name) = (tokens.into(), path.display().to_string());
        Ok(Self { name, tokens, networks, lines, subjects, loaded: now, is_feed: false })
    }

    /// What a feed of this name says of addresses and networks.
    #[must_use]
    pub fn of_feed(name: &str, feed: &Feed, now: Time) -> Self {
        let found =
            feed.items.iter().filter_map(|item| Some((item.indicator.network()?, item.line)));
        let (networks, lines) = sorted(found.collect());
        Self {
            name: Self::feed_name(name),
            tokens: Arc::default(),
            networks,
            lines,
            subjects: HashSet::new(),
            loaded: now,
            is_feed: true,
        }
    }

    /// The [`name`](Self::name) of a feed's list.
    #[must_use]
    pub fn feed_name(name: &str) -> String {
        format!("feed {name}")
    }

    /// Whether it is a feed, and no file of `deny_files`.
    #[must_use]
    pub fn is_feed(&self) -> bool {
        self.is_feed
    }

    /// The file's path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its token keys, ascending.
    #[must_use]
    pub fn tokens(&self) -> &[TokenKey] {
        &self.tokens
    }

    pub(super) fn shared_tokens(&self) -> Arc<[TokenKey]> {
        Arc::clone(&self.tokens)
    }

    /// Its networks, ascending.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Its subjects.
    #[must_use]
    pub fn subjects(&self) -> &HashSet<AllowedName> {
        &self.subjects
    }

    /// Whether it has this token key.
    #[must_use]
    pub fn has_token(&self, key: TokenKey) -> bool {
        self.tokens.binary_search(&key).is_ok()
    }

    /// Whether it has exactly this network.
    #[must_use]
    pub fn has_network(&self, network: IpNet) -> bool {
        self.networks.binary_search(&networks::canonical(network)).is_ok()
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.networks.len() + self.subjects.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of each of its entries.
    #[must_use]
    pub fn terms(&self) -> Terms<'_> {
        let source = Source::File;
        Terms { until: None, added: self.loaded, reason: &self.name, line: None, source }
    }

    /// What is known of a network in it.
    #[must_use]
    pub fn terms_of_network(&self, network: IpNet) -> Terms<'_> {
        let at = self.networks.binary_search(&networks::canonical(network)).ok();
        Terms { line: at.and_then(|at| self.lines.get(at).copied()), ..self.terms() }
    }
}

/// The entry of a line, where it has one.
fn entry(line: &str) -> Result<Option<Denied>, String> {
    // A comment begins a line or stands behind white space: a subject may hold a #.
    let comment = line
        .char_indices()
        .find(|&(at, c)| {
            matches!(c, '#' | ';')
                && line.get(..at).is_none_or(|b| b.is_empty() || b.ends_with([' ', '\t']))
        })
        .map_or(line.len(), |(at, _)| at);
    let mut words = line.get(..comment).unwrap_or(line).split_ascii_whitespace();
    let Some(first) = words.next() else { return Ok(None) };
    let mut word = |what: &str| words.next().ok_or(format!("{first} needs {what}"));
    let written = match first {
        "token-key" => Written::Token { token_key: word("a token key")?.to_owned() },
        "subject" => {
            let subject = word("a subject")?.to_owned();
            Written::Subject { subject, issuer: words.next().map(str::to_owned) }
        }
        address => Written::Address { address: address.to_owned() },
    };
    let denied = written.denied().map_err(|error| match error {
        EntryError::Address(text) => format!(
            "{text:?} is no entry: write an address, a network, token-key HEX or subject NAME [ISSUER]"
        ),
        other => other.to_string(),
    })?;
    match words.next() {
        Some(more) => {
            let more: String = more.chars().take(64).collect();
            Err(format!("{more:?} stands behind the entry; a comment begins with #"))
        }
        None => Ok(Some(denied)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FileError, FileList};
    use crate::{enforce::tables::TokenKey, networks, policy::AllowedName, time::Time};

    fn parse(text: &[u8]) -> Result<FileList, FileError> {
        FileList::parse(text, Path::new("d.txt"), Time::EPOCH)
    }

    #[test]
    fn entries_feeds_and_comments_are_read() {
        let list = parse(
            b"\xef\xbb\xbf# a list\r\n\r\n198.51.100.7\n203.0.113.9/24 ; SBL1\n 2001:db8::/32 # x y\n\
              ;comment\ntoken-key 000000000000000100000000000000FF\nsubject a#b\n\
              subject a#b https://id.example\t# and why\n198.51.100.7\n::ffff:1.2.3.4",
        )
        .unwrap();
        assert_eq!(list.tokens(), [TokenKey([1, 255])]);
        for network in ["198.51.100.7", "203.0.113.0/24", "2001:db8::/32", "1.2.3.4"] {
            assert!(list.has_network(networks::parse(network).unwrap()), "{network}");
        }
        assert_eq!(list.networks().len(), 4);
        let name = |issuer: Option<&str>| AllowedName {
            issuer: issuer.map(str::to_owned),
            subject: "a#b".to_owned(),
        };
        assert_eq!(list.subjects().len(), 2);
        assert!(list.subjects().contains(&name(None)));
        assert!(list.subjects().contains(&name(Some("https://id.example"))));
        assert_eq!(list.len(), 7);
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_bad_line_refuses_the_file_and_is_named() {
        for (text, due) in [
            (&b"1.2.3.4\n1.2.3\n"[..], "d.txt:2: \"1.2.3\" is no entry: write an address"),
            (b"1.2.3.4/33", "d.txt:1: \"1.2.3.4/33\" is no entry"),
            (b"\n\ntoken-key 12", "d.txt:3: a token key has 32 hexadecimal digits"),
            (b"token-key", "d.txt:1: token-key needs a token key"),
            (b"subject # who", "d.txt:1: subject needs a subject"),
            (b"1.2.3.4 5.6.7.8", "d.txt:1: \"5.6.7.8\" stands behind the entry"),
            (b"1.2.3.4\n\xff", "d.txt:2: not UTF-8"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(due), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = FileList::load(&dir.path().join("none"), Time::EPOCH).unwrap_err();
        assert!(error.to_string().contains("none: No such file"), "{error}");
    }
}
