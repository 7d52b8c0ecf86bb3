//! Threat feeds: what other people say of addresses, networks, domains and user agents.
//!
//! [`parse`] takes the bytes of one feed and gives its indicators, each with where it stands. A feed
//! is somebody else's file: a line that is no indicator is passed over and counted, and only a feed
//! of which most lines are none is refused, as an error page or another format would be.
#![forbid(unsafe_code)]

mod csv;
mod stix;
mod table;

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

pub use self::table::{FeedTable, Hit, MAX_TABLE_ENTRIES, Meaning};
use crate::{networks, time::Time};

/// Indicators that one feed may have: ten times the largest list of networks in common use.
pub const MAX_INDICATORS: usize = 1_000_000;

/// Bytes of a domain name (RFC 1035, section 2.3.4).
const MAX_DOMAIN: usize = 253;

/// Bytes of a user agent; longer ones are no indicator that anybody would write.
const MAX_USER_AGENT: usize = 1_024;

/// Of so many lines that mean something, one at least must be an indicator.
const MOSTLY: u64 = 2;

/// How a feed is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One indicator a line; `#` and `;` begin a comment.
    Plain(Kind),
    /// Lines of fields with commas in between (RFC 4180), the indicators in one column.
    Csv(Column, Kind),
    /// A STIX 2.1 bundle: the indicators' patterns.
    Stix,
}

/// A column of a CSV feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By number, from 1.
    Number(usize),
    /// By its name in the first line.
    Name(String),
}

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Addresses, networks and domains, each told by its form.
    #[default]
    Host,
    /// User agents.
    UserAgent,
}

/// What a feed names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Indicator {
    /// An address.
    Address(IpAddr),
    /// A network; never of one address.
    Network(IpNet),
    /// A domain, in lower case, without a dot at its end.
    Domain(String),
    /// A user agent, as the header field has it.
    UserAgent(String),
}

impl Indicator {
    /// The network, of an address the one of only it.
    #[must_use]
    pub fn network(&self) -> Option<IpNet> {
        match self {
            Self::Address(address) => Some(networks::canonical(IpNet::from(*address))),
            Self::Network(network) => Some(*network),
            Self::Domain(_) | Self::UserAgent(_) => None,
        }
    }

    fn read(text: &str, kind: Kind) -> Option<Self> {
        match kind {
            Kind::UserAgent => Self::user_agent(text),
            Kind::Host => Self::host(text).or_else(|| Self::domain(text)),
        }
    }

    fn host(text: &str) -> Option<Self> {
        let network = networks::parse(text)?;
        Some(if network.prefix_len() == network.max_prefix_len() {
            Self::Address(network.addr())
        } else {
            Self::Network(network)
        })
    }

    /// A name of two labels at least, the last of which is no number (RFC 1123, section 2.1).
    fn domain(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let last = name.rsplit_once('.')?.1;
        let is_name = name.len() <= MAX_DOMAIN
            && name.split('.').all(label)
            && last.bytes().any(|b| b.is_ascii_alphabetic());
        is_name.then(|| Self::Domain(name.to_ascii_lowercase()))
    }

    fn user_agent(text: &str) -> Option<Self> {
        let fits =
            (1..=MAX_USER_AGENT).contains(&text.len()) && !text.chars().any(|c| c.is_control());
        fits.then(|| Self::UserAgent(text.to_owned()))
    }
}

/// An indicator of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is named.
    pub indicator: Indicator,
    /// Where: the line, from 1; in a bundle the place among its objects, from 1.
    pub line: u32,
}

/// What a feed holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The indicators, in their order.
    pub items: Vec<Item>,
    /// Lines, or patterns, that were passed over.
    pub skipped: u64,
    /// Of a bundle, the UUIDs of its indicators' ids by their place, ascending.
    pub ids: Vec<(u32, u128)>,
}

/// Why a feed is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Over [`MAX_INDICATORS`].
    #[error("more than {MAX_INDICATORS} indicators")]
    TooMany,
    /// Most of it is something else.
    #[error("line {line} is no indicator, as most lines")]
    Foreign {
        /// The first that is not.
        line: u32,
    },
    /// It has no such column.
    #[error("there is no column {0}")]
    NoColumn(Column),
    /// No bundle.
    #[error("no STIX 2.1 bundle: {0}")]
    NoBundle(String),
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// Reads a feed; indicators that are over by `now` are left out.
///
/// # Errors
/// It is too large, or most of it is no indicator.
pub fn parse(bytes: &[u8], format: &Format, now: Time) -> Result<Feed, FeedError> {
    // A byte order mark in front is no part of the first entry.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match format {
        Format::Plain(kind) => plain(bytes, *kind),
        Format::Csv(column, kind) => csv::parse(bytes, column, *kind),
        Format::Stix => stix::parse(bytes, now),
    }
}

/// Gathers the indicators of lines.
#[derive(Default)]
struct Gathered {
    feed: Feed,
    /// The first line that is none.
    foreign: Option<u32>,
}

impl Gathered {
    fn take(&mut self, line: u32, indicator: Option<Indicator>) -> Result<(), FeedError> {
        match indicator {
            Some(_) if self.feed.items.len() >= MAX_INDICATORS => return Err(FeedError::TooMany),
            Some(indicator) => self.feed.items.push(Item { indicator, line }),
            None => {
                self.feed.skipped += 1;
                self.foreign.get_or_insert(line);
            }
        }
        Ok(())
    }

    fn done(self) -> Result<Feed, FeedError> {
        let all = self.feed.items.len() as u64 + self.feed.skipped;
        match self.foreign {
            Some(line) if self.feed.items.len() as u64 * MOSTLY < all => {
                Err(FeedError::Foreign { line })
            }
            _ => Ok(self.feed),
        }
    }
}

fn plain(bytes: &[u8], kind: Kind) -> Result<Feed, FeedError> {
    let mut gathered = Gathered::default();
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let Ok(line) = std::str::from_utf8(line) else {
            gathered.take(number, None)?;
            continue;
        };
        let line = line.trim();
        let entry = match kind {
            // A user agent may hold either sign.
            Kind::UserAgent if line.starts_with(['#', ';']) => "",
            Kind::UserAgent => line,
            // What stands behind the first word is somebody's remark.
            Kind::Host => {
                let entry = line.split(['#', ';']).next().unwrap_or_default();
                entry.split_ascii_whitespace().next().unwrap_or_default()
            }
        };
        if !entry.is_empty() {
            gathered.take(number, Indicator::read(entry, kind))?;
        }
    }
    gathered.done()
}

#[cfg(test)]
mod tests;
