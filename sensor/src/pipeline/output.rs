use std::{collections::VecDeque, sync::Arc};

use smallvec::SmallVec;

use super::{
    ANSWER_TAIL, Assessed, Settings, Stats,
    exchanges::{Exchanges, Open},
    steps::{End, Slot},
    unknown_keys::UnknownKeys,
};
use crate::{
    capture::{FlowKey, OpaqueKind, Service},
    clients::{Clients, FactsCache},
    enforce::{Cut, CutOutcome, Lists, guard::CutCause},
    event::{
        self, Body, Claims, Event, EventId, EventIds, ExchangeLine, FlowEvent, FlowReason, Kind,
        RequestEvent, RequestView, ResponseView, TOKEN_TEXT_MAX, Text, TokenView, Verdict,
    },
    features::Features,
    finding::{Finding, FindingId, Severity},
    keys::FetchMark,
    learn::Learner,
    memory::{Memory, Outcome},
    score::{Opinions, Score, Scorer},
    services::Services,
    time::Time,
    token::{Judge, Scheme, Token, validate::SignatureCheck},
    weak::{Search, Searched, Tried, WeakSecrets},
};

/// Takes what the pipeline gives out.
pub trait Output {
    /// Something worth telling.
    fn event(&mut self, event: Event);

    /// Whether [`Output::exchange`] wants to be called.
    fn wants_exchanges(&self) -> bool {
        false
    }

    /// An exchange is over.
    fn exchange(&mut self, _line: &ExchangeLine<'_>) {}

    /// Whether [`Output::assessed`] wants to be called for every exchange of a subject, with the
    /// behaviour model's exact answer. Else it is called for those that an event went out about.
    fn wants_assessed(&self) -> bool {
        false
    }

    /// The last word on an exchange of a subject, with its features, in the order of their ends.
    fn assessed(&mut self, _assessed: &Assessed<'_>) {}

    /// A token of this issuer names a key that is not at hand. Gives the last fetch of the
    /// issuer's keys that has begun by now; `None` where none are fetched.
    fn unknown_key(&mut self, _issuer: Option<&str>, _kid: &str) -> Option<FetchMark> {
        None
    }

    /// A token of a key whose secret was not tried yet. Tries it at once unless overridden.
    fn search(&mut self, list: &Arc<WeakSecrets>, search: Search) -> Searched {
        if list.verify(&search.sample) { Searched::Weak(search) } else { Searched::Clean }
    }

    /// A connection is to be cut, now. Never called where nothing is carried out.
    fn cut(&mut self, _cut: &Cut) -> CutOutcome {
        CutOutcome::Failed
    }

    /// Answers to GET requests for this target teach keys where they are whole: capture may copy
    /// them further than others.
    fn copy_whole(&mut self, _target: &[u8]) {}

    /// The rest of a flow is of no use: capture may stop copying it. `cookie` may be 0.
    fn stop_flow(&mut self, _cookie: u64) {}
}

/// Turns what the stages found into events, where it is worth one.
pub(super) struct Reporter<'p, 'o> {
    pub(super) settings: &'p Settings,
    pub(super) ids: &'p EventIds,
    pub(super) judge: &'p mut Judge,
    pub(super) memory: &'p mut Memory,
    pub(super) lists: &'p mut Lists,
    pub(super) scorer: &'p mut Option<Scorer>,
    pub(super) features: &'p mut Features,
    pub(super) opinions: &'p Opinions,
    pub(super) services: &'p Services,
    pub(super) clients: &'p Clients,
    pub(super) facts: &'p mut FactsCache,
    pub(super) learner: &'p mut Learner,
    pub(super) tried: &'p mut Tried,
    pub(super) unknown_keys: &'p mut UnknownKeys,
    pub(super) stats: &'p mut Stats,
    pub(super) now: Time,
    pub(super) out: &'o mut dyn Output,
    pub(super) tails: &'p mut Waiting,
    pub(super) answers: &'p mut Waiting,
    /// The memory of empty queues, to be used again.
    pub(super) spare: &'p mut Vec<VecDeque<Open>>,
    pub(super) unattributed: &'p mut Unattributed,
}

/// What an alert waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The rest of the answer.
    Tail,
    /// The head of the answer.
    Answer,
}

/// Names an exchange for as long as it is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) slot: Slot,
    /// [`Exchanges::opened`].
    pub(super) opened: u64,
    pub(super) id: u64,
}

