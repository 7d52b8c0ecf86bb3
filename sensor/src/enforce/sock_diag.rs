//! Ending TCP sockets of this host through netlink: `NETLINK_SOCK_DIAG` with `SOCK_DESTROY`
//! (Linux 4.5, `CONFIG_INET_DIAG_DESTROY`; structures in `linux/netlink.h` and
//! `linux/inet_diag.h`, see sock_diag(7)).
//!
//! Two fixed messages of 72 bytes are all that is needed, so they stand here rather than behind a
//! crate. (netlink-packet-sock-diag has the number of `SOCK_DESTROY`, but its messages always say that
//! they are `SOCK_DIAG_BY_FAMILY`.)

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use bytemuck::{Pod, Zeroable};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

/// `SOCK_DIAG_BY_FAMILY`: asks for one socket.
const BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`: ends one.
const DESTROY: u16 = 21;
/// `NLMSG_ERROR`: the answer to a request that has nothing else to say.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
const ACK: u16 = 4;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// The kernel answers at once; this only bounds a fault.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Answers that are passed over because they belong to an earlier request.
const MAX_STALE: usize = 8;

/// `struct nlmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    port: u32,
}

/// `struct inet_diag_sockid`; ports and addresses in network order.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SocketId {
    local_port: [u8; 2],
    remote_port: [u8; 2],
    local: [u8; 16],
    remote: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// A header and `struct inet_diag_req_v2`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Question {
    header: Header,
    family: u8,
    protocol: u8,
    extensions: u8,
    padding: u8,
    states: u32,
    id: SocketId,
}

/// The beginning of `struct inet_diag_msg`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Found {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SocketId,
}

const HEADER: usize = size_of::<Header>();

/// A netlink socket; it acts on the network namespace that it was made in, wherever it is used.
#[derive(Debug)]
pub(super) struct SockDiag {
    socket: OwnedFd,
    seq: u32,
}

impl SockDiag {
    /// A socket of the namespace that this thread is in.
    pub(super) fn new() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        Ok(Self { socket, seq: 0 })
    }

    /// Ends the connection of the socket at `local`: its owner gets `ECONNABORTED`, its peer a
    /// RST. Gives whether there was one. With a cookie of 0 the socket is looked up first.
    ///
    /// A request without a cookie is never sent: where the connection is gone, the kernel would
    /// take the *listening* socket for it, and end the service.
    pub(super) fn destroy(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        cookie: u64,
    ) -> io::Result<bool> {
        let cookie = match cookie {
            0 => self.cookie_of(local, remote)?,
            known => Some(known),
        };
        let Some(cookie) = cookie else { return Ok(false) };
        match self.ask(question(DESTROY, local, remote, cookie)) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The cookie of a connection's socket; `None` where there is no such connection.
    fn cookie_of(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
        const ANY: u64 = u64::MAX;
        let found = match self.ask(question(BY_FAMILY, local, remote, ANY)) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(found
            .filter(|found| {
                found.state != LISTEN && found.id.remote_port == remote.port().to_be_bytes()
            })
            .map(|found| u64::from(found.id.cookie[0]) | u64::from(found.id.cookie[1]) << 32))
    }

    /// Whether the kernel knows `SOCK_DESTROY` and lets this process use it.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        // No socket has this cookie: cookies count up from 1.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        self.destroy(nowhere, nowhere, u64::MAX - 1).map(drop)
    }

    fn ask(&mut self, mut question: Question) -> io::Result<Option<Found>> {
        self.seq = self.seq.wrapping_add(1);
        question.header.seq = self.seq;
        send(&self.socket, bytemuck::bytes_of(&question), SendFlags::empty())?;
        let mut buffer = [0_u8; 4096];
        for _ in 0..MAX_STALE {
            let (read, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let answer = buffer.get(..read).unwrap_or_default();
            let Some((head, body)) = answer.split_at_checked(HEADER) else { break };
            let header: Header = bytemuck::pod_read_unaligned(head);
            if header.seq != self.seq {
                continue;
            }
            if header.kind == ERROR {
                let code =
                    body.first_chunk().map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code));
                return match code {
                    0 => Ok(None),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
            }
            let Some(found) = body.get(..size_of::<Found>()) else { break };
            return Ok(Some(bytemuck::pod_read_unaligned(found)));
        }
        Err(io::Error::from_raw_os_error(libc::EPROTO))
    }
}

/// There is no such socket, or another one with the same addresses.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

/// An IPv4 address is asked for as IPv4 also where the socket is an IPv6 one that takes both: the
/// kernel keeps them in one table.
fn question(kind: u16, local: SocketAddr, remote: SocketAddr, cookie: u64) -> Question {
    let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let family = if local_ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // An acknowledgement beside the socket that is asked for would be one answer too many.
    let flags = if kind == DESTROY { REQUEST | ACK } else { REQUEST };
    Question {
        header: Header { len: size_of::<Question>() as u32, kind, flags, seq: 0, port: 0 },
        family: family as u8,
        protocol: libc::IPPROTO_TCP as u8,
        extensions: 0,
        padding: 0,
        states: u32::MAX,
        id: SocketId {
            local_port: local.port().to_be_bytes(),
            remote_port: remote.port().to_be_bytes(),
            local: octets(local_ip),
            remote: octets(remote_ip),
            interface: interface(local).max(interface(remote)),
            cookie: [cookie as u32, (cookie >> 32) as u32],
        },
    }
}

/// Link-local addresses mean something on one interface only.
fn interface(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read as _},
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::SockDiag;

    /// A connection over loopback: the client's end and the service's, and the listener.
    fn connection(listen: &str, connect: &str) -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind(format!("{listen}:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(format!("{connect}:{port}")).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (service, _) = listener.accept().unwrap();
        (client, service, listener)
    }

    #[test]
    fn both_ends_learn_that_the_connection_is_cut_and_the_listener_stays() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let mut diag = SockDiag::new().unwrap();
        diag.probe().unwrap();
        // The third: an IPv4 connection of an IPv6 socket.
        for (listen, connect) in
            [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("[::]", "127.0.0.1")]
        {
            let (mut client, mut service, listener) = connection(listen, connect);
            let (local, remote) = (service.local_addr().unwrap(), service.peer_addr().unwrap());
            let cookie = rustix::net::sockopt::socket_cookie(&service).unwrap();
            assert!(!diag.destroy(local, remote, cookie + 1).unwrap(), "another's cookie");
            assert!(diag.destroy(local, remote, cookie).unwrap(), "{listen}");
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{listen}: the client sees RST");
            let error = service.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{listen}");
            // Gone: not even without a cookie is the listener taken for it.
            assert!(!diag.destroy(local, remote, cookie).unwrap());
            assert!(!diag.destroy(local, remote, 0).unwrap());
            let again = listener.local_addr().unwrap().port();
            TcpStream::connect(format!("{connect}:{again}")).unwrap();
        }
        // By addresses alone.
        let (mut client, service, _listener) = connection("127.0.0.1", "127.0.0.1");
        let (local, remote) = (service.local_addr().unwrap(), service.peer_addr().unwrap());
        assert!(diag.destroy(local, remote, 0).unwrap());
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
