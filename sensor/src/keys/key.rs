//! A key that verifies signatures.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    algorithm::{Algorithm, Family},
    parse::KeyError,
    roca,
    spki::{Curve, Public, bits},
    store::MAX_LEARNED_NAME,
    verify::Verifier,
};

/// Where a key came from, as told by whoever read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A file that the operator named.
    File,
    /// A URL that the operator named, or its OpenID discovery.
    Url,
    /// A key set that a watched service served or fetched in clear. It is as trustworthy as that
    /// connection was.
    Learned,
}

/// The type of a key, with its curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// A shared secret.
    Oct,
    /// RSA.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// ECDSA on secp256k1.
    Secp256k1,
    /// Ed25519.
    Ed25519,
}

impl KeyType {
    /// Whether keys of this type can serve `alg`. Every curve has one hash function
    /// (RFC 7518, section 3.4), RSA and secrets serve three.
    #[must_use]
    pub const fn serves(self, alg: Algorithm) -> bool {
        match self {
            Self::Oct => matches!(alg.family(), Family::Hmac),
            Self::Rsa => matches!(alg.family(), Family::Rsa),
            Self::P256 => matches!(alg, Algorithm::Es256),
            Self::P384 => matches!(alg, Algorithm::Es384),
            Self::P521 => matches!(alg, Algorithm::Es512),
            Self::Secp256k1 => matches!(alg, Algorithm::Es256k),
            Self::Ed25519 => matches!(alg, Algorithm::EdDsa),
        }
    }
}

/// Why a key may not verify a signature of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// The algorithm needs another type of key or another curve.
    #[error("the algorithm needs another type of key")]
    Type,
    /// The key is bound to another algorithm (`alg` of its JWK; id-RSASSA-PSS in its DER).
    #[error("the key is bound to another algorithm")]
    Algorithm,
    /// The key is not for verifying signatures (`use`, `key_ops` of its JWK).
    #[error("the key is not for verifying signatures")]
    Use,
}

/// What makes a key easier to break than its algorithm promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakness {
    /// A modulus below 2048 bits (RFC 7518, sections 3.3 and 3.5).
    RsaModulus {
        /// The length of the modulus.
        bits: usize,
    },
    /// A modulus with the structure that a faulty library gave its primes: it can be factored
    /// (ROCA, CVE-2017-15361).
    RsaStructure,
    /// A secret shorter than the output of the hash function (RFC 7518, section 3.2).
    HmacSecret {
        /// The length of the secret.
        bytes: usize,
    },
}

/// What a JWK says that it is for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Restriction {
    /// `alg`: the one algorithm that is allowed. `Some(None)` is a name that verifies no
    /// signature here, of an encryption algorithm for example.
    pub(super) alg: Option<Option<Algorithm>>,
    /// `use` or `key_ops` exclude verifying.
    pub(super) not_for_verifying: bool,
}

/// A key that is prepared to verify signatures.
///
/// It holds no private key, and no secret but in the keyed state of an HMAC, which the backend
/// wipes when the key is dropped. `Debug` shows neither.
pub struct Key {
    kid: Option<Box<str>>,
    key_type: KeyType,
    restriction: Restriction,
    source: KeySource,
    pub(super) verifier: Verifier,
    /// `None` for secrets.
    pub(super) public: Option<Public>,
    secret_len: usize,
    /// See [`Weakness::RsaStructure`].
    structured: bool,
    /// The JWK's text and the file as loaded, where they hold nothing private.
    pub(super) loaded: Vec<Arc<[u8]>>,
}

