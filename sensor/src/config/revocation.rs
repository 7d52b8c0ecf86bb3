//! `[revocation]`: how the end of a token is told.

use std::{ops::Range, path::PathBuf};

use serde::Deserialize;
use toml::Spanned;

/// `[revocation]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationConfig {
    /// What the paths of revocation endpoints (RFC 7009) end in, from a slash on.
    pub endpoints: Vec<Spanned<String>>,
    /// What the paths of back-channel logout endpoints end in, from a slash on; any path when
    /// empty.
    pub logout_endpoints: Vec<Spanned<String>>,
    /// A file of what is revoked.
    pub list_file: Option<PathBuf>,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        // Keycloak, Auth0, Okta, Hydra; IdentityServer; Django OAuth Toolkit; Curity;
        // PingFederate.
        let endpoints =
            ["/revoke", "/revocation", "/revoke_token", "/oauth-revoke", "/revoke_token.oauth2"];
        Self {
            endpoints: endpoints.map(|end| Spanned::new(0..0, end.to_owned())).to_vec(),
            logout_endpoints: Vec::new(),
            list_file: None,
        }
    }
}

pub(super) fn check(config: &RevocationConfig) -> Result<(), (Range<usize>, String)> {
    for (key, endings) in
        [("endpoints", &config.endpoints), ("logout_endpoints", &config.logout_endpoints)]
    {
        for ending in endings {
            let text = ending.get_ref();
            if !text.starts_with('/') || text.len() < 2 || text.contains(['?', '#']) {
                let message = format!(
                    "{key}: {text:?} must be a path with a slash in front, without a query"
                );
                return Err((ending.span(), message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn endings_are_paths() {
        let read = |text: &str| parse(text, Path::new("c.toml"));
        let config = read("[revocation]\nendpoints = [\"/a/out\"]\nlist_file = \"/l\"\n").unwrap();
        assert_eq!(config.revocation.endpoints[0].get_ref(), "/a/out");
        assert!(config.revocation.logout_endpoints.is_empty());
        for wrong in ["out", "/", "", "/a?b"] {
            let text = format!("[revocation]\nlogout_endpoints = [\"/x\", \"{wrong}\"]\n");
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with("c.toml:2:27: revocation.logout_endpoints: "), "{error}");
        }
    }
}
