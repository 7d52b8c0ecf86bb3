//! The `[sinks]` table of the config.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use super::{OtlpConfig, WebhookConfig, format::Format, outlet::Spec};
use crate::event::Filter;

/// The least `message_bytes`: what RFC 5424, section 6.1, asks every receiver to take.
pub const MESSAGE_MIN: usize = 2048;
/// The default of `message_bytes`: rsyslog's own limit unless it is told otherwise.
pub const MESSAGE_DEFAULT: usize = 8192;
/// The most `message_bytes`: a UDP datagram's payload over IPv4.
pub const MESSAGE_MAX: usize = 65_507;

/// Where events go. By default to stdout and to the local syslog.
///
/// ```toml
/// [sinks]
/// stdout = true
/// syslog = []                      # none
///
/// [[sinks.file]]
/// path = "/var/log/jotwatch/events.json"
///
/// [[sinks.syslog]]
/// address = "udp://192.0.2.1:514"  # or the path of a socket, "/dev/log"
/// facility = "authpriv"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinksConfig {
    /// Whether events are written to stdout, one JSON object a line.
    pub stdout: bool,
    /// Files of JSON lines.
    pub file: Vec<FileConfig>,
    /// Syslog receivers.
    pub syslog: Vec<SyslogConfig>,
    /// Receivers over HTTP.
    pub webhook: Vec<WebhookConfig>,
    /// Receivers of the OpenTelemetry protocol.
    pub otlp: Vec<OtlpConfig>,
}

impl Default for SinksConfig {
    fn default() -> Self {
        Self {
            stdout: true,
            file: Vec::new(),
            syslog: vec![SyslogConfig::default()],
            webhook: Vec::new(),
            otlp: Vec::new(),
        }
    }
}

/// A file of JSON lines: appended to, made with mode 0600, opened anew on `SIGHUP`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The file; its directory exists.
    pub path: PathBuf,
    /// Set aside as `PATH.1` before it has more bytes. Default never.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Set aside when it is this old. Default never.
    #[serde(default)]
    pub max_hours: Option<u64>,
    /// Files that were set aside and stay; default [`KEEP_DEFAULT`].
    #[serde(default = "keep_default")]
    pub keep: usize,
    /// The shape of each line.
    #[serde(default)]
    pub format: Format,
    /// Which events it gets.
    #[serde(default)]
    pub filter: Filter,
}

/// The default of `keep`.
pub const KEEP_DEFAULT: usize = 7;

const fn keep_default() -> usize {
    KEEP_DEFAULT
}

/// A syslog receiver (RFC 5424).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogConfig {
    /// The path of a local socket, or `udp://HOST:PORT`. Default `/dev/log`.
    pub address: SyslogAddress,
    /// The facility's name. Default `authpriv`: alerts hold personal data, and receivers keep
    /// that facility from ordinary users.
    pub facility: Facility,
    /// The host name in messages. Default the system's.
    pub hostname: Option<String>,
    /// Bytes of a message at most, [`MESSAGE_MIN`] to [`MESSAGE_MAX`]. Default
    /// [`MESSAGE_DEFAULT`].
    #[serde(deserialize_with = "message_bytes")]
    pub message_bytes: usize,
    /// Which events it gets.
    pub filter: Filter,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        Self {
            address: SyslogAddress::default(),
            facility: Facility::default(),
            hostname: None,
            message_bytes: MESSAGE_DEFAULT,
            filter: Filter::default(),
        }
    }
}

impl SinksConfig {
    /// The sinks in the order of the config.
    pub(super) fn specs(&self) -> Vec<Spec> {
        let stdout = self.stdout.then_some(Spec::Stdout);
        let files = self.file.iter().cloned().map(Spec::File);
        let syslog = self.syslog.iter().cloned().map(Spec::Syslog);
        let webhooks = self.webhook.iter().cloned().map(Spec::Webhook);
        let otlp = self.otlp.iter().filter(|otlp| otlp.logs).cloned().map(Spec::Otlp);
        stdout.into_iter().chain(files).chain(syslog).chain(webhooks).chain(otlp).collect()
    }
}

fn message_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let bytes = usize::deserialize(from)?;
    if (MESSAGE_MIN..=MESSAGE_MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(serde::de::Error::custom(format_args!(
            "message_bytes is {bytes}, not between {MESSAGE_MIN} and {MESSAGE_MAX}"
        )))
    }
}

/// Where a syslog receiver is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogAddress {
    /// A local socket, datagram or stream.
    Unix(PathBuf),
    /// `HOST:PORT` of a UDP receiver; the name is looked up when the sink connects.
    Udp(String),
}

impl Default for SyslogAddress {
    fn default() -> Self {
        Self::Unix(PathBuf::from("/dev/log"))
    }
}

impl TryFrom<String> for SyslogAddress {
    type Error = String;

    fn try_from(address: String) -> Result<Self, Self::Error> {
        if address.starts_with('/') {
            return Ok(Self::Unix(address.into()));
        }
        match address.strip_prefix("udp://").and_then(|rest| Some((rest, rest.rsplit_once(':')?))) {
            Some((rest, (host, port))) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Udp(rest.to_owned()))
            }
            _ => Err(format!(
                "syslog address {address:?} is neither the path of a socket nor udp://HOST:PORT"
            )),
        }
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

/// A syslog facility (RFC 5424, table 1), by the name that syslog.conf uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Facility(u8);

impl Facility {
    /// The names by code; those without a name of their own can't be configured.
    const NAMES: [&'static str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4",
        "local5", "local6", "local7",
    ];

    /// The code, 0 to 23.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl Default for Facility {
    /// `authpriv`.
    fn default() -> Self {
        Self(10)
    }
}

impl TryFrom<String> for Facility {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match Self::NAMES.iter().position(|&known| !name.is_empty() && known == name) {
            Some(code) => Ok(Self(code as u8)),
            None => Err(format!("unknown syslog facility {name:?}")),
        }
    }
}
