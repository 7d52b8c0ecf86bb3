//! Syslog: RFC 5424 messages over a local socket, UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425).

mod format;
mod keyed;
mod stream;
#[cfg(test)]
mod tests;
pub(super) mod text;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustls::ClientConfig;

pub(super) use self::format::{Format, severity_code};
use self::stream::Stream;
use super::{
    HostPort, SyslogAddress, SyslogConfig,
    local::{self, Local},
    outlet::Outlet,
};
use crate::journal::Record;

/// Messages between two confirmations on a connection: enough that the new connection that each of
/// them takes costs little, and few enough that what comes twice when a receiver is killed is
/// little.
const STREAM_WINDOW: usize = 512;

/// An open way to the receiver.
enum Connection {
    Local(Local),
    Udp(UdpSocket),
    /// Messages begin with their length (RFC 6587, section 3.4.1; RFC 5425, section 4.3).
    Counted(Stream),
    /// One line a message (RFC 6587, section 3.4.2): a message has no line feed.
    Lines(Stream),
}

/// A syslog receiver.
pub(super) struct Syslog {
    address: SyslogAddress,
    config: SyslogConfig,
    format: Format,
    /// Whether what was handed over is to be confirmed.
    confirms: bool,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
    /// Whether something was handed over since the last confirmation.
    unconfirmed: bool,
    buffer: Vec<u8>,
}

impl Syslog {
    /// # Errors
    /// A file that the config names can't be used.
    pub(super) fn new(config: &SyslogConfig) -> io::Result<Self> {
        Ok(Self {
            address: config.address.clone(),
            config: config.clone(),
            format: Format::new(config),
            confirms: config.confirm && !matches!(config.address, SyslogAddress::Udp(_)),
            tls: tls(config)?,
            connection: None,
            unconfirmed: false,
            buffer: Vec::new(),
        })
    }

    /// Connects to a local socket, to tell early that it is not there. A receiver on the network is
    /// looked for by the sink's own thread: that can take long.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        if let SyslogAddress::Unix(_) = self.address {
            self.connection = Some(self.connect()?);
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Connection> {
        match &self.address {
            SyslogAddress::Unix(path) => connect_local(path),
            SyslogAddress::Udp(to) => connect_udp(to),
            SyslogAddress::Tcp(to) => Stream::tcp(to).map(Connection::Counted),
            SyslogAddress::Tls(to) => match &self.tls {
                Some(config) => Stream::tls(to, Arc::clone(config)).map(Connection::Counted),
                None => Err(io::ErrorKind::InvalidInput.into()),
            },
        }
    }

    /// The connection that stands, or a new one.
    fn connection(&mut self) -> io::Result<Connection> {
        if let Some(mut connection) = self.connection.take() {
            let open = match &mut connection {
                Connection::Counted(stream) | Connection::Lines(stream) => stream.ensure_open(),
                Connection::Local(_) | Connection::Udp(_) => Ok(()),
            };
            match open {
                Ok(()) => return Ok(connection),
                // It may have left something unread.
                Err(error) if self.unconfirmed && self.confirms => return Err(error),
                Err(_) => {}
            }
        }
        self.connect()
    }

    fn hand_over(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        let mut connection = match self.connection() {
            Ok(connection) => connection,
            Err(error) => return (0, Err(error)),
        };
        let mut done = 0;
        let result = match &mut connection {
            Connection::Counted(stream) | Connection::Lines(stream) => {
                let result = stream.write(&self.buffer);
                if result.is_ok() {
                    done = batch.len();
                }
                result
            }
            Connection::Local(socket) => {
                self.datagrams(batch, &mut done, |message| socket.send(message))
            }
            Connection::Udp(socket) => {
                self.datagrams(batch, &mut done, |message| socket.send(message).map(drop))
            }
        };
        if result.is_ok() {
            self.connection = Some(connection);
        }
        (done, result)
    }

    fn datagrams(
        &mut self,
        batch: &[Record],
        done: &mut usize,
        send: impl Fn(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for record in batch {
            if let Some(message) = self.format.message(&record.line) {
                let result = send(message.as_bytes());
                if let Err(error) = &result
                    && error.raw_os_error() == Some(libc::EMSGSIZE)
                {
                    // The socket takes less than the config says: shorter from now on.
                    self.format.shrink();
                }
                result?;
            }
            *done += 1;
        }
        Ok(())
    }

    /// Puts the messages of a batch into the buffer, as one write.
    fn frame(&mut self, batch: &[Record]) {
        self.buffer.clear();
        for record in batch {
            let Some(message) = self.format.message(&record.line) else { continue };
            if !matches!(self.address, SyslogAddress::Unix(_)) {
                self.buffer.extend_from_slice(message.len().to_string().as_bytes());
                self.buffer.push(b' ');
            }
            self.buffer.extend_from_slice(message.as_bytes());
            if matches!(self.address, SyslogAddress::Unix(_)) {
                self.buffer.push(b'\n');
            }
        }
    }
}

impl Outlet for Syslog {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        let datagrams = matches!(self.connection, Some(Connection::Local(_) | Connection::Udp(_)));
        if !datagrams {
            self.frame(batch);
        }
        let (done, result) = self.hand_over(batch);
        // After an error all that is unconfirmed is delivered again.
        self.unconfirmed = result.is_ok() && (self.unconfirmed || done > 0);
        (done, result)
    }

    fn window(&self) -> usize {
        match (&self.address, self.confirms) {
            (_, false) => 0,
            (SyslogAddress::Unix(_) | SyslogAddress::Udp(_), _) => local::WINDOW,
            (SyslogAddress::Tcp(_) | SyslogAddress::Tls(_), _) => STREAM_WINDOW,
        }
    }

    fn confirm(&mut self) -> io::Result<()> {
        self.unconfirmed = false;
        match self.connection.take() {
            Some(Connection::Local(socket)) => {
                self.connection = Some(Connection::Local(socket.confirm()?));
                Ok(())
            }
            Some(Connection::Counted(stream) | Connection::Lines(stream)) => {
                stream.close()?;
                // A receiver that is killed between reading and writing closes its end as well: it
                // must live on.
                thread::sleep(local::SETTLE);
                self.connection = Some(self.connect()?);
                Ok(())
            }
            Some(Connection::Udp(_)) => Ok(()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn files(&self) -> Vec<&Path> {
        let SyslogConfig { ca_file, client_cert_file, client_key_file, .. } = &self.config;
        let all = ca_file.iter().chain(client_cert_file).chain(client_key_file);
        all.map(PathBuf::as_path).collect()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connection = None;
        self.tls = tls(&self.config)?;
        Ok(())
    }
}

fn tls(config: &SyslogConfig) -> io::Result<Option<Arc<ClientConfig>>> {
    let is_tls = matches!(config.address, SyslogAddress::Tls(_));
    is_tls.then(|| tls::client(config)).transpose()
}

fn connect_udp(to: &HostPort) -> io::Result<Connection> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for receiver in (to.host.as_str(), to.port).to_socket_addrs()? {
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

fn connect_local(path: &Path) -> io::Result<Connection> {
    match Local::connect(path) {
        Ok(socket) => Ok(Connection::Local(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            Stream::unix(path).map(Connection::Lines)
        }
        Err(error) => Err(error),
    }
}
