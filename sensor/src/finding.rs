//! Findings: what is wrong with a request, its token or its flow, under stable names.
#![forbid(unsafe_code)]

use std::{borrow::Cow, fmt};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing, alone no reason for an alert.
    Info,
    /// Unusual, most often a fault.
    Low,
    /// Suspicious.
    Medium,
    /// An attack unless explained.
    High,
    /// An attack by construction.
    Critical,
}

impl Severity {
    /// All, ascending.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The stable name in events and in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Counts by severity in words, "3 low, 1 critical"; `None` where all are 0.
pub(crate) fn in_words(counts: &[u64; Severity::ALL.len()]) -> Option<String> {
    let counted = Severity::ALL.iter().zip(counts).filter(|&(_, &count)| count > 0);
    let words = counted.map(|(severity, count)| format!("{count} {severity}")).collect::<Vec<_>>();
    (!words.is_empty()).then(|| words.join(", "))
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! findings {
    ($($variant:ident = $name:literal, $severity:ident, $doc:literal;)*) => {
        /// The name of a finding. docs/findings.md has a row for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingId {
            $(#[doc = $doc] $variant,)*
        }

        impl FindingId {
            /// Every finding, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How grave it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

findings! {
    // TCP
    TcpOverlapConflict = "tcp-overlap-conflict", High, "Segments carried different bytes for the same sequence numbers.";

    // HTTP framing
    HttpMalformedRequest = "http-malformed-request", Medium, "A request head breaks the grammar of RFC 9112.";
    HttpMalformedResponse = "http-malformed-response", Low, "A response head breaks the grammar of RFC 9112.";
    HttpHeadTooLarge = "http-head-too-large", Medium, "A head is over the limit of 64 KiB.";
    HttpTooManyHeaders = "http-too-many-headers", Medium, "A head has more header fields than the limit.";
    HttpContentLengthAndTransferEncoding = "http-content-length-and-transfer-encoding", High, "Both Content-Length and Transfer-Encoding frame the body.";
    HttpContentLengthConflict = "http-content-length-conflict", High, "Content-Length fields or list members differ.";
    HttpContentLengthRepeated = "http-content-length-repeated", Low, "Content-Length is repeated with one and the same value.";
    HttpContentLengthInvalid = "http-content-length-invalid", High, "Content-Length is not a plain decimal number.";
    HttpTransferEncodingInvalid = "http-transfer-encoding-invalid", High, "Transfer-Encoding is unknown, obfuscated, or chunked is not its last coding.";
    HttpChunkInvalid = "http-chunk-invalid", High, "A chunk size or its delimiters break the chunked framing.";
    HttpRequestUnseen = "http-request-unseen", Medium, "The service answered more requests than were seen: one hides behind a body that was not copied.";
    RequestRefused = "request-refused", Medium, "A request was refused unread, as it could not be judged, and its connection cut.";
    HttpObsFold = "http-obs-fold", Medium, "A header field continues on a line that starts with white space.";
    HttpBareCr = "http-bare-cr", High, "A head holds a carriage return without a line feed.";
    HttpBareLf = "http-bare-lf", Medium, "A line of a head ends in a line feed without a carriage return.";
    HttpNul = "http-nul", High, "A head holds a NUL byte.";
    HttpSpaceBeforeColon = "http-space-before-colon", High, "White space stands between a field name and its colon.";
    HttpDuplicateHost = "http-duplicate-host", High, "A request has more than one Host field.";
    HttpMissingHost = "http-missing-host", Low, "An HTTP/1.1 request has no Host field.";
    HttpDuplicateAuthorization = "http-duplicate-authorization", High, "A request has more than one Authorization field.";

    // Tokens: what needs no key
    TokenMalformed = "token-malformed", Medium, "A token has the shape of a JWT, but its parts do not decode to what RFC 7515 asks.";
    TokenNonCanonicalBase64 = "token-noncanonical-base64", Medium, "A token's base64url has padding, foreign characters, or spare bits that are not zero.";
    TokenDuplicateKey = "token-duplicate-key", High, "A JSON object in the token names a member twice.";
    TokenTooLarge = "token-too-large", Medium, "A token is over the size limit.";
    TokenTooDeep = "token-too-deep", Medium, "JSON in a token nests deeper than the limit.";
    TokenMultiple = "token-multiple", Medium, "One request carries different tokens in places that a service may choose between.";
    TokenInQuery = "token-in-query", Info, "A token travels in the request target, where logs keep it.";
    AlgNone = "alg-none", Critical, "The header says that the token is not signed.";
    SignatureEmpty = "signature-empty", High, "The signature part is empty although the header names an algorithm.";
    CritUnknown = "crit-unknown", High, "The header's crit lists an extension that is not understood, or is malformed.";
    HeaderEmbeddedKey = "header-embedded-key", High, "The header brings its own verification key (jwk or x5c).";

    // Tokens: algorithm and signature, with keys
    AlgNotAllowed = "alg-not-allowed", High, "The header names an algorithm that the issuer does not use.";
    AlgConfusion = "alg-confusion", Critical, "A public key was used as an HMAC secret.";
    AlgUnsupported = "alg-unsupported", Low, "The header names an algorithm that no standard defines for signatures, or that can't be verified here.";
    SignatureInvalid = "signature-invalid", High, "The signature does not verify under the issuer's key.";
    SignatureMalformed = "signature-malformed", High, "The signature has a form that no key of this algorithm produces: a wrong length, or DER.";
    SignaturePsychic = "signature-psychic", Critical, "An ECDSA signature has r or s zero or out of range, which broken verifiers take for any message.";
    LearnedKeyMismatch = "learned-key-mismatch", Medium, "The signature does not verify under the key that was learned from traffic for its key id.";
    LearnedKeyChanged = "learned-key-changed", High, "A key set seen in clear has another key under a key id that is pinned.";
    WeakSecret = "weak-secret", High, "An issuer's HMAC secret stands in the list of weak ones: anyone can sign its tokens.";
    KeyWeak = "key-weak", Info, "The token is signed with a key weaker than its algorithm asks for.";

    // Tokens: header parameters
    JkuUntrusted = "jku-untrusted", High, "The header points to a key set (jku) outside of the allowed addresses.";
    X5uUntrusted = "x5u-untrusted", High, "The header points to a certificate (x5u) outside of the allowed addresses.";
    KidEmpty = "kid-empty", Low, "The header has an empty kid.";
    KidUnknown = "kid-unknown", Medium, "The header's kid names none of the issuer's keys.";
    KidInjection = "kid-injection", High, "The header's kid is made to be misread: a path, SQL, a command, an address or a null device.";
    B64WithoutCrit = "b64-without-crit", Info, "The payload is not encoded (b64 is false), and crit does not say so.";
    B64False = "b64-false", Medium, "A JWT says that its payload is not encoded, which JWTs must not.";
    TypWrong = "typ-wrong", Medium, "The header's typ is not one that the issuer gives its access tokens.";
    ZipHeader = "zip-header", Medium, "A signed token's header asks for decompression.";
    P2cTooLarge = "p2c-too-large", High, "An encrypted token asks for more rounds of key derivation than any sane one.";
    EncryptionUnexpected = "encryption-unexpected", Medium, "Credentials are encrypted where signed ones are due.";
    SerializationUnexpected = "serialization-unexpected", Medium, "Credentials come in JSON serialisation where compact is due.";

    // Tokens: proofs of possession
    DpopProofInvalid = "dpop-proof-invalid", High, "A DPoP proof is not one that a service may accept.";
    DpopProofMismatch = "dpop-proof-mismatch", High, "A DPoP proof was made for another request or another access token.";
    DpopBindingBroken = "dpop-binding-broken", High, "A token that is bound to a key is used without a proof of that key.";

    // Tokens: claims
    TokenExpired = "token-expired", Medium, "The token's lifetime is over.";
    TokenNotYetValid = "token-not-yet-valid", Medium, "The token's lifetime has not begun.";
    TokenIssuedInFuture = "token-issued-in-future", Medium, "The token says that it was issued in the future.";
    TokenLifetimeTooLong = "token-lifetime-too-long", Medium, "The token lives longer than its issuer lets tokens live.";
    ClaimMissing = "claim-missing", Medium, "A claim that the issuer's tokens must have is missing.";
    ClaimWrongType = "claim-wrong-type", Medium, "A registered claim has a JSON type that RFC 7519 does not allow.";
    ClaimInjection = "claim-injection", High, "A claim holds text made to be misread by what processes it.";
    IssuerUnknown = "issuer-unknown", Medium, "The token names an issuer that is not configured.";
    AudienceWrong = "audience-wrong", High, "The token is meant for another audience.";
    IdTokenAsAccessToken = "id-token-as-access-token", High, "An ID token is used where an access token is due.";

    // Tokens: what takes memory
    TokenReplayedAddress = "token-replayed-address", Medium, "A token is used from another address, not in the way that a client moves.";
    TokenReplayedNetwork = "token-replayed-network", Medium, "A token is used from another autonomous system, not in the way that a client moves.";
    TokenReplayedUserAgent = "token-replayed-user-agent", Medium, "A token is used with another user agent than before.";
    TokenRelayed = "token-relayed", High, "A token that belongs to one service is used at another whose audience it is not.";
    JtiReused = "jti-reused", Medium, "Two different tokens of one issuer have the same jti.";
    ProofReplayed = "proof-replayed", High, "A single-use token, such as a DPoP proof, is used again.";
    TokenTampered = "token-tampered", Critical, "A signature that was seen before stands under another header or payload.";
    AlgFamilyChanged = "alg-family-changed", High, "The algorithm family of an issuer's key id changed.";
    ScopeEscalated = "scope-escalated", Medium, "A subject's token has scopes that its earlier tokens had not.";
    RoleEscalated = "role-escalated", High, "A subject's token has roles or groups that its earlier tokens had not.";
    TenantChanged = "tenant-changed", High, "A subject's token names a tenant that its earlier tokens did not.";
    ScopeInsufficientForRoute = "scope-insufficient-for-route", Medium, "The token's scopes do not cover what the route asks for.";
    TokenUsedAfterRevocation = "token-used-after-revocation", High, "A token is used after it was revoked or its session was ended.";
    TokenDenylisted = "token-denylisted", High, "A token is used whose signature is on the denylist.";
    SubjectDenylisted = "subject-denylisted", High, "A token is used whose subject is on the denylist.";
    AddressDenylisted = "address-denylisted", High, "A request comes from an address that is on the denylist.";
    ThreatListed = "threat-listed", Medium, "A threat feed names the client, a host that the request names, or its user agent.";
    BypassConfirmed = "bypass-confirmed", Critical, "The service accepted a token that is proven forged.";
    AnomalousAnswer = "anomalous-answer", Medium, "The service failed with a server error on a token that is proven forged.";
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong, with what an engineer needs to check it.
///
/// `detail` never holds a token, a key or any part of them that would let one be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub id: FindingId,
    /// How grave it is here; [`FindingId::severity`] unless the stage knows better.
    pub severity: Severity,
    /// Where and what, in a short sentence without a full stop.
    pub detail: Cow<'static, str>,
}

impl Finding {
    /// A finding with its usual severity.
    #[must_use]
    pub fn new(id: FindingId, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { id, severity: id.severity(), detail: detail.into() }
    }
}
