//! A local datagram socket, and whether its receiver has read what was sent.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::unread::unread;

/// Messages between two confirmations: few, as the kernel's queue holds few
/// (`net.unix.max_dgram_qlen`, 10 to 512), and all of them come twice when the receiver is killed.
pub(super) const WINDOW: usize = 64;
/// How long a receiver may keep us from writing, or leave unread what it got: longer than a disk
/// that is busy stalls it.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// The first pause between looks at what is unread; they double up to [`LOOK_MAX`].
const LOOK_MIN: Duration = Duration::from_micros(100);
/// The longest pause between looks.
const LOOK_MAX: Duration = Duration::from_millis(5);
/// A process that is killed gives up its sockets one after the other: what it had read by then is
/// looked upon as lost if its socket is gone this much later.
pub(super) const SETTLE: Duration = Duration::from_millis(1);

/// The socket's file: another one when the receiver was started anew.
type Identity = (u64, u64, i64, i64);

/// A connected socket.
pub(super) struct Local {
    path: PathBuf,
    identity: Identity,
    socket: UnixDatagram,
}

impl Local {
    /// # Errors
    /// The system's; `EPROTOTYPE` where the socket is one of another type.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        // Before the connection: a file that is replaced in between is seen as another one later.
        let identity = identity(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self { path: path.to_owned(), identity, socket })
    }

    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        match self.socket.send(message) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(does_not_read()),
            Err(error) => Err(error),
        }
    }

    /// Returns when the receiver has read everything and lives on, with a new connection to it.
    ///
    /// What a receiver that was killed had not read is gone from the kernel's queue as well, so
    /// the socket must be the one that was connected to, and must still be listened on.
    pub(super) fn confirm(self) -> io::Result<Self> {
        let start = Instant::now();
        let mut pause = LOOK_MIN;
        while unread(&self.socket)? > 0 {
            if start.elapsed() > READ_LIMIT {
                return Err(does_not_read());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LOOK_MAX);
        }
        thread::sleep(SETTLE);
        let next = Self::connect(&self.path)?;
        if next.identity == self.identity {
            Ok(next)
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionReset, "the receiver was restarted"))
        }
    }
}

#[cfg(test)]
impl Local {
    /// The kernel takes no datagram that is longer.
    pub(super) fn limit(&self, bytes: usize) {
        rustix::net::sockopt::set_socket_send_buffer_size(&self.socket, bytes / 2).unwrap();
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

fn does_not_read() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the receiver does not read")
}
