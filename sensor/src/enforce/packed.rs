//! An entry of the denylist as it is kept.
#![forbid(unsafe_code)]

use ipnet::IpNet;

use super::{
    entry::Source,
    tables::{Deny, DenyCause, TokenKey},
};
use crate::time::Time;

/// An entry in 16 bytes: a million of them shall fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// Seconds since the epoch, rounded up; 0 for never.
    pub(super) until: u32,
    pub(super) added: u32,
    /// Number of the reason.
    pub(super) reason: u32,
    pub(super) source: Source,
}

impl Packed {
    pub(super) fn holds(self, now: Time) -> bool {
        self.until == 0 || now < Time::from_unix_secs(self.until.into())
    }

    pub(super) fn until(self) -> Option<Time> {
        (self.until != 0).then(|| Time::from_unix_secs(self.until.into()))
    }

    pub(super) fn deny(self) -> Deny {
        let cause = match self.source {
            Source::Verdict => DenyCause::Verdict,
            Source::Operator => DenyCause::Operator,
            Source::File => DenyCause::File,
        };
        Deny { until: self.until(), cause }
    }
}

/// Seconds since the epoch, rounded up, so that an entry never ends early.
pub(super) fn seconds(time: Time) -> u32 {
    u32::try_from(time.unix_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

/// What stands in the tables too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Token(TokenKey),
    Network(IpNet),
    Flow(u64),
    /// Stands in no table; its name is kept beside, by number.
    Subject(u64),
}

/// Kinds of keys.
pub(super) const KINDS: usize = 4;

impl Key {
    pub(super) const fn kind(self) -> usize {
        match self {
            Self::Token(_) => 0,
            Self::Network(_) => 1,
            Self::Flow(_) => 2,
            Self::Subject(_) => 3,
        }
    }
}
