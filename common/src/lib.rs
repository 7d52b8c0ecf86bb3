//! What crosses the boundary between the kernel programs and the daemon, and what both must read in
//! the same way, and nothing else.
//!
//! All that crosses is plain data of fixed layout (`repr(C)`, no padding), in the host's byte
//! order unless a field says otherwise. Both sides are built from this crate and ship together:
//! there is no versioning between them.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod guard;

use bytemuck::{Pod, Zeroable};

/// Payload bytes in the first record of a segment at most; a longer segment comes as several.
pub const CHUNK: u32 = 4096;
/// Payload bytes in each further record of a segment at most.
pub const PIECE: u32 = 16_384;
/// A head is copied whole up to this many bytes.
pub const HEAD_LIMIT: u32 = 64 * 1024;
/// The largest body budget that the programs honour.
pub const BUDGET_LIMIT: u32 = 64 * 1024;
/// Words of the port bitmap: one bit a TCP port.
pub const PORT_WORDS: u32 = 1024;

/// A byte of a token, such as a method or a field's name (RFC 9110, section 5.6.2).
#[inline(always)]
#[must_use]
pub const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// [`Record::kind`]: a TCP segment, or a piece of one.
pub const KIND_SEGMENT: u8 = 0;
/// [`Record::kind`]: the connection left the socket table.
pub const KIND_CLOSED: u8 = 1;
/// [`Record::kind`]: the kernel stopped copying this flow; [`Record::detail`] says why.
pub const KIND_OPAQUE: u8 = 2;
/// [`Record::kind`]: the handshake is done.
pub const KIND_OPENED: u8 = 3;

/// [`Record::detail`] of an opaque flow: TLS records.
pub const OPAQUE_TLS: u8 = 1;
/// [`Record::detail`] of an opaque flow: HTTP/2 with prior knowledge.
pub const OPAQUE_HTTP2: u8 = 2;
/// [`Record::detail`] of an opaque flow: not HTTP.
pub const OPAQUE_NOT_HTTP: u8 = 3;

/// [`Record::direction`]: from the client to the watched service (ingress of its socket).
pub const TO_SERVER: u8 = 0;
/// [`Record::direction`]: from the watched service to its client (egress of its socket).
pub const TO_CLIENT: u8 = 1;

/// [`Record::tcp_flags`]: as in the TCP header.
pub const TCP_FIN: u8 = 0x01;
/// [`Record::tcp_flags`]: as in the TCP header.
pub const TCP_SYN: u8 = 0x02;
/// [`Record::tcp_flags`]: as in the TCP header.
pub const TCP_RST: u8 = 0x04;
/// [`Record::tcp_flags`]: as in the TCP header.
pub const TCP_PSH: u8 = 0x08;
/// [`Record::tcp_flags`]: as in the TCP header; without it `ack` means nothing.
pub const TCP_ACK: u8 = 0x10;

/// [`Record::marks`]: `rcv_nxt` is known.
pub const MARK_RCV_NXT: u8 = 0x01;
/// [`Record::marks`]: bytes of this direction that were wanted before this record were lost
/// because the ring was full.
pub const MARK_LOSS: u8 = 0x02;
/// [`Record::marks`]: the record stands for a run of bytes that were left out on purpose.
pub const MARK_SKIPPED: u8 = 0x04;
/// [`Record::marks`]: the first record of a message that looks like an HTTP request and was
/// counted in [`Counter::Requests`].
pub const MARK_REQUEST: u8 = 0x08;
/// [`Record::marks`]: seen by the listening socket, before the connection had its own.
pub const MARK_LISTENER: u8 = 0x10;
/// [`Record::marks`]: the first delivered record of a flow whose state is new to the kernel.
pub const MARK_NEW: u8 = 0x20;
/// [`Record::marks`]: the client's first payload byte stands first in this record.
pub const MARK_FIRST: u8 = 0x40;

/// The head of every ring record; `captured` payload bytes follow it directly, then padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Record {
    /// `CLOCK_MONOTONIC` in nanoseconds when the program ran.
    pub at: u64,
    /// The connection's socket cookie; 0 where only the listener's was to be had.
    pub cookie: u64,
    /// Id of the cgroup v2 that owns the socket.
    pub cgroup: u64,
    /// The service's address, network order; IPv4 in the first four bytes, the rest 0.
    pub local: [u8; 16],
    /// The client's address, in the same form.
    pub remote: [u8; 16],
    /// The service's port. With what stands around it the name of the connection: see [`Name`].
    pub local_port: u16,
    /// The client's port.
    pub remote_port: u16,
    /// Sequence number of the first byte that this record stands for (or of the SYN).
    pub seq: u32,
    /// The acknowledgement number of the segment.
    pub ack: u32,
    /// Payload bytes that this record stands for, captured or not.
    pub len: u32,
    /// `tcp_sock.rcv_nxt` of the service's socket when the program ran.
    pub rcv_nxt: u32,
    /// Payload bytes that follow this head, the first of `len`.
    pub captured: u16,
    /// The network interface's index, cut to 16 bits; loopback is 1.
    pub ifindex: u16,
    /// `KIND_*`.
    pub kind: u8,
    /// `TO_SERVER` or `TO_CLIENT`.
    pub direction: u8,
    /// `TCP_*`.
    pub tcp_flags: u8,
    /// 4 or 6.
    pub family: u8,
    /// `MARK_*`.
    pub marks: u8,
    /// What `kind` says it is.
    pub detail: u8,
    /// Which piece of its segment this is: 0 for the first, then ascending with `seq`.
    pub piece: u16,
}

