//! The signature against the keys.

use super::{IssuerPolicy, Policy};
use crate::{
    finding::{Finding, FindingId},
    json::Value,
    keys::{
        Algorithm, Family, Key, KeySource, KeyStore, KidMatch, Malformation, Unfit, VerifyError,
        Weakness, confusion_secrets,
    },
    show::show,
    token::decode::{Decoded, Kind, Signature},
};

/// A signature check, and what it lacked.
pub(super) struct Checked {
    pub(super) signature: SignatureCheck,
    /// The token names a key that is not among the issuer's.
    pub(super) unknown_key: bool,
}

/// What came of a token's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureCheck {
    /// A key of the issuer made it.
    Good,
    /// No key of the issuer made it; a finding says how that is known.
    Bad,
    /// A key made it that was learned from traffic for the issuer. That makes the token plausible
    /// and no more: whoever can place a key set where one was learned could sign tokens that
    /// pass, so nothing is taken for genuine on this ground.
    Learned,
    /// There is no key to tell.
    Unverifiable,
}

/// Checks every signature of a token: all must be good.
pub(super) fn check(
    token: &[u8],
    decoded: &Decoded,
    keys: &KeyStore,
    issuer: &IssuerPolicy,
    policy: &Policy,
    findings: &mut Vec<Finding>,
) -> Checked {
    if !matches!(decoded.kind(), Kind::Jws | Kind::JwsJson) {
        return Checked { signature: SignatureCheck::Unverifiable, unknown_key: false };
    }
    let mut checker = Checker { token, decoded, keys, issuer, policy, unknown_key: false };
    let mut all = None;
    for signature in decoded.signatures() {
        let one = checker.one(&signature, findings);
        all = Some(match (all, one) {
            (Some(SignatureCheck::Bad), _) | (_, SignatureCheck::Bad) => SignatureCheck::Bad,
            (None, one) => one,
            (Some(SignatureCheck::Good), SignatureCheck::Good) => SignatureCheck::Good,
            (Some(SignatureCheck::Good | SignatureCheck::Learned), SignatureCheck::Learned)
            | (Some(SignatureCheck::Learned), SignatureCheck::Good) => SignatureCheck::Learned,
            _ => SignatureCheck::Unverifiable,
        });
    }
    let signature = all.unwrap_or(SignatureCheck::Unverifiable);
    Checked { signature, unknown_key: checker.unknown_key }
}

struct Checker<'c> {
    token: &'c [u8],
    decoded: &'c Decoded,
    keys: &'c KeyStore,
    issuer: &'c IssuerPolicy,
    policy: &'c Policy,
    unknown_key: bool,
}

