//! Where in a connection the guard stands: which bytes are a body's and pass, and which begin a
//! message and are read first.
//!
//! The hook sees segments before TCP does, and TCP may yet refuse them. So nothing is concluded
//! from bytes that were merely let through: the state moves on once `rcv_nxt` has passed them.
//! Until then (a moment, as a rule none) no other bytes of the same place pass, nor any ahead of
//! them, so that what TCP takes can only be what was read. Dropping is always safe: the client's
//! TCP sends again.

use crate::flow::after;

/// Bytes that passed and that TCP has not taken after so long were refused: it handles a segment
/// at once, or when the service leaves the system call that it is in. Shorter than the shortest
/// time-out of Linux' TCP (200 ms), so that the first repetition passes.
pub const SETTLED_AFTER: u64 = 190_000_000;

/// [`Track::mode`]: where the next message starts is not known.
pub const UNKNOWN: u32 = 0;
/// [`Track::mode`]: the next message starts at [`Track::start`], or has begun there.
pub const KNOWN: u32 = 1;
/// [`Track::mode`]: the data of a chunk end at [`Track::start`], and the next chunk follows.
pub const CHUNKS: u32 = 3;
/// [`Track::mode`]: what may be a request has begun at [`Track::start`].
pub const LIKELY: u32 = 4;
/// [`Track::mode`]: TCP has taken a part of what was read as one, and the rest will not pass.
pub const BROKEN: u32 = 2;

/// [`Track::arrive`]: everything in it has been taken before.
pub const OLD: u32 = 0;
/// [`Track::arrive`]: a body's bytes, and nothing behind it.
pub const BODY: u32 = 1;
/// [`Track::arrive`]: to be read from [`Track::offset`] on.
pub const READ: u32 = 2;
/// [`Track::arrive`]: a message would start ahead of what TCP has taken.
pub const AHEAD: u32 = 3;
/// [`Track::arrive`]: what passed before is not settled yet.
pub const UNSETTLED: u32 = 4;
/// [`Track::arrive`]: nothing passes any more.
pub const REFUSED: u32 = 5;

/// The state of one connection. Plain words, as it lives in a map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Not 0 while a processor is at it.
    pub busy: u64,
    /// When the bytes before `until` passed.
    pub since: u64,
    /// When the message at `start` began to wait for its verdict; 0 while it does not.
    pub waits: u64,
    /// When the response began to wait; 0 while it does not.
    pub holds: u64,
    /// What the response waits for.
    pub pending: [u64; 2],
    /// The message that has begun or comes next begins here.
    pub start: u32,
    /// [`UNKNOWN`], [`KNOWN`], [`CHUNKS`], [`LIKELY`] or [`BROKEN`].
    pub mode: u32,
    /// Not 0: bytes before `until` have passed and TCP has not taken all of them yet.
    pub open: u32,
    /// See `open`.
    pub until: u32,
    /// `start` once they are taken.
    pub next: u32,
    /// `mode` once they are taken.
    pub next_mode: u32,
    /// Not 0: the message at `pieced_at` has passed in pieces, and they are kept.
    pub pieced: u32,
    /// See `pieced`.
    pub pieced_at: u32,
    /// [`READ`]: the first payload byte to read.
    pub offset: u32,
    /// [`READ`]: bytes of the message that TCP has taken before.
    pub have: u32,
    /// After so many changes of the tables neither the connection nor its client was denied, nor the
    /// client allowed everything; 0 where that was not looked up.
    pub clear: u64,
}

impl Track {
    /// A connection of which nothing is known.
    pub const NEW: Self = Self {
        busy: 0,
        since: 0,
        waits: 0,
        holds: 0,
        pending: [0; 2],
        start: 0,
        mode: UNKNOWN,
        open: 0,
        until: 0,
        next: 0,
        next_mode: UNKNOWN,
        pieced: 0,
        pieced_at: 0,
        offset: 0,
        have: 0,
        clear: 0,
    };

