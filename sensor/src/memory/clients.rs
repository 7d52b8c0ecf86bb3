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
//!   A client that moves and is first seen by a version that it had not used joins as well, unless
//!   the networks tell; its new address by the earlier version is then a stranger's, once the
//!   grace is over. Nothing at that time tells it from a theft.
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
/// `Client::superseded` of an address that a finding set aside: forgiven nothing.
const CONTESTED: Second = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: Address,
    /// 0 where it isn't known (RFC 7607 reserves it).
    pub(super) asn: u32,
    /// When a newer address took over, `CURRENT`, or `CONTESTED`.
    pub(super) superseded: Second,
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
}

impl Clients {
    /// Takes a use into account. `room` is how many addresses may be remembered.
    pub(super) fn seen(&mut self, use_: Sighting, grace: Second, room: usize) -> Move {
        let Sighting { now, last, address, asn, own_agent } = use_;
        let v4 = address.is_v4();
        let newest = self.0.iter().rfind(|c| c.superseded == CURRENT).or(self.0.last()).copied();
        let Some(newest) = newest else {
            self.0.push(Client { address, asn, superseded: CURRENT });
            return Move::Fine { changed: true };
        };
        let family_has_current =
            self.0.iter().any(|c| c.superseded == CURRENT && c.address.is_v4() == v4);
        let joins = !family_has_current && own_agent && !networks_differ(newest.asn, asn);

        if let Some(known) = self.0.iter_mut().find(|c| c.address == address) {
            if asn != 0 {
                known.asn = asn;
            }
            if known.superseded == CURRENT {
                return Move::Fine { changed: false };
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
        let forgiven = !crowded && (now.saturating_sub(last) <= grace || joins);
        if forgiven {
            // Who joins supersedes nobody; who moves leaves both families' addresses behind. One
            // that is used on beside the new one becomes current again.
            let current = self.0.iter_mut().filter(|c| !joins && c.superseded == CURRENT);
            current.for_each(|c| c.superseded = now);
        } else {
            self.contest();
        }
        while self.0.len() >= room.clamp(1, MAX_ADDRESSES) {
            let oldest = self.0.iter().position(|c| c.superseded != CURRENT).unwrap_or(0);
            self.0.remove(oldest);
        }
        self.0.push(Client { address, asn, superseded: CURRENT });
        if forgiven { Move::Fine { changed: true } } else { Move::Appeared { from: newest } }
    }

    /// The token is shared: nothing between the addresses known until now is forgiven any more.
    fn contest(&mut self) {
        for client in &mut self.0 {
            client.superseded = CONTESTED;
        }
    }

    /// Whether the address is one that the token is used from by right.
    pub(super) fn is_current(&self, address: Address) -> bool {
        self.0.iter().any(|c| c.address == address && c.superseded == CURRENT)
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