/// What names a connection before it has a cookie: `local`, `remote`, `local_port` and
/// `remote_port` of a [`Record`], as they lie there.
pub type Name = [u32; 9];

const _: () = {
    use core::mem::{offset_of, size_of};
    let at = offset_of!(Record, local);
    assert!(offset_of!(Record, remote) == at + 16);
    assert!(offset_of!(Record, local_port) == at + 32);
    assert!(offset_of!(Record, remote_port) == at + 34);
    assert!(offset_of!(Record, seq) == at + size_of::<Name>());
};

/// Where the running kernel keeps what the tracepoint program reads of a socket: offsets in
/// bytes, from its BTF; all 0 if one of them is not known.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// `sock_common.skc_cookie`.
    Cookie,
    /// `sock_common.skc_family`.
    Family,
    /// `inet_sock.inet_sport`: unlike `skc_num` it stays when the socket is closed.
    LocalPort,
    /// `sock_common.skc_dport`.
    RemotePort,
    /// `sock_common.skc_rcv_saddr`.
    Local4,
    /// `sock_common.skc_daddr`.
    Remote4,
    /// `sock_common.skc_v6_rcv_saddr`.
    Local6,
    /// `sock_common.skc_v6_daddr`.
    Remote6,
    /// `tcp_sock.rcv_nxt`.
    RcvNxt,
}

impl Offset {
    /// How many there are.
    pub const COUNT: usize = Self::RcvNxt as usize + 1;

    /// Structure and member of each, in order.
    pub const MEMBERS: [(&'static str, &'static str); Self::COUNT] = [
        ("sock_common", "skc_cookie"),
        ("sock_common", "skc_family"),
        ("inet_sock", "inet_sport"),
        ("sock_common", "skc_dport"),
        ("sock_common", "skc_rcv_saddr"),
        ("sock_common", "skc_daddr"),
        ("sock_common", "skc_v6_rcv_saddr"),
        ("sock_common", "skc_v6_daddr"),
        ("tcp_sock", "rcv_nxt"),
    ];
}

/// Settings that the programs read on every segment of a watched port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Settings {
    /// Body bytes copied of a request.
    pub request_budget: u32,
    /// Body bytes copied of a response.
    pub response_budget: u32,
    /// Not 0: the local address must be in the trie of watched addresses too.
    pub by_address: u32,
    /// Above so many bytes pending in the ring, bodies are given up.
    pub pressure_at: u32,
    /// When so many bytes are pending in the ring, the reader is woken at once.
    pub wake_at: u32,
    /// The reader is woken at most this often while less than `wake_at` is pending, in nanoseconds.
    pub wake_every: u32,
    /// How often a flow was stopped: programs look for one only where this has changed.
    pub stops: u32,
    /// Body bytes copied of an answer to a [`Target`].
    pub whole_budget: u32,
}

/// [`Target`]s at most.
pub const TARGETS: usize = 16;

/// A request target of which the answers are copied further than others: what tells the start
/// `GET /the/target ` of a request from most others. Unused ones are all 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Target {
    /// The first 8 bytes of the request, little endian.
    pub first: u64,
    /// The 8 bytes at `at`, the last of which is the space behind the target, little endian.
    pub last: u64,
    /// Where `last` stands.
    pub at: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Target {
    /// What tells a GET of `target` from other requests; `None` where it is too short to.
    #[must_use]
    pub const fn new(target: &[u8]) -> Option<Self> {
        let len = target.len() as u64;
        if len < 3 || len > HEAD_LIMIT as u64 {
            return None;
        }
        // The request's first bytes, then its last up to the space behind the target.
        let (mut first, mut last) = ([b' '; 8], [b' '; 8]);
        let mut i = 0;
        while i < 8 {
            first[i] = byte_of(target, i);
            last[i] = byte_of(target, target.len() - 3 + i);
            i += 1;
        }
        Some(Self {
            first: u64::from_le_bytes(first),
            last: u64::from_le_bytes(last),
            at: len as u32 - 3,
            reserved: 0,
        })
    }
}

/// Byte `at` of `GET target `.
const fn byte_of(target: &[u8], at: usize) -> u8 {
    const GET: &[u8; 4] = b"GET ";
    if at < GET.len() {
        GET[at]
    } else if at - GET.len() < target.len() {
        target[at - GET.len()]
    } else {
        b' '
    }
}

