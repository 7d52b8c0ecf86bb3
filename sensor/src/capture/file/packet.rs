//! From a captured frame to the TCP segment inside it.
//!
//! Own code and not a general dissector: a capture file needs one path through each header, every
//! length checked against both what was captured and what was on the wire, and nothing copied.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
};

use super::checksum::{self, Checksum};
use crate::capture::TcpFlags;

/// VLAN tags that are passed over in one frame; a frame with more counts as not IP.
pub const MAX_VLAN_TAGS: usize = 4;

/// IPv6 extension headers that are passed over in one packet; one with more counts as malformed.
pub const MAX_IPV6_EXTENSIONS: usize = 8;

/// An IP packet of length 0 is one that the network card was to cut up (TCP segmentation
/// offload), if it is larger than this; a real packet of length 0 is dropped by every receiver.
pub const MIN_OFFLOADED_BYTES: usize = 1_500;

/// The layers below IP that can be read, by their numbers in capture files
/// (<https://www.tcpdump.org/linktypes.html>).
mod link {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const RAW_BSD: u16 = 12;
    pub(super) const RAW_OPENBSD: u16 = 14;
    pub(super) const RAW: u16 = 101;
    pub(super) const LOOP: u16 = 108;
    pub(super) const LINUX_SLL: u16 = 113;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const LINUX_SLL2: u16 = 276;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the number that QinQ used before it.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const PROTOCOL_TCP: u8 = 6;

/// Why a packet of a capture file gives no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The interface's link type can't be read.
    LinkType,
    /// Not an IP packet: ARP, spanning tree and the like.
    NotIp,
    /// An IP packet without TCP.
    NotTcp,
    /// A fragment of a TCP segment; fragments are not put together.
    Fragment,
    /// The snap length cut off a header.
    Cut,
    /// A header contradicts itself or the length of the frame; a receiver drops it.
    Malformed,
    /// The TCP checksum is wrong, where right ones are the rule; a receiver drops it.
    Checksum,
    /// The service's port is not among the watched ones.
    NotWatched,
    /// A segment without payload of a connection whose server is not known yet.
    Undecided,
}

impl Skip {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::LinkType,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::Cut,
        Self::Malformed,
        Self::Checksum,
        Self::NotWatched,
        Self::Undecided,
    ];

    /// The stable name of the cause's counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinkType => "link-type",
            Self::NotIp => "not-ip",
            Self::NotTcp => "not-tcp",
            Self::Fragment => "fragment",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::NotWatched => "not-watched",
            Self::Undecided => "undecided",
        }
    }
}

/// A TCP segment as it stands in a frame, before it is known which side is the server.
///
/// Its checksum has not been looked at: see [`Packet::checksum`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sender.
    pub src: SocketAddr,
    /// The receiver.
    pub dst: SocketAddr,
    /// The VLAN ids, 12 bits each with the innermost lowest; 0 without a tag.
    pub scope: u64,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number, if the segment carries one.
    pub ack: Option<u32>,
    /// The flags.
    pub flags: TcpFlags,
    /// Payload bytes on the wire.
    pub len: u32,
    /// Where the captured payload lies in the frame.
    pub payload: Range<usize>,
    /// Where the TCP header and the payload lie in the frame, if they were captured whole and the
    /// length that the checksum covers is known (not where it was left to segmentation offload).
    pub whole: Option<Range<usize>>,
}

impl Packet {
    /// What the TCP checksum says; `frame` is the one that the packet was read from.
    #[must_use]
    pub fn checksum(&self, frame: &[u8]) -> Checksum {
        let segment = self.whole.clone().and_then(|whole| frame.get(whole));
        segment.map_or(Checksum::Unknown, |tcp| checksum::judge(self.src.ip(), self.dst.ip(), tcp))
    }
}

/// Reads a frame of link type `link`, of which `frame` was captured out of `wire_len` bytes.
///
/// # Errors
/// Why there is no TCP segment in it.
#[inline]
pub fn decode(link: u16, frame: &[u8], wire_len: u32) -> Result<Packet, Skip> {
    match usual(link, frame) {
        Some(packet) => Ok(packet),
        None => Frame { bytes: frame, wire: frame.len().max(wire_len as usize) }.link(link),
    }
}

