//! Reading the packet and its socket.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_skb_load_bytes,
    programs::SkBuffContext,
};
use jotwatch_common::{Record, TO_SERVER};
use jotwatch_ebpf::packet::{self, IPV4_LEN, IPV6_LEN, MAX_EXTENSIONS, Network, TCP_LEN, Tcp};

#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// Copies `N` bytes of the packet. Not cleared before: LLVM would do that byte by byte.
#[inline(always)]
pub(super) unsafe fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<Aligned<N>>::uninit();
    // SAFETY: the helper writes N bytes or fails.
    unsafe {
        let to = bytes.as_mut_ptr().cast();
        let r = bpf_skb_load_bytes(SkBuffContext::new(skb).as_ptr(), at, to, N as u32);
        if r == 0 { Some(bytes.assume_init().0) } else { None }
    }
}

/// What a segment's headers say.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// 4 or 6.
    pub(super) family: u8,
    pub(super) tcp: Tcp,
    /// Offset of the payload.
    pub(super) payload_at: u32,
    /// Payload bytes.
    pub(super) len: u32,
}

/// Reads the headers. The error is whether the packet is malformed; otherwise it is just not TCP.
#[inline(always)]
pub(super) unsafe fn headers(skb: *mut __sk_buff) -> Result<Packet, bool> {
    unsafe {
        let (family, at, tcp) = match in_place(skb) {
            Some((family, at, tcp)) => (family, at, tcp),
            None => {
                let (family, at) = network(skb)?;
                let tcp = load(skb, at).and_then(|h| packet::tcp(&h)).ok_or(true)?;
                (family, at, tcp)
            }
        };
        let (payload_at, total) = (at + tcp.len, (*skb).len);
        if tcp.len < TCP_LEN || payload_at > total {
            return Err(true);
        }
        Ok(Packet { family, tcp, payload_at, len: total - payload_at })
    }
}

/// The headers of nearly all packets, read where they lie: no options between IP and TCP, and all of
/// them in the packet's first memory. Gives family, the TCP header's offset and the header.
#[inline(always)]
unsafe fn in_place(skb: *mut __sk_buff) -> Option<(u8, u32, Tcp)> {
    const V4: usize = IPV4_LEN as usize;
    const V6: usize = IPV6_LEN as usize;
    unsafe {
        let at = (*skb).data as usize;
        let end = (*skb).data_end as usize;
        if at + V4 + TCP_LEN as usize > end {
            return None;
        }
        let h = at as *const u8;
        let first = *h;
        // A plain header, not a later fragment.
        if first == 0x45 {
            let whole = *h.add(6) & 0x1f == 0 && *h.add(7) == 0;
            return (whole && *h.add(9) == 6).then(|| (4, IPV4_LEN, tcp_at::<V4>(h)));
        }
        if first >> 4 != 6 || at + V6 + TCP_LEN as usize > end || *h.add(6) != 6 {
            return None;
        }
        Some((6, IPV6_LEN, tcp_at::<V6>(h)))
    }
}

/// The TCP header `AT` bytes behind `h`, which are checked to be there.
#[inline(always)]
unsafe fn tcp_at<const AT: usize>(h: *const u8) -> Tcp {
    // SAFETY: the caller's.
    unsafe {
        Tcp {
            source: half_word(h.add(AT)),
            destination: half_word(h.add(AT + 2)),
            seq: word(h.add(AT + 4)),
            ack: word(h.add(AT + 8)),
            len: u32::from(*h.add(AT + 12) >> 4) * 4,
            flags: *h.add(AT + 13),
        }
    }
}

/// A word in network order, at any address. In assembly, as LLVM would read byte by byte.
#[inline(always)]
unsafe fn word(at: *const u8) -> u32 {
    let value: u64;
    // SAFETY: the caller's.
    unsafe {
        core::arch::asm!(
            "{value} = *(u32 *)({at} + 0)",
            value = out(reg) value,
            at = in(reg) at,
            options(readonly, nostack),
        );
    }
    u32::from_be(value as u32)
}

/// As [`word`].
#[inline(always)]
unsafe fn half_word(at: *const u8) -> u16 {
    let value: u64;
    // SAFETY: the caller's.
    unsafe {
        core::arch::asm!(
            "{value} = *(u16 *)({at} + 0)",
            value = out(reg) value,
            at = in(reg) at,
            options(readonly, nostack),
        );
    }
    u16::from_be(value as u16)
}

