use smallvec::SmallVec;

use super::{
    settings::FrontLimits,
    starts::{Fate, Starts},
    stats::FrontStats,
    steps::{End, Slot, Step, Steps},
};
use crate::{
    capture::{Direction, FlowKey, OpaqueKind, Segment},
    finding::Finding,
    flow::{self, Flow, Stream},
    http::{self, Connection, Events, HttpEvent},
    time::Time,
};

/// Flow events of malformed bytes that one connection may raise; the rest is only counted.
const MAX_MALFORMED_EVENTS: u8 = 4;

/// Findings of the TCP layer that one connection keeps for its next request.
const MAX_PENDING_FINDINGS: usize = 8;

/// What a connection has at hand when it acts.
pub(super) struct Turn<'t, S> {
    pub(super) limits: &'t FrontLimits,
    pub(super) stats: &'t mut FrontStats,
    pub(super) now: Time,
    /// Scratch: empty, and kept for its memory.
    pub(super) events: &'t mut Events,
    pub(super) steps: &'t mut S,
    /// Bytes wait from now on for TCP to confirm them.
    pub(super) awaits: bool,
}

/// One connection up to its messages: reassembly and HTTP.
pub(super) struct FlowState {
    pub(super) slot: Slot,
    pub(super) key: FlowKey,
    pub(super) cookie: u64,
    pub(super) last_seen: Time,
    pub(super) flow: Flow,
    pub(super) http: Connection,
    /// Bytes at each read position that the HTTP stage has seen and left: an unfinished head.
    offered: [usize; 2],
    /// Bytes of the requests that were given out and whose exchange is not over.
    open_bytes: usize,
    pending: SmallVec<[Finding; 0]>,
    opaque: bool,
    /// Capture is to be asked to stop.
    stop_due: bool,
    awaits_confirmation: bool,
    malformed_events: u8,
    starts: Starts,
    /// A limit ends it.
    pub(super) evicted: bool,
    /// It was given up while its client could still send.
    cut: bool,
}

