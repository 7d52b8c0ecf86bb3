//! Which bytes of a connection are copied.
//!
//! A direction's *turn* starts when payload passes in it after payload passed in the other. At
//! the start of a turn, or right behind a message whose end is known, a message starts: its head
//! is copied whole up to [`HEAD_LIMIT`], its body up to the direction's budget. When the framing
//! is not known for sure, more is copied, never less.
//!
//! Two programs may run on one flow at a time, without a lock. Every field is one aligned word,
//! and a torn view makes more be copied or a count be off by one, nothing worse.

use jotwatch_common::{
    Counter, HEAD_LIMIT, OPAQUE_HTTP2, OPAQUE_NOT_HTTP, OPAQUE_TLS, TO_CLIENT, TO_SERVER, is_tchar,
};

use crate::scan::{EXACT_LIMIT, Framing, Head};

/// A run of skipped bytes is signalled at the latest when it is this long.
pub const RUN_LIMIT: u32 = 1 << 20;
/// [`Half::left`]: copy until the turn changes.
pub const NO_LIMIT: u32 = u32::MAX;

/// [`Half::mode`]: the next new byte starts a message.
pub const START: u8 = 0;
/// [`Half::mode`]: copy everything, [`Half::left`] bytes more at most.
pub const ALL: u8 = 1;
/// [`Half::mode`]: inside a message whose end is known.
pub const BODY: u8 = 2;
/// [`Half::mode`]: skip until the turn changes or a head starts.
pub const SKIP: u8 = 3;

/// [`Flow::suspect`]: TCP took first bytes before the flow had state.
pub const EARLY: u8 = u8::MAX;

/// A run of sequence numbers that was passed over, and whose bytes may still come.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub seq: u32,
    /// How many; 0 is no gap.
    pub len: u32,
}

/// State of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// Sequence number behind the highest byte seen.
    pub next: u32,
    /// [`BODY`]: bytes before this are copied.
    pub copy_upto: u32,
    /// [`BODY`]: the message ends here.
    pub end: u32,
    /// [`ALL`]: bytes that may still be copied, or [`NO_LIMIT`].
    pub left: u32,
    /// First byte of the skipped run that has not been signalled.
    pub hole_seq: u32,
    /// Its length; 0 is no run.
    pub hole_len: u32,
    /// What is missing below `next`. Segments that two processors send over loopback, or that
    /// the network reorders, leave one gap at a time, seldom two; more are taken for one.
    pub gaps: [Gap; 2],
    /// One of the modes.
    pub mode: u8,
    /// Not 0: `next` means something.
    pub seen: u8,
    /// Not 0: wanted bytes were lost since the last delivered record.
    pub lost: u8,
    /// Not 0: the loss was counted against the running request.
    pub cut: u8,
}

/// State of one connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The cgroup's id.
    pub cgroup: u64,
    /// The service's address.
    pub local: [u8; 16],
    /// The client's address.
    pub remote: [u8; 16],
    /// The service's port.
    pub local_port: u16,
    /// The client's port.
    pub remote_port: u16,
    /// 4 or 6.
    pub family: u8,
    /// The direction whose turn it is.
    pub turn: u8,
    /// Not 0: nothing is copied any more.
    pub stopped: u8,
    /// Not 0: the last request was a `HEAD`.
    pub head_method: u8,
    /// Not 0: the daemon was told of this flow.
    pub told: u8,
    /// What the first bytes look like that are not HTTP/1, `OPAQUE_*`, until TCP has taken some;
    /// 0 if they may be; or [`EARLY`].
    pub suspect: u8,
    /// By direction: how many messages in a row were [`plain`](Flow::plain).
    pub plain: [u8; 2],
    /// Segments that brought the client's first byte.
    pub firsts: u32,
    /// Request bytes before this were acknowledged in a delivered record.
    pub confirmed: u32,
    /// Request bytes before this were copied.
    pub copied: u32,
    /// `Settings::stops` when the daemon's wish was last looked for.
    pub stops: u32,
    /// Not 0: the answer to the last request is copied further than others.
    pub whole: u32,
    /// Requests and responses.
    pub halves: [Half; 2],
}

