use std::time::Duration;

use crate::{json::Value, keys::Algorithm, token::decode::Decoded};

/// Clocks differ: a token is taken this long before and after its time unless the issuer's policy
/// says otherwise.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);

/// What is asked of one issuer's tokens.
#[derive(Clone, Debug)]
pub struct IssuerPolicy {
    /// The `iss` claim; `None` stands for tokens of issuers without a policy of their own.
    pub issuer: Option<String>,
    /// Algorithms that it signs with; any that its keys fit when empty.
    pub algorithms: Vec<Algorithm>,
    /// A token's `aud` must name one of these; any when empty.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Values of `typ` that its access tokens have, without `application/`, in any case; any when
    /// empty.
    pub types: Vec<String>,
    /// Claims that its tokens must have.
    pub required_claims: Vec<String>,
    /// How long its tokens live at most, from `iat` (or `nbf`) to `exp`.
    pub max_lifetime: Option<Duration>,
    /// Whether its tokens may be encrypted. `None`: not where every issuer is known, as one that
    /// says nothing signs.
    pub encrypted: Option<bool>,
    /// Beginnings of addresses that `jku` and `x5u` may have.
    pub jku_allow: Vec<String>,
    /// Whether its keys come from files alone: one that is not among them can't be on its way.
    pub keys_fixed: bool,
}

impl Default for IssuerPolicy {
    fn default() -> Self {
        Self {
            issuer: None,
            algorithms: Vec::new(),
            audiences: Vec::new(),
            leeway: DEFAULT_LEEWAY,
            types: Vec::new(),
            required_claims: Vec::new(),
            max_lifetime: None,
            encrypted: None,
            jku_allow: Vec::new(),
            keys_fixed: false,
        }
    }
}

/// What is asked of tokens.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By issuer.
    pub issuers: Vec<IssuerPolicy>,
    /// For tokens of no issuer above, where that is no finding.
    pub any: IssuerPolicy,
    /// Whether an issuer that is not among `issuers` is a finding.
    pub known_issuers_only: bool,
    /// Whether the payload is looked at. Without, header and signature alone are judged.
    pub claims: bool,
    /// Whether the keys at hand are all that there are: a token that none of them verifies is
    /// forged then, also when it names a key that is not known.
    pub closed: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            any: IssuerPolicy::default(),
            known_issuers_only: false,
            claims: true,
            closed: false,
        }
    }
}

impl Policy {
    /// Whether credentials may be encrypted. What is encrypted does not show whose it is, unless
    /// the header repeats `iss` (RFC 7519, section 5.3).
    pub(super) fn admits_encrypted(&self, decoded: &Decoded) -> bool {
        let iss = decoded.header().and_then(|header| header.get("iss")).and_then(Value::as_str);
        let named = |policy: &&IssuerPolicy| policy.issuer.as_deref() == iss.as_deref();
        match iss.as_ref().and_then(|_| self.issuers.iter().find(named)) {
            Some(policy) => policy.encrypted == Some(true),
            None => {
                self.any.encrypted.unwrap_or(!self.known_issuers_only)
                    || self.issuers.iter().any(|policy| policy.encrypted == Some(true))
            }
        }
    }

    /// The policy for a token with these claims.
    pub(super) fn issuer(&self, claims: Option<Value<'_>>) -> &IssuerPolicy {
        if self.issuers.is_empty() {
            return &self.any;
        }
        let iss = claims.and_then(|claims| claims.get("iss")).and_then(Value::as_str);
        let named = |policy: &&IssuerPolicy| policy.issuer.as_deref() == iss.as_deref();
        iss.as_ref().and_then(|_| self.issuers.iter().find(named)).unwrap_or(&self.any)
    }
}
