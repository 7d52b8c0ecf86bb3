//! Which keys a token may be signed with.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    algorithm::Algorithm,
    key::{Key, Unfit},
};
use crate::time::Time;

/// The most keys that one token is tried with. An asymmetric verification costs tens of
/// microseconds, and a forged token would cost all of them.
pub const MAX_TRIES: usize = 8;
/// The most issuers of which keys are learned from traffic.
pub const MAX_LEARNED_ISSUERS: usize = 256;
/// The most keys that are learned of one issuer.
pub const MAX_LEARNED_KEYS: usize = 32;
/// The most bytes of an issuer's name or of a `kid` of which a key is learned.
pub const MAX_LEARNED_NAME: usize = 256;
/// A learned key that was not served for so long gives way to another one where there is no room:
/// issuers rotate. Sooner it does not, or a flood of new keys would wash a pin away.
pub const LEARNED_KEEP: Duration = Duration::from_secs(7 * 86_400);

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
    /// Keys that differ from the pinned one of the same issuer, `kid` and algorithm, and were not
    /// given here before. The pinned one stays in force.
    pub changed: Vec<Arc<Key>>,
    /// Keys over a limit, of an issuer with configured keys, without use for signatures, and
    /// secrets, which nobody publishes.
    pub refused: usize,
}

/// What is known of a learned key beside the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// When it was served last, to the hour or so.
    pub seen: Time,
    /// The thumbprint of the last key that was served under its name and is not it.
    pub other: Option<[u8; 32]>,
}

/// The learned keys of one issuer.
#[derive(Clone, Debug, Default)]
struct LearnedKeys {
    keys: Vec<Arc<Key>>,
    /// One for each of the keys.
    pins: Vec<Pin>,
}

/// An issuer's name without what two spellings of one URL differ in, under which learned keys are
/// kept: scheme, the scheme's own port, a slash at the end, the case of the host. Other names
/// stand for themselves.
#[must_use]
pub fn issuer_name(issuer: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = issuer.split_once("://") else { return Cow::Borrowed(issuer) };
    let port = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => ":443",
        _ if scheme.eq_ignore_ascii_case("http") => ":80",
        _ => return Cow::Borrowed(issuer),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.strip_suffix(port).unwrap_or(host);
    Cow::Owned(host.to_ascii_lowercase() + path)
}

/// Keys by issuer. Those without an issuer serve every token.
///
/// Look-up is a scan of the issuer's keys: sets are small, and a known token is not looked up
/// again.
#[derive(Clone, Debug, Default)]
pub struct KeyStore {
    shared: Vec<Arc<Key>>,
    issuers: HashMap<Box<str>, Vec<Arc<Key>>>,
    /// By [`issuer_name`].
    learned: HashMap<Box<str>, LearnedKeys>,
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
    /// is only added. `issuer` is an [`issuer_name`]; of one with configured keys nothing is
    /// learned.
    pub fn learn(
        &mut self,
        issuer: &str,
        keys: impl IntoIterator<Item = Arc<Key>>,
        now: Time,
    ) -> Learned {
        let mut outcome = Learned::default();
        // The first that can be learned makes room, and no other.
        let mut room = None;
        for key in keys {
            if key.is_learnable() && *room.get_or_insert_with(|| self.room_for(issuer, now)) {
                self.learned.entry(issuer.into()).or_default().learn(key, now, &mut outcome);
            } else {
                outcome.refused += 1;
            }
        }
        outcome
    }

    /// Whether keys of this issuer may be learned. One that was not served for long makes room.
    fn room_for(&mut self, issuer: &str, now: Time) -> bool {
        if issuer.len() > MAX_LEARNED_NAME
            || self.issuers.keys().any(|configured| issuer_name(configured) == issuer)
        {
            return false;
        }
        if self.learned.contains_key(issuer) || self.learned.len() < MAX_LEARNED_ISSUERS {
            return true;
        }
        let last = |keys: &LearnedKeys| keys.pins.iter().map(|pin| pin.seen).max();
        let oldest = self.learned.iter().map(|(name, keys)| (last(keys), name)).min();
        match oldest.map(|(seen, name)| (seen, name.clone())) {
            Some((seen, name)) if seen.is_none_or(|seen| now.since(seen) >= LEARNED_KEEP) => {
                self.learned.remove(&name);
                true
            }
            _ => false,
        }
    }

