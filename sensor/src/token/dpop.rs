//! Proofs of possession (DPoP, RFC 9449): whether a proof is one that a service may accept, and
//! whether it was made for this request, this access token and this key.
//!
//! What depends on the proof alone is judged once ([`Proof`]); [`check`] holds it against its
//! request.

use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use super::{
    Known, Role, Scheme, Token,
    decode::Decoded,
    validate::{SignatureCheck, same_type},
};
use crate::{
    finding::{Finding, FindingId},
    http::Request,
    json::{Kind, Value},
    keys::{Algorithm, Family, KeyError, KeySource, VerifyError, parse_keys},
    memory::routes::{ends_with, same_path},
    time::Time,
};

/// A proof is made for one request and shown at once (RFC 9449, section 11.1): what is older was
/// kept. Shorter than single-use tokens are remembered, so that none outlives the memory of it.
const MAX_AGE_SECS: f64 = 300.0;
/// Clocks differ.
const LEEWAY_SECS: f64 = 60.0;

/// What a proof says by itself.
#[derive(Debug)]
pub struct Proof {
    /// The thumbprint of its key (RFC 7638, SHA-256, base64url), which names the key in `cnf.jkt`
    /// of access tokens; `None` where the key can't be read.
    pub thumbprint: Option<Box<str>>,
    /// Whether its own key signed it.
    pub signature: SignatureCheck,
    /// Why no service may accept it (RFC 9449, section 4.3).
    pub fault: Option<&'static str>,
}

impl Proof {
    /// Judges `token`, which was decoded to `decoded`.
    pub(super) fn new(token: &[u8], decoded: &Decoded) -> Self {
        let signature = SignatureCheck::Unverifiable;
        let mut proof = Self { thumbprint: None, signature, fault: None };
        proof.fault = proof.judge(token, decoded).err();
        proof
    }

    fn judge(&mut self, token: &[u8], decoded: &Decoded) -> Result<(), &'static str> {
        // What is no token has its finding already.
        let (Some(header), Some(claims)) = (decoded.header(), decoded.claims()) else {
            return Ok(());
        };
        let text = |name| header.get(name).and_then(Value::as_str);
        if !text("typ").is_some_and(|typ| same_type(&typ, "dpop+jwt")) {
            return Err("its typ is not dpop+jwt");
        }
        let alg = text("alg").and_then(|alg| Algorithm::from_name(&alg));
        let alg = alg.filter(|alg| alg.family() != Family::Hmac);
        let alg = alg.ok_or("its alg is no asymmetric signature algorithm")?;
        let jwk = header.get("jwk").filter(|jwk| jwk.kind() == Kind::Object);
        let jwk = jwk.ok_or("its header has no jwk")?;
        if jwk.get_all("keys").next().is_some() {
            // A set of many keys would cost as many times what one does.
            return Err("its jwk is not one key");
        }
        let set = parse_keys(jwk.raw(), KeySource::Learned);
        let set = set.map_err(|_| "its jwk can't be read")?;
        if set.private {
            return Err("its jwk holds a private key");
        }
        let key = match (&set.keys[..], &set.rejected[..]) {
            ([key], []) => Some(key),
            ([], [one]) => match one.error {
                // A key that can't be judged here is not therefore a wrong one.
                KeyError::UnsupportedType | KeyError::UnsupportedCurve => None,
                _ => return Err("its jwk can't be read"),
            },
            _ => return Err("its jwk is not one key"),
        };
        if let (Some(key), Some(signature)) = (key, decoded.signatures().next()) {
            self.thumbprint = key.thumbprint().map(|hash| URL_SAFE_NO_PAD.encode(hash).into());
            let input = signature.signing_input(token);
            match key.verify(alg, &input, signature.bytes()) {
                Ok(()) => self.signature = SignatureCheck::Good,
                Err(VerifyError::Unsupported) => {}
                Err(VerifyError::KeyUnfit(_)) => {
                    self.signature = SignatureCheck::Bad;
                    return Err("its jwk is not for its alg");
                }
                Err(VerifyError::BadSignature | VerifyError::Malformed(_)) => {
                    self.signature = SignatureCheck::Bad;
                    return Err("its signature is not of the key that it brings");
                }
            }
        }
        let has = |name| claims.get(name).and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        if !has("jti") {
            Err("jti is missing")
        } else if !has("htm") {
            Err("htm is missing")
        } else if !has("htu") {
            Err("htu is missing")
        } else if claims.get("iat").and_then(Value::as_f64).is_none() {
            Err("iat is missing")
        } else {
            Ok(())
        }
    }
}

/// The SHA-256 of an access token as `ath` has it.
pub(super) fn token_hash(token: &[u8]) -> Box<str> {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token)).into()
}

/// Where a proof is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The request.
    pub request: &'a Request,
    /// Who sent it.
    pub peer: IpAddr,
    /// Whether that is a trusted proxy.
    pub proxied: bool,
    /// Under which addresses clients know the service; the request's own `Host` when empty.
    pub public_urls: &'a [String],
    /// Whether bound tokens come with a proof here; not where a gateway has checked it.
    pub proofs_due: bool,
    /// When.
    pub now: Time,
}

