//! The client's direction: requests and their bodies.

use memchr::memchr;

use super::{
    Events, HttpEvent, Limits,
    chunked::{Chunked, Step},
    connection::{Connection, State, Turn, UNKNOWN},
    document::Asked,
    exchange::{Exchange, Method, Progress},
    fields::Framing,
    head::{self, RequestHead},
    search::{self, Found, Verdict},
};
use crate::{
    capture::OpaqueKind,
    finding::{Finding, FindingId},
    time::Time,
};

/// Bytes at the start of a connection in which a request line must end; else the connection is
/// not HTTP. A service's refusal of the first line (an HTTP response) ends the count.
const NOT_HTTP_BYTES: usize = 4096;

impl Connection {
    pub(super) fn request_turn(
        &mut self,
        bytes: &[u8],
        at: Time,
        limits: &Limits,
        out: &mut Events,
    ) -> Turn {
        match self.requests.state {
            State::Start => self.request_start(bytes, at, out),
            State::Head => self.request_head(bytes, at, limits, out),
            State::Search => self.request_search(bytes, at, out),
            State::Ended | State::UntilClose => Turn::Used(bytes.len()),
            State::Length(_) | State::Chunked(_) if self.requests.body_doubtful => {
                self.requests.body_doubtful = false;
                let refused = self.open.newest().is_some_and(|e| {
                    e.expects_continue && !matches!(e.response, Progress::Awaited)
                });
                match if refused { self.body_is_left_out(bytes) } else { Verdict::No } {
                    Verdict::Yes => {
                        self.end_request(Progress::Cut, None, out);
                        self.requests.state = State::Head;
                    }
                    Verdict::Open => {
                        self.requests.body_doubtful = true;
                        return self.requests.wait(bytes.len(), at);
                    }
                    Verdict::No => self.requests.scanned = 0,
                }
                Turn::Used(0)
            }
            State::Length(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - n as u64;
                self.requests.state = State::Length(left);
                self.request_body(bytes.get(..n).unwrap_or_default(), left > 0, at, limits, out);
                if left == 0 {
                    self.end_request(Progress::Whole, Some(at), out);
                }
                Turn::Used(n)
            }
            State::Chunked(mut chunked) => {
                let mut irregular = None;
                let (n, step) = chunked.step(bytes, &mut irregular);
                self.requests.state = State::Chunked(chunked);
                if let Some(why) = irregular {
                    self.request_chunk_finding(why, at, out);
                }
                match step {
                    Step::Data => {
                        let data = bytes.get(..n).unwrap_or_default();
                        self.request_body(data, false, at, limits, out);
                    }
                    Step::Framing | Step::End => self.count_request(n as u64, at),
                    Step::Broken(why) => {
                        self.request_chunk_finding(why, at, out);
                        self.lose_requests(out);
                    }
                }
                if step == Step::End {
                    self.end_request(Progress::Whole, Some(at), out);
                }
                Turn::Used(n)
            }
        }
    }

