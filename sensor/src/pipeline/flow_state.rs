use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use smallvec::SmallVec;

use super::{
    Wait,
    assess::{Judged, to_score},
    ending::{Endings, endings},
    output::Reporter,
    starts::{Fate, Starts},
};
use crate::{
    capture::{Direction, FlowKey, OpaqueKind, Segment, Service},
    event::Enforcement,
    features::Watched,
    finding::Finding,
    flow::{self, Flow, Stream},
    http::{self, Connection, Events, HttpEvent, Request, Response},
    memory::{UseHandle, outcome, weigh},
    score::{Score, fusion},
    time::Time,
    token::{Location, TokenReport},
};

/// Flow events of malformed bytes that one connection may raise; the rest is only counted.
const MAX_MALFORMED_EVENTS: u8 = 4;

/// Findings of the TCP layer that one connection keeps for its next request.
const MAX_PENDING_FINDINGS: usize = 8;

/// Queues that are kept for their memory, and how many requests such a one has room for at most:
/// as many as services answer at once, and not the memory of all connections.
const MAX_SPARE: usize = 128;
const MAX_SPARE_LEN: usize = 4;

/// A request whose exchange is not over.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) request: Box<Request>,
    pub(super) tokens: TokenReport,
    pub(super) response: Option<Response>,
    /// The client: the peer, or whom a trusted proxy names.
    pub(super) client: IpAddr,
    /// How likely it is an attack; `None` where nothing is scored.
    pub(super) score: Option<Score>,
    /// Its features, until the exchange is over; none where no token says who asks.
    pub(super) watched: Option<Box<Watched>>,
    /// What it ends, if the service says so.
    endings: Endings,
    /// The uses of its tokens, until the answer is known.
    uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
    /// What the answer adds to the findings.
    pub(super) outcome: Option<Finding>,
    /// It is worth an event.
    pub(super) suspicious: bool,
    /// What was done about it.
    pub(super) enforcement: Option<Enforcement>,
    /// Its event has gone out.
    pub(super) reported: bool,
}

impl Open {
    fn held_bytes(&self) -> usize {
        self.request.head_len() + self.request.body.bytes.len()
    }
}

/// How an exchange ended.
pub(super) struct End {
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) complete: bool,
}

/// One connection through all stages.
pub(super) struct FlowState {
    pub(super) key: FlowKey,
    pub(super) cookie: u64,
    pub(super) last_seen: Time,
    pub(super) service: Option<Arc<Service>>,
    flow: Flow,
    http: Connection,
    /// Bytes at each read position that the HTTP stage has seen and left: an unfinished head.
    offered: [usize; 2],
    open: VecDeque<Open>,
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
}

