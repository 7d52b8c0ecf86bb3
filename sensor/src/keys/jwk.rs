//! JSON Web Keys (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    algorithm::Algorithm,
    json::Names,
    key::{Key, KeySource, Restriction},
    parse::KeyError,
    spki::{Curve, Public},
};

/// The members that matter here. Private ones are passed over, never stored.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    kty: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
    alg: Option<Cow<'a, str>>,
    #[serde(rename = "use")]
    usage: Option<Cow<'a, str>>,
    key_ops: Option<Vec<Cow<'a, str>>>,
    crv: Option<Cow<'a, str>>,
    x: Option<Cow<'a, str>>,
    y: Option<Cow<'a, str>>,
    n: Option<Cow<'a, str>>,
    e: Option<Cow<'a, str>>,
    k: Option<Cow<'a, str>>,
}

/// The members that make a JWK private (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What was read of a JWK: the key or why not, and what is known either way.
pub(super) struct Jwk {
    pub(super) kid: Option<String>,
    /// Whether the text holds a private key or a secret.
    pub(super) private: bool,
    pub(super) key: Result<Key, KeyError>,
}

/// Reads one JWK. No error quotes it: serde's own messages do and are dropped.
pub(super) fn read(text: &str, source: KeySource) -> Jwk {
    let Ok(names) = serde_json::from_str::<Names>(text) else {
        // What does not even list its members may hold anything.
        return Jwk { kid: None, private: true, key: Err(KeyError::MalformedJwk) };
    };
    let private = PRIVATE.iter().any(|name| names.contains(name));
    let Ok(mut members) = serde_json::from_str::<Members<'_>>(text) else {
        return Jwk { kid: None, private, key: Err(KeyError::MalformedJwk) };
    };
    let key = members.key(names.contains("d"), source).map(|mut key| {
        if !private {
            key.loaded.push(text.as_bytes().into());
        }
        key
    });
    if let Some(Cow::Owned(secret)) = &mut members.k {
        secret.zeroize();
    }
    Jwk { kid: members.kid.map(Cow::into_owned), private, key }
}

/// Strict base64url: no padding, no other alphabet, no spare bits (RFC 7515, section 2).
fn decode(member: Option<&Cow<'_, str>>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = member.ok_or(KeyError::MissingMember)?;
    URL_SAFE_NO_PAD.decode(&**text).map(Zeroizing::new).map_err(|_| KeyError::Base64)
}

impl Members<'_> {
    fn key(&self, has_private_exponent: bool, source: KeySource) -> Result<Key, KeyError> {
        let kid = self.kid.as_deref();
        let crv = || self.crv.as_deref().ok_or(KeyError::MissingMember);
        let key = match self.kty.as_deref().ok_or(KeyError::MissingMember)? {
            "oct" => Key::from_secret(&decode(self.k.as_ref())?, kid, source)?,
            "RSA" => {
                let (n, e) = (decode(self.n.as_ref())?, decode(self.e.as_ref())?);
                Key::from_public(Public::rsa(&n, &e, false)?, kid, source)?
            }
            "EC" => {
                let curve = Curve::from_name(crv()?).ok_or(KeyError::UnsupportedCurve)?;
                let (x, y) = (decode(self.x.as_ref())?, decode(self.y.as_ref())?);
                Key::from_public(Public::ec(curve, &x, &y)?, kid, source)?
            }
            "OKP" => {
                if crv()? != "Ed25519" {
                    return Err(KeyError::UnsupportedCurve);
                }
                let x = decode(self.x.as_ref())?;
                Key::from_public(Public::ed25519(&x)?, kid, source)?
            }
            _ => return Err(KeyError::UnsupportedType),
        };
        Ok(key.restrict(self.restriction(has_private_exponent)))
    }

    fn restriction(&self, has_private_exponent: bool) -> Restriction {
        // The public half of a key that may sign verifies what it signed.
        let verifies = |op: &Cow<'_, str>| *op == "verify" || has_private_exponent && *op == "sign";
        Restriction {
            alg: self.alg.as_deref().map(Algorithm::from_name),
            not_for_verifying: self.usage.as_deref().is_some_and(|usage| usage != "sig")
                || self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(verifies)),
        }
    }
}