/// Holds a request's proofs against the request and its access tokens, and access tokens that
/// are bound to a key against the proofs.
pub fn check(tokens: &mut [Token], shown: &Shown<'_>) {
    let is_access = |token: &Token| token.location.role() == Role::Method;
    let concerned =
        |t: &Token| t.scheme == Scheme::Dpop || t.proof().is_some() || t.bound_to().is_some();
    if !tokens.iter().any(concerned) {
        return;
    }
    let mut hashes: SmallVec<[Box<str>; 1]> = SmallVec::new();
    let mut proven: SmallVec<[Option<Box<str>>; 1]> = SmallVec::new();
    let mut wants_hash = false;
    for token in tokens.iter() {
        if let Some(proof) = token.proof() {
            proven.push(proof.thumbprint.clone());
        } else if is_access(token) {
            hashes.extend(token.hash.clone());
            wants_hash |= token.scheme == Scheme::Dpop || token.bound_to().is_some();
        }
    }
    for token in tokens {
        let Some(known) = token.decoded.as_deref() else {
            if shown.proofs_due && token.scheme == Scheme::Dpop && proven.is_empty() {
                token.findings.push(unproven());
            }
            continue;
        };
        if let Some(proof) = &known.proof {
            let mut add = |id, detail| token.findings.push(Finding::new(id, detail));
            if let Some(fault) = proof.fault {
                add(FindingId::DpopProofInvalid, fault);
            } else {
                if proof.signature == SignatureCheck::Unverifiable && known.header().is_some() {
                    add(
                        FindingId::AlgUnsupported,
                        "the proof's key is of a kind that can't be judged here",
                    );
                }
                match_request(known, &hashes, wants_hash, shown, &mut add);
            }
        } else if is_access(token) && shown.proofs_due {
            let bound = token.bound_to();
            let due = bound.is_some() || token.scheme == Scheme::Dpop;
            // A key that can't be read here may be the right one; that has its own finding.
            let other = |key| proven.iter().all(|own| own.as_deref().is_some_and(|own| own != key));
            if due && proven.is_empty() {
                token.findings.push(unproven());
            } else if bound.is_some_and(other) {
                let detail = "the token is bound to another key than the proof's";
                token.findings.push(Finding::new(FindingId::DpopBindingBroken, detail));
            }
        }
    }
}

fn unproven() -> Finding {
    Finding::new(FindingId::DpopBindingBroken, "no proof came with it")
}

/// RFC 9449, section 4.3, steps 8 to 12.
fn match_request(
    proof: &Known,
    hashes: &[Box<str>],
    wants_hash: bool,
    shown: &Shown<'_>,
    add: &mut impl FnMut(FindingId, &'static str),
) {
    let Some(claims) = proof.claims() else { return };
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("htm").is_some_and(|method| method.as_bytes() != shown.request.method()) {
        add(FindingId::DpopProofMismatch, "htm is another method than the request's");
    }
    if text("htu").is_some_and(|url| !is_target(&url, shown)) {
        add(FindingId::DpopProofMismatch, "htu is another address than the request's");
    }
    match text("ath") {
        Some(hash) if !hashes.is_empty() && hashes.iter().all(|own| **own != *hash) => {
            add(FindingId::DpopProofMismatch, "ath is the hash of another access token");
        }
        None if wants_hash => add(FindingId::DpopProofInvalid, "ath is missing"),
        _ => {}
    }
    let now = shown.now.unix_secs() as f64;
    match claims.get("iat").and_then(Value::as_f64) {
        Some(issued) if now - issued > MAX_AGE_SECS => {
            add(FindingId::DpopProofInvalid, "it was made more than 5 minutes ago");
        }
        Some(issued) if issued - now > LEEWAY_SECS => {
            add(FindingId::DpopProofInvalid, "it was made in the future");
        }
        _ => {}
    }
}

/// Whether `htu` is the request's address, without query and fragment.
fn is_target(url: &str, shown: &Shown<'_>) -> bool {
    // A target that is no UTF-8 is no path that a client would name; it has its findings.
    let Ok(target) = std::str::from_utf8(shown.request.target()) else { return true };
    let Some((scheme, authority)) = origin(url) else { return false };
    if !shown.public_urls.is_empty() {
        return shown.public_urls.iter().any(|base| {
            let path = target.strip_prefix('/').unwrap_or(target);
            let whole = format!("{}/{path}", base.trim_end_matches('/'));
            origin(base).is_some_and(|(own_scheme, own)| {
                own_scheme == scheme && own == authority && same_path(&whole, url)
            })
        });
    }
    // A proxy may have cut the path's beginning and replaced the host.
    if shown.proxied || shown.peer.to_canonical().is_loopback() {
        return ends_with(url, target);
    }
    let host = shown.request.header("host").and_then(|host| std::str::from_utf8(host).ok());
    same_path(target, url) && host.is_none_or(|host| normal(host) == authority)
}

/// Scheme and authority of an address, as they are compared (RFC 3986, section 6.2).
fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).filter(|authority| !authority.is_empty())?;
    Some((scheme.to_ascii_lowercase(), normal(authority)))
}

/// The port is left out where it is the scheme's: which scheme that was is not seen here.
fn normal(authority: &str) -> String {
    let lower = authority.trim_ascii().to_ascii_lowercase();
    let short = lower.strip_suffix(":443").or_else(|| lower.strip_suffix(":80"));
    short.map(str::to_owned).unwrap_or(lower)
}

#[cfg(test)]
#[path = "dpop_tests.rs"]
mod tests;
