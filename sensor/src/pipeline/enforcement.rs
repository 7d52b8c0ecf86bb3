//! From a request's findings to what is done about it.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    exchanges::{Exchanges, Open},
    output::Reporter,
};
use crate::{
    capture::FlowKey,
    enforce::{
        Cut, CutOutcome,
        denylist::Denylist,
        entry::{Denied, Source, Terms},
    },
    event::Enforcement,
    finding::{Finding, FindingId},
    http::Request,
    memory::is_forged,
    policy::{Action, AllowedName, Context, DenyScope, Evidence, Mode, Name, Reasons, Verdict},
    time::Time,
    token::{Location, Role, Token, TokenReport, validate::SignatureCheck},
};

/// A connection that could not be reset is denied for this long; by then its peers have given up.
const FLOW_DENY: Duration = Duration::from_secs(60);

/// Findings that an entry of the denylist makes: what rests on them alone makes no further entry,
/// or an entry would never end as long as it is met.
const DENYLISTED: [FindingId; 3] =
    [FindingId::TokenDenylisted, FindingId::SubjectDenylisted, FindingId::AddressDenylisted];

/// Adds the findings that the denylist makes. `addresses` are those of the connection's other end
/// and of the client, mostly the same.
pub(super) fn note_denied(
    list: &Denylist,
    now: Time,
    addresses: [IpAddr; 2],
    request: &mut Request,
    tokens: &mut [Token],
) {
    if list.is_empty() {
        return;
    }
    if let Some(terms) = addresses.into_iter().find_map(|address| list.address(now, address)) {
        request.findings.push(denylisted(FindingId::AddressDenylisted, &terms));
    }
    for token in tokens {
        if let Some(terms) = list.token(now, token.deny_key) {
            token.findings.push(denylisted(FindingId::TokenDenylisted, &terms));
        }
        if let Some(terms) = list.subject(now, name_of(token)) {
            token.findings.push(denylisted(FindingId::SubjectDenylisted, &terms));
        }
    }
}

/// Everything that is wrong with a request itself, as the policy takes it.
pub(super) fn evidence_of<'a>(
    request: &'a Request,
    tokens: &'a TokenReport,
) -> impl Iterator<Item = Evidence<'a>> {
    let of_request = |finding| Evidence { finding, of_credentials: true, vouched: None };
    let own = request.findings.iter().chain(&tokens.findings).map(of_request);
    own.chain(tokens.tokens.iter().flat_map(|token| {
        let (of_credentials, vouched) = (is_credential(token), vouched(token));
        token.findings.iter().map(move |finding| Evidence { finding, of_credentials, vouched })
    }))
}

impl Reporter<'_, '_> {
    /// Whether a request's score may cut its connection, so that it is to be known before the
    /// answer.
    pub(super) fn judges_scores_at_once(&self, key: &FlowKey) -> bool {
        let enforcement = &self.settings.enforcement;
        enforcement.policy.cuts_by_score()
            && self
                .services
                .of(key)
                .and_then(|service| service.mode)
                .unwrap_or(enforcement.mode)
                .cuts()
    }

    /// Decides on a request by what is known of it, and acts at once. It may be called again when
    /// more is known; what was done is done once.
    pub(super) fn decide(&mut self, flow: &Exchanges, open: &mut Open) {
        if open.is_clean() {
            // Rules act on findings and on scores that rest on something.
            return;
        }
        let enforcement = &self.settings.enforcement;
        let service = self.services.of(&flow.key);
        let mode = service.and_then(|service| service.mode).unwrap_or(enforcement.mode);
        let dry_run =
            service.and_then(|s| s.dry_run).unwrap_or(enforcement.dry_run) || enforcement.replay;
        let context = Context {
            peer: flow.key.client.ip(),
            client: open.client,
            method: open.request.method(),
            target: open.request.target(),
            score: open.score.as_ref().map(|score| score.value),
            suspected: open.score.as_ref().is_some_and(|score| score.suspected),
        };
        let decision = enforcement.policy.decide(
            self.lists.allowed.in_force(),
            &context,
            self.settings.min_severity,
            open.evidence(),
        );
        open.suspicious |= decision.told;
        if !mode.cuts() || open.enforcement.is_some() {
            return;
        }
        match decision.verdict {
            Verdict::Allow | Verdict::Alert => {}
            Verdict::Spared { reasons, by } => {
                self.stats.spared += 1;
                open.suspicious = true;
                open.enforcement = Some(Enforcement {
                    mode,
                    action: "spared",
                    dry_run,
                    denied: Vec::new(),
                    deny_seconds: 0,
                    reasons,
                    allowed_by: Some(by),
                });
            }
            Verdict::Kill { reasons } => {
                open.suspicious = true;
                open.enforcement = Some(self.kill(flow, open, mode, dry_run, reasons));
            }
        }
    }

