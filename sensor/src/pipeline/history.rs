//! A request's tokens in the light of the uses before: from the token stage's values to the
//! memory's.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, Hasher as _},
};

use smallvec::SmallVec;

use crate::{
    capture::FlowKey,
    http::Request,
    memory::{
        Check, Memory, Observation, Purpose, ServiceUse, TokenKeys, Use, UseHandle,
        routes::Coverage,
    },
    services::Service,
    time::Time,
    token::{Known, Location, Role, Token, json::Value, validate::SignatureCheck},
};

/// Roles, scopes or groups of one token that are looked at.
const MAX_NAMES: usize = 256;

type Names<'a> = SmallVec<[Cow<'a, str>; 8]>;

/// A request whose tokens are to be looked at.
pub(super) struct History<'h> {
    pub(super) memory: &'h mut Memory,
    pub(super) now: Time,
    pub(super) key: &'h FlowKey,
    pub(super) request: &'h Request,
    pub(super) service: Option<&'h Service>,
}

/// What was seen of a request's tokens.
pub(super) struct Observed {
    /// The uses, until the answer is known.
    pub(super) uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
}

impl History<'_> {
    /// Shows the memory every token that the request uses, and adds what it says to their
    /// findings, and whether their scopes cover the route.
    pub(super) fn observe(&mut self, tokens: &mut [Token]) -> Observed {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        hasher.write(self.request.header("user-agent").unwrap_or_default());
        let agent = hasher.finish();
        let mut observed = Observed { uses: SmallVec::new(), public: false };
        for token in tokens {
            let Some(known) = token.decoded.clone() else { continue };
            let Some(purpose) = purpose(token, &known) else { continue };
            let observation = self.observe_one(agent, token, &known, purpose);
            token.findings.extend(observation.findings);
            observed.uses.push(observation.handle);
            if purpose == Purpose::Access {
                let coverage = self.coverage(&known);
                observed.public |= coverage == Coverage::Public;
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
        let scopes = scopes(known);
        let (method, target) = (text(self.request.method()), text(self.request.target()));
        service.routes.check(method, target, &borrowed(&scopes))
    }

    fn observe_one(
        &mut self,
        agent: u64,
        token: &Token,
        known: &Known,
        purpose: Purpose,
    ) -> Observation {
        let header = |name| known.header()?.get(name)?.as_str();
        let claims = known.claims();
        let claim = |name| claims?.get(name)?.as_str();
        let number = |name| claims?.get(name)?.as_f64().map(|seconds| seconds as i64);
        let [issuer, subject, id, session, nonce] =
            ["iss", "sub", "jti", "sid", "nonce"].map(&claim);
        let tenant = ["tid", "tenant_id", "tenant", "org_id"].into_iter().find_map(claim);
        let (algorithm, key_id) = (header("alg"), header("kid"));
        let audiences = names(claims, &["aud"], false);
        let roles = {
            let mut roles = names(claims, &["roles", "role"], false);
            // Keycloak's place for them.
            let realm = claims.and_then(|claims| claims.get("realm_access"));
            roles.extend(names(realm, &["roles"], false));
            roles
        };
        let scopes = scopes(known);
        let groups = names(claims, &["groups"], false);
        let used = Use {
            check: match known.validation.signature {
                SignatureCheck::Good => Check::Verified,
                SignatureCheck::Bad => Check::Bad,
                SignatureCheck::Unverifiable => Check::Unverifiable,
            },
            purpose,
            issuer: issuer.as_deref(),
            subject: subject.as_deref(),
            id: id.as_deref(),
            session: session.as_deref(),
            nonce: nonce.as_deref(),
            audiences: &borrowed(&audiences),
            expires: number("exp"),
            issued: number("iat"),
            key_id: key_id.as_deref(),
            algorithm: algorithm.as_deref(),
            roles: &borrowed(&roles),
            scopes: &borrowed(&scopes),
            groups: &borrowed(&groups),
            tenant: tenant.as_deref(),
            user_agent: Some(agent),
            ..Use::new(
                TokenKeys {
                    fingerprint: u128::from_be_bytes(*token.fingerprint.as_bytes()),
                    signature: known.digests.signature,
                    signature_len: known.digests.signature_len,
                    signing_input: known.digests.signing_input,
                },
                self.key.client.ip(),
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

fn scopes(known: &Known) -> Names<'_> {
    names(known.claims(), &["scope", "scp", "permissions"], true)
}

fn borrowed<'n>(names: &'n Names<'_>) -> SmallVec<[&'n str; 8]> {
    names.iter().map(|name| &**name).collect()
}

/// The strings of these claims: one each, a list, or, where `split`, parted by spaces (RFC 8693,
/// section 4.2).
fn names<'a>(claims: Option<Value<'a>>, keys: &[&str], split: bool) -> Names<'a> {
    let mut out = Names::new();
    for value in keys.iter().filter_map(|key| claims?.get(key)) {
        let texts = value.as_str().into_iter();
        for text in texts.chain(value.elements().filter_map(Value::as_str)) {
            if split && text.contains(' ') {
                out.extend(text.split_ascii_whitespace().map(|one| Cow::Owned(one.to_owned())));
            } else {
                out.push(text);
            }
            if out.len() >= MAX_NAMES {
                out.truncate(MAX_NAMES);
                return out;
            }
        }
    }
    out
}
