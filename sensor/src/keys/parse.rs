//! From the bytes of a key file to keys.

use std::sync::Arc;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    der::Reader,
    jwk,
    key::{Key, KeySource},
    pem, spki,
};

/// The most bytes of a key set that are read.
pub const MAX_KEY_SET_BYTES: usize = 1 << 20;
/// The most keys of a set that are read; what follows is reported as one rejected key.
pub const MAX_KEYS: usize = 1_024;
/// The largest file of which the bytes are kept as a candidate HMAC secret.
const MAX_LOADED_BYTES: usize = 64 << 10;

/// What is wrong with a key, or with a key file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyError {
    /// Over [`MAX_KEY_SET_BYTES`].
    #[error("the key set is over {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    /// Behind the first [`MAX_KEYS`].
    #[error("the set has more than {MAX_KEYS} keys")]
    TooMany,
    /// Neither a JWK Set, a JWK, PEM nor DER.
    #[error("neither a JWK Set, a JWK, PEM nor DER")]
    UnknownFormat,
    /// Not a JSON object with unique members of the right types (RFC 7517, section 4).
    #[error("malformed JWK")]
    MalformedJwk,
    /// A JWK lacks a member that its `kty` asks for.
    #[error("a required member is missing")]
    MissingMember,
    /// A JWK member is not base64url without padding.
    #[error("a member is not base64url")]
    Base64,
    /// A `kty` or key algorithm that verifies no signature here.
    #[error("unsupported type of key")]
    UnsupportedType,
    /// A curve that verifies no signature here: X25519 and X448 are for key agreement, Ed448 has
    /// no backend.
    #[error("unsupported curve")]
    UnsupportedCurve,
    /// A coordinate does not have the curve's full length (RFC 7518, section 6.2.1.2).
    #[error("a coordinate has the wrong length")]
    CoordinateLength,
    /// A point in DER that is not uncompressed and of the curve's length.
    #[error("unsupported encoding of a point")]
    PointEncoding,
    /// The point is not on its curve.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The modulus is even, or not of [`super::MIN_RSA_BITS`] to [`super::MAX_RSA_BITS`] bits.
    #[error("unsupported RSA modulus")]
    RsaModulus,
    /// The exponent is even, 1, or over 33 bits.
    #[error("unsupported RSA exponent")]
    RsaExponent,
    /// An HMAC secret of no bytes.
    #[error("the secret is empty")]
    EmptySecret,
    /// DER that is cut, has trailing bytes, or is no key.
    #[error("malformed DER")]
    MalformedDer,
    /// A PEM block that does not decode or is encrypted.
    #[error("malformed or encrypted PEM block")]
    MalformedPem,
    /// A PEM block of another kind.
    #[error("a PEM block that is no key and no certificate")]
    PemLabel,
}

/// A key of a set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedKey {
    /// Its position in the set or file, from 0.
    pub index: usize,
    /// Its identifier, where it could be read.
    pub kid: Option<String>,
    /// What is wrong with it.
    pub error: KeyError,
}

/// The keys of one file or answer.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The usable ones, in their order. Several may have one `kid` (RFC 7517, section 4.5).
    pub keys: Vec<Arc<Key>>,
    /// The others.
    pub rejected: Vec<RejectedKey>,
    /// Whether the bytes hold a private key or a secret, or may do so in a part that could not be
    /// read.
    pub private: bool,
}

