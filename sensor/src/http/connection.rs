//! Both directions of one connection: framing, pairing, and finding the way back after a loss.

use super::{
    Chunk, Events, HttpEvent, Limits,
    chunked::Chunked,
    exchange::{Open, Progress},
};
use crate::{
    capture::{Direction, OpaqueKind},
    time::Time,
};

/// So many requests may have been lost that no response can be attributed by counting.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// What one direction is in the middle of.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Nothing has been seen.
    Start,
    /// At the start of a head, or within it.
    Head,
    /// The position is lost: searching the next head.
    Search,
    /// In a body of this many bytes more.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// In a response's body that only the end of the connection ends.
    UntilClose,
    /// The sender sends no more.
    Ended,
}

impl State {
    /// So many bytes pass unseen. Gives how many of them are the body's, and whether nothing is known
    /// of what they end in.
    pub(super) fn absorb(&mut self, n: u64) -> (u64, bool) {
        match self {
            Self::Ended => (0, false),
            Self::UntilClose => (n, false),
            Self::Length(left) => {
                let absorbed = n.min(*left);
                *left -= absorbed;
                (absorbed, n > absorbed)
            }
            Self::Chunked(chunked) => {
                let known = chunked.skip(n);
                (if known { n } else { 0 }, !known)
            }
            Self::Start | Self::Head | Self::Search => (0, true),
        }
    }
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) state: State,
    /// Bytes of the unconsumed rest that have been searched.
    pub(super) scanned: usize,
    /// When the first of them passed.
    pub(super) since: Time,
    /// The body may not be there at all: its first bytes can be the next head.
    pub(super) body_doubtful: bool,
    /// An irregularity in this body's framing has been reported.
    pub(super) irregular: bool,
    /// The first line of the head that passes has been judged.
    pub(super) first_line_judged: bool,
    /// What binary protocol the first bytes of a connection joined midway look like.
    pub(super) looks_like: Option<OpaqueKind>,
}

impl Side {
    const fn new() -> Self {
        Self {
            state: State::Start,
            scanned: 0,
            since: Time::EPOCH,
            body_doubtful: false,
            irregular: false,
            first_line_judged: false,
            looks_like: None,
        }
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.scanned = 0;
        self.body_doubtful = false;
        self.irregular = false;
        self.first_line_judged = false;
    }

    /// As [`State::absorb`]; what waited to be told from a head was the body's then.
    pub(super) fn absorb(&mut self, n: u64) -> (u64, bool) {
        let waiting = match std::mem::take(&mut self.body_doubtful) {
            true => std::mem::take(&mut self.scanned) as u64,
            false => 0,
        };
        self.state.absorb(n.saturating_add(waiting))
    }

    /// Leaves `len` bytes for the next call.
    pub(super) fn wait(&mut self, len: usize, at: Time) -> Turn {
        if self.scanned == 0 {
            self.since = at;
        }
        self.scanned = len;
        Turn::Wait
    }

    /// Deals with an empty line where a head should begin: it is ignored (RFC 9112, section 2.2).
    pub(super) fn empty_line(&mut self, bytes: &[u8], at: Time) -> Option<Turn> {
        match bytes {
            [b'\n', ..] => {
                self.scanned = 0;
                Some(Turn::Used(1))
            }
            [b'\r', b'\n', ..] => {
                self.scanned = 0;
                Some(Turn::Used(2))
            }
            [b'\r'] => Some(self.wait(0, at)),
            _ => None,
        }
    }

    /// When the first byte of the rest passed.
    pub(super) fn first_byte(&self, at: Time) -> Time {
        if self.scanned == 0 { at } else { self.since }
    }
}

/// What one step of a direction has come to.
pub(super) enum Turn {
    /// So many bytes are consumed, or none, but the state is another one.
    Used(usize),
    /// More bytes are needed.
    Wait,
}

/// Watches both directions of one connection.
///
/// Pure: bytes, gaps and their times in, [`HttpEvent`]s out. It takes about 150 bytes and what
/// the queue of open exchanges has grown to, which [`Limits`] bound.
///
/// # Which bytes count
///
/// `request_bytes` and `response_bytes` of [`HttpEvent::Done`] are bytes on the wire, from the
/// first of the start line to the last of the body: the head with its last empty line, chunk
/// sizes, extensions and trailers included, and gaps that surely lie within the body. Empty
/// lines before a start line, interim (1xx) responses and what is passed over after a loss do
/// not count.
#[derive(Debug)]
pub struct Connection {
    pub(super) requests: Side,
    pub(super) responses: Side,
    pub(super) open: Open,
    pub(super) next_id: u64,
    /// How many responses may still come that belong to no open exchange, and before those to
    /// requests yet to come.
    pub(super) unattributed: u32,
    /// Bytes passed over at the start in search of a first request.
    pub(super) skipped: usize,
    /// Final responses seen that were attached to no request.
    pub(super) unpaired_responses: u64,
    pub(super) joined_midway: bool,
    /// A request has been sent before an earlier response was over.
    pub(super) pipelined: bool,
    /// Response heads may have been lost since the last one.
    pub(super) responses_lost: bool,
    /// A broken request has been sent, which the service may answer out of count.
    pub(super) refusal_due: bool,
    /// The connection began with what is no request, and this has not been reported.
    pub(super) start_broken: bool,
    pub(super) opaque: bool,
    /// Final responses still due, counted since request bytes of unknown framing passed unseen
    /// behind a request that waits for its answer: one more means that a request was among them.
    pub(super) due: Option<u32>,
    /// What the last request's fields are [known](super::shapes::Shapes) by; one that names none at
    /// first.
    pub(super) shape: u16,
}

