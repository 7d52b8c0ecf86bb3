//! `[[issuer]]` and `[keys]`: whose tokens are expected, what they may look like, and where their
//! keys come from.

use std::{collections::HashSet, ops::Range, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::within;
use crate::{
    endpoint::Endpoint,
    keys::{Algorithm, Family, MAX_KEY_SET_BYTES},
};

/// The most `[[issuer]]` tables.
pub const MAX_ISSUERS: usize = 256;

/// `[[issuer]]`: one issuer of tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerConfig {
    /// The `iss` claim of its tokens, compared byte by byte (RFC 7519, section 4.1.1). Absent:
    /// every token whose issuer has no table of its own.
    pub issuer: Option<Spanned<String>>,
    /// Find the key set by discovery below `issuer` (OpenID Connect Discovery 1.0; RFC 8414).
    pub discovery: Spanned<bool>,
    /// Where the key set is, instead of discovery.
    pub jwks_url: Option<Spanned<String>>,
    /// A key set in a file. Beside `discovery` or `jwks_url` it serves only as long as nothing
    /// was ever fetched.
    pub jwks_file: Option<PathBuf>,
    /// Files of keys that always serve: PEM, DER, JWK or JWK Set.
    #[serde(deserialize_with = "crate::credential::list")]
    pub key_files: Vec<PathBuf>,
    /// Files of one HMAC secret each.
    #[serde(deserialize_with = "crate::credential::list")]
    pub secret_files: Vec<PathBuf>,
    /// The algorithms that its tokens may use; see [`Self::allows`] for the default.
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Option<Vec<Algorithm>>,
    /// Its tokens are meant for one of these (`aud`); any when empty.
    pub audiences: Vec<String>,
    /// How far its clock and ours may differ.
    pub leeway_seconds: Spanned<u64>,
    /// The `typ` that its tokens may have; any when empty.
    pub types: Vec<String>,
    /// Claims that each of its tokens has.
    pub required_claims: Vec<String>,
    /// The longest time from `iat` to `exp`; any when absent.
    pub max_lifetime_seconds: Option<u64>,
    /// Whether its tokens may be encrypted (JWE); see [`IssuerPolicy`](crate::token::validate::IssuerPolicy).
    pub encrypted: Option<bool>,
    /// What `jku` and `x5u` of its tokens may begin with.
    pub jku_allow: Vec<Spanned<String>>,
    /// URLs at which a key set of this issuer may be seen in clear, where it has no source of keys.
    pub learn_from: Vec<Spanned<String>>,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            discovery: Spanned::new(0..0, false),
            jwks_url: None,
            jwks_file: None,
            key_files: Vec::new(),
            secret_files: Vec::new(),
            algorithms: None,
            audiences: Vec::new(),
            leeway_seconds: Spanned::new(0..0, 60),
            types: Vec::new(),
            required_claims: Vec::new(),
            max_lifetime_seconds: None,
            encrypted: None,
            jku_allow: Vec::new(),
            learn_from: Vec::new(),
        }
    }
}

impl IssuerConfig {
    /// The `iss` claim of its tokens.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.issuer.as_ref().map(|issuer| issuer.get_ref().as_str())
    }

    /// Whether its tokens may be signed with `alg`. Without `algorithms`: every asymmetric one,
    /// and HMAC only where `has_secret`, that is, where a secret is among its keys. A public key
    /// never makes an HMAC algorithm right (RFC 8725, section 2.1).
    #[must_use]
    pub fn allows(&self, alg: Algorithm, has_secret: bool) -> bool {
        match &self.algorithms {
            Some(allowed) => allowed.contains(&alg),
            None => alg.family() != Family::Hmac || has_secret,
        }
    }

    /// How far its clock and ours may differ.
    #[must_use]
    pub fn leeway(&self) -> Duration {
        Duration::from_secs(*self.leeway_seconds.get_ref())
    }

    /// The longest time from `iat` to `exp`.
    #[must_use]
    pub fn max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime_seconds.map(Duration::from_secs)
    }

    /// Its name, and each URL at which a key set of it may be seen.
    pub fn learn_from(&self) -> impl Iterator<Item = (String, String)> {
        let urls = self.learn_from.iter().map(|url| url.get_ref().clone());
        self.name().into_iter().flat_map(move |name| urls.clone().map(|url| (name.to_owned(), url)))
    }

    /// Whether its keys are fetched.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        *self.discovery.get_ref() || self.jwks_url.is_some()
    }

    /// Whether any source of keys is configured.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.is_remote()
            || self.jwks_file.is_some()
            || !self.key_files.is_empty()
            || !self.secret_files.is_empty()
    }
}

