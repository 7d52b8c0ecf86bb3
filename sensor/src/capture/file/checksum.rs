//! TCP checksums, and when a wrong one counts.

use std::net::IpAddr;

use super::packet::Packet;

/// Right checksums that a client has to have shown before a wrong one of its counts. A handshake
/// has two: SYN and ACK.
pub const MIN_RIGHT: u8 = 2;

/// Where the checksum stands in a TCP header.
const FIELD: usize = 16;

/// What the checksum of a TCP segment says (RFC 9293, section 3.1).
///
/// A receiver drops a segment with a wrong checksum. A capture may show a wrong one of a segment
/// that was received all the same: a host that leaves checksums to its network card, or puts
/// received segments together, records [`Unfinished`](Self::Unfinished) ones; captures that were
/// anonymised or made by hand hold anything. So a segment to the server is dropped for a wrong
/// checksum only if
///
/// 1. its client has shown at least [`MIN_RIGHT`] right ones between these two addresses before, and
/// 2. the server has never acknowledged bytes of these two addresses that only segments with a
///    wrong checksum carried.
///
/// Segments that were not captured whole, or whose length was left to segmentation offload, have no
/// checksum to judge. Of other segments the checksum is looked at where it matters: those with
/// payload, SYN, FIN or RST, and any until there are enough right ones.
///
/// That leaves an attacker the two forms that offload gives, and a capture that shows no right
/// checksums: there only the server's acknowledgements and the comparison of overlapping bytes
/// tell what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Right,
    /// It covers the pseudo-header alone, with or without the length, or was left 0: the rest is
    /// or was up to the network card.
    Unfinished,
    /// It is none of these.
    Wrong,
    /// It can't be computed.
    Unknown,
}

/// Judges the checksum of `tcp`, a whole segment with its header.
pub(super) fn judge(src: IpAddr, dst: IpAddr, tcp: &[u8]) -> Checksum {
    let Some(field) = tcp.get(FIELD..).and_then(<[u8]>::first_chunk) else {
        return Checksum::Unknown;
    };
    let addresses = address(src) + address(dst);
    let without_length = addresses + word([0, 0, 0, 6]);
    let Ok(len) = u32::try_from(tcp.len()) else { return Checksum::Unknown };
    let pseudo = without_length + word(len.to_be_bytes());
    let field = u16::from_ne_bytes(*field);
    if fold(pseudo + sum(tcp)) == u16::MAX {
        Checksum::Right
    } else if field == 0 || field == fold(pseudo) || field == fold(without_length) {
        Checksum::Unfinished
    } else {
        Checksum::Wrong
    }
}

fn address(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

fn word(bytes: [u8; 4]) -> u64 {
    u32::from_ne_bytes(bytes).into()
}

/// The sum of all words, the last one filled up with zeros; below 2^34. In the byte order of the host,
/// which the internet checksum does not depend on (RFC 1071, section 2).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    // A frame is far too small to overflow 128 bits.
    let sum = words.iter().map(|&bytes| u128::from(u64::from_ne_bytes(bytes))).sum::<u128>()
        + u128::from(u64::from_ne_bytes(last));
    // A carry of 64 bits counts one, as one of 16 does.
    let (high, low) = ((sum >> 64) as u64, sum as u64);
    [high, low].iter().map(|half| (half >> 32) + (half & 0xffff_ffff)).sum()
}

/// The ones' complement sum of the 16-bit words in a sum of 32-bit words.
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// What the checksums of one client are worth: the memory behind the rule of [`Checksum`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// Right ones seen, up to [`MIN_RIGHT`].
    right: u8,
    /// The server took a segment with a wrong one.
    refuted: bool,
    /// Behind the last byte of any segment whose checksum is not wrong.
    sound_end: Option<u32>,
    /// Behind the first segment with a wrong one that goes beyond `sound_end`.
    wrong_end: Option<u32>,
}

impl Evidence {
    /// Takes a packet of the client; false where the server has dropped it.
    pub(super) fn admits(&mut self, packet: &Packet, frame: &[u8]) -> bool {
        let flags = packet.flags;
        let acts = packet.len > 0 || flags.syn || flags.fin || flags.rst;
        if self.refuted || (!acts && self.right >= MIN_RIGHT) {
            return true;
        }
        let end = packet
            .seq
            .wrapping_add(packet.len)
            .wrapping_add(u32::from(flags.syn) + u32::from(flags.fin));
        let checksum = packet.checksum(frame);
        if checksum == Checksum::Wrong {
            let nearer = self.wrong_end.is_none_or(|wrong| is_behind(wrong, end));
            if nearer && self.sound_end.is_none_or(|sound| is_behind(end, sound)) {
                self.wrong_end = Some(end);
            }
            return self.right < MIN_RIGHT;
        }
        if checksum == Checksum::Right {
            self.right = (self.right + 1).min(MIN_RIGHT);
        }
        if flags.syn {
            (self.sound_end, self.wrong_end) = (None, None);
        }
        if self.sound_end.is_none_or(|sound| is_behind(end, sound)) {
            self.sound_end = Some(end);
            self.wrong_end = self.wrong_end.filter(|&wrong| is_behind(wrong, end));
        }
        true
    }

    /// Takes a packet of the server.
    pub(super) fn learn_ack(&mut self, packet: &Packet) {
        if let (Some(wrong), Some(ack)) = (self.wrong_end, packet.ack)
            && !is_behind(wrong, ack)
        {
            self.refuted = true;
        }
    }
}

/// Whether sequence number `a` is behind `b`, not equal to it.
fn is_behind(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
