//! The service's direction: responses, and which request each one answers.

use super::{
    Events, HttpEvent, Limits, Response,
    chunked::{Chunked, Step},
    connection::{Connection, State, Turn, UNKNOWN},
    document::Document,
    exchange::{Method, Progress},
    fields::Framing,
    head::{self, ResponseHead},
    search::{self, Found, Verdict},
};
use crate::{
    capture::OpaqueKind,
    finding::{Finding, FindingId, Severity},
    time::Time,
};

impl Connection {
    pub(super) fn response_turn(
        &mut self,
        bytes: &[u8],
        at: Time,
        limits: &Limits,
        out: &mut Events,
    ) -> Turn {
        match self.responses.state {
            State::Start => self.response_start(bytes, at, out),
            State::Head => self.response_head(bytes, at, limits, out),
            State::Search => match search::next_response(bytes) {
                Found::Head(n) => {
                    if n > 0 {
                        self.responses.scanned = 0;
                    }
                    self.responses.state = State::Head;
                    Turn::Used(n)
                }
                Found::Nothing(0) => self.responses.wait(bytes.len(), at),
                Found::Nothing(n) => {
                    self.responses.scanned = 0;
                    Turn::Used(n)
                }
            },
            State::Ended => Turn::Used(bytes.len()),
            State::Length(_) | State::Chunked(_) if self.responses.body_doubtful => {
                self.responses.body_doubtful = false;
                match search::begins_with_status(bytes) {
                    Verdict::Yes => self.end_response(Progress::Whole, None, out),
                    Verdict::Open => {
                        self.responses.body_doubtful = true;
                        return self.responses.wait(bytes.len(), at);
                    }
                    Verdict::No => self.responses.scanned = 0,
                }
                Turn::Used(0)
            }
            State::Length(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.responses.state = State::Length(left - n as u64);
                self.count_response(n as u64, at);
                self.keep(bytes.get(..n).unwrap_or_default(), limits);
                if left == n as u64 {
                    self.end_response(Progress::Whole, Some(at), out);
                }
                Turn::Used(n)
            }
            State::UntilClose => {
                self.count_response(bytes.len() as u64, at);
                self.keep(bytes, limits);
                Turn::Used(bytes.len())
            }
            State::Chunked(mut chunked) => {
                let mut irregular = None;
                let (n, step) = chunked.step(bytes, &mut irregular);
                self.responses.state = State::Chunked(chunked);
                self.count_response(n as u64, at);
                if step == Step::Data {
                    self.keep(bytes.get(..n).unwrap_or_default(), limits);
                }
                let broken = if let Step::Broken(why) = step { Some(why) } else { None };
                if let Some(why) = irregular.or(broken)
                    && !std::mem::replace(&mut self.responses.irregular, true)
                {
                    malformed_response(FindingId::HttpChunkInvalid, why, at, out);
                }
                if broken.is_some() {
                    self.lose_responses(out);
                } else if step == Step::End {
                    self.end_response(Progress::Whole, Some(at), out);
                }
                Turn::Used(n)
            }
        }
    }

    fn response_start(&mut self, bytes: &[u8], at: Time, out: &mut Events) -> Turn {
        if self.joined_midway {
            if let [0..b' ', ..] = bytes
                && !matches!(bytes, [b'\r' | b'\n' | b'\t', ..])
            {
                if bytes.len() < search::BINARY_BYTES {
                    return self.responses.wait(bytes.len(), at);
                }
                self.responses.looks_like = search::binary_protocol(bytes);
                if self.both_look_alike(at, out) {
                    return Turn::Used(bytes.len());
                }
            }
            self.responses.state = State::Search;
            return Turn::Used(0);
        }
        match bytes {
            [b'\n', ..] | [b'\r', b'\n', ..] => {}
            [b'\r'] => return self.responses.wait(bytes.len(), at),
            _ => match search::begins_with_status(bytes) {
                Verdict::Open => return self.responses.wait(bytes.len(), at),
                // Nothing on this connection has been HTTP.
                Verdict::No if self.next_id == 0 && !bytes.starts_with(b"HTTP/1.") => {
                    self.go_opaque(OpaqueKind::NotHttp, at, out);
                    return Turn::Used(bytes.len());
                }
                _ => self.report_broken_start(at, out),
            },
        }
        self.responses.state = State::Head;
        Turn::Used(0)
    }

