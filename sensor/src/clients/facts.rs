//! Everything that is known of a client, and what was known of the latest ones.

use std::{hash::BuildHasher as _, net::IpAddr};

use jotwatch_models::behaviour::{Client, GeoPoint, NetworkKinds};

use super::Clients;

/// Clients whose facts are kept, a power of two: a third of a megabyte, and most of the clients
/// of a host within a minute.
const KEPT: usize = 4_096;

/// What is known of a client's address. What nothing tells is `None`, which is not the same as
/// "nothing of the kind".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClientFacts {
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// Its country, ISO 3166-1 alpha-2.
    pub country: Option<[u8; 2]>,
    /// Where it is.
    pub place: Option<GeoPoint>,
    /// What kinds of network it is in.
    pub kinds: Option<NetworkKinds>,
    /// Whether a threat feed names it.
    pub threat: Option<bool>,
}

impl ClientFacts {
    /// The same as the behaviour model takes it.
    #[must_use]
    pub const fn of(self, address: IpAddr) -> Client {
        let Self { asn, country, place, kinds, threat } = self;
        Client { address, asn, country, place, kinds, threat }
    }
}

/// The facts of the latest clients, each in the one place that its address hashes to: the later
/// client takes it from the earlier. To be dropped when the databases are others.
pub struct FactsCache {
    kept: Box<[Option<(IpAddr, ClientFacts)>]>,
    /// Nobody shall choose addresses that take each other's place.
    hasher: foldhash::fast::RandomState,
}

impl Default for FactsCache {
    fn default() -> Self {
        Self { kept: vec![None; KEPT].into(), hasher: foldhash::fast::RandomState::default() }
    }
}

impl std::fmt::Debug for FactsCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FactsCache").finish_non_exhaustive()
    }
}

impl FactsCache {
    /// What these know of an address.
    pub fn facts(&mut self, clients: &Clients, address: IpAddr) -> ClientFacts {
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let at = self.hasher.hash_one(address) as usize & (KEPT - 1);
        let Some(kept) = self.kept.get_mut(at) else { return clients.facts(address) };
        match kept {
            Some((known, facts)) if *known == address => *facts,
            _ => kept.insert((address, clients.facts(address))).1,
        }
    }

    /// Forgets everything: the databases are others.
    pub fn clear(&mut self) {
        self.kept.fill(None);
    }
}
