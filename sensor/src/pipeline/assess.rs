//! What is made of a request before anything is decided: its tokens, its history, its score.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::{
    Pipeline,
    ending::takes_any,
    enforcement::{evidence_of, note_denied},
    history::{History, Observed, expect_encryption},
    output::{Output, Reporter},
};
use crate::{
    capture::FlowKey,
    finding::Finding,
    http::Request,
    memory::UseHandle,
    policy::{Context, Evidence, Verdict},
    score::{self, Score},
    token::{TokenReport, dpop},
};

/// A request with what was found of it.
pub(super) struct Assessed {
    pub(super) tokens: TokenReport,
    /// The client: the peer, or whom a trusted proxy names.
    pub(super) client: IpAddr,
    pub(super) uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
    /// Which tokens were never seen before.
    pub(super) fresh: SmallVec<[bool; 4]>,
    pub(super) score: Option<Score>,
}

impl Reporter<'_, '_> {
    /// Judges the request's tokens, holds them against what is remembered and denied, and scores
    /// the whole. Remembers that they were used.
    pub(super) fn assess(&mut self, key: &FlowKey, request: &mut Request) -> Assessed {
        let mut tokens = self.judge.judge(request);
        let service = self.services.of(key);
        expect_encryption(service, &mut tokens.tokens);
        let peer = key.client.ip();
        let client = self.clients.of(peer, request);
        let asn = if tokens.tokens.is_empty() { None } else { self.clients.asn(client) };
        let mut history =
            History { memory: self.memory, now: self.now, key, request, service, client, asn };
        let Observed { uses, public, fresh } = history.observe(&mut tokens.tokens);
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
        dpop::check(&mut tokens.tokens, &shown);
        let public = public || takes_any(&self.settings.endpoints, request, &tokens.tokens);
        let score = self.scorer.as_mut().map(|scorer| {
            scorer.score(request, &tokens, evidence_of(request, &tokens).map(to_score))
        });
        Assessed { tokens, client, uses, public, fresh, score }
    }
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
        mut request: Request,
        out: &mut impl Output,
    ) -> Assessment {
        self.tick(request.last_byte, out);
        let reporter = &mut self.shared.reporter(out);
        let assessed = reporter.assess(flow, &mut request);
        let score = assessed.score.unwrap_or_default();
        let context = Context {
            peer: flow.client.ip(),
            client: assessed.client,
            method: request.method(),
            target: request.target(),
            score: Some(score.value),
            suspected: score.suspected,
        };
        let decision = reporter.settings.enforcement.policy.decide(
            reporter.lists.allowed.in_force(),
            &context,
            reporter.settings.min_severity,
            evidence_of(&request, &assessed.tokens),
        );
        let findings = evidence_of(&request, &assessed.tokens);
        let findings = findings.map(|evidence| evidence.finding.clone()).collect();
        let verdict = match decision.verdict {
            Verdict::Allow if decision.told => Verdict::Alert,
            verdict => verdict,
        };
        Assessment { score, verdict, findings }
    }
}
