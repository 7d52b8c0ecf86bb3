//! What is made of a request before anything is decided: its tokens, its history, its score.

use std::net::IpAddr;

use jotwatch_models::behaviour::{Answer, BehaviourScore};
use smallvec::SmallVec;

use super::{
    Pipeline,
    ending::takes_any,
    enforcement::{evidence_of, note_denied},
    examine::Examined,
    exchanges::Open,
    history::{History, Observed, expect_encryption},
    output::{Output, Reporter, micros},
    steps::End,
};
use crate::{
    capture::FlowKey,
    event::{EventId, Kind},
    features::{Seen, Watched},
    finding::Finding,
    http::Request,
    memory::UseHandle,
    policy::{Context, Evidence, Verdict},
    score::{self, Score},
    time::Time,
    token::{TokenReport, dpop},
};

/// An exchange that is over, as the models saw it.
#[derive(Clone, Debug)]
pub struct Assessed<'a> {
    /// When its first byte passed.
    pub at: Time,
    /// The id that its event has, or would have.
    pub event: EventId,
    /// An event went out about it.
    pub told: bool,
    /// Its features, with the answer where one came, and hashes of what they are about.
    pub watched: &'a Watched,
    /// What the service answered, where it did.
    pub status: Option<u16>,
    /// What was found, in the order of the events.
    pub findings: SmallVec<[&'a Finding; 4]>,
    /// A finding [proves](score::is_proven) an attack.
    pub proven: bool,
    /// What was made of all of it.
    pub score: &'a Score,
    /// What the behaviour model said of these features, exactly; `None` while the profile is
    /// learning.
    pub behaviour: Option<&'a BehaviourScore>,
}

/// What somebody who verified a request's token says of it. `Debug` shows no claims.
#[derive(Clone, Copy)]
pub struct Vouching<'a> {
    /// The token's claims, a JSON object.
    pub claims: &'a [u8],
    /// The name of the service that was asked.
    pub service: Option<&'a str>,
    /// It is remembered as one that was captured, and compared with what was before it.
    pub learn: bool,
}

impl std::fmt::Debug for Vouching<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vouching")
            .field("claims", &self.claims.len())
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// A request with what was found of it.
pub(super) struct Judged {
    pub(super) tokens: TokenReport,
    /// The client: the peer, or whom a trusted proxy names.
    pub(super) client: IpAddr,
    pub(super) uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
    /// Which tokens were never seen before.
    pub(super) fresh: SmallVec<[bool; 4]>,
    pub(super) score: Option<Score>,
    /// Its features; none where nothing is scored, and where no token says who asks.
    pub(super) watched: Option<Box<Watched>>,
}

impl Reporter<'_, '_> {
    /// Judges the request's tokens, holds them against what is remembered and denied, and scores
    /// the whole but for its behaviour, which the answer belongs to. Remembers that they were used.
    /// `examined` is what was made of it by itself, where that was done already.
    pub(super) fn assess(
        &mut self,
        key: &FlowKey,
        request: &mut Request,
        examined: Option<Examined>,
    ) -> Judged {
        self.assess_as(key, request, None, examined)
    }

    /// The same, of a request that somebody vouches for, where `vouching` is given.
    fn assess_as(
        &mut self,
        key: &FlowKey,
        request: &mut Request,
        vouching: Option<&Vouching<'_>>,
        examined: Option<Examined>,
    ) -> Judged {
        let mut payload = None;
        let mut tokens = match (vouching, examined) {
            (Some(vouching), _) => self.judge.vouched(vouching.claims, request.last_byte),
            (None, Some(examined)) => {
                payload = examined.score;
                // Keys may have been learned since.
                let current = examined.keys == self.judge.keys_version();
                if current { examined.tokens } else { self.judge.judge(request) }
            }
            (None, None) => self.judge.judge(request),
        };
        let learn = vouching.is_none_or(|vouching| vouching.learn);
        let service = self.services.of(key);
        expect_encryption(service, &mut tokens.tokens);
        let peer = key.client.ip();
        let client = self.clients.of(peer, request);
        let facts = self.facts.facts(self.clients, client);
        self.clients.note_threats(client, &facts, request);
        let asn = facts.asn;
        let mut history =
            History { memory: self.memory, now: self.now, key, request, service, client, asn };
        let seen: &mut [_] = if learn { &mut tokens.tokens } else { &mut [] };
        let Observed { uses, public, fresh, scope_covers } = history.observe(seen);
        let denied = &self.lists.denied;
        note_denied(denied, self.now, [peer, client], request, &mut tokens.tokens);
        let shown = dpop::Shown {
            request,
            peer,
            proxied: self.clients.is_proxy(peer),
            public_urls: service.map_or(&[], |service| &service.public_urls),
            proofs_due: service.is_none_or(|service| service.dpop),
            now: request.last_byte,
        };
        if vouching.is_none() {
            dpop::check(&mut tokens.tokens, &shown);
        }
        let public = public || takes_any(&self.settings.endpoints, request, &tokens.tokens);
        let mut score = self.scorer.as_mut().map(|scorer| {
            let mut score = payload.unwrap_or_else(|| scorer.payload(request, &tokens));
            score.weigh(evidence_of(request, &tokens).map(to_score));
            score
        });
        let watched = score.as_ref().filter(|_| learn).and_then(|score| {
            // Of what was found something an event may come, and with it somebody's label.
            let found = score.value > 0 || evidence_of(request, &tokens).next().is_some();
            let seen = Seen {
                request,
                tokens: &tokens,
                fresh: &fresh,
                client: facts.of(client),
                service: vouching
                    .and_then(|vouching| vouching.service)
                    .or_else(|| service.and_then(|service| service.name.as_deref())),
                port: key.server.port(),
                scope_covers,
                payload: Some(score.payload_at_even_odds()),
                read_learning: found || self.out.wants_assessed(),
            };
            let credentials =
                evidence_of(request, &tokens).filter(|evidence| evidence.of_credentials);
            self.features.request(&seen, credentials.map(|evidence| evidence.finding))
        });
        if let (Some(score), Some(watched)) = (&mut score, &watched)
            && let Some(opinions) = self.opinions.of(watched.subject, watched.route)
        {
            score.heed(opinions, request.first_byte);
        }
        Judged { tokens, client, uses, public, fresh, score, watched }
    }

