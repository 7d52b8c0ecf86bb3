//! The keys of the config that receivers over HTTP have in common.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::http::{HeaderName, Uri};

use crate::endpoint::Endpoint;

/// The default of `timeout_seconds`.
const TIMEOUT_DEFAULT: u64 = 10;
/// The most `timeout_seconds`: the daemon ends within a time, too.
const TIMEOUT_MAX: u64 = 60;
/// Header fields that the sender itself sets.
const RESERVED: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "expect"];

/// An absolute `https` URL, or `http` to this host. Shown without path and query, which hold the
/// secret of some receivers.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Reads a URL; plain HTTP goes to this host alone unless `allow_http`.
    ///
    /// # Errors
    /// Why it is not taken, without the URL.
    pub fn parse(url: &str, allow_http: bool) -> Result<Self, String> {
        Endpoint::parse(url, true).map_err(|error| format!("url: {error}"))?;
        let uri: Uri = url.parse().map_err(|_| "url: not an absolute URL".to_owned())?;
        if uri.scheme_str() != Some("https") && !allow_http && !is_own(uri.host()) {
            return Err(
                "url: http only to this host, or with allow_http: what is sent is personal \
                        data"
                    .to_owned(),
            );
        }
        Ok(Self(uri))
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.0
    }

    /// The URL of `path` below this one.
    ///
    /// # Errors
    /// This one has a query, or it is over the longest that is taken.
    pub fn join(&self, path: &str) -> Result<Self, String> {
        if self.0.query().is_some() {
            return Err(format!("url: {path} is put behind it, so it has no query"));
        }
        let base = self.0.to_string();
        Self::parse(&format!("{}{path}", base.trim_end_matches('/')), true)
    }
}

/// Whether it is an address of this host itself, or the name that stands for one (RFC 6761, 6.3).
fn is_own(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

/// A receiver, and how it is reached. It holds no secret, only the files of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub url: Url,
    /// The certificates that are trusted; the system's without.
    pub ca_file: Option<PathBuf>,
    /// Files of the client's certificates and of their key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Header fields whose values stand in files.
    pub header_files: BTreeMap<String, PathBuf>,
    /// For all of a POST with its answer.
    pub timeout: Duration,
}

impl Target {
    /// The files that it names.
    pub(in crate::sinks) fn files(&self) -> Vec<&Path> {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        let all = self.ca_file.iter().chain(client).chain(self.header_files.values());
        all.map(PathBuf::as_path).collect()
    }
}

/// Defines the keys of a receiver's table: those that all receivers over HTTP have, and its own.
macro_rules! keys {
    ($(#[$doc:meta])* struct Keys { $($(#[$meta:meta])* $name:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            url: String,
            #[serde(default)]
            allow_http: bool,
            ca_file: Option<std::path::PathBuf>,
            client_cert_file: Option<std::path::PathBuf>,
            #[serde(default, deserialize_with = "crate::credential::optional")]
            client_key_file: Option<std::path::PathBuf>,
            #[serde(default, deserialize_with = "crate::credential::map")]
            header_files: std::collections::BTreeMap<String, std::path::PathBuf>,
            timeout_seconds: Option<u64>,
            $($(#[$meta])* $name: $type,)*
        }

        impl Keys {
            /// Takes those out that all receivers have.
            fn target(&mut self) -> Result<$crate::sinks::Target, String> {
                $crate::sinks::http::Raw {
                    url: std::mem::take(&mut self.url),
                    allow_http: self.allow_http,
                    ca_file: self.ca_file.take(),
                    client_cert_file: self.client_cert_file.take(),
                    client_key_file: self.client_key_file.take(),
                    header_files: std::mem::take(&mut self.header_files),
                    timeout_seconds: self.timeout_seconds,
                }
                .try_into()
            }
        }
    };
}
pub(in crate::sinks) use keys;

/// Those that all receivers have, as they stand in the config.
#[derive(Default)]
pub(in crate::sinks) struct Raw {
    pub(in crate::sinks) url: String,
    pub(in crate::sinks) allow_http: bool,
    pub(in crate::sinks) ca_file: Option<PathBuf>,
    pub(in crate::sinks) client_cert_file: Option<PathBuf>,
    pub(in crate::sinks) client_key_file: Option<PathBuf>,
    pub(in crate::sinks) header_files: BTreeMap<String, PathBuf>,
    pub(in crate::sinks) timeout_seconds: Option<u64>,
}

impl TryFrom<Raw> for Target {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let client = match (raw.client_cert_file, raw.client_key_file) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some((certificates, key)),
            (Some(_), None) => return Err("client_key_file is missing".to_owned()),
            (None, Some(_)) => return Err("client_cert_file is missing".to_owned()),
        };
        for name in raw.header_files.keys() {
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("header_files: {name:?} is no name of a header field"))?;
            let ours = parsed.as_str().starts_with("x-jotwatch-");
            if ours || RESERVED.contains(&parsed.as_str()) {
                return Err(format!("header_files: {name} is set by the sensor itself"));
            }
        }
        let timeout = raw.timeout_seconds.unwrap_or(TIMEOUT_DEFAULT);
        if !(1..=TIMEOUT_MAX).contains(&timeout) {
            return Err(format!("timeout_seconds must be from 1 to {TIMEOUT_MAX}, not {timeout}"));
        }
        Ok(Self {
            url: Url::parse(&raw.url, raw.allow_http)?,
            ca_file: raw.ca_file,
            client,
            header_files: raw.header_files,
            timeout: Duration::from_secs(timeout),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_host_alone() {
        for (url, allow_http, taken) in [
            ("https://hook.example/a", false, true),
            ("http://hook.example/a", false, false),
            ("http://hook.example/a", true, true),
            ("http://127.0.0.1:80/a", false, true),
            ("http://[::1]:80/a", false, true),
            ("http://localhost/a", false, true),
            ("http://localhost.example/a", false, false),
            ("http://0.0.0.0/a", false, false),
            ("https://user:password@hook.example/a", true, false),
            ("ftp://hook.example/a", true, false),
            ("hook.example", true, false),
        ] {
            let parsed = Url::parse(url, allow_http);
            assert_eq!(parsed.is_ok(), taken, "{url}: {parsed:?}");
            let said = parsed.map_or_else(|error| error, |url| format!("{url} {url:?}"));
            assert!(!said.contains("/a") && !said.contains("password"), "{said}");
        }
    }

    #[test]
    fn what_can_not_be_is_named() {
        let of = |change: fn(&mut Raw)| {
            let mut raw = Raw { url: "https://h.example/".to_owned(), ..Raw::default() };
            change(&mut raw);
            Target::try_from(raw).map(|target| target.timeout).unwrap_err()
        };
        assert!(of(|raw| raw.timeout_seconds = Some(0)).contains("timeout_seconds"));
        assert!(of(|raw| raw.timeout_seconds = Some(61)).contains("timeout_seconds"));
        assert!(of(|raw| raw.client_cert_file = Some("/c".into())).contains("client_key_file"));
        assert!(of(|raw| raw.client_key_file = Some("/c".into())).contains("client_cert_file"));
        for name in ["Host", "content-length", "X-Jotwatch-Id", "a b", ""] {
            let mut raw = Raw { url: "https://h.example/".to_owned(), ..Raw::default() };
            raw.header_files.insert(name.to_owned(), "/f".into());
            assert!(Target::try_from(raw).unwrap_err().contains("header_files"), "{name}");
        }
    }
}
