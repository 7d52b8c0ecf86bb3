//! `[clients]`: how the client behind a connection is told.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

/// `[clients]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsConfig {
    /// Networks of the proxies whose word on their client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The field that they say it in.
    pub proxy_header: ProxyHeader,
    /// A database of autonomous systems in MaxMind's format.
    pub asn_database: Option<PathBuf>,
    /// A database of cities in MaxMind's format: countries and places.
    pub city_database: Option<PathBuf>,
    /// A database of anonymous addresses in MaxMind's format: VPNs, proxies, Tor, data centres.
    pub anonymous_database: Option<PathBuf>,
}

/// The field in which proxies name their client. One and not both: a proxy that writes one field
/// hands the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
