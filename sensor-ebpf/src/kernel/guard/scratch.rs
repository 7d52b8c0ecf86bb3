//! Memory of one run of `guard_ingress`: too much for the stack.

use jotwatch_common::{
    Record,
    guard::{
        known::Block,
        scan::Scanner,
        sip::Sip,
        tables::{HEAD_CAP, Held},
    },
};
use jotwatch_ebpf::track::Track;

/// Bytes that a head may take behind pieces of up to as many.
pub(super) const WINDOW: usize = 2 * HEAD_CAP as usize;

use super::known::Candidate;

/// Digests that were seen once.
pub(super) const DOORS: usize = 64;

/// See the [module](self). Its fields are read and written where they lie: to the verifier what
/// comes out of a map is any number, so it need not follow what led to it.
#[repr(C)]
pub(super) struct Scratch {
    /// The head that is asked for; `window` follows it directly, as the ring's record has it.
    pub(super) held: Held,
    /// The message's first bytes: pieces, then what this segment brings.
    pub(super) window: [u8; WINDOW],
    /// A word may be read that begins within the window.
    pub(super) slack: u64,
    pub(super) scanner: Scanner,
    pub(super) hash: Sip,
    /// What is to be kept of the message.
    pub(super) block: Block,
    pub(super) candidate: Candidate,
    pub(super) doors: [u64; DOORS],
    pub(super) now: u64,
    /// Changes of the tables, before anything was looked up.
    pub(super) changes: u64,
    /// Whether the allow key is wanted.
    pub(super) keyed: u32,
    /// Key of the connection's state while it has no socket.
    pub(super) handshake: u64,
    /// Index of the policy.
    pub(super) policy: u32,
    pub(super) mode: u32,
    pub(super) ask_always: u32,
    /// `rcv_nxt` of the connection's socket.
    pub(super) taken: u32,
    /// Payload bytes of the segment, and where they begin in the packet.
    pub(super) len: u32,
    pub(super) payload_at: u32,
    pub(super) seq: u32,
    /// The first payload byte of the message that is read.
    pub(super) offset: u32,
    /// Bytes in the window before it.
    pub(super) have: u32,
    /// Not 0: the first look was at too few bytes.
    pub(super) wide: u32,
    /// Bytes in the window.
    pub(super) filled: u32,
    /// The message's start is known.
    pub(super) known: u32,
    /// What the scanner came to.
    pub(super) result: u32,
    /// Not 0: a token of the message is denied.
    pub(super) denied: u32,
    pub(super) hashed: u32,
    /// Bytes of the window that are hashed, and asked for.
    pub(super) decided: u32,
    /// Not 0: the end of a chunk's data and the size of the next are read.
    pub(super) chunk: u32,
    /// Bytes of a body that are read.
    pub(super) body: u32,
    /// How a head that could be read in two ways is framed, by the verdict that was found last.
    pub(super) framing: u32,
    /// The same of the message that is read, once it is known.
    pub(super) framed: u32,
    /// What becomes of the segment.
    pub(super) outcome: u32,
    /// Behind the segment: [`Track::next`](jotwatch_ebpf::track::Track::next).
    pub(super) next: u32,
    pub(super) next_mode: u32,
    /// Not 0: the window holds so many bytes of an unfinished head.
    pub(super) piece: u32,
    /// Not 0: a response will wait for `pending`.
    pub(super) pends: u32,
    /// Not 0: a response waits already.
    pub(super) holding: u32,
    pub(super) pending: [u64; 2],
    /// The state of a connection that is seen for the first time.
    pub(super) fresh: Track,
    /// Family, addresses and ports of the segment.
    pub(super) record: Record,
}

/// Loads the eight bytes at `at`, which may be at any address.
#[inline(always)]
pub(super) unsafe fn word_at(scratch: *const Scratch, at: u32) -> u64 {
    // SAFETY: the mask keeps the address within window and slack.
    unsafe {
        let from = (&raw const (*scratch).window).cast::<u8>();
        let from = from.add(at as usize & (WINDOW - 1));
        let value: u64;
        core::arch::asm!(
            "{value} = *(u64 *)({from} + 0)",
            value = out(reg) value,
            from = in(reg) from,
            options(readonly, nostack),
        );
        value
    }
}

/// `n` in 1..=`MASK` + 1, in a way that the verifier sees and LLVM does not optimise away.
#[inline(always)]
pub(super) fn clamp<const MASK: u32>(n: u32) -> u32 {
    let mut n = u64::from(n);
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "{n} += -1",
            "{n} &= {mask}",
            "{n} += 1",
            n = inout(reg) n,
            mask = in(reg) u64::from(MASK),
            options(pure, nomem, nostack),
        );
    }
    n as u32
}

/// `n` in 0..=`MASK`, in the same way.
#[inline(always)]
pub(super) fn mask<const MASK: u32>(n: u32) -> u32 {
    let mut n = u64::from(n);
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "{n} &= {mask}",
            n = inout(reg) n,
            mask = in(reg) u64::from(MASK),
            options(pure, nomem, nostack),
        );
    }
    n as u32
}
