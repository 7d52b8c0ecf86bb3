//! `[[service]]` and `[memory]`: what is known of the watched services, and how long tokens are
//! remembered.

use std::{ops::Range, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use crate::{memory::MemoryConfig, policy::Mode};

/// `[[service]]`: one watched service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Its port.
    pub port: u16,
    /// Its name; what is learned of it survives a restart under this name.
    pub name: Option<String>,
    /// Audiences that it belongs to: a token of none of them, used elsewhere before, is relayed.
    /// Learned where this is empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Addresses under which clients know it, with the path that proxies cut off: what `htu` of
    /// DPoP proofs is held against.
    #[serde(default)]
    pub public_urls: Vec<Spanned<String>>,
    /// Whether tokens that are bound to a key come with a proof of it here; false where a gateway
    /// in front checks the proofs and keeps them.
    #[serde(default = "yes")]
    pub dpop: bool,
    /// Whether credentials for it may be encrypted, whatever the issuers' tables say.
    pub encrypted: Option<bool>,
    /// An OpenAPI document in JSON, with the scopes of its operations.
    pub openapi: Option<PathBuf>,
    /// Routes and their scopes, beside those of the document.
    #[serde(default, rename = "route")]
    pub routes: Vec<RouteConfig>,
    /// What is done about bad requests to it, instead of `enforcement.mode`.
    pub mode: Option<Mode>,
    /// Instead of `enforcement.dry_run`.
    pub dry_run: Option<bool>,
}

/// `[[service.route]]`: what one route asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The method, `GET` for one.
    pub method: String,
    /// The path, `/orders/{id}` for one.
    pub path: String,
    /// Scopes of which a token needs all.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The route asks for no token at all.
    #[serde(default)]
    pub public: bool,
}

fn yes() -> bool {
    true
}

pub(super) fn check(services: &[ServiceConfig]) -> Result<(), (Range<usize>, String)> {
    for url in services.iter().flat_map(|service| &service.public_urls) {
        let text = url.get_ref();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.starts_with('/') || rest.is_empty())
            || text.contains(['?', '#', '@'])
        {
            let message =
                format!("public_urls: {text:?} is not https://HOST or http://HOST with a path");
            return Err((url.span(), message));
        }
    }
    Ok(())
}

/// `[memory]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// Tokens that are remembered at once.
    pub tokens: Spanned<usize>,
    /// Subjects whose privileges are remembered.
    pub subjects: Spanned<usize>,
    /// How long the old and the new address of a client may overlap.
    pub grace_seconds: u64,
    /// What is not used for this long is forgotten.
    pub max_age_seconds: u64,
}

impl Default for MemorySettings {
    fn default() -> Self {
        let memory = MemoryConfig::default();
        Self {
            tokens: Spanned::new(0..0, memory.tokens),
            subjects: Spanned::new(0..0, memory.subjects),
            grace_seconds: memory.grace.as_secs(),
            max_age_seconds: memory.max_age.as_secs(),
        }
    }
}

impl MemorySettings {
    /// As the memory takes them.
    #[must_use]
    pub fn resolve(&self) -> MemoryConfig {
        MemoryConfig {
            tokens: *self.tokens.get_ref(),
            subjects: *self.subjects.get_ref(),
            grace: Duration::from_secs(self.grace_seconds),
            max_age: Duration::from_secs(self.max_age_seconds),
            ..MemoryConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn public_urls_are_addresses() {
        let read = |url: &str| {
            let text = format!("[[service]]\nport = 80\npublic_urls = [\"{url}\"]\n");
            parse(&text, Path::new("c.toml"))
        };
        let config = read("https://api.example/v1").unwrap();
        assert!(config.services[0].dpop);
        for wrong in ["", "api.example", "https://", "https:///x", "ftp://a", "https://a?b"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with("c.toml:3:16: public_urls: "), "{error}");
        }
    }
}
