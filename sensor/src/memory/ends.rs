//! What is over: revoked tokens and ended sessions, and proofs that were used.

use super::{
    clock::Second,
    persist::{Reader, Record},
    table::Entry,
};

/// A single-use token that was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) key: u128,
    pub(super) end: Second,
}

impl Entry for Proof {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

impl Record for Proof {
    const KIND: u8 = 5;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.to_le_bytes());
        out.extend(self.end.to_le_bytes());
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { key: r.u128()?, end: r.u32()? })
    }
}

/// Something that was revoked or ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) key: u128,
    pub(super) end: Second,
    /// When, in own time.
    pub(super) since: Second,
    /// When, by the wall clock, in seconds since the epoch.
    pub(super) wall: i64,
}

impl Entry for Ended {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

impl Record for Ended {
    const KIND: u8 = 6;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.to_le_bytes());
        out.extend(self.end.to_le_bytes());
        out.extend(self.since.to_le_bytes());
        out.extend(self.wall.to_le_bytes());
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (key, end, since) = (r.u128()?, r.u32()?, r.u32()?);
        Some(Self { key, end, since, wall: r.u64()?.cast_signed() })
    }
}

/// Tells the keys of the kinds of ended things apart; a token's own identity has no kind.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum EndOf {
    Jti = 1,
    Session,
    Subject,
    AnyJti,
    Fingerprint,
    Grant,
}

pub(super) fn end_key(of: EndOf, hash: u64) -> u128 {
    u128::from(of as u8) << 64 | u128::from(hash)
}
