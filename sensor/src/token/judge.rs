//! The judge: finds a request's tokens, decodes each distinct one once, and judges how they
//! stand together.

mod cache;
mod together;
mod vouched;

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use smallvec::SmallVec;

pub use self::together::Role;
use self::{
    cache::{Cache, Cached},
    together::judge_together,
};
use super::{
    Beginning, FingerprintKey, Token,
    decode::{DecodeOptions, Decoded, Kind, decode},
    dpop::{self, Proof},
    extract::{Candidate, Location, extract},
    facts::{Facts, Identity},
    header::EMBEDDED_JWK,
    lookup::LookupKey,
    validate::{Policy, Validation},
};
use crate::{
    finding::{Finding, FindingId, Severity},
    http::Request,
    json::Value,
    keys::{Algorithm, Family, Key, KeyStore, Learned, Pin, issuer_name},
    time::Time,
    token::guard_keys::{TokenKey, TokenKeys},
    weak::HmacSample,
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
    /// Keep what the secret of an HMAC can be guessed against.
    pub hmac_samples: bool,
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
            hmac_samples: false,
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

/// A token's structure, with what was made of it once for all its uses.
#[derive(Debug)]
pub struct Known {
    decoded: Decoded,
    /// Held against the keys and the policy of the time.
    pub validation: Validation,
    /// What stands for its parts.
    pub digests: Digests,
    /// What it says as a proof of possession; of what stands in the `DPoP` field only.
    pub proof: Option<Proof>,
    /// Where asked for, and it is signed with an HMAC.
    pub hmac: Option<Arc<HmacSample>>,
    facts: Facts,
    harmless: AtomicBool,
    identity: OnceLock<Identity>,
}

impl Known {
    /// Whom it names; `hash` is asked once.
    pub fn identity(&self, hash: impl FnOnce(&Facts) -> Identity) -> Identity {
        *self.identity.get_or_init(|| hash(&self.facts))
    }

    /// Whether [`note_harmless`](Self::note_harmless) was called.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        self.harmless.load(Ordering::Relaxed)
    }

    /// Remembers that there is nothing of an attack on services in the claims, so that they need
    /// not be looked at again.
    pub fn note_harmless(&self) {
        self.harmless.store(true, Ordering::Relaxed);
    }

    /// Who it is about and what it allows.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Bytes of memory that it takes, near enough to bound a cache.
    fn memory(&self) -> usize {
        size_of::<Self>() - size_of::<Decoded>()
            + self.decoded.memory()
            + self.facts.memory()
            + self.hmac.as_ref().map_or(0, |sample| sample.memory())
    }
}

impl std::ops::Deref for Known {
    type Target = Decoded;

    fn deref(&self) -> &Decoded {
        &self.decoded
    }
}

/// Keyed hashes of a token's parts, under the fingerprint's key: equal parts are told without
/// keeping them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Over the first signature's decoded bytes.
    pub signature: u128,
    /// How many bytes that signature has; 0 without one.
    pub signature_len: usize,
    /// Over the signing input of the first signature.
    pub signing_input: u128,
    /// What the token is denied by.
    pub deny_key: TokenKey,
}

/// Which keys and policy a [`Judge`] trusts: another one each time that they change in a way that a
/// token could be judged otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysVersion(u64);

