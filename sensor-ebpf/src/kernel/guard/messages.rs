//! The messages of a segment, one after another, and what is decided on each.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::generated::{bpf_loop, bpf_ringbuf_output, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use jotwatch_common::guard::{
    scan::{
        BAD, BEGUN, BODY_TOKEN, CHUNKED, CREDENTIALS, CUT, HTTP1, MORE, ODD, PART, PARTS,
        QUERY_TOKEN, TOKEN, WHOLE, may_be_method,
    },
    sip::Sip,
    tables::{
        AllowedKey, Counter, FRAMED_CHUNKED, FRAMED_LENGTH, FRAMED_UNKNOWN, HEAD_CAP, HELD_BODY,
        HELD_CUT, HELD_RESPONSE, Held, MODE_GATE, MODE_KILL, VERDICT_PASS,
    },
};
use jotwatch_ebpf::{
    flow::may_begin_request,
    track::{CHUNKS, KNOWN, LIKELY, UNKNOWN},
};

use super::{
    known,
    maps::{ALLOWED, DENIED_TOKENS, GUARD_SETTINGS, HELD, VERDICTS, count_here},
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
/// [`Scratch::outcome`]: services may read it otherwise than the guard does.
pub(super) const MISFRAMED: u32 = 5;

/// The first bytes of HTTP/2 (RFC 9113, section 3.4).
const HTTP2: u64 = u64::from_le_bytes(*b"PRI * HT");

/// Bytes of a segment that are looked at first: most heads are no longer, and a segment full of
/// small requests would otherwise be copied over and over.
const FIRST_LOOK: u32 = 2048;
/// The same of a chunk's size.
const CHUNK_LOOK: u32 = 64;
/// Messages in one segment: 64 KiB of the shortest chunks.
const MAX_MESSAGES: u32 = 16_384;
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
        let first_look = if s.chunk == 0 { FIRST_LOOK } else { CHUNK_LOOK };
        if s.wide == 0 && take > first_look {
            take = first_look;
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
        s.decided = 0;
        s.candidate.begin(s.offset);
        let Some(settings) = GUARD_SETTINGS.get_ptr(0) else { return 1 };
        if s.chunk == 0 {
            s.scanner.start(&(*settings).terms, s.filled, s.keyed != 0);
            let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = step;
            bpf_loop(MAX_STEPS / STEPS, callback as *mut c_void, walk.cast(), 0);
        } else {
            s.scanner.start_chunk(&(*settings).terms, s.filled);
        }
        let s = &mut *(*walk).scratch;
        let mut head = s.result == WHOLE;
        if head && s.denied == 0 && !frame(s) {
            s.next_mode = UNKNOWN;
            return 1;
        }
        let flags = s.scanner.flags();
        let odd = flags & ODD != 0;
        let mut body = s.chunk != 0;
        if head && !odd && (flags & CHUNKED != 0 || s.scanner.body() > 0) {
            let room = HEAD_CAP - mask::<{ HEAD_CAP - 1 }>(s.scanner.end());
            s.scanner.begin_body(if s.body < room { s.body } else { room });
            body = true;
        }
        if body && s.denied == 0 {
            s.result = MORE;
            let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = body_step;
            bpf_loop(MAX_STEPS / STEPS, callback as *mut c_void, walk.cast(), 0);
        }
        let s = &mut *(*walk).scratch;
        if s.result == CUT && s.wide == 0 && look > first_look && s.denied == 0 {
            s.wide = 1;
            return 0;
        }
        s.wide = 0;
        if s.denied != 0 {
            s.outcome = DENY;
            return 1;
        }
        head |= s.chunk != 0;
        let begin = s.seq.wrapping_add(s.offset).wrapping_sub(s.have);
        let full = s.filled >= HEAD_CAP || s.result == MORE;
        if !head {
            return unfinished(s, begin, full);
        }
        if body && (s.result == BAD || full && s.result != PART && s.result != WHOLE) {
            if s.mode == u32::from(MODE_KILL) {
                s.next_mode = UNKNOWN;
            } else {
                s.outcome = MISFRAMED;
            }
            return 1;
        }
        let flags = s.scanner.flags();
        let shown = body && s.result != CUT && flags & (BODY_TOKEN | PARTS) != 0;
        s.decided = if s.mode == u32::from(MODE_KILL) || s.chunk != 0 {
            0
        } else if shown {
            s.scanner.at()
        } else if odd || (s.framed == 0 && s.scanner.end() > s.have) {
            s.scanner.end()
        } else {
            0
        };
        if s.decided != 0 {
            decide(walk, flags, shown);
        }
        let s = &mut *(*walk).scratch;
        if s.outcome != PASS {
            return 1;
        }
        if odd {
            s.framed = s.framing;
            if s.framing == FRAMED_UNKNOWN {
                s.next_mode = UNKNOWN;
                return 1;
            }
            // Now that this is known: again, with the body.
            return 0;
        }
        s.framed = 0;
        if s.result == CUT {
            // The rest of a body, or of a chunk's size, is to come.
            s.piece = s.filled;
            s.next = begin;
            s.next_mode = if s.chunk == 0 { KNOWN } else { CHUNKS };
            return 1;
        }
        if s.chunk == 0 {
            count_here(Counter::Heads);
            if body {
                count_here(Counter::Bodies);
            } else {
                known::keep(s, (*walk).skb, flags);
            }
        }
        let chunked = flags & CHUNKED != 0;
        let goes_on = chunked && s.result == PART;
        let size =
            if chunked { s.scanner.stop() } else { s.scanner.end().wrapping_add(s.scanner.body()) };
        s.next = begin.wrapping_add(size);
        s.next_mode = if goes_on { CHUNKS } else { KNOWN };
        s.chunk = u32::from(goes_on);
        s.offset = s.offset.wrapping_sub(s.have).wrapping_add(size);
        s.have = 0;
        0
    }
}

