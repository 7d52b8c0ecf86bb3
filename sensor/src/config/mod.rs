//! The configuration file: one TOML document, read into [`Config`] whole or not at all.
//!
//! [`load`] reads a file, [`parse`] text. Unknown keys, wrong types and values out of range are
//! errors that name the file, the line and the key, and propose the nearest known key.
#![forbid(unsafe_code)]

mod clients;
mod enforcement;
mod error;
mod feeds;
mod include;
mod issuers;
mod key;
mod metrics;
mod rest;
mod revocation;
mod scoring;
mod services;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use self::include::Sources;
pub use self::{
    clients::{ClientsConfig, ProxyHeader},
    enforcement::{AllowConfig, EnforcementConfig, MAX_DENY_FILES, MAX_RULES, RuleConfig},
    error::Error,
    feeds::{FeedColumn, FeedConfig, FeedEntries, FeedFormat, MAX_FEEDS},
    issuers::{IssuerConfig, KeysConfig, MAX_ISSUERS},
    metrics::MetricsConfig,
    rest::{Listen, RestConfig},
    revocation::RevocationConfig,
    scoring::{HistoryConfig, HistoryPlace, ScoringConfig, read_behaviour},
    services::{MemorySettings, Place, RouteConfig, ServiceConfig},
};
use crate::{finding::Severity, journal::Keep, sinks::SinksConfig, weak::WeakSecrets};

/// Where `jotwatch run` looks for its configuration unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/jotwatch/config.toml";

/// Largest configuration that is read, all of its files together.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What to watch, and how much of it to copy.
    pub capture: CaptureConfig,
    /// Where tokens are looked for, and what of them is shown.
    pub tokens: TokenConfig,
    /// Whose tokens are expected.
    #[serde(rename = "issuer")]
    pub issuers: Vec<IssuerConfig>,
    /// How keys are fetched and kept.
    pub keys: KeysConfig,
    /// What is known of the watched services.
    #[serde(rename = "service")]
    pub services: Vec<Spanned<ServiceConfig>>,
    /// How the client behind a connection is told.
    pub clients: ClientsConfig,
    /// Lists of others that requests are scored by.
    #[serde(rename = "feed")]
    pub feeds: Vec<FeedConfig>,
    /// How the end of a token is told.
    pub revocation: RevocationConfig,
    /// How requests are scored.
    pub scoring: ScoringConfig,
    /// Scores for services that ask over HTTP.
    pub rest: RestConfig,
    /// What the daemon counts, for Prometheus.
    pub metrics: MetricsConfig,
    /// What is done about bad requests.
    pub enforcement: EnforcementConfig,
    /// How much of tokens is remembered, and for how long.
    pub memory: MemorySettings,
    /// Upper bounds of memory and time.
    pub limits: LimitConfig,
    /// What becomes an event.
    pub events: EventConfig,
    /// Where events go.
    pub sinks: SinksConfig,
    /// Folders of the running daemon.
    pub daemon: DaemonConfig,
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// TCP ports whose services are watched.
    pub ports: Vec<u16>,
    /// Local addresses or networks that the watched services use; any when empty.
    pub addresses: Vec<IpNet>,
    /// The cgroup to watch: absolute, or relative to the cgroup v2 mount; the root when absent.
    pub cgroup: Option<PathBuf>,
    /// Size of the ring between the kernel and the daemon, in bytes: a power of two.
    ring_bytes: Spanned<u32>,
    /// Bytes of each request's body that are copied.
    pub request_body_budget: u32,
    /// Bytes of each response's body that are copied.
    pub response_body_budget: u32,
}

impl CaptureConfig {
    /// Size of the ring between the kernel and the daemon, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        *self.ring_bytes.get_ref()
    }
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            addresses: Vec::new(),
            cgroup: None,
            ring_bytes: Spanned::new(0..0, 16 << 20),
            request_body_budget: 8 << 10,
            response_body_budget: 1 << 10,
        }
    }
}

/// `[tokens]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// Further request header fields that carry a token.
    pub headers: Vec<String>,
    /// Claims that events may show. Everything else in a token stays unseen.
    pub claims: Vec<String>,
    /// Tokens over this many bytes are not decoded.
    pub max_bytes: Spanned<usize>,
    /// Decoded tokens that are kept for reuse.
    pub cache_entries: usize,
    /// A list of weak HMAC secrets, one a line, that tokens are tried with.
    pub weak_secrets_file: Option<PathBuf>,
}

impl TokenConfig {
    /// Reads the list of weak secrets, where one is named.
    ///
    /// # Errors
    /// Those of [`WeakSecrets::load`].
    pub fn weak_secrets(&self) -> anyhow::Result<Option<WeakSecrets>> {
        self.weak_secrets_file.as_deref().map(WeakSecrets::load).transpose()
    }
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            claims: ["iss", "sub", "aud", "azp", "client_id", "scope", "jti", "iat", "nbf", "exp"]
                .map(String::from)
                .to_vec(),
            max_bytes: Spanned::new(0..0, 16 << 10),
            cache_entries: 8_192,
            weak_secrets_file: None,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Connections that are followed at once; the longest silent one gives way.
    pub flows: Spanned<usize>,
    /// Bytes buffered for one direction of a connection.
    pub flow_bytes: Spanned<usize>,
    /// Bytes buffered over all connections.
    pub total_bytes: usize,
    /// A connection that is silent for so long is forgotten.
    pub idle_seconds: u64,
    /// An alert waits so long for its answer before it goes out without one.
    pub answer_seconds: u64,
}

