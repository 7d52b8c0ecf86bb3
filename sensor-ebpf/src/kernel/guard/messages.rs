//! The messages of a segment, one after another, and what is decided on each.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::generated::{bpf_loop, bpf_ringbuf_output, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use jotwatch_common::guard::{
    scan::{CHUNKED, CREDENTIALS, CUT, HTTP1, MORE, ODD, QUERY_TOKEN, TOKEN, WHOLE},
    sip::Sip,
    tables::{
        AllowedKey, Counter, HEAD_CAP, HELD_CUT, HELD_RESPONSE, Held, MODE_GATE, MODE_KILL,
        VERDICT_PASS,
    },
};
use jotwatch_ebpf::{
    flow::may_begin_request,
    track::{KNOWN, UNKNOWN},
};

use super::{
    known,
    maps::{ALLOWED, DENIED_TOKENS, GUARD_SETTINGS, HELD, VERDICTS, count},
    scratch::{Scratch, WINDOW, clamp, mask, word_at},
};

/// [`Scratch::outcome`]: let it through.
pub(super) const PASS: u32 = 0;
/// [`Scratch::outcome`]: a token in it is denied.
pub(super) const DENY: u32 = 1;
/// [`Scratch::outcome`]: a head in it was judged, and not to pass.
pub(super) const REJECT: u32 = 4;
/// [`Scratch::outcome`]: a head in it waits for its verdict.
pub(super) const WAIT: u32 = 2;
/// [`Scratch::outcome`]: a head in it is too long to be read.
pub(super) const LONG: u32 = 3;

/// Bytes of a segment that are looked at first: most heads are no longer, and a segment full of
/// small requests would otherwise be copied over and over.
const FIRST_LOOK: u32 = 2048;
/// Messages in one segment: 64 KiB of the shortest requests.
const MAX_MESSAGES: u32 = 4096;
/// Steps of the scanner on one window: it sees no byte more than four times.
const MAX_STEPS: u32 = 4 * HEAD_CAP;
/// Steps that are made in a row.
const STEPS: u32 = 4;
/// Words that are hashed in a row.
const WORDS: u32 = 8;

/// What the callbacks get.
#[repr(C)]
pub(super) struct Walk {
    pub(super) scratch: *mut Scratch,
    pub(super) skb: *mut __sk_buff,
}

/// Reads all messages from `offset` on; the outcome is in the scratch.
#[inline(always)]
pub(super) unsafe fn read_all(walk: &mut Walk) {
    let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = message;
    // SAFETY: the callback gets what it expects.
    unsafe {
        bpf_loop(MAX_MESSAGES, callback as *mut c_void, (&raw mut *walk).cast(), 0);
    }
}

/// One message. 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn message(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let s = &mut *(*walk).scratch;
        if s.offset >= s.len {
            return 1;
        }
        let left = s.len - s.offset;
        let room = HEAD_CAP - mask::<{ HEAD_CAP - 1 }>(s.have);
        let mut take = if left < room { left } else { room };
        let look = take;
        if s.wide == 0 && take > FIRST_LOOK {
            take = FIRST_LOOK;
        }
        let have = mask::<{ HEAD_CAP - 1 }>(s.have);
        let take = clamp::<{ HEAD_CAP - 1 }>(take);
        let to = (&raw mut s.window).cast::<u8>().add(have as usize);
        let skb = SkBuffContext::new((*walk).skb);
        if bpf_skb_load_bytes(skb.as_ptr(), s.payload_at + s.offset, to.cast(), take) != 0 {
            s.outcome = LONG;
            return 1;
        }
        s.filled = have + take;
        s.denied = 0;
        s.result = MORE;
        s.candidate.begin(s.offset);
        let Some(settings) = GUARD_SETTINGS.get_ptr(0) else { return 1 };
        s.scanner.start(&(*settings).terms, s.filled, s.keyed != 0);
        let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = step;
        bpf_loop(MAX_STEPS / STEPS, callback as *mut c_void, walk.cast(), 0);
        let s = &mut *(*walk).scratch;
        if s.result == CUT && s.wide == 0 && look > FIRST_LOOK && s.denied == 0 {
            s.wide = 1;
            return 0;
        }
        s.wide = 0;
        if s.denied != 0 {
            s.outcome = DENY;
            return 1;
        }
        let known = s.known != 0;
        if known && !may_begin_request(s.window[0]) {
            // TLS, or frames behind an upgrade: no service reads a request here.
            s.next_mode = UNKNOWN;
            return 1;
        }
        if s.result != WHOLE {
            if !known {
                s.next_mode = UNKNOWN;
            } else if s.result != CUT || s.filled >= HEAD_CAP {
                s.outcome = LONG;
            } else {
                s.piece = s.filled;
                s.next = s.seq.wrapping_add(s.offset).wrapping_sub(s.have);
                s.next_mode = KNOWN;
            }
            return 1;
        }
        let flags = s.scanner.flags();
        if !known && flags & HTTP1 == 0 {
            s.next_mode = UNKNOWN;
            return 1;
        }
        s.known = 1;
        count(Counter::Heads);
        if s.mode != MODE_KILL as u32 {
            decide(walk, flags);
            let s = &mut *(*walk).scratch;
            if s.outcome != PASS {
                return 1;
            }
        }
        let s = &mut *(*walk).scratch;
        known::keep(s, (*walk).skb, flags);
        let begin = s.seq.wrapping_add(s.offset).wrapping_sub(s.have);
        if flags & (ODD | CHUNKED) != 0 || flags & HTTP1 == 0 {
            s.next_mode = UNKNOWN;
            return 1;
        }
        let size = s.scanner.end().wrapping_add(s.scanner.body());
        s.next = begin.wrapping_add(size);
        s.next_mode = KNOWN;
        s.offset = s.offset.wrapping_sub(s.have).wrapping_add(size);
        s.have = 0;
        0
    }
}

