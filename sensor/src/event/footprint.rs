//! What an event takes in memory, for queues that are bounded by bytes.

use std::{borrow::Cow, mem::size_of};

use super::{
    AuditEvent, Body, Enforcement, Event, FlowEvent, KeyEvent, RequestEvent, SensorEvent,
    SensorState, Text, TokenView,
};
use crate::{
    enforce::entry::MAX_NAME,
    finding::{Finding, FindingId},
    policy::DenyScope,
    score::Reason,
};

/// What the allocator takes beside what it was asked for, and what it rounds up by: glibc's
/// `malloc` has a header of 8 bytes and gives multiples of 16.
const ALLOCATION: usize = 16;

impl Event {
    /// Bytes that it takes, with what it owns and what the allocator takes for that. What it shares
    /// with others, as the name of its service, does not count.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let owned = match &self.body {
            Body::Request(request) => ALLOCATION + size_of::<RequestEvent>() + of_request(request),
            Body::Flow(flow) => ALLOCATION + size_of::<FlowEvent>() + of_findings(&flow.findings),
            Body::Key(key) => {
                let texts = of_texts([&key.issuer, &key.kid]);
                ALLOCATION + size_of::<KeyEvent>() + texts + of_findings(&key.findings)
            }
            Body::Sensor(event) => of_sensor(event),
            Body::Audit(audit) => ALLOCATION + size_of::<AuditEvent>() + of_audit(audit),
        };
        size_of::<Self>() + owned
    }
}

fn of_request(request: &RequestEvent) -> usize {
    let view = &request.request;
    let texts = of_text(&view.method) + of_text(&view.path);
    let texts = texts + of_texts([&view.host, &view.user_agent]);
    let reasons = request.score.iter().flat_map(|score| score.reasons());
    let reasons = reasons.map(|reason| size_of::<Reason>() + allocated(reason.detail.capacity()));
    let tokens = request.tokens.iter().map(of_token).sum::<usize>();
    texts
        + request.enforcement.as_ref().map_or(0, of_enforcement)
        + reasons.sum::<usize>()
        + allocated(request.tokens.capacity() * size_of::<TokenView>())
        + tokens
        + of_findings(&request.findings)
}

fn of_enforcement(enforcement: &Enforcement) -> usize {
    let findings = &enforcement.reasons.findings;
    let spilled = if findings.spilled() { findings.capacity() * size_of::<FindingId>() } else { 0 };
    allocated(enforcement.denied.capacity() * size_of::<DenyScope>()) + allocated(spilled)
}

fn of_token(token: &TokenView) -> usize {
    of_text(&token.location)
        + of_texts([&token.scheme, &token.alg, &token.kid, &token.typ])
        + allocated(token.claims.capacity())
        + of_findings(&token.findings)
}

fn of_findings(findings: &Vec<Finding>) -> usize {
    let details = findings.iter().map(|finding| match &finding.detail {
        Cow::Borrowed(_) => 0,
        Cow::Owned(detail) => allocated(detail.capacity()),
    });
    allocated(findings.capacity() * size_of::<Finding>()) + details.sum::<usize>()
}

fn of_sensor(event: &SensorEvent) -> usize {
    match &event.state {
        SensorState::Loss { causes, events, .. } => {
            let of_causes = causes.capacity() * size_of::<(&str, u64)>();
            allocated(of_causes) + allocated(size_of_val(events.as_slice()))
        }
        _ => 0,
    }
}

fn of_audit(audit: &AuditEvent) -> usize {
    let texts = [&audit.reason, &audit.file, &audit.model];
    let texts = texts.into_iter().flatten().map(|text| allocated(text.capacity()));
    // An entry holds two names at most; nobody makes as many as would matter.
    let entry = audit.entry.as_ref().map_or(0, |_| 2 * allocated(MAX_NAME));
    texts.sum::<usize>() + entry
}

fn of_texts<const N: usize>(texts: [&Option<Text>; N]) -> usize {
    texts.into_iter().flatten().map(of_text).sum()
}

fn of_text(text: &Text) -> usize {
    allocated(text.capacity())
}

const fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALLOCATION }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{PATH_MAX, RequestView, samples};

    #[test]
    fn what_an_event_holds_counts() {
        for event in samples::all() {
            let footprint = event.footprint();
            // A copy has no spare room.
            assert!(event.clone().footprint() <= footprint);
            let (mut line, mut owned) = (Vec::new(), size_of::<Event>());
            event.write(&mut line);
            if let Body::Request(body) = &event.body {
                owned += size_of::<RequestEvent>() + body.tokens.len() * size_of::<TokenView>();
                owned += body.request.path.as_str().len();
                owned +=
                    body.tokens.iter().map(|token| token.claims.members().len()).sum::<usize>();
            }
            assert!(owned <= footprint, "{footprint} of {owned}");
        }
        // A usual alert takes about as much as its line.
        let (event, mut line) = (samples::request(), Vec::new());
        event.write(&mut line);
        let (footprint, line) = (event.footprint(), line.len());
        assert!((line / 2..line * 3).contains(&footprint), "{footprint} for {line}");
    }

    #[test]
    fn what_grows_counts_by_as_much() {
        let with = |path: usize, details: usize| {
            let mut event = samples::request();
            let Body::Request(body) = &mut event.body else { unreachable!() };
            body.request = RequestView::new(b"GET", &vec![b'a'; path], None, None, 0);
            body.findings = vec![Finding::new(FindingId::AlgNone, "x".repeat(details)); 2];
            event.footprint()
        };
        assert_eq!(with(PATH_MAX, 9) - with(1, 9), PATH_MAX - 1);
        assert_eq!(with(1, 100) - with(1, 9), 2 * 91);
        // What it shares costs nothing more.
        let mut event = samples::request();
        let whole = event.footprint();
        let Body::Request(body) = &mut event.body else { unreachable!() };
        body.service = None;
        assert_eq!(event.footprint(), whole);
    }
}
