//! Who the client of a connection is: behind trusted proxies, and in which autonomous system.

mod forwarded;
#[cfg(test)]
#[path = "../../tests/src/mmdb.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests have it as well")]
pub(crate) mod mmdb;
mod networks;

use std::net::IpAddr;

use ipnet::IpNet;

pub use self::{
    forwarded::MAX_HOPS,
    networks::{MAX_DATABASE_BYTES, Networks},
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
}

impl Clients {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// The database can't be read or is none of autonomous systems; the error names it.
    pub fn load(config: &ClientsConfig) -> anyhow::Result<Self> {
        Ok(Self {
            proxies: config.trusted_proxies.clone(),
            header: config.proxy_header,
            networks: config.asn_database.as_deref().map(Networks::load).transpose()?,
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

    /// The autonomous system of an address; `None` without a database, or where it has none.
    #[must_use]
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.networks.as_ref()?.asn(address)
    }
}