impl Checker<'_> {
    fn one(&mut self, signature: &Signature<'_>, findings: &mut Vec<Finding>) -> SignatureCheck {
        let text = |name| signature.header.get(name).and_then(Value::as_str);
        let Some(name) = text("alg") else { return SignatureCheck::Unverifiable };
        let Some(alg) = Algorithm::from_name(&name) else {
            // An unsigned token has its finding already.
            if !Algorithm::is_registered(&name)
                && !self.decoded.findings().iter().any(|f| f.id == FindingId::AlgNone)
            {
                let detail = "alg is no registered signature algorithm";
                findings.push(Finding::new(FindingId::AlgUnsupported, detail));
            }
            return SignatureCheck::Unverifiable;
        };
        if !self.issuer.algorithms.is_empty() && !self.issuer.algorithms.contains(&alg) {
            let detail = format!("alg is {}", show(&name));
            findings.push(Finding::new(FindingId::AlgNotAllowed, detail));
        }
        if signature.bytes().is_empty() {
            // Nothing to verify; that has its finding already.
            return SignatureCheck::Unverifiable;
        }
        let claims = self.decoded.claims().filter(|_| !self.keys.is_empty());
        let iss = claims.and_then(|claims| claims.get("iss")).and_then(Value::as_str);
        let kid = text("kid");
        let found = self.keys.candidates(iss.as_deref(), kid.as_deref(), alg);
        let input = signature.signing_input(self.token);
        let bytes = signature.bytes();
        // Where no key that fits has a name, the token's kid tells none from another: it names no
        // key that might be missing here, and who forges a token may write there what he likes.
        let unknown = found.kid == KidMatch::Unknown;
        let may_be_missing = unknown && found.keys.iter().any(|key| key.kid().is_some());
        let mut worst = None;
        // Why the learned key that `kid` names did not make it.
        let mut mismatch = None;
        for key in &found.keys {
            let learned = key.source() == KeySource::Learned;
            match key.verify(alg, &input, bytes) {
                Ok(()) => {
                    note_weakness(key, alg, findings);
                    return if learned { SignatureCheck::Learned } else { SignatureCheck::Good };
                }
                // What one key alone says may be wrong where the key is.
                Err(VerifyError::BadSignature | VerifyError::Malformed(Malformation::Length))
                    if learned =>
                {
                    mismatch = Some("it does not verify");
                }
                Err(error @ VerifyError::Malformed(_)) => worst = Some(error),
                Err(error) => worst = worst.or(Some(error)),
            }
        }
        self.unknown_key |= unknown;
        if let Some(detail) = self.confusion(alg, &found, &input, bytes) {
            findings.push(Finding::new(FindingId::AlgConfusion, detail));
            return SignatureCheck::Bad;
        }
        if let Some((key, _)) = found.unfit
            && key.source() == KeySource::Learned
        {
            mismatch = mismatch.or(Some("the key is not for this algorithm"));
        }
        if let (None, Some(why), KidMatch::Exact) = (worst, mismatch, found.kid) {
            let detail = format!("alg is {}, the key was learned from traffic: {why}", show(&name));
            findings.push(Finding::new(FindingId::LearnedKeyMismatch, detail));
            return SignatureCheck::Unverifiable;
        }
        match worst {
            Some(VerifyError::Malformed(how)) => {
                findings.push(malformed(how));
                SignatureCheck::Bad
            }
            Some(VerifyError::BadSignature)
                if found.untried == 0 && (!may_be_missing || self.policy.closed) =>
            {
                if self.is_detached() {
                    return SignatureCheck::Unverifiable;
                }
                let tried = match found.keys.len() {
                    1 => "the issuer's key".to_owned(),
                    keys => format!("any of the issuer's {keys} keys"),
                };
                let detail = format!("{} does not verify under {tried}", show(&name));
                findings.push(Finding::new(FindingId::SignatureInvalid, detail));
                SignatureCheck::Bad
            }
            None => match found.unfit {
                // The issuer's key is known, and it is not for this algorithm.
                Some((key, unfit))
                    if key.source() != KeySource::Learned
                        && (self.policy.closed || found.kid == KidMatch::Exact) =>
                {
                    let detail = format!("alg is {}, but {unfit}", show(&name));
                    findings.push(Finding::new(FindingId::AlgNotAllowed, detail));
                    SignatureCheck::Bad
                }
                Some((key, _)) => {
                    let learned = key.source() == KeySource::Learned;
                    self.missing(unknown && !learned && key.kid().is_some(), findings)
                }
                None => SignatureCheck::Unverifiable,
            },
            Some(_) => self.missing(may_be_missing, findings),
        }
    }

    /// No key tells. `named`: the issuer's keys have names, and the token's `kid` is none of them.
    /// Where no further key can be on its way, the token can't be genuine, or the files are out of
    /// date: which, nothing here tells, so it proves no forgery.
    fn missing(&self, named: bool, findings: &mut Vec<Finding>) -> SignatureCheck {
        if named && self.issuer.keys_fixed {
            let detail = "kid names none of the keys that the issuer's files hold";
            findings.push(Finding::new(FindingId::KidUnknown, detail));
        }
        SignatureCheck::Unverifiable
    }

    /// The payload came another way (RFC 7515, appendix F), so the signature can't be checked.
    fn is_detached(&self) -> bool {
        !self.policy.claims && self.decoded.payload().is_empty()
    }

    /// Whether a public key served as the secret of an HMAC (RFC 8725, section 2.1): tried with
    /// each form in which an attacker would have the key.
    fn confusion(
        &self,
        alg: Algorithm,
        found: &crate::keys::Candidates<'_>,
        input: &[u8],
        signature: &[u8],
    ) -> Option<String> {
        let (key, Unfit::Type) = found.unfit? else { return None };
        if alg.family() != Family::Hmac || !key.is_public() {
            return None;
        }
        confusion_secrets(key)
            .filter_map(|secret| Key::from_secret(&secret, None, KeySource::File).ok())
            .any(|secret| secret.verify(alg, input, signature).is_ok())
            .then(|| format!("the issuer's {:?} key is the secret of the HMAC", key.key_type()))
    }
}

fn note_weakness(key: &Key, alg: Algorithm, findings: &mut Vec<Finding>) {
    let detail = match key.weakness(alg) {
        Some(Weakness::RsaModulus { bits }) => format!("an RSA modulus of {bits} bits"),
        Some(Weakness::RsaStructure) => "an RSA modulus that can be factored (ROCA)".to_owned(),
        Some(Weakness::HmacSecret { bytes }) => format!("an HMAC secret of {bytes} bytes"),
        None => return,
    };
    findings.push(Finding::new(FindingId::KeyWeak, detail));
}

fn malformed(how: Malformation) -> Finding {
    let id = match how {
        Malformation::ZeroScalar | Malformation::ScalarOutOfRange => FindingId::SignaturePsychic,
        Malformation::Length | Malformation::DerEncoded => FindingId::SignatureMalformed,
    };
    Finding::new(id, how.to_string())
}
