//! Requests whose lines were read before: see [`jotwatch_common::guard::known`].

use aya_ebpf::{
    EbpfContext as _, bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes,
    programs::SkBuffContext,
};
use jotwatch_common::guard::{
    known::{
        BLOCK_CAP, BLOCK_MIN, BLOCK_TOKENS, Block, LINE_CAP, STRIDE, checked, digest, plain_line,
        still_holds,
    },
    scan::{CHUNKED, CREDENTIALS, HTTP1, ODD, QUERY_TOKEN},
    tables::{AllowedKey, Counter, MODE_KILL},
};
use jotwatch_ebpf::flow::may_begin_request;

use super::{
    maps::{ALLOWED, BLOCKS, DENIED_TOKENS, GUARD_SETTINGS, count_here},
    scratch::{DOORS, Scratch, WINDOW, clamp, mask, word_at},
};

const CRLF_CRLF: u32 = u32::from_le_bytes(*b"\r\n\r\n");

/// What was found of a message whose lines are not known, for [`keep`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    /// Where they would be kept; 0 is nowhere.
    digest: u64,
    /// The message's first payload byte in the segment.
    offset: u32,
    /// Bytes of the first line, and of those behind it.
    line: u32,
    len: u32,
    /// Tokens that were found.
    pub(super) count: u32,
    tokens: [[u64; 2]; BLOCK_TOKENS],
}

impl Candidate {
    /// Nothing was found of the message at `offset` yet.
    #[inline(always)]
    pub(super) fn begin(&mut self, offset: u32) {
        self.count = 0;
        if self.offset != offset {
            self.digest = 0;
        }
    }

    /// A token was found.
    #[inline(always)]
    pub(super) fn note(&mut self, key: [u64; 2]) {
        if self.count == 0 {
            self.tokens[0] = key;
        } else if self.count == 1 {
            self.tokens[1] = key;
        }
        self.count += 1;
    }
}

/// Loads a request at `offset` that ends the segment, has no body and begins with a plain line, and
/// notes where that ends. `false`: it is to be read.
#[inline(always)]
unsafe fn load(s: &mut Scratch, skb: *mut __sk_buff) -> bool {
    s.candidate.digest = 0;
    let len = s.len.wrapping_sub(s.offset);
    if s.known == 0 || s.chunk != 0 || s.have != 0 || len < BLOCK_MIN || len > BLOCK_CAP {
        return false;
    }
    // SAFETY: the packet, and the window's start.
    unsafe {
        let to = (&raw mut s.window).cast();
        let size = clamp::<{ BLOCK_CAP - 1 }>(len);
        let skb = SkBuffContext::new(skb);
        if bpf_skb_load_bytes(skb.as_ptr(), s.payload_at + s.offset, to, size) != 0 {
            return false;
        }
        let window: *const Scratch = s;
        if word_in(window, len - 4) as u32 != CRLF_CRLF || !may_begin_request(s.window[0]) {
            return false;
        }
        let Some(line) = plain_line(&|at| word_in(window, at), len) else { return false };
        s.candidate.offset = s.offset;
        s.candidate.line = line;
        s.candidate.len = len.wrapping_sub(line);
        s.candidate.len >= BLOCK_MIN
    }
}

/// Lets a request at `offset` pass that ends the segment, has no body, and whose lines are known
/// and allowed. `false`: it is to be read. Not inlined: the caller's stack has no room.
#[inline(never)]
pub(super) unsafe fn passes(s: *mut Scratch, skb: *mut __sk_buff) -> bool {
    // SAFETY: live map values.
    unsafe {
        let s = &mut *s;
        if !load(s, skb) {
            return false;
        }
        // From memory: to the verifier they are any numbers, whatever led here.
        let line = (&raw const s.candidate.line).read_volatile();
        let rest = (&raw const s.candidate.len).read_volatile();
        let scratch: *const Scratch = s;
        let load = |at| word_in(scratch, at);
        let Some(settings) = GUARD_SETTINGS.get_ptr(0) else { return false };
        let [cgroup, port] = service(s);
        let digest = digest(&load, line, rest, (*settings).terms.secret.0[0] ^ cgroup ^ port);
        let Some(block) = BLOCKS.get_ptr_mut(digest) else {
            // Not at its first sight: most tokens of an attack come once.
            let door = (&raw mut s.doors).cast::<u64>().add(digest as usize & (DOORS - 1));
            if *door == digest {
                s.candidate.digest = digest;
            } else {
                *door = digest;
            }
            return false;
        };
        let block = &mut *block;
        if block.len != rest
            || block.service[0] != cgroup
            || block.service[1] != port
            || !are_same_bytes(scratch, line, block, rest)
        {
            s.candidate.digest = digest;
            return false;
        }
        let tokens = block.count;
        let asks = s.mode != u32::from(MODE_KILL);
        let anonymous = block.flags & CREDENTIALS == 0;
        if asks && anonymous && s.ask_always != 0 {
            return false;
        }
        if !still_holds(block.checked, s.changes, s.now) {
            let mut until = u64::MAX;
            if (tokens > 0 && is_denied(block.tokens[0], s.now))
                || (tokens > 1 && is_denied(block.tokens[1], s.now))
            {
                return false;
            }
            if asks && !anonymous {
                let key = AllowedKey {
                    key: block.allow,
                    cgroup: s.held.cgroup,
                    port: u32::from(s.held.local_port),
                    reserved: 0,
                };
                let Some(allowed) = ALLOWED.get_ptr(key) else { return false };
                until = *allowed;
                if block.keyed == 0 || s.now >= until {
                    return false;
                }
            }
            // A word is written whole.
            (&raw mut block.checked).write_volatile(checked(s.changes, s.now, until));
        }
        if asks {
            count_here(if anonymous { Counter::Anonymous } else { Counter::Allowed });
        }
        count_here(Counter::Heads);
        count_here(Counter::Known);
        if tokens > 0 {
            count_here(Counter::Tokens);
        }
        if tokens > 1 {
            count_here(Counter::Tokens);
        }
        true
    }
}

