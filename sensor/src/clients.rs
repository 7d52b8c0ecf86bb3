//! Who the client of a connection is: behind trusted proxies, in which autonomous system, and where
//! on earth.

mod facts;
mod forwarded;
#[cfg(test)]
#[path = "../../tests/src/mmdb.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests have it as well")]
pub(crate) mod mmdb;
mod networks;
mod places;

use std::net::IpAddr;

use ipnet::IpNet;
use jotwatch_models::behaviour::{GeoPoint, NetworkKinds};

pub use self::{
    facts::{ClientFacts, FactsCache},
    forwarded::MAX_HOPS,
    networks::{MAX_DATABASE_BYTES, Networks},
    places::{Cities, Kinds, MAX_CITY_BYTES},
};
use crate::{
    config::{ClientsConfig, ProxyHeader},
    http::Request,
};

/// What is known of where clients are.
#[derive(Debug, Default)]
pub struct Clients {
    proxies: Vec<IpNet>,
    header: ProxyHeader,
    networks: Option<Networks>,
    cities: Option<Cities>,
    kinds: Option<Kinds>,
}

impl Clients {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// A database can't be read or is of another kind; the error names it.
    pub fn load(config: &ClientsConfig) -> anyhow::Result<Self> {
        Ok(Self {
            proxies: config.trusted_proxies.clone(),
            header: config.proxy_header,
            networks: config.asn_database.as_deref().map(Networks::load).transpose()?,
            cities: config.city_database.as_deref().map(Cities::load).transpose()?,
            kinds: config.anonymous_database.as_deref().map(Kinds::load).transpose()?,
        })
    }

    /// Whether this is a proxy whose word is taken.
    #[must_use]
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`: the last address on the way here that is
    /// no trusted proxy's. What a request says is taken only from a trusted proxy.
    #[must_use]
    pub fn of(&self, peer: IpAddr, request: &Request) -> IpAddr {
        if self.proxies.is_empty() || !self.is_proxy(peer) {
            return peer;
        }
        forwarded::client(peer, request, self.header, |address| self.is_proxy(address))
    }

    /// Everything that is known of an address. It takes a look-up in each database; whoever asks
    /// for every request asks a [`FactsCache`].
    #[must_use]
    pub fn facts(&self, address: IpAddr) -> ClientFacts {
        let (country, place) = self.place(address);
        ClientFacts {
            asn: self.asn(address),
            country,
            place,
            kinds: self.kinds(address),
            threat: None,
        }
    }

    /// The country of an address as ISO 3166-1 alpha-2, and its place; each `None` where no
    /// database tells.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> (Option<[u8; 2]>, Option<GeoPoint>) {
        self.cities.as_ref().map(|cities| cities.place(address)).unwrap_or_default()
    }

    /// What kind of network an address is in; `None` where no database tells.
    #[must_use]
    pub fn kinds(&self, address: IpAddr) -> Option<NetworkKinds> {
        self.kinds.as_ref().map(|kinds| kinds.of(address))
    }

    /// The autonomous system of an address; `None` without a database, or where it has none.
    #[must_use]
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.networks.as_ref()?.asn(address)
    }
}
