use super::*;
use crate::{
    finding::FindingId::{self, *},
    token::{
        testing::{encode, get, good, jws, post, request},
        validate::IssuerPolicy,
    },
};

fn judge() -> Judge {
    Judge::new(JudgeConfig {
        extra_headers: vec!["X-User-Token".into()],
        ..JudgeConfig::new(FingerprintKey::new([7; 16]))
    })
}

fn report(request: &Request) -> TokenReport {
    judge().judge(request)
}

/// The findings of the request, then those of its tokens.
fn ids(request: &Request) -> Vec<FindingId> {
    let report = report(request);
    let tokens = report.tokens.iter().flat_map(|t| &t.findings);
    report.findings.iter().chain(tokens).map(|f| f.id).collect()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn a_token_is_summed_up_without_being_shown() {
    let token = jws(
        r#"{"alg":"HS256","kid":"k\u001b1","typ":"JWT"}"#,
        r#"{"sub":"b","roles":["x","y"],"exp":4102444800}"#,
    );
    let report = report(&get("/", &[&bearer(&token)]));
    let judged = &report.tokens[0];
    assert_eq!(judged.location, Location::Authorization);
    assert_eq!(judged.bytes, token.len());
    assert_eq!(judged.header_text("kid").unwrap(), "k\\u{1b}1");
    assert_eq!(judged.claim("roles").unwrap(), serde_json::json!(["x", "y"]));
    assert_eq!(judged.claim("exp").unwrap(), 4_102_444_800_u64);
    assert_eq!(judged.claim("nbf"), None);
    let ids: Vec<FindingId> = judged.findings.iter().map(|f| f.id).collect();
    assert_eq!(ids, [KidInjection], "control characters name no key");
    assert!(report.findings.is_empty());
}

#[test]
fn fingerprints_are_siphash_1_3_128_and_depend_on_key_and_bytes() {
    // The first vectors of the reference implementation in this variant: key 00..0f, input empty
    // and 00.
    let key = FingerprintKey::new(std::array::from_fn(|k| k as u8));
    assert_eq!(key.fingerprint(b"").to_string(), "e77ebcb22788a5befd62db6add303001");
    assert_eq!(key.fingerprint(&[0]).to_string(), "fc6f370460d3eda85e0573cc2b2ff063");
    assert_ne!(FingerprintKey::new([0; 16]).fingerprint(b""), key.fingerprint(b""));
}

#[test]
fn a_token_seen_before_is_not_decoded_again_and_judged_the_same() {
    let mut judge = judge();
    let bad = format!("{}=", good("a"));
    let request = get("/", &[&bearer(&bad)]);
    let (first, second) = (judge.judge(&request), judge.judge(&request));
    assert_eq!(judge.counters(), TokenCounters { known: 1, decoded: 1, ..Default::default() });
    assert!(Arc::ptr_eq(
        first.tokens[0].decoded.as_ref().unwrap(),
        second.tokens[0].decoded.as_ref().unwrap()
    ));
    assert_eq!(first.tokens[0].findings, second.tokens[0].findings);
    assert_eq!(first.tokens[0].findings[0].id, TokenNonCanonicalBase64);
}

#[test]
fn the_cache_is_bounded_in_entries_and_bytes() {
    let config = JudgeConfig { cache_entries: 4, ..JudgeConfig::new(FingerprintKey::new([7; 16])) };
    let mut judge = Judge::new(config);
    let wide =
        |k: usize| jws("{\"alg\":\"HS256\"}", &format!("{{\"a{k}\":[{}0]}}", "0,".repeat(150)));
    for k in 0..50 {
        let token = if k % 2 == 0 { wide(k) } else { good(&k.to_string()) };
        judge.judge(&get("/", &[&bearer(&token)]));
        let [counted, held] = judge.cache.bytes();
        assert_eq!(counted, held);
        assert!(held <= 4 * CACHE_BYTES_PER_ENTRY && (1..=4).contains(&judge.cache.len()));
    }
    assert_eq!(judge.counters().decoded, 50);
    judge.judge(&get("/", &[&bearer(&good("49"))]));
    assert_eq!(judge.counters().known, 1);

    // One that is larger than the whole cache is judged, not kept, and drives nothing out.
    let before = judge.cache.bytes();
    let vast = jws("{\"alg\":\"HS256\"}", &format!("{{\"a\":[{}0]}}", "0,".repeat(1_500)));
    judge.judge(&get("/", &[&bearer(&vast)]));
    assert_eq!(judge.cache.bytes(), before);
    assert_eq!(judge.counters().decoded, 51);
}

#[test]
fn a_token_that_comes_again_outlasts_those_that_come_once() {
    let config = JudgeConfig { cache_entries: 4, ..JudgeConfig::new(FingerprintKey::new([7; 16])) };
    let mut judge = Judge::new(config);
    for k in 0..40 {
        let token = if k % 3 == 0 { good("usual") } else { good(&k.to_string()) };
        judge.judge(&get("/", &[&bearer(&token)]));
    }
    // 14 times the usual one, decoded once, and 26 others.
    assert_eq!(judge.counters(), TokenCounters { known: 13, decoded: 27, ..Default::default() });
}

#[test]
fn different_tokens_where_a_service_may_choose() {
    const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
    let (a, b) = (good("a"), good("b"));
    let auth = bearer(&a);
    let multiple =
        |request: &Request| report(request).findings.iter().any(|f| f.id == TokenMultiple);

    assert!(multiple(&get("/", &[&auth, &bearer(&b)])));
    assert!(multiple(&get("/", &[&format!("{auth}, Bearer {b}")])));
    assert!(multiple(&get(&format!("/?access_token={b}"), &[&auth])));
    assert!(multiple(&get(&format!("/?access_token={a}&access_token={b}"), &[])));
    assert!(multiple(&get(&format!("/?token={a}&token={b}"), &[])));
    assert!(multiple(&get("/", &[&auth, &format!("Sec-WebSocket-Protocol: bearer, {b}")])));
    assert!(multiple(&get("/", &[&auth, "Authorization: Bearer opaque"])));
    let form = format!("access_token={b}");
    assert!(multiple(&request(&["POST / HTTP/1.1", FORM, &auth], form.as_bytes(), true)));
    // Same issuer and audience, another subject: either may count.
    assert!(multiple(&get("/", &[&auth, &format!("Cookie: s={b}")])));
    assert!(multiple(&get("/", &[&auth, &format!("X-User-Token: {b}")])));
    let (proof_a, proof_b) = (proof("dpop+jwt", "jwk"), proof("dpop+jwt", "kid"));
    assert!(multiple(&get("/", &[&format!("DPoP: {proof_a}"), &format!("DPoP: {proof_b}")])));

    let report = report(&get(&format!("/?access_token={b}"), &[&auth]));
    assert_eq!(
        report.findings[0].detail,
        "query:access_token and authorization carry different tokens"
    );
}

#[test]
fn tokens_that_stand_beside_each_other_by_right() {
    const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
    let (a, b) = (good("a"), good("b"));
    let auth = bearer(&a);
    let other_audience = b.replace(
        b.split('.').nth(1).unwrap(),
        &encode(r#"{"iss":"https://issuer.example","sub":"b","aud":"web"}"#),
    );
    let other_issuer = jws(r#"{"alg":"HS256"}"#, r#"{"iss":"else","sub":"b","aud":"api"}"#);
    for request in [
        // The same token twice gives nobody a choice.
        get("/", &[&auth, &auth]),
        get("/", &[&auth, &format!("Cookie: s={a}")]),
        // A session beside an access token.
        get("/", &[&auth, &format!("Cookie: s={other_audience}")]),
        get("/", &[&auth, &format!("Cookie: s={other_issuer}; t={other_issuer}")]),
        get("/", &[&auth, &format!("X-User-Token: {other_issuer}")]),
        get("/", &[&format!("Cookie: s={other_issuer}; s={a}")]),
        // Proof of possession.
        get(
            "/",
            &[&format!("Authorization: DPoP {a}"), &format!("DPoP: {}", proof("dpop+jwt", "jwk"))],
        ),
        // The token endpoint: a refresh token, the client's assertion, a token to revoke.
        request(
            &["POST / HTTP/1.1", FORM, &auth],
            format!("refresh_token={b}&client_assertion={other_issuer}&token={other_audience}")
                .as_bytes(),
            true,
        ),
        post(
            "application/json",
            format!(r#"[{{"token":"{a}"}},{{"token":"{b}"}}]"#).as_bytes(),
            true,
        ),
        get("/", &[&auth, "Authorization: Basic dXNlcjpwYXNz"]),
    ] {
        assert_eq!(ids(&request), [], "{}", String::from_utf8_lossy(&request.head));
    }
    let mut invitation = get(&format!("/?token={other_audience}"), &[&auth]);
    assert_eq!(ids(&invitation), [TokenInQuery]);
    invitation.body.bytes = b"{}".to_vec();
    assert_eq!(ids(&invitation), [TokenInQuery]);
}

fn proof(typ: &str, key: &str) -> String {
    jws(
        &format!(r#"{{"alg":"ES256","typ":"{typ}","{key}":{{"kty":"EC"}}}}"#),
        r#"{"htm":"GET","htu":"https://a/","jti":"1"}"#,
    )
}

#[test]
fn a_dpop_proof_brings_its_key_by_right_and_nothing_else_does() {
    let dpop = |typ, key| ids(&get("/", &[&format!("DPoP: {}", proof(typ, key))]));
    assert_eq!(dpop("dpop+jwt", "jwk"), []);
    assert_eq!(dpop("dpop+jwt", "x5c"), [HeaderEmbeddedKey]);
    assert_eq!(dpop("JWT", "jwk"), [HeaderEmbeddedKey]);
    let offered = get("/", &[&bearer(&proof("dpop+jwt", "jwk"))]);
    assert_eq!(ids(&offered), [HeaderEmbeddedKey, TypWrong]);
    assert_eq!(ids(&get("/", &["DPoP: nonsense"])), [TokenMalformed, TokenMalformed]);
}

#[test]
fn a_token_of_another_type_is_no_access_token_and_has_its_own_place() {
    let typed = |typ: &str| jws(&format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#), r#"{"sub":"a"}"#);
    for typ in ["dpop+jwt", "logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "secevent+jwt"] {
        let report = report(&get("/", &[&bearer(&typed(typ))]));
        let [finding] = &report.tokens[0].findings[..] else { panic!("{typ}") };
        assert_eq!((finding.id, finding.severity), (TypWrong, Severity::High), "{typ}");
        // A session cookie may have any type, and what a request is about too.
        assert_eq!(ids(&get("/", &[&format!("Cookie: s={}", typed(typ))])), []);
        let form = format!("logout_token={}", typed(typ));
        let form = post("application/x-www-form-urlencoded", form.as_bytes(), true);
        assert_eq!(ids(&form), []);
    }
    for typ in ["JWT", "at+jwt", "application/at+jwt", "jwt", "anything"] {
        assert_eq!(ids(&get("/", &[&bearer(&typed(typ))])), [], "{typ}");
    }
    let form = format!("access_token={}", typed("dpop+jwt"));
    let form = post("application/x-www-form-urlencoded", form.as_bytes(), true);
    assert_eq!(ids(&form), [TypWrong]);
}

#[test]
fn an_encrypted_token_is_told_where_every_issuer_is_known_and_signs() {
    let policy = |known_issuers_only, any, named| {
        let issuer = |name: Option<&str>, encrypted| IssuerPolicy {
            issuer: name.map(Into::into),
            encrypted,
            ..IssuerPolicy::default()
        };
        Policy {
            issuers: vec![issuer(Some("i"), named), issuer(Some("j"), None)],
            any: issuer(None, any),
            known_issuers_only,
            ..Policy::default()
        }
    };
    let jwe = |header: &str| {
        let [iv, text, tag] = [[1; 12].as_slice(), &[2; 40], &[3; 16]].map(encode);
        format!("{}..{iv}.{text}.{tag}", encode(header))
    };
    let plain = jwe(r#"{"alg":"dir","enc":"A256GCM"}"#);
    let of = |iss: &str| jwe(&format!(r#"{{"alg":"dir","enc":"A256GCM","iss":"{iss}"}}"#));
    let yes = Some(true);
    for (policy, token, told) in [
        (Policy::default(), &plain, false),
        (policy(true, None, None), &plain, true),
        (policy(true, None, yes), &plain, false),
        (policy(true, None, yes), &of("i"), false),
        (policy(true, None, yes), &of("j"), true),
        (policy(false, None, None), &plain, false),
        (policy(false, None, None), &of("j"), true),
        (policy(false, Some(false), None), &plain, true),
        (policy(false, Some(false), yes), &plain, false),
        (policy(false, yes, None), &of("k"), false),
    ] {
        let expected: &[FindingId] = if told { &[EncryptionUnexpected] } else { &[] };
        let mut judge = judge();
        judge.trust(Arc::default(), Arc::new(policy.clone()));
        let mut ids = |request: &Request| -> Vec<FindingId> {
            let report = judge.judge(request);
            report.tokens.iter().flat_map(|t| &t.findings).map(|f| f.id).collect()
        };
        assert_eq!(ids(&get("/", &[&bearer(token)])), expected, "{policy:?}");
        let hint = format!("id_token_hint={token}");
        let hint = post("application/x-www-form-urlencoded", hint.as_bytes(), true);
        assert_eq!(ids(&hint), [], "what a request is about may be encrypted");
    }
}

#[test]
fn a_token_in_the_query_is_found_and_one_in_a_cookie_is_not() {
    let token = good("a");
    assert_eq!(ids(&get(&format!("/?access_token={token}"), &[])), [TokenInQuery]);
    assert_eq!(ids(&get("/?access_token=opaque", &[])), [TokenInQuery]);
    assert_eq!(ids(&get("/", &[&format!("Cookie: access_token={token}")])), []);
}

#[test]
fn session_cookies_of_other_formats_are_no_tokens() {
    let flask = format!("{}.ZYx1aA.c2lnbmF0dXJlc2lnbmF0dXJl", encode(r#"{"user_id":1}"#));
    assert!(report(&get("/", &[&format!("Cookie: session={flask}")])).tokens.is_empty());
    // The same shape is a broken token where a token is due, or where it names an algorithm.
    assert!(ids(&get("/", &[&bearer(&flask)])).contains(&TokenMalformed));
    let broken = format!("{}.ZYx1aA.c2ln", encode(r#"{"alg":"HS256"}"#));
    assert_eq!(ids(&get("/", &[&format!("Cookie: s={broken}")])), [TokenMalformed]);
}

#[test]
fn a_token_over_the_limit_is_reported_wherever_it_stands() {
    let config =
        JudgeConfig { max_token_bytes: 100, ..JudgeConfig::new(FingerprintKey::new([7; 16])) };
    let mut judge = Judge::new(config);
    let token = good("a");
    assert!(token.len() > 100);
    for field in [bearer(&token), format!("Cookie: s={token}")] {
        let report = judge.judge(&get("/", &[&field]));
        let ids: Vec<FindingId> = report.tokens[0].findings.iter().map(|f| f.id).collect();
        assert_eq!(ids, [TokenTooLarge]);
    }
}

#[test]
fn nothing_that_can_be_printed_for_debugging_shows_a_token() {
    const MARKER: &str = "S3CRETMARKER";
    let encoded = encode(MARKER);
    let claims = format!(r#"{{"sub":"{MARKER}","x":["{MARKER}"]}}"#);
    let sound = format!(
        "{}.{}.{encoded}",
        encode(format!(r#"{{"alg":"{MARKER}","kid":"{MARKER}"}}"#)),
        encode(&claims)
    );
    let broken = format!("{}.{MARKER}!=.{encoded}", encode(format!("{{\"kid\":\"{MARKER}\"")));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    for token in [sound, broken, MARKER.to_owned()] {
        let lines = [
            format!("POST /?access_token={token} HTTP/1.1"),
            bearer(&token),
            format!("DPoP: {token}"),
            format!("Cookie: s={token}"),
            format!("Sec-WebSocket-Protocol: bearer, {token}"),
            format!("X-User-Token: {token}"),
            "Content-Type: application/json".to_owned(),
        ];
        let lines: Vec<&str> = lines.iter().map(|l| &**l).collect();
        let request = request(&lines, format!(r#"{{"token":"{token}"}}"#).as_bytes(), true);
        let mut judge = judge();
        let report = judge.judge(&request);
        assert!(!report.tokens.is_empty());
        let decoded = decode(token.as_bytes(), &DecodeOptions::default());
        let mut shown = format!("{judge:?} {report:?} {decoded:?} {:?}", extract(&request, &[]));
        for token in &report.tokens {
            shown += &format!("{:?} {} {}", token.decoded, token.location, token.fingerprint);
        }
        for signature in decoded.signatures() {
            shown +=
                &format!("{signature:?} {:?} {:?}", signature.header, signature.header.get("alg"));
        }
        shown += &format!("{:?} {:?}", decoded.claims(), FingerprintKey::new(*b"S3CRETMARKER0000"));
        assert!(!shown.contains(MARKER), "{shown}");
        for part in parts(&token).iter().filter(|p| p.len() > 4) {
            assert!(!shown.contains(&**part), "{shown}");
        }
    }
}

#[test]
fn foreign_strings_are_shown_bounded_and_without_control() {
    use crate::show::{MAX_SHOWN, show};
    assert_eq!(show("plain é 漢"), "plain é 漢");
    assert_eq!(show("a\r\nb\u{9b}\u{202e}\u{200b}"), "a\\u{d}\\u{a}b\\u{9b}\\u{202e}\\u{200b}");
    assert_eq!(show(&"é".repeat(MAX_SHOWN)).chars().count(), MAX_SHOWN);
    assert_eq!(show(&"é".repeat(MAX_SHOWN + 1)).chars().count(), MAX_SHOWN + 1);
    assert!(show(&"x".repeat(10_000)).ends_with("x…"));
}
