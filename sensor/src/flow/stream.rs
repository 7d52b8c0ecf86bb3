//! Reassembly of one direction: positions, confirmation, reading, ends. [`receive`] has the way
//! of the bytes.

mod chunk;
mod receive;

use std::fmt;

use super::{
    FlowStats, Limits,
    in_order::{InOrder, Piece},
    queue::{Queue, Queued},
};
use crate::{capture::Segment, finding::Finding, time::Time};
pub use chunk::Chunk;
use receive::Incoming;

/// How far below the first sequence number seen of a connection joined midway a segment may
/// begin and still move the beginning down.
const MAX_REJOIN: u64 = 64 << 10;

/// An acknowledgement further ahead than this is behind, not ahead.
const MAX_AHEAD: u64 = 1 << 30;

/// Bit 32 is set in the first unwrapped sequence number, so that there is room below it.
const FIRST_ERA: u64 = 1 << 32;

/// "No FIN seen".
const NO_FIN: u64 = u64::MAX;

/// When bytes in order become readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At once: the observer stands behind the sender's TCP.
    OnArrival,
    /// When the receiver's TCP has accepted them, or after [`Limits::confirm_wait`].
    OnConfirmation,
}

/// What a waiting segment costs beside its payload: its entry, and the allocator's share.
const QUEUED_OVERHEAD: usize = 80;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// At `Stream::fin`.
    Closed,
    Reset,
}

/// What most streams never need.
#[derive(Default)]
struct Rare {
    queue: Queue,
    findings: Vec<Finding>,
    /// The segment that just took the place of a refused one may come in several pieces: where
    /// the next piece begins, and its arrival time.
    replacing: Option<(u64, Time)>,
}

impl Rare {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.findings.is_empty() && self.replacing.is_none()
    }
}

/// One direction of a connection: segments in, ordered bytes out.
///
/// Positions are sequence numbers unwrapped to 64 bits; the low 32 bits are those on the wire.
///
/// ```text
///  base <= pos        confirmed <= ready <= held.end()      queue
///  |released?|unread, readable ....|in order, unconfirmed|  hole  |segment| hole ..
/// ```
///
/// Where the service's `rcv_nxt` is known, bytes that were delivered unconfirmed are kept until
/// they are confirmed: if the service refuses them after all, the bytes that it accepts instead
/// are delivered behind a [`Chunk::Restart`].
pub struct Stream {
    held: InOrder,
    rare: Option<Box<Rare>>,
    /// The first byte of the stream.
    origin: u64,
    /// The read position.
    pos: u64,
    /// The receiver has accepted everything before it.
    confirmed: u64,
    /// Everything before it may be read, where delivery waits for confirmation.
    ready: u64,
    /// Behind the last byte, if the FIN that said so is genuine.
    fin: u64,
    fin_at: Time,
    delivery: Delivery,
    end: End,
    started: bool,
    /// The first segment was a SYN.
    synced: bool,
    /// The receiver's `rcv_nxt` is known.
    live: bool,
    restart: bool,
}

