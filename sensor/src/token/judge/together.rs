//! What a request's tokens are in it, and whether they may stand beside each other.

use smallvec::SmallVec;

use super::TokenReport;
use crate::{
    finding::{Finding, FindingId},
    json::Value,
    token::{Token, extract::Location},
};

/// What a token is in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Credentials by a method of RFC 6750.
    Method,
    /// Credentials by another way.
    Beside,
    /// What the request is about, or a proof.
    Matter,
}

impl Location {
    /// What a token in this place is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Authorization | Self::WebSocketProtocol => Role::Method,
            Self::Query(name) | Self::Form(name) if name == "access_token" => Role::Method,
            Self::Query(name) if name == "token" || name == "jwt" => Role::Beside,
            Self::Cookie(_) | Self::Header(_) => Role::Beside,
            _ => Role::Matter,
        }
    }
}

/// A token with what [`ambiguous`] compares, the claims as they are written.
struct Standing<'a> {
    token: &'a Token,
    role: Role,
    issuer: Option<&'a [u8]>,
    subject: Option<&'a [u8]>,
    audience: Option<&'a [u8]>,
}

impl<'a> Standing<'a> {
    fn new(token: &'a Token) -> Self {
        let claims = token.decoded.as_ref().and_then(|d| d.claims());
        let claim = |name| claims.and_then(|c| c.get(name)).map(Value::raw);
        let (issuer, subject, audience) = (claim("iss"), claim("sub"), claim("aud"));
        Self { token, role: token.location.role(), issuer, subject, audience }
    }
}

/// Findings of tokens by the company that they are in.
pub(super) fn judge_together(report: &mut TokenReport) {
    for token in &mut report.tokens {
        if let Location::Query(name) = &token.location {
            let detail = format!("parameter {name}");
            token.findings.push(Finding::new(FindingId::TokenInQuery, detail));
        }
    }
    if report.tokens.len() < 2 {
        return;
    }
    let standings: SmallVec<[Standing<'_>; 4]> = report.tokens.iter().map(Standing::new).collect();
    // At most MAX_CANDIDATES tokens: no more than 120 pairs.
    let pair = standings.iter().enumerate().find_map(|(k, a)| {
        let behind = standings.get(k + 1..)?;
        behind.iter().find(|b| ambiguous(a, b)).map(|b| (a.token, b.token))
    });
    if let Some((a, b)) = pair {
        let detail = format!("{} and {} carry different tokens", a.location, b.location);
        report.findings.push(Finding::new(FindingId::TokenMultiple, detail));
    }
}

/// Whether a service that looks at two places in turn may take either token for the caller's.
///
/// - RFC 6750, section 2, has three methods (field, form parameter, query parameter) and forbids
///   more than one in a request; WebSocket handshakes stand in for the field.
/// - One place that is filled twice is read differently by different services (for DPoP proofs
///   see RFC 9449, section 4.3). Cookies of one name are legal, and so is a JSON body of many.
/// - Any other place (session cookies, gateways' header fields, invitations in a query) is
///   benign beside an access token, unless both would pass the same check: same issuer, same
///   audience, and another subject.
/// - Tokens that are the matter of a request and not its credentials (refresh and ID tokens,
///   assertions, tokens to revoke) and proofs of possession stand beside an access token by right.
fn ambiguous(a: &Standing<'_>, b: &Standing<'_>) -> bool {
    let (one, other) = (&a.token.location, &b.token.location);
    let repeatable = matches!(one, Location::Cookie(_) | Location::Json(_) | Location::Body);
    if a.token.fingerprint == b.token.fingerprint {
        false
    } else if one == other && !repeatable {
        true
    } else {
        match (a.role, b.role) {
            (Role::Matter, _) | (_, Role::Matter) => false,
            (Role::Method, Role::Method) => true,
            _ => {
                a.issuer.is_some()
                    && a.issuer == b.issuer
                    && a.audience == b.audience
                    && a.subject.zip(b.subject).is_some_and(|(a, b)| a != b)
            }
        }
    }
}
