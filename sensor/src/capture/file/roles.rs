//! Which side of a connection is the server, as far as packets tell.

use std::{
    hash::{Hash, Hasher},
    net::SocketAddr,
};

use foldhash::fast::RandomState;
use hashlink::LruCache;

use super::{
    checksum::Evidence,
    packet::{Packet, Skip},
};
use crate::capture::Direction;

/// Address pairs whose server is remembered; the longest silent one is forgotten.
pub const MAX_PAIRS: usize = 65_536;

/// Two addresses in ascending order. IPv4 stands as IPv4-mapped IPv6.
///
/// An attacker chooses addresses and ports, so the table hashes under a random key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    low: (u128, u16),
    high: (u128, u16),
    scope: u64,
}

/// In four words instead of seven pieces: every packet is looked up by it.
impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.low.0);
        state.write_u128(self.high.0);
        state.write_u32(u32::from(self.low.1) << 16 | u32::from(self.high.1));
        state.write_u64(self.scope);
    }
}

#[derive(Clone, Copy)]
struct Role {
    server_is_low: bool,
    /// Rests on a handshake, a watched port or the first bytes of HTTP, not on a guess.
    certain: bool,
    watched: bool,
    /// What the client's checksums are worth.
    checksums: Evidence,
}

impl Role {
    /// Which way a packet travels that comes from the lower address, or else from the higher one.
    #[inline]
    fn direct(&mut self, from_low: bool, packet: &Packet, frame: &[u8]) -> Result<Direction, Skip> {
        if !self.watched {
            Err(Skip::NotWatched)
        } else if self.server_is_low == from_low {
            self.checksums.learn_ack(packet);
            Ok(Direction::ToClient)
        } else if self.checksums.admits(packet, frame) {
            Ok(Direction::ToServer)
        } else {
            Err(Skip::Checksum)
        }
    }
}

/// Remembers which side of each address pair is the server.
///
/// Without configured ports every TCP connection is given, on whatever port. The server is, by the
/// first of these that applies:
///
/// 1. the receiver of a SYN, the sender of a SYN with ACK;
/// 2. the side on a watched port, where just one side is;
/// 3. the receiver of a request line, the sender of a status line;
/// 4. a guess: the side with the lower port number, or the receiver where they are equal.
///
/// A guess gives way to better evidence, and everything to a SYN, as addresses are used again. A
/// SYN with ACK overrules a guess only: a client that sends one on a connection that stands
/// is not heard by its server, and must not turn the roles round here.
pub(super) struct Roles {
    /// Ascending; empty for all.
    ports: Vec<u16>,
    pairs: LruCache<Pair, Role, RandomState>,
}

impl Roles {
    pub(super) fn new(ports: &[u16]) -> Self {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        Self { ports, pairs: LruCache::with_hasher(MAX_PAIRS, RandomState::default()) }
    }

    fn watches(&self, addr: SocketAddr) -> bool {
        self.ports.is_empty() || self.ports.binary_search(&addr.port()).is_ok()
    }

    /// Which way a packet that was read from `frame` travels.
    ///
    /// # Errors
    /// [`Skip::NotWatched`], [`Skip::Undecided`] or [`Skip::Checksum`].
    #[inline]
    pub(super) fn direction(&mut self, packet: &Packet, frame: &[u8]) -> Result<Direction, Skip> {
        let (src_watched, dst_watched) = (self.watches(packet.src), self.watches(packet.dst));
        if !src_watched && !dst_watched {
            return Err(Skip::NotWatched);
        }
        let (src, dst) = (key(packet.src), key(packet.dst));
        let from_low = src <= dst;
        let (low, high) = if from_low { (src, dst) } else { (dst, src) };
        let pair = Pair { low, high, scope: packet.scope };

        // The one that was seen last needs no look-up: a segment is mostly acknowledged by the next.
        let known = match self.pairs.iter().next_back() {
            Some((latest, _)) if *latest == pair => {
                self.pairs.iter_mut().next_back().map(|(_, role)| role)
            }
            _ => self.pairs.get_mut(&pair),
        };
        let opens = packet.flags.syn && packet.ack.is_none();
        let known = match known {
            Some(role) if role.certain && !opens => return role.direct(from_low, packet, frame),
            known => known.map(|role| *role),
        };
        let payload = frame.get(packet.payload.clone()).unwrap_or_default();
        let lower = packet.src.port() < packet.dst.port();
        // Whether the sender is the server, and whether that is certain.
        let (sender_serves, certain) = if packet.flags.syn {
            (packet.ack.is_some(), true)
        } else if src_watched != dst_watched {
            (src_watched, true)
        } else if starts_like_request(payload) {
            (false, true)
        } else if payload.starts_with(b"HTTP/1.") {
            (true, true)
        } else if let Some(role) = known {
            (role.server_is_low == from_low, false)
        } else if payload.is_empty() {
            return Err(Skip::Undecided);
        } else {
            (lower, false)
        };
        let server_is_low = sender_serves == from_low;
        let same = known.filter(|role| role.server_is_low == server_is_low);
        let mut role = Role {
            server_is_low,
            certain,
            watched: if sender_serves { src_watched } else { dst_watched },
            checksums: same.map(|role| role.checksums).unwrap_or_default(),
        };
        let direction = role.direct(from_low, packet, frame);
        if direction == Err(Skip::Checksum) {
            // What no receiver took decides nothing; it is only remembered as such.
            if let Some(role_before) = known {
                role = Role { checksums: role.checksums, ..role_before };
            }
        }
        self.pairs.insert(pair, role);
        direction
    }
}

fn key(addr: SocketAddr) -> (u128, u16) {
    /// `::ffff:0:0`
    const MAPPED: u128 = 0xffff << 32;
    let ip = match addr {
        SocketAddr::V4(v4) => MAPPED | u128::from(v4.ip().to_bits()),
        SocketAddr::V6(v6) => v6.ip().to_bits(),
    };
    (ip, addr.port())
}

/// Whether bytes begin with an upper-case method and a request target.
fn starts_like_request(bytes: &[u8]) -> bool {
    /// The longest registered methods have 17 letters (`UPDATEREDIRECTREF`).
    const MAX_METHOD: usize = 17;
    let letters = bytes.iter().take(MAX_METHOD + 1).take_while(|b| b.is_ascii_uppercase()).count();
    letters >= 3
        && matches!(
            bytes.get(letters..),
            Some([b' ', b'/' | b'*', ..] | [b' ', b'h', b't', b't', b'p', ..])
        )
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
