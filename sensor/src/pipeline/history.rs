//! A request's tokens in the light of the uses before: from the token stage's values to the
//! memory's.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    net::IpAddr,
};

use smallvec::SmallVec;

use crate::{
    capture::FlowKey,
    finding::FindingId,
    http::Request,
    memory::{
        Check, Memory, Observation, Purpose, ServiceUse, TokenKeys, Use, UseHandle,
        routes::Coverage,
    },
    services::Service,
    time::Time,
    token::{
        Facts, Kind, Known, Location, Role, Text, Token,
        validate::{SignatureCheck, unexpected_encryption},
    },
};

/// A request whose tokens are to be looked at.
pub(super) struct History<'h> {
    pub(super) memory: &'h mut Memory,
    pub(super) now: Time,
    pub(super) key: &'h FlowKey,
    pub(super) request: &'h Request,
    pub(super) service: Option<&'h Service>,
    /// The peer, or whom a trusted proxy names.
    pub(super) client: IpAddr,
    /// The client's autonomous system.
    pub(super) asn: Option<u32>,
}

/// What was seen of a request's tokens.
pub(super) struct Observed {
    /// The uses, until the answer is known.
    pub(super) uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
    /// Of each token, whether it was not used before.
    pub(super) fresh: SmallVec<[bool; 4]>,
    /// Whether the scopes of all its tokens cover the route; `None` where nothing says which are
    /// needed.
    pub(super) scope_covers: Option<bool>,
}

impl History<'_> {
    /// Shows the memory every token that the request uses, and adds what it says to their
    /// findings, and whether their scopes cover the route.
    pub(super) fn observe(&mut self, tokens: &mut [Token]) -> Observed {
        if tokens.is_empty() {
            return Observed {
                uses: SmallVec::new(),
                public: false,
                fresh: SmallVec::new(),
                scope_covers: None,
            };
        }
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        hasher.write(self.request.header("user-agent").unwrap_or_default());
        let agent = hasher.finish();
        let fresh = SmallVec::from_elem(true, tokens.len());
        let mut observed =
            Observed { uses: SmallVec::new(), public: false, fresh, scope_covers: None };
        for (token, fresh) in tokens.iter_mut().zip(&mut observed.fresh) {
            let Some(known) = token.decoded.as_deref() else { continue };
            let Some(purpose) = purpose(token, known) else { continue };
            let observation = self.observe_one(agent, token, known, purpose);
            *fresh = observation.first_use;
            token.findings.extend(observation.findings);
            observed.uses.push(observation.handle);
            if purpose == Purpose::Access {
                let coverage = self.coverage(known);
                observed.public |= coverage == Coverage::Public;
                let covers = match coverage {
                    Coverage::Covered => Some(true),
                    Coverage::Insufficient(_) => Some(false),
                    Coverage::Public | Coverage::Unknown => None,
                };
                let all = |covers| observed.scope_covers.unwrap_or(true) && covers;
                observed.scope_covers = covers.map(all).or(observed.scope_covers);
                token.findings.extend(coverage.finding());
            }
        }
        observed
    }

    fn coverage(&self, known: &Known) -> Coverage<'_> {
        let Some(service) = self.service.filter(|service| !service.routes.is_empty()) else {
            return Coverage::Unknown;
        };
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let facts = known.facts();
        let (method, target) = (text(self.request.method()), text(self.request.target()));
        service.routes.check(method, target, list(&mut Names::new(), facts, &facts.scopes))
    }

    fn observe_one(
        &mut self,
        agent: u64,
        token: &Token,
        known: &Known,
        purpose: Purpose,
    ) -> Observation {
        let facts = known.facts();
        let (mut audiences, mut roles) = (Names::new(), Names::new());
        let (mut scopes, mut groups) = (Names::new(), Names::new());
        let proof = known.proof.as_ref();
        let signature = proof.map_or(known.validation.signature, |proof| proof.signature);
        let used = Use {
            check: match signature {
                SignatureCheck::Good => Check::Verified,
                SignatureCheck::Bad => Check::Bad,
                SignatureCheck::Learned | SignatureCheck::Unverifiable => Check::Unverifiable,
            },
            purpose,
            // A proof is its key's: two clients may give one jti to two proofs.
            issuer: match proof {
                Some(proof) => proof.thumbprint.as_deref(),
                None => facts.text(facts.issuer),
            },
            subject: facts.text(facts.subject),
            id: facts.text(facts.id),
            session: facts.text(facts.session),
            client_id: facts.text(facts.client),
            nonce: facts.text(facts.nonce),
            audiences: list(&mut audiences, facts, &facts.audiences),
            expires: facts.expires,
            issued: facts.issued,
            key_id: facts.text(facts.key_id),
            algorithm: facts.text(facts.algorithm),
            roles: list(&mut roles, facts, &facts.roles),
            scopes: list(&mut scopes, facts, &facts.scopes),
            groups: list(&mut groups, facts, &facts.groups),
            tenant: facts.text(facts.tenant),
            user_agent: Some(agent),
            asn: self.asn,
            ..Use::new(
                token_keys(token, known),
                self.client,
                ServiceUse {
                    server: self.key.server,
                    cgroup: self.key.scope,
                    name: self.service.and_then(|service| service.name.as_deref()),
                    audiences: self.service.map_or(&[], |service| &service.audiences),
                },
            )
        };
        self.memory.observe(self.now, &used)
    }
}

/// Holds credentials to what the service says of encrypted ones, instead of what the issuers'
/// tables say.
pub(super) fn expect_encryption(service: Option<&Service>, tokens: &mut [Token]) {
    let Some(may_be) = service.and_then(|service| service.encrypted) else { return };
    let encrypted = |token: &&mut Token| {
        token.location.role() != Role::Matter && token.kind == Kind::Jwe && token.decoded.is_some()
    };
    for token in tokens.iter_mut().filter(encrypted) {
        token.findings.retain(|finding| finding.id != FindingId::EncryptionUnexpected);
        if !may_be {
            unexpected_encryption(&mut token.findings);
        }
    }
}

/// What stands for a token in the memory.
pub(super) fn token_keys(token: &Token, known: &Known) -> TokenKeys {
    TokenKeys {
        fingerprint: u128::from_be_bytes(*token.fingerprint.as_bytes()),
        signature: known.digests.signature,
        signature_len: known.digests.signature_len,
        signing_input: known.digests.signing_input,
    }
}

/// What the token is used for; `None` where it is not used as a credential at all.
fn purpose(token: &Token, known: &Known) -> Option<Purpose> {
    match token.location.role() {
        Role::Method | Role::Beside => Some(Purpose::Access),
        Role::Matter => match &token.location {
            Location::Dpop => Some(Purpose::SingleUse),
            Location::Form(name) | Location::Json(name)
                if matches!(&**name, "client_assertion" | "logout_token") =>
            {
                // RFC 7523, section 3: once, where it has a name.
                known.claims()?.get("jti").map(|_| Purpose::SingleUse)
            }
            _ => None,
        },
    }
}

/// Names as the memory takes them.
type Names<'f> = SmallVec<[&'f str; 8]>;

/// Fills a list where it stands: most are empty, and too large to be moved for that.
#[inline]
fn list<'l, 'f>(list: &'l mut Names<'f>, facts: &'f Facts, names: &'f [Text]) -> &'l [&'f str] {
    if names.is_empty() {
        return &[];
    }
    list.extend(facts.texts(names));
    list
}