    fn response_head(&mut self, bytes: &[u8], at: Time, limits: &Limits, out: &mut Events) -> Turn {
        if let Some(turn) = self.responses.empty_line(bytes, at) {
            return turn;
        }
        let start = bytes.get(..7).unwrap_or(bytes);
        if !b"HTTP/1.".starts_with(start) {
            let why = "no status line begins here";
            malformed_response(FindingId::HttpMalformedResponse, why, at, out);
            self.lose_responses(out);
            return Turn::Used(0);
        }
        if self.responses.scanned == 0
            && let Some((parsed, len)) = whole_response(bytes, limits, out)
        {
            self.begin_response(parsed, len as u64, (at, at), out);
            return Turn::Used(len);
        }
        let end = head::find_end(bytes, self.responses.scanned);
        let (len, truncated) = match end {
            Some(end) if end <= limits.head_bytes => (end, false),
            None if bytes.len() <= limits.head_bytes => {
                return self.responses.wait(bytes.len(), at);
            }
            _ => (limits.head_bytes.min(bytes.len()), true),
        };
        let first_byte = self.responses.first_byte(at);
        let bytes = bytes.get(..len).unwrap_or_default();
        match head::response(bytes, truncated, limits) {
            Ok(parsed) => self.begin_response(parsed, len as u64, (first_byte, at), out),
            Err(mut findings) => {
                for finding in &mut findings {
                    finding.severity = finding.severity.min(Severity::Low);
                }
                out.push(HttpEvent::Malformed { at, findings });
                self.lose_responses(out);
            }
        }
        Turn::Used(len)
    }

    fn begin_response(
        &mut self,
        parsed: ResponseHead,
        len: u64,
        (first_byte, at): (Time, Time),
        out: &mut Events,
    ) {
        let ResponseHead { status, coding, framing, findings } = parsed;
        self.responses.enter(State::Head);
        if (100..=199).contains(&status) && status != 101 {
            // Interim: the final response is yet to come (RFC 9110, section 15.2).
            if status == 100
                && !self.responses_lost
                && let Some(exchange) = self.open.oldest()
            {
                exchange.expects_continue = false;
            }
            return;
        }
        self.count_due(status, at, out);
        let paired = self.takes_response(out);
        let mut method = None;
        if paired && let Some(exchange) = self.open.oldest() {
            exchange.emit(out);
            exchange.response = Progress::Begun;
            exchange.response_bytes = len;
            exchange.last = at;
            exchange.document = Document::new(exchange.asked, status, coding);
            method = Some(exchange.method);
            out.push(HttpEvent::Response {
                id: exchange.id,
                response: Response { status, first_byte, findings },
            });
        } else {
            self.unpaired_responses += 1;
            self.refusal_due = false;
        }
        let tunnel = method == Some(Method::Connect) && (200..=299).contains(&status);
        if status == 101 || tunnel {
            self.end_paired(Progress::Whole, Some(at), out);
            self.go_opaque(OpaqueKind::Upgraded, at, out);
            return;
        }
        let bodiless = method == Some(Method::Head) || matches!(status, 204 | 304);
        let state = match framing {
            _ if bodiless => None,
            Framing::Length(0) => None,
            Framing::Length(n) => Some(State::Length(n)),
            Framing::Chunked => Some(State::Chunked(Chunked::new())),
            Framing::Unframed | Framing::OtherCoding if paired => Some(State::UntilClose),
            Framing::Unreliable => {
                self.lose_responses(out);
                return;
            }
            // The response to an unknown request: perhaps to HEAD.
            Framing::Unframed | Framing::OtherCoding => {
                self.lose_responses(out);
                return;
            }
        };
        match state {
            None => self.end_paired(Progress::Whole, Some(at), out),
            Some(state) => {
                self.responses.state = state;
                self.responses.body_doubtful = !paired;
            }
        }
    }