impl Key {
    /// A shared secret for HS256, HS384 and HS512.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`]: everyone knows it, so a good signature under it proves nothing.
    pub fn from_secret(
        secret: &[u8],
        kid: Option<&str>,
        source: KeySource,
    ) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        Ok(Self {
            kid: kid.map(Into::into),
            key_type: KeyType::Oct,
            restriction: Restriction::default(),
            source,
            verifier: Verifier::hmac(secret),
            public: None,
            secret_len: secret.len(),
            structured: false,
            loaded: Vec::new(),
        })
    }

    pub(super) fn from_public(
        public: Public,
        kid: Option<&str>,
        source: KeySource,
    ) -> Result<Self, KeyError> {
        let key_type = match &public {
            Public::Rsa { .. } => KeyType::Rsa,
            Public::Ec { curve: Curve::P256, .. } => KeyType::P256,
            Public::Ec { curve: Curve::P384, .. } => KeyType::P384,
            Public::Ec { curve: Curve::P521, .. } => KeyType::P521,
            Public::Ec { curve: Curve::Secp256k1, .. } => KeyType::Secp256k1,
            Public::Ed25519(_) => KeyType::Ed25519,
        };
        Ok(Self {
            kid: kid.map(Into::into),
            key_type,
            restriction: Restriction::default(),
            source,
            verifier: Verifier::public(&public)?,
            structured: matches!(&public, Public::Rsa { n, .. } if roca::has_structure(n)),
            public: Some(public),
            secret_len: 0,
            loaded: Vec::new(),
        })
    }

    pub(super) fn restrict(mut self, restriction: Restriction) -> Self {
        self.restriction = restriction;
        self
    }

    /// The identifier that its JWK gives it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its type.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Where it came from.
    #[must_use]
    pub const fn source(&self) -> KeySource {
        self.source
    }

    /// The one algorithm that its JWK allows, if it names one that is known.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self.restriction.alg {
            Some(alg) => alg,
            None => None,
        }
    }

    /// Whether everyone may know it. Then it is no HMAC secret, and [`super::confusion_secrets`]
    /// tells how it would be abused as one.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        self.public.is_some()
    }

    /// Whether this key may verify signatures of `alg` (RFC 7517, sections 4.2 to 4.4).
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, alg: Algorithm) -> Result<(), Unfit> {
        if !self.key_type.serves(alg) {
            return Err(Unfit::Type);
        }
        if self.restriction.not_for_verifying {
            return Err(Unfit::Use);
        }
        if self.restriction.alg.is_some_and(|allowed| allowed != Some(alg)) {
            return Err(Unfit::Algorithm);
        }
        let pkcs1 = matches!(alg, Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512);
        if pkcs1 && matches!(self.public, Some(Public::Rsa { pss_only: true, .. })) {
            return Err(Unfit::Algorithm);
        }
        Ok(())
    }

    /// What makes this key weak for `alg`. It verifies all the same.
    #[must_use]
    pub fn weakness(&self, alg: Algorithm) -> Option<Weakness> {
        match &self.public {
            Some(Public::Rsa { n, .. }) if bits(n) < 2_048 => {
                Some(Weakness::RsaModulus { bits: bits(n) })
            }
            Some(Public::Rsa { .. }) if self.structured => Some(Weakness::RsaStructure),
            None if self.secret_len < alg.hash_len() => {
                Some(Weakness::HmacSecret { bytes: self.secret_len })
            }
            _ => None,
        }
    }

    /// Whether it may be learned from traffic: a public key that was read as learned, with a name
    /// that can be kept, and for signatures of an algorithm that is known.
    pub(super) fn is_learnable(&self) -> bool {
        self.is_public()
            && self.source == KeySource::Learned
            && !self.restriction.not_for_verifying
            && self.restriction.alg != Some(None)
            && self.kid().is_none_or(|kid| kid.len() <= MAX_LEARNED_NAME)
    }

    /// A public key as a JWK with its `kid` and `alg` and nothing else: reading it gives the same
    /// key. `None` for secrets.
    #[must_use]
    pub fn to_jwk(&self) -> Option<String> {
        let mut jwk = self.public.as_ref()?.to_jwk();
        jwk.pop();
        for (name, value) in [("kid", self.kid()), ("alg", self.algorithm().map(Algorithm::as_str))]
        {
            if let Some(value) = value {
                jwk += &format!(r#","{name}":{}"#, serde_json::Value::from(value));
            }
        }
        jwk.push('}');
        Some(jwk)
    }

    /// The SHA-256 thumbprint of a public key (RFC 7638), which names the key whatever format it
    /// came in. Secrets have none: a hash of a weak secret gives it away.
    #[must_use]
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        let jwk = self.public.as_ref()?.to_jwk();
        digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref().try_into().ok()
    }
}

impl Public {
    /// The required members of the JWK in lexicographic order, without white space (RFC 7638,
    /// section 3; RFC 8037, appendix A.3).
    pub(super) fn to_jwk(&self) -> String {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa { n, e, .. } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(e), b64(n))
            }
            Self::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.len());
                let crv = curve.name();
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, b64(x), b64(y))
            }
            Self::Ed25519(x) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(x))
            }
        }
    }

    /// The same members in the order in which RFC 7517 and most issuers write them.
    pub(super) fn to_jwk_type_first(&self) -> String {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa { n, e, .. } => {
                format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, b64(n), b64(e))
            }
            Self::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.len());
                let crv = curve.name();
                format!(r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}"}}"#, b64(x), b64(y))
            }
            Self::Ed25519(x) => {
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(x))
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("key_type", &self.key_type)
            .field("algorithm", &self.algorithm())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
