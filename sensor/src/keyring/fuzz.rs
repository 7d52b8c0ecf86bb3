//! Feeds the readers that the keyring keeps to itself; see [`crate::fuzz`].

use super::{cache, discovery, rotation};
use crate::endpoint::Endpoint;

/// What an issuer's server answers, and what was kept of it.
pub(crate) fn documents(data: &[u8]) {
    let _uri = discovery::jwks_uri(data, "https://id.example");
    let _set = rotation::FetchedSet::read(data.to_vec());
    let _kept = serde_json::from_slice::<cache::Cached>(data);
}

/// A URL of the configuration, or one that a server gave.
pub(crate) fn url(text: &str) {
    let _endpoint = Endpoint::parse(text, true);
}
