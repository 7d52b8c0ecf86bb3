use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    finding::FindingId::{self, *},
    token::testing::{data, encode, good, jws},
};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"a","sub":"b","exp":1}"#;

fn ids(token: impl AsRef<[u8]>) -> Vec<FindingId> {
    ids_of(&decode(token.as_ref(), &DecodeOptions::default()))
}

fn ids_of(decoded: &Decoded) -> Vec<FindingId> {
    decoded.findings().iter().map(|f| f.id).collect()
}

fn details(token: impl AsRef<[u8]>) -> String {
    let decoded = decode(token.as_ref(), &DecodeOptions::default());
    let details: Vec<&str> = decoded.findings().iter().map(|f| &*f.detail).collect();
    details.join("; ")
}

fn header(header: &str) -> Vec<FindingId> {
    ids(jws(header, CLAIMS))
}

#[test]
fn a_good_token_has_no_finding_and_gives_all_of_itself() {
    let token = jws(r#"{"alg":"HS256","kid":"k\u0031","typ":"JWT"}"#, CLAIMS);
    let decoded = decode(token.as_bytes(), &DecodeOptions::default());
    assert_eq!(ids_of(&decoded), []);
    assert_eq!(decoded.kind(), Kind::Jws);
    let signature = decoded.signatures().next().unwrap();
    assert_eq!(signature.header.get("kid").unwrap().as_str().unwrap(), "k1");
    assert_eq!(signature.bytes().len(), 32);
    let input = signature.signing_input(token.as_bytes());
    assert_eq!(input, token.rsplit_once('.').unwrap().0.as_bytes());
    assert_eq!(decoded.claims().unwrap().get("exp").unwrap().as_u64(), Some(1));
    assert_eq!(decoded.payload(), CLAIMS.as_bytes());
}

#[test]
fn parts_that_do_not_decode_are_malformed_and_say_which() {
    let good = jws(HEADER, CLAIMS);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = input.split_once('.').unwrap();
    for (token, detail) in [
        (input.to_owned(), "2 parts where"),
        (head.to_owned(), "1 part where"),
        (format!("{good}.a.b.c"), "more than 5 parts where"),
        (format!("{good}.aaaa"), "4 parts where"),
        (format!("{head}..{signature}"), "payload is empty"),
        (format!("{good}A"), ""),
        (good[..good.len() - 2].to_owned(), "signature has a length that no base64url has"),
        (jws("[]", CLAIMS), "header is not a JSON object"),
        (jws("{\"alg\":\"HS256\"", CLAIMS), "header is not JSON: ends too early at byte 14"),
        (jws(HEADER, "[1]"), "payload is not a JSON object"),
        (jws(HEADER, "hello"), "payload is not JSON: unexpected byte at byte 0"),
        (jws(HEADER, "{\"a\":\"\\ud800\"}"), "payload is not JSON: lone surrogate at byte 6"),
        (jws(HEADER, "{\"a\":1} x"), "payload is not JSON: bytes behind the value at byte 8"),
        (jws("{}", CLAIMS), "header has no alg"),
        (jws("{\"alg\":7}", CLAIMS), "alg is not a string"),
        (jws("{\"alg\":null}", CLAIMS), "alg is not a string"),
    ] {
        let found = details(&token);
        assert!(found.contains(detail), "{detail}: {found}");
        assert_eq!(ids(&token).contains(&TokenMalformed), !detail.is_empty(), "{found}");
    }
    let utf8 = format!("{}.{}.{signature}", encode(HEADER), encode(b"{\"a\":\"\xff\"}"));
    assert!(details(utf8).contains("payload is not JSON: not UTF-8 at byte 6"));
}

#[test]
fn encodings_that_are_not_canonical_are_found_and_read_as_lenient_services_do() {
    let good = jws(HEADER, "{\"a\":\"???>>>~~\"}");
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    // 32 bytes end in a character with two spare bits.
    let spare = format!("{}{}", &signature[..42], char::from(signature.as_bytes()[42] + 1));
    for (token, detail) in [
        (format!("{head}=.{payload}.{signature}"), "header: padding"),
        (format!("{head}.{payload}==.{signature}"), "payload: padding"),
        (format!("{head}.{payload}.{signature}="), "signature: padding"),
        (format!("{head}.{payload}.{spare}"), "signature: non-zero spare bits"),
        (format!("{head}.\n{payload}.{signature}"), "payload: white space"),
        (format!("{head}.{payload}.!{signature}"), "signature: byte outside the alphabet"),
        (
            format!("{head}.{}.{signature}", payload.replace('-', "+").replace('_', "/")),
            "payload: plain base64 alphabet",
        ),
    ] {
        assert_eq!(ids(&token), [TokenNonCanonicalBase64], "{token}");
        assert_eq!(details(&token), detail);
        let decoded = decode(token.as_bytes(), &DecodeOptions::default());
        assert_eq!(decoded.claims().unwrap().get("a").unwrap().as_str().unwrap(), "???>>>~~");
        assert_eq!(decoded.signatures().next().unwrap().bytes().len(), 32);
    }
    assert_eq!(ids(&good), []);
}

#[test]
fn a_member_twice_is_found_in_header_and_claims() {
    assert_eq!(header(r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#), [TokenDuplicateKey]);
    assert_eq!(header(r#"{"alg":"HS256","\u0061lg":"HS256"}"#), [TokenDuplicateKey]);
    assert_eq!(ids(jws(HEADER, r#"{"sub":"a","x":{"y":1,"y":2}}"#)), [TokenDuplicateKey]);
    assert_eq!(
        details(jws(HEADER, r#"{"sub":"a","s\u0075b":"b"}"#)),
        "payload has member sub twice"
    );
    // The twin.
    assert_eq!(ids(jws(HEADER, r#"{"sub":"a","x":{"sub":1,"Sub":2}}"#)), []);
    // Whichever alg a service reads, none is among them.
    assert_eq!(header(r#"{"alg":"none","alg":"HS256"}"#), [TokenDuplicateKey, AlgNone]);
}

#[test]
fn sizes_and_depths_have_limits() {
    let options = DecodeOptions { max_token_bytes: 200, claims: true };
    let of_size = |n: usize| {
        let token = jws(HEADER, CLAIMS);
        format!("{token}{}", "A".repeat(n - token.len()))
    };
    assert_eq!(ids_of(&decode(of_size(200).as_bytes(), &options)), []);
    let large = decode(of_size(201).as_bytes(), &options);
    assert_eq!(ids_of(&large), [TokenTooLarge]);
    assert!(large.claims().is_none() && large.header().is_none());

    let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
    assert_eq!(ids(jws(HEADER, &nested(32))), []);
    assert_eq!(ids(jws(HEADER, &nested(33))), [TokenTooDeep]);
    let wide = format!("{{\"a\":[{}0]}}", "0,".repeat(4_100));
    assert_eq!(ids(jws(HEADER, &wide)), [TokenTooLarge]);
}

#[test]
fn alg_none_is_found_however_it_is_written() {
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        r"\u006eone",
        r"n\u004Fne",
        " none ",
        r"none\u0000",
        r"\tnone\n",
        "\u{a0}none",
    ] {
        let head = format!("{{\"alg\":\"{alg}\"}}");
        assert_eq!(header(&head), [AlgNone], "{alg}");
        // Without a signature it is the same attack, not two.
        let unsigned = format!("{}.{}.", encode(&head), encode(CLAIMS));
        assert_eq!(ids(unsigned), [AlgNone], "{alg}");
        let stripped = format!("{}.{}", encode(&head), encode(CLAIMS));
        assert_eq!(ids(stripped), [TokenMalformed, AlgNone], "{alg}");
    }
    for alg in ["HS256", "nonesuch", "non", "n-one", "nonе", ""] {
        assert_eq!(header(&format!("{{\"alg\":\"{alg}\"}}")), [], "{alg}");
    }
    assert_eq!(header(r#"{"alg":"HS256","x":{"alg":"none"},"kid":"none"}"#), []);
}

#[test]
fn an_empty_signature_is_found() {
    let good = jws(HEADER, CLAIMS);
    let input = good.rsplit_once('.').unwrap().0;
    assert_eq!(ids(format!("{input}.")), [SignatureEmpty]);
    assert_eq!(ids(format!("{input}.=")), [TokenNonCanonicalBase64, SignatureEmpty]);
    assert_eq!(ids(format!("{input}.AA")), []);
    assert_eq!(ids(good), []);
}

#[test]
fn crit_lists_what_is_understood_or_is_a_finding() {
    for crit in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""crit":{}"#,
        r#""crit":"b64","b64":true"#,
        r#""crit":null"#,
        r#""crit":["alg"]"#,
        r#""crit":["x5t#S256"]"#,
        r#""crit":["b64","b64"],"b64":true"#,
        r#""crit":["b64"]"#,
        r#""crit":[1]"#,
        r#""crit":["\u0042\u00364"],"B64":1"#,
    ] {
        let token = jws(&format!("{{\"alg\":\"HS256\",{crit}}}"), CLAIMS);
        assert!(ids(&token).contains(&CritUnknown), "{crit}");
    }
    assert_eq!(header(r#"{"alg":"HS256","b64":false}"#).first(), Some(&B64WithoutCrit));
    // RFC 7797 and its twin in which the payload is encoded as ever.
    assert_eq!(header(r#"{"alg":"HS256","b64":true,"crit":["b64"]}"#), []);
    assert_eq!(header(r#"{"alg":"HS256","b64":true}"#), []);
    let plain =
        format!("{}.{CLAIMS}.AAAA", encode(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#));
    let decoded = decode(plain.as_bytes(), &DecodeOptions::default());
    assert_eq!(ids_of(&decoded), []);
    assert_eq!(decoded.payload(), CLAIMS.as_bytes());
}

#[test]
fn a_key_in_the_header_is_found_unless_it_is_a_recipients() {
    assert_eq!(header(r#"{"alg":"RS256","jwk":{"kty":"RSA"}}"#), [HeaderEmbeddedKey]);
    assert_eq!(header(r#"{"alg":"RS256","j\u0077k":{}}"#), [HeaderEmbeddedKey]);
    assert_eq!(header(r#"{"alg":"RS256","x5c":["MII"]}"#), [HeaderEmbeddedKey]);
    assert_eq!(header(r#"{"alg":"RS256","kid":"jwk","x5t":"abc"}"#), []);
    let jwe = format!("{}.a2V5.aXY.Yw.dGFn", encode(r#"{"alg":"A","enc":"B","jwk":{}}"#));
    assert_eq!(ids(jwe), []);
}

#[test]
fn encrypted_tokens_are_checked_part_by_part() {
    let jwe = |header: &str, rest: &str| format!("{}.{rest}", encode(header));
    let header = r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#;
    let good = jwe(header, "a2V5.aXY.Yw.dGFn");
    let decoded = decode(good.as_bytes(), &DecodeOptions::default());
    assert_eq!((decoded.kind(), ids_of(&decoded)), (Kind::Jwe, vec![]));
    assert!(decoded.claims().is_none() && decoded.payload().is_empty());
    assert_eq!(ids(jwe(r#"{"alg":"dir","enc":"A256GCM"}"#, ".aXY.Yw.dGFn")), []);
    for (token, detail) in [
        (jwe(header, ".aXY.Yw.dGFn"), "encrypted key is empty"),
        (jwe(header, "a2V5.aXY.Yw."), "tag is empty"),
        (
            jwe(r#"{"alg":"dir","enc":"A"}"#, "a2V5.aXY.Yw.dGFn"),
            "encrypted key is not empty with direct encryption",
        ),
        (jwe(r#"{"alg":"dir"}"#, ".aXY.Yw.dGFn"), "header has no enc"),
        (jwe(header, "a2V5.aXY.YwAAA.dGFn"), "ciphertext has a length that no base64url has"),
    ] {
        assert_eq!(details(&token), detail);
        assert_eq!(ids(&token), [TokenMalformed]);
    }
    assert_eq!(ids(jwe(header, "a2V5.aXY=.Yw.dGFn")), [TokenNonCanonicalBase64]);
}

#[test]
fn a_fault_that_is_repeated_is_one_finding() {
    let many = r#""crit":["b64"],"alg":1,"jwk":{},"#.repeat(300);
    let found = header(&format!("{{{many}\"b64\":1}}"));
    assert_eq!(found, [TokenDuplicateKey, TokenMalformed, HeaderEmbeddedKey, TokenMalformed]);
}

#[test]
fn a_jwt_inside_a_jwt_is_no_fault() {
    let inner = jws(HEADER, CLAIMS);
    let outer = r#"{"alg":"HS256","cty":"JWT"}"#;
    let nested = |payload: &str| format!("{}.{}.AAAA", encode(outer), encode(payload));
    // Nested means: the payload is the inner token, so its first bytes are a header's.
    assert_eq!(ids(nested(&inner)), []);
    assert_eq!(ids(jws(HEADER, &inner)), [TokenMalformed]);
    assert_eq!(ids(nested("nonsense")), [TokenMalformed]);
}

#[test]
fn json_serialisation_is_read_in_both_forms() {
    let (protected, payload) = (encode(HEADER), encode(CLAIMS));
    let flat = format!(
        r#" {{"payload":"{payload}","protected":"{protected}","header":{{"kid":"k"}},"signature":"AAAA"}}"#
    );
    let decoded = decode(flat.as_bytes(), &DecodeOptions::default());
    assert_eq!((decoded.kind(), ids_of(&decoded)), (Kind::JwsJson, vec![]));
    assert_eq!(decoded.header().unwrap().get("kid").unwrap().as_str().unwrap(), "k");
    assert_eq!(decoded.claims().unwrap().get("sub").unwrap().as_str().unwrap(), "b");
    let input = decoded.signatures().next().unwrap().signing_input(flat.as_bytes());
    assert_eq!(input, format!("{protected}.{payload}").as_bytes());

    let general = |one: &str| {
        format!(
            r#"{{"payload":"{payload}","signatures":[{{"protected":"{protected}","signature":"AAAA"}},{one}]}}"#
        )
    };
    assert_eq!(ids(general(r#"{"header":{"alg":"HS256"},"signature":"AAAA"}"#)), []);
    assert_eq!(ids(general(r#"{"header":{"alg":"None"},"signature":"AAAA"}"#)), [AlgNone]);
    assert_eq!(ids(general(r#"{"header":{"alg":"HS256"},"signature":""}"#)), [SignatureEmpty]);
    assert_eq!(ids(general(r#"{"signature":"AAAA"}"#)), [TokenMalformed]);
    assert_eq!(ids(general(r#"{"header":{"alg":"HS256"}}"#)), [TokenMalformed]);
    let both =
        format!(r#"{{"protected":"{protected}","header":{{"alg":"HS256"}},"signature":"AAAA"}}"#);
    assert_eq!(ids(general(&both)), [TokenDuplicateKey]);
    let crit = r#"{"header":{"alg":"HS256","crit":["b64"]},"signature":"AAAA"}"#;
    assert_eq!(ids(general(crit)), [CritUnknown]);
    let many = [r#"{"header":{"alg":"HS256"},"signature":"AAAA"}"#; 8].join(",");
    assert_eq!(ids(general(&many)), [TokenMalformed]);
    assert_eq!(
        ids(r#"{"payload":"e30","payload":"e30","signatures":[]}"#),
        [TokenDuplicateKey, TokenMalformed]
    );
    assert_eq!(ids("{"), [TokenMalformed]);
}

#[test]
fn the_cookbooks_signed_examples_are_without_fault() {
    let Some(directory) = data("jose/cookbook") else { return };
    let options = DecodeOptions { claims: false, ..DecodeOptions::default() };
    let (mut compact, mut json) = (0, 0);
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let example: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The field of this example leaves out the crit that its token has.
        let input = example["signing"]["sig-input"].as_str();
        let input = input.filter(|_| !name.starts_with("rfc7797_hmac"));
        if let Some(token) = example["output"]["compact"].as_str() {
            let decoded = decode(token.as_bytes(), &options);
            assert_eq!(decoded.findings(), [], "{name}");
            let kind =
                if name.contains("jwe") || name.contains("ecdh") { Kind::Jwe } else { Kind::Jws };
            assert_eq!(decoded.kind(), kind, "{name}");
            if let (Kind::Jws, Some(input), false) = (kind, input, token.contains("..")) {
                let ours = decoded.signatures().next().unwrap().signing_input(token.as_bytes());
                assert_eq!(ours, input.as_bytes(), "{name}");
            }
            compact += 1;
        }
        for form in ["json", "json_flat"] {
            let token = &example["output"][form];
            if !token.is_object() || token.get("ciphertext").is_some() {
                continue;
            }
            let decoded = decode(token.to_string().as_bytes(), &options);
            // This example leaves out the crit that RFC 7797, section 4.2, has.
            let expected: &[FindingId] =
                if name.starts_with("rfc7797_4.2") { &[B64WithoutCrit] } else { &[] };
            assert_eq!(ids_of(&decoded), expected, "{name} {form}");
            if let Some(input) = input {
                let ours = decoded.signatures().next().unwrap().signing_input(b"");
                let detached = token.get("payload").is_none();
                assert!(detached || ours == input.as_bytes(), "{name} {form}");
            }
            json += 1;
        }
    }
    assert!(compact >= 15 && json >= 15, "{compact} {json}");
}

/// Everything that a caller may ask.
fn read_all(token: &[u8]) {
    for claims in [true, false] {
        let decoded = decode(token, &DecodeOptions { claims, ..DecodeOptions::default() });
        let _ = (decoded.payload(), decoded.memory(), format!("{decoded:?}"));
        let _ = decoded.claims().map(|c| c.to_event());
        for signature in decoded.signatures() {
            let _ = (signature.bytes(), signature.header.get("alg"));
            let _ = signature.signing_input(token);
        }
    }
}

#[test]
fn prefixes_and_mutations_are_judged_without_harm() {
    let flat = format!(
        r#"{{"payload":"{}","protected":"{}","signature":"AAAA"}}"#,
        encode(CLAIMS),
        encode(HEADER)
    );
    for token in [good("x"), format!("{}.a2V5.aXY.Yw.dGFn", encode(HEADER)), flat] {
        for end in 0..token.len() {
            read_all(&token.as_bytes()[..end]);
        }
        for at in 0..token.len() {
            for byte in [0, b'.', b'=', b'"', b'A', b'_', b'{', 0xff, token.as_bytes()[at] ^ 1] {
                let mut changed = token.clone().into_bytes();
                changed[at] = byte;
                read_all(&changed);
            }
        }
    }
    let token = good("x");
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        for byte in 0..=u8::MAX {
            changed[at] = byte;
            let _ = decode(&changed, &DecodeOptions::default());
        }
    }
    // No prefix of a signed token that cuts into it passes for a whole one, except at the ends
    // of its signature's groups of four.
    let payload_end = token.rfind('.').unwrap();
    for end in 0..=payload_end {
        assert!(!ids(&token[..end]).is_empty(), "{end}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_harm(token in vec(any::<u8>(), 0..80)) {
        read_all(&token);
    }

    #[test]
    fn any_header_and_payload_are_judged_without_harm(
        header in "\\{(\"(alg|crit|b64|jwk|enc)\":(\"none\"|\\[\"b64\"\\]|false|\\{\\}|1),?){0,4}\\}?",
        payload in ".{0,20}",
    ) {
        read_all(jws(&header, &payload).as_bytes());
        read_all(format!("{}.a.b.c.d", encode(header)).as_bytes());
    }

    #[test]
    fn every_sound_token_is_without_fault(
        claims in proptest::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..20),
    ) {
        let claims = serde_json::to_string(&claims).unwrap();
        let token = jws(HEADER, &claims);
        let decoded = decode(token.as_bytes(), &DecodeOptions::default());
        prop_assert_eq!(ids_of(&decoded), []);
        prop_assert_eq!(decoded.payload(), claims.as_bytes());
    }
}
