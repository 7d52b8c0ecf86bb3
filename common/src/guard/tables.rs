//! Keys and values of the guard programs' maps.
//!
//! Times are of `CLOCK_MONOTONIC` in nanoseconds; `u64::MAX` is never.

use bytemuck::{Pod, Zeroable};

use super::scan::Terms;

/// Bytes of a head, with what is read of its body, that the guard reads: as much as capture does of
/// a head. A longer head is not let through to a gated service.
pub const HEAD_CAP: u32 = 64 * 1024;
/// Connections whose state is kept.
pub const MAX_TRACKED: u32 = 65_536;
/// Connections in their handshake whose state is kept; of one that is not, data that comes with the
/// handshake's last segment has to come again.
pub const MAX_HANDSHAKES: u32 = 16_384;
/// Messages in pieces that are put together at a time: 32 MiB.
pub const MAX_PIECED: u32 = 512;
/// Denied token keys.
pub const MAX_DENIED_TOKENS: u32 = 1_048_576;
/// Denied networks, of each address family; as many allowed ones.
pub const MAX_NETWORKS: u32 = 131_072;
/// Denied connections.
pub const MAX_DENIED_FLOWS: u32 = 65_536;
/// Credentials that were judged and pass.
pub const MAX_ALLOWED: u32 = 262_144;
/// Heads that were judged one by one.
pub const MAX_VERDICTS: u32 = 65_536;
/// Lines of heads that were read before: 10 MiB.
pub const MAX_BLOCKS: u32 = 4096;
/// Policies: one for each group of ports, and 0 for none.
pub const MAX_POLICIES: u32 = 256;

/// [`Policy::mode`]: denylists act.
pub const MODE_KILL: u8 = 1;
/// [`Policy::mode`]: and responses wait for the verdict.
pub const MODE_HOLD: u8 = 2;
/// [`Policy::mode`]: and requests wait for the verdict.
pub const MODE_GATE: u8 = 3;

/// How the guard treats one service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Policy {
    /// A byte is held no longer than this, in nanoseconds.
    pub hold: u64,
    /// The daemon counts as dead when it has not beaten for so long, in nanoseconds.
    pub heartbeat: u64,
    /// `MODE_*`; 0 is no policy.
    pub mode: u8,
    /// Not 0: everything passes, and what would not have is counted.
    pub dry_run: u8,
    /// Not 0: without a verdict in time nothing passes.
    pub closed: u8,
    /// Not 0: a request without credentials waits for a verdict, too.
    pub ask_always: u8,
    /// Bytes of a body that are read for tokens before it has passed whole.
    pub body: u32,
}

/// Where some of a port's connections have a policy of their own: with what is 0 left open. They are
/// looked up with address and cgroup, with the address, with cgroup and port, with the cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct PlaceKey {
    /// Id of the socket's cgroup.
    pub cgroup: u64,
    /// The service's address, network order; IPv4 in the first four bytes, the rest 0.
    pub address: [u8; 16],
    /// Its port.
    pub port: u32,
    /// 4 or 6 with an address.
    pub family: u32,
}

/// In a port's policy: places are looked up first.
pub const PORT_PLACES: u32 = 1 << 31;
/// Places with a policy of their own.
pub const MAX_PLACES: u32 = 16_384;

/// Why something is denied, and how long.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DenyEntry {
    /// Counts for nothing from then on.
    pub until: u64,
    /// The daemon's; the kernel does not read it.
    pub cause: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A judged request's credentials at one service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct AllowedKey {
    /// [`Scanner::allow_key`](super::scan::Scanner::allow_key).
    pub key: [u64; 2],
    /// Id of the service's cgroup.
    pub cgroup: u64,
    /// Its port.
    pub port: u32,
    /// Always 0.
    pub reserved: u32,
}

/// [`Verdict::pass`].
pub const VERDICT_PASS: u32 = 1;
/// [`Verdict::pass`].
pub const VERDICT_DROP: u32 = 2;

/// What was judged of one head on one connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Verdict {
    /// Counts for nothing from then on.
    pub until: u64,
    /// `VERDICT_*`.
    pub pass: u32,
    /// How the body is framed, of a head that could be read in two ways: `FRAMED_*`.
    pub framing: u32,
}

/// [`Verdict::framing`]: what follows is not known.
pub const FRAMED_UNKNOWN: u32 = 0;
/// [`Verdict::framing`]: the body is chunked.
pub const FRAMED_CHUNKED: u32 = 1;
/// [`Verdict::framing`]: this plus the bytes of the body.
pub const FRAMED_LENGTH: u32 = 2;

/// What all programs go by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Settings {
    /// What is looked for in heads.
    pub terms: Terms,
}

