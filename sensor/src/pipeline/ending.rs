//! The end of tokens as it passes on the wire: revocation requests (RFC 7009) and back-channel
//! logout (OpenID Connect Back-Channel Logout 1.0).
//!
//! Nothing ends before the service has said so: a request that was refused has ended nothing.
//! And nobody's session ends in the sensor's eyes on the word of whoever may send a request: a
//! revocation request shows the very token that it ends; a refresh token ends what was issued of it
//! only where a key of its issuer verified it, as an invented one is answered 200, too (RFC 7009,
//! section 2.2); a logout token counts only where a key of its issuer verified it and it is what the
//! specification asks for.

use smallvec::SmallVec;

use super::history::token_keys;
use crate::{
    config::RevocationConfig,
    finding::Severity,
    http::Request,
    json,
    memory::{Memory, Revocation, TokenKeys, routes::ends_with},
    time::Time,
    token::{
        Known, Location, Token,
        validate::{SignatureCheck, same_type},
    },
};

/// What a logout token has to hold in `events` (OpenID Connect Back-Channel Logout 1.0, section
/// 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token without `exp` is for now (section 2.4): how old one may be, in seconds. As long
/// as single-use tokens are remembered at least, so that none can be shown again behind that.
const MAX_AGE: i64 = 600;

/// Where tokens are revoked and sessions ended.
#[derive(Clone, Debug)]
pub struct Endpoints {
    revocation: Vec<String>,
    logout: Vec<String>,
}

impl Endpoints {
    /// As the configuration names them.
    #[must_use]
    pub fn new(config: &RevocationConfig) -> Self {
        let plain = |endings: &[toml::Spanned<String>]| {
            endings.iter().map(|ending| ending.get_ref().clone()).collect()
        };
        Self { revocation: plain(&config.endpoints), logout: plain(&config.logout_endpoints) }
    }
}

/// What a request ends, if it is answered so.
#[derive(Debug)]
pub(super) enum Ending {
    /// One token.
    Token(TokenKeys),
    /// A session.
    Session { issuer: Box<str>, session: Box<str> },
    /// What a client was issued in a session.
    Grant { issuer: Box<str>, session: Box<str>, client: Box<str> },
    /// Every session of a subject.
    Subject { issuer: Box<str>, subject: Box<str> },
}

/// The endings that one request asks for; most ask for none.
pub(super) type Endings = SmallVec<[Box<Ending>; 0]>;

impl Ending {
    /// Takes it into account where the service answered that it is done: 200, or the 204 that
    /// frameworks make of it (back-channel logout, section 2.8).
    pub(super) fn answered(&self, now: Time, status: u16, memory: &mut Memory) {
        if !matches!(status, 200 | 204) {
            return;
        }
        memory.revoked(
            now,
            &match self {
                Self::Token(keys) => Revocation::Token(*keys),
                Self::Session { issuer, session } => Revocation::Session { issuer, session },
                Self::Grant { issuer, session, client } => {
                    Revocation::Grant { issuer, session, client }
                }
                Self::Subject { issuer, subject } => Revocation::Subject { issuer, subject },
            },
        );
    }
}

/// What a request would end. `fresh` says of each token whether it was not used before.
pub(super) fn endings(
    endpoints: &Endpoints,
    request: &Request,
    tokens: &[Token],
    fresh: &[bool],
) -> Endings {
    let mut endings = Endings::new();
    if request.method() != b"POST" {
        return endings;
    }
    let Ok(target) = std::str::from_utf8(request.target()) else { return endings };
    let at = |paths: &[String]| paths.iter().any(|path| ends_with(target, path));
    for (token, &fresh) in tokens.iter().zip(fresh) {
        let (Location::Form(name), Some(known)) = (&token.location, &token.decoded) else {
            continue;
        };
        let ending = match &**name {
            // RFC 7009, section 2.1.
            "token" if at(&endpoints.revocation) => {
                endings.extend(grant(known).map(Box::new));
                Some(Ending::Token(token_keys(token, known)))
            }
            "logout_token" if endpoints.logout.is_empty() || at(&endpoints.logout) => {
                logout(token, known, request.last_byte).filter(|_| fresh)
            }
            _ => None,
        };
        endings.extend(ending.map(Box::new));
    }
    endings
}

/// Whether the request is answered 200 whatever its tokens are: a revocation of tokens that were
/// invented is, too (RFC 7009, section 2.2).
pub(super) fn takes_any(endpoints: &Endpoints, request: &Request, tokens: &[Token]) -> bool {
    let shown =
        |token: &Token| matches!(&token.location, Location::Form(name) if &**name == "token");
    request.method() == b"POST"
        && !tokens.is_empty()
        && tokens.iter().all(shown)
        && std::str::from_utf8(request.target())
            .is_ok_and(|target| endpoints.revocation.iter().any(|path| ends_with(target, path)))
}

/// What was issued of a refresh token, and is to end with it (RFC 7009, section 2.1). `None` where
/// the token is none for certain, or names no session that would tell what is.
fn grant(known: &Known) -> Option<Ending> {
    let claims = known.claims()?;
    let text = |name| claims.get(name).and_then(json::Value::as_str);
    let typ = known.header()?.get("typ").and_then(json::Value::as_str);
    // Keycloak has `typ` among the claims, Cognito `token_use`; others name the header's type.
    let refresh = text("typ").is_some_and(|typ| matches!(&*typ, "Refresh" | "Offline"))
        || text("token_use").is_some_and(|usage| usage == "refresh")
        || typ.is_some_and(|typ| same_type(&typ, "rt+jwt") || same_type(&typ, "refresh+jwt"));
    if !refresh || known.validation.signature != SignatureCheck::Good {
        return None;
    }
    let facts = known.facts();
    Some(Ending::Grant {
        issuer: facts.text(facts.issuer)?.into(),
        session: facts.text(facts.session)?.into(),
        client: facts.text(facts.client).unwrap_or_default().into(),
    })
}

/// What a logout token ends: its session, or, where it names none, all of its subject
/// (back-channel logout, sections 2.4 and 2.6). `None` where it is none that a service may obey.
fn logout(token: &Token, known: &Known, now: Time) -> Option<Ending> {
    let facts = known.facts();
    let claims = known.claims()?;
    let typ = known.header()?.get("typ").and_then(json::Value::as_str);
    // The type is recommended; older issuers write JWT. An access token is no logout token.
    let typ_fits = typ.is_none_or(|typ| same_type(&typ, "logout+jwt") || same_type(&typ, "JWT"));
    let event = claims.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    let genuine = known.validation.signature == SignatureCheck::Good
        && token.findings.iter().all(|finding| finding.severity < Severity::Medium);
    let mut late = Vec::new();
    known.validation.at(now, &mut late);
    let issued = facts.issued?;
    let seconds = i64::try_from(now.unix_secs()).unwrap_or(i64::MAX);
    let current =
        late.is_empty() && (facts.expires.is_some() || seconds.saturating_sub(issued) <= MAX_AGE);
    let complete = event.is_some_and(|event| event.kind() == json::Kind::Object)
        && facts.id.is_some()
        && !facts.audiences.is_empty()
        // Or an ID token would pass for one.
        && claims.get("nonce").is_none();
    if !(typ_fits && genuine && current && complete) {
        return None;
    }
    let issuer = facts.text(facts.issuer)?.into();
    match (facts.text(facts.session), facts.text(facts.subject)) {
        (Some(session), _) => Some(Ending::Session { issuer, session: session.into() }),
        (None, Some(subject)) => Some(Ending::Subject { issuer, subject: subject.into() }),
        (None, None) => None,
    }
}
