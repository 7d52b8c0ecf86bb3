//! The judge: finds a request's tokens, decodes each distinct one once, and judges how they
//! stand together.

use std::sync::Arc;

use hashlink::LruCache;
use smallvec::SmallVec;

use super::{
    Fingerprint, FingerprintKey, Token,
    decode::{DecodeOptions, Decoded, Kind, decode},
    extract::{Candidate, Location, extract},
    header::EMBEDDED_JWK,
    json::Value,
};
use crate::{
    finding::{Finding, FindingId},
    http::Request,
};

/// How a [`Judge`] is set up.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// Names of further header fields that carry tokens, in any case.
    pub extra_headers: Vec<String>,
    /// Longer tokens are reported and not decoded.
    pub max_token_bytes: usize,
    /// Distinct tokens that are kept decoded; [`CACHE_BYTES_PER_ENTRY`] bounds their memory.
    pub cache_entries: usize,
    /// The key of the fingerprints.
    pub fingerprint_key: FingerprintKey,
}

impl JudgeConfig {
    /// The defaults: no further headers, tokens up to 16 KiB, 16,384 tokens kept.
    #[must_use]
    pub fn new(fingerprint_key: FingerprintKey) -> Self {
        Self {
            extra_headers: Vec::new(),
            max_token_bytes: DecodeOptions::default().max_token_bytes,
            cache_entries: 16_384,
            fingerprint_key,
        }
    }
}

/// All decoded tokens together take no more than this times the number of entries.
pub const CACHE_BYTES_PER_ENTRY: usize = 4_096;

/// What a [`Judge`] has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounters {
    /// Tokens that were found decoded.
    pub known: u64,
    /// Tokens that had to be decoded.
    pub decoded: u64,
    /// Tokens that the captured beginning of a body cut off: not judged.
    pub incomplete: u64,
    /// Tokens, cookies or parameters beyond a limit: not judged.
    pub over_limit: u64,
}

/// The tokens of a request, and what is wrong with how it carries them.
#[derive(Debug, Default)]
pub struct TokenReport {
    /// In the order of the request.
    pub tokens: SmallVec<[Token; 1]>,
    /// Findings that concern no token alone.
    pub findings: Vec<Finding>,
}

/// Finds and judges the tokens of requests. Pure but for its cache, which changes no result.
pub struct Judge {
    extra_headers: Vec<Box<str>>,
    options: DecodeOptions,
    key: FingerprintKey,
    cache: Cache,
    counters: TokenCounters,
}