impl FlowState {
    pub(super) fn new(key: FlowKey, cookie: u64, now: Time, joined_midway: bool) -> Self {
        Self {
            key,
            cookie,
            last_seen: now,
            service: None,
            flow: Flow::new(),
            http: Connection::new(joined_midway),
            offered: [0; 2],
            open: VecDeque::new(),
            open_bytes: 0,
            pending: SmallVec::new(),
            opaque: false,
            stop_due: false,
            awaits_confirmation: false,
            malformed_events: 0,
            starts: Starts::default(),
            evicted: false,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.flow.memory() + self.http.held_bytes() + self.open_bytes
    }

    /// Whether the socket that `cookie` names may be this one: 0 names none.
    pub(super) fn is_socket(&self, cookie: u64) -> bool {
        self.cookie == cookie || self.cookie == 0 || cookie == 0
    }

    pub(super) fn learn_cookie(&mut self, cookie: u64) {
        if self.cookie == 0 {
            self.cookie = cookie;
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

    pub(super) fn segment(&mut self, segment: &Segment<'_>, reporter: &mut Reporter<'_, '_>) {
        let starts = &mut reporter.stats.starts;
        if segment.request {
            self.starts.take(segment.seq, starts);
        }
        if self.opaque {
            if std::mem::take(&mut self.stop_due) {
                self.stop(reporter);
            }
            let starts = &mut reporter.stats.starts;
            self.starts.lose_all(Fate::Mistaken, starts);
            reporter.stats.opaque_bytes += u64::from(segment.len);
            return;
        }
        let limits = &reporter.settings.flow;
        if self.flow.to_client.is_next(segment, limits) && segment.direction == Direction::ToClient
        {
            self.flow.confirm(segment, limits, &mut reporter.stats.flow);
            self.drain(Some(segment), reporter);
        } else {
            self.flow.push(segment, limits, &mut reporter.stats.flow);
            self.drain(None, reporter);
        }
    }

    /// Hands on what TCP never confirmed: the capture may show one side only.
    pub(super) fn expire_unconfirmed(&mut self, reporter: &mut Reporter<'_, '_>) {
        self.awaits_confirmation = false;
        if !self.opaque {
            self.flow.expire(reporter.now, &reporter.settings.flow, &mut reporter.stats.flow);
            self.drain(None, reporter);
        }
    }

    pub(super) fn turn_opaque(&mut self, kind: OpaqueKind, reporter: &mut Reporter<'_, '_>) {
        if self.opaque {
            return;
        }
        if self.http.begun() == 0 {
            // The bytes that are held here are what was judged; nothing is to be made of them.
            self.flow = Flow::new();
            self.http = Connection::new(true);
        }
        self.finish_as(Fate::Mistaken, reporter);
        if self.opaque {
            // Reading what was left has come to the same.
            return;
        }
        self.opaque = true;
        self.flow = Flow::new();
        reporter.stats.count_opaque(kind);
        self.stop(reporter);
        reporter.opaque_event(self, kind);
    }

    /// Asks capture to copy no more, or will once the socket's cookie is known.
    fn stop(&mut self, reporter: &mut Reporter<'_, '_>) {
        self.stop_due = self.cookie == 0;
        reporter.out.stop_flow(self.cookie);
    }

    /// The connection is over: what is buffered is handed on, every exchange is closed.
    pub(super) fn finish(&mut self, reporter: &mut Reporter<'_, '_>) {
        if self.opaque {
            return;
        }
        let fate = if self.evicted { Fate::Evicted } else { Fate::Incomplete };
        self.finish_as(fate, reporter);
    }

    /// As [`finish`](Self::finish); request starts that are still open meet `fate`.
    fn finish_as(&mut self, fate: Fate, reporter: &mut Reporter<'_, '_>) {
        self.flow.flush(&reporter.settings.flow, &mut reporter.stats.flow);
        self.drain(None, reporter);
        self.starts.lose_all(fate, &mut reporter.stats.starts);
        let mut events = Events::default();
        self.http.finish(reporter.now, &mut events);
        self.take(&mut events, reporter);
        if !self.pending.is_empty() {
            let findings = std::mem::take(&mut self.pending).into_vec();
            reporter.malformed_event(self, findings);
        }
    }

    /// The answer is late: the event goes out with what is known.
    pub(super) fn report_unfinished(
        &mut self,
        id: u64,
        wait: Wait,
        reporter: &mut Reporter<'_, '_>,
    ) {
        let Some(at) = self.position(id) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        // Once the head is there, the tail's deadline decides.
        if open.reported || (matches!(wait, Wait::Answer(_)) && open.response.is_some()) {
            return;
        }
        open.reported = true;
        // By what is known of the answer by now; whoever waits for the event waits no longer.
        reporter.weigh_behaviour(open);
        reporter.request_event(&self.key, self.service.as_ref(), open, None);
    }

    /// Reads what is readable, and behind it a segment of an answer that needs no reassembly.
    fn drain(&mut self, next: Option<&Segment<'_>>, reporter: &mut Reporter<'_, '_>) {
        if next.is_some() || !self.flow.is_read() {
            // Requests first: a response's own segment confirms the request that it answers.
            let mut events = std::mem::take(reporter.events);
            self.drain_direction(Direction::ToServer, &mut events, reporter);
            match next {
                Some(segment) => self.read_next(segment, &mut events, reporter),
                None => self.drain_direction(Direction::ToClient, &mut events, reporter),
            }
            *reporter.events = events;
        }
        if !self.opaque
            && !self.awaits_confirmation
            && self.flow.deadline(&reporter.settings.flow).is_some()
        {
            self.awaits_confirmation = true;
            reporter.waits.push(Wait::Confirmation);
        }
    }

    /// Reads a segment of an answer that [`is_next`](Stream::is_next). Only what is left of it, an
    /// unfinished head, is copied.
    fn read_next(
        &mut self,
        segment: &Segment<'_>,
        events: &mut Events,
        reporter: &mut Reporter<'_, '_>,
    ) {
        if self.opaque {
            return;
        }
        let (payload, limits) = (segment.payload, &reporter.settings.http);
        let chunk = http::Chunk::Data(payload);
        let taken = self.http.push(segment.direction, segment.at, chunk, limits, events);
        let stream = &mut self.flow.to_client;
        if taken == payload.len() {
            stream.pass(segment);
        } else {
            stream.push(segment, &reporter.settings.flow, &mut reporter.stats.flow);
            stream.consume(taken as u64);
            self.offered[1] = payload.len() - taken;
        }
        self.take(events, reporter);
    }

    fn drain_direction(
        &mut self,
        direction: Direction,
        events: &mut Events,
        reporter: &mut Reporter<'_, '_>,
    ) {
        while !self.opaque {
            let (stream, offered) = match direction {
                Direction::ToServer => (&mut self.flow.to_server, &mut self.offered[0]),
                Direction::ToClient => (&mut self.flow.to_client, &mut self.offered[1]),
            };
            if stream.is_read() {
                return;
            }
            let limits = &reporter.settings.http;
            let mut ended = false;
            match stream.readable() {
                flow::Chunk::Empty => return,
                flow::Chunk::Data { bytes, last, .. } => {
                    if bytes.len() <= *offered {
                        if !last {
                            return;
                        }
                        // No more comes behind this unfinished head but a gap or the end.
                        let left = bytes.len() as u64;
                        stream.consume(left);
                        if direction == Direction::ToServer
                            && !matches!(stream.readable(), flow::Chunk::End { .. })
                        {
                            let starts = &mut reporter.stats.starts;
                            self.starts.lose_upto(stream.seq(), Fate::Cut, starts);
                        }
                        continue;
                    }
                    let (at, upto) = same_arrival(stream, *offered, bytes.len(), reporter.now);
                    let chunk = http::Chunk::Data(bytes.get(..upto).unwrap_or(bytes));
                    let (begun, expected) = (self.http.begun(), self.http.expects_request());
                    let taken = self.http.push(direction, at, chunk, limits, events);
                    *offered = upto.saturating_sub(taken);
                    stream.consume(taken as u64);
                    if direction == Direction::ToServer {
                        let begun = self.http.begun() - begun;
                        let fate = if expected { Fate::Malformed } else { Fate::Mistaken };
                        let starts = &mut reporter.stats.starts;
                        self.starts.read_upto(stream.seq(), begun, fate, starts);
                    }
                }
                flow::Chunk::Gap { len } => {
                    *offered = 0;
                    self.http.push(direction, reporter.now, http::Chunk::Gap(len), limits, events);
                    stream.consume(len);
                    if direction == Direction::ToServer {
                        let starts = &mut reporter.stats.starts;
                        self.starts.lose_upto(stream.seq(), Fate::Cut, starts);
                    }
                }
                flow::Chunk::Restart => {
                    // What was made of the refused bytes is void: a new start, midway.
                    *offered = 0;
                    stream.consume(0);
                    self.http.finish(reporter.now, events);
                    self.http = Connection::new(true);
                }
                flow::Chunk::End { reset } => {
                    *offered = 0;
                    ended = true;
                    if direction == Direction::ToServer {
                        let fate = if self.evicted { Fate::Evicted } else { Fate::Incomplete };
                        self.starts.lose_all(fate, &mut reporter.stats.starts);
                    }
                    let chunk = http::Chunk::End { reset };
                    self.http.push(direction, reporter.now, chunk, limits, events);
                }
            }
            let findings = stream.take_findings();
            self.keep(findings);
            self.take(events, reporter);
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

    fn take(&mut self, events: &mut Events, reporter: &mut Reporter<'_, '_>) {
        if events.is_empty() {
            return;
        }
        let mut list = events.take();
        for event in list.drain(..) {
            match event {
                HttpEvent::Request { id, request } => self.take_request(id, request, reporter),
                HttpEvent::Response { id, response } => self.take_response(id, response, reporter),
                HttpEvent::Document { id, body } => {
                    if let Some(open) = self.position(id).and_then(|at| self.open.get(at)) {
                        reporter.learn(&self.key, self.service.as_ref(), open, &body);
                    }
                }
                HttpEvent::Done { id, request_bytes, response_bytes, complete, .. } => {
                    let end = End { request_bytes, response_bytes, complete };
                    if let Some(request) = self.take_done(id, &end, reporter) {
                        events.recycle(request);
                    }
                }
                HttpEvent::Malformed { findings, .. } => {
                    reporter.stats.malformed += 1;
                    if self.malformed_events < MAX_MALFORMED_EVENTS {
                        self.malformed_events += 1;
                        reporter.malformed_event(self, findings);
                    }
                }
                HttpEvent::Opaque { kind, .. } => self.turn_opaque(kind, reporter),
            }
        }
        events.restore(list);
    }

    fn take_request(
        &mut self,
        id: u64,
        mut request: Box<Request>,
        reporter: &mut Reporter<'_, '_>,
    ) {
        reporter.stats.requests += 1;
        if !self.pending.is_empty() {
            request.findings.extend(std::mem::take(&mut self.pending));
        }
        let Judged { tokens, client, uses, public, fresh, score, watched } =
            reporter.assess(&self.key, &mut request);
        reporter.stats.tokens += tokens.tokens.len() as u64;
        let endings = endings(&reporter.settings.endpoints, &request, &tokens.tokens, &fresh);
        // Proofs bring their keys.
        let issued = tokens.tokens.iter().filter(|token| token.location != Location::Dpop);
        for token in issued {
            reporter.ask_for_key(&self.key, self.service.as_ref(), request.first_byte, token);
        }
        let mut open = Open {
            id,
            request,
            tokens,
            response: None,
            client,
            score,
            watched,
            endings,
            uses,
            public,
            outcome: None,
            suspicious: false,
            enforcement: None,
            reported: false,
        };
        if reporter.judges_scores_at_once(&self.key) {
            reporter.weigh_behaviour(&mut open);
        }
        reporter.decide(self, &mut open);
        if open.suspicious {
            reporter.stats.suspicious += 1;
            reporter.waits.push(Wait::Answer(id));
        }
        self.open_bytes += open.held_bytes();
        if self.open.capacity() == 0 {
            self.open = reporter.spare.pop().unwrap_or_default();
        }
        self.open.push_back(open);
    }

    fn take_response(&mut self, id: u64, response: Response, reporter: &mut Reporter<'_, '_>) {
        reporter.stats.responses += 1;
        let Some(at) = self.position(id) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        for used in open.uses.drain(..) {
            reporter.memory.answered(reporter.now, used, response.status);
        }
        for ending in open.endings.drain(..) {
            ending.answered(reporter.now, response.status, reporter.memory);
        }
        for token in &mut open.tokens.tokens {
            weigh(&mut token.findings, response.status, open.public);
        }
        if !open.public && (200..=299).contains(&response.status) {
            for token in &open.tokens.tokens {
                reporter.unknown_keys.accepted(token);
            }
            reporter.try_secrets(&self.key, self.service.as_ref(), open);
        }
        // A route that asks for no token answers 2xx to any.
        if !open.public && !open.is_clean() {
            let findings: SmallVec<[Finding; 0]> = open.findings().cloned().collect();
            open.outcome = outcome(&findings, response.status);
        }
        if let Some(mut score) = open.score.take_if(|score| !score.reasons().is_empty()) {
            score.weigh(open.evidence().map(to_score));
            open.score = Some(score);
        }
        let answered = open.outcome.is_some() || !response.findings.is_empty();
        open.response = Some(response);
        if answered && let Some(mut open) = self.open.remove(at) {
            // What the answer adds may be the reason to cut.
            reporter.decide(self, &mut open);
            self.open.insert(at, open);
        }
        if self.open.get(at).is_some_and(|open| !open.reported && open.suspicious) {
            reporter.waits.push(Wait::Tail(id));
        }
    }

    /// An exchange is over; gives its request back.
    fn take_done(
        &mut self,
        id: u64,
        end: &End,
        reporter: &mut Reporter<'_, '_>,
    ) -> Option<Box<Request>> {
        let at = self.position(id)?;
        let mut open = if at == 0 { self.open.pop_front() } else { self.open.remove(at) }?;
        self.open_bytes -= open.held_bytes();
        reporter.stats.exchanges += 1;
        if !end.complete {
            reporter.stats.exchanges_incomplete += 1;
        }
        let mut behaviour = None;
        if open.watched.is_some() {
            reporter.complete(&mut open, end);
            behaviour = reporter.weigh_behaviour(&mut open);
            if behaviour.is_some_and(|behaviour| fusion::says(behaviour.probability)) {
                let known = open.suspicious;
                reporter.decide(self, &mut open);
                reporter.stats.suspicious += u64::from(open.suspicious && !known);
            }
        }
        if !open.reported && open.suspicious {
            open.reported = true;
            reporter.request_event(&self.key, self.service.as_ref(), &open, Some(end));
        }
        reporter.exchange(&self.key, &open, end);
        reporter.close(&self.key, &mut open, behaviour.as_ref());
        if self.open.is_empty() {
            // Idle connections are many; they shall not hold a queue.
            let queue = std::mem::take(&mut self.open);
            if queue.capacity() <= MAX_SPARE_LEN && reporter.spare.len() < MAX_SPARE {
                reporter.spare.push(queue);
            }
        }
        Some(open.request)
    }

    /// Where exchange `id` stands: ids ascend, and most often it is the first.
    fn position(&self, id: u64) -> Option<usize> {
        match self.open.front() {
            Some(open) if open.id == id => Some(0),
            _ => self.open.binary_search_by_key(&id, |open| open.id).ok(),
        }
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
