//! From where a token is used: what tells a client that moves from a token that is shared.
//!
//! A bearer token is used again and again by right, and its client's address changes by right
//! too: a NAT rebinds, a phone leaves the Wi-Fi, a dual-stack client alternates between IPv4 and
//! IPv6. From the outside one thing tells a move from a theft: after a move the old address falls
//! silent. The rules, with `grace` for how long old and new may overlap:
//!
//! - The newest address of each family is *current*; its use is never a finding.
//! - An unknown address within `grace` of the token's last use is a move: it becomes current and
//!   supersedes those before, of both families. Nothing is found.
//! - A superseded address may still be used until `grace` after it was superseded (parallel
//!   requests, connections that linger). After that its use is a *return*: two places hold the
//!   token.
//! - An unknown address later than `grace` after the last use *appears*: roaming during a pause
//!   and theft look the same, so it is found, graver where the user agent and the network
//!   changed as well.
//! - Where a family has no current address, one may join at any time, a known one again, if the
//!   user agent is the token's own and the network isn't known to be another: a dual-stack client.
//! - A client that moves and is first seen by a version that it had not used joins as well, unless
//!   the networks tell. What tells it from one that has both at home is that the earlier version's
//!   address falls silent, `grace` after the other joined at the latest. While it is silent, a new
//!   address of its family comes *late*, however late: it becomes current, and is told without
//!   alarm, for a thief who is the first to use the family again looks the same. Who was robbed
//!   and goes on with the old address returns.
//! - After a finding nothing is forgiven between the addresses known until then: each switch
//!   is found.
//! - A token that has come from [`MAX_ADDRESSES`] addresses is not forgiven a further one: who
//!   sends each request through another proxy is within the grace every time.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use smallvec::SmallVec;

use super::clock::Second;

/// Addresses that are remembered of one token: six moves of a dual-stack client.
pub const MAX_ADDRESSES: usize = 12;

/// What stands for a client's address: all of an IPv4 address, the /64 of an IPv6 address.
/// Hosts change addresses within their /64 by themselves (RFC 8981); who shares a /64 shares a
/// link, as who shares an IPv4 address behind a NAT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(u32, u32);