/// As [`Block::service`] has it.
#[inline(always)]
fn service(s: &Scratch) -> [u64; 2] {
    [s.held.cgroup, u64::from(s.mode) << 32 | u64::from(s.held.local_port)]
}

/// The eight bytes at `at` of the window.
#[inline(always)]
unsafe fn word_in(scratch: *const Scratch, at: u32) -> u64 {
    // LLVM may know that an address is in range where the verifier does not.
    unsafe { word_at(scratch, mask::<{ WINDOW as u32 - 1 }>(at)) }
}

/// Keeps what the lines of the message at `offset` came to, which passes and whose head is read.
#[inline(always)]
pub(super) unsafe fn keep(s: &mut Scratch, skb: *mut __sk_buff, flags: u32) {
    // Field by field: the stack has no room for a copy.
    let digest = s.candidate.digest;
    if digest == 0 || s.candidate.offset != s.offset || s.have != 0 {
        return;
    }
    s.candidate.digest = 0;
    let (line, len) = (s.candidate.line, s.candidate.len);
    if flags & (ODD | CHUNKED | QUERY_TOKEN) != 0
        || flags & HTTP1 == 0
        || s.scanner.body() != 0
        || s.scanner.end() != line.wrapping_add(len)
        || s.candidate.count > BLOCK_TOKENS as u32
    {
        return;
    }
    // SAFETY: live map values and the packet; the size is within the block's bytes.
    unsafe {
        let service = service(s);
        let block = &mut s.block;
        block.service = service;
        block.checked = 0;
        block.allow = s.scanner.allow_key();
        block.tokens = s.candidate.tokens;
        block.count = s.candidate.count;
        block.flags = flags;
        block.len = len;
        block.keyed = s.keyed;
        let to = (&raw mut block.bytes).cast();
        let size = clamp::<{ BLOCK_CAP - 1 }>(len);
        let skb = SkBuffContext::new(skb);
        let from = s.payload_at.wrapping_add(s.candidate.offset).wrapping_add(line);
        if bpf_skb_load_bytes(skb.as_ptr(), from, to, size) == 0 {
            let _: Result<(), i32> = BLOCKS.insert(digest, &s.block, 0);
        }
    }
}

#[inline(always)]
fn is_denied(key: [u64; 2], now: u64) -> bool {
    // SAFETY: a copy of a word that is written whole.
    DENIED_TOKENS.get_ptr(key).is_some_and(|entry| now < unsafe { (*entry).until })
}

/// Whether the `len` bytes behind the first line are the block's.
#[inline(always)]
unsafe fn are_same_bytes(s: *const Scratch, line: u32, block: &Block, len: u32) -> bool {
    // SAFETY: the masks keep every stride within the window, and within the block and its slack.
    unsafe {
        let ours = (&raw const (*s).window).cast::<u8>();
        let ours = ours.add(mask::<{ LINE_CAP * 2 - 1 }>(line) as usize);
        let theirs = (&raw const block.bytes).cast::<u8>();
        let mut at = 0;
        while at < BLOCK_CAP {
            if at + STRIDE > len {
                break;
            }
            if !is_same::<STRIDE>(ours.add(at as usize), theirs.add(at as usize)) {
                return false;
            }
            at += STRIDE;
        }
        // The last stride overlaps: a block is longer than one.
        let last = mask::<{ BLOCK_CAP - 1 }>(len.wrapping_sub(STRIDE)) as usize;
        is_same::<STRIDE>(ours.add(last), theirs.add(last))
    }
}

/// Whether `N` bytes, a multiple of 16, are the same. In assembly: at any address, and one branch.
#[inline(always)]
unsafe fn is_same<const N: u32>(a: *const u8, b: *const u8) -> bool {
    let mut differ = 0u64;
    let mut i = 0;
    while i < N as usize {
        // SAFETY: the caller's.
        unsafe {
            core::arch::asm!(
                "{x} = *(u64 *)({a} + 0)",
                "{y} = *(u64 *)({b} + 0)",
                "{x} ^= {y}",
                "{differ} |= {x}",
                "{x} = *(u64 *)({a} + 8)",
                "{y} = *(u64 *)({b} + 8)",
                "{x} ^= {y}",
                "{differ} |= {x}",
                x = out(reg) _,
                y = out(reg) _,
                a = in(reg) a.add(i),
                b = in(reg) b.add(i),
                differ = inout(reg) differ,
                options(readonly, nostack),
            );
        }
        i += 16;
    }
    differ == 0
}