/// One segment with payload.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// [`TO_SERVER`] or [`TO_CLIENT`].
    pub direction: u8,
    /// First payload byte.
    pub seq: u32,
    /// Payload bytes, not 0.
    pub len: u32,
    /// The sender had no more to send at that moment.
    pub push: bool,
    /// The first payload byte is the first of its direction.
    pub fresh: bool,
    /// The first 8 payload bytes, little endian, 0 behind the payload's end.
    pub first: u64,
    /// The last 4 payload bytes, little endian; 0 if there are fewer.
    pub last: u32,
}

/// What to do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Payload bytes to copy from its start; a scan may lower this.
    pub copy: u32,
    /// Scan the first chunk and call [`Flow::scanned`].
    pub scan: bool,
    /// It looks like the start of a request.
    pub request: bool,
    /// The turn changed with this segment.
    pub turned: bool,
    /// A gap or an overlap made more be copied.
    pub reordered: bool,
}

/// `a` is behind `b` in sequence space.
#[inline(always)]
#[must_use]
pub const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

pub(crate) const CRLF_CRLF: u32 = u32::from_le_bytes(*b"\r\n\r\n");

#[inline(always)]
const fn capital(byte: u64) -> bool {
    byte.wrapping_sub(b'A' as u64) < 26
}

/// The bytes may start an HTTP request line, as far as they go: capital letters, then a space or
/// another capital.
#[inline(always)]
#[must_use]
pub const fn looks_like_request(first: u64, len: u32) -> bool {
    capital(first & 0xff)
        && (len < 2 || capital(first >> 8 & 0xff))
        && (len < 3 || capital(first >> 16 & 0xff))
        && (len < 4 || capital(first >> 24 & 0xff) || (first >> 24 & 0xff) == b' ' as u64)
}

/// The bytes start an HTTP/1 status line, as far as they go.
#[inline(always)]
#[must_use]
pub const fn looks_like_response(first: u64, len: u32) -> bool {
    const STATUS: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
    let known = if len >= 7 { 0x00ff_ffff_ffff_ffff } else { (1u64 << (len * 8)) - 1 };
    len > 0 && (first ^ STATUS) & known == 0
}

/// The method seldom has a body: `GET`, `HEAD`, `DELETE`, `OPTIONS`, `CONNECT`, `TRACE`.
#[inline(always)]
pub(crate) const fn bodiless(first: u64) -> bool {
    matches!(
        &(first as u32).to_le_bytes(),
        b"GET " | b"HEAD" | b"DELE" | b"OPTI" | b"CONN" | b"TRAC"
    )
}

/// A request can begin with this byte: one of a token (RFC 9110 section 5.6.2), of an empty line,
/// which is ignored before a request line (RFC 9112 section 2.2), or of what some servers take for
/// white space there (section 3; http.server also what is some in Latin-1).
#[inline(always)]
#[must_use]
pub const fn may_begin_request(b: u8) -> bool {
    is_tchar(b) || matches!(b, b'\t'..=b'\r' | 0x1c..=b' ' | 0x85 | 0xa0)
}

/// What a connection's first request bytes say that it is not HTTP/1; 0 if they may be.
#[inline(always)]
#[must_use]
pub const fn opaque(first: u64, len: u32) -> u8 {
    let b = first as u8;
    if len >= 3 && b >= 20 && b <= 23 && (first >> 8) as u8 == 3 && (first >> 16) as u8 <= 4 {
        return OPAQUE_TLS;
    }
    if len >= 8 && first == u64::from_le_bytes(*b"PRI * HT") {
        return OPAQUE_HTTP2;
    }
    // Fewer than 3 bytes of a TLS record: leave it to the daemon.
    if may_begin_request(b) || (len < 3 && b >= 20 && b <= 23) { 0 } else { OPAQUE_NOT_HTTP }
}

