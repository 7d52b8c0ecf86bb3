//! One signature, one key, one verdict.

use aws_lc_rs::{
    hmac,
    signature::{
        ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, crypto::aws_lc::DEFAULT_PROVIDER};

use super::{
    algorithm::Algorithm,
    der,
    key::{Key, Unfit},
    parse::KeyError,
    spki::{Curve, Public, bits},
};

/// Why a signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VerifyError {
    /// Well-formed, and not made by this key over this input.
    #[error("the signature does not match")]
    BadSignature,
    /// No key could have made it.
    #[error("the signature is malformed: {0}")]
    Malformed(#[from] Malformation),
    /// The key may not be used for the algorithm, so nothing was computed.
    #[error("{0}")]
    KeyUnfit(#[from] Unfit),
    /// The algorithm is not supported with this size of key: RS384 and RSASSA-PSS ask for a
    /// modulus of 2048 bits (RFC 7518, sections 3.3 and 3.5) and the backend insists.
    #[error("the algorithm is not supported with this size of key")]
    Unsupported,
}

/// Why no key could have made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformation {
    /// Not the length that the algorithm and the key ask for.
    #[error("wrong length")]
    Length,
    /// ECDSA: r or s is zero, which a broken verifier takes for any message (CVE-2022-21449).
    #[error("r or s is zero")]
    ZeroScalar,
    /// ECDSA: r or s is not below the order of the curve.
    #[error("r or s is out of range")]
    ScalarOutOfRange,
    /// ECDSA: a DER `ECDSA-Sig-Value` where r || s is due (RFC 7518, section 3.4).
    #[error("DER where r || s is due")]
    DerEncoded,
}

/// A key in the form that its backend verifies with.
pub(super) enum Verifier {
    /// For SHA-256, SHA-384, SHA-512.
    Hmac(Box<[hmac::Key; 3]>),
    /// One prepared key an algorithm, as the backend binds them; in the order of
    /// [`RSA_PARAMETERS`]. `None` where it does not take the size.
    Rsa { prepared: Box<[Option<ParsedPublicKey>; 6]>, modulus_len: usize },
    /// A curve that jsonwebtoken verifies.
    Jsonwebtoken(jsonwebtoken::Algorithm, DecodingKey),
    /// A curve that it does not.
    Ecdsa(ParsedPublicKey),
}

/// The salt of the PSS ones has the length of the hash (RFC 7518, section 3.5): another length
/// does not verify.
static RSA_PARAMETERS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

fn rsa_parameters(index: usize, modulus_bits: usize) -> Option<&'static RsaParameters> {
    let &(alg, usual) = RSA_PARAMETERS.get(index)?;
    match alg {
        _ if modulus_bits >= 2_048 => Some(usual),
        Algorithm::Rs256 => Some(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        Algorithm::Rs512 => Some(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        _ => None,
    }
}

impl Verifier {
    pub(super) fn hmac(secret: &[u8]) -> Self {
        let algorithms = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512];
        Self::Hmac(Box::new(algorithms.map(|algorithm| hmac::Key::new(algorithm, secret))))
    }

    pub(super) fn public(public: &Public) -> Result<Self, KeyError> {
        Ok(match public {
            Public::Rsa { n, e, .. } => {
                let components = RsaPublicKeyComponents { n, e };
                let mut prepared = Box::new([const { None }; 6]);
                for (index, slot) in prepared.iter_mut().enumerate() {
                    *slot = rsa_parameters(index, bits(n))
                        .map(|parameters| components.to_parsed_public_key(parameters))
                        .transpose()
                        .map_err(|_| KeyError::RsaModulus)?;
                }
                Self::Rsa { prepared, modulus_len: n.len() }
            }
            Public::Ec { curve: Curve::P256, point } => {
                Self::Jsonwebtoken(jsonwebtoken::Algorithm::ES256, DecodingKey::from_ec_der(point))
            }
            Public::Ec { curve: Curve::P384, point } => {
                Self::Jsonwebtoken(jsonwebtoken::Algorithm::ES384, DecodingKey::from_ec_der(point))
            }
            Public::Ec { curve, point } => Self::Ecdsa(
                ParsedPublicKey::new(curve.verification(), point)
                    .map_err(|_| KeyError::NotOnCurve)?,
            ),
            Public::Ed25519(x) => {
                Self::Jsonwebtoken(jsonwebtoken::Algorithm::EdDSA, DecodingKey::from_ed_der(x))
            }
        })
    }
}

impl Key {
    /// Whether `signature` is this key's signature of algorithm `alg` over `input`.
    ///
    /// `input` is the JWS signing input (RFC 7515, section 5.1), for a compact token everything
    /// before its last dot; `signature` is decoded from its base64url.
    ///
    /// # Errors
    /// [`VerifyError`]: only [`VerifyError::BadSignature`] and [`VerifyError::Malformed`] say
    /// something about the token.
    pub fn verify(
        &self,
        alg: Algorithm,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        self.fits(alg)?;
        if let Some(Public::Ec { curve, .. }) = &self.public {
            check_ecdsa(*curve, signature)?;
        }
        let verified = match &self.verifier {
            Verifier::Hmac(keys) => {
                check_length(signature, alg.hash_len())?;
                let index = match alg {
                    Algorithm::Hs256 => 0,
                    Algorithm::Hs384 => 1,
                    _ => 2,
                };
                keys.get(index).is_some_and(|key| hmac::verify(key, input, signature).is_ok())
            }
            Verifier::Rsa { prepared, modulus_len } => {
                // RFC 8017, sections 8.1.2 and 8.2.2, step 1.
                check_length(signature, *modulus_len)?;
                RSA_PARAMETERS
                    .iter()
                    .position(|&(parameters_of, _)| parameters_of == alg)
                    .and_then(|index| prepared.get(index)?.as_ref())
                    .ok_or(VerifyError::Unsupported)?
                    .verify_sig(input, signature)
                    .is_ok()
            }
            Verifier::Jsonwebtoken(alg, key) => {
                if *alg == jsonwebtoken::Algorithm::EdDSA {
                    check_length(signature, 64)?;
                }
                (DEFAULT_PROVIDER.verifier_factory)(alg, key)
                    .is_ok_and(|verifier| verifier.verify(input, &signature.to_vec()).is_ok())
            }
            Verifier::Ecdsa(key) => key.verify_sig(input, signature).is_ok(),
        };
        if verified {
            return Ok(());
        }
        // A DER signature has the length of r || s only by chance.
        if matches!(self.public, Some(Public::Ec { .. })) && der::is_ecdsa_sig_value(signature) {
            return Err(Malformation::DerEncoded.into());
        }
        Err(VerifyError::BadSignature)
    }
}

/// Completes the signing input of a JWS without its payload, which is the encoded protected header
/// and a dot, with the payload that came another way (RFC 7515, appendix F). `b64` is the header
/// parameter: where it is false the payload is signed as it is (RFC 7797, section 3).
pub fn append_detached(input: &mut Vec<u8>, payload: &[u8], b64: bool) {
    if b64 {
        input.extend_from_slice(URL_SAFE_NO_PAD.encode(payload).as_bytes());
    } else {
        input.extend_from_slice(payload);
    }
}

fn check_length(signature: &[u8], due: usize) -> Result<(), Malformation> {
    if signature.len() == due { Ok(()) } else { Err(Malformation::Length) }
}

fn check_ecdsa(curve: Curve, signature: &[u8]) -> Result<(), Malformation> {
    if signature.len() != 2 * curve.len() {
        let der = der::is_ecdsa_sig_value(signature);
        return Err(if der { Malformation::DerEncoded } else { Malformation::Length });
    }
    let (r, s) = signature.split_at(curve.len());
    for scalar in [r, s] {
        if scalar.iter().all(|&byte| byte == 0) {
            return Err(Malformation::ZeroScalar);
        }
        // Big-endian numbers of one length compare as their bytes do.
        if scalar >= curve.order() {
            return Err(Malformation::ScalarOutOfRange);
        }
    }
    Ok(())
}

impl Curve {
    /// The order of the base point (SEC 2, version 2), big-endian.
    pub(super) const fn order(self) -> &'static [u8] {
        match self {
            Self::P256 => &[
                0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2,
                0xfc, 0x63, 0x25, 0x51,
            ],
            Self::P384 => &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81,
                0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec,
                0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
            ],
            Self::P521 => &[
                0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
                0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
                0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09,
            ],
            Self::Secp256k1 => &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c,
                0xd0, 0x36, 0x41, 0x41,
            ],
        }
    }
}
