//! What a token is by its bytes alone: parts, header, claims, and what is wrong with them that
//! needs no key. Live capture, replay and `inspect` share this judge.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

use super::header::{self, Facts};
use crate::{
    base64url::{self, Irregularities},
    finding::{Finding, FindingId},
    json::{self, Kind as JsonKind, Node, Problem, Value},
    show::show,
};

/// Signatures that are read of one JWS in JSON serialisation; more are malformed.
pub const MAX_SIGNATURES: usize = 8;
/// A token size limit above this is taken as this, so that every offset fits 32 bits.
const MAX_TOKEN_BYTES: usize = 1 << 24;

/// What shape a token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Signed, compact: three parts (RFC 7515, section 7.1).
    Jws,
    /// Encrypted, compact: five parts (RFC 7516, section 7.1).
    Jwe,
    /// Signed, in JSON serialisation, general or flattened (RFC 7515, section 7.2).
    JwsJson,
    /// No JWT: nothing but its fingerprint is known.
    Opaque,
}

impl Kind {
    /// The stable name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::Jwe => "jwe",
            Self::JwsJson => "jws-json",
            Self::Opaque => "opaque",
        }
    }
}

/// What [`decode`] is to ask of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Longer tokens are not decoded. Default 16 KiB.
    pub max_token_bytes: usize,
    /// Whether the payload has to be a JSON object of claims (RFC 7519, section 7.2). Without,
    /// header and signature alone are judged.
    pub claims: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { max_token_bytes: 16 * 1024, claims: true }
    }
}

/// A half-open byte range.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One signature with its header; offsets into [`Decoded::text`].
#[derive(Clone, Copy, Default)]
struct SignaturePart {
    /// The header that the signature covers, and the one that it does not.
    protected: Option<u32>,
    unprotected: Option<u32>,
    /// JSON serialisation only: the protected header as encoded.
    encoded: Span,
    bytes: Span,
}

/// A token, decoded and judged without keys. Depends on the token's bytes and on nothing else.
///
/// Holds its header, claims and signature, but not the token. `Debug` shows sizes and findings.
pub struct Decoded {
    kind: Kind,
    /// Decoded header, payload and signature behind each other, and what else nodes point into.
    text: Vec<u8>,
    nodes: Vec<Node>,
    signatures: SmallVec<[SignaturePart; 1]>,
    payload: Span,
    claims: Option<u32>,
    /// Compact: the signing input in the token. JSON: the encoded payload in `text`.
    signed: Span,
    findings: Vec<Finding>,
}

impl Decoded {
    /// What shape it has; of a malformed token, the shape that it comes nearest to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wrong with it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The claims: the payload, where it is a JSON object.
    #[must_use]
    pub fn claims(&self) -> Option<Value<'_>> {
        self.claims.map(|root| self.value(root))
    }

    /// The decoded payload; empty for an encrypted token.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload.of(&self.text)
    }

    /// The header of the first signature, or of the encrypted token.
    #[must_use]
    pub fn header(&self) -> Option<Header<'_>> {
        self.signatures().next().map(|s| s.header)
    }

    /// The signatures, each with its header: one in compact serialisation, also where it is
    /// empty, up to [`MAX_SIGNATURES`] in JSON. An encrypted token has one with no bytes.
    pub fn signatures(&self) -> impl Iterator<Item = Signature<'_>> {
        self.signatures.iter().map(|part| Signature {
            decoded: self,
            header: Header {
                protected: part.protected.map(|root| self.value(root)),
                unprotected: part.unprotected.map(|root| self.value(root)),
            },
            part: *part,
        })
    }

    fn value(&self, root: u32) -> Value<'_> {
        Value::new(&self.text, &self.nodes, root)
    }

    /// Bytes of memory that it takes, near enough to bound a cache.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.text.capacity()
            + self.nodes.capacity() * size_of::<Node>()
            + self.findings.capacity() * size_of::<Finding>()
            + self.findings.iter().map(|f| f.detail.len()).sum::<usize>()
            + if self.signatures.spilled() {
                self.signatures.capacity() * size_of::<SignaturePart>()
            } else {
                0
            }
    }

    /// Gives back the memory that was too much: what is kept may be kept for long.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.nodes.shrink_to_fit();
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("kind", &self.kind)
            .field("decoded_bytes", &self.text.len())
            .field("signatures", &self.signatures.len())
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// A JOSE header: in JSON serialisation the union of a protected and an unprotected part.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The part that the signature covers.
    pub protected: Option<Value<'a>>,
    /// The part that it does not cover; JSON serialisation only.
    pub unprotected: Option<Value<'a>>,
}

