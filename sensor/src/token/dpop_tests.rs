use super::*;
use crate::{
    finding::FindingId::{DpopBindingBroken, DpopProofInvalid, DpopProofMismatch, TokenMultiple},
    token::{
        FingerprintKey, Judge, JudgeConfig,
        testing::{encode, jwk, jws, request, sign},
    },
};

/// RFC 9449, section 4.1.
const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

fn thumbprint(number: u8) -> String {
    encode(digest::digest(&digest::SHA256, jwk(number).as_bytes()))
}

fn header(number: u8) -> String {
    format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{}}}"#, jwk(number))
}

/// An access token that is bound to key 1.
fn bound() -> String {
    let claims = format!(r#"{{"sub":"a","cnf":{{"jkt":"{}"}}}}"#, thumbprint(1));
    jws(r#"{"alg":"HS256"}"#, &claims)
}

/// The claims of the right proof.
fn claims() -> String {
    let ath = token_hash(bound().as_bytes());
    format!(
        r#"{{"jti":"1","htm":"GET","htu":"https://api.example/orders/7","iat":1000,"ath":"{ath}"}}"#
    )
}

/// The DPoP findings of a request for `/orders/7?x=1`, its details as well.
fn findings(fields: &[String], change: impl FnOnce(&mut Shown<'_>)) -> Vec<(FindingId, String)> {
    let mut lines = vec!["GET /orders/7?x=1 HTTP/1.1", "Host: API.example"];
    lines.extend(fields.iter().map(String::as_str));
    let request = request(&lines, b"", true);
    let mut judge = Judge::new(JudgeConfig::new(FingerprintKey::new([7; 16])));
    let mut report = judge.judge(&request);
    let mut shown = Shown {
        request: &request,
        peer: [192, 0, 2, 1].into(),
        proxied: false,
        public_urls: &[],
        proofs_due: true,
        now: Time::from_unix_secs(1_000),
    };
    change(&mut shown);
    check(&mut report.tokens, &shown);
    let tokens = report.tokens.iter().flat_map(|token| &token.findings);
    report.findings.iter().chain(tokens).map(|f| (f.id, f.detail.to_string())).collect()
}

fn with(scheme: &str, token: &str, proof: &str) -> [String; 2] {
    [format!("Authorization: {scheme} {token}"), format!("DPoP: {proof}")]
}

fn proof(header: &str, claims: &str) -> Vec<(FindingId, String)> {
    findings(&with("DPoP", &bound(), &sign(1, header, claims)), |_| ())
}

#[test]
fn the_examples_of_the_rfc_come_out_right() {
    let decoded = crate::token::decode(EXAMPLE.as_bytes(), &crate::token::DecodeOptions::default());
    let proof = Proof::new(EXAMPLE.as_bytes(), &decoded);
    assert_eq!((proof.signature, proof.fault), (SignatureCheck::Good, None));
    // Section 6.1 and section 7.1.
    assert_eq!(proof.thumbprint.unwrap(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".into());
    let hash = token_hash(b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    assert_eq!(&*hash, "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
}

#[test]
fn a_proof_of_the_right_key_for_this_request_and_token_is_good() {
    assert_eq!(proof(&header(1), &claims()), []);
    // Under the other scheme, too: a service that takes both.
    assert_eq!(findings(&with("Bearer", &bound(), &sign(1, &header(1), &claims())), |_| ()), []);
    // An opaque token.
    let opaque = "an-opaque-token-of-some-length";
    let claims = claims().replace(&*token_hash(bound().as_bytes()), &token_hash(opaque.as_bytes()));
    assert_eq!(findings(&with("DPoP", opaque, &sign(1, &header(1), &claims)), |_| ()), []);
    // At the token endpoint there is no access token yet.
    let early = claims.replace("\"ath\"", "\"x\"");
    assert_eq!(findings(&[format!("DPoP: {}", sign(1, &header(1), &early))], |_| ()), []);
}

#[test]
fn a_proof_that_no_service_may_accept_is_told_with_its_fault() {
    let own = jwk(1);
    let private = own.replace("\"kty\"", "\"d\":\"AAAA\",\"kty\"");
    for (header, fault) in [
        (header(1).replace("dpop+jwt", "JWT"), "its typ is not dpop+jwt"),
        (header(1).replace(r#""typ":"dpop+jwt","#, ""), "its typ is not dpop+jwt"),
        (header(1).replace("EdDSA", "HS256"), "its alg is no asymmetric signature algorithm"),
        (header(1).replace("EdDSA", "ES256"), "its jwk is not for its alg"),
        (header(2), "its signature is not of the key that it brings"),
        (r#"{"typ":"dpop+jwt","alg":"EdDSA"}"#.into(), "its header has no jwk"),
        (header(1).replace(&own, "7"), "its header has no jwk"),
        (header(1).replace(&own, &private), "its jwk holds a private key"),
        (header(1).replace(&own, r#"{"kty":"oct","k":"AAAA"}"#), "its jwk holds a private key"),
        (header(1).replace(&own, r#"{"kty":"OKP","crv":"Ed25519"}"#), "its jwk can't be read"),
        (
            header(1).replace(&own, &format!(r#"{{"keys":[{own},{own}]}}"#)),
            "its jwk is not one key",
        ),
    ] {
        let told = proof(&header, &claims());
        assert!(told.contains(&(DpopProofInvalid, fault.into())), "{fault}: {told:?}");
    }
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        let less = claims().replace(&format!("\"{name}\""), "\"other\"");
        assert_eq!(proof(&header(1), &less), [(DpopProofInvalid, format!("{name} is missing"))]);
    }
    for (iat, fault) in [
        (699, Some("it was made more than 5 minutes ago")),
        (700, None),
        (1_060, None),
        (1_061, Some("it was made in the future")),
    ] {
        let other = claims().replace("\"iat\":1000", &format!("\"iat\":{iat}"));
        let told: Vec<_> =
            proof(&header(1), &other).into_iter().map(|(_, detail)| detail).collect();
        assert_eq!(told.first().map(String::as_str), fault, "{iat}");
    }
}

#[test]
fn a_proof_for_another_request_or_token_is_told() {
    for (from, to) in [
        ("\"GET\"", "\"POST\""),
        ("\"GET\"", "\"get\""),
        ("api.example", "other.example"),
        ("api.example", "api.example:8443"),
        ("/orders/7", "/orders/8"),
        ("/orders/7", "/orders"),
        ("/orders/7", ""),
        ("https://api.example/orders/7", "/orders/7"),
        (&*token_hash(bound().as_bytes()), &*token_hash(b"another")),
    ] {
        let told = proof(&header(1), &claims().replace(from, to));
        assert!(matches!(&told[..], [(DpopProofMismatch, _)]), "{from} {to}: {told:?}");
    }
    for (from, to) in [
        ("https://api.example/", "HTTPS://API.EXAMPLE:443/"),
        ("https://api.example/", "http://api.example:80/"),
        ("/orders/7", "/%6frders/7"),
        ("/orders/7", "/orders/7?x=2#f"),
    ] {
        assert_eq!(proof(&header(1), &claims().replace(from, to)), [], "{from} {to}");
    }
}

#[test]
fn addresses_that_the_config_names_are_the_ones_that_count() {
    let urls = ["https://shop.example/api/".to_owned(), "https://b.example:8443".to_owned()];
    let told = |htu: &str, change: &dyn Fn(&mut Shown<'_>)| {
        let claims = claims().replace("https://api.example/orders/7", htu);
        findings(&with("DPoP", &bound(), &sign(1, &header(1), &claims)), |shown| change(shown))
            .len()
    };
    assert_eq!(told("https://shop.example/api/orders/7", &|_| ()), 1);
    for (htu, wrong) in [
        ("https://shop.example/api/orders/7", 0),
        ("https://b.example:8443/orders/7", 0),
        ("http://shop.example/api/orders/7", 1),
        ("https://shop.example/orders/7", 1),
        ("https://api.example/orders/7", 1),
    ] {
        let claims = claims().replace("https://api.example/orders/7", htu);
        let fields = with("DPoP", &bound(), &sign(1, &header(1), &claims));
        let mut lines = vec!["GET /orders/7?x=1 HTTP/1.1", "Host: backend"];
        lines.extend(fields.iter().map(String::as_str));
        let request = request(&lines, b"", true);
        let mut judge = Judge::new(JudgeConfig::new(FingerprintKey::new([7; 16])));
        let mut report = judge.judge(&request);
        let shown = Shown {
            request: &request,
            peer: [192, 0, 2, 1].into(),
            proxied: true,
            public_urls: &urls,
            proofs_due: true,
            now: Time::from_unix_secs(1_000),
        };
        check(&mut report.tokens, &shown);
        let told = report.tokens.iter().flat_map(|token| &token.findings).count();
        assert_eq!(told, wrong, "{htu}");
    }
    // A proxy replaces the host and cuts the path's beginning.
    let local = |shown: &mut Shown<'_>| shown.peer = [127, 0, 0, 1].into();
    assert_eq!(told("https://shop.example/api/orders/7", &|shown| shown.proxied = true), 0);
    assert_eq!(told("https://shop.example/api/orders/7", &local), 0);
    assert_eq!(told("https://shop.example/api/orders/8", &|shown| shown.proxied = true), 1);
}

#[test]
fn a_bound_token_without_a_proof_of_its_key_is_told() {
    let broken = |detail: &str| vec![(DpopBindingBroken, detail.to_owned())];
    for scheme in ["Bearer", "DPoP"] {
        let alone = [format!("Authorization: {scheme} {}", bound())];
        assert_eq!(findings(&alone, |_| ()), broken("no proof came with it"));
        assert_eq!(findings(&alone, |shown| shown.proofs_due = false), [], "a gateway checked it");
    }
    // The scheme alone asks for one, whatever the token.
    let opaque = ["Authorization: DPoP an-opaque-token".to_owned()];
    assert_eq!(findings(&opaque, |_| ()), broken("no proof came with it"));
    assert_eq!(findings(&["Authorization: Bearer an-opaque-token".to_owned()], |_| ()), []);
    // A thief's own key.
    let thief = with("DPoP", &bound(), &sign(2, &header(2), &claims()));
    let told = findings(&thief, |_| ());
    assert_eq!(told, broken("the token is bound to another key than the proof's"));
    // A token that is not bound is anyone's.
    let free = jws(r#"{"alg":"HS256"}"#, r#"{"sub":"a"}"#);
    assert_eq!(findings(&[format!("Authorization: Bearer {free}")], |_| ()), []);
}

#[test]
fn a_key_that_can_not_be_judged_is_told_and_accused_of_nothing() {
    let foreign = format!(r#"{{"kty":"OKP","crv":"Ed448","x":"{}"}}"#, encode([1; 57]));
    let told = proof(&header(1).replace(&jwk(1), &foreign), &claims());
    assert!(matches!(&told[..], [(FindingId::AlgUnsupported, _)]), "{told:?}");
}

#[test]
fn a_proof_twice_is_ambiguous_and_any_bytes_are_judged() {
    let one = sign(1, &header(1), &claims());
    let two = sign(1, &header(1), &claims().replace("\"1\"", "\"2\""));
    let [token, first] = with("DPoP", &bound(), &one);
    let told = findings(&[token, first, format!("DPoP: {two}")], |_| ());
    assert!(told.iter().any(|(id, _)| *id == TokenMultiple), "{told:?}");
    for cut in 0..one.len() {
        let [token, _] = with("DPoP", &bound(), "");
        findings(&[token, format!("DPoP: {}", &one[..cut])], |_| ());
    }
}
