//! `[[feed]]` and `[[enforcement.feed]]`: lists of others, which are fetched or read again and again.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{Complaint, within};
use crate::{
    endpoint::Endpoint,
    feeds::{Column, Format, Kind, Meaning},
};

/// The most feeds of either table.
pub const MAX_FEEDS: usize = 32;

/// Bytes of a feed's name.
const MAX_NAME: usize = 64;

/// The largest feed, in bytes: a bundle of STIX takes a kilobyte for an address.
const MAX_FEED_BYTES: u64 = 128 << 20;

/// `[[feed]]` or `[[enforcement.feed]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// What it is called in entries, events and status.
    pub name: Spanned<String>,
    /// A file, read when it changed.
    pub path: Option<PathBuf>,
    /// Where it is fetched from.
    pub url: Option<Spanned<String>>,
    /// How it is written.
    #[serde(default)]
    pub format: FeedFormat,
    /// The column of a CSV feed.
    pub column: Option<Spanned<FeedColumn>>,
    /// What it means to stand in it; of what is denied, nothing else.
    pub kind: Option<Spanned<Meaning>>,
    /// What its entries are; of what is denied, hosts.
    pub entries: Option<Spanned<FeedEntries>>,
    /// How often it is fetched.
    #[serde(default = "refresh_seconds")]
    pub refresh_seconds: Spanned<u64>,
    /// How long a fetch may take in all.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: Spanned<u64>,
    /// A larger one is refused.
    #[serde(default = "max_bytes")]
    pub max_bytes: Spanned<u64>,
}

/// `format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedFormat {
    /// One entry a line.
    #[default]
    Plain,
    /// Comma-separated values.
    Csv,
    /// A STIX 2.1 bundle.
    Stix,
}

/// `entries`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedEntries {
    /// Addresses, networks and domains.
    #[default]
    Hosts,
    /// User agents.
    UserAgents,
}

/// `column`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum FeedColumn {
    /// From 1.
    Number(usize),
    /// As the first line names it.
    Name(String),
}

fn refresh_seconds() -> Spanned<u64> {
    Spanned::new(0..0, 3_600)
}

fn timeout_seconds() -> Spanned<u64> {
    Spanned::new(0..0, 30)
}

fn max_bytes() -> Spanned<u64> {
    Spanned::new(0..0, 32 << 20)
}

impl FeedConfig {
    /// How it is read.
    #[must_use]
    pub fn format(&self) -> Format {
        let kind = match self.entries.as_ref().map(|entries| *entries.get_ref()) {
            Some(FeedEntries::UserAgents) => Kind::UserAgent,
            Some(FeedEntries::Hosts) | None => Kind::Host,
        };
        let column = match self.column.as_ref().map(Spanned::get_ref) {
            Some(FeedColumn::Name(name)) => Column::Name(name.clone()),
            Some(FeedColumn::Number(number)) => Column::Number(*number),
            None => Column::Number(1),
        };
        match self.format {
            FeedFormat::Plain => Format::Plain(kind),
            FeedFormat::Csv => Format::Csv(column, kind),
            FeedFormat::Stix => Format::Stix,
        }
    }

    /// What it means to stand in it.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.kind.as_ref().map(|kind| *kind.get_ref()).unwrap_or_default()
    }

    /// Whether what came of the other is what would come of this one.
    #[must_use]
    pub fn is_same_source(&self, other: &Self) -> bool {
        // The place in the file is no part of what a feed is.
        let source = |feed: &Self| {
            let url = feed.url.as_ref().map(|url| url.get_ref().clone());
            (feed.name.get_ref().clone(), feed.path.clone(), url, feed.format(), feed.meaning())
        };
        source(self) == source(other)
    }

    /// How often it is fetched.
    #[must_use]
    pub fn refresh(&self) -> Duration {
        Duration::from_secs(*self.refresh_seconds.get_ref())
    }

    /// How long a fetch may take in all.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(*self.timeout_seconds.get_ref())
    }
}

/// `denied` are those of `[[enforcement.feed]]`.
pub(super) fn check(
    feeds: &[FeedConfig],
    denied: &[FeedConfig],
    allow_http: bool,
) -> Result<(), Complaint> {
    let mut names = HashSet::new();
    check_table(feeds, &mut names, allow_http)?;
    check_table(denied, &mut names, allow_http)?;
    for feed in feeds {
        if let (FeedFormat::Stix, Some(entries)) = (feed.format, &feed.entries) {
            let message = "the patterns of format = \"stix\" say what their entries are";
            return Err((entries.span(), message.to_owned()));
        }
    }
    for feed in denied {
        let span = feed.kind.as_ref().map(Spanned::span);
        if let Some(span) = span.or(feed.entries.as_ref().map(Spanned::span)) {
            let message = "what is denied are addresses; kind and entries are of [[feed]] only";
            return Err((span, message.to_owned()));
        }
    }
    Ok(())
}