impl<'a> Header<'a> {
    /// The parameter of this name, the protected one before the unprotected.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let get = |part: Option<Value<'a>>| part.and_then(|part| part.get(name));
        get(self.protected).or_else(|| get(self.unprotected))
    }

    /// All parameters; of several of one name the last is the one that [`Self::get`] gives.
    pub(crate) fn members_by_bytes(self) -> impl Iterator<Item = (Cow<'a, [u8]>, Value<'a>)> {
        let parts = [self.unprotected, self.protected];
        parts.into_iter().flatten().flat_map(Value::members_by_bytes)
    }
}

/// One signature of a token.
pub struct Signature<'a> {
    decoded: &'a Decoded,
    /// Its header.
    pub header: Header<'a>,
    part: SignaturePart,
}

impl<'a> Signature<'a> {
    /// The signature's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.part.bytes.of(&self.decoded.text)
    }

    /// The signing input (RFC 7515, section 5.2, step 8; RFC 7797, section 3). `token` is what was
    /// decoded: the signing input of a compact token is its beginning, borrowed.
    #[must_use]
    pub fn signing_input<'t>(&self, token: &'t [u8]) -> Cow<'t, [u8]> {
        let decoded = self.decoded;
        if decoded.kind == Kind::JwsJson {
            let parts = [self.part.encoded, decoded.signed].map(|span| span.of(&decoded.text));
            Cow::Owned(parts.join(&b'.'))
        } else {
            Cow::Borrowed(decoded.signed.of(token))
        }
    }
}

impl fmt::Debug for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("bytes", &self.bytes().len()).finish_non_exhaustive()
    }
}

/// Decodes and judges a token: compact, or a JWS in JSON serialisation where it begins with `{`.
///
/// Never fails: what is wrong is a finding, and what can be read in spite of it is read, since a
/// lenient service reads it too. Linear in the token but for the sorting of member names.
#[must_use]
pub fn decode(token: &[u8], options: &DecodeOptions) -> Decoded {
    let json = token.trim_ascii_start().first() == Some(&b'{');
    let limit = options.max_token_bytes.min(MAX_TOKEN_BYTES);
    let mut builder = Builder {
        options,
        decoded: Decoded {
            kind: if json { Kind::JwsJson } else { Kind::Jws },
            text: Vec::new(),
            nodes: Vec::new(),
            signatures: SmallVec::new(),
            payload: Span::default(),
            claims: None,
            signed: Span::default(),
            findings: Vec::new(),
        },
    };
    if token.len() > limit {
        builder.add(
            FindingId::TokenTooLarge,
            format!("{} bytes where the limit is {limit}", token.len()),
        );
    } else if json {
        builder.json(token);
    } else {
        builder.compact(token);
    }
    builder.decoded
}

struct Builder<'o> {
    options: &'o DecodeOptions,
    decoded: Decoded,
}