impl Connection {
    /// A connection before its first byte. `joined_midway`: its beginning was not seen, so that
    /// the first bytes may lie anywhere in a message.
    #[must_use]
    pub fn new(joined_midway: bool) -> Self {
        Self {
            requests: Side::new(),
            responses: Side::new(),
            open: Open::default(),
            next_id: 0,
            unattributed: if joined_midway { UNKNOWN } else { 0 },
            skipped: 0,
            unpaired_responses: 0,
            joined_midway,
            pipelined: false,
            responses_lost: joined_midway,
            refusal_due: false,
            start_broken: false,
            opaque: false,
            due: None,
            shape: u16::MAX,
        }
    }

    /// Whether the connection turned out not to be HTTP/1; it takes no more bytes.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// Requests that began: each is handed out as a [`HttpEvent::Request`] now, or when its body
    /// has come.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.next_id
    }

    /// Bytes that are held beside those that the caller offers again: of a response's body.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.open.held()
    }

    /// Whether the client's next bytes are to begin a request head, or are within one.
    #[must_use]
    pub fn expects_request(&self) -> bool {
        matches!(self.requests.state, State::Start | State::Head)
    }

    /// Final responses that were attached to no request: their requests were not seen, or could
    /// not be told apart after a loss.
    #[must_use]
    pub fn unpaired_responses(&self) -> u64 {
        self.unpaired_responses
    }

    /// Takes what passed next in one direction; `at` is when its new bytes passed. Events are
    /// appended to `out`.
    ///
    /// Returns how many bytes of a [`Chunk::Data`] were consumed (0 for the others). Fewer than
    /// given means an unfinished head: offer the rest again with more behind it. Offered without
    /// more, it is left alone. The rest is never longer than [`Limits::head_bytes`].
    pub fn push(
        &mut self,
        direction: Direction,
        at: Time,
        chunk: Chunk<'_>,
        limits: &Limits,
        out: &mut Events,
    ) -> usize {
        match (chunk, direction) {
            (Chunk::Data(bytes), _) if self.opaque => bytes.len(),
            (_, _) if self.opaque => 0,
            (Chunk::Data(bytes), _) => {
                let mut used = 0;
                while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
                    let turn = match direction {
                        Direction::ToServer => self.request_turn(rest, at, limits, out),
                        Direction::ToClient => self.response_turn(rest, at, limits, out),
                    };
                    match turn {
                        Turn::Used(n) => used += n,
                        Turn::Wait => break,
                    }
                }
                used.min(bytes.len())
            }
            (Chunk::Last(bytes), Direction::ToServer) => {
                // Nothing follows what may have been the line of another request.
                let used = match std::mem::take(&mut self.requests.body_doubtful) {
                    true => self.push(direction, at, Chunk::Data(bytes), limits, out),
                    false => 0,
                };
                if let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
                    self.request_last(rest, at, limits, out);
                }
                bytes.len()
            }
            (Chunk::Last(bytes), Direction::ToClient) => bytes.len(),
            (Chunk::Gap(0), _) => 0,
            (Chunk::Gap(n), Direction::ToServer) => {
                self.request_gap(n, at, out);
                0
            }
            (Chunk::Gap(n), Direction::ToClient) => {
                self.response_gap(n, at, out);
                0
            }
            (Chunk::End { .. }, Direction::ToServer) => {
                self.end_request(Progress::Cut, None, out);
                self.requests.enter(State::Ended);
                0
            }
            (Chunk::End { reset }, Direction::ToClient) => {
                let until_close = matches!(self.responses.state, State::UntilClose);
                let whole = until_close && !reset;
                self.end_response(if whole { Progress::Whole } else { Progress::Cut }, None, out);
                self.responses.enter(State::Ended);
                0
            }
        }
    }

    /// The clock was set by so many nanoseconds.
    pub fn clock_set(&mut self, by: i64) {
        for side in [&mut self.requests, &mut self.responses] {
            side.since = side.since.moved(by);
        }
        self.open.clock_set(by);
    }

    /// The connection is over, or no longer watched: closes all open exchanges.
    pub fn finish(&mut self, at: Time, out: &mut Events) {
        if self.opaque {
            return;
        }
        self.report_broken_start(at, out);
        self.open.finish(out);
        self.requests.enter(State::Ended);
        self.responses.enter(State::Ended);
    }

    pub(super) fn go_opaque(&mut self, kind: OpaqueKind, at: Time, out: &mut Events) {
        self.open.finish(out);
        self.start_broken = false;
        self.opaque = true;
        self.requests.enter(State::Ended);
        self.responses.enter(State::Ended);
        out.push(HttpEvent::Opaque { at, kind });
    }
}
