//! Public keys as numbers and points, and their DER forms: SubjectPublicKeyInfo (RFC 5280),
//! PKCS#1 (RFC 8017), SEC 1 (RFC 5915), certificates, and private keys by their public half.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
};

use super::{
    der::{self, BIT_STRING, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE},
    parse::KeyError,
};

/// The shortest RSA modulus that is read, in bits. RFC 7518, section 3.3 asks for 2048; shorter
/// keys are read to judge what services accept, and are flagged.
pub const MIN_RSA_BITS: usize = 1_024;
/// The longest RSA modulus that is read, in bits: what the backend verifies. A longer one would
/// also make every forged token costly.
pub const MAX_RSA_BITS: usize = 8_192;
/// The backend's limit on the public exponent.
const MAX_RSA_EXPONENT_BITS: usize = 33;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The curves of ECDSA in JOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    Secp256k1,
}

impl Curve {
    const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::Secp256k1];

    /// The `crv` of a JWK.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Secp256k1 => "secp256k1",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// The namedCurve (RFC 5480, section 2.1.1.1; SEC 2).
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Secp256k1 => &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    fn from_oid(oid: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }

    /// The bytes of a coordinate, and of each half of a signature.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// ECDSA on this curve with the hash that JOSE pairs it with, signatures as r || s.
    pub(super) const fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
            Self::Secp256k1 => &ECDSA_P256K1_SHA256_FIXED,
        }
    }

    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            Self::Secp256k1 => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }
}

/// A public key that has passed the checks of its constructor.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Public {
    /// Modulus and exponent, big-endian without leading zeros. `pss_only` where the key came as
    /// id-RSASSA-PSS (RFC 4055), which forbids PKCS#1 v1.5 signatures.
    Rsa { n: Box<[u8]>, e: Box<[u8]>, pss_only: bool },
    /// 0x04 || x || y.
    Ec { curve: Curve, point: Box<[u8]> },
    /// The encoded point (RFC 8032, section 5.1.2).
    Ed25519([u8; 32]),
}

/// The bits of a big-endian number without leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    number.len() * 8 - number.first().map_or(0, |first| first.leading_zeros() as usize)
}

impl Public {
    /// An RSA key. Leading zeros are dropped: RFC 7518, section 6.3.1.1 forbids them, and enough
    /// issuers write one.
    pub(super) fn rsa(n: &[u8], e: &[u8], pss_only: bool) -> Result<Self, KeyError> {
        let (n, e) = (der::trim_zeros(n), der::trim_zeros(e));
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits(n)) || !odd(n) {
            return Err(KeyError::RsaModulus);
        }
        // With an exponent of 1 every message signs itself.
        if !(2..=MAX_RSA_EXPONENT_BITS).contains(&bits(e)) || !odd(e) {
            return Err(KeyError::RsaExponent);
        }
        Ok(Self::Rsa { n: n.into(), e: e.into(), pss_only })
    }

    /// A key of coordinates. Each must have the curve's full length (RFC 7518, sections 6.2.1.2
    /// and 6.2.1.3).
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != curve.len() || y.len() != curve.len() {
            return Err(KeyError::CoordinateLength);
        }
        Self::ec_point(curve, &[&[4], x, y].concat())
    }

    /// A key of an uncompressed point (SEC 1, section 2.3.3).
    fn ec_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.len() {
            return Err(KeyError::PointEncoding);
        }
        // The backend checks that the point lies on the curve.
        ParsedPublicKey::new(curve.verification(), point).map_err(|_| KeyError::NotOnCurve)?;
        Ok(Self::Ec { curve, point: point.into() })
    }

    /// An Ed25519 key.
    pub(super) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        x.try_into().map(Self::Ed25519).map_err(|_| KeyError::CoordinateLength)
    }

    /// The SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7; RFC 3279; RFC 5480; RFC 8410).
    pub(super) fn to_spki(&self) -> Vec<u8> {
        let mut algorithm = Vec::new();
        let mut bit_string = vec![0];
        match self {
            Self::Rsa { .. } => {
                der::write(&mut algorithm, OID, RSA_ENCRYPTION);
                der::write(&mut algorithm, NULL, &[]);
                bit_string.extend(self.to_pkcs1().unwrap_or_default());
            }
            Self::Ec { curve, point } => {
                der::write(&mut algorithm, OID, EC_PUBLIC_KEY);
                der::write(&mut algorithm, OID, curve.oid());
                bit_string.extend_from_slice(point);
            }
            Self::Ed25519(x) => {
                der::write(&mut algorithm, OID, ED25519);
                bit_string.extend_from_slice(x);
            }
        }
        let mut spki = der::value(SEQUENCE, &algorithm);
        der::write(&mut spki, BIT_STRING, &bit_string);
        der::value(SEQUENCE, &spki)
    }

    /// The RSAPublicKey of PKCS#1 (RFC 8017, appendix A.1.1); only RSA has it.
    pub(super) fn to_pkcs1(&self) -> Option<Vec<u8>> {
        let Self::Rsa { n, e, .. } = self else { return None };
        let mut numbers = Vec::with_capacity(n.len() + 16);
        der::write_unsigned(&mut numbers, n);
        der::write_unsigned(&mut numbers, e);
        Some(der::value(SEQUENCE, &numbers))
    }
}

