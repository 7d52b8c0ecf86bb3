//! What the other end of a local datagram socket has not read yet.

use std::{io, os::fd::AsFd};

use rustix::ioctl::{Getter, ioctl};

/// Bytes of what was sent that the receiver has not read, with what the kernel needs to keep them;
/// 0 when it has read everything. `SIOCOUTQ`, of `unix(7)` and `socket(7)`.
///
/// What a receiver that is gone had not read counts as read.
pub(crate) fn unread(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ has the number of TIOCOUTQ and writes one `int` (linux/sockios.h, and
    // unix_ioctl() in the kernel).
    let getter =
        unsafe { Getter::<{ libc::TIOCOUTQ as rustix::ioctl::Opcode }, libc::c_int>::new() };
    // SAFETY: the request only reads a number of the socket.
    let bytes = unsafe { ioctl(socket, getter) }?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn what_is_read_counts_no_more() {
        let (from, to) = UnixDatagram::pair().unwrap();
        assert_eq!(unread(&from).unwrap(), 0);
        from.send(b"one").unwrap();
        from.send(b"two").unwrap();
        assert!(unread(&from).unwrap() > 0);
        to.recv(&mut [0; 8]).unwrap();
        assert!(unread(&from).unwrap() > 0);
        to.recv(&mut [0; 8]).unwrap();
        assert_eq!(unread(&from).unwrap(), 0);
        from.send(b"three").unwrap();
        drop(to);
        assert_eq!(unread(&from).unwrap(), 0);
    }
}