impl FlowState {
    pub(super) fn new(
        slot: Slot,
        key: FlowKey,
        cookie: u64,
        now: Time,
        joined_midway: bool,
    ) -> Self {
        Self {
            slot,
            key,
            cookie,
            last_seen: now,
            flow: Flow::new(),
            http: Connection::new(joined_midway),
            offered: [0; 2],
            open_bytes: 0,
            pending: SmallVec::new(),
            opaque: false,
            stop_due: false,
            awaits_confirmation: false,
            malformed_events: 0,
            starts: Starts::default(),
            evicted: false,
            cut: false,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.flow.memory() + self.http.held_bytes() + self.open_bytes
    }

    /// Whether the socket that `cookie` names may be this one: 0 names none.
    pub(super) fn is_socket(&self, cookie: u64) -> bool {
        self.cookie == cookie || self.cookie == 0 || cookie == 0
    }

    /// Takes note of the socket's cookie, once it is known.
    pub(super) fn learn_cookie(&mut self, cookie: u64, steps: &mut impl Steps) {
        if self.cookie == 0 && cookie != 0 {
            self.cookie = cookie;
            steps.step(Step::Cookie { slot: self.slot, cookie });
        }
    }

    /// Whether the segment belongs to another connection that took over the addresses.
    pub(super) fn is_replaced_by(&self, segment: &Segment<'_>) -> bool {
        !self.is_socket(segment.cookie) || self.flow.is_reopened_by(segment)
    }

    /// Whether this may be the connection whose handshake was done when its socket expected
    /// `rcv_nxt`: of another that had the same addresses, other bytes are known.
    pub(super) fn may_begin_at(&self, cookie: u64, rcv_nxt: u32) -> bool {
        let stream = &self.flow.to_server;
        let seen = stream.offset() + stream.buffered() as u64;
        let within = |first: u32| u64::from(rcv_nxt.wrapping_sub(first)) <= seen;
        self.is_socket(cookie) && stream.first_seq().is_none_or(within)
    }

    /// The first byte of the connection is the first that was seen. Data that overtook the end of
    /// the handshake came before this was known.
    pub(super) fn begins_here(&mut self) {
        let untouched = |stream: &Stream| stream.offset() == 0;
        if untouched(&self.flow.to_server)
            && untouched(&self.flow.to_client)
            && self.offered == [0; 2]
        {
            self.http = Connection::new(false);
        }
    }

    /// Whether the connection is over and never carried a byte.
    pub(super) fn ended_unused(&self) -> bool {
        let unused =
            |stream: &Stream| stream.is_ended() && stream.offset() == 0 && stream.buffered() == 0;
        unused(&self.flow.to_server) && unused(&self.flow.to_client)
    }

    pub(super) fn segment(&mut self, segment: &Segment<'_>, turn: &mut Turn<'_, impl Steps>) {
        let starts = &mut turn.stats.starts;
        if segment.request {
            self.starts.take(segment.seq, starts);
        }
        if self.opaque {
            if std::mem::take(&mut self.stop_due) {
                self.stop(turn);
            }
            let starts = &mut turn.stats.starts;
            self.starts.lose_all(Fate::Mistaken, starts);
            turn.stats.opaque_bytes += u64::from(segment.len);
            return;
        }
        let limits = &turn.limits.flow;
        if self.flow.to_client.is_next(segment, limits) && segment.direction == Direction::ToClient
        {
            self.flow.confirm(segment, limits, &mut turn.stats.flow);
            self.drain(Some(segment), turn);
        } else {
            self.flow.push(segment, limits, &mut turn.stats.flow);
            self.drain(None, turn);
        }
    }

    /// Hands on what TCP never confirmed: the capture may show one side only.
    pub(super) fn expire_unconfirmed(&mut self, turn: &mut Turn<'_, impl Steps>) {
        self.awaits_confirmation = false;
        if !self.opaque {
            self.flow.expire(turn.now, &turn.limits.flow, &mut turn.stats.flow);
            self.drain(None, turn);
        }
    }

    pub(super) fn turn_opaque(&mut self, kind: OpaqueKind, turn: &mut Turn<'_, impl Steps>) {
        if self.opaque {
            return;
        }
        if self.http.begun() == 0 {
            // The bytes that are held here are what was judged; nothing is to be made of them.
            self.flow = Flow::new();
            self.http = Connection::new(true);
        }
        self.finish_as(Fate::Mistaken, turn);
        if self.opaque {
            // Reading what was left has come to the same.
            return;
        }
        self.opaque = true;
        self.flow = Flow::new();
        turn.stats.count_opaque(kind);
        self.stop(turn);
        turn.steps.step(Step::Opaque { slot: self.slot, kind });
    }

    /// Asks capture to copy no more, or will once the socket's cookie is known.
    fn stop(&mut self, turn: &mut Turn<'_, impl Steps>) {
        self.stop_due = self.cookie == 0;
        turn.steps.step(Step::Stop { cookie: self.cookie });
    }

    /// The connection is over: what is buffered is handed on, every exchange is closed.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_, impl Steps>) {
        if self.opaque {
            return;
        }
        let fate = if self.evicted { Fate::Evicted } else { Fate::Incomplete };
        self.finish_as(fate, turn);
    }

    /// As [`finish`](Self::finish); request starts that are still open meet `fate`.
    fn finish_as(&mut self, fate: Fate, turn: &mut Turn<'_, impl Steps>) {
        self.cut = !self.flow.to_server.has_fin();
        self.flow.flush(&turn.limits.flow, &mut turn.stats.flow);
        self.drain(None, turn);
        self.starts.lose_all(fate, &mut turn.stats.starts);
        let mut events = Events::default();
        self.http.finish(turn.now, &mut events);
        self.take(&mut events, turn);
        if !self.pending.is_empty() {
            let findings = std::mem::take(&mut self.pending).into_vec();
            turn.steps.step(Step::Malformed { slot: self.slot, findings });
        }
    }

