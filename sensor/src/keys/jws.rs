//! The JSON serialisation of a JWS (RFC 7515, section 7.2), unencoded payloads (RFC 7797) and
//! detached ones (RFC 7515, appendix F).

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::Names;

/// The most bytes of a JWS in JSON that are read.
pub const MAX_JWS_JSON_BYTES: usize = 1 << 20;
/// The most signatures of one JWS that are read.
pub const MAX_JWS_SIGNATURES: usize = 16;

/// Why bytes are no JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JwsError {
    /// Over [`MAX_JWS_JSON_BYTES`].
    #[error("over {MAX_JWS_JSON_BYTES} bytes")]
    TooLarge,
    /// Over [`MAX_JWS_SIGNATURES`].
    #[error("more than {MAX_JWS_SIGNATURES} signatures")]
    TooManySignatures,
    /// No JSON object with the members of a JWS, each once and of the right type.
    #[error("not a JWS")]
    Malformed,
    /// `signatures` stands beside `signature`, `protected` or `header` (RFC 7515, section 7.2.2).
    #[error("general and flattened syntax are mixed")]
    MixedSyntax,
    /// A header is not the base64url of a JSON object, or names a member twice.
    #[error("malformed header")]
    Header,
    /// A parameter stands in the protected and in the unprotected header (RFC 7515, section
    /// 7.2.1).
    #[error("a header parameter is protected and unprotected")]
    HeaderConflict,
    /// `crit` or `b64` stands in the unprotected header (RFC 7515, section 4.1.11; RFC 7797,
    /// section 3).
    #[error("crit or b64 is not protected")]
    Unprotected,
    /// The signatures disagree on `b64` (RFC 7797, section 3).
    #[error("the signatures disagree on b64")]
    MixedB64,
    /// A payload or signature is not base64url.
    #[error("not base64url")]
    Base64,
}

/// A JWS payload as it goes into the signing input.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// The base64url text that was transmitted.
    Encoded(&'a str),
    /// The octets, to be encoded: a detached payload.
    Octets(&'a [u8]),
    /// The octets as they are: `b64` is false (RFC 7797, section 3).
    Unencoded(&'a [u8]),
}

/// What is signed: `protected`, a dot, and the payload (RFC 7515, section 5.1). `protected` is the
/// base64url text of the protected header, empty where there is none.
#[must_use]
pub fn signing_input(protected: &str, payload: Payload<'_>) -> Vec<u8> {
    let encoded;
    let payload = match payload {
        Payload::Encoded(text) => text.as_bytes(),
        Payload::Octets(octets) => {
            encoded = URL_SAFE_NO_PAD.encode(octets);
            encoded.as_bytes()
        }
        Payload::Unencoded(octets) => octets,
    };
    [protected.as_bytes(), b".", payload].concat()
}

/// One signature of a JWS with what it signs. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct JwsParts {
    /// The base64url text of the protected header; empty where there is none.
    pub protected: String,
    /// The JSON text of the unprotected header.
    pub unprotected: Option<String>,
    /// The payload as transmitted; `None` where it is detached. In compact form a detached payload
    /// is an empty part, which is also an empty payload.
    pub payload: Option<String>,
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// `alg`, from either header.
    pub alg: Option<String>,
    /// `kid`, from either header.
    pub kid: Option<String>,
    /// `b64`; true where it is absent.
    pub b64: bool,
    /// `crit`; `None` where it is absent. With `b64` false it must list `b64` (RFC 7797,
    /// section 6), which is left to the caller to judge.
    pub crit: Option<Vec<String>>,
}

impl fmt::Debug for JwsParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwsParts")
            .field("alg", &self.alg)
            .field("kid", &self.kid)
            .field("b64", &self.b64)
            .finish_non_exhaustive()
    }
}

impl JwsParts {
    /// Reads the compact serialisation. With `b64` false the payload is everything between the
    /// first and the last dot, as it is.
    ///
    /// # Errors
    /// Where it has no three parts, or the header or signature do not decode.
    pub fn compact(token: &str) -> Result<Self, JwsError> {
        let (protected, rest) = token.split_once('.').ok_or(JwsError::Malformed)?;
        let (payload, signature) = rest.rsplit_once('.').ok_or(JwsError::Malformed)?;
        Self::new(protected, None, Some(payload), signature)
    }