impl Gap {
    /// Takes the bytes from `seq` up to `stop` for come; gives how many of them were missing.
    #[inline(always)]
    fn fill(&mut self, seq: u32, stop: u32) -> u32 {
        let end = self.seq.wrapping_add(self.len);
        let from = if after(seq, self.seq) { seq } else { self.seq };
        let to = if after(end, stop) { stop } else { end };
        if self.len == 0 || !after(to, from) {
            return 0;
        }
        if from == self.seq {
            self.seq = to;
            self.len = end.wrapping_sub(to);
        } else {
            // What is missing behind it has no room, and counts as come.
            self.len = from.wrapping_sub(self.seq);
        }
        to.wrapping_sub(from)
    }
}

impl Half {
    /// Notes that a segment is not the next in order; gives how many of its bytes passed before.
    #[inline(always)]
    fn out_of_order(&mut self, seq: u32, len: u32) -> u32 {
        let stop = seq.wrapping_add(len);
        let [a, b] = &mut self.gaps;
        if after(seq, self.next) {
            let missing = seq.wrapping_sub(self.next);
            if a.len == 0 {
                *a = Gap { seq: self.next, len: missing };
            } else if b.len == 0 {
                *b = Gap { seq: self.next, len: missing };
            } else {
                b.len = seq.wrapping_sub(b.seq);
            }
            return 0;
        }
        let old = if after(stop, self.next) { self.next.wrapping_sub(seq) } else { len };
        let filled = a.fill(seq, stop) + b.fill(seq, stop);
        old.saturating_sub(filled)
    }

    /// Takes up to `len` bytes from what may be copied in [`ALL`].
    #[inline(always)]
    fn take(&mut self, len: u32) -> u32 {
        if self.left == NO_LIMIT {
            return len;
        }
        let copy = if len < self.left { len } else { self.left };
        self.left -= copy;
        if self.left == 0 {
            self.mode = SKIP;
        }
        copy
    }

    #[inline(always)]
    fn copy_all(&mut self, left: u32) {
        self.mode = ALL;
        self.left = left;
    }

    /// Notes `len` skipped bytes from `seq`.
    #[inline(always)]
    pub fn skip(&mut self, seq: u32, len: u32) {
        if self.hole_len == 0 {
            self.hole_seq = seq;
            self.hole_len = len;
            return;
        }
        let mut end = self.hole_seq.wrapping_add(self.hole_len);
        if after(seq.wrapping_add(len), end) {
            end = seq.wrapping_add(len);
        }
        if after(self.hole_seq, seq) {
            self.hole_seq = seq;
        }
        self.hole_len = end.wrapping_sub(self.hole_seq);
    }
}

impl Flow {
    /// What a flow's state starts from.
    pub const NEW: Self = Self {
        cgroup: 0,
        local: [0; 16],
        remote: [0; 16],
        local_port: 0,
        remote_port: 0,
        family: 0,
        turn: 0,
        stopped: 0,
        head_method: 0,
        told: 0,
        suspect: 0,
        plain: [0; 2],
        firsts: 0,
        confirmed: 0,
        copied: 0,
        stops: 0,
        whole: 0,
        halves: [Half {
            next: 0,
            copy_upto: 0,
            end: 0,
            left: 0,
            hole_seq: 0,
            hole_len: 0,
            gaps: [Gap { seq: 0, len: 0 }; 2],
            mode: START,
            seen: 0,
            lost: 0,
            cut: 0,
        }; 2],
    };

    /// How many of a segment's payload bytes passed before: the first, unless it fills a gap. To be
    /// asked before [`Flow::plan`], and apart from it: the verifier would go through every way
    /// of the plan for every way of this.
    #[inline(always)]
    #[must_use]
    pub fn passed_before(&mut self, direction: u8, seq: u32, len: u32) -> u32 {
        let half = if direction == TO_SERVER { &mut self.halves[0] } else { &mut self.halves[1] };
        if half.seen == 0 || seq == half.next { 0 } else { half.out_of_order(seq, len) }
    }

