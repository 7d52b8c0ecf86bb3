//! Tokens that were not seen, but of which somebody who is trusted says that they are good.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use super::{Digests, Judge, Known, TokenReport};
use crate::{
    time::Time,
    token::{
        Token,
        decode::{DecodeOptions, decode},
        extract::{Location, Scheme},
        facts::Facts,
        guard_keys::TokenKey,
        validate::Validation,
    },
};

impl Judge {
    /// A token that was not seen: somebody who is trusted has verified it, and gives its claims, a
    /// JSON object. What stands for it is its `jti`, or else whom it names and when: nothing else
    /// is known of it.
    pub fn vouched(&self, claims: &[u8], now: Time) -> TokenReport {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256"}"#);
        let text = format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode(claims));
        let options = DecodeOptions { max_token_bytes: text.len(), ..self.options };
        let decoded = decode(text.as_bytes(), &options);
        // Whose algorithm it has is not known: a key's family must not be told by it.
        let mut facts = Facts::of(&decoded);
        facts.algorithm = None;
        let named = match facts.text(facts.id) {
            Some(id) => (facts.text(facts.issuer), id, None, None),
            None => {
                let subject = facts.text(facts.subject).unwrap_or_default();
                (facts.text(facts.issuer), subject, facts.issued, facts.expires)
            }
        };
        let fingerprint = self.key.fingerprint(format!("vouched {named:?}").as_bytes());
        let stands = u128::from_be_bytes(*fingerprint.as_bytes());
        let digests = Digests {
            signature: stands,
            signature_len: fingerprint.as_bytes().len(),
            signing_input: stands,
            ..Digests::default()
        };
        let validation = Validation::vouched(&decoded);
        let mut findings = decoded.findings().to_vec();
        findings.extend_from_slice(&validation.claim_findings);
        validation.at(now, &mut findings);
        let known = Known {
            decoded,
            validation,
            digests,
            proof: None,
            hmac: None,
            facts,
            harmless: AtomicBool::new(false),
            identity: OnceLock::new(),
        };
        let token = Token {
            location: Location::Authorization,
            scheme: Scheme::Bearer,
            kind: known.kind(),
            fingerprint,
            bytes: text.len(),
            deny_key: TokenKey::default(),
            decoded: Some(Arc::new(known)),
            hash: None,
            findings,
        };
        TokenReport { tokens: SmallVec::from_iter([token]), findings: Vec::new() }
    }
}