    /// TCP answers a SYN: the connection's first byte will be at `start`. This state is kept by
    /// addresses until the connection has a socket of its own, which takes it over
    /// ([`born`](Self::born)).
    #[inline(always)]
    pub fn expect(&mut self, start: u32) {
        if self.mode != KNOWN || self.start != start {
            self.forget();
            self.start = start;
            self.mode = KNOWN;
        }
    }

    /// A segment of `len` bytes from `seq`, not empty, that belongs to the listening socket: it
    /// may end the handshake, and is the connection's first then. Only the very first byte on is
    /// read: what comes ahead of it would lie in TCP's queue behind bytes that are not seen yet.
    #[inline(always)]
    #[must_use]
    pub fn begin(&mut self, seq: u32, len: u32, now: u64) -> u32 {
        if self.mode != KNOWN || self.start != seq {
            return AHEAD;
        }
        self.arrive(seq, len, seq, now)
    }

    /// The connection has a socket of its own, whose `rcv_nxt` is `taken` and which has taken
    /// `received` bytes; `handshake` is the state of what came before. Where TCP has taken
    /// something else than what that says, nothing is known.
    #[inline(always)]
    pub fn born(&mut self, taken: u32, received: u64, handshake: Option<&Self>) {
        if received == 0 {
            self.mode = KNOWN;
            self.start = taken;
            if let Some(before) = handshake
                && before.start == taken
            {
                self.waits = before.waits;
            }
        } else if let Some(before) = handshake
            && before.open != 0
            && before.until == taken
            && before.start.wrapping_add(received as u32) == taken
        {
            self.mode = before.next_mode;
            self.start = before.next;
        }
    }

    /// A segment of `len` bytes from `seq`, not empty, when the socket's `rcv_nxt` is `taken`.
    #[inline(always)]
    #[must_use]
    pub fn arrive(&mut self, seq: u32, len: u32, taken: u32, now: u64) -> u32 {
        let stop = seq.wrapping_add(len);
        if self.open != 0 {
            if !after(self.until, taken) {
                self.open = 0;
                if self.start != self.next || self.mode != self.next_mode {
                    self.waits = 0;
                }
                self.start = self.next;
                self.mode = self.next_mode;
            } else if now.wrapping_sub(self.since) > SETTLED_AFTER {
                self.open = 0;
            }
        }
        if !after(stop, taken) {
            return OLD;
        }
        if self.mode == BROKEN {
            return REFUSED;
        }
        if self.mode == UNKNOWN {
            self.have = 0;
            self.offset = if after(taken, seq) { taken.wrapping_sub(seq) } else { 0 };
            return if self.open != 0 { UNSETTLED } else { READ };
        }
        if self.open == 0 && !after(stop, self.start) {
            return BODY;
        }
        if after(seq, taken) {
            return AHEAD;
        }
        if self.open != 0 {
            return UNSETTLED;
        }
        if after(taken, self.start) {
            // The message's first bytes were taken.
            self.have = taken.wrapping_sub(self.start);
            self.offset = taken.wrapping_sub(seq);
            if self.pieced == 0 || self.pieced_at != self.start {
                if self.mode == LIKELY {
                    // It need not be a request at all.
                    self.mode = UNKNOWN;
                    self.have = 0;
                    return READ;
                }
                self.mode = BROKEN;
                return REFUSED;
            }
        } else {
            self.have = 0;
            self.offset = self.start.wrapping_sub(seq);
        }
        READ
    }

    /// What was read passes: everything before `until`. Then the next message is at `next`.
    #[inline(always)]
    pub fn pass(&mut self, until: u32, next: u32, next_mode: u32, now: u64) {
        self.open = 1;
        self.pieced = 0;
        self.until = until;
        self.next = next;
        self.next_mode = next_mode;
        self.since = now;
    }

    /// Behind [`pass`](Self::pass): the bytes from `start` to `until` are kept.
    #[inline(always)]
    pub fn keep_pieces(&mut self, start: u32) {
        self.pieced = 1;
        self.pieced_at = start;
    }

    /// Nothing is known of the connection any more.
    #[inline(always)]
    pub fn forget(&mut self) {
        self.mode = UNKNOWN;
        self.open = 0;
        self.pieced = 0;
        self.waits = 0;
        self.holds = 0;
    }
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