    /// Decides on one segment. `budget` is the direction's body budget, 0 under pressure.
    #[inline(always)]
    #[must_use]
    pub fn plan(&mut self, s: &Segment, budget: u32) -> Plan {
        let cap = HEAD_LIMIT + budget;
        let to_server = s.direction == TO_SERVER;
        let stop = s.seq.wrapping_add(s.len);
        let turn = self.turn;
        let half = if to_server { &mut self.halves[0] } else { &mut self.halves[1] };
        let in_order = half.seen == 0 || s.seq == half.next;
        let new = half.seen == 0 || after(stop, half.next);
        let head_like = if to_server {
            looks_like_request(s.first, s.len)
        } else {
            looks_like_response(s.first, s.len)
        };
        let mut plan = Plan {
            copy: s.len,
            scan: false,
            request: false,
            turned: new && turn != s.direction,
            reordered: !in_order,
        };
        if plan.turned {
            self.turn = s.direction;
            if half.mode != BODY {
                half.mode = START;
            } else if head_like {
                // The body may go on (after 100-continue), or the sender gave it up: copy.
                half.copy_all(if to_server { NO_LIMIT } else { cap });
            }
        }
        if new {
            half.seen = 1;
            half.next = stop;
        }
        if half.mode == BODY {
            if new && after(stop, half.end) {
                // The next message starts inside this segment.
                half.copy_all(if to_server { NO_LIMIT } else { cap });
                plan.request = to_server;
                half.cut = 0;
                return plan;
            }
            let wanted = half.copy_upto.wrapping_sub(s.seq);
            plan.copy = if !after(half.copy_upto, s.seq) || budget == 0 {
                0
            } else if wanted < s.len {
                wanted
            } else {
                s.len
            };
            if new && stop == half.end {
                half.mode = START;
            }
            return plan;
        }
        if !new {
            // Bytes that were seen before: which of two versions counts is the daemon's to say.
            return plan;
        }
        if head_like && (half.mode == SKIP || (half.mode == ALL && !to_server)) {
            half.mode = START;
        }
        if half.mode == SKIP {
            plan.copy = 0;
            return plan;
        }
        if half.mode == ALL {
            plan.copy = half.take(s.len);
            return plan;
        }
        // A message starts.
        if !in_order {
            half.copy_all(cap);
            plan.copy = half.take(s.len);
            return plan;
        }
        let ends = s.last == CRLF_CRLF;
        if to_server {
            if s.fresh {
                // TCP may yet refuse it. Until it is judged, more is copied, never less.
                self.suspect = opaque(s.first, s.len);
                if self.suspect != 0 {
                    half.copy_all(cap);
                    plan.copy = half.take(s.len);
                    return plan;
                }
            }
            half.cut = 0;
            plan.request = head_like;
            self.head_method =
                u8::from(s.first & 0xff_ffff_ffff == u64::from_le_bytes(*b"HEAD \0\0\0"));
            if head_like && s.len >= 4 && bodiless(s.first) {
                // Pipelined heads may follow at any byte: never stop in the middle of them.
                half.left = NO_LIMIT;
                half.mode = if ends { START } else { ALL };
                return plan;
            }
        }
        if head_like && (ends || !s.push || s.len > budget) {
            // The scan sets the mode. Without memory to scan in, this stands.
            plan.scan = true;
        }
        half.copy_all(cap);
        plan.copy = half.take(s.len);
        plan
    }