    /// Whether a request begins where a body should: a client that is refused before it has sent the
    /// body may leave the body out (RFC 9110, section 10.1.1). A line that begins in the body and ends
    /// behind it counts if it has a common method, or else if no request begins behind the body.
    ///
    /// What is no longer open stays so, whatever follows.
    fn body_is_left_out(&self, bytes: &[u8]) -> Verdict {
        let len = match self.requests.state {
            State::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let (body, behind) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
        match search::begins_with_request(body) {
            Verdict::Open if !behind.is_empty() => {
                let of_all = search::begins_with_request(bytes);
                match search::begins_with_request(behind) {
                    _ if search::begins_with_common_method(bytes) => of_all,
                    Verdict::Yes => Verdict::No,
                    Verdict::Open if of_all != Verdict::No => Verdict::Open,
                    _ => of_all,
                }
            }
            verdict => verdict,
        }
    }

    fn request_start(&mut self, bytes: &[u8], at: Time, out: &mut Events) -> Turn {
        if let [0..b' ', ..] = bytes
            && !matches!(bytes, [b'\r' | b'\n' | b'\t', ..])
        {
            if bytes.len() < search::BINARY_BYTES {
                return self.requests.wait(bytes.len(), at);
            }
            self.requests.looks_like = search::binary_protocol(bytes);
            match self.requests.looks_like {
                Some(OpaqueKind::Tls) if !self.joined_midway => {
                    self.go_opaque(OpaqueKind::Tls, at, out);
                    return Turn::Used(bytes.len());
                }
                _ => {}
            }
            if self.both_look_alike(at, out) {
                return Turn::Used(bytes.len());
            }
        } else if !self.joined_midway {
            match search::http2_preface(bytes) {
                Verdict::Yes => {
                    self.go_opaque(OpaqueKind::Http2, at, out);
                    return Turn::Used(bytes.len());
                }
                Verdict::Open => return self.requests.wait(bytes.len(), at),
                Verdict::No => {}
            }
        }
        let since = self.requests.first_byte(at);
        let scanned = self.requests.scanned;
        self.requests.enter(if self.joined_midway { State::Search } else { State::Head });
        // The search begins anew, but the first byte is as old as it is.
        (self.requests.since, self.requests.scanned) = (since, scanned.min(1));
        Turn::Used(0)
    }

    /// One direction alone could be made to look like another protocol by whoever sends it.
    pub(super) fn both_look_alike(&mut self, at: Time, out: &mut Events) -> bool {
        let Some(kind) = self.requests.looks_like.filter(|_| self.joined_midway) else {
            return false;
        };
        if self.responses.looks_like != Some(kind) || self.next_id > 0 {
            return false;
        }
        self.go_opaque(kind, at, out);
        true
    }

    fn request_head(&mut self, bytes: &[u8], at: Time, limits: &Limits, out: &mut Events) -> Turn {
        if let Some(turn) = self.requests.empty_line(bytes, at) {
            return turn;
        }
        if search::method_begins(bytes) == Verdict::No {
            self.broken_request(
                FindingId::HttpMalformedRequest,
                "no request line begins here",
                at,
                out,
            );
            return Turn::Used(0);
        }
        // Most often all of it is there at once. Tried once only: it may come byte by byte.
        if self.requests.scanned == 0
            && let Some(parsed) = head::whole_request(bytes, at, limits, &mut self.shape, out)
        {
            let len = parsed.request.head_len();
            self.begin_request(parsed, at, limits, out);
            return Turn::Used(len);
        }
        let Some(end) = head::find_end(bytes, self.requests.scanned) else {
            if bytes.len() > limits.head_bytes {
                return self.request_head_read(bytes, None, at, limits, out);
            }
            let new = bytes.get(self.requests.scanned..).unwrap_or_default();
            if !self.requests.first_line_judged && memchr(b'\n', new).is_some() {
                self.requests.first_line_judged = true;
            } else {
                return self.requests.wait(bytes.len(), at);
            }
            if !search::first_line_can_be_request(bytes) {
                return self.broken_first_line(at, out);
            }
            return self.requests.wait(bytes.len(), at);
        };
        // As where the line comes before the rest: what follows it is not passed over unread.
        if !self.requests.first_line_judged && !search::first_line_can_be_request(bytes) {
            return self.broken_first_line(at, out);
        }
        self.request_head_read(bytes, Some(end), at, limits, out)
    }

    /// The client's side ends within a head. Python's `http.server` takes that for the end of the
    /// head, and serves the request.
    pub(super) fn request_last(
        &mut self,
        bytes: &[u8],
        at: Time,
        limits: &Limits,
        out: &mut Events,
    ) {
        let end: &[u8] = if bytes.ends_with(b"\n") { b"\r\n" } else { b"\r\n\r\n" };
        let head = [bytes, end].concat();
        let begins = search::method_begins(&head) == Verdict::Yes;
        if !matches!(self.requests.state, State::Head)
            || !begins
            || !search::first_line_can_be_request(&head)
        {
            return;
        }
        let first_byte = self.requests.first_byte(at);
        let parsed = head::request(&head, false, (first_byte, at), limits, out.blank());
        // What is no request then, would have been none.
        let Ok(mut parsed) = parsed else { return };
        let why = "the client's side ends within the head, which some servers serve";
        parsed.request.findings.push(Finding::new(FindingId::HttpMalformedRequest, why));
        self.begin_request(parsed, at, limits, out);
    }

    fn broken_first_line(&mut self, at: Time, out: &mut Events) -> Turn {
        let why = "the first line does not end in a version of HTTP";
        self.broken_request(FindingId::HttpMalformedRequest, why, at, out);
        Turn::Used(0)
    }

    /// Reads a head that ends at `end`, or is over the limit.
    fn request_head_read(
        &mut self,
        bytes: &[u8],
        end: Option<usize>,
        at: Time,
        limits: &Limits,
        out: &mut Events,
    ) -> Turn {
        let (len, truncated) = match end {
            Some(end) if end <= limits.head_bytes => (end, false),
            _ => (limits.head_bytes.min(bytes.len()), true),
        };
        let first_byte = self.requests.first_byte(at);
        let bytes = bytes.get(..len).unwrap_or_default();
        match head::request(bytes, truncated, (first_byte, at), limits, out.blank()) {
            Ok(parsed) => self.begin_request(parsed, at, limits, out),
            Err(findings) => {
                self.skipped = self.skipped.saturating_add(len);
                self.broken_requests(findings, at, out);
            }
        }
        Turn::Used(len)
    }

    fn begin_request(&mut self, parsed: RequestHead, at: Time, limits: &Limits, out: &mut Events) {
        self.report_broken_start(at, out);
        self.due = self.due.map(|due| due.saturating_add(1));
        let attributable = self.may_be_answered_in_turn(limits, out);
        let RequestHead { request, framing, expects_continue, upgrade } = parsed;
        let method = match request.method() {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        let asked = match limits.document_bytes {
            0 => Asked::Nothing,
            _ => Asked::of(request.method(), request.target()),
        };
        let id = self.next_id;
        self.next_id += 1;
        let mut exchange = Exchange {
            id,
            request_bytes: request.head_len() as u64,
            pending: Some(request),
            given: 0,
            response_bytes: 0,
            last: at,
            method,
            request: Progress::Begun,
            response: if attributable { Progress::Awaited } else { Progress::Cut },
            expects_continue,
            upgrade: upgrade || method == Method::Connect,
            asked,
            document: None,
        };
        let state = match framing {
            Framing::Length(0) | Framing::Unframed => {
                exchange.request = Progress::Whole;
                if let Some(request) = &mut exchange.pending {
                    request.body.complete = true;
                }
                exchange.emit(out);
                State::Head
            }
            Framing::Length(n) => {
                if let Some(request) = &mut exchange.pending {
                    let n = usize::try_from(n).unwrap_or(usize::MAX);
                    request.body.bytes.reserve_exact(n.min(limits.request_body_budget).min(4096));
                }
                State::Length(n)
            }
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::OtherCoding | Framing::Unreliable => {
                exchange.request = Progress::Cut;
                exchange.emit(out);
                State::Search
            }
        };
        self.open.push(exchange, out);
        self.requests.enter(state);
        match state {
            // What hides in its body may be read as requests.
            State::Search => self.unattributed = UNKNOWN,
            State::Length(_) | State::Chunked(_) => self.requests.body_doubtful = expects_continue,
            _ => {}
        }
    }

    /// Whether the response to the request that begins can be found by counting; settles what
    /// its coming says about earlier ones.
    fn may_be_answered_in_turn(&mut self, limits: &Limits, out: &mut Events) -> bool {
        let unanswered = self.open.unanswered();
        let between_responses = match self.responses.state {
            State::Start | State::Search => true,
            State::Head => self.responses.scanned == 0,
            _ => false,
        };
        let mut attributable = true;
        if self.unattributed == 0 && !self.responses_lost {
            self.pipelined |= unanswered;
        } else if !self.pipelined
            && !self.refusal_due
            && between_responses
            && (self.responses_lost || !unanswered)
        {
            self.open.abandon(out);
            self.unattributed = 0;
        } else {
            self.pipelined |= unanswered && !self.responses_lost;
            attributable = self.unattributed == 0;
        }
        attributable &= self.open.len() < limits.pending_requests;
        if !attributable {
            self.unattributed = self.unattributed.saturating_add(1);
        }
        attributable
    }

    fn count_request(&mut self, n: u64, at: Time) {
        if let Some(exchange) = self.open.newest() {
            exchange.request_bytes += n;
            exchange.last = at;
        }
    }

    /// Takes body bytes; `more` are surely to come.
    fn request_body(
        &mut self,
        data: &[u8],
        more: bool,
        at: Time,
        limits: &Limits,
        out: &mut Events,
    ) {
        self.count_request(data.len() as u64, at);
        let Some(exchange) = self.open.newest() else { return };
        let Some(request) = &mut exchange.pending else { return };
        let room = limits.request_body_budget.saturating_sub(request.body.bytes.len());
        request.body.bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        request.last_byte = at;
        if data.len() > room || (data.len() == room && more) {
            exchange.emit(out);
        }
    }

    /// The request that passes is over.
    pub(super) fn end_request(&mut self, how: Progress, at: Option<Time>, out: &mut Events) {
        if let State::Length(_) | State::Chunked(_) = self.requests.state {
            if let Some(exchange) = self.open.newest() {
                exchange.request = how;
                if let Some(request) = &mut exchange.pending {
                    request.body.complete = how == Progress::Whole;
                    request.last_byte = at.unwrap_or(request.last_byte);
                }
                exchange.emit(out);
            }
            self.open.settle(out);
            self.requests.enter(State::Head);
        }
    }

    /// Something is wrong with the chunks of the request that passes.
    fn request_chunk_finding(&mut self, why: &'static str, at: Time, out: &mut Events) {
        if std::mem::replace(&mut self.requests.irregular, true) {
            return;
        }
        let finding = Finding::new(FindingId::HttpChunkInvalid, why);
        match self.open.newest().and_then(|e| e.pending.as_mut()) {
            Some(request) => request.findings.push(finding),
            None => out.push(HttpEvent::Malformed { at, findings: vec![finding] }),
        }
    }

    fn broken_request(&mut self, id: FindingId, why: &'static str, at: Time, out: &mut Events) {
        self.broken_requests(vec![Finding::new(id, why)], at, out);
    }

    /// No request can be made of what comes next.
    fn broken_requests(&mut self, findings: Vec<Finding>, at: Time, out: &mut Events) {
        let at_start = self.next_id == 0 && !self.joined_midway;
        // Behind a request for a tunnel the tunnel's bytes may come before its grant is seen.
        let tunnel = self.open.newest().is_some_and(|e| e.upgrade && !e.response.is_over());
        if at_start && matches!(self.responses.state, State::Start) {
            // What answers decides whether this is HTTP at all.
            self.start_broken = true;
        } else if !tunnel {
            out.push(HttpEvent::Malformed { at, findings });
        }
        self.refusal_due = true;
        self.lose_requests(out);
    }

    pub(super) fn report_broken_start(&mut self, at: Time, out: &mut Events) {
        if std::mem::take(&mut self.start_broken) {
            let finding = Finding::new(
                FindingId::HttpMalformedRequest,
                "the connection does not begin with a request",
            );
            out.push(HttpEvent::Malformed { at, findings: vec![finding] });
        }
    }

    /// Requests may have passed unseen.
    fn lose_requests(&mut self, out: &mut Events) {
        self.due = None;
        self.end_request(Progress::Cut, None, out);
        self.unattributed = UNKNOWN;
        self.requests.enter(State::Search);
    }

    fn request_search(&mut self, bytes: &[u8], at: Time, out: &mut Events) -> Turn {
        let found = search::next_request(bytes, self.requests.scanned);
        if self.start_broken {
            let judged = match found {
                Found::Head(n) => {
                    let line = bytes.get(n..).unwrap_or_default();
                    n + memchr(b'\n', line).unwrap_or(line.len())
                }
                Found::Nothing(_) => bytes.len(),
            };
            if self.skipped.saturating_add(judged) > NOT_HTTP_BYTES {
                self.go_opaque(OpaqueKind::NotHttp, at, out);
                return Turn::Used(bytes.len());
            }
        }
        match found {
            Found::Nothing(0) => self.requests.wait(bytes.len(), at),
            Found::Head(0) => {
                self.requests.state = State::Head;
                Turn::Used(0)
            }
            Found::Head(n) | Found::Nothing(n) => {
                self.requests.scanned = 0;
                self.skipped = self.skipped.saturating_add(n);
                Turn::Used(n)
            }
        }
    }

    pub(super) fn request_gap(&mut self, n: u64, at: Time, out: &mut Events) {
        let due = self.due_behind_gap();
        let (absorbed, lost) = self.requests.absorb(n);
        if absorbed > 0 {
            self.count_request(absorbed, at);
            // The body can't be had in full any more: no reason to wait.
            if let Some(exchange) = self.open.newest() {
                if let Some(request) = &mut exchange.pending {
                    request.last_byte = at;
                }
                exchange.emit(out);
            }
        }
        if let State::Length(0) = self.requests.state {
            self.end_request(Progress::Whole, Some(at), out);
        }
        if lost {
            self.lose_requests(out);
            self.due = due;
        }
    }

    /// The final responses that are due if what passes unseen now holds no request. `None` where
    /// counting them proves nothing: the requests or responses before are not all known, or the
    /// next request may have been lost and not hidden.
    fn due_behind_gap(&mut self) -> Option<u32> {
        let waits = self.open.newest().is_some_and(|e| e.response == Progress::Awaited);
        match self.requests.state {
            // More of the same body, and nothing was answered in between.
            State::Search if waits => self.due,
            State::Length(_) | State::Chunked(_)
                if waits && self.unattributed == 0 && !self.responses_lost =>
            {
                u32::try_from(self.open.awaiting()).ok()
            }
            _ => None,
        }
    }
}