    /// A key that was learned earlier, with what was known of it. `false` where it has no place.
    pub fn restore(&mut self, issuer: &str, key: Arc<Key>, pin: Pin) -> bool {
        let learned = self.learn(issuer, [key], pin.seen);
        if learned.added == 0 {
            return false;
        }
        if let Some(kept) = self.learned.get_mut(issuer).and_then(|keys| keys.pins.last_mut()) {
            *kept = pin;
        }
        true
    }

    /// All learned keys by [`issuer_name`], in no order.
    pub fn learned(&self) -> impl Iterator<Item = (&str, &Arc<Key>, &Pin)> {
        self.learned.iter().flat_map(|(issuer, learned)| {
            let pairs = learned.keys.iter().zip(&learned.pins);
            pairs.map(move |(key, pin)| (&**issuer, key, pin))
        })
    }

    /// Goes on with the learned keys of the store before this one, of issuers without configured
    /// keys.
    pub fn inherit(&mut self, earlier: &Self) {
        self.learned.clone_from(&earlier.learned);
        let issuers = &self.issuers;
        let configured = |name: &str| issuers.keys().any(|issuer| issuer_name(issuer) == name);
        self.learned.retain(|name, _| !configured(name));
    }

    /// Forgets all learned keys.
    pub fn forget_learned(&mut self) {
        self.learned.clear();
    }

    /// Whether the configured keys that a token of this issuer may be signed with all have names,
    /// and none is `kid`. Without keys there is nothing to tell.
    #[must_use]
    pub fn lacks(&self, issuer: Option<&str>, kid: &str) -> bool {
        let own = issuer.and_then(|issuer| self.issuers.get(issuer));
        let keys = own.unwrap_or(&self.shared);
        !keys.is_empty() && keys.iter().all(|key| key.kid().is_some_and(|name| name != kid))
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
        let configured = issuer.and_then(|issuer| self.issuers.get(issuer)).map(Vec::as_slice);
        let learned = match issuer.filter(|_| configured.is_none() && !self.learned.is_empty()) {
            Some(issuer) => self.learned.get(&*issuer_name(issuer)),
            None => None,
        };
        let learned = learned.map(|learned| learned.keys.as_slice());
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

impl LearnedKeys {
    fn learn(&mut self, key: Arc<Key>, now: Time, outcome: &mut Learned) {
        let thumbprint = key.thumbprint();
        let mut name = None;
        for (place, known) in self.keys.iter().enumerate() {
            if known.kid() == key.kid() && known.algorithm() == key.algorithm() {
                if known.thumbprint() == thumbprint {
                    if let Some(pin) = self.pins.get_mut(place) {
                        pin.seen = pin.seen.max(now);
                    }
                    return;
                }
                name = Some(place);
            }
        }
        if let Some(pin) = name.filter(|_| key.kid().is_some()).and_then(|at| self.pins.get_mut(at))
        {
            if std::mem::replace(&mut pin.other, thumbprint) != thumbprint {
                outcome.changed.push(key);
            }
            return;
        }
        if self.keys.len() >= MAX_LEARNED_KEYS {
            let oldest = self.pins.iter().enumerate().map(|(at, pin)| (pin.seen, at)).min();
            match oldest {
                Some((seen, at)) if now.since(seen) >= LEARNED_KEEP => {
                    self.keys.remove(at);
                    self.pins.remove(at);
                }
                _ => {
                    outcome.refused += 1;
                    return;
                }
            }
        }
        self.keys.push(key);
        self.pins.push(Pin { seen: now, other: None });
        outcome.added += 1;
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