/// A whole TCP segment in IPv4 without options in Ethernet: most there are. `None` says nothing about
/// the frame.
#[inline]
fn usual(link: u16, frame: &[u8]) -> Option<Packet> {
    const IP: usize = 14;
    const TCP: usize = IP + 20;
    let (h, _) = frame.split_first_chunk::<{ TCP + 20 }>()?;
    let fragment = u16::from_be_bytes([h[20], h[21]]) & 0x3fff;
    let usual = link == link::ETHERNET
        && [h[12], h[13], h[14], h[23]] == [0x08, 0x00, 0x45, PROTOCOL_TCP]
        && fragment == 0;
    let end = IP + usize::from(u16::from_be_bytes([h[16], h[17]]));
    let header = usize::from(h[46] >> 4) * 4;
    let data = TCP + header;
    if !usual || header < 20 || data > end || end > frame.len() {
        return None;
    }
    let address = |at: [u8; 4], port: [u8; 2]| {
        SocketAddr::new(Ipv4Addr::from(at).into(), u16::from_be_bytes(port))
    };
    let bits = h[47];
    Some(Packet {
        src: address([h[26], h[27], h[28], h[29]], [h[34], h[35]]),
        dst: address([h[30], h[31], h[32], h[33]], [h[36], h[37]]),
        scope: 0,
        seq: u32::from_be_bytes([h[38], h[39], h[40], h[41]]),
        ack: (bits & 0x10 != 0).then(|| u32::from_be_bytes([h[42], h[43], h[44], h[45]])),
        flags: TcpFlags { fin: bits & 1 != 0, syn: bits & 2 != 0, rst: bits & 4 != 0 },
        // At most what 16 bits of length leave.
        len: u32::try_from(end - data).ok()?,
        payload: data..end,
        whole: Some(TCP..end),
    })
}

/// A frame as far as it was captured, and its length on the wire.
#[derive(Clone, Copy)]
struct Frame<'a> {
    bytes: &'a [u8],
    wire: usize,
}

/// Where an IP packet ends on the wire.
#[derive(Clone, Copy)]
struct End {
    at: usize,
    /// By the length of the frame: the packet says none.
    offloaded: bool,
}