impl LimitConfig {
    /// A connection that is silent for so long is forgotten.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// An alert waits so long for its answer before it goes out without one.
    #[must_use]
    pub fn answer(&self) -> Duration {
        Duration::from_secs(self.answer_seconds)
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            flows: Spanned::new(0..0, 65_536),
            flow_bytes: Spanned::new(0..0, 256 << 10),
            total_bytes: 40 << 20,
            idle_seconds: 300,
            answer_seconds: 5,
        }
    }
}

/// `[events]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventConfig {
    /// Requests whose gravest finding is below this raise no event.
    pub min_severity: Severity,
    /// The 16-byte secret, as 32 hexadecimal digits, under which tokens are fingerprinted. The
    /// daemon makes one in its state folder when the file is absent.
    #[serde(deserialize_with = "crate::credential::optional")]
    pub fingerprint_key_file: Option<PathBuf>,
    /// Alerts of one cause within this time are joined; 0 joins none.
    pub join_seconds: u64,
    /// Bytes of events that are kept in the state folder, until they are delivered and for people.
    keep_bytes: Spanned<u64>,
    /// How long they are kept.
    pub keep_days: u64,
}

impl EventConfig {
    /// How much of what was told is kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        let age = Duration::from_secs(self.keep_days.saturating_mul(86_400));
        Keep { bytes: *self.keep_bytes.get_ref(), age }
    }
}

impl Default for EventConfig {
    fn default() -> Self {
        Self {
            min_severity: Severity::Low,
            fingerprint_key_file: None,
            join_seconds: 10,
            keep_bytes: Spanned::new(0..0, 256 << 20),
            keep_days: 30,
        }
    }
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// Holds the control socket.
    pub runtime_dir: PathBuf,
    /// Holds what survives a restart.
    pub state_dir: PathBuf,
    /// Whether the daemon gives up what it does not need.
    pub confine: bool,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            runtime_dir: "/run/jotwatch".into(),
            state_dir: "/var/lib/jotwatch".into(),
            confine: true,
        }
    }
}

/// Reads and checks a configuration file, with those in `conf.d` beside it.
///
/// # Errors
/// A file can't be read, is not TOML, or holds a key or a value that is not known, all together are
/// over [`MAX_CONFIG_BYTES`], or two set the same key; the error names the file and, where there is
/// one, the line.
pub fn load(path: &Path) -> Result<Config, Error> {
    assemble(&Sources::read(path)?)
}

/// Reads the folders of the running daemon, and checks nothing else: whoever asks the daemon, or
/// reads what it has written, may do so while the file is being changed, or is of another version.
///
/// # Errors
/// The file can't be read, is over [`MAX_CONFIG_BYTES`], is not TOML, or a folder is no path.
pub fn load_folders(path: &Path) -> Result<DaemonConfig, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        daemon: Folders,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Folders {
        runtime_dir: Option<PathBuf>,
        state_dir: Option<PathBuf>,
    }
    let sources = Sources::read(path)?;
    let folder = |of: fn(Folders) -> Option<PathBuf>| {
        sources.last(|text| toml::from_str(text).map(|outer: Outer| of(outer.daemon)))
    };
    let mut folders = DaemonConfig::default();
    folders.runtime_dir = folder(|daemon| daemon.runtime_dir)?.unwrap_or(folders.runtime_dir);
    folders.state_dir = folder(|daemon| daemon.state_dir)?.unwrap_or(folders.state_dir);
    Ok(folders)
}

/// Reads and checks a configuration; `path` is for the errors.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path) -> Result<Config, Error> {
    assemble(&Sources::single(text, path))
}

fn assemble(sources: &Sources) -> Result<Config, Error> {
    let table = sources.merged()?;
    let config = Config::deserialize(toml::Deserializer::from(table))
        .map_err(|error| sources.toml_error(&error))?;
    check(&config).map_err(|(span, message)| sources.error(span, message))?;
    Ok(config)
}

/// Reads the files that sinks name, and says where the first stands in the configuration that can't be
/// used: one that is missing is a mistake there. `path` is where the configuration was read from.
///
/// # Errors
/// A file can't be read, is not private, or holds something else.
pub fn check_sink_files(config: &Config, path: &Path) -> Result<(), Error> {
    let Err(bad) = config.sinks.check_files() else { return Ok(()) };
    let sources = Sources::read(path)?;
    let at = sources.find(&["sinks", bad.table], bad.index, bad.key().unwrap_or_default());
    Err(sources.error(at.unwrap_or_default(), bad.to_string()))
}

type Complaint = (std::ops::Range<usize>, String);

