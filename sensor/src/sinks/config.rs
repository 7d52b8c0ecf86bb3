//! The `[sinks]` table of the config.

use std::{fmt, io, net::Ipv6Addr, path::PathBuf};

use serde::Deserialize;

use super::{
    OtlpConfig, WebhookConfig, format::Format, journald::JournaldConfig, otlp::Otlp, outlet::Spec,
    private::FileError, syslog::Syslog, webhook::Webhook,
};
use crate::{credential, event::Filter};

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
/// address = "tls://log.example"    # or tcp://, udp://, or the path of a socket, "/dev/log"
/// facility = "authpriv"
/// format = "cef"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinksConfig {
    /// Whether events are written to stdout, one JSON object a line.
    pub stdout: bool,
    /// Files of JSON lines.
    pub file: Vec<FileConfig>,
    /// Syslog receivers.
    #[serde(deserialize_with = "syslog_receivers")]
    pub syslog: Vec<SyslogConfig>,
    /// Receivers over HTTP.
    pub webhook: Vec<WebhookConfig>,
    /// Receivers of the OpenTelemetry protocol.
    pub otlp: Vec<OtlpConfig>,
    /// Journals of systemd.
    pub journald: Vec<JournaldConfig>,
}

impl Default for SinksConfig {
    fn default() -> Self {
        Self {
            stdout: true,
            file: Vec::new(),
            syslog: vec![SyslogConfig::default()],
            webhook: Vec::new(),
            otlp: Vec::new(),
            journald: Vec::new(),
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
    /// The path of a local socket, `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST[:PORT]`.
    /// Default `/dev/log`.
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
    /// What the message of an event is. Default JSON.
    pub format: BodyFormat,
    /// `APP-NAME`: 1 to [`APP_NAME_MAX`] printable ASCII characters. Default `jotwatch`.
    #[serde(deserialize_with = "app_name")]
    pub app_name: String,
    /// Of TCP, TLS and local sockets: whether an event counts as delivered only when the receiver
    /// has read it. A receiver that never closes its side of a connection can't show that.
    /// Default true.
    pub confirm: bool,
    /// Of TLS: the certificates that the receiver's is checked against, PEM. Default the system's.
    pub ca_file: Option<PathBuf>,
    /// Of TLS: the certificate to show, PEM, its own first.
    pub client_cert_file: Option<PathBuf>,
    /// Of TLS: its private key, PEM, which nobody but its owner may read.
    #[serde(deserialize_with = "credential::optional")]
    pub client_key_file: Option<PathBuf>,
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
            format: BodyFormat::default(),
            app_name: APP_NAME.to_owned(),
            confirm: true,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            filter: Filter::default(),
        }
    }
}

/// The default of `app_name`.
const APP_NAME: &str = "jotwatch";
/// Bytes of `app_name` (RFC 5424, section 6).
pub const APP_NAME_MAX: usize = 48;

/// What the message of an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// The event as JSON, as docs/events.md has it.
    #[default]
    Json,
    /// One line for people.
    Text,
    /// ArcSight's Common Event Format, version 0.
    Cef,
    /// QRadar's Log Event Extended Format, version 2.0.
    Leef,
}

impl SyslogConfig {
    /// Keys that make no sense together.
    fn check(&self) -> Result<(), &'static str> {
        let tls = matches!(self.address, SyslogAddress::Tls(_));
        let files = [
            (&self.ca_file, "ca_file is for addresses that begin with tls://"),
            (&self.client_cert_file, "client_cert_file is for addresses that begin with tls://"),
            (&self.client_key_file, "client_key_file is for addresses that begin with tls://"),
        ];
        if let Some((_, said)) = files.iter().find(|(file, _)| file.is_some() && !tls) {
            return Err(said);
        }
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(_), None) => Err("client_cert_file needs client_key_file"),
            (None, Some(_)) => Err("client_key_file needs client_cert_file"),
            _ => Ok(()),
        }
    }
}