/// Exchanges whose alerts wait, and until when: one constant delay, so the first is due first.
pub(super) type Waiting = VecDeque<(Time, Ticket)>;

/// Events that wait for the name of their service, and until when: one constant delay, so the
/// first is due first.
pub(super) type Unattributed = VecDeque<(Time, FlowKey, Event)>;

/// Events that wait for the name of their service; more go out without.
const MAX_UNATTRIBUTED: usize = 1024;

impl Reporter<'_, '_> {
    /// An alert waits from now on.
    pub(super) fn wait(&mut self, wait: Wait, ticket: Ticket) {
        match wait {
            Wait::Tail => self.tails.push_back((self.now + ANSWER_TAIL, ticket)),
            Wait::Answer => self.answers.push_back((self.now + self.settings.answer, ticket)),
        }
    }

    pub(super) fn request_event(
        &mut self,
        key: &FlowKey,
        service: Option<&Arc<Service>>,
        open: &Open,
        end: Option<&End>,
    ) {
        let request = &open.request;
        let mut findings: Vec<Finding> = Vec::new();
        for finding in open.findings() {
            // A token that stands in two places says the same twice.
            if !findings.contains(finding) {
                findings.push(finding.clone());
            }
        }
        let sent = request.held_bytes() as u64;
        let body = RequestEvent {
            verdict: match &open.enforcement {
                Some(done) if done.allowed_by.is_some() => Verdict::Allow,
                Some(_) => Verdict::Block,
                None => Verdict::Alert,
            },
            enforcement: open.enforcement.clone(),
            client: key.client,
            forwarded_for: Some(open.client).filter(|&client| client != key.client.ip()),
            asn: self.clients.asn(open.client),
            server: key.server,
            service: service.cloned(),
            exchange: open.id,
            request: RequestView::new(
                request.method(),
                request.target(),
                request.header("host"),
                request.header("user-agent"),
                end.map_or(sent, |end| end.request_bytes),
            ),
            response: open.response.as_ref().map(|response| ResponseView {
                status: response.status,
                latency_us: micros(request.last_byte, response.first_byte),
                bytes: end.map_or(0, |end| end.response_bytes),
            }),
            score: open.score.clone(),
            outcome: open.outcome_of(&findings).as_str(),
            tokens: open.tokens.tokens.iter().map(|token| self.token_view(token)).collect(),
            findings,
        };
        self.give(
            *key,
            Event {
                id: self.request_id(key, open),
                at: request.first_byte,
                severity: event::severity(&body.findings)
                    .max(body.score.as_ref().map_or(Severity::Info, Score::severity)),
                body: Body::Request(Box::new(body)),
            },
        );
    }

    /// The id of a request's event.
    pub(super) fn request_id(&self, key: &FlowKey, open: &Open) -> EventId {
        self.ids.id(Kind::Request, Some(key), open.request.first_byte, open.id)
    }

    pub(super) fn opaque_event(&mut self, state: &Exchanges, kind: OpaqueKind) {
        self.flow_event(state, FlowReason::Opaque(kind), Vec::new());
    }

    pub(super) fn malformed_event(&mut self, state: &Exchanges, findings: Vec<Finding>) {
        if event::severity(&findings) >= self.settings.min_severity {
            self.flow_event(state, FlowReason::Malformed, findings);
        }
    }