fn check(config: &Config) -> Result<(), Complaint> {
    let ring = &config.capture.ring_bytes;
    if !ring.get_ref().is_power_of_two() || !(64 << 10..=1 << 30).contains(ring.get_ref()) {
        return Err((
            ring.span(),
            format!(
                "ring_bytes must be a power of two from 65536 to 1073741824, not {}",
                ring.get_ref()
            ),
        ));
    }
    within(&config.limits.flows, "flows", 16, 4 << 20)?;
    within(&config.limits.flow_bytes, "flow_bytes", 128 << 10, 16 << 20)?;
    within(&config.memory.tokens, "tokens", 1_000, 16_000_000)?;
    within(&config.memory.subjects, "subjects", 1_000, 16_000_000)?;
    within(&config.scoring.subjects, "subjects", 1_000, 16_000_000)?;
    within(&config.scoring.save_seconds, "save_seconds", 1, 86_400)?;
    within(&config.scoring.other_subjects, "other_subjects", 1_000, 16_000_000)?;
    within(&config.tokens.max_bytes, "max_bytes", 256, 1 << 20)?;
    within(&config.events.keep_bytes, "keep_bytes", 16 << 20, 1 << 40)?;
    scoring::check(&config.scoring)?;
    revocation::check(&config.revocation)?;
    rest::check(&config.rest)?;
    metrics::check(&config.metrics)?;
    services::check(&config.services)?;
    enforcement::check(&config.enforcement)?;
    feeds::check(&config.feeds, &config.enforcement.feeds, config.keys.allow_http)?;
    issuers::check(&config.issuers, &config.keys)
}

/// Holds a number to its bounds, both of which it may reach.
fn within<T: PartialOrd + Copy + std::fmt::Display>(
    value: &Spanned<T>,
    key: &str,
    low: T,
    high: T,
) -> Result<(), Complaint> {
    if (low..=high).contains(value.get_ref()) {
        return Ok(());
    }
    Err((value.span(), format!("{key} must be from {low} to {high}, not {}", value.get_ref())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, parse};

    fn fails(text: &str) -> String {
        parse(text, Path::new("c.toml")).unwrap_err().to_string()
    }

    fn reads(text: &str) -> Config {
        parse(text, Path::new("c.toml")).unwrap()
    }

    #[test]
    fn the_folders_are_read_from_a_file_that_is_otherwise_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let reads = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let folders = super::load_folders(&path).map_err(|e| e.to_string())?;
            Ok::<_, String>((folders.runtime_dir, folders.state_dir))
        };
        assert_eq!(
            reads("[newer]\n[daemon]\nruntime_dir = \"/r\"\nlater = 1\n[capture]\nports = 1\n"),
            Ok(("/r".into(), "/var/lib/jotwatch".into()))
        );
        assert_eq!(
            reads("[capture]\nports = 1\n"),
            Ok(("/run/jotwatch".into(), "/var/lib/jotwatch".into()))
        );
        assert!(reads("[daemon]\nruntime_dir = 3\n").unwrap_err().contains(":2:15: "));
        std::fs::remove_file(&path).unwrap();
        assert!(super::load_folders(&path).is_err());
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = reads("");
        assert_eq!(config.capture.ring_bytes(), 16 << 20);
        assert!(config.capture.ports.is_empty());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known() {
        assert_eq!(
            fails("[capture]\nring_bytes = 65536\nprots = [80]\n"),
            "c.toml:3:1: capture: unknown key `prots`, did you mean `ports`?"
        );
        assert_eq!(
            fails("[captrue]\n"),
            "c.toml:1:2: unknown key `captrue`, did you mean `capture`?"
        );
    }

    #[test]
    fn a_wrong_type_or_range_is_named_with_its_line() {
        assert!(fails("[capture]\nports = \"80\"\n").starts_with("c.toml:2:9: capture.ports: "));
        assert!(fails("[capture]\nports = [70000]\n").starts_with("c.toml:2:10: capture.ports: "));
        assert_eq!(
            fails("[rest]\nlisten = \"0.0.0.0:80\"\nkey_file = \"/k\"\n"),
            "c.toml:2:10: rest.listen: only loopback addresses: a key and personal data would go over \
             the network"
        );
        assert_eq!(
            fails("[memory]\ntokens = 1\n"),
            "c.toml:2:10: memory.tokens must be from 1000 to 16000000, not 1"
        );
        assert!(fails("[[service]]\nport = 1\nmode = 3\n").contains(":3:8: service.mode: "));
        assert_eq!(
            fails("\n[capture]\nring_bytes = 3\n"),
            "c.toml:3:14: capture.ring_bytes must be a power of two from 65536 to 1073741824, not 3"
        );
        assert!(fails("[capture]\nports = [80\n").starts_with("c.toml:"));
        assert!(fails("[events]\nmin_severity = \"loud\"\n").contains("`info`"));
    }

    #[test]
    fn errors_are_one_line() {
        for text in
            ["[capture", "a = ", "[capture]\nports = {}", "[[sinks.file]]\nname = \"smoke\"\n"]
        {
            assert_eq!(fails(text).lines().count(), 1, "{}", fails(text));
        }
    }
}