/// A few steps of the scanner. 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let scratch = (*walk).scratch;
        let mut i = 0;
        while i < STEPS {
            let result = (*scratch).scanner.step(&|at| word_at(scratch, at));
            if result != MORE {
                if result != TOKEN {
                    (*scratch).result = result;
                    return 1;
                }
                count(Counter::Tokens);
                let key = (*scratch).scanner.deny_key();
                (*scratch).candidate.note(key);
                if let Some(entry) = DENIED_TOKENS.get_ptr(key)
                    && (*scratch).now < (*entry).until
                {
                    (*scratch).denied = 1;
                    return 1;
                }
            }
            i += 1;
        }
        0
    }
}

/// Whether the message at the window's start passes; else sets the outcome.
#[inline(always)]
unsafe fn decide(walk: *mut Walk, flags: u32) {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let s = &mut *(*walk).scratch;
        let plain = flags & (QUERY_TOKEN | ODD) == 0;
        if plain && flags & CREDENTIALS == 0 && s.ask_always == 0 {
            count(Counter::Anonymous);
            return;
        }
        s.held.allow = s.scanner.allow_key();
        if plain && flags & CREDENTIALS != 0 {
            let key = AllowedKey {
                key: s.held.allow,
                cgroup: s.held.cgroup,
                port: u32::from(s.held.local_port),
                reserved: 0,
            };
            if let Some(until) = ALLOWED.get_ptr(key)
                && s.now < *until
            {
                count(Counter::Allowed);
                return;
            }
        }
        let Some(settings) = GUARD_SETTINGS.get_ptr(0) else { return };
        s.hash = Sip::new((*settings).terms.secret);
        s.hash.word(s.held.cookie);
        s.hash.word(u64::from(s.scanner.end()));
        s.hashed = 0;
        let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = hash;
        bpf_loop(HEAD_CAP / 8 / WORDS + 1, callback as *mut c_void, walk.cast(), 0);
        let s = &mut *(*walk).scratch;
        s.held.verdict = s.hash.finish();
        if let Some(verdict) = VERDICTS.get_ptr(s.held.verdict)
            && s.now < (*verdict).until
        {
            if (*verdict).pass == VERDICT_PASS {
                count(Counter::Judged);
            } else {
                s.outcome = REJECT;
            }
            return;
        }
        let gate = s.mode == u32::from(MODE_GATE);
        s.held.seq = s.seq.wrapping_add(s.offset).wrapping_sub(s.have);
        s.held.head = s.scanner.end();
        s.held.flags = flags | if gate { 0 } else { HELD_RESPONSE };
        ask(s);
        if gate || s.holding != 0 || s.pends != 0 {
            s.outcome = WAIT;
            return;
        }
        s.pends = 1;
        s.pending = s.held.verdict;
    }
}

/// Puts the head at the window's start before the daemon.
#[inline(always)]
unsafe fn ask(s: &mut Scratch) {
    let head = clamp::<{ HEAD_CAP - 1 }>(s.held.head);
    let size = u64::from(head) + size_of::<Held>() as u64;
    // SAFETY: head and window lie together; `size` is within both.
    unsafe {
        let from: *mut Scratch = s;
        if bpf_ringbuf_output((&raw const HELD).cast_mut().cast(), from.cast(), size, 0) != 0 {
            count(Counter::RingFull);
        }
    }
}

/// Tells the daemon that a head's time is over and its bytes do not pass.
#[inline(always)]
pub(super) unsafe fn tell_cut(held: &mut Held) {
    held.flags |= HELD_CUT;
    held.head = 0;
    // SAFETY: `held` is whole.
    unsafe {
        let from: *mut Held = held;
        let size = size_of::<Held>() as u64;
        if bpf_ringbuf_output((&raw const HELD).cast_mut().cast(), from.cast(), size, 0) != 0 {
            count(Counter::RingFull);
        }
    }
}

/// Some words of the head. 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn hash(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let s = (*walk).scratch;
        let end = (*s).scanner.end();
        let mut i = 0;
        while i < WORDS {
            let at = (*s).hashed;
            if at >= end {
                return 1;
            }
            let mut word = word_at(s, at);
            let left = end - at;
            if left < 8 {
                word &= (1u64 << (left * 8)) - 1;
            }
            (*s).hash.word(word);
            (*s).hashed = at + 8;
            i += 1;
        }
        0
    }
}

const _: () = assert!(WINDOW.is_power_of_two());