/// What has changed in the tables of what is denied and allowed, so that it need not be looked up for
/// every segment. The daemon writes it behind each change that could let less pass than before.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Changes {
    /// How many changes there were; never 0. Programs note the lower half.
    pub count: u64,
    /// No connection is denied from then on.
    pub flows_until: u64,
}

/// [`Held::flags`]: the deadline is over and the bytes will not pass: cut the connection.
pub const HELD_CUT: u32 = 1 << 16;
/// [`Held::flags`]: the response waits, not the request.
pub const HELD_RESPONSE: u32 = 1 << 17;

/// [`Held::flags`]: what has been read of the body follows the head, and the allow key is of every
/// byte of both.
pub const HELD_BODY: u32 = 1 << 18;
/// [`Held::flags`], with [`HELD_CUT`]: the head is longer than [`HEAD_CAP`].
pub const HELD_LONG: u32 = 1 << 19;
/// [`Held::flags`], with [`HELD_CUT`]: services may read the bytes in different ways.
pub const HELD_MISFRAMED: u32 = 1 << 20;
/// [`Held::flags`], with [`HELD_CUT`]: TCP took other bytes than those that were read, or the room
/// for messages in pieces was needed for others.
pub const HELD_BROKEN: u32 = 1 << 21;

/// A head that waits for its verdict, as the ring of held heads carries it; `head` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Held {
    /// When.
    pub at: u64,
    /// The connection's socket cookie.
    pub cookie: u64,
    /// Id of the service's cgroup.
    pub cgroup: u64,
    /// Where the verdict is looked for: a keyed hash of the cookie and of every byte of the head.
    pub verdict: [u64; 2],
    /// Where later requests look first.
    pub allow: [u64; 2],
    /// The service's address, network order; IPv4 in the first four bytes, the rest 0.
    pub local: [u8; 16],
    /// The client's address, in the same form.
    pub remote: [u8; 16],
    /// Sequence number of the head's first byte.
    pub seq: u32,
    /// Bytes that follow: of the head, and what has been read of its body.
    pub head: u32,
    /// Flags of the scanner, and `HELD_*`.
    pub flags: u32,
    /// The service's port.
    pub local_port: u16,
    /// The client's port.
    pub remote_port: u16,
    /// 4 or 6.
    pub family: u32,
    /// Always 0.
    pub reserved: u32,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Index into the guard's per-CPU counters.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $name,)+
        }

        impl Counter {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

counters! {
    /// Segments with payload for a service that has a policy.
    Segments = "segments",
    /// Heads read to their end.
    Heads = "heads",
    /// Tokens looked up.
    Tokens = "tokens",
    /// Segments dropped: the connection is denied.
    DeniedFlow = "denied-flow",
    /// Segments dropped: the client's address is denied.
    DeniedNetwork = "denied-network",
    /// Segments dropped: they complete a request with a denied token, or hold one.
    DeniedToken = "denied-token",
    /// Segments dropped: a head in them has been judged, and not to pass.
    DeniedVerdict = "denied-verdict",
    /// Request segments dropped until their head is judged.
    HeldRequests = "held-requests",
    /// Response segments dropped until their request is judged.
    HeldResponses = "held-responses",
    /// Segments of requests dropped because they came ahead of what TCP had accepted.
    Ahead = "ahead",
    /// Segments of requests dropped because others of the same bytes had just passed.
    Unsettled = "unsettled",
    /// Segments dropped because another processor handled one of the same connection.
    Contended = "contended",
    /// Segments dropped: their head is longer than [`HEAD_CAP`].
    TooLong = "too-long",
    /// Segments dropped: no service is sure to read them as the guard does.
    Misframed = "misframed",
    /// Segments dropped: what was let through is not what TCP took.
    Broken = "broken",
    /// Segments that passed because the deadline of the hold was over.
    Expired = "expired",
    /// Segments that passed because the daemon did not beat.
    Unguarded = "unguarded",
    /// Segments that passed in a connection whose messages are not in sight.
    Untracked = "untracked",
    /// Segments of a dry run that would have been dropped.
    Dry = "dry",
    /// Held heads that the ring had no room for; the segment comes again.
    RingFull = "ring-full",
    /// Requests that passed by the allow-cache.
    Allowed = "allowed",
    /// Heads that passed and were not read, as their lines had been before.
    Known = "known",
    /// Bodies that were read to their end, or as far as is asked for.
    Bodies = "bodies",
    /// Requests that passed without credentials.
    Anonymous = "anonymous",
    /// Requests that passed by a verdict of their own.
    Judged = "judged",
}

const _: () = assert!(size_of::<Held>() == 112 && size_of::<AllowedKey>() == 32);
