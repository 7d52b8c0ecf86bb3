//! `[[service]]` and `[memory]`: what is known of the watched services, and how long tokens are
//! remembered.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use crate::memory::MemoryConfig;

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
    /// An OpenAPI document in JSON, with the scopes of its operations.
    pub openapi: Option<PathBuf>,
    /// Routes and their scopes, beside those of the document.
    #[serde(default, rename = "route")]
    pub routes: Vec<RouteConfig>,
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