    /// Adds to the score what the behaviour model makes of the features as they are now. Gives
    /// nothing where it is not asked: while the subject's profile is learning.
    pub(super) fn weigh_behaviour(&mut self, open: &mut Open) -> Option<BehaviourScore> {
        let scorer = self.scorer.as_mut()?;
        let watched = open.watched.as_deref()?;
        let mut score = open.score.take()?;
        let behaviour = score.behave(scorer, &watched.vector, self.out.wants_assessed());
        if !score.reasons().is_empty() || score.value > 0 {
            score.weigh(open.evidence().map(to_score));
        }
        open.score = Some(score);
        behaviour
    }

    /// Gives the last word on an exchange to whom it may concern, and the memory of its features
    /// back.
    pub(super) fn close(
        &mut self,
        key: &FlowKey,
        open: &mut Open,
        behaviour: Option<&BehaviourScore>,
    ) {
        let Some(watched) = open.watched.take() else { return };
        if let Some(score) = &open.score
            && (open.reported || self.out.wants_assessed())
        {
            self.out.assessed(&Assessed {
                at: open.request.first_byte,
                event: self.request_id(key, open),
                told: open.reported,
                watched: &watched,
                status: open.response.as_ref().map(|response| response.status),
                findings: open.findings().collect(),
                proven: open.evidence().map(to_score).any(proves),
                score,
                behaviour,
            });
        }
        self.features.recycle(watched);
    }

    /// Completes the features by the answer, at the end of the exchange.
    pub(super) fn complete(&mut self, open: &mut Open, end: &End) {
        if let (Some(watched), Some(response)) = (&mut open.watched, &open.response) {
            let answer = Answer {
                status: response.status,
                latency_us: micros(open.request.last_byte, response.first_byte),
                bytes: end.response_bytes,
            };
            self.features.answer(watched, &answer);
        }
    }
}

/// Whether this proves an attack of the sender's.
fn proves(evidence: score::Evidence<'_>) -> bool {
    evidence.of_credentials && score::is_proven(evidence.finding)
}

/// Evidence as the score takes it.
pub(super) fn to_score(evidence: Evidence<'_>) -> score::Evidence<'_> {
    let Evidence { finding, of_credentials, .. } = evidence;
    score::Evidence { finding, of_credentials }
}

/// What is thought of a request that somebody described.
#[derive(Debug)]
pub struct Assessment {
    /// How likely it is an attack.
    pub score: Score,
    /// What the policy says of it.
    pub verdict: Verdict,
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
}

impl Pipeline {
    /// Judges and scores a request that was not captured, as one that came on `flow` at its own
    /// time, and remembers it as one that did.
    pub fn describe(
        &mut self,
        flow: &FlowKey,
        request: Request,
        out: &mut impl Output,
    ) -> Assessment {
        self.describe_as(flow, request, None, out)
    }

    /// As [`describe`](Self::describe), of a request whose token somebody has verified and does not
    /// show, where `vouching` is given.
    pub fn describe_as(
        &mut self,
        flow: &FlowKey,
        mut request: Request,
        vouching: Option<&Vouching<'_>>,
        out: &mut impl Output,
    ) -> Assessment {
        self.tick(request.last_byte, out);
        let reporter = &mut self.back.shared.reporter(out);
        let mut judged = reporter.assess_as(flow, &mut request, vouching, None);
        let mut score = judged.score.take().unwrap_or_default();
        // Nobody tells of its answer.
        if let (Some(scorer), Some(watched)) = (reporter.scorer.as_mut(), judged.watched.take()) {
            let exact = reporter.out.wants_assessed();
            let behaviour = score.behave(scorer, &watched.vector, exact);
            score.weigh(evidence_of(&request, &judged.tokens).map(to_score));
            let index = reporter.stats.described;
            if reporter.out.wants_assessed() {
                let evidence = || evidence_of(&request, &judged.tokens).map(to_score);
                reporter.out.assessed(&Assessed {
                    at: request.first_byte,
                    event: reporter.ids.id(Kind::Request, Some(flow), request.first_byte, index),
                    told: false,
                    watched: &watched,
                    status: None,
                    findings: evidence().map(|evidence| evidence.finding).collect(),
                    proven: evidence().any(proves),
                    score: &score,
                    behaviour: behaviour.as_ref(),
                });
            }
            reporter.features.recycle(watched);
        }
        reporter.stats.described += 1;
        let context = Context {
            peer: flow.client.ip(),
            client: judged.client,
            method: request.method(),
            target: request.target(),
            score: Some(score.value),
            suspected: score.suspected,
        };
        let decision = reporter.settings.enforcement.policy.decide(
            reporter.lists.allowed.in_force(),
            &context,
            reporter.settings.min_severity,
            evidence_of(&request, &judged.tokens),
        );
        let findings = evidence_of(&request, &judged.tokens);
        let findings = findings.map(|evidence| evidence.finding.clone()).collect();
        let verdict = match decision.verdict {
            Verdict::Allow if decision.told => Verdict::Alert,
            verdict => verdict,
        };
        Assessment { score, verdict, findings }
    }
}
