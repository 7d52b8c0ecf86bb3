//! What came of a request: its findings joined with the service's own answer.

use crate::finding::{Finding, FindingId, Severity};

/// Findings that prove, at the severity given or above, that the token was not made by its issuer.
pub const PROVES_FORGERY: &[(FindingId, Severity)] = &[
    (FindingId::AlgNone, Severity::High),
    (FindingId::SignatureEmpty, Severity::High),
    (FindingId::SignatureInvalid, Severity::High),
    (FindingId::SignatureMalformed, Severity::High),
    (FindingId::SignaturePsychic, Severity::High),
    (FindingId::AlgConfusion, Severity::High),
    (FindingId::TokenTampered, Severity::Critical),
];

/// What the service made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 2xx, and nothing proves the token forged.
    Accepted,
    /// 401 or 403: an attempt, where there are findings.
    Refused,
    /// 2xx on a token that is proven forged.
    Bypassed,
    /// 5xx.
    Error,
    /// Any other status: it doesn't say what the service thought of the token.
    Unclear,
    /// No answer was seen.
    Unanswered,
}

impl Outcome {
    /// The outcome of a request with these findings; `status` is `None` without an answer.
    #[must_use]
    pub fn of(findings: &[Finding], status: Option<u16>) -> Self {
        match status {
            None => Self::Unanswered,
            Some(200..=299) if is_forged(findings) => Self::Bypassed,
            Some(200..=299) => Self::Accepted,
            Some(401 | 403) => Self::Refused,
            Some(500..=599) => Self::Error,
            Some(_) => Self::Unclear,
        }
    }

    /// The stable name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "attempt",
            Self::Bypassed => "bypass",
            Self::Error => "error",
            Self::Unclear => "unclear",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Whether the findings prove that the token is a forgery.
#[must_use]
pub fn is_forged(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|f| PROVES_FORGERY.iter().any(|&(id, least)| f.id == id && f.severity >= least))
}

/// What the answer makes of a token's findings. `status` is the final response's; `public`
/// whether the route asks for no token, and so says nothing by 2xx.
///
/// A key that the issuer's set does not have, and a service that takes what it signs: the one or
/// the other is wrong, and `kid-unknown` is `high`.
///
/// A client may learn by a 401 that it has to refresh its token (RFC 6750, section 3.1): that a
/// token is expired, and refused for it, is `low`. It stays an event, as nothing tells a late
/// client from a thief who is late.
pub fn weigh(findings: &mut [Finding], status: u16, public: bool) {
    if (200..=299).contains(&status) && !public {
        let unknown = findings.iter_mut().filter(|f| f.id == FindingId::KidUnknown);
        unknown.for_each(|f| f.severity = f.severity.max(Severity::High));
    }
    if status == 401 {
        let expired = findings.iter_mut().filter(|f| f.id == FindingId::TokenExpired);
        expired.for_each(|f| f.severity = f.severity.min(Severity::Low));
    }
}

/// What the answer adds to a request's findings. `status` is the final response's.
///
/// A route that asks for no token answers 2xx to any: the caller that knows a route to be public
/// doesn't ask.
#[must_use]
pub fn outcome(findings: &[Finding], status: u16) -> Option<Finding> {
    match Outcome::of(findings, Some(status)) {
        Outcome::Bypassed => Some(Finding::new(
            FindingId::BypassConfirmed,
            format!("the service answered {status} to a forged token"),
        )),
        Outcome::Error if is_forged(findings) => Some(Finding::new(
            FindingId::AnomalousAnswer,
            format!("the service answered {status} to a forged token"),
        )),
        _ => None,
    }
}
