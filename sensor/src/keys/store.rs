//! Which keys a token may be signed with.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    algorithm::Algorithm,
    key::{Key, KeySource, Unfit},
};

/// The most keys that one token is tried with. An asymmetric verification costs tens of
/// microseconds, and a forged token would cost all of them.
pub const MAX_TRIES: usize = 8;
/// The most issuers of which keys are learned from traffic.
pub const MAX_LEARNED_ISSUERS: usize = 256;
/// The most keys that are learned of one issuer.
pub const MAX_LEARNED_KEYS: usize = 32;

/// How the candidates relate to the token's `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KidMatch {
    /// They carry the token's `kid`. Others are not tried: the token names its key.
    Exact,
    /// The token has no `kid`.
    Absent,
    /// No key carries the token's `kid`: the candidates are the others.
    Unknown,
}

/// What [`KeyStore::candidates`] found.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// The keys to try, most likely first, at most [`MAX_TRIES`].
    pub keys: SmallVec<[&'a Arc<Key>; MAX_TRIES]>,
    /// How they relate to the token's `kid`.
    pub kid: KidMatch,
    /// Fitting keys over [`MAX_TRIES`]. With these left the token is not proved bad.
    pub untried: usize,
    /// A key that would have been a candidate, and why it may not verify this algorithm. Where
    /// `keys` is empty this tells "signed with the wrong algorithm" from "no key known".
    pub unfit: Option<(&'a Arc<Key>, Unfit)>,
}

/// What [`KeyStore::learn`] did.
#[derive(Debug, Default)]
pub struct Learned {
    /// Keys that are new and now pinned.
    pub added: usize,
    /// Keys that differ from the pinned one of the same issuer, `kid` and algorithm. The pinned
    /// one stays in force.
    pub changed: Vec<Arc<Key>>,
    /// Keys over [`MAX_LEARNED_ISSUERS`] or [`MAX_LEARNED_KEYS`], and secrets, which nobody
    /// publishes.
    pub refused: usize,
}

/// Keys by issuer. Those without an issuer serve every token.
///
/// Look-up is a scan of the issuer's keys: sets are small, and a known token is not looked up
/// again.
#[derive(Debug, Default)]
pub struct KeyStore {
    shared: Vec<Arc<Key>>,
    issuers: HashMap<Box<str>, Vec<Arc<Key>>>,
    learned: HashMap<Box<str>, Vec<Arc<Key>>>,
}

impl KeyStore {
    /// A store without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has no keys at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.issuers.is_empty() && self.learned.is_empty()
    }

    /// Adds configured keys, of an issuer or for every token.
    pub fn add(&mut self, issuer: Option<&str>, keys: impl IntoIterator<Item = Arc<Key>>) {
        match issuer {
            None => self.shared.extend(keys),
            Some(issuer) => self.issuers.entry(issuer.into()).or_default().extend(keys),
        }
    }

    /// Takes the configured keys of an issuer, or those for every token, and puts `keys` in their
    /// place. A rotation that keeps the old ones adds them to `keys`.
    pub fn replace(&mut self, issuer: Option<&str>, keys: Vec<Arc<Key>>) -> Vec<Arc<Key>> {
        match issuer {
            None => std::mem::replace(&mut self.shared, keys),
            Some(issuer) => self.issuers.insert(issuer.into(), keys).unwrap_or_default(),
        }
    }

    /// Learns public keys that a watched service served or fetched in clear, and pins each by
    /// (issuer, `kid`, `alg`): the first one seen stays. A key without `kid` has no such name and
    /// is only added.
    pub fn learn(&mut self, issuer: &str, keys: impl IntoIterator<Item = Arc<Key>>) -> Learned {
        let mut outcome = Learned::default();
        let room = self.learned.contains_key(issuer) || self.learned.len() < MAX_LEARNED_ISSUERS;
        for key in keys {
            if !room || !key.is_public() || key.source() != KeySource::Learned {
                outcome.refused += 1;
                continue;
            }
            let pinned = self.learned.entry(issuer.into()).or_default();
            let thumbprint = key.thumbprint();
            let mut same_name = pinned
                .iter()
                .filter(|known| known.kid() == key.kid() && known.algorithm() == key.algorithm());
            let named = key.kid().is_some() && same_name.clone().next().is_some();
            if same_name.any(|known| known.thumbprint() == thumbprint) {
                continue;
            }
            if named {
                outcome.changed.push(key);
            } else if pinned.len() == MAX_LEARNED_KEYS {
                outcome.refused += 1;
            } else {
                pinned.push(key);
                outcome.added += 1;
            }
        }
        outcome
    }

    /// The keys to try for a token with this `iss`, `kid` and `alg`: the issuer's configured ones.
    /// Where it has none, those of no issuer, and then its learned ones: traffic must not add to
    /// what the operator trusts.
    #[must_use]
    pub fn candidates(
        &self,
        issuer: Option<&str>,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Candidates<'_> {
        fn of<'a>(
            keys: &'a HashMap<Box<str>, Vec<Arc<Key>>>,
            issuer: Option<&str>,
        ) -> Option<&'a [Arc<Key>]> {
            keys.get(issuer?).map(Vec::as_slice)
        }
        let configured = of(&self.issuers, issuer);
        let learned = if configured.is_none() { of(&self.learned, issuer) } else { None };
        // Keys without an issuer are for the others: one that has its own signs with no other's.
        let shared = if configured.is_none() { self.shared.as_slice() } else { &[] };
        let ranked = [configured.unwrap_or_default(), shared, learned.unwrap_or_default()];

        let mut found = Candidates {
            keys: SmallVec::new(),
            kid: if kid.is_some() { KidMatch::Unknown } else { KidMatch::Absent },
            untried: 0,
            unfit: None,
        };
        if kid.is_some() {
            for keys in ranked {
                let named = || keys.iter().filter(|key| key.kid() == kid);
                if named().next().is_some() {
                    found.kid = KidMatch::Exact;
                    found.take(named(), alg);
                    return found;
                }
            }
        }
        // A key without a name is more likely meant than one with another name.
        let all = || ranked.into_iter().flatten();
        found.take(all().filter(|key| key.kid().is_none()), alg);
        found.take(all().filter(|key| key.kid().is_some()), alg);
        found
    }
}

impl<'a> Candidates<'a> {
    fn take(&mut self, keys: impl Iterator<Item = &'a Arc<Key>>, alg: Algorithm) {
        for key in keys {
            match key.fits(alg) {
                Ok(()) if self.keys.len() < MAX_TRIES => self.keys.push(key),
                Ok(()) => self.untried += 1,
                Err(unfit) => {
                    self.unfit.get_or_insert((key, unfit));
                }
            }
        }
    }
}
