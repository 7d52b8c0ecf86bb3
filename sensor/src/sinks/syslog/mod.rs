//! Syslog: RFC 5424 messages over a local socket or UDP (RFC 5426).

mod format;

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    time::Duration,
};

pub(super) use self::format::Format;
#[cfg(test)]
pub(super) use self::format::severity_code;
use super::{SyslogAddress, SyslogConfig, outlet::Outlet};
use crate::journal::Record;

/// How long a local receiver may keep us from writing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connected socket.
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
}

/// A syslog receiver.
pub(super) struct Syslog {
    address: SyslogAddress,
    format: Format,
    connection: Option<Connection>,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        Self { address: config.address.clone(), format: Format::new(config), connection: None }
    }

    /// Connects to a local socket, to tell early that it is not there. A UDP receiver's name is
    /// looked up by the sink's own thread: that can take long.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        if let SyslogAddress::Unix(_) = self.address {
            self.connection = Some(connect(&self.address)?);
        }
        Ok(())
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(message) = self.format.message(line) else { return Ok(()) };
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(connect(&self.address)?),
        };
        let result = connection.send(message);
        if let Err(error) = &result
            && error.raw_os_error() == Some(libc::EMSGSIZE)
        {
            // The socket takes less than the config says: shorter from now on.
            self.format.shrink();
        }
        result
    }
}

impl Outlet for Syslog {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        for (done, record) in batch.iter().enumerate() {
            if let Err(error) = self.send(&record.line) {
                self.connection = None;
                return (done, Err(error));
            }
        }
        (batch.len(), Ok(()))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connection = None;
        Ok(())
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