/// What is to become of a message whose head has no end yet.
#[inline(always)]
fn unfinished(s: &mut Scratch, begin: u32, full: bool) -> i64 {
    let flags = s.scanner.flags();
    let other = flags & BEGUN != 0 && flags & HTTP1 == 0;
    // SAFETY: the window's start.
    let word = unsafe { word_at(s, 0) };
    if s.known == 0 {
        s.next_mode = UNKNOWN;
        if s.mode != u32::from(MODE_KILL) && !full && !other && may_be_method(word, s.filled) {
            s.piece = s.filled;
            s.next = begin;
            s.next_mode = LIKELY;
        }
    } else if !may_begin_request(s.window[0]) || (word == HTTP2 && s.filled >= 8) {
        // TLS, or frames behind an upgrade: no service reads a request here.
        s.next_mode = UNKNOWN;
    } else if full {
        s.outcome = LONG;
    } else if other && s.mode != u32::from(MODE_KILL) {
        // Some services answer at the end of such a line.
        s.outcome = MISFRAMED;
    } else {
        s.piece = s.filled;
        s.next = begin;
        s.next_mode = KNOWN;
    }
    1
}

/// A whole head: whether its message is followed further, and how its body is framed. One that
/// could be read in two ways is decided on first, as only its verdict tells.
#[inline(always)]
fn frame(s: &mut Scratch) -> bool {
    let http1 = s.scanner.flags() & HTTP1 != 0;
    // SAFETY: the window's start.
    let http2 = unsafe { word_at(s, 0) } == HTTP2;
    if s.known == 0 && !http1 || s.known != 0 && (http2 || !may_begin_request(s.window[0])) {
        return false;
    }
    s.known = 1;
    if s.framed != 0 {
        s.scanner.frame(if s.framed == FRAMED_CHUNKED {
            None
        } else {
            Some(s.framed.wrapping_sub(FRAMED_LENGTH))
        });
    } else if !http1 {
        s.scanner.doubt();
    }
    s.mode != u32::from(MODE_KILL) || s.scanner.flags() & ODD == 0
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
            if result != MORE && finishes(scratch, result) {
                return 1;
            }
            i += 1;
        }
        0
    }
}

/// The same in a body. 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn body_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let scratch = (*walk).scratch;
        let mut i = 0;
        while i < STEPS {
            let result = (*scratch).scanner.body_step(&|at| word_at(scratch, at));
            if result != MORE && finishes(scratch, result) {
                return 1;
            }
            i += 1;
        }
        0
    }
}

