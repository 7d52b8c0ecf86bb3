//! What `deny` and `allow` ask of the daemon.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::{
    enforce::{
        denylist::DenyCounts,
        entry::{Source, Written},
    },
    time::Time,
};

/// Entries that one answer lists at most.
pub const MAX_LISTED: usize = 20_000;

/// A token on its way to the daemon, which alone can make its key. It is shown nowhere, and wiped
/// when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenText(String);

impl TokenText {
    /// Takes the token over.
    #[must_use]
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl Drop for TokenText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What an entry is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The entry itself.
    Entry(Written),
    /// A token, whose key is to be denied.
    Token(TokenText),
}

/// A change of what is denied or allowed, or a look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Puts an entry in, or gives it new terms.
    Add {
        /// Which.
        target: Target,
        /// Why.
        reason: String,
        /// For how long, in seconds; for good when absent.
        seconds: Option<u64>,
    },
    /// Takes an entry out.
    Remove {
        /// Which.
        target: Target,
    },
    /// Takes out all entries that are not of files or the configuration.
    Flush {
        /// Only those of this source.
        source: Option<Source>,
    },
    /// Lists entries.
    List {
        /// How many at most.
        limit: usize,
    },
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// How many entries were put in or taken out.
    pub count: usize,
    /// The entry, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Written>,
    /// Until when it holds, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What is denied or allowed.
    pub entry: Written,
    /// Since when, RFC 3339.
    pub added: String,
    /// Until when, RFC 3339; for good when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why.
    pub reason: String,
    /// On whose word.
    pub source: Source,
}

impl Listed {
    /// An entry with its terms.
    #[must_use]
    pub fn new(entry: Written, terms: &crate::enforce::entry::Terms<'_>) -> Self {
        Self {
            entry,
            added: terms.added.to_string(),
            until: terms.until.as_ref().map(Time::to_string),
            reason: terms.reason.to_owned(),
            source: terms.source,
        }
    }
}

/// A denylist file in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Its path.
    pub file: String,
    /// Its token keys.
    pub tokens: usize,
    /// Its addresses and networks.
    pub addresses: usize,
    /// Its subjects.
    pub subjects: usize,
}

/// The answer to [`Change::List`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The first entries, addresses before subjects before tokens, each ascending.
    pub entries: Vec<Listed>,
    /// How many there are, without those of files.
    pub total: usize,
    /// Files, of a denylist.
    #[serde(default)]
    pub files: Vec<ListedFile>,
    /// How much is denied, of a denylist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<DenyCounts>,
}