    fn new(
        protected: &str,
        unprotected: Option<&str>,
        payload: Option<&str>,
        signature: &str,
    ) -> Result<Self, JwsError> {
        let mut header = Header::default();
        let mut names = Names(Vec::new());
        if !protected.is_empty() {
            let json = URL_SAFE_NO_PAD.decode(protected).map_err(|_| JwsError::Header)?;
            let json = std::str::from_utf8(&json).map_err(|_| JwsError::Header)?;
            (header, names) = read_header(json)?;
        }
        if let Some(unprotected) = unprotected {
            let (open, open_names) = read_header(unprotected)?;
            if open_names.0.iter().any(|name| names.contains(name)) {
                return Err(JwsError::HeaderConflict);
            }
            if open_names.contains("crit") || open_names.contains("b64") {
                return Err(JwsError::Unprotected);
            }
            header.alg = header.alg.or(open.alg);
            header.kid = header.kid.or(open.kid);
        }
        let b64 = header.b64.unwrap_or(true);
        if b64 && payload.is_some_and(|payload| URL_SAFE_NO_PAD.decode(payload).is_err()) {
            return Err(JwsError::Base64);
        }
        Ok(Self {
            protected: protected.into(),
            unprotected: unprotected.map(Into::into),
            payload: payload.map(Into::into),
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwsError::Base64)?,
            alg: header.alg,
            kid: header.kid,
            b64,
            crit: header.crit,
        })
    }

    /// What this signature signs. `detached` is the payload that came another way; it is used
    /// where the JWS carries none, or an empty one. `None` where there is neither.
    #[must_use]
    pub fn signing_input(&self, detached: Option<&[u8]>) -> Option<Vec<u8>> {
        let carried = self.payload.as_deref();
        let payload = match (carried.filter(|text| !text.is_empty()), detached) {
            (None, Some(octets)) if self.b64 => Payload::Octets(octets),
            (None, Some(octets)) => Payload::Unencoded(octets),
            (text, _) if self.b64 => Payload::Encoded(text.or(carried)?),
            (text, _) => Payload::Unencoded(text.or(carried)?.as_bytes()),
        };
        Some(signing_input(&self.protected, payload))
    }
}

/// The header parameters that decide what is signed and how.
#[derive(Default, Deserialize)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    b64: Option<bool>,
    crit: Option<Vec<String>>,
}

fn read_header(json: &str) -> Result<(Header, Names), JwsError> {
    let names = serde_json::from_str(json).map_err(|_| JwsError::Header)?;
    let header = serde_json::from_str(json).map_err(|_| JwsError::Header)?;
    Ok((header, names))
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signatures: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    protected: Option<Cow<'a, str>>,
    #[serde(borrow)]
    header: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
}

/// Reads a JWS in JSON, general or flattened: one value a signature. All are signatures over one
/// payload, and which of them must be good is the application's choice (RFC 7515, section 5.2).
///
/// # Errors
/// [`JwsError`]. One malformed signature makes the JWS malformed.
pub fn jws_json(bytes: &[u8]) -> Result<Vec<JwsParts>, JwsError> {
    if bytes.len() > MAX_JWS_JSON_BYTES {
        return Err(JwsError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| JwsError::Malformed)?;
    let jws = members(text)?;
    let payload = jws.payload.as_deref();
    let Some(signatures) = &jws.signatures else {
        return Ok(vec![jws.parts(payload)?]);
    };
    if jws.signature.is_some() || jws.protected.is_some() || jws.header.is_some() {
        return Err(JwsError::MixedSyntax);
    }
    if signatures.len() > MAX_JWS_SIGNATURES {
        return Err(JwsError::TooManySignatures);
    }
    let parts: Vec<JwsParts> = signatures
        .iter()
        .map(|raw| members(raw.get())?.parts(payload))
        .collect::<Result<_, _>>()?;
    let first = parts.first().ok_or(JwsError::Malformed)?;
    if parts.iter().any(|other| other.b64 != first.b64) {
        return Err(JwsError::MixedB64);
    }
    Ok(parts)
}

fn members(text: &str) -> Result<Members<'_>, JwsError> {
    // Names refuses duplicates of every member, also of those that are not read here.
    serde_json::from_str::<Names>(text).map_err(|_| JwsError::Malformed)?;
    serde_json::from_str(text).map_err(|_| JwsError::Malformed)
}

impl Members<'_> {
    fn parts(&self, payload: Option<&str>) -> Result<JwsParts, JwsError> {
        let signature = self.signature.as_deref().ok_or(JwsError::Malformed)?;
        let protected = self.protected.as_deref().unwrap_or_default();
        // A header must exist, and an empty one must be absent (RFC 7515, section 7.2.1).
        if protected.is_empty() && (self.protected.is_some() || self.header.is_none()) {
            return Err(JwsError::Header);
        }
        JwsParts::new(protected, self.header.map(RawValue::get), payload, signature)
    }
}
