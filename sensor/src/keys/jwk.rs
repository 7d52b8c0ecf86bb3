//! JSON Web Keys (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{
    algorithm::Algorithm,
    key::{Key, KeySource, Restriction},
    parse::KeyError,
    spki::{Curve, Public},
};
use crate::{
    base64url,
    json::{self, Kind, Value},
};

/// The members that make a JWK private (RFC 7518, sections 6.2.2, 6.3.2 and 6.4). Only `k` is
/// ever read.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What was read of a JWK: the key or why not, and what is known either way.
pub(super) struct Jwk {
    pub(super) kid: Option<String>,
    /// Whether the text may hold a private key or a secret.
    pub(super) private: bool,
    pub(super) key: Result<Key, KeyError>,
}

/// Reads one JWK.
pub(super) fn read(text: &str, source: KeySource) -> Jwk {
    let mut nodes = Vec::new();
    // RFC 7517, section 4: member names are unique.
    let Ok((root, None)) = json::parse(text.as_bytes(), 0, &mut nodes) else {
        return Jwk { kid: None, private: true, key: Err(KeyError::MalformedJwk) };
    };
    let members = Members(Value::new(text.as_bytes(), &nodes, root));
    if members.0.kind() != Kind::Object {
        return Jwk { kid: None, private: true, key: Err(KeyError::MalformedJwk) };
    }
    let private = PRIVATE.iter().any(|name| members.0.get(name).is_some());
    let key = members.key(source).map(|mut key| {
        if !private {
            key.loaded.push(text.as_bytes().into());
        }
        key
    });
    let kid = members.text("kid").ok().flatten().map(Cow::into_owned);
    Jwk { kid, private, key }
}

struct Members<'a>(Value<'a>);

impl<'a> Members<'a> {
    /// A string; absent and null are the same.
    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, KeyError> {
        match self.0.get(name).filter(|value| value.kind() != Kind::Null) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(KeyError::MalformedJwk),
        }
    }

    fn required(&self, name: &str) -> Result<Cow<'a, str>, KeyError> {
        self.text(name)?.ok_or(KeyError::MissingMember)
    }

    /// Strict base64url: no padding, no other alphabet, no spare bits (RFC 7515, section 2).
    fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = self.required(name)?;
        // The capacity is final: growing would leave a copy of a secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(base64url::decoded_len(text.len())));
        let irregular = base64url::decode(text.as_bytes(), &mut bytes);
        if irregular.is_empty() { Ok(bytes) } else { Err(KeyError::Base64) }
    }

    fn key(&self, source: KeySource) -> Result<Key, KeyError> {
        let kid = self.text("kid")?;
        let kid = kid.as_deref();
        let restriction = self.restriction()?;
        let key = match &*self.required("kty")? {
            "oct" => Key::from_secret(&self.bytes("k")?, kid, source)?,
            "RSA" => {
                let (n, e) = (self.bytes("n")?, self.bytes("e")?);
                Key::from_public(Public::rsa(&n, &e, false)?, kid, source)?
            }
            "EC" => {
                let curve = Curve::from_name(&self.required("crv")?);
                let curve = curve.ok_or(KeyError::UnsupportedCurve)?;
                let (x, y) = (self.bytes("x")?, self.bytes("y")?);
                Key::from_public(Public::ec(curve, &x, &y)?, kid, source)?
            }
            "OKP" => {
                if self.required("crv")? != "Ed25519" {
                    return Err(KeyError::UnsupportedCurve);
                }
                Key::from_public(Public::ed25519(&self.bytes("x")?)?, kid, source)?
            }
            _ => return Err(KeyError::UnsupportedType),
        };
        Ok(key.restrict(restriction))
    }

    fn restriction(&self) -> Result<Restriction, KeyError> {
        let alg = self.text("alg")?.map(|alg| match &*alg {
            // There is no such name; keys on P-521 that bear it are for ES512.
            "ES521" => Some(Algorithm::Es512),
            alg => Algorithm::from_name(alg),
        });
        let for_other_use = self.text("use")?.is_some_and(|usage| usage != "sig");
        let may_verify = match self.0.get("key_ops").filter(|ops| ops.kind() != Kind::Null) {
            None => true,
            Some(ops) if ops.kind() == Kind::Array => {
                // The public half of a key that may sign verifies what it signed.
                let signs = self.0.get("d").is_some();
                ops.elements()
                    .filter_map(Value::as_str)
                    .any(|op| op == "verify" || signs && op == "sign")
            }
            Some(_) => return Err(KeyError::MalformedJwk),
        };
        Ok(Restriction { alg, not_for_verifying: for_other_use || !may_verify })
    }
}