impl Judge {
    /// A judge with an empty cache.
    #[must_use]
    pub fn new(config: JudgeConfig) -> Self {
        let extra_headers = config.extra_headers.into_iter();
        Self {
            extra_headers: extra_headers.map(|h| h.to_ascii_lowercase().into()).collect(),
            options: DecodeOptions { max_token_bytes: config.max_token_bytes, claims: true },
            key: config.fingerprint_key,
            cache: Cache {
                decoded: LruCache::with_hasher(
                    config.cache_entries.max(1),
                    foldhash::fast::FixedState::default(),
                ),
                bytes: 0,
                max_bytes: config.cache_entries.saturating_mul(CACHE_BYTES_PER_ENTRY),
            },
            counters: TokenCounters::default(),
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> TokenCounters {
        self.counters
    }

    /// Judges a request's tokens. Reads the request and nothing else; [`Request::last_byte`] is
    /// its time.
    pub fn judge(&mut self, request: &Request) -> TokenReport {
        let found = extract(request, &self.extra_headers);
        self.counters.incomplete += u64::from(found.incomplete);
        self.counters.over_limit += u64::from(found.over_limit);
        let tokens = found.candidates.into_iter().filter_map(|c| self.token(c)).collect();
        let mut report = TokenReport { tokens, findings: Vec::new() };
        judge_together(&mut report);
        report
    }

    fn token(&mut self, candidate: Candidate<'_>) -> Option<Token> {
        let Candidate { location, scheme, kind, bytes } = candidate;
        let fingerprint = self.key.fingerprint(&bytes);
        let mut token = Token {
            location,
            scheme,
            kind,
            fingerprint,
            bytes: bytes.len(),
            decoded: None,
            findings: Vec::new(),
        };
        if kind == Kind::Opaque {
            return Some(token);
        }
        let decoded = match self.cache.decoded.get(&fingerprint) {
            Some(decoded) => {
                self.counters.known += 1;
                Arc::clone(decoded)
            }
            None => {
                self.counters.decoded += 1;
                let decoded = Arc::new(decode(&bytes, &self.options));
                self.cache.insert(fingerprint, Arc::clone(&decoded));
                decoded
            }
        };
        // Signed session cookies of other formats look alike: three parts, the first of them
        // JSON. A service that asks for a JWT takes neither.
        if matches!(token.location, Location::Cookie(_))
            && decoded.header().is_none_or(|h| h.get("alg").is_none())
            && decoded.claims().is_none()
            && bytes.len() <= self.options.max_token_bytes
        {
            return None;
        }
        token.kind = decoded.kind();
        token.findings = decoded.findings().to_vec();
        if token.location == Location::Dpop && is_dpop_proof(&decoded) {
            // RFC 9449, section 4.2: the proof brings its public key, and no private one.
            token.findings.retain(|f| f.detail != EMBEDDED_JWK);
        }
        token.decoded = Some(decoded);
        Some(token)
    }
}

fn is_dpop_proof(decoded: &Decoded) -> bool {
    let typ = decoded.header().and_then(|h| h.get("typ")).and_then(Value::as_str);
    typ.is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt"))
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("extra_headers", &self.extra_headers)
            .field("cached", &self.cache.decoded.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Decoded tokens, the least recently seen first to go.
struct Cache {
    decoded: LruCache<Fingerprint, Arc<Decoded>, foldhash::fast::FixedState>,
    bytes: usize,
    max_bytes: usize,
}

impl Cache {
    fn insert(&mut self, fingerprint: Fingerprint, decoded: Arc<Decoded>) {
        let memory = decoded.memory();
        if memory > self.max_bytes {
            return;
        }
        self.bytes += memory;
        // Room is made first, so that the map itself never drops what is not accounted for.
        while self.decoded.len() >= self.decoded.capacity() || self.bytes > self.max_bytes {
            match self.decoded.remove_lru() {
                Some((_, old)) => self.bytes = self.bytes.saturating_sub(old.memory()),
                None => break,
            }
        }
        if let Some(old) = self.decoded.insert(fingerprint, decoded) {
            self.bytes = self.bytes.saturating_sub(old.memory());
        }
    }
}

/// Whether a service that looks at two places in turn may take either token for the caller's.
///
/// - RFC 6750, section 2, has three methods (field, form parameter, query parameter) and forbids
///   more than one in a request; WebSocket handshakes stand in for the field.
/// - One place that is filled twice is read differently by different services (for DPoP proofs
///   see RFC 9449, section 4.3). Cookies of one name are legal, and so is a JSON body of many.
/// - Any other place (session cookies, gateways' header fields, invitations in a query) is
///   benign beside an access token, unless both would pass the same check: same issuer, same
///   audience, and another subject.
/// - Tokens that are the matter of a request and not its credentials (refresh and ID tokens,
///   assertions, tokens to revoke) and proofs of possession stand beside an access token by right.
fn ambiguous(a: &Standing<'_>, b: &Standing<'_>) -> bool {
    let (one, other) = (&a.token.location, &b.token.location);
    let repeatable = matches!(one, Location::Cookie(_) | Location::Json(_) | Location::Body);
    if a.token.fingerprint == b.token.fingerprint {
        false
    } else if one == other && !repeatable {
        true
    } else {
        match (a.role, b.role) {
            (Role::Matter, _) | (_, Role::Matter) => false,
            (Role::Method, Role::Method) => true,
            _ => {
                a.issuer.is_some()
                    && a.issuer == b.issuer
                    && a.audience == b.audience
                    && a.subject.zip(b.subject).is_some_and(|(a, b)| a != b)
            }
        }
    }
}

/// What a token is in its request.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Credentials by a method of RFC 6750.
    Method,
    /// Credentials by another way.
    Beside,
    /// What the request is about, or a proof.
    Matter,
}

/// A token with what [`ambiguous`] compares, the claims as they are written.
struct Standing<'a> {
    token: &'a Token,
    role: Role,
    issuer: Option<&'a [u8]>,
    subject: Option<&'a [u8]>,
    audience: Option<&'a [u8]>,
}

impl<'a> Standing<'a> {
    fn new(token: &'a Token) -> Self {
        let role = match &token.location {
            Location::Authorization | Location::WebSocketProtocol => Role::Method,
            Location::Query(name) | Location::Form(name) if name == "access_token" => Role::Method,
            Location::Query(name) if name == "token" || name == "jwt" => Role::Beside,
            Location::Cookie(_) | Location::Header(_) => Role::Beside,
            _ => Role::Matter,
        };
        let claims = token.decoded.as_ref().and_then(|d| d.claims());
        let claim = |name| claims.and_then(|c| c.get(name)).map(Value::raw);
        let (issuer, subject, audience) = (claim("iss"), claim("sub"), claim("aud"));
        Self { token, role, issuer, subject, audience }
    }
}

fn judge_together(report: &mut TokenReport) {
    for token in &mut report.tokens {
        if let Location::Query(name) = &token.location {
            let detail = format!("parameter {name}");
            token.findings.push(Finding::new(FindingId::TokenInQuery, detail));
        }
    }
    if report.tokens.len() < 2 {
        return;
    }
    let standings: SmallVec<[Standing<'_>; 4]> = report.tokens.iter().map(Standing::new).collect();
    // At most MAX_CANDIDATES tokens: no more than 120 pairs.
    let pair = standings.iter().enumerate().find_map(|(k, a)| {
        let behind = standings.get(k + 1..)?;
        behind.iter().find(|b| ambiguous(a, b)).map(|b| (a.token, b.token))
    });
    if let Some((a, b)) = pair {
        let detail = format!("{} and {} carry different tokens", a.location, b.location);
        report.findings.push(Finding::new(FindingId::TokenMultiple, detail));
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
