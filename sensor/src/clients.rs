//! Who the client of a connection is: behind trusted proxies, in which autonomous system, where on
//! earth, and what feeds say of him.

mod facts;
mod forwarded;
mod listed;
#[cfg(test)]
#[path = "../../tests/src/mmdb.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests have it as well")]
pub(crate) mod mmdb;
mod networks;
mod places;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use jotwatch_models::behaviour::{GeoPoint, NetworkKinds};

use self::listed::Listed;
pub use self::{
    facts::{ClientFacts, FactsCache},
    forwarded::MAX_HOPS,
    networks::{MAX_DATABASE_BYTES, Networks},
    places::{Cities, Kinds, MAX_CITY_BYTES},
};
use crate::{
    config::{ClientsConfig, ProxyHeader},
    feeds::{FeedTable, Meaning},
    http::Request,
};

/// What is known of clients. A copy shares databases and feeds.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    proxies: Vec<IpNet>,
    header: ProxyHeader,
    networks: Option<Arc<Networks>>,
    cities: Option<Arc<Cities>>,
    kinds: Option<Arc<Kinds>>,
    listed: Listed,
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
            networks: load(config.asn_database.as_ref(), Networks::load)?,
            cities: load(config.city_database.as_ref(), Cities::load)?,
            kinds: load(config.anonymous_database.as_ref(), Kinds::load)?,
            listed: Listed::default(),
        })
    }

    /// The same with these feeds in the place of those before. `configured` are the meanings of all
    /// feeds there are to be: one that has not come yet names nobody, which is not the same as none.
    #[must_use]
    pub fn with_feeds(&self, tables: Vec<Arc<FeedTable>>, configured: &[Meaning]) -> Self {
        Self { listed: Listed::new(tables, configured), ..self.clone() }
    }

    /// Adds what feeds of threats say of a client of which these are the facts, and of its request.
    pub fn note_threats(&self, client: IpAddr, facts: &ClientFacts, request: &mut Request) {
        if facts.threat == Some(true) {
            self.listed.note_address(client, &mut request.findings);
        }
        self.listed.note_names(request);
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
            threat: self.listed.threat(address),
        }
    }

    /// The country of an address as ISO 3166-1 alpha-2, and its place; each `None` where no
    /// database tells.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> (Option<[u8; 2]>, Option<GeoPoint>) {
        self.cities.as_ref().map(|cities| cities.place(address)).unwrap_or_default()
    }

    /// What kinds of network an address is in, by the database and by lists; `None` where there is
    /// neither.
    #[must_use]
    pub fn kinds(&self, address: IpAddr) -> Option<NetworkKinds> {
        let database = self.kinds.as_ref().map(|kinds| kinds.of(address));
        match (database, self.listed.kinds(address)) {
            (Some(one), Some(other)) => Some(one.with(other)),
            (one, other) => one.or(other),
        }
    }

    /// The autonomous system of an address; `None` without a database, or where it has none.
    #[must_use]
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.networks.as_ref()?.asn(address)
    }
}

fn load<T>(
    path: Option<&PathBuf>,
    load: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<Option<Arc<T>>> {
    path.map(|path| load(path).map(Arc::new)).transpose()
}