/// Reads a key file in whatever format it has: a JWK Set, one JWK, PEM with any number of blocks
/// (SubjectPublicKeyInfo, PKCS#1, certificates, private keys), or the DER of one of these.
///
/// Of private keys only the public half is kept. Of certificates only the key is used.
///
/// # Errors
/// Where nothing of it can be read. A set with bad keys is no error: see [`KeySet::rejected`].
pub fn parse_keys(bytes: &[u8], source: KeySource) -> Result<KeySet, KeyError> {
    if bytes.len() > MAX_KEY_SET_BYTES {
        return Err(KeyError::TooLarge);
    }
    let mut outer = Reader::new(bytes);
    if outer.sequence().is_some() && outer.is_empty() {
        let mut set = Builder::default();
        match spki::from_der(bytes) {
            Ok((public, private)) => {
                set.private |= private;
                set.add(None, Key::from_public(public, None, source));
            }
            Err(KeyError::MalformedDer) => return Err(KeyError::MalformedDer),
            // A key all right, as in any other format.
            Err(error) => {
                set.private = true;
                set.add(None, Err(error));
            }
        }
        return Ok(set.finish(bytes));
    }
    // Tools on Windows write a byte order mark.
    let text_bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if text_bytes.trim_ascii_start().first() == Some(&b'{') {
        let text = std::str::from_utf8(text_bytes).map_err(|_| KeyError::MalformedJwk)?;
        return parse_json(text, source).map(|set| set.finish(bytes));
    }
    // The text around PEM blocks may have any encoding.
    let text = String::from_utf8_lossy(text_bytes);
    if pem::looks_like_pem(&text) {
        return Ok(parse_pem(&text, source).finish(bytes));
    }
    Err(KeyError::UnknownFormat)
}

#[derive(Default)]
struct Builder {
    keys: Vec<Key>,
    rejected: Vec<RejectedKey>,
    /// Whether a private key or secret was seen, so that the file's bytes must not be kept.
    private: bool,
    count: usize,
}

impl Builder {
    fn is_full(&self) -> bool {
        self.count >= MAX_KEYS
    }

    fn add(&mut self, kid: Option<String>, key: Result<Key, KeyError>) {
        match key {
            Ok(key) => self.keys.push(key),
            Err(error) => self.rejected.push(RejectedKey { index: self.count, kid, error }),
        }
        self.count += 1;
    }

    fn finish(mut self, file: &[u8]) -> KeySet {
        if !self.private && file.len() <= MAX_LOADED_BYTES {
            let file: Arc<[u8]> = file.into();
            for key in &mut self.keys {
                key.loaded.push(Arc::clone(&file));
            }
        }
        KeySet {
            keys: self.keys.into_iter().map(Arc::new).collect(),
            rejected: self.rejected,
            private: self.private,
        }
    }
}

/// A JWK Set (RFC 7517, section 5), or what tells a JWK. Each key stays text until it is read, so
/// that one bad key harms no other.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    keys: Option<Vec<&'a RawValue>>,
    kty: Option<IgnoredAny>,
}

fn parse_json(text: &str, source: KeySource) -> Result<Builder, KeyError> {
    // serde's message would quote the file.
    let members: Members<'_> = serde_json::from_str(text).map_err(|_| KeyError::MalformedJwk)?;
    let mut set = Builder::default();
    let Some(keys) = members.keys else {
        if members.kty.is_none() {
            return Err(KeyError::UnknownFormat);
        }
        let jwk = jwk::read(text.trim(), source);
        set.private = jwk.private;
        set.add(jwk.kid, jwk.key);
        return Ok(set);
    };
    for raw in keys {
        if set.is_full() {
            // The rest was not looked at and may hold secrets.
            set.private = true;
            set.add(None, Err(KeyError::TooMany));
            break;
        }
        let jwk = jwk::read(raw.get(), source);
        set.private |= jwk.private;
        set.add(jwk.kid, jwk.key);
    }
    Ok(set)
}

fn parse_pem(text: &str, source: KeySource) -> Builder {
    let mut set = Builder::default();
    for block in pem::blocks(text) {
        // OpenSSL writes the curve's parameters in front of the key that names them again.
        if block.label == "EC PARAMETERS" {
            continue;
        }
        if set.is_full() {
            set.private = true;
            set.add(None, Err(KeyError::TooMany));
            break;
        }
        // Whatever the block says it is: what is not known to be public is not kept.
        set.private |= block.label.contains("PRIVATE") || block.der.is_none();
        let is_key = block.label.ends_with("PUBLIC KEY")
            || block.label.ends_with("PRIVATE KEY")
            || matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE" | "X.509 CERTIFICATE");
        let key = if is_key {
            block.der.ok_or(KeyError::MalformedPem).and_then(|der| {
                let (public, private) = spki::from_der(&der)?;
                set.private |= private;
                Key::from_public(public, None, source)
            })
        } else {
            Err(KeyError::PemLabel)
        };
        set.add(None, key);
    }
    set
}