fn algorithms<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Algorithm>>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    if names.is_empty() {
        return Err(serde::de::Error::custom("algorithms must name at least one"));
    }
    let algorithm = |name: &String| {
        Algorithm::from_name(name).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
            serde::de::Error::custom(format_args!(
                "unknown algorithm {name:?}, expected one of {known}"
            ))
        })
    };
    names.iter().map(algorithm).collect::<Result<_, _>>().map(Some)
}

/// `[keys]`: how keys are fetched and kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// How long connecting may take.
    pub connect_seconds: Spanned<u64>,
    /// How long the whole fetch of one issuer's keys may take, with discovery and redirects.
    pub total_seconds: Spanned<u64>,
    /// Longer answers are refused.
    pub max_bytes: Spanned<u64>,
    /// Keys are fetched at least so often; an answer's `max-age` may ask for less.
    pub refresh_seconds: Spanned<u64>,
    /// A token with an unknown `kid` makes its issuer's keys be fetched at most so often.
    pub unknown_kid_seconds: Spanned<u64>,
    /// A key that vanished from its set still serves for so long.
    pub keep_seconds: Spanned<u64>,
    /// Holds fetched key sets; `keys` in `daemon.state_dir` when absent.
    pub cache_dir: Option<PathBuf>,
    /// Whether keys may come over plain HTTP, where anyone on the way can replace them.
    pub allow_http: bool,
    /// Hosts (`HOST` or `HOST:PORT`) beside the issuer's own that `jwks_uri` and redirects may
    /// lead to.
    pub allowed_hosts: Vec<Spanned<String>>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether keys are learned from key sets that services serve or fetch in clear.
    pub learn: bool,
}

impl Default for KeysConfig {
    fn default() -> Self {
        let value = |value| Spanned::new(0..0, value);
        Self {
            connect_seconds: value(3),
            total_seconds: value(10),
            max_bytes: value(1 << 20),
            refresh_seconds: value(3_600),
            unknown_kid_seconds: value(60),
            keep_seconds: value(86_400),
            cache_dir: None,
            allow_http: false,
            allowed_hosts: Vec::new(),
            ca_file: None,
            learn: true,
        }
    }
}

type Complaint = (Range<usize>, String);

pub(super) fn check(issuers: &[IssuerConfig], keys: &KeysConfig) -> Result<(), Complaint> {
    within(&keys.connect_seconds, "connect_seconds", 1, 60)?;
    within(&keys.total_seconds, "total_seconds", 1, 300)?;
    within(&keys.max_bytes, "max_bytes", 1_024, MAX_KEY_SET_BYTES as u64)?;
    within(&keys.refresh_seconds, "refresh_seconds", 60, 604_800)?;
    within(&keys.unknown_kid_seconds, "unknown_kid_seconds", 10, 86_400)?;
    within(&keys.keep_seconds, "keep_seconds", 0, 2_592_000)?;
    for host in &keys.allowed_hosts {
        let entry = host.get_ref();
        let whole = Endpoint::parse(&format!("https://{entry}"), false);
        if entry.contains(['/', '?', '#']) || whole.is_err() {
            return Err((host.span(), format!("{entry:?} is neither HOST nor HOST:PORT")));
        }
    }
    if issuers.len() > MAX_ISSUERS {
        return Err((0..0, format!("more than {MAX_ISSUERS} issuers")));
    }
    let mut names = HashSet::new();
    for issuer in issuers {
        check_issuer(issuer, keys.allow_http)?;
        if !names.insert(issuer.name()) {
            let span = issuer.issuer.as_ref().map_or(0..0, Spanned::span);
            let name = issuer.name().unwrap_or("any");
            return Err((span, format!("issuer {name:?} has two tables")));
        }
    }
    Ok(())
}

