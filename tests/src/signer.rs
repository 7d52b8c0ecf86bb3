//! Keys of every algorithm that make real signatures, and the forms in which their public half
//! is handed over.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

use crate::tokens::base64url;

enum Pair {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key with a name.
pub struct Signer {
    /// Its `kid`.
    pub kid: &'static str,
    pair: Pair,
}

/// The keys of one party.
pub struct Keys {
    /// For HS256, HS384 and HS512: 64 bytes.
    pub secret: Signer,
    /// 2048 bits, for RS and PS.
    pub rsa: Signer,
    /// P-256.
    pub p256: Signer,
    /// P-384.
    pub p384: Signer,
    /// P-521.
    pub p521: Signer,
    /// Ed25519.
    pub ed: Signer,
}

fn ec(kid: &'static str, curve: &'static EcdsaSigningAlgorithm) -> Signer {
    Signer { kid, pair: Pair::Ec(EcdsaKeyPair::generate(curve).expect("a key")) }
}

impl Keys {
    fn new(byte: u8) -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let ed = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).expect("a key");
        Self {
            secret: Signer { kid: "hs", pair: Pair::Secret((byte..byte + 64).collect()) },
            rsa: Signer { kid: "rsa", pair: Pair::Rsa(Box::new(rsa)) },
            p256: ec("p256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec("p384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            p521: ec("p521", &ECDSA_P521_SHA512_FIXED_SIGNING),
            ed: Signer { kid: "ed", pair: Pair::Ed(ed) },
        }
    }

    /// The key that signs with this algorithm.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn of(&self, alg: &str) -> &Signer {
        match alg {
            "HS256" | "HS384" | "HS512" => &self.secret,
            "ES256" => &self.p256,
            "ES384" => &self.p384,
            "ES512" => &self.p521,
            "EdDSA" => &self.ed,
            _ if alg.starts_with("RS") || alg.starts_with("PS") => &self.rsa,
            _ => panic!("no key signs {alg}"),
        }
    }

    /// The public keys as a JWK Set (RFC 7517, section 5).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let all = [&self.rsa, &self.p256, &self.p384, &self.p521, &self.ed];
        json!({ "keys": all.map(Signer::jwk) })
    }
}

/// The issuer's keys: the same throughout a run.
pub fn issuer() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::new(1))
}

/// The attacker's own keys, of the same kinds and under the same names.
pub fn attacker() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::new(101))
}

impl Signer {
    /// A signature over `input` (RFC 7518, section 3; RFC 8037, section 3.1).
    ///
    /// # Panics
    /// Where the key can't sign with `alg`.
    #[must_use]
    pub fn sign(&self, alg: &str, input: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Secret(secret) => hmac_tag(secret, alg, input),
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => panic!("an RSA key signs no {alg}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), input, &mut signature).expect("signs");
                signature
            }
            Pair::Ec(pair) => {
                pair.sign(&SystemRandom::new(), input).expect("signs").as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }

    /// The secret of an HMAC key, as a file holds it.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        match &self.pair {
            Pair::Secret(secret) => secret,
            _ => panic!("{} is no secret", self.kid),
        }
    }

    /// The public key as a JWK (RFC 7517, section 4).
    #[must_use]
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Secret(_) => panic!("a secret has no public half"),
            Pair::Rsa(pair) => {
                let numbers = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let (n, e) = (base64url(&numbers.n), base64url(&numbers.e));
                json!({ "kty": "RSA", "kid": self.kid, "n": n, "e": e })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let crv = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                let (x, y) = (base64url(x), base64url(y));
                json!({ "kty": "EC", "kid": self.kid, "crv": crv, "x": x, "y": y })
            }
            Pair::Ed(pair) => {
                let x = base64url(pair.public_key());
                json!({ "kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": x })
            }
        }
    }

    /// The public key as SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), in DER.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let spki: Result<PublicKeyX509Der<'_>, _> = match &self.pair {
            Pair::Secret(_) => panic!("a secret has no public half"),
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Ed(pair) => pair.public_key().as_der(),
        };
        spki.expect("a public key").as_ref().to_vec()
    }

    /// An RSA key's PKCS#1 form (RFC 8017, appendix A.1.1), in DER.
    #[must_use]
    pub fn pkcs1(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            _ => panic!("{} is no RSA key", self.kid),
        }
    }
}

/// An HMAC under any secret.
///
/// # Panics
/// Where `alg` is no HMAC.
#[must_use]
pub fn hmac_tag(secret: &[u8], alg: &str, input: &[u8]) -> Vec<u8> {
    let algorithm = match alg {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => panic!("{alg} is no HMAC"),
    };
    hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec()
}

/// DER as PEM (RFC 7468), with a line end behind the last line.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