impl Address {
    /// `::ffff` in the top half: reserved, no host's /64.
    const V4: u32 = 0x0000_ffff;

    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(Self::V4, v4.to_bits()),
            IpAddr::V6(v6) => {
                let top = (v6.to_bits() >> 64) as u64;
                Self((top >> 32) as u32, top as u32)
            }
        }
    }

    fn is_v4(self) -> bool {
        self.0 == Self::V4
    }

    /// Whether both lie in one /24 or one /48.
    fn near(self, other: Self) -> bool {
        if self.is_v4() {
            other.is_v4() && self.1 >> 8 == other.1 >> 8
        } else {
            self.0 == other.0 && self.1 >> 16 == other.1 >> 16
        }
    }

    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.1)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self((bits >> 32) as u32, bits as u32)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v4() {
            Ipv4Addr::from_bits(self.1).fmt(f)
        } else {
            write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.to_bits()) << 64))
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Client::superseded` of a current address.
const CURRENT: Second = Second::MAX;
/// In `Client::superseded` of a current address: when the other family joined, if the address was
/// not used longer than the grace since. Own time does not reach this bit in 68 years.
const SILENT: Second = 1 << 31;
/// `Client::superseded` of an address that a finding set aside: forgiven nothing.
const CONTESTED: Second = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: Address,
    /// 0 where it isn't known (RFC 7607 reserves it).
    pub(super) asn: u32,
    /// When a newer address took over, `CURRENT`, with `SILENT`, or `CONTESTED`.
    pub(super) superseded: Second,
}

impl Client {
    const fn is_current(&self) -> bool {
        self.superseded & SILENT != 0
    }

    /// When the other family joined beside this current address, which is silent since.
    fn silent_since(&self) -> Option<Second> {
        (self.is_current() && self.superseded != CURRENT).then_some(self.superseded & !SILENT)
    }
}

/// The addresses of one token, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clients(pub(super) SmallVec<[Client; 2]>);

/// One use, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) now: Second,
    /// The token's last use.
    pub(super) last: Second,
    pub(super) address: Address,
    /// 0 where it isn't known.
    pub(super) asn: u32,
    /// The user agent is known and the one that the token was first used with.
    pub(super) own_agent: bool,
}

/// What a use from this address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing that a client doesn't do by right. `changed` where a restart should know of it.
    Fine { changed: bool },
    /// A superseded address is used again.
    Returned { from: Client },
    /// An address that was not seen before, too late or once too often for a move.
    Appeared { from: Client },
    /// An address that was not seen before, too late for a move, but the other family joined before
    /// and its own is silent since: a move that the other family saw first, or a theft.
    Late { from: Client },
}

impl Clients {
    /// Takes a use into account. `room` is how many addresses may be remembered.
    pub(super) fn seen(&mut self, use_: Sighting, grace: Second, room: usize) -> Move {
        let Sighting { now, last, address, asn, own_agent } = use_;
        let v4 = address.is_v4();
        let newest = self.0.iter().rfind(|c| c.is_current()).or(self.0.last()).copied();
        let Some(newest) = newest else {
            self.0.push(Client { address, asn, superseded: CURRENT });
            return Move::Fine { changed: true };
        };
        let family = self.0.iter().rfind(|c| c.is_current() && c.address.is_v4() == v4);
        let (family_has_current, silent) =
            (family.is_some(), family.and_then(Client::silent_since));
        let own = own_agent && !networks_differ(newest.asn, asn);
        let joins = !family_has_current && own;

        if let Some(known) = self.0.iter_mut().find(|c| c.address == address) {
            if asn != 0 {
                known.asn = asn;
            }
            if known.is_current() {
                // Used on behind the grace it was not left.
                let stays = known.silent_since().is_some_and(|t| now.saturating_sub(t) > grace);
                if stays {
                    known.superseded = CURRENT;
                }
                return Move::Fine { changed: stays };
            }
            let forgiven =
                known.superseded != CONTESTED && now.saturating_sub(known.superseded) <= grace;
            if forgiven && (family_has_current || joins) {
                // Used on, or a connection that lingers: if it is used on it will join later. If
                // it became current now, the family's next address could not.
                return Move::Fine { changed: false };
            }
            if forgiven || (joins && known.superseded != CONTESTED) {
                known.superseded = CURRENT;
                return Move::Fine { changed: true };
            }
            self.contest();
            if let Some(known) = self.0.iter_mut().find(|c| c.address == address) {
                known.superseded = CURRENT;
            }
            return Move::Returned { from: newest };
        }

        let crowded = self.0.len() >= MAX_ADDRESSES;
        let in_time = now.saturating_sub(last) <= grace;
        let forgiven = !crowded && (in_time || joins);
        let late = silent.filter(|_| !crowded && !in_time && own);
        if forgiven {
            // Who joins supersedes nobody; who moves leaves both families' addresses behind. One
            // that is used on beside the new one becomes current again.
            for client in self.0.iter_mut().filter(|c| c.is_current()) {
                if !joins {
                    client.superseded = now;
                } else if in_time && client.superseded == CURRENT {
                    client.superseded = SILENT | now;
                }
            }
        } else if let Some(since) = late {
            // It was left when the other family joined.
            let left = self.0.iter_mut().filter(|c| c.is_current() && c.address.is_v4() == v4);
            left.for_each(|c| c.superseded = since);
        } else {
            self.contest();
        }
        while self.0.len() >= room.clamp(1, MAX_ADDRESSES) {
            let oldest = self.0.iter().position(|c| !c.is_current()).unwrap_or(0);
            self.0.remove(oldest);
        }
        self.0.push(Client { address, asn, superseded: CURRENT });
        match late {
            _ if forgiven => Move::Fine { changed: true },
            Some(_) => Move::Late { from: newest },
            None => Move::Appeared { from: newest },
        }
    }

    /// The token is shared: nothing between the addresses known until now is forgiven any more.
    fn contest(&mut self) {
        for client in &mut self.0 {
            client.superseded = CONTESTED;
        }
    }

    /// Whether the address is one that the token is used from by right.
    pub(super) fn is_current(&self, address: Address) -> bool {
        self.0.iter().any(|c| c.address == address && c.is_current())
    }
}

/// Whether both autonomous systems are known and differ.
pub(super) fn networks_differ(one: u32, other: u32) -> bool {
    one != 0 && other != 0 && one != other
}

/// Whether the network changed as well: by number where both are known, else by prefix.
pub(super) fn elsewhere(from: &Client, address: Address, asn: u32) -> bool {
    if from.asn != 0 && asn != 0 { from.asn != asn } else { !from.address.near(address) }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
