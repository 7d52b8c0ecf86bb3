//! Reading the packet and its socket.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_skb_load_bytes,
    programs::SkBuffContext,
};
use jotwatch_common::{Record, TO_SERVER};
use jotwatch_ebpf::packet::{self, MAX_EXTENSIONS, Network};

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

/// Reads the IP headers: gives the TCP header's offset and notes family and addresses in
/// `record`. The error is whether the packet is malformed; otherwise it is just not TCP.
#[inline(always)]
pub(super) unsafe fn network<const DIRECTION: u8>(
    skb: *mut __sk_buff,
    record: &mut Record,
) -> Result<u32, bool> {
    let h: [u8; 20] = unsafe { load(skb, 0) }.ok_or(true)?;
    let (source, destination) = if DIRECTION == TO_SERVER {
        (&mut record.remote, &mut record.local)
    } else {
        (&mut record.local, &mut record.remote)
    };
    let mut found = if h[0] >> 4 == 4 {
        record.family = 4;
        put(source, [h[12], h[13], h[14], h[15], 0, 0, 0, 0], [0; 8]);
        put(destination, [h[16], h[17], h[18], h[19], 0, 0, 0, 0], [0; 8]);
        packet::ipv4(&h)
    } else {
        record.family = 6;
        let [a, b]: [[u8; 8]; 2] =
            unsafe { [load(skb, 8).ok_or(true)?, load(skb, 16).ok_or(true)?] };
        put(source, a, b);
        let [a, b]: [[u8; 8]; 2] =
            unsafe { [load(skb, 24).ok_or(true)?, load(skb, 32).ok_or(true)?] };
        put(destination, a, b);
        packet::ipv6(&[h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]])
    };
    let mut i = 0;
    while i < MAX_EXTENSIONS {
        let Network::Extension { kind, at } = found else { break };
        let h: [u8; 8] = unsafe { load(skb, at) }.ok_or(true)?;
        found = packet::extension(kind, at, &h);
        i += 1;
    }
    match found {
        Network::Tcp { at } => Ok(at),
        Network::Other => Err(false),
        Network::Extension { .. } | Network::Malformed => Err(true),
    }
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
