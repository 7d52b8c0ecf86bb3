//! Header parameters that a service may be led astray by.

use std::borrow::Cow;

use super::{IssuerPolicy, Policy, injection};
use crate::{
    finding::{Finding, FindingId},
    json::Value,
    show::show,
    token::decode::{Decoded, Header, Kind},
};

/// Rounds of PBES2 that are taken for sane: ten times what implementations default to, and more
/// already cost a service a tenth of a second a token (RFC 7518, section 4.8.1.2; CVE-2022-36083
/// and its kin).
const MAX_P2C: u64 = 100_000;

/// The parameters that are looked at, as [`Header::get`] has them.
#[derive(Default)]
struct Named<'h> {
    alg: Option<Value<'h>>,
    jku: Option<Value<'h>>,
    x5u: Option<Value<'h>>,
    kid: Option<Value<'h>>,
    b64: Option<Value<'h>>,
    typ: Option<Value<'h>>,
    zip: Option<Value<'h>>,
    p2c: Option<Value<'h>>,
}

impl<'h> Named<'h> {
    fn of(header: Header<'h>) -> Self {
        let mut named = Self::default();
        for (name, value) in header.members_by_bytes() {
            match &*name {
                b"alg" => named.alg = Some(value),
                b"jku" => named.jku = Some(value),
                b"x5u" => named.x5u = Some(value),
                b"kid" => named.kid = Some(value),
                b"b64" => named.b64 = Some(value),
                b"typ" => named.typ = Some(value),
                b"zip" => named.zip = Some(value),
                b"p2c" => named.p2c = Some(value),
                _ => {}
            }
        }
        named
    }
}

pub(super) fn check(
    header: Header<'_>,
    kind: Kind,
    issuer: &IssuerPolicy,
    policy: &Policy,
    findings: &mut Vec<Finding>,
) {
    let mut add = |id, detail: Cow<'static, str>| findings.push(Finding::new(id, detail));
    let named = Named::of(header);
    let addresses =
        [("jku", FindingId::JkuUntrusted, named.jku), ("x5u", FindingId::X5uUntrusted, named.x5u)];
    for (name, id, value) in addresses {
        let Some(value) = value else { continue };
        match value.as_str() {
            Some(address) if is_allowed(&address, &issuer.jku_allow) => {}
            Some(address) => add(id, format!("{name} is {}", show(&address)).into()),
            None => add(id, format!("{name} is not a string").into()),
        }
    }
    if let Some(kid) = named.kid {
        match kid.as_str() {
            Some(kid) if kid.is_empty() => add(FindingId::KidEmpty, "kid is empty".into()),
            Some(kid) => {
                if let Some(class) = injection::in_identifier(&kid) {
                    add(FindingId::KidInjection, format!("kid looks like {class}").into());
                }
            }
            None => add(FindingId::TokenMalformed, "kid is not a string".into()),
        }
    }
    if policy.claims && named.b64.and_then(Value::as_bool) == Some(false) {
        // RFC 7797, section 7: JWTs must not.
        add(FindingId::B64False, "b64 is false".into());
    }
    // A header without `alg`, one that does not decode for one, has its finding already.
    if !issuer.types.is_empty() && kind != Kind::Jwe && named.alg.is_some() {
        let typ = named.typ.and_then(Value::as_str).unwrap_or_default();
        if !issuer.types.iter().any(|allowed| same_type(allowed, &typ)) {
            let detail = match &*typ {
                "" => "typ is missing".into(),
                typ => format!("typ is {}", show(typ)).into(),
            };
            add(FindingId::TypWrong, detail);
        }
    }
    if kind != Kind::Jwe && named.zip.is_some() {
        // RFC 7516, section 4.1.3, defines it for encrypted tokens only.
        add(FindingId::ZipHeader, "zip stands in a signed token".into());
    }
    if let Some(rounds) = named.p2c
        && rounds.as_u64().is_none_or(|rounds| rounds > MAX_P2C)
    {
        add(FindingId::P2cTooLarge, format!("p2c is not a number up to {MAX_P2C}").into());
    }
}

pub(super) fn unexpected_serialization(findings: &mut Vec<Finding>) {
    // RFC 7519, section 1: JWTs are always represented in compact serialisation.
    findings.push(Finding::new(FindingId::SerializationUnexpected, "JSON serialisation"));
}

/// Credentials are encrypted that should be signed.
pub(crate) fn unexpected_encryption(findings: &mut Vec<Finding>) {
    let detail = "five parts where three are due";
    findings.push(Finding::new(FindingId::EncryptionUnexpected, detail));
}

/// Values of `typ` that stand for something else than an access token: proofs (RFC 9449, OpenID
/// for Verifiable Credential Issuance), logout tokens, events (RFC 8417), authorisation requests
/// (RFC 9101), introspection answers (RFC 9701), client attestation, what OpenID Federation
/// signs, status lists, selective disclosure and its key binding (RFC 9901).
const OTHER_TYPES: [&str; 14] = [
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "oauth-client-attestation+jwt",
    "oauth-client-attestation-pop+jwt",
    "openid4vci-proof+jwt",
    "entity-statement+jwt",
    "trust-mark+jwt",
    "jwk-set+jwt",
    "statuslist+jwt",
    "kb+jwt",
    "dc+sd-jwt",
];

/// The type that a token's header names, where it is of no access token (RFC 8725, section 3.11).
pub(super) fn other_type(decoded: &Decoded) -> Option<&'static str> {
    let typ = decoded.header()?.get("typ")?.as_str()?;
    let typ = short_type(&typ);
    OTHER_TYPES.into_iter().find(|other| other.eq_ignore_ascii_case(typ))
}

/// RFC 7515, section 4.1.9: `application/` may be left out, case does not count.
pub(crate) fn same_type(a: &str, b: &str) -> bool {
    short_type(a).eq_ignore_ascii_case(short_type(b))
}

/// A type without `application/`.
fn short_type(text: &str) -> &str {
    const PREFIX: &str = "application/";
    match text.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => {
            text.get(PREFIX.len()..).unwrap_or_default()
        }
        _ => text,
    }
}

/// Whether an address begins with an allowed one, in a way that no reader of addresses can take
/// for another host or path.
fn is_allowed(address: &str, allowed: &[String]) -> bool {
    let plain = address.bytes().all(|b| b.is_ascii_graphic() && !b"@\\#%".contains(&b))
        && !address.contains("..");
    plain
        && allowed.iter().any(|start| match address.strip_prefix(start.as_str()) {
            Some(rest) => start.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?']),
            None => false,
        })
}