impl Builder<'_> {
    fn add(&mut self, id: FindingId, detail: impl Into<Cow<'static, str>>) {
        self.decoded.findings.push(Finding::new(id, detail));
    }

    fn compact(&mut self, token: &[u8]) {
        /// Parts that are looked at; a token of more has no meaning anyway.
        const MAX_PARTS: usize = 6;
        let mut parts: SmallVec<[&[u8]; MAX_PARTS]> = SmallVec::new();
        let mut start = 0;
        for dot in memchr::memchr_iter(b'.', token).chain([token.len()]).take(MAX_PARTS) {
            parts.push(token.get(start..dot).unwrap_or_default());
            start = dot + 1;
        }
        self.decoded.text.reserve_exact(base64url::decoded_len(token.len()) + 4);
        // Values and names have 24 encoded bytes and more each in most tokens, with the signature.
        self.decoded.nodes.reserve_exact((token.len() / 24).min(json::MAX_NODES));
        match *parts.as_slice() {
            [head, payload, signature] => {
                self.decoded.signed = Span::new(0, head.len() + 1 + payload.len());
                self.jws(head, Some(payload), Some(signature));
            }
            [head, key, iv, ciphertext, tag] => {
                self.decoded.kind = Kind::Jwe;
                self.jwe(head, [key, iv, ciphertext, tag]);
            }
            _ => {
                let count = match parts.len() {
                    1 => "1 part",
                    2 => "2 parts",
                    4 => "4 parts",
                    _ => "more than 5 parts",
                };
                self.add(
                    FindingId::TokenMalformed,
                    format!("{count} where a signed token has 3 and an encrypted one 5"),
                );
                self.jws(parts.first().copied().unwrap_or_default(), parts.get(1).copied(), None);
            }
        }
    }

    /// Judges a compact JWS. That parts are missing has been reported.
    fn jws(&mut self, head: &[u8], payload: Option<&[u8]>, signature: Option<&[u8]>) {
        let text = self.part("header", head);
        let protected = self.object("header", text);
        let facts = self.header(protected, None, false);
        if let Some(payload) = payload {
            self.payload(payload, &facts);
        }
        let bytes = signature.map(|s| self.signature(s, &facts)).unwrap_or_default();
        self.decoded.signatures.push(SignaturePart { protected, bytes, ..Default::default() });
    }

    /// Judges a compact JWE; what is encrypted is checked and not kept.
    fn jwe(&mut self, head: &[u8], rest: [&[u8]; 4]) {
        let text = self.part("header", head);
        let protected = self.object("header", text);
        let facts = self.header(protected, None, true);
        let kept = self.decoded.text.len();
        for (name, part) in
            ["encrypted key", "initialization vector", "ciphertext", "tag"].into_iter().zip(rest)
        {
            let span = self.part(name, part);
            let empty = span.start == span.end;
            self.decoded.text.truncate(kept);
            // RFC 7516, section 5.2, steps 10 and 11; only the plaintext may be empty.
            let wrong = match name {
                "encrypted key" if facts.direct && !empty => "is not empty with direct encryption",
                "encrypted key" if !facts.direct && facts.alg && empty => "is empty",
                "tag" if empty => "is empty",
                _ => continue,
            };
            self.add(FindingId::TokenMalformed, format!("{name} {wrong}"));
        }
        self.decoded.signatures.push(SignaturePart { protected, ..Default::default() });
    }

    /// Judges a JWS in JSON serialisation.
    fn json(&mut self, token: &[u8]) {
        self.decoded.text.extend_from_slice(token);
        let Some(root) = self.object("JSON serialisation", Span::new(0, token.len())) else {
            return;
        };
        let (payload, parts, more) = {
            let root = self.decoded.value(root);
            let payload = root.get("payload").and_then(Value::as_str).map(|p| p.into_owned());
            let mut list: Vec<Value<'_>> = match root.get("signatures") {
                Some(list) => list.elements().take(MAX_SIGNATURES + 1).collect(),
                None => vec![root],
            };
            let more = list.len() > MAX_SIGNATURES;
            list.truncate(MAX_SIGNATURES);
            let text = |v: Option<Value<'_>>| v.and_then(Value::as_str).map(|s| s.into_owned());
            let parts: Vec<_> = list
                .iter()
                .map(|v| {
                    let unprotected = v.get("header").filter(|h| h.kind() == JsonKind::Object);
                    let unprotected = unprotected.map(Value::index);
                    (text(v.get("protected")), unprotected, text(v.get("signature")))
                })
                .collect();
            (payload, parts, more)
        };
        if more {
            self.add(
                FindingId::TokenMalformed,
                format!("more than {MAX_SIGNATURES} signatures, the rest is not read"),
            );
        }
        if parts.is_empty() {
            self.add(FindingId::TokenMalformed, "signatures is not a list of signatures");
        }
        let mut encoded_payload = None;
        for (protected, unprotected, signature) in parts {
            let mut part = SignaturePart { unprotected, ..Default::default() };
            if let Some(protected) = &protected {
                part.encoded = self.append(protected);
                let text = self.part("header", protected.as_bytes());
                part.protected = self.object("header", text);
            } else if unprotected.is_none() {
                self.add(FindingId::TokenMalformed, "a signature has no header");
            }
            let facts = self.header(part.protected, unprotected, false);
            match signature {
                Some(signature) => part.bytes = self.signature(signature.as_bytes(), &facts),
                None => self.add(FindingId::TokenMalformed, "signature is not a string"),
            }
            // RFC 7797, section 3: the same for all signatures.
            if *encoded_payload.get_or_insert(facts.b64) != facts.b64 {
                self.add(FindingId::TokenMalformed, "b64 differs between signatures");
            }
            self.decoded.signatures.push(part);
        }
        match payload {
            Some(payload) => {
                self.decoded.signed = self.append(&payload);
                let b64 = encoded_payload.unwrap_or(true);
                self.payload(payload.as_bytes(), &Facts { b64, ..Facts::default() });
            }
            None if self.options.claims => {
                self.add(FindingId::TokenMalformed, "payload is not a string");
            }
            // Detached content (RFC 7515, appendix F).
            None => {}
        }
    }

    fn append(&mut self, text: &str) -> Span {
        let start = self.decoded.text.len();
        self.decoded.text.extend_from_slice(text.as_bytes());
        Span::new(start, self.decoded.text.len())
    }

    /// Decodes one part to the end of the text.
    fn part(&mut self, name: &str, encoded: &[u8]) -> Span {
        let start = self.decoded.text.len();
        let irregular = base64url::decode(encoded, &mut self.decoded.text);
        if irregular.contains(Irregularities::LENGTH) {
            self.add(
                FindingId::TokenMalformed,
                format!("{name} has a length that no base64url has"),
            );
        }
        let irregular = irregular.without(Irregularities::LENGTH);
        if !irregular.is_empty() {
            self.add(FindingId::TokenNonCanonicalBase64, format!("{name}: {irregular}"));
        }
        Span::new(start, self.decoded.text.len())
    }

    /// Parses the last piece of the text as a JSON object.
    fn object(&mut self, name: &str, text: Span) -> Option<u32> {
        let decoded = &mut self.decoded;
        let (id, detail) = match json::parse(&decoded.text, text.start as usize, &mut decoded.nodes)
        {
            Ok((root, duplicate)) => {
                if let Some(index) = duplicate {
                    let member = show(&decoded.value(index).name()).into_owned();
                    self.add(
                        FindingId::TokenDuplicateKey,
                        format!("{name} has member {member} twice"),
                    );
                }
                if self.decoded.value(root).kind() == JsonKind::Object {
                    return Some(root);
                }
                (FindingId::TokenMalformed, format!("{name} is not a JSON object"))
            }
            Err(error) => match error.problem {
                Problem::TooDeep => (
                    FindingId::TokenTooDeep,
                    format!("{name} nests deeper than {} levels", json::MAX_DEPTH),
                ),
                Problem::TooMany => (
                    FindingId::TokenTooLarge,
                    format!("{name} has more than {} values and names", json::MAX_NODES),
                ),
                _ => (FindingId::TokenMalformed, format!("{name} is not JSON: {error}")),
            },
        };
        self.add(id, detail);
        None
    }

    fn header(&mut self, protected: Option<u32>, unprotected: Option<u32>, jwe: bool) -> Facts {
        if protected.is_none() && unprotected.is_none() {
            return Facts::default();
        }
        let mut findings = std::mem::take(&mut self.decoded.findings);
        let header = Header {
            protected: protected.map(|root| self.decoded.value(root)),
            unprotected: unprotected.map(|root| self.decoded.value(root)),
        };
        let facts = header::judge(header, jwe, &mut findings);
        self.decoded.findings = findings;
        facts
    }

    fn payload(&mut self, payload: &[u8], facts: &Facts) {
        let span = if facts.b64 {
            self.part("payload", payload)
        } else {
            let start = self.decoded.text.len();
            self.decoded.text.extend_from_slice(payload);
            Span::new(start, self.decoded.text.len())
        };
        self.decoded.payload = span;
        if !self.options.claims {
            return;
        }
        if span.start == span.end {
            self.add(FindingId::TokenMalformed, "payload is empty");
        } else if !(facts.nested && base64url::begins_json_object(span.of(&self.decoded.text))) {
            self.decoded.claims = self.object("payload", span);
        }
    }

    fn signature(&mut self, signature: &[u8], facts: &Facts) -> Span {
        let span = self.part("signature", signature);
        if span.start == span.end && facts.alg && !facts.none {
            self.add(FindingId::SignatureEmpty, "the header names an algorithm");
        }
        span
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
