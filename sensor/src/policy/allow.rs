use std::{collections::HashSet, net::IpAddr};

use ipnet::IpNet;

use super::{Context, Name};
use crate::{
    memory::routes::{Coverage, RouteError, RouteScopes},
    networks::NetworkMap,
};

/// Networks of one allowlist.
pub const MAX_ALLOWED_NETWORKS: usize = 100_000;

/// Subjects and issuers of one allowlist.
pub const MAX_ALLOWED_NAMES: usize = 100_000;

/// Methods that a route without one stands for: those of RFC 9110, section 9, and PATCH
/// (RFC 5789).
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Which entry of the allowlist spares a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AllowKind {
    /// The client's address.
    Address,
    /// The subject of its token.
    Subject,
    /// The issuer of its token.
    Issuer,
    /// The route that it asks for.
    Route,
}

impl AllowKind {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Route => "route",
        }
    }
}

/// A subject, of one issuer or of any.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct AllowedName {
    /// The `iss` claim; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `sub` claim.
    pub subject: String,
}

/// What is never cut.
///
/// An address or a route spares the whole request. A subject or an issuer spares what is found of
/// tokens that bear its name *under a signature that a key vouches for*: otherwise an allowed name
/// in a forged token would be enough to pass.
#[derive(Clone, Debug, Default)]
pub struct Allowlist {
    networks: NetworkMap<()>,
    subjects: HashSet<AllowedName>,
    issuers: HashSet<String>,
    routes: RouteScopes,
}

impl Allowlist {
    /// Spares clients of this network.
    pub fn add_network(&mut self, network: IpNet) {
        self.networks.insert(network, ());
    }

    /// Spares tokens of this subject.
    pub fn add_subject(&mut self, name: AllowedName) {
        self.subjects.insert(name);
    }

    /// Spares tokens of this issuer.
    pub fn add_issuer(&mut self, issuer: String) {
        self.issuers.insert(issuer);
    }

    /// Spares requests for a route: `/orders/{id}`, or `GET /orders/{id}` for one method. A route
    /// that is there already is no error.
    ///
    /// # Errors
    /// The path is no template of a path, or there are too many routes.
    pub fn add_route(&mut self, route: &str) -> Result<(), RouteError> {
        let (methods, path) = match route.split_once(' ') {
            Some((method, path)) => (&[method][..], path.trim_start()),
            None => (&METHODS[..], route),
        };
        for method in methods {
            match self.routes.add_public(method, path) {
                Ok(()) | Err(RouteError::Twice(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The networks whose clients are spared.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.networks.iter().map(|(network, ())| network)
    }

    /// Whether clients of this address are spared.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.networks.containing(address).next().is_some()
    }

    /// What spares the whole request, where something does.
    #[must_use]
    pub fn allows_request(&self, context: &Context<'_>) -> Option<AllowKind> {
        // To allow a proxy is to never cut it, whoever is behind it.
        if self.allows_address(context.client) || self.allows_address(context.peer) {
            return Some(AllowKind::Address);
        }
        if self.routes.is_empty() {
            return None;
        }
        // A target that is not text matches no route.
        let method = std::str::from_utf8(context.method).ok()?;
        let target = std::str::from_utf8(context.target).ok()?;
        let found = self.routes.check(method, target, &[]) == Coverage::Public;
        found.then_some(AllowKind::Route)
    }

    /// What spares tokens that bear this name, where something does. The caller asks for names
    /// only that a key vouches for.
    #[must_use]
    pub fn allows_name(&self, name: Name<'_>) -> Option<AllowKind> {
        if name.issuer.is_some_and(|issuer| self.issuers.contains(issuer)) {
            return Some(AllowKind::Issuer);
        }
        if self.subjects.is_empty() {
            return None;
        }
        let subject = name.subject?;
        let of = |issuer: Option<&str>| AllowedName {
            issuer: issuer.map(str::to_owned),
            subject: subject.to_owned(),
        };
        let own = name.issuer.is_some() && self.subjects.contains(&of(name.issuer));
        (own || self.subjects.contains(&of(None))).then_some(AllowKind::Subject)
    }
}