/// What the scanner came to: whether it ends there.
#[inline(always)]
unsafe fn finishes(scratch: *mut Scratch, result: u32) -> bool {
    // SAFETY: a live scratch.
    unsafe {
        if result != TOKEN {
            (*scratch).result = result;
            return true;
        }
        count_here(Counter::Tokens);
        let key = (*scratch).scanner.deny_key();
        (*scratch).candidate.note(key);
        if let Some(entry) = DENIED_TOKENS.get_ptr(key)
            && (*scratch).now < (*entry).until
        {
            (*scratch).denied = 1;
            return true;
        }
        false
    }
}

/// Whether the first `decided` bytes of the window pass; else sets the outcome. `shown`: they hold
/// a body that only the daemon can judge.
#[inline(always)]
unsafe fn decide(walk: *mut Walk, flags: u32, shown: bool) {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let s = &mut *(*walk).scratch;
        let odd = flags & ODD != 0;
        let plain = !odd && !shown && flags & QUERY_TOKEN == 0;
        if plain && flags & CREDENTIALS == 0 && s.ask_always == 0 {
            count_here(Counter::Anonymous);
            return;
        }
        s.held.allow = s.scanner.allow_key();
        if plain && flags & CREDENTIALS != 0 && is_allowed(s) {
            return;
        }
        let Some(settings) = GUARD_SETTINGS.get_ptr(0) else { return };
        s.hash = Sip::new((*settings).terms.secret);
        s.hash.word(u64::from(s.decided));
        s.hashed = 0;
        let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = hash;
        bpf_loop(HEAD_CAP / 8 / WORDS + 1, callback as *mut c_void, walk.cast(), 0);
        let s = &mut *(*walk).scratch;
        if shown {
            // The same bytes again are judged the same.
            s.held.allow = s.hash.finish();
            if is_allowed(s) {
                return;
            }
        }
        s.hash.word(s.held.cookie);
        s.held.verdict = s.hash.finish();
        if let Some(verdict) = VERDICTS.get_ptr(s.held.verdict)
            && s.now < (*verdict).until
        {
            if (*verdict).pass == VERDICT_PASS {
                s.framing = (*verdict).framing;
                count_here(Counter::Judged);
            } else {
                s.outcome = REJECT;
            }
            return;
        }
        s.held.seq = s.seq.wrapping_add(s.offset).wrapping_sub(s.have);
        s.held.head = s.decided;
        let waits = odd || s.mode == u32::from(MODE_GATE);
        s.held.flags = flags | if waits { 0 } else { HELD_RESPONSE };
        if shown {
            s.held.flags |= HELD_BODY;
        }
        ask(s);
        if !waits
            && s.holding != 0
            && let Some(verdict) = VERDICTS.get_ptr(s.pending)
            && s.now < (*verdict).until
            && (*verdict).pass == VERDICT_PASS
        {
            s.holding = 0;
        }
        if waits || s.holding != 0 || s.pends != 0 {
            s.outcome = WAIT;
            return;
        }
        s.pends = 1;
        s.pending = s.held.verdict;
    }
}

/// Whether the allow key of what is held is one that passes.
#[inline(always)]
unsafe fn is_allowed(s: &Scratch) -> bool {
    let key = AllowedKey {
        key: s.held.allow,
        cgroup: s.held.cgroup,
        port: u32::from(s.held.local_port),
        reserved: 0,
    };
    // SAFETY: a copy of a word that is written whole.
    let allowed = ALLOWED.get_ptr(key).is_some_and(|until| s.now < unsafe { *until });
    if allowed {
        count_here(Counter::Allowed);
    }
    allowed
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
            count_here(Counter::RingFull);
        }
    }
}

/// Tells the daemon that bytes do not pass, and will not: `HELD_*` says why.
#[inline(always)]
pub(super) unsafe fn tell_cut(held: &mut Held, why: u32) {
    held.flags = HELD_CUT | why;
    held.head = 0;
    // SAFETY: `held` is whole.
    unsafe {
        let from: *mut Held = held;
        let size = size_of::<Held>() as u64;
        if bpf_ringbuf_output((&raw const HELD).cast_mut().cast(), from.cast(), size, 0) != 0 {
            count_here(Counter::RingFull);
        }
    }
}

/// Some words of the head. 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn hash(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` is of `read_all`.
    unsafe {
        let s = (*walk).scratch;
        let end = (*s).decided;
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