    /// Judges the connection by its first bytes, once TCP has taken some: gives what they are if
    /// not HTTP/1, `OPAQUE_*`, or 0. `early` are the segments that brought the first byte to the
    /// listening socket, and what the last of them looks like.
    ///
    /// Which of several first segments TCP took is not to be seen here: anybody can send one that
    /// looks like TLS and that TCP refuses, beside the request that it takes. Then the daemon
    /// judges.
    #[inline(always)]
    #[must_use]
    pub fn judge(&mut self, early: (u32, u8)) -> u8 {
        let own = if self.suspect == EARLY { 0 } else { self.suspect };
        self.suspect = 0;
        if self.firsts.wrapping_add(early.0) == 1 { own | early.1 } else { 0 }
    }

    /// Takes what the scan of the segment's first chunk found; gives the bytes to copy.
    /// `status` is the response's.
    #[inline(always)]
    #[must_use]
    pub fn scanned(&mut self, s: &Segment, budget: u32, head: Option<Head>, status: u32) -> u32 {
        let cap = HEAD_LIMIT + budget;
        let head_method = self.head_method;
        let to_server = s.direction == TO_SERVER;
        let half = if to_server { &mut self.halves[0] } else { &mut self.halves[1] };
        half.copy_all(cap);
        let Some(head) = head else {
            return half.take(s.len);
        };
        let body = if s.direction == TO_CLIENT {
            match status {
                101 => None,
                100..=199 | 204 | 304 => Some(0),
                _ if head_method != 0 => Some(0),
                _ => match head.framing {
                    Framing::Length(n) => Some(n),
                    Framing::None | Framing::Unknown => {
                        half.copy_all(head.end + budget);
                        return half.take(s.len);
                    }
                },
            }
        } else {
            match head.framing {
                Framing::Length(n) => Some(n),
                Framing::None => Some(0),
                Framing::Unknown => None,
            }
        };
        let Some(body) = body else {
            return half.take(s.len);
        };
        let body = if body < EXACT_LIMIT { body } else { EXACT_LIMIT };
        let total = head.end + body;
        if total < s.len {
            // More follows in this segment.
            if to_server {
                // Heads may follow at any byte: never stop in the middle of them.
                half.left = NO_LIMIT;
            }
            return half.take(s.len);
        }
        let wanted = head.end + if body < budget { body } else { budget };
        if total == s.len {
            half.mode = START;
        } else {
            half.mode = BODY;
            half.copy_upto = s.seq.wrapping_add(wanted);
            half.end = s.seq.wrapping_add(total);
        }
        if wanted < s.len { wanted } else { s.len }
    }

    /// Notes that the ring had no room for a piece of a request segment of which `copied` bytes
    /// were put; gives the cause to count it by, unless the running request was counted before.
    /// `request`: a request was to start in the segment.
    #[inline(always)]
    #[must_use]
    pub fn cut(&mut self, request: bool, copied: u32) -> Option<Counter> {
        let half = &mut self.halves[0];
        let before = half.cut;
        half.cut = 1;
        if request && copied == 0 {
            Some(Counter::RequestsLost)
        } else if before == 0 {
            Some(Counter::RequestsCut)
        } else {
            None
        }
    }

    /// Notes that request bytes were copied.
    #[inline(always)]
    pub fn copied(&mut self, seq: u32, len: u32) {
        let stop = seq.wrapping_add(len);
        if self.copied == self.confirmed {
            self.confirmed = seq;
            self.copied = stop;
        } else if after(stop, self.copied) {
            self.copied = stop;
        }
    }

    /// Whether [`confirms`](Self::confirms) would find something.
    #[inline(always)]
    #[must_use]
    pub const fn awaits(&self, ack: u32) -> bool {
        self.copied != self.confirmed && after(ack, self.confirmed)
    }

    /// Whether `ack` of the service's segment confirms copied request bytes that no delivered
    /// record confirmed before; notes it.
    #[inline(always)]
    pub fn confirms(&mut self, ack: u32) -> bool {
        if !self.awaits(ack) {
            return false;
        }
        self.confirmed = if after(ack, self.copied) { self.copied } else { ack };
        true
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