/// Reads a key from DER, whichever of the forms it has. The second value tells whether the bytes
/// held a private key.
pub(super) fn from_der(bytes: &[u8]) -> Result<(Public, bool), KeyError> {
    let mut outer = Reader::new(bytes);
    let body = outer.sequence().filter(|_| outer.is_empty()).ok_or(KeyError::MalformedDer)?;

    // The forms differ in the tags of their first two values.
    let mut ahead = body;
    let first = ahead.any().ok_or(KeyError::MalformedDer)?;
    match (first.0, ahead.peek_tag()) {
        (SEQUENCE, Some(BIT_STRING)) => Ok((from_spki(body)?, false)),
        (SEQUENCE, Some(SEQUENCE)) => Ok((from_certificate(body)?, false)),
        (INTEGER, Some(SEQUENCE)) => Ok((from_pkcs8(body, bytes)?, true)),
        (INTEGER, Some(OCTET_STRING)) => Ok((from_sec1(body, None, bytes)?, true)),
        // RSAPublicKey is two numbers, RSAPrivateKey starts with its version and has nine.
        (INTEGER, Some(INTEGER)) => {
            let mut numbers = body;
            let _ = (numbers.any(), numbers.any());
            let private = !numbers.is_empty();
            Ok((from_pkcs1(body, private, false)?, private))
        }
        _ => Err(KeyError::MalformedDer),
    }
}

fn from_pkcs1(mut body: Reader<'_>, private: bool, pss_only: bool) -> Result<Public, KeyError> {
    if private {
        body.unsigned().ok_or(KeyError::MalformedDer)?;
    }
    let n = body.unsigned().ok_or(KeyError::MalformedDer)?;
    let e = body.unsigned().ok_or(KeyError::MalformedDer)?;
    Public::rsa(n, e, pss_only)
}

/// An AlgorithmIdentifier: its OID and a cursor at its parameters.
fn algorithm<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Reader<'a>), KeyError> {
    let mut identifier = reader.sequence().ok_or(KeyError::MalformedDer)?;
    let oid = identifier.read(OID).ok_or(KeyError::MalformedDer)?;
    Ok((oid, identifier))
}

fn named_curve(mut parameters: Reader<'_>) -> Result<Curve, KeyError> {
    // Explicit curve parameters are refused: RFC 5480 forbids them, CVE-2020-0601 abused them.
    parameters.read(OID).and_then(Curve::from_oid).ok_or(KeyError::UnsupportedCurve)
}

fn from_spki(mut body: Reader<'_>) -> Result<Public, KeyError> {
    let (oid, parameters) = algorithm(&mut body)?;
    let key = body.bit_string().ok_or(KeyError::MalformedDer)?;
    match oid {
        RSA_ENCRYPTION | RSASSA_PSS => {
            let mut outer = Reader::new(key);
            let numbers = outer.sequence().ok_or(KeyError::MalformedDer)?;
            from_pkcs1(numbers, false, oid == RSASSA_PSS)
        }
        EC_PUBLIC_KEY => Public::ec_point(named_curve(parameters)?, key),
        ED25519 => Public::ed25519(key),
        _ => Err(KeyError::UnsupportedType),
    }
}

/// The key of a certificate (RFC 5280, section 4.1). Nothing else of it is looked at: whether to
/// trust it was decided by whoever configured it.
fn from_certificate(mut body: Reader<'_>) -> Result<Public, KeyError> {
    const VERSION: u8 = 0xa0;
    let mut tbs = body.sequence().ok_or(KeyError::MalformedDer)?;
    if tbs.peek_tag() == Some(VERSION) {
        tbs.any();
    }
    let fields = [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE];
    for tag in fields {
        tbs.read(tag).ok_or(KeyError::MalformedDer)?;
    }
    from_spki(tbs.sequence().ok_or(KeyError::MalformedDer)?)
}

/// The public half of a PrivateKeyInfo (RFC 5958).
fn from_pkcs8(mut body: Reader<'_>, whole: &[u8]) -> Result<Public, KeyError> {
    body.unsigned().ok_or(KeyError::MalformedDer)?;
    let (oid, parameters) = algorithm(&mut body)?;
    let key = body.read(OCTET_STRING).ok_or(KeyError::MalformedDer)?;
    match oid {
        RSA_ENCRYPTION | RSASSA_PSS => {
            let numbers = Reader::new(key).sequence().ok_or(KeyError::MalformedDer)?;
            from_pkcs1(numbers, true, oid == RSASSA_PSS)
        }
        EC_PUBLIC_KEY => {
            let sec1 = Reader::new(key).sequence().ok_or(KeyError::MalformedDer)?;
            from_sec1(sec1, Some(named_curve(parameters)?), whole)
        }
        ED25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(whole)
                .map_err(|_| KeyError::MalformedDer)?;
            Public::ed25519(pair.public_key().as_ref())
        }
        _ => Err(KeyError::UnsupportedType),
    }
}

/// The public half of an ECPrivateKey (RFC 5915), which holds it or from which it is computed.
fn from_sec1(mut body: Reader<'_>, curve: Option<Curve>, whole: &[u8]) -> Result<Public, KeyError> {
    const PARAMETERS: u8 = 0xa0;
    const PUBLIC_KEY: u8 = 0xa1;
    body.unsigned().ok_or(KeyError::MalformedDer)?;
    body.read(OCTET_STRING).ok_or(KeyError::MalformedDer)?;
    let curve = match (body.read(PARAMETERS), curve) {
        (_, Some(curve)) => curve,
        (Some(parameters), None) => named_curve(Reader::new(parameters))?,
        (None, None) => return Err(KeyError::UnsupportedCurve),
    };
    if let Some(key) = body.read(PUBLIC_KEY) {
        let point = Reader::new(key).bit_string().ok_or(KeyError::MalformedDer)?;
        return Public::ec_point(curve, point);
    }
    let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), whole)
        .map_err(|_| KeyError::MalformedDer)?;
    Public::ec_point(curve, pair.public_key().as_ref())
}
