//! IP and TCP headers.

/// Bytes of the fixed IPv4 header.
pub const IPV4_LEN: u32 = 20;
/// Bytes of the fixed IPv6 header.
pub const IPV6_LEN: u32 = 40;
/// Bytes of the fixed TCP header.
pub const TCP_LEN: u32 = 20;
/// IPv6 extension headers that are walked before giving up.
pub const MAX_EXTENSIONS: u32 = 2;

/// Where the TCP header starts, or what is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// TCP at this offset.
    Tcp {
        /// Offset of the TCP header.
        at: u32,
    },
    /// An IPv6 extension header at this offset; [`extension`] reads it.
    Extension {
        /// Its protocol number.
        kind: u8,
        /// Offset of the extension header.
        at: u32,
    },
    /// Another protocol.
    Other,
    /// Not a header that can be read.
    Malformed,
}

/// Reads an IPv4 header.
#[inline(always)]
#[must_use]
pub fn ipv4(h: &[u8; IPV4_LEN as usize]) -> Network {
    let len = u32::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || len < IPV4_LEN {
        return Network::Malformed;
    }
    // A later fragment has no TCP header; the hooks see packets after reassembly.
    if u16::from_be_bytes([h[6], h[7]]) & 0x1fff != 0 {
        return Network::Malformed;
    }
    if h[9] == 6 { Network::Tcp { at: len } } else { Network::Other }
}

/// Reads an IPv6 header, up to the addresses.
#[inline(always)]
#[must_use]
pub fn ipv6(h: &[u8; 8]) -> Network {
    if h[0] >> 4 != 6 {
        return Network::Malformed;
    }
    next(h[6], IPV6_LEN)
}

/// Reads the first 8 bytes of the IPv6 extension header `kind` at `at`.
#[inline(always)]
#[must_use]
pub fn extension(kind: u8, at: u32, h: &[u8; 8]) -> Network {
    match kind {
        // A fragment header in front of TCP: only the first fragment has it.
        44 if u16::from_be_bytes([h[2], h[3]]) & 0xfff8 == 0 => next(h[0], at + 8),
        44 => Network::Malformed,
        51 => next(h[0], at + (u32::from(h[1]) + 2) * 4),
        _ => next(h[0], at + (u32::from(h[1]) + 1) * 8),
    }
}

#[inline(always)]
fn next(kind: u8, at: u32) -> Network {
    match kind {
        6 => Network::Tcp { at },
        0 | 43 | 44 | 51 | 60 => Network::Extension { kind, at },
        _ => Network::Other,
    }
}

/// What is needed of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Header bytes with options, 20..=60.
    pub len: u32,
    /// Flags.
    pub flags: u8,
}

/// Reads a TCP header; `None` if its length is below the minimum.
#[inline(always)]
#[must_use]
pub fn tcp(h: &[u8; TCP_LEN as usize]) -> Option<Tcp> {
    let len = u32::from(h[12] >> 4) * 4;
    if len < TCP_LEN {
        return None;
    }
    Some(Tcp {
        source: u16::from_be_bytes([h[0], h[1]]),
        destination: u16::from_be_bytes([h[2], h[3]]),
        seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        len,
        flags: h[13],
    })
}

#[cfg(test)]
mod tests {
    use super::{Network, extension, ipv4, ipv6, tcp};

    #[test]
    fn reads_ipv4_with_and_without_options() {
        let mut h = [0; 20];
        h[0] = 0x45;
        h[9] = 6;
        assert_eq!(ipv4(&h), Network::Tcp { at: 20 });
        h[0] = 0x4f;
        assert_eq!(ipv4(&h), Network::Tcp { at: 60 });
        h[0] = 0x44;
        assert_eq!(ipv4(&h), Network::Malformed);
        h[0] = 0x45;
        h[7] = 1;
        assert_eq!(ipv4(&h), Network::Malformed);
        h[7] = 0;
        h[9] = 17;
        assert_eq!(ipv4(&h), Network::Other);
    }

    #[test]
    fn walks_ipv6_extensions() {
        let mut h = [0; 8];
        h[0] = 0x60;
        h[6] = 6;
        assert_eq!(ipv6(&h), Network::Tcp { at: 40 });
        h[6] = 60;
        assert_eq!(ipv6(&h), Network::Extension { kind: 60, at: 40 });
        assert_eq!(extension(60, 40, &[6, 1, 0, 0, 0, 0, 0, 0]), Network::Tcp { at: 56 });
        assert_eq!(extension(44, 40, &[6, 0, 0, 1, 0, 0, 0, 0]), Network::Tcp { at: 48 });
        assert_eq!(extension(44, 40, &[6, 0, 0, 8, 0, 0, 0, 0]), Network::Malformed);
        assert_eq!(extension(51, 40, &[6, 4, 0, 0, 0, 0, 0, 0]), Network::Tcp { at: 64 });
        assert_eq!(extension(0, 40, &[17, 0, 0, 0, 0, 0, 0, 0]), Network::Other);
    }

    #[test]
    fn reads_tcp() {
        let mut h = [0; 20];
        h[..14].copy_from_slice(&[0, 80, 0x1f, 0x90, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x12]);
        let t = tcp(&h).unwrap();
        assert_eq!(
            (t.source, t.destination, t.seq, t.ack, t.len, t.flags),
            (80, 8080, 1, 2, 32, 0x12)
        );
        h[12] = 0x40;
        assert_eq!(tcp(&h), None);
    }
}