/// Finds and judges the tokens of requests. Pure but for its cache, which changes no result.
pub struct Judge {
    extra_headers: Vec<Box<str>>,
    options: DecodeOptions,
    key: FingerprintKey,
    lookup: LookupKey,
    token_keys: TokenKeys,
    keys: Arc<KeyStore>,
    policy: Arc<Policy>,
    version: KeysVersion,
    hmac_samples: bool,
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
            token_keys: TokenKeys::new(&config.fingerprint_key),
            lookup: LookupKey::new(&config.fingerprint_key),
            key: config.fingerprint_key,
            keys: Arc::default(),
            policy: Arc::default(),
            version: KeysVersion::default(),
            hmac_samples: config.hmac_samples,
            cache: Cache::new(config.cache_entries),
            counters: TokenCounters::default(),
        }
    }

    /// Holds tokens against these keys and this policy from now on. What is known of tokens is
    /// made anew. Keys that were learned so far stay, but for those of issuers that have keys now.
    pub fn trust(&mut self, mut keys: Arc<KeyStore>, policy: Arc<Policy>) {
        if self.keys.learned().next().is_some() {
            Arc::make_mut(&mut keys).inherit(&self.keys);
        }
        self.keys = keys;
        self.policy = policy;
        self.judge_anew();
    }

    /// Trusts what another judge trusts, from now on.
    pub fn adopt(&mut self, keys: Arc<KeyStore>, policy: Arc<Policy>, version: KeysVersion) {
        if version != self.version {
            (self.keys, self.policy) = (keys, policy);
            self.judge_anew();
            self.version = version;
        }
    }

    /// What was judged so far is judged anew.
    fn judge_anew(&mut self) {
        self.version.0 += 1;
        self.cache.clear();
    }

    /// The keys and the policy that tokens are held against.
    #[must_use]
    pub fn trusted(&self) -> (Arc<KeyStore>, Arc<Policy>) {
        (Arc::clone(&self.keys), Arc::clone(&self.policy))
    }

    /// Which ones these are.
    #[must_use]
    pub fn keys_version(&self) -> KeysVersion {
        self.version
    }

    /// Learns keys that were seen in clear, of an issuer by its [`issuer_name`]. Where all
    /// issuers are configured, nothing is learned of another one.
    pub fn learn_keys(&mut self, issuer: &str, keys: Vec<Arc<Key>>, now: Time) -> Learned {
        let names = || self.policy.issuers.iter().filter_map(|policy| policy.issuer.as_deref());
        if self.policy.known_issuers_only && !names().any(|name| issuer_name(name) == issuer) {
            return Learned { refused: keys.len(), ..Learned::default() };
        }
        let learned = Arc::make_mut(&mut self.keys).learn(issuer, keys, now);
        if learned.added > 0 {
            self.judge_anew();
        }
        learned
    }

    /// Puts back a key that was learned earlier; `false` where it has no place.
    pub fn restore_key(&mut self, issuer: &str, key: Arc<Key>, pin: Pin) -> bool {
        let restored = Arc::make_mut(&mut self.keys).restore(issuer, key, pin);
        if restored {
            self.judge_anew();
        }
        restored
    }

    /// Forgets all learned keys.
    pub fn forget_learned(&mut self) {
        Arc::make_mut(&mut self.keys).forget_learned();
        self.judge_anew();
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
        let proven = found.candidates.iter().any(|c| c.location == Location::Dpop);
        let mut proofs = 0;
        let mut report = TokenReport::default();
        for candidate in found.candidates {
            proofs += u32::from(candidate.location == Location::Dpop);
            report.tokens.extend(self.token(candidate, request.last_byte, proofs == 1, proven));
        }
        judge_together(&mut report);
        report
    }

    /// `first_proof`: no proof came before. There may be one (RFC 9449, section 4.3), that there
    /// are more is a finding, and to verify them all would be dear. `proven`: a proof comes with
    /// the request.
    fn token(
        &mut self,
        candidate: Candidate<'_>,
        now: Time,
        first_proof: bool,
        proven: bool,
    ) -> Option<Token> {
        let is_proof = candidate.location == Location::Dpop;
        let mut hashed = None;
        let place = self.lookup.hash(&candidate.bytes).unwrap_or_else(|| {
            let (fingerprint, _) = *hashed.insert(self.key.fingerprint_parts(&candidate.bytes));
            [u128::from_be_bytes(*fingerprint.as_bytes()), 0]
        });
        // What was read as one that is not opaque needs not be read for that again.
        let to_be_read = candidate.is_to_be_read();
        let read = if to_be_read { self.cache.get_read(&place) } else { None };
        let kind = match &read {
            Some(cached) => cached.known.kind(),
            None => candidate.kind(),
        };
        // A proof serves once: it is not kept. An opaque token has nothing to keep.
        let keeps = read.is_some() || kind != Kind::Opaque && !(is_proof && first_proof);
        let kept = match read {
            None if keeps => self.cache.get(&place, to_be_read),
            read => read,
        };
        let Candidate { location, scheme, bytes, .. } = candidate;
        let (fingerprint, kept) = match kept {
            Some(Cached { fingerprint, known, .. }) => (fingerprint, Ok(known)),
            None => {
                let hashed = hashed.unwrap_or_else(|| self.key.fingerprint_parts(&bytes));
                (hashed.0, Err(hashed.1))
            }
        };
        let mut token = Token {
            location,
            scheme,
            kind,
            fingerprint,
            bytes: bytes.len(),
            deny_key: TokenKey::default(),
            decoded: None,
            hash: None,
            findings: Vec::new(),
        };
        if proven && token.location.role() == Role::Method {
            token.hash = Some(dpop::token_hash(&bytes));
        }
        if !keeps && kind == Kind::Opaque {
            token.deny_key = self.token_keys.of(&bytes);
            return Some(token);
        }
        let known = match kept {
            Ok(known) => {
                self.counters.known += 1;
                known
            }
            Err(beginning) => {
                self.counters.decoded += 1;
                if keeps {
                    let known = Arc::new(self.learn(&bytes, &beginning));
                    let cached =
                        Cached { fingerprint, known: Arc::clone(&known), read: to_be_read };
                    self.cache.insert(place, cached);
                    known
                } else {
                    Arc::new(self.learn_proof(&bytes))
                }
            }
        };
        // Signed session cookies of other formats look alike: three parts, the first of them
        // JSON. A service that asks for a JWT takes neither.
        if matches!(token.location, Location::Cookie(_))
            && known.header().is_none_or(|h| h.get("alg").is_none())
            && known.claims().is_none()
            && bytes.len() <= self.options.max_token_bytes
        {
            return None;
        }
        token.kind = known.kind();
        token.deny_key = known.digests.deny_key;
        token.findings = known.findings().to_vec();
        if token.location == Location::Dpop && is_dpop_proof(&known) {
            // RFC 9449, section 4.2: the proof brings its public key, and no private one.
            token.findings.retain(|f| f.detail != EMBEDDED_JWK);
        } else {
            let validation = known.validation.findings.iter();
            token.findings.extend(validation.filter(|f| concerns(f.id, &token.location)).cloned());
            // What a request is about (an ID token to log out with, an expired token to look
            // up) is not held to what a caller's credentials are.
            if token.location.role() != Role::Matter {
                token.findings.extend_from_slice(&known.validation.claim_findings);
                known.validation.at(now, &mut token.findings);
            }
            if let Some(other) = known.validation.other_type
                && token.location.role() == Role::Method
            {
                // One type passed off as another (RFC 8725, section 3.11) is more than one that
                // the issuer does not use.
                token.findings.retain(|f| f.id != FindingId::TypWrong);
                let detail = format!("typ is {other}, which is no access token");
                let severity = Severity::High;
                token
                    .findings
                    .push(Finding { severity, ..Finding::new(FindingId::TypWrong, detail) });
            }
        }
        token.decoded = Some(known);
        Some(token)
    }

    fn learn(&self, token: &[u8], beginning: &Beginning) -> Known {
        let mut decoded = decode(token, &self.options);
        decoded.shrink();
        let validation = Validation::new(token, &decoded, &self.keys, &self.policy);
        let digest = |bytes: &[u8]| u128::from_be_bytes(*self.key.fingerprint(bytes).as_bytes());
        let mut digests = Digests { deny_key: self.token_keys.of(token), ..Digests::default() };
        if let Some(signature) = decoded.signatures().next() {
            let signing_input = match signature.signing_input(token) {
                // It is hashed already.
                Cow::Borrowed(input) if input.len() == beginning.len => {
                    u128::from_be_bytes(*beginning.fingerprint().as_bytes())
                }
                input => digest(&input),
            };
            digests = Digests {
                signature: digest(signature.bytes()),
                signature_len: signature.bytes().len(),
                signing_input,
                ..digests
            };
        }
        let mut facts = Facts::of(&decoded);
        facts.shrink();
        let hmac = match self.hmac_samples {
            true => hmac_sample(token, &decoded).map(Arc::new),
            false => None,
        };
        let harmless = AtomicBool::new(false);
        Known {
            decoded,
            validation,
            digests,
            proof: None,
            hmac,
            facts,
            harmless,
            identity: OnceLock::new(),
        }
    }

    /// As [`learn`](Self::learn), but under the key that the token brings: an issuer's have
    /// nothing to do with it.
    fn learn_proof(&self, token: &[u8]) -> Known {
        let decoded = decode(token, &self.options);
        let validation = Validation::new(token, &decoded, &KeyStore::new(), &self.policy);
        let proof = Some(Proof::new(token, &decoded));
        let facts = Facts::of(&decoded);
        let digests = Digests { deny_key: self.token_keys.of(token), ..Digests::default() };
        let harmless = AtomicBool::new(false);
        Known {
            decoded,
            validation,
            digests,
            proof,
            hmac: None,
            facts,
            harmless,
            identity: OnceLock::new(),
        }
    }
}

