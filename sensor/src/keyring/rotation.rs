//! A key set and the ones before it: keys that vanished from the set serve on for a while, since
//! tokens that they signed are still about.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    keys::{Algorithm, Key, KeyError, KeySource, parse_keys},
    time::Time,
};

/// The most earlier sets that are kept. A server that changes its keys more often than that within
/// `keep_seconds` loses the oldest.
pub(super) const MAX_EARLIER: usize = 8;

/// Why an answer is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SetError {
    #[error("the answer is no JSON key set")]
    NotJson,
    #[error("{0}")]
    Keys(#[from] KeyError),
    #[error("the set holds no key that can verify a signature")]
    NoUsableKey,
}

/// A key set as it was fetched.
pub(super) struct FetchedSet {
    /// Its text, for the cache.
    pub(super) text: String,
    /// Its public keys with their thumbprints.
    keys: Vec<(Arc<Key>, Option<[u8; 32]>)>,
    /// Keys that can't be used. Secrets are among them: what is published is none.
    pub(super) rejected: usize,
    /// Whether it may give away a private key.
    pub(super) private: bool,
}

/// How many keys: the text may hold one that should be secret.
impl fmt::Debug for FetchedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedSet")
            .field("keys", &self.keys.len())
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}

impl FetchedSet {
    /// Reads an answer as a whole; a set without a usable key is none.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, SetError> {
        let text = String::from_utf8(bytes).map_err(|_| SetError::NotJson)?;
        // A key file may be PEM with any text around it; an answer that is a page is none.
        if !text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            return Err(SetError::NotJson);
        }
        let set = parse_keys(text.as_bytes(), KeySource::Url)?;
        let read = set.keys.len();
        let keys: Vec<_> = set
            .keys
            .into_iter()
            .filter(|key| key.is_public())
            .map(|key| (Arc::clone(&key), key.thumbprint()))
            .collect();
        let verifies =
            |key: &Key| Algorithm::ALL.into_iter().any(|algorithm| key.fits(algorithm).is_ok());
        if !keys.iter().any(|(key, _)| verifies(key)) {
            return Err(SetError::NoUsableKey);
        }
        let rejected = set.rejected.len() + read - keys.len();
        Ok(Self { text, keys, rejected, private: set.private })
    }

    fn has(&self, key: &Key, thumbprint: &Option<[u8; 32]>) -> bool {
        self.keys.iter().any(|(own, own_print)| own_print == thumbprint && own.kid() == key.kid())
    }
}

/// A set that another one replaced.
#[derive(Debug)]
pub(super) struct EarlierSet {
    pub(super) set: FetchedSet,
    /// When by the wall clock, for the cache.
    pub(super) replaced: Time,
    /// When its keys stop serving.
    expires: Instant,
}

/// The current set and the earlier ones.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    current: Option<FetchedSet>,
    /// Newest first.
    earlier: VecDeque<EarlierSet>,
}

impl Rotation {
    pub(super) fn current(&self) -> Option<&FetchedSet> {
        self.current.as_ref()
    }

    pub(super) fn earlier(&self) -> impl Iterator<Item = &EarlierSet> {
        self.earlier.iter()
    }

    /// Puts `set` in force. The one before is kept if any of its keys vanished.
    pub(super) fn replace(&mut self, set: FetchedSet, now: Instant, wall: Time, keep: Duration) {
        if let Some(before) = self.current.take()
            && before.keys.iter().any(|(key, print)| !set.has(key, print))
        {
            let earlier = EarlierSet { set: before, replaced: wall, expires: now + keep };
            self.earlier.push_front(earlier);
            self.earlier.truncate(MAX_EARLIER);
        }
        self.current = Some(set);
        self.expire(now);
    }

    /// Adds an earlier set from the cache, newest first. Where the wall clock was set back since,
    /// the set counts as replaced just now: no key serves longer than `keep` after the start.
    pub(super) fn restore(
        &mut self,
        set: FetchedSet,
        replaced: Time,
        now: Instant,
        wall: Time,
        keep: Duration,
    ) {
        let left = keep.saturating_sub(wall.since(replaced));
        if !left.is_zero() && self.earlier.len() < MAX_EARLIER {
            self.earlier.push_back(EarlierSet { set, replaced, expires: now + left });
        }
    }

    /// Forgets what is over. Gives whether anything was.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.earlier.len();
        self.earlier.retain(|earlier| earlier.expires > now);
        self.earlier.len() != before
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.earlier.iter().map(|earlier| earlier.expires).min()
    }

    /// The keys in force, the current ones first, and how many of them are old.
    pub(super) fn keys(&self) -> (Vec<Arc<Key>>, usize) {
        let sets = || self.current.iter().chain(self.earlier.iter().map(|earlier| &earlier.set));
        let mut keys = Vec::new();
        for (nth, set) in sets().enumerate() {
            for (key, print) in &set.keys {
                if !sets().take(nth).any(|newer| newer.has(key, print)) {
                    keys.push(Arc::clone(key));
                }
            }
        }
        let current = self.current.as_ref().map_or(0, |set| set.keys.len());
        let old = keys.len() - current;
        (keys, old)
    }
}