    /// Reads what is readable, and behind it a segment of an answer that needs no reassembly.
    fn drain(&mut self, next: Option<&Segment<'_>>, turn: &mut Turn<'_, impl Steps>) {
        if next.is_some() || !self.flow.is_read() {
            // Requests first: a response's own segment confirms the request that it answers.
            let mut events = std::mem::take(turn.events);
            self.drain_direction(Direction::ToServer, &mut events, turn);
            match next {
                Some(segment) => self.read_next(segment, &mut events, turn),
                None => self.drain_direction(Direction::ToClient, &mut events, turn),
            }
            *turn.events = events;
        }
        if !self.opaque
            && !self.awaits_confirmation
            && self.flow.deadline(&turn.limits.flow).is_some()
        {
            self.awaits_confirmation = true;
            turn.awaits = true;
        }
    }

    /// Reads a segment of an answer that [`is_next`](Stream::is_next). Only what is left of it, an
    /// unfinished head, is copied.
    fn read_next(
        &mut self,
        segment: &Segment<'_>,
        events: &mut Events,
        turn: &mut Turn<'_, impl Steps>,
    ) {
        if self.opaque {
            return;
        }
        let (payload, limits) = (segment.payload, &turn.limits.http);
        let chunk = http::Chunk::Data(payload);
        let taken = self.http.push(segment.direction, segment.at, chunk, limits, events);
        let stream = &mut self.flow.to_client;
        if taken == payload.len() {
            stream.pass(segment);
        } else {
            stream.push(segment, &turn.limits.flow, &mut turn.stats.flow);
            stream.consume(taken as u64);
            self.offered[1] = payload.len() - taken;
        }
        self.take(events, turn);
    }

    fn drain_direction(
        &mut self,
        direction: Direction,
        events: &mut Events,
        turn: &mut Turn<'_, impl Steps>,
    ) {
        while !self.opaque {
            let (stream, offered) = match direction {
                Direction::ToServer => (&mut self.flow.to_server, &mut self.offered[0]),
                Direction::ToClient => (&mut self.flow.to_client, &mut self.offered[1]),
            };
            if stream.is_read() {
                return;
            }
            let limits = &turn.limits.http;
            let mut ended = false;
            match stream.readable() {
                flow::Chunk::Empty => return,
                flow::Chunk::Data { bytes, last, .. } => {
                    if bytes.len() <= *offered {
                        if !last {
                            return;
                        }
                        // No more comes behind this unfinished head but a gap or the end.
                        let left = bytes.to_vec();
                        stream.consume(left.len() as u64);
                        if direction == Direction::ToClient {
                            continue;
                        }
                        let starts = &mut turn.stats.starts;
                        match stream.readable() {
                            flow::Chunk::End { reset: false } if !self.cut => {
                                let (begun, chunk) = (self.http.begun(), http::Chunk::Last(&left));
                                self.http.push(direction, turn.now, chunk, limits, events);
                                let begun = self.http.begun() - begun;
                                if begun > 0 {
                                    let fate = Fate::Incomplete;
                                    self.starts.read_upto(stream.seq(), begun, fate, starts);
                                }
                            }
                            flow::Chunk::End { .. } => {}
                            _ => self.starts.lose_upto(stream.seq(), Fate::Cut, starts),
                        }
                        continue;
                    }
                    let (at, upto) = same_arrival(stream, *offered, bytes.len(), turn.now);
                    let chunk = http::Chunk::Data(bytes.get(..upto).unwrap_or(bytes));
                    let (begun, expected) = (self.http.begun(), self.http.expects_request());
                    let taken = self.http.push(direction, at, chunk, limits, events);
                    *offered = upto.saturating_sub(taken);
                    stream.consume(taken as u64);
                    if direction == Direction::ToServer {
                        let begun = self.http.begun() - begun;
                        let fate = if expected { Fate::Malformed } else { Fate::Mistaken };
                        let starts = &mut turn.stats.starts;
                        self.starts.read_upto(stream.seq(), begun, fate, starts);
                    }
                }
                flow::Chunk::Gap { len } => {
                    *offered = 0;
                    self.http.push(direction, turn.now, http::Chunk::Gap(len), limits, events);
                    stream.consume(len);
                    if direction == Direction::ToServer {
                        let starts = &mut turn.stats.starts;
                        self.starts.lose_upto(stream.seq(), Fate::Cut, starts);
                    }
                }
                flow::Chunk::Restart => {
                    // What was made of the refused bytes is void: a new start, midway.
                    *offered = 0;
                    stream.consume(0);
                    self.http.finish(turn.now, events);
                    self.http = Connection::new(true);
                }
                flow::Chunk::End { reset } => {
                    *offered = 0;
                    ended = true;
                    if direction == Direction::ToServer {
                        let fate = if self.evicted { Fate::Evicted } else { Fate::Incomplete };
                        self.starts.lose_all(fate, &mut turn.stats.starts);
                    }
                    let chunk = http::Chunk::End { reset };
                    self.http.push(direction, turn.now, chunk, limits, events);
                }
            }
            let findings = stream.take_findings();
            self.keep(findings);
            self.take(events, turn);
            if ended {
                return;
            }
        }
    }