fn check_table<'c>(
    feeds: &'c [FeedConfig],
    names: &mut HashSet<&'c String>,
    allow_http: bool,
) -> Result<(), Complaint> {
    for (at, feed) in feeds.iter().enumerate() {
        let name = feed.name.get_ref();
        let wrong = |message: String| Err((feed.name.span(), message));
        if at >= MAX_FEEDS {
            return wrong(format!("more than {MAX_FEEDS} feeds"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return wrong(format!(
                "name must have 1 to {MAX_NAME} letters, digits, dots, hyphens and underscores"
            ));
        }
        if !names.insert(name) {
            return wrong(format!("another feed is called {name:?}"));
        }
        match (&feed.path, &feed.url) {
            (Some(_), Some(url)) => {
                return Err((url.span(), "a feed has a path or a url, not both".to_owned()));
            }
            (None, None) => return wrong("the feed needs a path or a url".to_owned()),
            (None, Some(url)) => {
                Endpoint::parse(url.get_ref(), allow_http)
                    .map_err(|error| (url.span(), format!("url: {error}")))?;
            }
            (Some(_), None) => {}
        }
        match (&feed.column, feed.format) {
            (Some(column), FeedFormat::Plain | FeedFormat::Stix) => {
                return Err((column.span(), "column is of format = \"csv\" only".to_owned()));
            }
            (Some(column), _) if *column.get_ref() == FeedColumn::Number(0) => {
                return Err((column.span(), "columns are counted from 1".to_owned()));
            }
            (None, FeedFormat::Csv) => return wrong("a csv feed needs a column".to_owned()),
            _ => {}
        }
        within(&feed.refresh_seconds, "refresh_seconds", 60, 604_800)?;
        within(&feed.timeout_seconds, "timeout_seconds", 1, 300)?;
        within(&feed.max_bytes, "max_bytes", 1_024, MAX_FEED_BYTES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        config::parse,
        feeds::{Column, Format, Kind, Meaning},
    };

    #[test]
    fn feeds_are_read_and_what_is_wrong_is_named_with_its_line() {
        let text = "[[enforcement.feed]]\nname = \"a\"\npath = \"/a.csv\"\nformat = \"csv\"\n\
            column = \"ip\"\n[[enforcement.feed]]\nname = \"b\"\nurl = \"https://a.example/b\"\n\
            refresh_seconds = 60\nformat = \"stix\"\n";
        let feeds = parse(text, Path::new("c.toml")).unwrap().enforcement.feeds;
        assert_eq!(feeds[0].format(), Format::Csv(Column::Name("ip".into()), Kind::Host));
        assert_eq!((feeds[1].format(), feeds[1].refresh().as_secs()), (Format::Stix, 60));
        let text = "[[feed]]\nname = \"a\"\npath = \"/a\"\nkind = \"tor\"\n[[feed]]\nname = \"b\"\n\
            path = \"/b\"\nentries = \"user-agents\"\n";
        let feeds = parse(text, Path::new("c.toml")).unwrap().feeds;
        assert_eq!(
            (feeds[0].meaning(), feeds[0].format()),
            (Meaning::Tor, Format::Plain(Kind::Host))
        );
        assert_eq!(
            (feeds[1].meaning(), feeds[1].format()),
            (Meaning::Threat, Format::Plain(Kind::UserAgent))
        );
        for (text, due) in [
            (
                "[[feed]]\nname = \"a\"\npath = \"/x\"\nkind = \"tro\"\n",
                "c.toml:4:8: feed.kind: unknown value `tro`, expected one of `threat`",
            ),
            (
                "[[enforcement.feed]]\nname = \"a\"\npath = \"/x\"\nkind = \"tor\"\n",
                "c.toml:4:8: enforcement.feed.kind: what is denied are addresses",
            ),
            (
                "[[feed]]\nname = \"a\"\npath = \"/x\"\nformat = \"stix\"\nentries = \"hosts\"\n",
                "c.toml:5:11: feed.entries: the patterns of format",
            ),
            (
                "[[feed]]\nname = \"a\"\npath = \"/x\"\n[[enforcement.feed]]\nname = \"a\"\npath = \"/x\"\n",
                "c.toml:5:8: enforcement.feed.name: another feed is called \"a\"",
            ),
        ] {
            let error = parse(text, Path::new("c.toml")).unwrap_err().to_string();
            assert!(error.starts_with(due), "{error}");
        }
        for (text, due) in [
            ("name = \"a\"", "c.toml:2:8: enforcement.feed.name: the feed needs a path or a url"),
            (
                "name = \"a b\"\npath = \"/x\"",
                "c.toml:2:8: enforcement.feed.name must have 1 to 64 letters",
            ),
            ("path = \"/x\"", "c.toml:1:1: enforcement.feed: missing field `name`"),
            (
                "name = \"a\"\npath = \"/x\"\nurl = \"https://a\"",
                "c.toml:4:7: enforcement.feed.url: a feed has a path or a url, not both",
            ),
            (
                "name = \"a\"\nurl = \"http://a\"",
                "c.toml:3:7: enforcement.feed.url: plain HTTP is not allowed",
            ),
            ("name = \"a\"\nurl = \"a\"", "c.toml:3:7: enforcement.feed.url: not an absolute URL"),
            (
                "name = \"a\"\npath = \"/x\"\nformat = \"cvs\"",
                "c.toml:4:10: enforcement.feed.format: unknown value `cvs`, expected one of `plain`, `csv`, `stix`; did you mean",
            ),
            (
                "name = \"a\"\npath = \"/x\"\ncolumn = 1",
                "c.toml:4:10: enforcement.feed.column is of format",
            ),
            (
                "name = \"a\"\npath = \"/x\"\nformat = \"csv\"\ncolumn = 0",
                "c.toml:5:10: enforcement.feed.column: columns are counted from 1",
            ),
            (
                "name = \"a\"\npath = \"/x\"\nformat = \"csv\"",
                "c.toml:2:8: enforcement.feed.name: a csv feed needs a column",
            ),
            (
                "name = \"a\"\npath = \"/x\"\nrefresh_seconds = 1",
                "c.toml:4:19: enforcement.feed.refresh_seconds must be from 60",
            ),
            (
                "name = \"a\"\npath = \"/x\"\n[[enforcement.feed]]\nname = \"a\"",
                "c.toml:5:8: enforcement.feed.name: another feed is called \"a\"",
            ),
        ] {
            let text = format!("[[enforcement.feed]]\n{text}\n");
            let error = parse(&text, Path::new("c.toml")).unwrap_err().to_string();
            assert!(error.starts_with(due), "{error}");
        }
    }
}