/// Index into the per-CPU counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Segments of watched ports and addresses that the programs handled.
    Segments,
    /// Payload bytes of those segments.
    PayloadBytes,
    /// Request starts that were seen (delivered or lost); see the protocol's notes on pipelining.
    Requests,
    /// Request starts that the ring had no room for.
    RequestsLost,
    /// Requests whose start was delivered and of which a later copied piece was lost.
    RequestsCut,
    /// Records that were put in the ring.
    Records,
    /// Payload bytes that were put in the ring.
    CapturedBytes,
    /// Records that the ring had no room for.
    RingFullRecords,
    /// Payload bytes that the ring had no room for.
    RingFullBytes,
    /// Payload bytes left out, when they first passed, because a body was over its budget.
    BudgetBytes,
    /// Payload bytes of bodies left out, when they first passed, because the ring was over three
    /// quarters full.
    PressureBytes,
    /// Payload bytes left out that had passed before: TCP sent them again.
    ResentBytes,
    /// Payload bytes left out of flows that are not HTTP/1.
    OpaqueBytes,
    /// Flows that the kernel found not to be HTTP/1.
    OpaqueFlows,
    /// Segments of watched ports on addresses that are not watched.
    FilteredAddress,
    /// Segments whose headers could not be read.
    ParseFailures,
    /// Segments handled by the listening socket (handshakes, and data that came with them).
    ListenerSegments,
    /// Flows for which no state could be kept; their segments are copied whole.
    StateFailures,
    /// Sequence gaps and overlaps that made the kernel copy more than a budget.
    Reordered,
    /// Markers of skipped runs.
    Markers,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::Markers as usize + 1;

    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Segments,
        Self::PayloadBytes,
        Self::Requests,
        Self::RequestsLost,
        Self::RequestsCut,
        Self::Records,
        Self::CapturedBytes,
        Self::RingFullRecords,
        Self::RingFullBytes,
        Self::BudgetBytes,
        Self::PressureBytes,
        Self::ResentBytes,
        Self::OpaqueBytes,
        Self::OpaqueFlows,
        Self::FilteredAddress,
        Self::ParseFailures,
        Self::ListenerSegments,
        Self::StateFailures,
        Self::Reordered,
        Self::Markers,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::PayloadBytes => "payload-bytes",
            Self::Requests => "requests",
            Self::RequestsLost => "requests-lost",
            Self::RequestsCut => "requests-cut",
            Self::Records => "records",
            Self::CapturedBytes => "captured-bytes",
            Self::RingFullRecords => "ring-full-records",
            Self::RingFullBytes => "ring-full-bytes",
            Self::BudgetBytes => "budget-bytes",
            Self::PressureBytes => "pressure-bytes",
            Self::ResentBytes => "resent-bytes",
            Self::OpaqueBytes => "opaque-bytes",
            Self::OpaqueFlows => "opaque-flows",
            Self::FilteredAddress => "filtered-address",
            Self::ParseFailures => "parse-failures",
            Self::ListenerSegments => "listener-segments",
            Self::StateFailures => "state-failures",
            Self::Reordered => "reordered",
            Self::Markers => "markers",
        }
    }
}

/// What a CPU's programs keep.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct PerCpu {
    /// What is counted one by one.
    pub counters: Counters,
    /// Messages that were copied whole as one record, by direction: how many (to the server each
    /// the start of a request), and their payload bytes. Not in `counters`: two additions for
    /// most segments, not five.
    pub whole: [[u64; 2]; 2],
    /// When this CPU last looked how much is pending in the ring.
    pub looked_at: u64,
    /// About how many bytes are pending.
    pub pending: u32,
    /// How many of them this CPU has put since it looked.
    pub since: u32,
    /// Not 0: the reader was woken since less than `wake_at` was pending.
    pub woken: u32,
    /// Always 0.
    pub reserved: u32,
}

impl PerCpu {
    /// Its size in 64-bit words.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// All that was counted.
    #[must_use]
    pub const fn totals(&self) -> Counters {
        let mut values = self.counters.values;
        let [[requests, request_bytes], [responses, response_bytes]] = self.whole;
        let (segments, bytes) =
            (requests.wrapping_add(responses), request_bytes.wrapping_add(response_bytes));
        let more = [
            (Counter::Segments, segments),
            (Counter::PayloadBytes, bytes),
            (Counter::Requests, requests),
            (Counter::Records, segments),
            (Counter::CapturedBytes, bytes),
        ];
        let mut i = 0;
        while i < more.len() {
            let (counter, n) = more[i];
            let value = &mut values[counter as usize];
            *value = value.wrapping_add(n);
            i += 1;
        }
        Counters { values }
    }
}

/// All counters, in the order of [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Counters {
    /// The values.
    pub values: [u64; Counter::COUNT],
}

impl Counters {
    /// One counter's value.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}