/// What the secret of a token's first signature can be guessed against; `None` where that is no
/// whole HMAC.
#[must_use]
pub fn hmac_sample(token: &[u8], decoded: &Decoded) -> Option<HmacSample> {
    let text = |value: Option<Value<'_>>| Some(Box::from(value?.as_str()?));
    let signature = decoded.signatures().next()?;
    let alg = signature.header.get("alg").and_then(Value::as_str)?;
    let alg = Algorithm::from_name(&alg).filter(|alg| alg.family() == Family::Hmac)?;
    if signature.bytes().len() != alg.hash_len() {
        return None;
    }
    Some(HmacSample {
        alg,
        issuer: text(decoded.claims().and_then(|claims| claims.get("iss"))),
        kid: text(signature.header.get("kid")),
        input: signature.signing_input(token).into(),
        signature: signature.bytes().into(),
    })
}

fn is_dpop_proof(decoded: &Decoded) -> bool {
    let typ = decoded.header().and_then(|h| h.get("typ")).and_then(Value::as_str);
    typ.is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt"))
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("extra_headers", &self.extra_headers)
            .field("cached", &self.cache.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Whether refresh tokens stand in this place. They are read by the issuer alone (RFC 6749,
/// section 1.5), so they may be signed with a key and an algorithm that nobody else gets to know,
/// as Keycloak does.
pub(crate) fn is_refresh(location: &Location) -> bool {
    matches!(location, Location::Form(name) | Location::Json(name)
        if matches!(&**name, "refresh_token" | "refreshToken"))
}

/// Whether a finding about header and signature holds for a token in this place. The issuer's
/// `typ` is that of access tokens.
fn concerns(finding: FindingId, location: &Location) -> bool {
    match finding {
        FindingId::TypWrong => location.role() != Role::Matter,
        FindingId::AlgNotAllowed
        | FindingId::KidUnknown
        | FindingId::SignatureInvalid
        | FindingId::SignatureMalformed => !is_refresh(location),
        _ => true,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