fn syslog_receivers<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Vec<SyslogConfig>, D::Error> {
    struct Checked(SyslogConfig);
    impl<'de> Deserialize<'de> for Checked {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let config = SyslogConfig::deserialize(from)?;
            config.check().map_err(serde::de::Error::custom)?;
            Ok(Self(config))
        }
    }
    Ok(Vec::<Checked>::deserialize(from)?.into_iter().map(|Checked(config)| config).collect())
}

pub(super) fn app_name<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if (1..=APP_NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(name)
    } else {
        Err(serde::de::Error::custom(format_args!(
            "{name:?} is not 1 to {APP_NAME_MAX} printable ASCII characters without spaces"
        )))
    }
}

/// A file of a sink that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct BadFile {
    /// The table's name, `syslog` for one.
    pub table: &'static str,
    /// Which of these tables, from 0.
    pub index: usize,
    /// Why.
    pub source: io::Error,
}

impl BadFile {
    /// The key that names it.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        self.source.get_ref()?.downcast_ref().map(|error: &FileError| error.key)
    }
}

impl SinksConfig {
    /// Reads the files that sinks name, certificates, secrets and templates, and opens nothing else.
    ///
    /// # Errors
    /// The first that can't be used.
    pub fn check_files(&self) -> Result<(), BadFile> {
        fn all<T>(
            table: &'static str,
            of: &[T],
            read: impl Fn(&T) -> io::Result<()>,
        ) -> Result<(), BadFile> {
            let mut read = of.iter().enumerate().map(|(index, one)| (index, read(one)));
            read.try_for_each(|(index, read)| {
                read.map_err(|source| BadFile { table, index, source })
            })
        }
        all("syslog", &self.syslog, |one| Syslog::new(one).map(drop))?;
        all("webhook", &self.webhook, |one| Ok(Webhook::new(one).map(drop)?))?;
        all("otlp", &self.otlp, |one| Otlp::new(one).map(drop))
    }

    /// The sinks in the order of the config.
    pub(super) fn specs(&self) -> Vec<Spec> {
        let stdout = self.stdout.then_some(Spec::Stdout);
        let files = self.file.iter().cloned().map(Spec::File);
        let syslog = self.syslog.iter().cloned().map(Spec::Syslog);
        let journald = self.journald.iter().cloned().map(Spec::Journald);
        let webhooks = self.webhook.iter().cloned().map(Spec::Webhook);
        let otlp = self.otlp.iter().filter(|otlp| otlp.logs).cloned().map(Spec::Otlp);
        let local = stdout.into_iter().chain(files).chain(syslog).chain(journald);
        local.chain(webhooks).chain(otlp).collect()
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
    /// A UDP receiver.
    Udp(HostPort),
    /// A TCP receiver.
    Tcp(HostPort),
    /// A TCP receiver behind TLS.
    Tls(HostPort),
}

/// The port of syslog over TLS (RFC 5425, section 4.1).
pub const TLS_PORT: u16 = 6514;

/// A receiver on the network; the name is looked up whenever the sink connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Of `HOST:PORT` or, with a default, of `HOST`; an IPv6 address is in brackets.
    fn parse(text: &str, default: Option<u16>) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port > 0)?,
            None => default?,
        };
        (!host.is_empty() && host.bytes().all(is_name))
            .then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
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
        let parsed = match address.split_once("://") {
            Some(("udp", rest)) => HostPort::parse(rest, None).map(Self::Udp),
            Some(("tcp", rest)) => HostPort::parse(rest, None).map(Self::Tcp),
            Some(("tls", rest)) => HostPort::parse(rest, Some(TLS_PORT)).map(Self::Tls),
            _ => None,
        };
        parsed.ok_or_else(|| {
            format!(
                "syslog address {address:?} is neither the path of a socket nor udp://HOST:PORT, \
                 tcp://HOST:PORT or tls://HOST[:PORT]"
            )
        })
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
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