    pub(super) fn exchange(&mut self, key: &FlowKey, open: &Open, end: &End) {
        if !self.out.wants_exchanges() {
            return;
        }
        let request = &open.request;
        let findings: SmallVec<[Finding; 0]> = open.findings().cloned().collect();
        self.out.exchange(&ExchangeLine {
            at: request.first_byte,
            flow: *key,
            method: request.method(),
            path: request.target(),
            host: request.header("host"),
            status: open.response.as_ref().map(|response| response.status),
            latency_us: open
                .response
                .as_ref()
                .map(|response| micros(request.last_byte, response.first_byte)),
            request_bytes: end.request_bytes,
            response_bytes: end.response_bytes,
            token: open.tokens.tokens.first().map(|token| *token.fingerprint.as_bytes()),
            findings: &findings,
        });
    }

    pub(super) fn refused_event(&mut self, state: &Exchanges, cause: CutCause) {
        let refused = Finding::new(FindingId::RequestRefused, cause.detail());
        if refused.severity >= self.settings.min_severity {
            self.flow_event(state, FlowReason::Refused, vec![refused]);
        }
    }

    fn flow_event(&mut self, state: &Exchanges, reason: FlowReason, findings: Vec<Finding>) {
        let body = FlowEvent {
            reason,
            client: state.key.client,
            server: state.key.server,
            service: state.service.clone(),
            findings,
        };
        self.give(
            state.key,
            Event {
                id: self.ids.id(Kind::Flow, Some(&state.key), self.now, self.stats.events),
                at: self.now,
                severity: event::severity(&body.findings).max(Severity::Info),
                body: Body::Flow(Box::new(body)),
            },
        );
    }

    pub(super) fn give(&mut self, key: FlowKey, event: Event) {
        self.stats.events += 1;
        if self.settings.service_wait.is_zero()
            || event.body.service().is_some()
            || self.unattributed.len() >= MAX_UNATTRIBUTED
        {
            self.out.event(event);
        } else {
            self.unattributed.push_back((self.now + self.settings.service_wait, key, event));
        }
    }

    fn token_view(&self, token: &Token) -> TokenView {
        let text = |text: &str| Text::new(text.as_bytes(), TOKEN_TEXT_MAX);
        let header = |name| token.header_text(name).map(|value| text(&value));
        let mut claims = Claims::default();
        for name in &self.settings.claims {
            if let Some(value) = token.claim(name) {
                claims.push(name, &value);
            }
        }
        TokenView {
            fingerprint: *token.fingerprint.as_bytes(),
            location: text(&token.location.to_string()),
            scheme: (token.scheme != Scheme::Bare).then(|| text(token.scheme.as_str())),
            kind: token.kind.as_str(),
            alg: header("alg"),
            kid: header("kid"),
            typ: header("typ"),
            verified_by: match token.decoded.as_ref().map(|known| known.validation.signature) {
                Some(SignatureCheck::Good) => Some("configured"),
                Some(SignatureCheck::Learned) => Some("learned"),
                _ => None,
            },
            claims,
            deny_key: token.deny_key,
            findings: token.findings.clone(),
        }
    }
}

impl Open {
    /// What the service made of it; on a route that asks for no token a 2xx answer proves nothing.
    fn outcome_of(&self, findings: &[Finding]) -> Outcome {
        let findings = if self.public { &[] } else { findings };
        Outcome::of(findings, self.response.as_ref().map(|response| response.status))
    }

    /// Whether nothing speaks against the exchange so far.
    pub(super) fn is_clean(&self) -> bool {
        self.request.findings.is_empty()
            && self.tokens.findings.is_empty()
            && self.tokens.tokens.iter().all(|token| token.findings.is_empty())
            && self.response.as_ref().is_none_or(|response| response.findings.is_empty())
            && self.outcome.is_none()
            && self.score.as_ref().is_none_or(|score| score.value == 0)
    }

    /// Everything that is wrong with the exchange.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        let response = self.response.iter().flat_map(|response| &response.findings);
        self.request
            .findings
            .iter()
            .chain(&self.tokens.findings)
            .chain(self.tokens.tokens.iter().flat_map(|token| &token.findings))
            .chain(response)
            .chain(&self.outcome)
    }
}

pub(super) fn micros(from: Time, to: Time) -> u64 {
    u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
}