    /// Counts a final response against those that are due.
    fn count_due(&mut self, status: u16, at: Time, out: &mut Events) {
        self.due = match self.due {
            Some(due) if !self.responses_lost => due.checked_sub(1).or_else(|| {
                // Services send these unasked: behind what they can't read, and to the silent.
                if !matches!(status, 400 | 408) {
                    let id = FindingId::HttpRequestUnseen;
                    let why = format!("the answer has status {status}");
                    out.push(HttpEvent::Malformed { at, findings: vec![Finding::new(id, why)] });
                }
                None
            }),
            _ => None,
        };
    }

    /// Whether the final response that begins belongs to the oldest open exchange.
    fn takes_response(&mut self, out: &mut Events) -> bool {
        let awaiting = self.open.awaiting();
        let lost = std::mem::take(&mut self.responses_lost);
        let mut paired = self.open.oldest().is_some_and(|e| e.response == Progress::Awaited);
        if lost && awaiting > 0 && (awaiting > 1 || self.unattributed > 0) {
            // It may answer any of them.
            self.open.abandon(out);
            let abandoned = u32::try_from(awaiting).unwrap_or(UNKNOWN);
            self.unattributed = self.unattributed.saturating_add(abandoned);
            paired = false;
        }
        if !paired && self.unattributed != UNKNOWN {
            self.unattributed = self.unattributed.saturating_sub(1);
        }
        paired
    }

    /// Takes body bytes of the response that passes, where they may be of a document about keys.
    fn keep(&mut self, data: &[u8], limits: &Limits) {
        if let Some(exchange) = self.open.oldest().filter(|e| e.response == Progress::Begun)
            && let Some(document) = &mut exchange.document
            && !document.take(data, limits.document_bytes)
        {
            exchange.document = None;
        }
    }

    fn count_response(&mut self, n: u64, at: Time) {
        if let Some(exchange) = self.open.oldest().filter(|e| e.response == Progress::Begun) {
            exchange.response_bytes += n;
            exchange.last = at;
        }
    }

    /// The response that passes is over; the next begins.
    pub(super) fn end_response(&mut self, how: Progress, at: Option<Time>, out: &mut Events) {
        if let State::Length(_) | State::Chunked(_) | State::UntilClose = self.responses.state {
            let scanned = self.responses.scanned;
            self.responses.enter(State::Head);
            self.responses.scanned = scanned;
        }
        self.end_paired(how, at, out);
    }

    fn end_paired(&mut self, how: Progress, at: Option<Time>, out: &mut Events) {
        if let Some(exchange) = self.open.oldest().filter(|e| e.response == Progress::Begun) {
            exchange.response = how;
            exchange.last = at.unwrap_or(exchange.last);
            self.open.settle(out);
        }
    }

    /// Responses may have passed unseen.
    fn lose_responses(&mut self, out: &mut Events) {
        self.end_paired(Progress::Cut, None, out);
        self.responses_lost = true;
        self.responses.enter(State::Search);
    }

    pub(super) fn response_gap(&mut self, n: u64, at: Time, out: &mut Events) {
        let (absorbed, lost) = self.responses.absorb(n);
        if absorbed > 0 {
            self.count_response(absorbed, at);
            if let Some(document) = self.open.oldest().and_then(|e| e.document.as_mut()) {
                document.lose();
            }
        }
        if let State::Length(0) = self.responses.state {
            self.end_response(Progress::Whole, Some(at), out);
        }
        if lost {
            self.lose_responses(out);
        }
    }
}

fn malformed_response(id: FindingId, why: &'static str, at: Time, out: &mut Events) {
    let finding = Finding { severity: Severity::Low, ..Finding::new(id, why) };
    out.push(HttpEvent::Malformed { at, findings: vec![finding] });
}

/// As [`head::whole_response`], which one that is known needs not.
fn whole_response(
    bytes: &[u8],
    limits: &Limits,
    out: &mut Events,
) -> Option<(ResponseHead, usize)> {
    let known = out.known.find(bytes).filter(|&(_, len)| len <= limits.head_bytes);
    if known.is_some() {
        return known;
    }
    let (parsed, len) = head::whole_response(bytes, limits)?;
    out.known.note(bytes.get(..len).unwrap_or_default(), &parsed);
    Some((parsed, len))
}
