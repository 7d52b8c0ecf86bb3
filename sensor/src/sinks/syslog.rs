//! Syslog: RFC 5424 messages over a local socket or UDP (RFC 5426).

use std::{
    cmp::Reverse,
    fmt::Write as _,
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{Facility, MESSAGE_MIN, SyslogAddress, SyslogConfig};
use crate::{
    event::{Body, EVENT_MIN, Event, Text},
    finding::Severity,
};

/// The id of our structured data. 32473 is the enterprise number that RFC 5612 keeps for
/// documentation; the project has none of its own.
const SD_ID: &str = "jotwatch@32473";
/// `APP-NAME`.
const APP_NAME: &str = "jotwatch";
/// Bytes of `HOSTNAME` (RFC 5424, section 6).
const HOSTNAME_MAX: usize = 255;
/// Findings named in the structured data; the message has them all.
const SD_FINDINGS_MAX: usize = 4;
/// Bytes of the service's command in the structured data; the kernel keeps 15.
const SD_COMMAND_MAX: usize = 32;
/// How long a local receiver may keep us from writing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The severity of RFC 5424, table 2: critical, error, warning, notice, informational.
pub(super) const fn severity_code(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

/// What all messages of one sink have in common.
pub(super) struct Format {
    facility: Facility,
    hostname: String,
    pid: u32,
    limit: usize,
    json: Vec<u8>,
}

impl Format {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        let hostname = match &config.hostname {
            Some(name) => name.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let mut hostname = hostname.chars().filter(char::is_ascii_graphic).collect::<String>();
        hostname.truncate(HOSTNAME_MAX);
        if hostname.is_empty() {
            hostname.push('-');
        }
        Self {
            facility: config.facility,
            hostname,
            pid: std::process::id(),
            limit: config.message_bytes,
            json: Vec::new(),
        }
    }

    /// The message of an event, at most `limit` bytes.
    ///
    /// `MSG` is the event as JSON in ASCII, other characters as `\u` escapes: RFC 5424 wants a
    /// byte order mark before UTF-8, and JSON forbids one.
    pub(super) fn message(&mut self, event: &Event) -> String {
        let mut out = String::with_capacity(1024);
        let pri = self.facility.code() * 8 + severity_code(event.severity);
        let _ = write!(
            out,
            "<{pri}>1 {} {} {APP_NAME} {} {} [{SD_ID}",
            event.at,
            self.hostname,
            self.pid,
            event.kind().as_str()
        );
        structured_data(&mut out, event);
        out.push_str("] ");
        let room = self.limit.saturating_sub(out.len());
        let start = out.len();
        let mut limit = room;
        loop {
            self.json.clear();
            event.write_within(&mut self.json, limit);
            ascii(&mut out, &self.json);
            let len = out.len() - start;
            if len <= room || limit <= EVENT_MIN {
                return out;
            }
            // Escapes are longer than what they stand for.
            limit = (limit / 2).min(self.json.len() - 1).max(EVENT_MIN);
            out.truncate(start);
        }
    }
}

/// Writes the parameters that a receiver filters by.
fn structured_data(out: &mut String, event: &Event) {
    let _ = write!(out, " id=\"{:032x}\"", u128::from_be_bytes(event.id.0));
    param(out, "severity", event.severity.as_str());
    let ends = match &event.body {
        Body::Request(body) => {
            param(out, "verdict", body.verdict.as_str());
            param(out, "method", body.request.method.as_str());
            if let Some(response) = body.response {
                let _ = write!(out, " status=\"{}\"", response.status);
            }
            Some((body.client, body.server, &body.service))
        }
        Body::Flow(body) => {
            param(out, "reason", body.reason.as_str());
            Some((body.client, body.server, &body.service))
        }
        Body::Key(body) => Some((body.client, body.server, &body.service)),
        Body::Sensor(body) => {
            param(out, "state", body.state.as_str());
            None
        }
        Body::Audit(body) => {
            param(out, "change", body.change);
            None
        }
    };
    if let Some((client, server, service)) = ends {
        param(out, "client", &client.to_string());
        param(out, "server", &server.to_string());
        if let Some(command) = service.as_ref().and_then(|service| service.command.as_ref()) {
            param(out, "service", Text::new(command.as_bytes(), SD_COMMAND_MAX).as_str());
        }
    }
    let findings = event.findings().iter();
    let mut findings = findings.map(|f| (Reverse(f.severity), f.id)).collect::<Vec<_>>();
    if !findings.is_empty() {
        findings.sort_unstable();
        findings.dedup();
        out.push_str(" findings=\"");
        for (i, (_, id)) in findings.into_iter().take(SD_FINDINGS_MAX).enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            out.push_str(id.as_str());
        }
        out.push('"');
    }
}

/// A parameter: `"`, `\` and `]` escaped (RFC 5424, section 6.3.3).
fn param(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Appends JSON with everything over ASCII as `\u` escapes (RFC 8259, section 7).
fn ascii(out: &mut String, json: &[u8]) {
    for c in String::from_utf8_lossy(json).chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// A connected socket.
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
}

/// A syslog receiver.
pub(super) struct Syslog {
    name: String,
    address: SyslogAddress,
    format: Format,
    connection: Option<Connection>,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        Self {
            name: format!("syslog:{}", config.address),
            address: config.address.clone(),
            format: Format::new(config),
            connection: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connects to a local socket, to tell early that it is not there. A UDP receiver's name is
    /// looked up by the sink's own thread: that can take long.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        if let SyslogAddress::Unix(_) = self.address {
            self.connection = Some(connect(&self.address)?);
        }
        Ok(())
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    pub(super) fn deliver(&mut self, batch: &[Arc<Event>]) -> (usize, io::Result<()>) {
        for (done, event) in batch.iter().enumerate() {
            if let Err(error) = self.send(event) {
                self.disconnect();
                return (done, Err(error));
            }
        }
        (batch.len(), Ok(()))
    }

    fn send(&mut self, event: &Event) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(connect(&self.address)?),
        };
        let message = self.format.message(event);
        let result = connection.send(message);
        if let Err(error) = &result
            && error.raw_os_error() == Some(libc::EMSGSIZE)
        {
            // The socket takes less than the config says: shorter from now on.
            self.format.limit = (self.format.limit / 2).max(MESSAGE_MIN);
        }
        result
    }
}

impl Connection {
    fn send(&mut self, mut message: String) -> io::Result<()> {
        let result = match self {
            Self::Datagram(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Stream(socket) => {
                // One line a message (RFC 6587, section 3.4.2): a message has no line feed.
                message.push('\n');
                socket.write_all(message.as_bytes())
            }
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "the receiver does not read")
            }
            _ => error,
        })
    }
}

fn connect(address: &SyslogAddress) -> io::Result<Connection> {
    match address {
        SyslogAddress::Unix(path) => connect_local(path),
        SyslogAddress::Udp(address) => {
            let mut last = io::ErrorKind::AddrNotAvailable.into();
            for receiver in address.to_socket_addrs()? {
                let any = match receiver {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                match UdpSocket::bind(any).and_then(|socket| {
                    socket.connect(receiver)?;
                    Ok(socket)
                }) {
                    Ok(socket) => return Ok(Connection::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn connect_local(path: &Path) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok(Connection::Datagram(socket))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            let socket = UnixStream::connect(path)?;
            socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok(Connection::Stream(socket))
        }
        Err(error) => Err(error),
    }
}
