//! Validation: is this token what its issuer would have made, and does it hold now?
//!
//! [`decode`](super::decode) judges a token's structure; here its header, claims and signature
//! are held against an issuer's [`Policy`] and [`KeyStore`]. What depends on the token alone is
//! computed once ([`Validation::new`]) and may be kept as long as keys and policy stay; what
//! depends on the time is asked at each use ([`Validation::at`]).

mod claims;
mod header;
mod injection;
mod policy;
mod signature;

pub(crate) use self::header::{same_type, unexpected_encryption};
pub use self::{
    policy::{DEFAULT_LEEWAY, IssuerPolicy, Policy},
    signature::SignatureCheck,
};
use super::decode::{Decoded, Kind};
use crate::{
    finding::{Finding, Severity},
    keys::KeyStore,
    time::Time,
};

/// What is said of a token in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signature is good, and there is no finding above `info`.
    Valid,
    /// There is a finding above `info`, a bad signature for one.
    Invalid,
    /// Nothing is wrong with it, but no key is at hand that could tell whether it is genuine.
    Unverifiable,
}

impl Verdict {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// A token held against a policy and keys.
#[derive(Clone, Debug)]
pub struct Validation {
    /// What came of its signature.
    pub signature: SignatureCheck,
    /// What is wrong with its header and signature, beside [`Decoded::findings`].
    pub findings: Vec<Finding>,
    /// What is wrong with its claims as a caller's credentials, at any time.
    pub claim_findings: Vec<Finding>,
    /// The type that its header names, where that is of no access token.
    pub other_type: Option<&'static str>,
    /// The token names a key that is not among the issuer's: it may be a new one.
    pub unknown_key: bool,
    times: claims::Times,
}

impl Validation {
    /// Validates `token`, which was decoded to `decoded`.
    #[must_use]
    pub fn new(token: &[u8], decoded: &Decoded, keys: &KeyStore, policy: &Policy) -> Self {
        let claims = decoded.claims().filter(|_| policy.claims);
        let issuer = policy.issuer(claims);
        let mut findings = Vec::new();
        for signature in decoded.signatures() {
            header::check(signature.header, decoded.kind(), issuer, policy, &mut findings);
        }
        let checked = signature::check(token, decoded, keys, issuer, policy, &mut findings);
        let mut times = claims::Times::default();
        let mut claim_findings = Vec::new();
        if let Some(claims) = claims {
            times = claims::check(claims, decoded, issuer, policy, &mut claim_findings);
        }
        if decoded.kind() == Kind::JwsJson && policy.claims {
            header::unexpected_serialization(&mut claim_findings);
        }
        if decoded.kind() == Kind::Jwe && policy.claims && !policy.admits_encrypted(decoded) {
            unexpected_encryption(&mut claim_findings);
        }
        Self {
            signature: checked.signature,
            other_type: header::other_type(decoded),
            unknown_key: checked.unknown_key,
            findings,
            claim_findings,
            times,
        }
    }

    /// Of a token that was not seen, whose claims somebody else has verified.
    pub(super) fn vouched(decoded: &Decoded) -> Self {
        let mut claim_findings = Vec::new();
        let claims = decoded.claims();
        let times = claims.map(|claims| claims::check_vouched(claims, &mut claim_findings));
        Self {
            signature: SignatureCheck::Good,
            other_type: None,
            unknown_key: false,
            findings: Vec::new(),
            claim_findings,
            times: times.unwrap_or_default(),
        }
    }

    /// What is wrong with it at this time.
    pub fn at(&self, now: Time, findings: &mut Vec<Finding>) {
        self.times.check(now, findings);
    }

    /// When the token ends, with leeway; `None` where it says nothing.
    #[must_use]
    pub fn ends(&self) -> Option<Time> {
        self.times.ends()
    }

    /// The verdict, given every finding.
    #[must_use]
    pub fn verdict<'f>(&self, mut findings: impl Iterator<Item = &'f Finding>) -> Verdict {
        if findings.any(|finding| finding.severity > Severity::Info)
            || self.signature == SignatureCheck::Bad
        {
            Verdict::Invalid
        } else if self.signature == SignatureCheck::Good {
            Verdict::Valid
        } else {
            Verdict::Unverifiable
        }
    }
}

#[cfg(test)]
mod tests;