/// Shows sizes only.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("delivery", &self.delivery)
            .field("offset", &self.offset())
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// A direction of which nothing has been seen.
    #[must_use]
    pub fn new(delivery: Delivery) -> Self {
        Self {
            held: InOrder::new(0),
            rare: None,
            origin: 0,
            pos: 0,
            confirmed: 0,
            ready: 0,
            fin: NO_FIN,
            fin_at: Time::EPOCH,
            delivery,
            end: End::Open,
            started: false,
            synced: false,
            live: false,
            restart: false,
        }
    }

    /// What stands at the read position. Costs the number of runs of equal arrival time at most,
    /// which is bounded, whatever is buffered.
    #[must_use]
    pub fn readable(&self) -> Chunk<'_> {
        if self.restart {
            return Chunk::Restart;
        }
        let limit = self.limit();
        match self.held.piece(self.pos, limit) {
            Some(Piece::Gap { len }) => Chunk::Gap { len },
            Some(Piece::Data { bytes, at }) => {
                let behind = self.pos + bytes.len() as u64;
                Chunk::Data { bytes, at, last: behind < limit || self.is_at_end(behind) }
            }
            None if self.is_at_end(self.pos) => Chunk::End { reset: self.end == End::Reset },
            None => Chunk::Empty,
        }
    }

    /// Whether [`readable`](Self::readable) is [`Chunk::Empty`], because all was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        !self.restart && self.end == End::Open && self.pos >= self.limit()
    }

    /// Whether the sender said that it sends no more, or the stream ended in another way.
    #[must_use]
    pub fn has_fin(&self) -> bool {
        self.fin != NO_FIN
    }

    /// Whether the segment's bytes, and no others, would be readable behind [`push`](Self::push):
    /// then they need no copy. Who has read all of them says so with [`pass`](Self::pass) instead.
    #[must_use]
    pub fn is_next(&self, segment: &Segment<'_>, limits: &Limits) -> bool {
        let len = segment.payload.len();
        self.delivery == Delivery::OnArrival
            && self.started
            && self.fin == NO_FIN
            && self.rare.is_none()
            && self.held.is_empty()
            && segment.seq == self.pos as u32
            && !(segment.flags.syn || segment.flags.fin || segment.flags.rst)
            && len as u64 == u64::from(segment.len)
            && (1..=limits.buffered).contains(&len)
    }

    /// Moves the read position over a segment that [`is_next`](Self::is_next) and was not pushed.
    pub fn pass(&mut self, segment: &Segment<'_>) {
        self.held.pass(u64::from(segment.len));
        self.pos = self.held.end();
    }

    /// Moves the read position over `n` bytes of data or gap, at most to the end of what is
    /// readable. Consumes a [`Chunk::Restart`] instead where one stands there.
    pub fn consume(&mut self, n: u64) {
        if self.restart {
            self.restart = false;
            return;
        }
        self.pos = self.pos.saturating_add(n).min(self.limit()).max(self.pos);
        self.release();
    }

    /// When the segment arrived that carried the byte `ahead` bytes behind the read position; of
    /// the last byte held where that is further. `None` where nothing is held.
    ///
    /// With more than 64 different times in the buffer neighbours share the earlier one's time,
    /// the more of them the longer ago they came; those of the first byte and of the newest 32
    /// segments are exact.
    #[must_use]
    pub fn arrival(&self, ahead: usize) -> Option<Time> {
        self.held.arrival(self.pos.saturating_add(ahead as u64))
    }

    /// Bytes of payload held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.len() + self.rare.as_ref().map_or(0, |rare| rare.queue.bytes())
    }

    /// Bytes of memory that what is held takes, about: payload, and what each waiting segment costs
    /// beside it.
    #[must_use]
    pub fn memory(&self) -> usize {
        let queued = self.rare.as_ref().map_or(0, |rare| rare.queue.count());
        self.buffered() + queued * QUEUED_OVERHEAD
    }

    /// Offset of the read position from the first byte seen of this direction, gaps included.
    /// Goes back at a [`Chunk::Restart`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.pos - self.origin
    }

    /// The sequence number of the byte at the read position.
    #[must_use]
    pub fn seq(&self) -> u32 {
        self.pos as u32
    }

    /// The sequence number of the first byte seen.
    #[must_use]
    pub fn first_seq(&self) -> Option<u32> {
        self.started.then_some(self.origin as u32)
    }

    /// Whether no further segment is taken. What is held may still be read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.end != End::Open
    }

    /// Whether an RST that TCP acts upon ended it.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.end == End::Reset
    }

    /// The findings since the last call.
    #[must_use]
    pub fn take_findings(&mut self) -> Vec<Finding> {
        let findings = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.findings));
        self.tidy();
        findings.unwrap_or_default()
    }

    /// Takes a segment of this direction.
    pub fn push(&mut self, segment: &Segment<'_>, limits: &Limits, stats: &mut FlowStats) {
        let seq = segment.seq.wrapping_add(u32::from(segment.flags.syn));
        // The socket that a SYN meets is the listener's, or none.
        let rcv_nxt = match self.delivery {
            Delivery::OnConfirmation if !segment.flags.syn => segment.rcv_nxt,
            _ => None,
        };
        if !self.started && !self.start(segment, seq, rcv_nxt, limits) {
            return;
        }
        let known =
            rcv_nxt.is_some_and(|next| self.accepted(next, Some(seq), segment.at, limits, stats));
        let start = self.unwrap(seq);
        let len = u64::from(segment.len).max(segment.payload.len() as u64).min(MAX_AHEAD);
        if segment.flags.rst {
            self.push_rst(start, known, limits, stats);
            return;
        }
        if self.end != End::Open {
            stats.out_of_window += u64::from(len > 0);
            return;
        }
        let rejoins = start < self.origin
            && self.origin - start <= MAX_REJOIN
            && !self.synced
            && !self.live
            && self.limit() == self.origin;
        if rejoins && len > 0 {
            self.move_origin(start);
        }
        if segment.flags.fin {
            self.note_fin(start + len, known, segment.at, limits);
        }
        if len > 0 {
            let data = Incoming { start, len, payload: segment.payload, at: segment.at };
            self.push_data(data, known, segment.flags.fin, limits, stats);
        }
        self.close_in_order();
    }

    /// The other side says, at `at`, that it received everything before `upto`.
    ///
    /// For bytes on their way to the service this is the service's word, and what was not seen of
    /// them is a gap. A client's word is only taken for bytes of which later ones have been seen:
    /// it may claim anything.
    pub fn confirm(&mut self, upto: u32, at: Time, limits: &Limits, stats: &mut FlowStats) {
        if !self.started || self.end != End::Open {
            return;
        }
        let mut upto = self.unwrap(upto);
        if upto <= self.confirmed {
            return;
        }
        if self.delivery == Delivery::OnArrival {
            let seen = self.rare.as_ref().and_then(|rare| rare.queue.data_end());
            upto = upto.min(seen.unwrap_or(0).max(self.held.end()));
            // An acknowledgement inside of a hole says that the rest is still on its way.
            let waiting = self.rare.as_ref().and_then(|rare| rare.queue.first_start());
            if waiting.is_some_and(|first| first <= upto) {
                self.advance(upto, at, limits, stats);
            }
            self.confirmed = self.confirmed.max(upto.min(self.held.end()));
            self.close_in_order();
        } else {
            if upto > self.held.end().saturating_add(MAX_AHEAD) {
                return;
            }
            let closes = self.fin != NO_FIN && upto == self.fin + 1;
            if closes {
                upto = self.fin;
            } else if self.fin != NO_FIN && upto > self.fin {
                // It read on behind this FIN: it had refused it.
                self.fin = NO_FIN;
            }
            self.advance(upto, at, limits, stats);
            self.confirmed = self.confirmed.max(upto);
            self.ready = self.ready.max(upto);
            if closes {
                self.close(End::Closed, upto);
            }
        }
        self.release();
    }

    /// The receiving socket expects `rcv_nxt` next at `at`: [`confirm`](Self::confirm) in the
    /// kernel's own words. `near` is a number of the same sequence space in the record that brought
    /// it; a listening socket's `rcv_nxt` is near to nothing, and false is returned.
    pub fn accepted(
        &mut self,
        rcv_nxt: u32,
        near: Option<u32>,
        at: Time,
        limits: &Limits,
        stats: &mut FlowStats,
    ) -> bool {
        let plausible = self.started
            && (is_near(rcv_nxt, self.held.end() as u32, limits)
                || near.is_some_and(|near| is_near(rcv_nxt, near, limits)));
        if plausible {
            self.live = true;
            self.confirm(rcv_nxt, at, limits, stats);
        }
        plausible
    }

    /// Gives up what has waited too long: holes, and bytes without confirmation.
    pub fn expire(&mut self, now: Time, limits: &Limits, stats: &mut FlowStats) {
        while self.hole_since().is_some_and(|since| now >= since + limits.hole_wait) {
            stats.holes_given_up += 1;
            self.skip_hole(limits, stats);
        }
        if self.delivery == Delivery::OnConfirmation && self.end == End::Open {
            let due = self.held.first_younger(self.ready, now, limits.confirm_wait);
            if due > self.ready {
                self.ready = due;
                stats.unconfirmed += 1;
            }
            if !self.live && self.ready >= self.fin && now >= self.fin_at + limits.confirm_wait {
                self.close(End::Closed, self.fin);
            }
        }
        self.tidy();
    }

    /// When [`expire`](Self::expire) has something to do unless segments come first.
    #[must_use]
    pub fn deadline(&self, limits: &Limits) -> Option<Time> {
        let hole = self.hole_since().map(|since| since + limits.hole_wait);
        let waits = self.delivery == Delivery::OnConfirmation && self.end == End::Open;
        let confirm = if waits && self.ready < self.held.end() {
            self.held.arrival(self.ready)
        } else if waits && !self.live && self.ready >= self.fin {
            Some(self.fin_at)
        } else {
            None
        };
        hole.into_iter().chain(confirm.map(|since| since + limits.confirm_wait)).min()
    }

    /// Nothing more comes: all that is held becomes readable, holes as gaps, then the end.
    pub fn flush(&mut self, limits: &Limits, stats: &mut FlowStats) {
        self.finish(End::Closed, limits, stats);
    }

    /// The connection was torn down from the other side; else as [`flush`](Self::flush).
    pub fn reset(&mut self, limits: &Limits, stats: &mut FlowStats) {
        self.finish(End::Reset, limits, stats);
    }

    fn finish(&mut self, end: End, limits: &Limits, stats: &mut FlowStats) {
        while self.end == End::Open && self.rare.as_ref().is_some_and(|rare| !rare.queue.is_empty())
        {
            self.skip_hole(limits, stats);
        }
        // A FIN behind a hole may have ended it.
        if self.end == End::Open {
            self.close(end, self.held.end());
        }
    }

    /// The end of what may be read now.
    fn limit(&self) -> u64 {
        match (self.end, self.delivery) {
            (End::Closed | End::Reset, _) => self.fin,
            (End::Open, Delivery::OnArrival) => self.held.end(),
            (End::Open, Delivery::OnConfirmation) => self.ready,
        }
    }

    fn is_at_end(&self, pos: u64) -> bool {
        self.end != End::Open && pos >= self.fin
    }

    /// Reads a sequence number as the one of its kind next to the end of what is in order.
    fn unwrap(&self, seq: u32) -> u64 {
        let end = self.held.end();
        let ahead = seq.wrapping_sub(end as u32) as i32;
        end.saturating_add_signed(i64::from(ahead))
    }

    /// Begins the stream at its first segment. False where it tells no position: a segment
    /// without content may be a keep-alive probe, one below what the receiver expects.
    fn start(
        &mut self,
        segment: &Segment<'_>,
        seq: u32,
        rcv_nxt: Option<u32>,
        limits: &Limits,
    ) -> bool {
        let flags = segment.flags;
        if segment.len == 0 && segment.payload.is_empty() && !flags.syn && !flags.fin && !flags.rst
        {
            return false;
        }
        let first = rcv_nxt.filter(|&next| is_near(next, seq, limits)).unwrap_or(seq);
        self.started = true;
        self.synced = flags.syn;
        self.origin = FIRST_ERA | u64::from(first);
        self.held = InOrder::new(self.origin);
        self.pos = self.origin;
        self.confirmed = self.origin;
        self.ready = self.origin;
        true
    }

    /// Moves the beginning of a stream of which nothing has become readable down to `to`.
    fn move_origin(&mut self, to: u64) {
        if self.held.has_gap() {
            return;
        }
        let (start, end) = (self.origin, self.held.end());
        if let Some(at) = self.held.arrival(start) {
            let bytes = self.held.data().into();
            let segment = Queued { start, data_end: end, end, at, bytes };
            self.rare.get_or_insert_default().queue.insert(segment);
        }
        self.held = InOrder::new(to);
        self.origin = to;
        self.pos = to;
        self.confirmed = to;
        self.ready = to;
    }

    /// RFC 5961, section 3.2, as in `tcp_validate_incoming`: a reset counts if it names exactly
    /// the byte that is expected; within the window where that is not known.
    fn push_rst(&mut self, start: u64, live: bool, limits: &Limits, stats: &mut FlowStats) {
        let believed = if live {
            start == self.confirmed
        } else {
            start >= self.confirmed && start <= self.held.end() + u64::from(limits.window)
        };
        if believed {
            self.finish(End::Reset, limits, stats);
        } else {
            stats.resets_refused += 1;
        }
    }

    /// Remembers where the stream ends if this FIN is genuine. One before bytes in order is not,
    /// unless it is known that the service has not taken those.
    fn note_fin(&mut self, fin: u64, live: bool, at: Time, limits: &Limits) {
        let next = self.held.end();
        let from = if live { self.confirmed } else { next };
        if fin >= from && fin <= next + 2 * u64::from(limits.window) {
            self.fin = fin;
            self.fin_at = at;
        }
    }

    /// Ends a stream that is delivered on arrival at its FIN.
    fn close_in_order(&mut self) {
        if self.delivery == Delivery::OnArrival
            && self.end == End::Open
            && self.held.end() >= self.fin
        {
            self.close(End::Closed, self.fin);
        }
    }

    fn close(&mut self, end: End, at: u64) {
        self.end = end;
        self.fin = at.max(self.pos);
        if let Some(rare) = &mut self.rare {
            rare.queue = Queue::default();
        }
        self.release();
    }

    /// Frees what has been read, unless the service may still refuse it.
    fn release(&mut self) {
        let kept = self.live && self.delivery == Delivery::OnConfirmation && self.end == End::Open;
        let to = if kept {
            self.pos.min(self.confirmed)
        } else if self.is_at_end(self.pos) {
            self.held.end()
        } else {
            self.pos
        };
        if to > self.held.base() {
            self.held.release(to);
        }
        self.tidy();
    }

    /// Frees the rare state when there is none.
    fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_idle()) {
            self.rare = None;
        }
    }

    /// Since when the first hole waits, where waiting ends at all.
    fn hole_since(&self) -> Option<Time> {
        if self.live && self.delivery == Delivery::OnConfirmation {
            return None;
        }
        self.rare.as_ref()?.queue.oldest()
    }
}

fn is_near(a: u32, b: u32, limits: &Limits) -> bool {
    (a.wrapping_sub(b) as i32).unsigned_abs() <= limits.window
}