    fn kill(
        &mut self,
        flow: &Exchanges,
        open: &Open,
        mode: Mode,
        dry_run: bool,
        reasons: Reasons,
    ) -> Enforcement {
        let deny_for = self.settings.enforcement.deny_for;
        let until = self.now + deny_for;
        let (scopes, entries) = self.to_deny(open, &reasons);
        let mut outcome = CutOutcome::Reset;
        if dry_run {
            self.stats.cuts_dry += 1;
        } else {
            self.stats.cuts += 1;
            let reason = reasons.text();
            let (list, now) = (&mut self.lists.denied, self.now);
            // A full list is counted in its own figures; the connection is cut all the same.
            let mut denied = entries;
            denied.retain(|denied| {
                list.add(now, denied, Some(until), &reason, Source::Verdict).is_ok()
            });
            let cut = Cut {
                flow: flow.key,
                cookie: flow.cookie,
                pid: flow.service.as_ref().and_then(|service| service.pid),
                denied: denied.into_iter().map(|denied| (denied, until)).collect(),
            };
            outcome = self.out.cut(&cut);
            if outcome == CutOutcome::Failed && flow.cookie != 0 {
                let (denied, until) = (Denied::Flow(flow.cookie), now + FLOW_DENY);
                let list = &mut self.lists.denied;
                let _ = list.add(now, &denied, Some(until), &reason, Source::Verdict);
            }
        }
        Enforcement {
            mode,
            action: outcome.as_str(),
            dry_run,
            deny_seconds: if scopes.is_empty() { 0 } else { deny_for.as_secs() },
            denied: scopes,
            reasons,
            allowed_by: None,
        }
    }

    /// What a verdict denies beside the connection: of which scopes, and which entries.
    fn to_deny(&self, open: &Open, reasons: &Reasons) -> (Vec<DenyScope>, Vec<Denied>) {
        let policy = &self.settings.enforcement.policy;
        let own_reason = |id: &FindingId| !DENYLISTED.contains(id);
        if reasons.score.is_none() && !reasons.findings.iter().any(own_reason) {
            return (Vec::new(), Vec::new());
        }
        let guilty = |token: &&Token| {
            let of_credentials = is_credential(token);
            let kills = |finding: &Finding| {
                own_reason(&finding.id)
                    && reasons.findings.contains(&finding.id)
                    && policy.action(&Evidence { finding, of_credentials, vouched: None })
                        == Action::Kill
            };
            of_credentials && (reasons.score.is_some() || token.findings.iter().any(kills))
        };
        let tokens = || open.tokens.tokens.iter().filter(guilty);
        let (mut scopes, mut entries) = (Vec::new(), Vec::new());
        for &scope in &self.settings.enforcement.deny {
            let before = entries.len();
            match scope {
                DenyScope::Token => {
                    entries.extend(tokens().map(|token| Denied::Token(token.deny_key)));
                }
                // Only a name that a key vouches for: anybody can write another's into a forgery.
                DenyScope::Subject => {
                    entries.extend(tokens().filter_map(vouched).filter_map(|name| {
                        let issuer = name.issuer.map(str::to_owned);
                        let subject = name.subject?.to_owned();
                        Some(Denied::Subject(AllowedName { issuer, subject }))
                    }));
                }
                // Never a trusted proxy: all others would be cut with the one behind it.
                DenyScope::Address => {
                    let address = open.client.to_canonical();
                    entries.push(Denied::Network(IpNet::from(address)));
                }
            }
            if entries.len() > before && !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        (scopes, entries)
    }
}

impl Open {
    /// Everything that is wrong with the exchange, as the policy takes it.
    pub(super) fn evidence(&self) -> impl Iterator<Item = Evidence<'_>> {
        let of_response = |finding| Evidence { finding, of_credentials: true, vouched: None };
        let response = self.response.iter().flat_map(|response| &response.findings);
        // An answer to a forged token that was not the caller's says nothing against the caller.
        let forged = || {
            let tokens = self.tokens.tokens.iter();
            tokens.filter(|token| is_credential(token)).any(|token| is_forged(&token.findings))
        };
        let outcome = self.outcome.iter().map(move |finding| Evidence {
            finding,
            of_credentials: forged(),
            vouched: None,
        });
        evidence_of(&self.request, &self.tokens).chain(response.map(of_response)).chain(outcome)
    }
}

/// Whether the token speaks for the caller, or proves who the caller is. In a body these are the
/// names of RFC 6750 and of OpenID Connect's `form_post`, and the same in JSON: an authorization
/// server is asked about a token under other names.
fn is_credential(token: &Token) -> bool {
    token.location.role() != Role::Matter
        || match &token.location {
            Location::Dpop => true,
            Location::Form(name) | Location::Json(name) => matches!(
                &**name,
                "client_assertion" | "access_token" | "accessToken" | "id_token" | "idToken"
            ),
            _ => false,
        }
}

fn name_of(token: &Token) -> Name<'_> {
    let Some(facts) = token.decoded.as_ref().map(|known| known.facts()) else {
        return Name { issuer: None, subject: None };
    };
    Name { issuer: facts.text(facts.issuer), subject: facts.text(facts.subject) }
}

/// Whom the token speaks for, where its signature was verified.
fn vouched(token: &Token) -> Option<Name<'_>> {
    let known = token.decoded.as_ref()?;
    (known.validation.signature == SignatureCheck::Good).then(|| name_of(token))
}

fn denylisted(id: FindingId, terms: &Terms<'_>) -> Finding {
    let by = terms.source.as_str();
    let until = match terms.until {
        Some(until) => format!(" until {until}"),
        None => String::new(),
    };
    let line = terms.line.map(|line| format!(":{line}")).unwrap_or_default();
    Finding::new(id, format!("denied by {by}{until}: {}{line}", terms.reason))
}