impl Frame<'_> {
    /// `N` bytes at an offset.
    fn take<const N: usize>(self, at: usize) -> Result<[u8; N], Skip> {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or(if self.bytes.len() < self.wire { Skip::Cut } else { Skip::Malformed })
    }

    fn u16(self, at: usize) -> Result<u16, Skip> {
        self.take(at).map(u16::from_be_bytes)
    }

    fn link(self, link: u16) -> Result<Packet, Skip> {
        match link {
            link::ETHERNET => self.network(self.u16(12)?, 14),
            link::LINUX_SLL => self.network(self.u16(14)?, 16),
            link::LINUX_SLL2 => self.network(self.u16(0)?, 20),
            // The address family stands in the byte order of the host that captured, and its
            // number for IPv6 differs by system.
            link::NULL | link::LOOP => match self.take(0)? {
                [2, 0, 0, 0] | [0, 0, 0, 2] => self.ipv4(4, 0),
                [10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 10 | 24 | 28 | 30] => self.ipv6(4, 0),
                _ => Err(Skip::NotIp),
            },
            link::RAW | link::RAW_BSD | link::RAW_OPENBSD => match self.take(0)? {
                [0x40..=0x4f] => self.ipv4(0, 0),
                [0x60..=0x6f] => self.ipv6(0, 0),
                [_] => Err(Skip::NotIp),
            },
            link::IPV4 => self.ipv4(0, 0),
            link::IPV6 => self.ipv6(0, 0),
            _ => Err(Skip::LinkType),
        }
    }

    #[inline]
    fn network(self, mut ethertype: u16, mut at: usize) -> Result<Packet, Skip> {
        let mut scope = 0;
        for _ in 0..=MAX_VLAN_TAGS {
            match ethertype {
                ETHERTYPE_IPV4 => return self.ipv4(at, scope),
                ETHERTYPE_IPV6 => return self.ipv6(at, scope),
                tag if ETHERTYPES_VLAN.contains(&tag) => {
                    scope = (scope << 12) | u64::from(self.u16(at)? & 0x0fff);
                    ethertype = self.u16(at + 2)?;
                    at += 4;
                }
                _ => break,
            }
        }
        Err(Skip::NotIp)
    }

    /// Where the IP packet that starts at `at` ends, on the wire: the frame may go on with padding.
    fn ip_end(self, at: usize, total: usize) -> Result<End, Skip> {
        let room = self.wire.saturating_sub(at);
        match total {
            0 if room > MIN_OFFLOADED_BYTES => Ok(End { at: self.wire, offloaded: true }),
            0 => Err(Skip::Malformed),
            _ if total > room => Err(Skip::Malformed),
            _ => Ok(End { at: at + total, offloaded: false }),
        }
    }

    #[inline]
    fn ipv4(self, at: usize, scope: u64) -> Result<Packet, Skip> {
        let h: [u8; 20] = self.take(at)?;
        let header = usize::from(h[0] & 0x0f) * 4;
        if h[0] >> 4 != 4 || header < 20 {
            return Err(Skip::Malformed);
        }
        if h[9] != PROTOCOL_TCP {
            return Err(Skip::NotTcp);
        }
        // More fragments, or an offset.
        if u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0 {
            return Err(Skip::Fragment);
        }
        let end = self.ip_end(at, u16::from_be_bytes([h[2], h[3]]).into())?;
        let src = Ipv4Addr::new(h[12], h[13], h[14], h[15]);
        let dst = Ipv4Addr::new(h[16], h[17], h[18], h[19]);
        self.tcp(at + header, end, (src.into(), dst.into()), scope)
    }

    fn ipv6(self, at: usize, scope: u64) -> Result<Packet, Skip> {
        let h: [u8; 8] = self.take(at)?;
        if h[0] >> 4 != 6 {
            return Err(Skip::Malformed);
        }
        let src = Ipv6Addr::from(self.take::<16>(at + 8)?);
        let dst = Ipv6Addr::from(self.take::<16>(at + 24)?);
        // Length 0 stands for segmentation offload here too; a jumbo payload option is passed over.
        let end = match u16::from_be_bytes([h[4], h[5]]) {
            0 => self.ip_end(at, 0)?,
            payload => self.ip_end(at, usize::from(payload) + 40)?,
        };
        let mut next = h[6];
        let mut at = at + 40;
        for _ in 0..=MAX_IPV6_EXTENSIONS {
            // RFC 8200, section 4; RFC 4302 for the authentication header.
            let len = match next {
                PROTOCOL_TCP => return self.tcp(at, end, (src.into(), dst.into()), scope),
                // Hop-by-hop options, routing, destination options, mobility.
                0 | 43 | 60 | 135 => (usize::from(self.take::<2>(at)?[1]) + 1) * 8,
                // Fragment: one that is the whole packet (RFC 6946) is nothing special.
                44 => match self.u16(at + 2)? & 0xfff9 {
                    0 => 8,
                    _ => return Err(Skip::Fragment),
                },
                51 => (usize::from(self.take::<2>(at)?[1]) + 2) * 4,
                _ => return Err(Skip::NotTcp),
            };
            [next] = self.take(at)?;
            at += len;
        }
        Err(Skip::Malformed)
    }

    #[inline]
    fn tcp(
        self,
        start: usize,
        end: End,
        (src, dst): (IpAddr, IpAddr),
        scope: u64,
    ) -> Result<Packet, Skip> {
        let End { at: end, offloaded } = end;
        if end < start.saturating_add(20) {
            return Err(Skip::Malformed);
        }
        let h: [u8; 20] = self.take(start)?;
        let header = usize::from(h[12] >> 4) * 4;
        let data = start + header;
        if header < 20 || data > end {
            return Err(Skip::Malformed);
        }
        let bits = h[13];
        Ok(Packet {
            src: SocketAddr::new(src, u16::from_be_bytes([h[0], h[1]])),
            dst: SocketAddr::new(dst, u16::from_be_bytes([h[2], h[3]])),
            scope,
            seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ack: (bits & 0x10 != 0).then(|| u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
            flags: TcpFlags { fin: bits & 1 != 0, syn: bits & 2 != 0, rst: bits & 4 != 0 },
            len: u32::try_from(end - data).map_err(|_| Skip::Malformed)?,
            payload: data.min(self.bytes.len())..end.min(self.bytes.len()),
            whole: (!offloaded && end <= self.bytes.len()).then_some(start..end),
        })
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
pub(crate) mod tests;
