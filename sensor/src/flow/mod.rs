//! From segments to ordered bytes: what the service read is what is judged.
//!
//! Segments towards the service are seen before its TCP accepts them. A sender can add some that
//! TCP refuses (a bad checksum, outside the window) or that overlap others with different bytes,
//! and so show an observer another request than the service reads (Ptacek and Newsham,
//! *Insertion, Evasion, and Denial of Service*, 1998). Therefore requests are delivered once the
//! service's TCP has confirmed them, overlaps are resolved as Linux resolves them, and an overlap
//! that carried different bytes is a finding whichever copy wins.
//!
//! Responses are the kernel's own output and are delivered as they come.
//!
//! Nothing here keeps a clock, and no byte of a stream is ever part of a finding or a `Debug`
//! output.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[cfg(any(test, fuzzing))]
pub(crate) mod bench;
mod in_order;
mod queue;
mod stream;
#[cfg(test)]
mod tests;

use std::{ops::AddAssign, time::Duration};

pub use stream::{Chunk, Delivery, Stream};

use crate::{
    capture::{Direction, Segment},
    time::Time,
};

/// What one stream may hold, and for how long. The defaults are [`Limits::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload held in one direction, in order and out of order together. In-order bytes
    /// above it become a gap; out-of-order segments are dropped from the far end.
    pub buffered: usize,
    /// Out-of-order segments in one direction.
    pub queued: usize,
    /// How far beyond the bytes in order a segment may begin, in sequence numbers; at most 2^30.
    pub window: u32,
    /// How long bytes towards the service wait for the service's TCP to confirm them. Then they
    /// are delivered unconfirmed: the capture may show one direction only.
    pub confirm_wait: Duration,
    /// How long a hole waits to be filled. Not for bytes towards a service whose `rcv_nxt` is
    /// known: its TCP waits longer than any limit here, and says itself when it read on.
    pub hole_wait: Duration,
}

impl Limits {
    /// 256 KiB and 1024 segments a direction, so that a 64 KiB head with a body behind it always
    /// fits, and a usual head even byte by byte from its end; 1 MiB window; 250 ms for a
    /// confirmation (a delayed ACK takes at most 200 ms); 5 s for a hole (several
    /// retransmissions).
    pub const DEFAULT: Self = Self {
        buffered: 256 << 10,
        queued: 1024,
        window: 1 << 20,
        confirm_wait: Duration::from_millis(250),
        hole_wait: Duration::from_secs(5),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What reassembly dropped, lost or repaired, by cause. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FlowStats {
    /// Segments that held nothing new.
    pub retransmitted: u64,
    /// Segments beyond the window, or behind the end of the stream.
    pub out_of_window: u64,
    /// Segments whose bytes differ from those held for the same sequence numbers.
    pub overlap_conflicts: u64,
    /// Sequence numbers that were passed over: never seen, not copied, or over a limit.
    pub gap_bytes: u64,
    /// Payload bytes that were seen and dropped because a stream was over a limit.
    pub limit_dropped: u64,
    /// Holes given up because too much waited behind them, or for too long.
    pub holes_given_up: u64,
    /// Times that bytes were delivered unconfirmed after the wait, or because too many waited.
    pub unconfirmed: u64,
    /// Times that the service turned out to have refused bytes that had been delivered.
    pub restarts: u64,
    /// RST segments that TCP does not act upon (RFC 5961, section 3.2).
    pub resets_refused: u64,
}

impl AddAssign for FlowStats {
    fn add_assign(&mut self, rhs: Self) {
        self.retransmitted += rhs.retransmitted;
        self.out_of_window += rhs.out_of_window;
        self.overlap_conflicts += rhs.overlap_conflicts;
        self.gap_bytes += rhs.gap_bytes;
        self.limit_dropped += rhs.limit_dropped;
        self.holes_given_up += rhs.holes_given_up;
        self.unconfirmed += rhs.unconfirmed;
        self.restarts += rhs.restarts;
        self.resets_refused += rhs.resets_refused;
    }
}

/// Both directions of one connection.
#[derive(Debug)]
pub struct Flow {
    /// Requests, delivered once the service's TCP has accepted them.
    pub to_server: Stream,
    /// Responses, delivered as they come.
    pub to_client: Stream,
}

impl Default for Flow {
    fn default() -> Self {
        Self::new()
    }
}

impl Flow {
    /// A connection of which nothing has been seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            to_server: Stream::new(Delivery::OnConfirmation),
            to_client: Stream::new(Delivery::OnArrival),
        }
    }

