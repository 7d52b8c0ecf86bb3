//! From requests to judged tokens.
//!
//! [`extract`] finds what may be a token, [`decode`] judges its bytes, and a [`Judge`] does both
//! for a request, decoding each distinct token once. No key is needed for any of it.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use self::guard_keys::TokenKey;
use crate::{
    finding::Finding,
    show::{self, show},
};

mod decode;
pub mod dpop;
pub mod extract;
mod facts;
pub mod guard_keys;
mod header;
mod judge;
mod lookup;
pub mod validate;

pub use decode::{DecodeOptions, Decoded, Header, Kind, MAX_SIGNATURES, Signature, decode};
pub use extract::{Location, Scheme};
pub use facts::{Facts, Identity, Text, Texts};
pub(crate) use judge::is_refresh;
pub use judge::{
    CACHE_BYTES_PER_ENTRY, Digests, Judge, JudgeConfig, KeysVersion, Known, Role, TokenCounters,
    TokenReport, hmac_sample,
};

/// What stands for a token in events and tables: SipHash-1-3 with 128 bits of output over all its
/// bytes, under a key of this installation. `Display` gives 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

/// As one number; derived, it would be a slice with its length before it.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl Fingerprint {
    /// The bytes that are printed.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret that keys fingerprints: without it a fingerprint cannot be compared with a guess.
#[derive(Clone)]
pub struct FingerprintKey([u8; 16]);

impl FingerprintKey {
    /// A key of these bytes, which have to be random and kept secret.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a token.
    #[must_use]
    pub fn fingerprint(&self, token: &[u8]) -> Fingerprint {
        Fingerprint(SipHasher13::new_with_key(&self.0).hash(token).as_bytes())
    }

    /// The fingerprint of a token, and the one of what stands before its last dot: one pass over
    /// the bytes of both.
    fn fingerprint_parts(&self, token: &[u8]) -> (Fingerprint, Beginning) {
        let len = memchr::memrchr(b'.', token).unwrap_or_default();
        let (beginning, rest) = token.split_at_checked(len).unwrap_or((token, b""));
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(beginning);
        let at_dot = Beginning { hasher, len };
        hasher.write(rest);
        (Fingerprint(hasher.finish128().as_bytes()), at_dot)
    }
}

/// The state of a token's hash before its last dot: in compact serialisation behind its signing
/// input.
struct Beginning {
    hasher: SipHasher13,
    /// Bytes that are hashed.
    len: usize,
}

impl Beginning {
    /// The fingerprint of the beginning alone.
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.hasher.finish128().as_bytes())
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

/// A token of a request, judged. Never holds the token itself; `Debug` shows no claims either.
#[derive(Clone)]
pub struct Token {
    /// Where it stands.
    pub location: Location,
    /// What stands in front of it.
    pub scheme: Scheme,
    /// What it is.
    pub kind: Kind,
    /// What stands for it.
    pub fingerprint: Fingerprint,
    /// What it is denied by.
    pub deny_key: TokenKey,
    /// Its length.
    pub bytes: usize,
    /// Header, claims and signature; shared with all uses of the same token. `None` for an opaque
    /// token.
    pub decoded: Option<Arc<Known>>,
    /// Its SHA-256 as `ath` of a proof has it, where a proof came with it.
    hash: Option<Box<str>>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl Token {
    /// What it says as a proof of possession; `None` of all that is no proof.
    #[must_use]
    pub fn proof(&self) -> Option<&dpop::Proof> {
        self.decoded.as_ref()?.proof.as_ref()
    }

    /// The thumbprint of the key that it is bound to (`cnf.jkt`: RFC 9449, section 6.1).
    #[must_use]
    pub fn bound_to(&self) -> Option<&str> {
        let facts = self.decoded.as_ref()?.facts();
        facts.text(facts.key_thumbprint)
    }

    /// A string parameter of its header (`alg`, `kid`, `typ`), safe to print.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<String> {
        let text = self.decoded.as_ref()?.header()?.get(name)?.as_str()?;
        Some(show(&text).into_owned())
    }

    /// A claim for an event, safe to print: strings, lists and nesting are bounded.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<serde_json::Value> {
        Some(self.decoded.as_ref()?.claims()?.get(name)?.to_event())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("location", &self.location)
            .field("scheme", &self.scheme)
            .field("kind", &self.kind)
            .field("fingerprint", &self.fingerprint)
            .field("bytes", &self.bytes)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// A cookie's or field's name for a [`Location`], safe to print and no longer than 64 characters.
pub(crate) fn show_name(name: &[u8]) -> extract::Name {
    const MAX_NAME: usize = 64;
    Cow::Owned(show::show_at_most(&String::from_utf8_lossy(name), MAX_NAME).into_owned())
}

#[cfg(test)]
pub(crate) mod testing;
