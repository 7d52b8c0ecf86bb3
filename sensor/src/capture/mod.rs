//! What every source of packets gives to the pipeline: TCP segments of watched services, with
//! what is known of their flow. The kernel programs and a capture file give the same values.
#![forbid(unsafe_code)]

pub mod file;

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::time::Time;

pub mod live;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the watched service: requests.
    ToServer,
    /// From the watched service to its client: responses.
    ToClient,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// What names a TCP connection while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// The client's address and port, as the packets carry it.
    pub client: SocketAddr,
    /// The watched service's address and port.
    pub server: SocketAddr,
    /// Tells apart equal address pairs on one host: the socket's cgroup id in live capture, the
    /// VLAN id or 0 in a capture file.
    pub scope: u64,
}

/// In four words; derived, it would be fourteen pieces, and every segment is looked up by it.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ip = |addr: SocketAddr| match addr.ip() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        state.write_u128(ip(self.client));
        state.write_u128(ip(self.server));
        state.write_u32(u32::from(self.client.port()) << 16 | u32::from(self.server.port()));
        state.write_u64(self.scope);
    }
}

/// The TCP flags that reassembly acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags {
    /// The segment opens a connection and takes one sequence number.
    pub syn: bool,
    /// The sender sends no more; takes one sequence number behind the payload.
    pub fin: bool,
    /// The connection is torn down.
    pub rst: bool,
}

/// One TCP segment, or one piece of it, of a watched connection.
///
/// A large segment may arrive as several pieces with ascending `seq`. Then only the first carries
/// `syn` and only the last `fin`. `Debug` shows the payload's size only: it may hold a token.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// The connection.
    pub flow: FlowKey,
    /// The kernel's cookie of the socket; 0 where it is not known. A connection whose cookie
    /// changes is another connection that reuses the addresses.
    pub cookie: u64,
    /// Which way the payload travels.
    pub direction: Direction,
    /// When the segment passed the hook.
    pub at: Time,
    /// Sequence number of the first payload byte, or of the SYN.
    pub seq: u32,
    /// Payload bytes on the wire. Where this is more than `payload.len()`, the rest was not
    /// copied (a body over its budget, a capture's snap length).
    pub len: u32,
    /// The payload's first bytes.
    pub payload: &'a [u8],
    /// Flags of the segment.
    pub flags: TcpFlags,
    /// The segment's acknowledgement number: what its sender has received of the other direction.
    pub ack: Option<u32>,
    /// Live capture at the service's socket only: the next sequence number that this socket
    /// expected of the *client* when the segment passed (`tcp_sock.rcv_nxt`), for segments of
    /// either direction. Everything before it has been accepted by the service's TCP.
    pub rcv_nxt: Option<u32>,
    /// Live capture only: the kernel took the payload to begin a request, and counted it.
    pub request: bool,
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("flow", &self.flow)
            .field("direction", &self.direction)
            .field("seq", &self.seq)
            .field("len", &self.len)
            .field("payload", &self.payload.len())
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

/// Why a flow on a watched port can't be read as HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpaqueKind {
    /// TLS records.
    Tls,
    /// HTTP/2 with prior knowledge, or joined midway.
    Http2,
    /// Bytes that are not HTTP.
    NotHttp,
    /// HTTP/1 that switched protocols (`101`, or a `CONNECT` that was granted).
    Upgraded,
}

impl OpaqueKind {
    /// The stable name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::NotHttp => "not-http",
            Self::Upgraded => "upgraded",
        }
    }
}

/// The process that owns a service's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Process id in the daemon's pid namespace.
    pub pid: Option<u32>,
    /// The process's command name (`/proc/PID/comm`).
    pub command: Option<String>,
    /// Path of its cgroup, relative to the cgroup v2 mount.
    pub cgroup: Option<String>,
    /// The address and port that it listens on.
    pub listen: Option<SocketAddr>,
}

/// One observation from a capture source.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A segment, or a piece of one.
    Segment(Segment<'a>),
    /// The handshake is done: a connection between these addresses begins. It may be told more
    /// than once. Live capture only; in a capture file the handshake's own segments tell it.
    Opened {
        /// The connection.
        flow: FlowKey,
        /// The socket's cookie, 0 where it is not known.
        cookie: u64,
        /// When.
        at: Time,
        /// The next sequence number that the service's socket expected of the client.
        rcv_nxt: u32,
    },
    /// The connection left its socket table: nothing more comes of it.
    Closed {
        /// The connection.
        flow: FlowKey,
        /// The socket's cookie, 0 where it is not known.
        cookie: u64,
        /// When.
        at: Time,
    },
    /// The kernel saw bytes that are not HTTP/1 and stopped copying this flow.
    Opaque {
        /// The connection.
        flow: FlowKey,
        /// The socket's cookie, 0 where it is not known.
        cookie: u64,
        /// When.
        at: Time,
        /// What it saw.
        kind: OpaqueKind,
    },
    /// Who serves this flow; sent once, before or soon after its first segment.
    Service {
        /// The connection.
        flow: FlowKey,
        /// The process behind it.
        service: Arc<Service>,
    },
}

/// The IPv4 address inside an IPv4-mapped IPv6 address, or the address itself.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), addr.port()),
            None => addr,
        },
        IpAddr::V4(_) => addr,
    }
}
