//! Connections that carry a stream of messages, and how to learn that all of it was read.
//!
//! Syslog has no acknowledgements, and what a receiver that is killed had not read is lost with its
//! socket. So a connection is given up now and then: this end is closed, and when the receiver
//! closes its own, it has read everything before.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::super::HostPort;

/// How long a connection, or a TLS handshake, may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a receiver may keep us from writing.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long a receiver may take to read what is on its way and to close its end: rsyslog writes
/// what it has read before it reads on, to a disk that may be slow.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// Reads of what a receiver says, which is nothing, before it counts as one that talks on and on.
const READS_MAX: usize = 64;

/// An open connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<(ClientConnection, TcpStream)>),
}

/// What a read found.
enum Found {
    Data,
    Nothing,
    End,
}

impl Stream {
    pub(super) fn tcp(to: &HostPort) -> io::Result<Self> {
        Ok(Self::Tcp(connect(to)?))
    }

    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok(Self::Unix(socket))
    }

    /// Connected, and the receiver has shown a certificate that is good for its name.
    pub(super) fn tls(to: &HostPort, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
        let mut socket = connect(to)?;
        let mut session = ClientConnection::new(config, name).map_err(|error| broken(&error))?;
        let until = Instant::now() + CONNECT_LIMIT;
        while session.is_handshaking() {
            send(&mut session, &mut socket)?;
            socket.set_read_timeout(Some(left(until)?))?;
            if let Found::End = receive(&mut session, &mut socket)? {
                let said = "TLS: the receiver closed the connection during the handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, said));
            }
        }
        send(&mut session, &mut socket)?;
        Ok(Self::Tls(Box::new((session, socket))))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = match self {
            Self::Tcp(socket) => socket.write_all(bytes),
            Self::Unix(socket) => socket.write_all(bytes),
            Self::Tls(tls) => {
                let (session, socket) = &mut **tls;
                write_tls(session, socket, bytes)
            }
        };
        let Err(error) = result else { return Ok(()) };
        // Why the receiver has closed may stand in front of its end: a TLS alert.
        if let Self::Tls(_) = self
            && let Err(why) = self.ensure_open()
            && why.kind() == io::ErrorKind::InvalidData
        {
            return Err(why);
        }
        Err(said(error))
    }

    /// An error if the receiver has closed its end.
    pub(super) fn ensure_open(&mut self) -> io::Result<()> {
        self.set_nonblocking(true)?;
        for _ in 0..READS_MAX {
            match self.read()? {
                Found::Data => {}
                Found::Nothing => return self.set_nonblocking(false),
                Found::End => {
                    let said = "the receiver closed the connection";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, said));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the receiver talks on and on"))
    }

    /// Returns when the receiver has read everything and closed its end in answer to the end of
    /// ours. One that closed by itself before may have left something unread.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.ensure_open()?;
        let until = Instant::now() + CLOSE_LIMIT;
        match &mut self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write)?,
            Self::Unix(socket) => socket.shutdown(Shutdown::Write)?,
            Self::Tls(tls) => {
                let (session, socket) = &mut **tls;
                // RFC 5425, section 4.4.
                session.send_close_notify();
                send(session, socket)?;
                socket.shutdown(Shutdown::Write)?;
            }
        }
        for _ in 0..READS_MAX {
            let left = left(until)?;
            match &self {
                Self::Tcp(socket) => socket.set_read_timeout(Some(left))?,
                Self::Unix(socket) => socket.set_read_timeout(Some(left))?,
                Self::Tls(tls) => tls.1.set_read_timeout(Some(left))?,
            }
            match self.read()? {
                Found::Data => {}
                Found::Nothing => break,
                Found::End => return Ok(()),
            }
        }
        let said = "the receiver does not close the connection";
        Err(io::Error::new(io::ErrorKind::TimedOut, said))
    }

    /// Reads what the receiver says, and forgets it.
    fn read(&mut self) -> io::Result<Found> {
        let mut some = [0; 512];
        let result = match self {
            Self::Tcp(socket) => socket.read(&mut some),
            Self::Unix(socket) => socket.read(&mut some),
            Self::Tls(tls) => {
                let (session, socket) = &mut **tls;
                return receive(session, socket);
            }
        };
        match result {
            Ok(0) => Ok(Found::End),
            Ok(_) => Ok(Found::Data),
            Err(error) => nothing_yet(error),
        }
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(on),
            Self::Unix(socket) => socket.set_nonblocking(on),
            Self::Tls(tls) => tls.1.set_nonblocking(on),
        }
    }
}

fn connect(to: &HostPort) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for receiver in (to.host.as_str(), to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&receiver, CONNECT_LIMIT) {
            Ok(socket) => {
                socket.set_write_timeout(Some(WRITE_LIMIT))?;
                // What is to be sent at once is written at once.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver does not answer")),
        false => Ok(left),
    }
}

fn nothing_yet(error: io::Error) -> io::Result<Found> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(Found::Nothing),
        io::ErrorKind::Interrupted => Ok(Found::Data),
        _ => Err(said(error)),
    }
}

fn said(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "the receiver does not read")
        }
        // So ends also a handshake where a receiver does not accept what it is shown and sends no
        // alert, as rsyslog does.
        kind @ (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            io::Error::new(kind, "the receiver reset the connection; its log may say why")
        }
        _ => error,
    }
}

fn broken(error: &rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {error}"))
}

fn write_tls(
    session: &mut ClientConnection,
    socket: &mut TcpStream,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = session.writer().write(bytes)?;
        bytes = bytes.get(taken..).unwrap_or_default();
        send(session, socket)?;
    }
    Ok(())
}

/// Sends what the session has to say.
fn send(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(socket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(said(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Takes in what the receiver says: an end with or without `close_notify`, which not all of them
/// send.
fn receive(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<Found> {
    match session.read_tls(socket) {
        Ok(0) => return Ok(Found::End),
        Ok(_) => {}
        Err(error) => return nothing_yet(error),
    }
    let state = match session.process_new_packets() {
        Ok(state) => state,
        Err(error) => {
            // The alert that says so is a courtesy.
            let _ = send(session, socket);
            return Err(broken(&error));
        }
    };
    let mut forgotten = [0; 512];
    while session.reader().read(&mut forgotten).is_ok_and(|len| len > 0) {}
    Ok(if state.peer_has_closed() { Found::End } else { Found::Data })
}
