//! Generated keys of every algorithm: each form of a key reads as the same key, random payloads
//! verify, and nothing else does.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::{
    encoding::{AsDer as _, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING,
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPssSaltLength,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::time::Time;

mod formats;
mod signatures;
mod store;

type Sign = dyn Fn(Algorithm, &[u8]) -> Vec<u8> + Send + Sync;

/// A signer with every form that its key can be handed over in.
struct Signer {
    algs: Vec<Algorithm>,
    sign: Box<Sign>,
    /// (what, bytes, whether they hold the private key); the first is the public JWK.
    forms: Vec<(&'static str, Vec<u8>, bool)>,
    key: Arc<Key>,
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn only_key(bytes: &[u8]) -> Arc<Key> {
    let set = parse_keys(bytes, KeySource::File).unwrap();
    assert_eq!((set.keys.len(), &set.rejected), (1, &vec![]));
    Arc::clone(&set.keys[0])
}

fn rejected(jwk: &str) -> KeyError {
    let set = parse_keys(jwk.as_bytes(), KeySource::File).unwrap();
    assert!(set.keys.is_empty(), "{jwk}");
    set.rejected[0].error
}

/// A certificate with this key. Its signature is not looked at.
fn certificate(spki: &[u8]) -> Vec<u8> {
    use der::{BIT_STRING, INTEGER, SEQUENCE, value};
    let empty = value(SEQUENCE, &[]);
    let version = value(0xa0, &value(INTEGER, &[2]));
    let serial = value(INTEGER, &[1]);
    let tbs = [&version, &serial, &empty, &empty, &empty, &empty, spki].concat();
    let certificate = [value(SEQUENCE, &tbs), empty, value(BIT_STRING, &[0, 1])].concat();
    value(SEQUENCE, &certificate)
}

fn signer(
    algs: &[Algorithm],
    jwk: String,
    private_jwk: String,
    ders: Vec<(&'static str, Vec<u8>, bool)>,
    sign: impl Fn(Algorithm, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> Signer {
    let key = only_key(jwk.as_bytes());
    let mut forms = vec![("JWK", jwk.into_bytes(), false), ("", private_jwk.into_bytes(), true)];
    for (label, der, private) in ders {
        forms.push((label, pem::encode(label, &der).into_bytes(), private));
        forms.push((label, der, private));
    }
    Signer { algs: algs.to_vec(), sign: Box::new(sign), forms, key }
}

fn rsa() -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let numbers = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let (n, e) = (b64(&numbers.n), b64(&numbers.e));
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let mut reader = der::Reader::new(pkcs8.as_ref()).sequence().unwrap();
    reader.any();
    reader.any();
    let pkcs1 = reader.read(der::OCTET_STRING).unwrap().to_vec();
    let ders = vec![
        ("PUBLIC KEY", spki.as_ref().to_vec(), false),
        ("RSA PUBLIC KEY", pair.public_key().as_ref().to_vec(), false),
        ("CERTIFICATE", certificate(spki.as_ref()), false),
        ("PRIVATE KEY", pkcs8.as_ref().to_vec(), true),
        ("RSA PRIVATE KEY", pkcs1, true),
    ];
    let algs = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    signer(
        &algs,
        format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}","d":"c2VjcmV0","p":"c2VjcmV0"}}"#),
        ders,
        move |alg, input| {
            let encoding: &'static dyn RsaEncoding = match alg {
                Algorithm::Rs256 => &RSA_PKCS1_SHA256,
                Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                Algorithm::Ps256 => &RSA_PSS_SHA256,
                Algorithm::Ps384 => &RSA_PSS_SHA384,
                _ => &RSA_PSS_SHA512,
            };
            rsa_sign(&pair, encoding, input)
        },
    )
}

fn rsa_sign(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, input: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), input, &mut signature).unwrap();
    signature
}

fn ec(alg: Algorithm) -> Signer {
    let (signing, crv) = match alg {
        Algorithm::Es256 => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        Algorithm::Es384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        Algorithm::Es512 => (&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
        _ => (&ECDSA_P256K1_SHA256_FIXED_SIGNING, "secp256k1"),
    };
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let (x, y) = (b64(x), b64(y));
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let ders = vec![
        ("PUBLIC KEY", spki.as_ref().to_vec(), false),
        ("CERTIFICATE", certificate(spki.as_ref()), false),
        ("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref().to_vec(), true),
        ("EC PRIVATE KEY", sec1.as_ref().to_vec(), true),
    ];
    signer(
        &[alg],
        format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}"}}"#),
        format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}","d":"c2VjcmV0"}}"#),
        ders,
        move |_, input| pair.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec(),
    )
}

fn ed() -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = b64(pair.public_key().as_ref());
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let ders = vec![
        ("PUBLIC KEY", spki.as_ref().to_vec(), false),
        ("CERTIFICATE", certificate(spki.as_ref()), false),
        ("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref().to_vec(), true),
        ("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref().to_vec(), true),
    ];
    signer(
        &[Algorithm::EdDsa],
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"c2VjcmV0"}}"#),
        ders,
        move |_, input| pair.sign(input).as_ref().to_vec(),
    )
}

fn hmac_tag(secret: &[u8], alg: Algorithm, input: &[u8]) -> Vec<u8> {
    let algorithm = match alg {
        Algorithm::Hs256 => hmac::HMAC_SHA256,
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec()
}

fn oct() -> Signer {
    let secret: Vec<u8> = (0..64).collect();
    let jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, b64(&secret));
    let algs = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
    signer(&algs, jwk.clone(), jwk, vec![], move |alg, input| hmac_tag(&secret, alg, input))
}

/// Two signers of each type.
fn signers() -> &'static [Signer] {
    static SIGNERS: OnceLock<Vec<Signer>> = OnceLock::new();
    SIGNERS.get_or_init(|| {
        let curves = [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::Es256k];
        let mut signers = vec![oct(), rsa(), rsa(), ed(), ed()];
        signers.extend(curves.into_iter().chain(curves).map(ec));
        signers
    })
}

fn signer_of(alg: Algorithm) -> &'static Signer {
    signers().iter().find(|signer| signer.algs.contains(&alg)).unwrap()
}
