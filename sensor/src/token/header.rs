//! What a JOSE header says that needs no key to be wrong.

use std::collections::BTreeSet;

use super::decode::Header;
use crate::{
    finding::{Finding, FindingId},
    json::{Kind, Value},
};

/// Parameters that RFC 7515 (section 4.1), RFC 7516 (section 4.1) and RFC 7518 (section 4)
/// define: `crit` may not list them.
const REGISTERED: [&str; 20] = [
    "alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit", "enc",
    "zip", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c",
];

/// What the rest of the judgement needs of a header.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// It names an algorithm.
    pub(super) alg: bool,
    /// The algorithm is `none`.
    pub(super) none: bool,
    /// The payload is base64url (RFC 7797, section 3).
    pub(super) b64: bool,
    /// The payload is another JWT (RFC 7519, section 5.2).
    pub(super) nested: bool,
    /// There is no encrypted key: `dir` or `ECDH-ES` (RFC 7516, section 5.2, step 10).
    pub(super) direct: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self { alg: false, none: false, b64: true, nested: false, direct: false }
    }
}

/// The detail where a header brings a JWK: DPoP proofs do so by right.
pub(super) const EMBEDDED_JWK: &str = "the header holds jwk";

/// Judges a header. Every instance of a parameter counts, as services differ in which of two
/// they read; a finding comes once however many there are.
pub(super) fn judge(header: Header<'_>, encrypted: bool, findings: &mut Vec<Finding>) -> Facts {
    let mut facts = Facts::default();
    let first = findings.len();
    let mut add = |id, detail: &'static str| {
        let mut own = findings.iter().skip(first);
        if !own.any(|f| f.id == id && f.detail == detail) {
            findings.push(Finding::new(id, detail));
        }
    };
    let (mut alg, mut enc, mut b64, mut b64_listed) = (false, false, false, false);
    for (part, protected) in [(header.protected, true), (header.unprotected, false)] {
        let Some(part) = part else { continue };
        for (name, value) in part.members_by_bytes() {
            match &*name {
                b"alg" => {
                    alg = true;
                    match value.as_str() {
                        Some(name) => {
                            facts.alg = true;
                            facts.none |= is_none(&name);
                            facts.direct |= matches!(&*name, "dir" | "ECDH-ES");
                        }
                        None => add(FindingId::TokenMalformed, "alg is not a string"),
                    }
                }
                b"enc" => enc |= value.kind() == Kind::String,
                b"crit" if !protected => {
                    add(FindingId::CritUnknown, "crit stands in the unprotected header");
                }
                b"crit" => match crit(value, encrypted) {
                    Ok(()) => b64_listed = true,
                    Err(detail) => add(FindingId::CritUnknown, detail),
                },
                b"b64" => {
                    b64 |= protected;
                    match value.as_bool() {
                        Some(encoded) => facts.b64 = encoded,
                        None => add(FindingId::TokenMalformed, "b64 is not a boolean"),
                    }
                }
                b"cty" => {
                    facts.nested |= value.as_str().is_some_and(|cty| {
                        cty.eq_ignore_ascii_case("JWT")
                            || cty.eq_ignore_ascii_case("application/jwt")
                    });
                }
                // In an encrypted token they name the recipient's key, which verifies nothing.
                b"jwk" if !encrypted => add(FindingId::HeaderEmbeddedKey, EMBEDDED_JWK),
                b"x5c" if !encrypted => add(FindingId::HeaderEmbeddedKey, "the header holds x5c"),
                _ => {}
            }
        }
    }
    if facts.none {
        add(FindingId::AlgNone, "alg reads as none");
    }
    if !alg {
        add(FindingId::TokenMalformed, "header has no alg");
    }
    if encrypted && !enc {
        add(FindingId::TokenMalformed, "header has no enc");
    }
    if b64_listed && !b64 {
        add(FindingId::CritUnknown, "crit lists a name that the header does not have");
    }
    // RFC 7797, section 6.
    if !facts.b64 && !b64_listed {
        add(FindingId::B64WithoutCrit, "b64 is false but crit does not list it");
    }
    if let (Some(protected), Some(unprotected)) = (header.protected, header.unprotected) {
        // RFC 7515, section 7.2.1: the names must be disjoint.
        let names: BTreeSet<_> = protected.members().map(|(name, _)| name).collect();
        if unprotected.members().any(|(name, _)| names.contains(&name)) {
            add(
                FindingId::TokenDuplicateKey,
                "a parameter stands in both the protected and the unprotected header",
            );
        }
    }
    facts
}

/// `none` in any case, also with white space or control characters that a service may trim.
fn is_none(alg: &str) -> bool {
    let mut left = alg.chars().filter(|c| !c.is_whitespace() && !c.is_control());
    "none".chars().all(|n| left.next().is_some_and(|c| c.eq_ignore_ascii_case(&n)))
        && left.next().is_none()
}

/// Judges `crit` (RFC 7515, section 4.1.11). The one extension that is understood is `b64`.
fn crit(crit: Value<'_>, encrypted: bool) -> Result<(), &'static str> {
    if crit.kind() != Kind::Array {
        return Err("crit is not an array");
    }
    let mut listed = false;
    for value in crit.elements() {
        let Some(name) = value.as_str() else { return Err("crit lists what is not a string") };
        if REGISTERED.contains(&&*name) {
            return Err("crit lists a parameter of the specification itself");
        }
        if &*name != "b64" || encrypted {
            return Err("crit lists an extension that is not understood");
        }
        // Nothing but `b64` comes this far.
        if listed {
            return Err("crit lists a name twice");
        }
        listed = true;
    }
    if listed { Ok(()) } else { Err("crit is empty") }
}