fn check_issuer(config: &IssuerConfig, allow_http: bool) -> Result<(), Complaint> {
    let url = |key: &str, url: &Spanned<String>| {
        Endpoint::parse(url.get_ref(), allow_http)
            .map(drop)
            .map_err(|error| (url.span(), format!("{key}: {error}")))
    };
    within(&config.leeway_seconds, "leeway_seconds", 0, 86_400)?;
    if let Some(issuer) = config.issuer.as_ref().filter(|issuer| issuer.get_ref().is_empty()) {
        return Err((issuer.span(), "issuer is empty; leave it out to mean any".into()));
    }
    for seen in &config.learn_from {
        let span = seen.span();
        if config.name().is_none() {
            return Err((span, "learn_from needs an issuer".into()));
        }
        if config.has_keys() {
            return Err((span, "learn_from is for an issuer without a source of keys".into()));
        }
        if let Err(error) = Endpoint::parse(seen.get_ref(), true) {
            return Err((span, format!("learn_from: {error}")));
        }
    }
    if *config.discovery.get_ref() {
        let span = config.discovery.span();
        if config.jwks_url.is_some() {
            return Err((span, "discovery and jwks_url exclude each other".into()));
        }
        match &config.issuer {
            None => return Err((span, "discovery needs an issuer".into())),
            Some(issuer) => url("issuer (for discovery)", issuer)?,
        }
    }
    if let Some(jwks_url) = &config.jwks_url {
        url("jwks_url", jwks_url)?;
    }
    for prefix in &config.jku_allow {
        url("jku_allow", prefix)?;
        // Without the slash, "https://id.example" would admit "https://id.example.attacker.example".
        let host_ends = prefix.get_ref().splitn(4, '/').count() == 4;
        if !host_ends {
            let complaint = format!("jku_allow: {:?} lacks a / behind its host", prefix.get_ref());
            return Err((prefix.span(), complaint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{config::parse, keys::Algorithm};

    fn fails(text: &str) -> String {
        parse(text, Path::new("c.toml")).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            [keys]
            connect_seconds = 2
            total_seconds = 5
            max_bytes = 65536
            refresh_seconds = 600
            unknown_kid_seconds = 30
            keep_seconds = 0
            cache_dir = "/c"
            allow_http = true
            allowed_hosts = ["keys.example", "keys.example:8443", "[::1]:80"]
            ca_file = "/ca.pem"

            [[issuer]]
            issuer = "https://id.example"
            discovery = true
            jwks_file = "/id.jwks"
            key_files = ["/id.pem"]
            secret_files = ["/hs.key"]
            algorithms = ["RS256", "Ed25519"]
            audiences = ["orders-api"]
            leeway_seconds = 5
            types = ["at+jwt", "JWT"]
            required_claims = ["exp", "sub"]
            max_lifetime_seconds = 86400
            encrypted = true
            jku_allow = ["https://id.example/"]

            [[issuer]]
            jwks_url = "http://127.0.0.1:80/jwks"
        "#;
        let config = parse(text, Path::new("c.toml")).unwrap();
        let [named, any] = &config.issuers[..] else { panic!("{:?}", config.issuers) };
        assert_eq!(named.name(), Some("https://id.example"));
        assert_eq!(named.algorithms, Some(vec![Algorithm::Rs256, Algorithm::EdDsa]));
        assert!(named.is_remote() && any.is_remote() && any.name().is_none());
        assert_eq!((any.leeway().as_secs(), any.max_lifetime()), (60, None));
        assert_eq!((named.encrypted, any.encrypted), (Some(true), None));
        assert_eq!(*config.keys.keep_seconds.get_ref(), 0);
    }

    #[test]
    fn without_a_list_hmac_needs_a_secret() {
        let config =
            parse("[[issuer]]\n[[issuer]]\nissuer = \"i\"\nalgorithms = [\"HS256\"]", "".as_ref())
                .unwrap();
        let [open, listed] = &config.issuers[..] else { panic!() };
        assert!(open.allows(Algorithm::Es256, false) && open.allows(Algorithm::Hs256, true));
        assert!(!open.allows(Algorithm::Hs256, false));
        assert!(listed.allows(Algorithm::Hs256, false) && !listed.allows(Algorithm::Es256, false));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, due) in [
            (
                "[[issuer]]\nissuers = 1",
                "c.toml:2:1: issuer: unknown key `issuers`, did you mean `issuer`?",
            ),
            (
                "[[issuer]]\nalgorithms = [\"none\"]",
                "c.toml:2:14: issuer.algorithms: unknown algorithm \"none\"",
            ),
            ("[[issuer]]\nalgorithms = []", "c.toml:2:14: issuer.algorithms must name"),
            ("[[issuer]]\nissuer = \"\"", "c.toml:2:10: issuer.issuer is empty"),
            ("[[issuer]]\ndiscovery = true", "c.toml:2:13: issuer.discovery needs an issuer"),
            (
                "[[issuer]]\nissuer = \"id\"\ndiscovery = true",
                "c.toml:2:10: issuer.issuer (for discovery): not an absolute URL",
            ),
            (
                "[[issuer]]\nissuer = \"https://i\"\ndiscovery = true\njwks_url = \"https://i/\"",
                "c.toml:3:13: issuer.discovery and jwks_url exclude each other",
            ),
            (
                "[[issuer]]\njwks_url = \"http://i/\"",
                "c.toml:2:12: issuer.jwks_url: plain HTTP is not allowed",
            ),
            (
                "[[issuer]]\njwks_url = \"https://u:p@i/\"",
                "c.toml:2:12: issuer.jwks_url: user information",
            ),
            (
                "[[issuer]]\njku_allow = [\"https://i\"]",
                "c.toml:2:14: issuer.jku_allow: \"https://i\" lacks",
            ),
            (
                "[[issuer]]\nissuer = \"a\"\n[[issuer]]\nissuer = \"a\"",
                "c.toml:4:10: issuer.issuer \"a\" has two tables",
            ),
            ("[[issuer]]\n[[issuer]]\n", "c.toml:1:1: issuer \"any\" has two tables"),
            (
                "[[issuer]]\nlearn_from = [\"http://i/\"]",
                "c.toml:2:15: issuer.learn_from needs an issuer",
            ),
            (
                "[[issuer]]\nissuer = \"a\"\njwks_file = \"f\"\nlearn_from = [\"http://i/\"]",
                "c.toml:4:15: issuer.learn_from is for an issuer without",
            ),
            (
                "[[issuer]]\nissuer = \"a\"\nlearn_from = [\"i/jwks\"]",
                "c.toml:3:15: issuer.learn_from: not an absolute URL",
            ),
            ("[keys]\nrefresh_seconds = 1", "c.toml:2:19: keys.refresh_seconds must be from 60"),
            (
                "[keys]\nallowed_hosts = [\"https://i\"]",
                "c.toml:2:18: keys.allowed_hosts: \"https://i\" is neither",
            ),
        ] {
            let error = fails(text);
            assert!(error.starts_with(due), "{error}");
            // A password in a URL is nobody's business.
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