    fn keep(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            // The first of a kind says where it began; the pieces of one segment repeat it.
            let known = self.pending.iter().any(|pending| pending.id == finding.id);
            if !known && self.pending.len() < MAX_PENDING_FINDINGS {
                self.pending.push(finding);
            }
        }
    }

    /// Hands on what the HTTP stage made of the bytes.
    fn take(&mut self, events: &mut Events, turn: &mut Turn<'_, impl Steps>) {
        if events.is_empty() {
            return;
        }
        let slot = self.slot;
        let mut list = events.take();
        for event in list.drain(..) {
            match event {
                HttpEvent::Request { id, mut request } => {
                    self.open_bytes += request.held_bytes();
                    if !self.pending.is_empty() {
                        request.findings.extend(std::mem::take(&mut self.pending));
                    }
                    turn.steps.step(Step::Request { slot, id, request });
                }
                HttpEvent::Response { id, response } => {
                    turn.steps.step(Step::Response { slot, id, response });
                }
                HttpEvent::Document { id, body } => {
                    turn.steps.step(Step::Document { slot, id, body });
                }
                HttpEvent::Done {
                    id,
                    request_bytes,
                    response_bytes,
                    complete,
                    held_bytes,
                    at: _,
                } => {
                    self.open_bytes -= held_bytes;
                    let end = End { request_bytes, response_bytes, complete };
                    if let Some(request) = turn.steps.step(Step::Done { slot, id, end }) {
                        events.recycle(request);
                    }
                }
                HttpEvent::Malformed { findings, .. } => {
                    turn.stats.malformed += 1;
                    if self.malformed_events < MAX_MALFORMED_EVENTS {
                        self.malformed_events += 1;
                        turn.steps.step(Step::Malformed { slot, findings });
                    }
                }
                HttpEvent::Opaque { kind, .. } => self.turn_opaque(kind, turn),
            }
        }
        events.restore(list);
    }
}

/// The arrival time of the byte `from`, and how far the bytes behind it share that time. One
/// segment's bytes do, so most often this is all of them.
fn same_arrival(stream: &Stream, from: usize, len: usize, now: Time) -> (Time, usize) {
    let at = |ahead| stream.arrival(ahead).unwrap_or(now);
    let time = at(from);
    if at(len - 1) == time {
        return (time, len);
    }
    let (mut same, mut other) = (from, len - 1);
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if at(middle) == time { same = middle } else { other = middle }
    }
    (time, other)
}