    /// Takes a segment of either direction, and what it says about the other one.
    ///
    /// After it, read [`to_server`](Self::to_server) first: a response confirms its request.
    pub fn push(&mut self, segment: &Segment<'_>, limits: &Limits, stats: &mut FlowStats) {
        self.confirm(segment, limits, stats);
        let (stream, other) = match segment.direction {
            Direction::ToServer => (&mut self.to_server, &mut self.to_client),
            Direction::ToClient => (&mut self.to_client, &mut self.to_server),
        };
        stream.push(segment, limits, stats);
        if stream.is_reset() {
            other.reset(limits, stats);
        }
    }

    /// Takes what a segment says about the other direction, and nothing else of it.
    pub fn confirm(&mut self, segment: &Segment<'_>, limits: &Limits, stats: &mut FlowStats) {
        let other = match segment.direction {
            Direction::ToServer => &mut self.to_client,
            Direction::ToClient => &mut self.to_server,
        };
        let rcv_nxt = segment.rcv_nxt.filter(|_| segment.direction == Direction::ToClient);
        let told = rcv_nxt
            .is_some_and(|next| other.accepted(next, segment.ack, segment.at, limits, stats));
        if let Some(ack) = segment.ack
            && !told
            && !segment.flags.rst
        {
            other.confirm(ack, segment.at, limits, stats);
        }
    }

    /// Whether `segment` opens another connection between the same addresses: a client's SYN with
    /// another initial sequence number, in a capture that knows no socket cookies (else the
    /// cookie tells). In live capture such a SYN only earns a challenge ACK (RFC 5961, section 4).
    #[must_use]
    pub fn is_reopened_by(&self, segment: &Segment<'_>) -> bool {
        segment.direction == Direction::ToServer
            && segment.flags.syn
            && segment.cookie == 0
            && segment.rcv_nxt.is_none()
            && self.to_server.first_seq().is_some_and(|seq| seq != segment.seq.wrapping_add(1))
    }

    /// Whether both directions [were read](Stream::is_read).
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.to_server.is_read() && self.to_client.is_read()
    }

    /// Gives up what has waited too long. Cheap where nothing waits.
    pub fn expire(&mut self, now: Time, limits: &Limits, stats: &mut FlowStats) {
        self.to_server.expire(now, limits, stats);
        self.to_client.expire(now, limits, stats);
    }

    /// When [`expire`](Self::expire) has something to do unless segments come first.
    #[must_use]
    pub fn deadline(&self, limits: &Limits) -> Option<Time> {
        let (a, b) = (self.to_server.deadline(limits), self.to_client.deadline(limits));
        a.into_iter().chain(b).min()
    }

    /// The clock was set by so many nanoseconds: what waits has waited no longer for it.
    pub fn clock_set(&mut self, by: i64) {
        self.to_server.clock_set(by);
        self.to_client.clock_set(by);
    }

    /// Nothing more comes of this connection: all that is held becomes readable, then the end.
    pub fn flush(&mut self, limits: &Limits, stats: &mut FlowStats) {
        self.to_server.flush(limits, stats);
        self.to_client.flush(limits, stats);
    }

    /// Bytes of payload held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.to_server.buffered() + self.to_client.buffered()
    }

    /// Bytes of memory that what is held takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.to_server.memory() + self.to_client.memory()
    }
}
