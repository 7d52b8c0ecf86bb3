//! What the guard programs put before the daemon: heads that wait for their verdict, and connections
//! that they gave up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use jotwatch_common::guard::{
    scan::{CREDENTIALS, ODD, QUERY_TOKEN},
    tables::{HELD_BODY, HELD_BROKEN, HELD_CUT, HELD_LONG, HELD_MISFRAMED, HELD_RESPONSE, Held},
};

use super::tables::{AllowKey, ServiceId};
use crate::capture::{FlowKey, canonical};

/// A head that waits for its verdict. `Debug` shows its size only: it may hold a token.
#[derive(Clone, Copy)]
pub struct HeldHead<'a> {
    /// The connection.
    pub flow: FlowKey,
    /// Its socket's cookie.
    pub cookie: u64,
    /// When it came, by the kernel's monotonic clock, in nanoseconds.
    pub at: u64,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// The service.
    pub service: ServiceId,
    /// What the verdict goes by.
    pub verdict: VerdictKey,
    /// What later requests with the same credentials go by.
    pub allow: AllowKey,
    /// Whether [`allow`](Self::allow) lets requests like this one pass: all its credentials are in
    /// lines that the key covers.
    pub covered: bool,
    /// It will not pass: the connection is to be cut. There are no bytes.
    pub cut: Option<CutCause>,
    /// The request has passed; its response waits.
    pub response: bool,
    /// Request line and header fields with the empty line, and what was read of the body where
    /// that may hold a token.
    pub head: &'a [u8],
}

/// Why the programs gave a connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutCause {
    /// There was no verdict in time, and without one nothing passes.
    Late,
    /// A head is longer than what is read of one.
    Long,
    /// Where a message ends can be read in two ways.
    Misframed,
    /// TCP took other bytes than those that were read, or the room for messages in pieces was
    /// needed for others.
    Broken,
}

impl CutCause {
    /// What happened, for the finding.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Late => "no verdict came in time, and none passes without",
            Self::Long => "a head of more than 64 KiB",
            Self::Misframed => "where a message ends can be read in two ways",
            Self::Broken => "the service's TCP took other bytes than those that were read",
        }
    }

    fn of(flags: u32) -> Option<Self> {
        if flags & HELD_CUT == 0 {
            return None;
        }
        Some(match flags & (HELD_LONG | HELD_MISFRAMED | HELD_BROKEN) {
            HELD_LONG => Self::Long,
            HELD_MISFRAMED => Self::Misframed,
            HELD_BROKEN => Self::Broken,
            _ => Self::Late,
        })
    }
}

impl std::fmt::Debug for HeldHead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldHead")
            .field("flow", &self.flow)
            .field("seq", &self.seq)
            .field("cut", &self.cut)
            .field("response", &self.response)
            .field("head", &self.head.len())
            .finish_non_exhaustive()
    }
}

/// What a verdict on one head goes by: the connection and every byte of the head.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerdictKey(pub(super) [u64; 2]);

impl std::fmt::Debug for VerdictKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerdictKey({:016x}{:016x})", self.0[0], self.0[1])
    }
}

pub(super) fn decode(data: &[u8]) -> Option<HeldHead<'_>> {
    let (record, head) = data.split_at_checked(size_of::<Held>())?;
    let record: Held = bytemuck::try_pod_read_unaligned(record).ok()?;
    let head = head.get(..record.head as usize)?;
    let address = |bytes: [u8; 16], port| {
        let [a, b, c, d, ..] = bytes;
        let ip = match record.family {
            4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(bytes)),
        };
        canonical(SocketAddr::new(ip, port))
    };
    Some(HeldHead {
        flow: FlowKey {
            client: address(record.remote, record.remote_port),
            server: address(record.local, record.local_port),
            scope: record.cgroup,
        },
        cookie: record.cookie,
        at: record.at,
        seq: record.seq,
        service: ServiceId { cgroup: record.cgroup, port: record.local_port },
        verdict: VerdictKey(record.verdict),
        allow: AllowKey(record.allow),
        covered: record.flags & HELD_BODY != 0
            || record.flags & (CREDENTIALS | ODD | QUERY_TOKEN) == CREDENTIALS,
        cut: CutCause::of(record.flags),
        response: record.flags & HELD_RESPONSE != 0,
        head,
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use jotwatch_common::guard::tables::Held;

    use super::decode;
    use crate::redact::debug_tests::{HEAD, silent};

    #[test]
    fn a_head_is_not_shown() {
        let record = Held { head: HEAD.len() as u32, ..Held::zeroed() };
        let data = [bytemuck::bytes_of(&record), HEAD].concat();
        let held = decode(&data).unwrap();
        assert_eq!(held.head, HEAD);
        silent(&held);
    }
}
