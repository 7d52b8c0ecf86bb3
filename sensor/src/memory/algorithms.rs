//! The algorithm families of an issuer's keys.

use super::{
    clock::Second,
    persist::{Reader, Record},
    table::Entry,
};

/// Distinct tokens after which a family counts as known although no key verified it.
const TOKENS_TO_KNOW: u16 = 8;
const FAMILIES: usize = 6;

/// The kind of key that an algorithm takes (RFC 7518, section 3; RFC 8037; RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    None,
    Symmetric,
    Rsa,
    Ec,
    Okp,
    Other,
}

impl Family {
    pub(super) fn of(algorithm: &str) -> Self {
        let is = |prefix: &str| {
            algorithm.get(..prefix.len()).is_some_and(|a| a.eq_ignore_ascii_case(prefix))
        };
        if algorithm.eq_ignore_ascii_case("none") {
            Self::None
        } else if is("HS") {
            Self::Symmetric
        } else if is("RS") || is("PS") {
            Self::Rsa
        } else if is("EdDSA") || is("Ed25519") || is("Ed448") {
            Self::Okp
        } else if is("ES") {
            Self::Ec
        } else {
            Self::Other
        }
    }

    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::None => "no signature",
            Self::Symmetric => "HMAC",
            Self::Rsa => "RSA",
            Self::Ec => "ECDSA",
            Self::Okp => "EdDSA",
            Self::Other => "another family",
        }
    }
}

/// What an (issuer, key id) signs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyFamilies {
    pub(super) key: u128,
    pub(super) end: Second,
    /// A bit for each family that a key verified.
    pub(super) verified: u8,
    /// Distinct tokens of each family that no key was there for.
    pub(super) seen: [u16; FAMILIES],
}

impl KeyFamilies {
    /// A bit for each family that is known.
    fn known(&self) -> u8 {
        if self.verified != 0 {
            return self.verified;
        }
        self.seen
            .iter()
            .enumerate()
            .filter(|&(_, &n)| n >= TOKENS_TO_KNOW)
            .fold(0, |bits, (family, _)| bits | 1 << family)
    }

    /// Whether this family is a change.
    pub(super) fn is_change(&self, family: Family) -> bool {
        let known = self.known();
        known != 0 && known & 1 << family as u8 == 0
    }

    /// Takes a token into account that is not a change, or is verified.
    pub(super) fn learn(&mut self, family: Family, verified: bool) {
        if verified {
            self.verified |= 1 << family as u8;
        } else if let Some(seen) = self.seen.get_mut(family as usize) {
            *seen = seen.saturating_add(1);
        }
    }
}

impl Entry for KeyFamilies {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

impl Record for KeyFamilies {
    const KIND: u8 = 4;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.to_le_bytes());
        out.extend(self.end.to_le_bytes());
        out.push(self.verified);
        for seen in self.seen {
            out.extend(seen.to_le_bytes());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut families =
            Self { key: r.u128()?, end: r.u32()?, verified: r.u8()?, ..Self::default() };
        for seen in &mut families.seen {
            *seen = r.u16()?;
        }
        Some(families)
    }
}
