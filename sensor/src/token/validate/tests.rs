use std::time::Duration;

use super::{IssuerPolicy, Policy, Validation, Verdict};
use crate::{
    base64url,
    finding::{Finding, FindingId},
    keys::{Algorithm, Key, KeySource, KeyStore, parse_keys},
    time::Time,
    token::{DecodeOptions, decode},
};

/// RFC 7515, appendix A.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

fn part(text: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn sign(header: &str, claims: &str, secret: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let input = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", part(tag.as_ref()))
}

fn hs256(claims: &str) -> String {
    sign(r#"{"alg":"HS256"}"#, claims, SECRET)
}

fn store() -> KeyStore {
    let mut store = KeyStore::new();
    store.add(None, [Key::from_secret(SECRET, None, KeySource::File).unwrap().into()]);
    store
}

fn judge_with(token: &str, keys: &KeyStore, policy: &Policy) -> (Verdict, Vec<FindingId>) {
    let options = DecodeOptions { claims: policy.claims, ..DecodeOptions::default() };
    let decoded = decode(token.as_bytes(), &options);
    let validation = Validation::new(token.as_bytes(), &decoded, keys, policy);
    let mut findings: Vec<Finding> = decoded.findings().to_vec();
    findings.extend(validation.findings.iter().cloned());
    findings.extend(validation.claim_findings.iter().cloned());
    validation.at(Time::from_unix_secs(NOW), &mut findings);
    (validation.verdict(findings.iter()), findings.iter().map(|f| f.id).collect())
}

fn closed() -> Policy {
    Policy { closed: true, ..Policy::default() }
}

fn judge(token: &str) -> (Verdict, Vec<FindingId>) {
    judge_with(token, &store(), &closed())
}

fn under(policy: IssuerPolicy, claims: &str) -> Vec<FindingId> {
    judge_with(&hs256(claims), &store(), &Policy { any: policy, ..closed() }).1
}

#[test]
fn a_good_token_is_valid_and_any_change_of_it_is_not() {
    let token = hs256(r#"{"sub":"ann","exp":1700000100}"#);
    assert_eq!(judge(&token), (Verdict::Valid, vec![]));
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let same = base64url_equal(&token, &changed);
        assert_eq!(judge(&changed).0, Verdict::Invalid, "byte {at}, same bytes: {same}");
    }
}

fn base64url_equal(a: &str, b: &str) -> bool {
    let bytes = |text: &str| {
        let mut out = Vec::new();
        let _ = base64url::decode(text.rsplit('.').next().unwrap().as_bytes(), &mut out);
        out
    };
    bytes(a) == bytes(b)
}

#[test]
fn without_a_key_every_other_check_still_runs() {
    let none = KeyStore::new();
    let judged = |token: &str| judge_with(token, &none, &closed());
    assert_eq!(judged(&hs256("{}")), (Verdict::Unverifiable, vec![]));
    let (verdict, findings) = judged(&hs256(r#"{"exp":1}"#));
    assert_eq!((verdict, findings), (Verdict::Invalid, vec![FindingId::TokenExpired]));
    let unsigned = format!("{}.{}.", part(br#"{"alg":"none"}"#), part(b"{}"));
    assert_eq!(judged(&unsigned), (Verdict::Invalid, vec![FindingId::AlgNone]));
}

#[test]
fn times_hold_within_the_leeway() {
    for (claims, expected) in [
        (format!(r#"{{"exp":{}}}"#, NOW - 59), None),
        (format!(r#"{{"exp":{}}}"#, NOW - 60), Some(FindingId::TokenExpired)),
        (format!(r#"{{"exp":{}.5}}"#, NOW - 60), None),
        (format!(r#"{{"nbf":{}}}"#, NOW + 60), None),
        (format!(r#"{{"nbf":{}}}"#, NOW + 61), Some(FindingId::TokenNotYetValid)),
        (format!(r#"{{"iat":{}}}"#, NOW + 60), None),
        (format!(r#"{{"iat":{}}}"#, NOW + 61), Some(FindingId::TokenIssuedInFuture)),
        (r#"{"exp":-1}"#.into(), Some(FindingId::TokenExpired)),
        (r#"{"exp":1e300}"#.into(), None),
        (r#"{"exp":"1700009999"}"#.into(), Some(FindingId::ClaimWrongType)),
        (r#"{"aud":["a",7]}"#.into(), Some(FindingId::ClaimWrongType)),
        (r#"{"aud":["a"],"iss":"i","sub":"s","jti":"j"}"#.into(), None),
        (r#"{"sub":7}"#.into(), Some(FindingId::ClaimWrongType)),
    ] {
        assert_eq!(judge(&hs256(&claims)).1, Vec::from_iter(expected), "{claims}");
    }
}

#[test]
fn a_public_key_as_secret_is_confirmed() {
    let set = parse_keys(P256.as_bytes(), KeySource::File).unwrap();
    let secrets: Vec<Vec<u8>> = crate::keys::confusion_secrets(&set.keys[0]).collect();
    assert!(secrets.len() > 3);
    let mut keys = KeyStore::new();
    keys.add(None, set.keys);
    let header = r#"{"alg":"HS256","kid":"e"}"#;
    for secret in secrets {
        let forged = sign(header, r#"{"sub":"admin"}"#, &secret);
        assert_eq!(judge_with(&forged, &keys, &closed()).1, [FindingId::AlgConfusion]);
        assert_eq!(judge_with(&forged, &keys, &Policy::default()).1, [FindingId::AlgConfusion]);
    }
    let other = sign(header, "{}", SECRET);
    assert_eq!(
        judge_with(&other, &keys, &closed()),
        (Verdict::Invalid, vec![FindingId::AlgNotAllowed])
    );
}

#[test]
fn a_psychic_signature_is_named() {
    let set = parse_keys(P256.as_bytes(), KeySource::File).unwrap();
    let mut keys = KeyStore::new();
    keys.add(None, set.keys);
    let head = part(br#"{"alg":"ES256","kid":"e"}"#);
    let forged = format!("{head}.{}.{}", part(b"{}"), part(&[0; 64]));
    assert_eq!(judge_with(&forged, &keys, &closed()).1, [FindingId::SignaturePsychic]);
    let short = format!("{head}.{}.{}", part(b"{}"), part(&[7; 60]));
    assert_eq!(judge_with(&short, &keys, &closed()).1, [FindingId::SignatureMalformed]);
    let wrong = format!("{head}.{}.{}", part(b"{}"), part(&[7; 64]));
    assert_eq!(judge_with(&wrong, &keys, &closed()).1, [FindingId::SignatureInvalid]);
}

#[test]
fn a_token_of_an_unknown_key_is_unverifiable_unless_all_keys_are_known() {
    let mut keys = KeyStore::new();
    keys.add(None, [Key::from_secret(SECRET, Some("old"), KeySource::File).unwrap().into()]);
    let token = sign(r#"{"alg":"HS256","kid":"new"}"#, "{}", b"another secret of some length...");
    assert_eq!(judge_with(&token, &keys, &Policy::default()).0, Verdict::Unverifiable);
    assert_eq!(judge_with(&token, &keys, &closed()).1, [FindingId::SignatureInvalid]);
}

#[test]
fn an_unknown_kid_is_a_finding_where_the_keys_are_files() {
    let fixed = Policy {
        any: IssuerPolicy { keys_fixed: true, ..IssuerPolicy::default() },
        ..Policy::default()
    };
    let named = |text: &str, kid| {
        let mut keys = KeyStore::new();
        keys.add(None, [Key::from_secret(text.as_bytes(), kid, KeySource::File).unwrap().into()]);
        keys
    };
    let other = "another secret of some length...";
    let token = sign(r#"{"alg":"HS256","kid":"new"}"#, "{}", SECRET);
    let unknown = (Verdict::Invalid, vec![FindingId::KidUnknown]);
    let nothing = (Verdict::Unverifiable, vec![]);
    assert_eq!(judge_with(&token, &named(other, Some("old")), &fixed), unknown);
    assert_eq!(judge_with(&token, &named(other, Some("old")), &Policy::default()), nothing);
    // No key is there, or none has a name.
    assert_eq!(judge_with(&token, &KeyStore::new(), &fixed), nothing);
    let invalid = (Verdict::Invalid, vec![FindingId::SignatureInvalid]);
    assert_eq!(judge_with(&token, &named(other, None), &fixed), invalid);
    // The key is known under another name: it made the signature.
    let secret = std::str::from_utf8(SECRET).unwrap();
    assert_eq!(judge_with(&token, &named(secret, Some("old")), &fixed), (Verdict::Valid, vec![]));
    // Also where no key is for the algorithm.
    let set = parse_keys(P256.as_bytes(), KeySource::File).unwrap();
    let mut keys = KeyStore::new();
    keys.add(None, set.keys);
    assert_eq!(judge_with(&token, &keys, &fixed), unknown);
    let known = sign(r#"{"alg":"HS256","kid":"e"}"#, "{}", SECRET);
    assert_eq!(judge_with(&known, &keys, &fixed).1, [FindingId::AlgNotAllowed]);
}

#[test]
fn keys_without_names_serve_every_kid() {
    let token = sign(r#"{"alg":"HS256","kid":"7"}"#, r#"{"sub":"ann"}"#, SECRET);
    let (input, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", part(&[7; 32]));
    let open = Policy::default();
    assert_eq!(judge_with(&token, &store(), &open), (Verdict::Valid, vec![]));
    let invalid = (Verdict::Invalid, vec![FindingId::SignatureInvalid]);
    assert_eq!(judge_with(&forged, &store(), &open), invalid);
    // With names among the keys, the token's may be of one that is not at hand yet.
    let mut named = KeyStore::new();
    let key = Key::from_secret(SECRET, Some("6"), KeySource::File).unwrap();
    named.add(None, [key.into()]);
    assert_eq!(judge_with(&forged, &named, &open), (Verdict::Unverifiable, vec![]));
}

#[test]
fn header_parameters_are_held_against_the_policy() {
    let policy = |change: fn(&mut IssuerPolicy)| {
        let mut any = IssuerPolicy::default();
        change(&mut any);
        Policy { any, ..closed() }
    };
    let of =
        |header: &str, policy: &Policy| judge_with(&sign(header, "{}", SECRET), &store(), policy).1;
    let plain = closed();
    for (header, expected) in [
        (r#"{"alg":"HS256","jku":"https://evil.example/k"}"#, FindingId::JkuUntrusted),
        (r#"{"alg":"HS256","x5u":"https://evil.example/k"}"#, FindingId::X5uUntrusted),
        (r#"{"alg":"HS256","kid":""}"#, FindingId::KidEmpty),
        (r#"{"alg":"HS256","kid":"../../dev/null"}"#, FindingId::KidInjection),
        (r#"{"alg":"HS256","zip":"DEF"}"#, FindingId::ZipHeader),
        (r#"{"alg":"HS256","p2c":100001}"#, FindingId::P2cTooLarge),
        (r#"{"alg":"HS256","p2c":-1}"#, FindingId::P2cTooLarge),
        (r#"{"alg":"hs256"}"#, FindingId::AlgUnsupported),
    ] {
        assert!(of(header, &plain).contains(&expected), "{header}");
    }
    let jku = policy(|p| p.jku_allow = vec!["https://id.example".into()]);
    for (address, good) in [
        ("https://id.example/keys", true),
        ("https://id.example", true),
        ("https://id.example.evil/keys", false),
        ("https://id.example@evil.example/", false),
        ("https://id.example/../x", false),
        ("http://id.example/keys", false),
    ] {
        let found = of(&format!(r#"{{"alg":"HS256","jku":"{address}"}}"#), &jku);
        assert_eq!(found.is_empty(), good, "{address}");
    }
    let typ = policy(|p| p.types = vec!["at+jwt".into()]);
    assert_eq!(of(r#"{"alg":"HS256","typ":"application/AT+JWT"}"#, &typ), []);
    assert_eq!(of(r#"{"alg":"HS256","typ":"JWT"}"#, &typ), [FindingId::TypWrong]);
    assert_eq!(of(r#"{"alg":"HS256"}"#, &typ), [FindingId::TypWrong]);
    let rs = policy(|p| p.algorithms = vec![Algorithm::Rs256]);
    assert_eq!(of(r#"{"alg":"HS256"}"#, &rs), [FindingId::AlgNotAllowed]);
}

#[test]
fn claims_are_held_against_the_policy() {
    let audiences = || IssuerPolicy { audiences: vec!["orders".into()], ..IssuerPolicy::default() };
    assert_eq!(under(audiences(), r#"{"aud":"orders"}"#), []);
    assert_eq!(under(audiences(), r#"{"aud":["x","orders"]}"#), []);
    assert_eq!(under(audiences(), r#"{"aud":"order"}"#), [FindingId::AudienceWrong]);
    assert_eq!(under(audiences(), "{}"), [FindingId::AudienceWrong]);
    let required = IssuerPolicy { required_claims: vec!["exp".into()], ..IssuerPolicy::default() };
    assert_eq!(under(required, "{}"), [FindingId::ClaimMissing]);
    let short = || IssuerPolicy {
        max_lifetime: Some(Duration::from_secs(3_600)),
        ..IssuerPolicy::default()
    };
    let lives = |seconds: u64| format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + seconds);
    assert_eq!(under(short(), &lives(3_600)), []);
    assert_eq!(under(short(), &lives(3_601)), [FindingId::TokenLifetimeTooLong]);
    let plain = IssuerPolicy::default;
    assert_eq!(under(plain(), r#"{"at_hash":"x"}"#), [FindingId::IdTokenAsAccessToken]);
    assert_eq!(under(plain(), r#"{"token_use":"id"}"#), [FindingId::IdTokenAsAccessToken]);
    assert_eq!(under(plain(), r#"{"token_use":"access","nonce":"n"}"#), []);
    assert_eq!(under(plain(), r#"{"name":"a' or '1'='1"}"#), [FindingId::ClaimInjection]);
    assert_eq!(under(plain(), r#"{"roles":["x","<script>"]}"#), [FindingId::ClaimInjection]);
}

#[test]
fn an_issuer_has_its_own_policy() {
    let own = IssuerPolicy {
        issuer: Some("https://id.example".into()),
        audiences: vec!["orders".into()],
        ..IssuerPolicy::default()
    };
    let policy = Policy { issuers: vec![own], known_issuers_only: true, ..closed() };
    let found = |claims: &str| judge_with(&hs256(claims), &store(), &policy).1;
    assert_eq!(found(r#"{"iss":"https://id.example","aud":"orders"}"#), []);
    assert_eq!(found(r#"{"iss":"https://id.example"}"#), [FindingId::AudienceWrong]);
    assert_eq!(found(r#"{"iss":"https://other.example"}"#), [FindingId::IssuerUnknown]);
    assert_eq!(found("{}"), [FindingId::IssuerUnknown]);
}

/// What a learned key says is told apart from what a configured one says: it makes no token valid
/// and proves none forged.
#[test]
fn a_learned_key_makes_nothing_valid_and_proves_nothing_forged() {
    use super::SignatureCheck;
    use crate::memory::is_forged;

    let now = Time::from_unix_secs(NOW);
    let learned = |jwk: &str| parse_keys(jwk.as_bytes(), KeySource::Learned).unwrap().keys;
    let mut store = KeyStore::new();
    assert_eq!(store.learn("joe", learned(P256), now).added, 1);
    let check = |header: &str, signature: &[u8], store: &KeyStore| {
        let claims =
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let token =
            format!("{}.{}.{}", part(header.as_bytes()), part(claims.as_bytes()), part(signature));
        let options = DecodeOptions::default();
        let decoded = decode(token.as_bytes(), &options);
        let validation = Validation::new(token.as_bytes(), &decoded, store, &Policy::default());
        let ids: Vec<_> = validation.findings.iter().map(|f| f.id).collect();
        assert!(!is_forged(&validation.findings) || ids != [FindingId::LearnedKeyMismatch]);
        (validation.signature, ids, validation.verdict(validation.findings.iter()))
    };
    // RFC 7515, appendix A.3.
    let good: Vec<u8> = {
        let mut bytes = Vec::new();
        let text = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        assert!(base64url::decode(text.as_bytes(), &mut bytes).is_empty());
        bytes
    };
    let plain = r#"{"alg":"ES256"}"#;
    let named = r#"{"alg":"ES256","kid":"e"}"#;
    assert_eq!(
        check(plain, &good, &store),
        (SignatureCheck::Learned, vec![], Verdict::Unverifiable)
    );
    let mismatch = vec![FindingId::LearnedKeyMismatch];
    for (header, signature) in [
        (named, good.clone()),
        (r#"{"alg":"HS256","kid":"e"}"#, vec![1; 32]),
        (r#"{"alg":"RS256","kid":"e"}"#, vec![1; 256]),
    ] {
        let (signature, ids, verdict) = check(header, &signature, &store);
        assert_eq!((signature, verdict), (SignatureCheck::Unverifiable, Verdict::Invalid));
        assert_eq!(ids, mismatch, "{header}");
    }
    // Without the name of a learned key nothing is said: the set may be an old one.
    for header in [plain, r#"{"alg":"ES256","kid":"f"}"#] {
        let other = [&good[..63], &[good[63] ^ 1]].concat();
        assert_eq!(check(header, &other, &store).0, SignatureCheck::Unverifiable);
        assert_eq!(check(header, &other, &store).1, vec![]);
    }
    // What no key could have made is so whoever's key is at hand.
    assert_eq!(check(named, &[0; 64], &store).1, [FindingId::SignaturePsychic]);

    // The configured key decides, whatever was learned.
    store.add(Some("joe"), [Key::from_secret(SECRET, None, KeySource::File).unwrap().into()]);
    assert_ne!(check(plain, &good, &store).0, SignatureCheck::Learned);
}
