//! `[rest]`: scores for services that ask over HTTP.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use super::{Complaint, within};

/// `[rest]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestConfig {
    /// `unix:` and the path of a socket, or a loopback address and a port; nobody is listened to
    /// without.
    listen: Option<Spanned<String>>,
    /// The file of the key that callers show.
    #[serde(deserialize_with = "crate::credential::optional")]
    pub key_file: Option<PathBuf>,
    /// The group that may connect to the unix socket, by name or number; its owner alone without.
    pub group: Option<String>,
    /// Whether described requests teach the profiles and the memory of tokens.
    pub learn: bool,
    /// A request of this score or above is answered as suspicious.
    pub suspicious_score: Spanned<u8>,
    /// The longest body of a request.
    pub max_body_bytes: Spanned<usize>,
    /// Requests that are answered a second.
    pub requests_per_second: Spanned<u32>,
    /// Connections at a time.
    pub connections: Spanned<usize>,
    /// For so long a caller may take for a head, and for a body, and wait for the score.
    pub timeout_seconds: Spanned<u64>,
}

/// Where is listened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl Default for RestConfig {
    fn default() -> Self {
        Self {
            listen: None,
            key_file: None,
            group: None,
            learn: true,
            suspicious_score: Spanned::new(0..0, 50),
            max_body_bytes: Spanned::new(0..0, 64 << 10),
            requests_per_second: Spanned::new(0..0, 500),
            connections: Spanned::new(0..0, 64),
            timeout_seconds: Spanned::new(0..0, 10),
        }
    }
}

impl RestConfig {
    /// Where is listened, of a configuration that was checked.
    #[must_use]
    pub fn listen(&self) -> Option<Listen> {
        parse(self.listen.as_ref()?.get_ref()).ok()
    }

    /// For so long a caller may take for a head, and for a body, and wait for the score.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(*self.timeout_seconds.get_ref())
    }
}

pub(super) fn parse(text: &str) -> Result<Listen, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Path::new(path);
        // sun_path of unix(7), with the end of the name that it is bound under first.
        let fits = path.is_absolute() && path.file_name().is_some() && path.as_os_str().len() <= 90;
        return match fits {
            true => Ok(Listen::Unix(path.into())),
            false => Err("behind unix: stands an absolute path of at most 90 bytes"),
        };
    }
    let address: SocketAddr =
        text.parse().map_err(|_| "neither unix:/path nor an address with a port")?;
    match address.ip().to_canonical().is_loopback() {
        true => Ok(Listen::Tcp(address)),
        false => Err("only loopback addresses: a key and personal data would go over the network"),
    }
}

pub(super) fn check(config: &RestConfig) -> Result<(), Complaint> {
    within(&config.suspicious_score, "suspicious_score", 1, 100)?;
    within(&config.max_body_bytes, "max_body_bytes", 1 << 10, 1 << 20)?;
    within(&config.requests_per_second, "requests_per_second", 1, 100_000)?;
    within(&config.connections, "connections", 1, 1_024)?;
    within(&config.timeout_seconds, "timeout_seconds", 1, 60)?;
    let Some(listen) = &config.listen else { return Ok(()) };
    let wrong = |message: &str| Err((listen.span(), format!("listen: {message}")));
    match parse(listen.get_ref()) {
        Err(message) => wrong(message),
        Ok(_) if config.key_file.is_none() => wrong("key_file is missing"),
        Ok(Listen::Tcp(_)) if config.group.is_some() => wrong("group is of a unix socket only"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Listen;
    use crate::config::parse;

    #[test]
    fn only_this_host_is_listened_to_and_only_with_a_key() {
        let read = |text: &str| {
            let text = format!("[rest]\n{text}\n");
            parse(&text, Path::new("c.toml")).map(|config| config.rest).map_err(|e| e.to_string())
        };
        assert_eq!(read("").unwrap().listen(), None);
        let rest = read("listen = \"unix:/run/j/s.sock\"\nkey_file = \"/k\"").unwrap();
        assert_eq!(rest.listen(), Some(Listen::Unix("/run/j/s.sock".into())));
        for address in ["127.0.0.1:80", "[::1]:80", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"] {
            let rest = read(&format!("listen = {address:?}\nkey_file = \"/k\"")).unwrap();
            assert_eq!(rest.listen(), Some(Listen::Tcp(address.parse().unwrap())));
        }
        for (text, due) in [
            ("listen = \"0.0.0.0:80\"\nkey_file = \"/k\"", "rest.listen: only loopback addresses"),
            (
                "listen = \"192.0.2.1:80\"\nkey_file = \"/k\"",
                "rest.listen: only loopback addresses",
            ),
            ("listen = \"[::]:80\"\nkey_file = \"/k\"", "rest.listen: only loopback addresses"),
            ("listen = \"127.0.0.1\"\nkey_file = \"/k\"", "rest.listen: neither unix:/path nor"),
            ("listen = \"localhost:80\"\nkey_file = \"/k\"", "rest.listen: neither unix:/path nor"),
            ("listen = \"unix:s.sock\"\nkey_file = \"/k\"", "rest.listen: behind unix: stands"),
            ("listen = \"127.0.0.1:80\"", "rest.listen: key_file is missing"),
            (
                "listen = \"127.0.0.1:80\"\nkey_file = \"/k\"\ngroup = \"w\"",
                "rest.listen: group is of",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("c.toml:2:10: {due}")), "{error}");
        }
        let error = read("suspicious_score = 0").unwrap_err();
        assert!(
            error.starts_with("c.toml:2:20: rest.suspicious_score must be from 1 to 100"),
            "{error}"
        );
    }
}