/// Walks the IP headers: gives family and the TCP header's offset.
#[inline(always)]
unsafe fn network(skb: *mut __sk_buff) -> Result<(u8, u32), bool> {
    let h: [u8; 20] = unsafe { load(skb, 0) }.ok_or(true)?;
    let (family, mut found) = if h[0] >> 4 == 4 {
        (4, packet::ipv4(&h))
    } else {
        (6, packet::ipv6(&[h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]]))
    };
    let mut i = 0;
    while i < MAX_EXTENSIONS {
        let Network::Extension { kind, at } = found else { break };
        let h: [u8; 8] = unsafe { load(skb, at) }.ok_or(true)?;
        found = packet::extension(kind, at, &h);
        i += 1;
    }
    match found {
        Network::Tcp { at } => Ok((family, at)),
        Network::Other => Err(false),
        Network::Extension { .. } | Network::Malformed => Err(true),
    }
}

/// Writes an address as two whole words: to the verifier IPv4 and IPv6 then look alike.
#[inline(always)]
fn put(to: &mut [u8; 16], low: [u8; 8], high: [u8; 8]) {
    let to: *mut [u8; 16] = to;
    // SAFETY: the address is a field at a multiple of 8 of a record that is aligned to 8.
    unsafe {
        let to = to.cast::<u64>();
        to.write_volatile(u64::from_ne_bytes(low));
        to.add(1).write_volatile(u64::from_ne_bytes(high));
    }
}

/// The addresses and ports as the packet has them.
#[inline(always)]
pub(super) unsafe fn packet_addresses<const DIRECTION: u8>(
    skb: *mut __sk_buff,
    packet: &Packet,
    record: &mut Record,
) -> Option<()> {
    let tcp = &packet.tcp;
    let (source, destination) = if DIRECTION == TO_SERVER {
        (record.remote_port, record.local_port) = (tcp.source, tcp.destination);
        (&mut record.remote, &mut record.local)
    } else {
        (record.local_port, record.remote_port) = (tcp.source, tcp.destination);
        (&mut record.local, &mut record.remote)
    };
    unsafe {
        if packet.family == 4 {
            let [a, b, c, d, e, f, g, h] = load::<8>(skb, 12)?;
            put(source, [a, b, c, d, 0, 0, 0, 0], [0; 8]);
            put(destination, [e, f, g, h, 0, 0, 0, 0], [0; 8]);
        } else {
            put(source, load(skb, 8)?, load(skb, 16)?);
            put(destination, load(skb, 24)?, load(skb, 32)?);
        }
    }
    Some(())
}

/// Reads the 32-bit word at `OFFSET` of a socket. In assembly, as the verifier wants a constant
/// offset in the load itself and LLVM likes to compute the address beforehand.
#[inline(always)]
unsafe fn socket_word<const OFFSET: usize>(sk: *const bpf_sock) -> u32 {
    let value: u64;
    // SAFETY: the caller's pointer is a socket; the verifier checks offset and size.
    unsafe {
        core::arch::asm!(
            "{value} = *(u32 *)({sk} + {offset})",
            value = out(reg) value,
            sk = in(reg) sk,
            offset = const OFFSET,
            options(readonly, nostack),
        );
    }
    value as u32
}

/// The addresses and ports as the socket has them: unlike the packet's they are the same in both
/// directions where the host translates addresses.
#[inline(always)]
pub(super) unsafe fn socket_addresses(sk: *const bpf_sock, record: &mut Record) {
    const SRC4: usize = offset_of!(bpf_sock, src_ip4);
    const DST4: usize = offset_of!(bpf_sock, dst_ip4);
    const SRC6: usize = offset_of!(bpf_sock, src_ip6);
    const DST6: usize = offset_of!(bpf_sock, dst_ip6);
    let pair = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_ne_bytes();
    unsafe {
        record.local_port = socket_word::<{ offset_of!(bpf_sock, src_port) }>(sk) as u16;
        // Network order in the low half, also where the kernel has it as a 32-bit field.
        let remote = socket_word::<{ offset_of!(bpf_sock, dst_port) }>(sk) as u16;
        record.remote_port = u16::from_be(remote);
        if record.family == 4 {
            put(&mut record.local, pair(socket_word::<SRC4>(sk), 0), [0; 8]);
            put(&mut record.remote, pair(socket_word::<DST4>(sk), 0), [0; 8]);
        } else {
            put(
                &mut record.local,
                pair(socket_word::<SRC6>(sk), socket_word::<{ SRC6 + 4 }>(sk)),
                pair(socket_word::<{ SRC6 + 8 }>(sk), socket_word::<{ SRC6 + 12 }>(sk)),
            );
            put(
                &mut record.remote,
                pair(socket_word::<DST6>(sk), socket_word::<{ DST6 + 4 }>(sk)),
                pair(socket_word::<{ DST6 + 8 }>(sk), socket_word::<{ DST6 + 12 }>(sk)),
            );
        }
    }
}
