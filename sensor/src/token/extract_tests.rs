use proptest::{collection::vec, prelude::*};

use super::*;
use crate::token::testing::{encode, get, good, jws, post, request};

/// `LOCATION SCHEME KIND BYTES` for each candidate.
fn found(request: &Request) -> Vec<String> {
    let found = extract(request, &["x-api-token".into()]);
    found
        .candidates
        .iter()
        .map(|c| {
            let (scheme, kind) = (c.scheme.as_str(), c.kind().as_str());
            format!("{} {scheme} {kind} {}", c.location, String::from_utf8_lossy(&c.bytes))
        })
        .collect()
}

fn head(target: &str, fields: &[&str]) -> Vec<String> {
    found(&get(target, fields))
}

#[test]
fn authorization_in_any_scheme_case_and_white_space() {
    let t = good("a");
    for (value, scheme) in [
        (format!("Bearer {t}"), "bearer"),
        (format!("bEARER {t}"), "bearer"),
        (format!("BEARER\t {t}"), "bearer"),
        (format!("Bearer    {t}"), "bearer"),
        (format!("  Bearer {t}  "), "bearer"),
        (format!("DPoP {t}"), "dpop"),
        (format!("dpop {t}"), "dpop"),
        (format!("Token {t}"), "token"),
        (format!("Token token=\"{t}\""), "token"),
        (format!("Token token={t}"), "token"),
        (format!("JWT {t}"), "jwt"),
        (t.clone(), "bare"),
        (format!("Session {t}"), "other"),
    ] {
        for name in ["Authorization", "authorization", "AUTHORIZATION"] {
            assert_eq!(
                head("/", &[&format!("{name}:{value}")]),
                [format!("authorization {scheme} jws {t}")],
                "{value}"
            );
        }
    }
}

#[test]
fn authorization_in_json_serialisation() {
    let t = good("a");
    let parts: Vec<&str> = t.split('.').collect();
    let json = format!(
        r#"{{"payload":"{}", "protected":"{}", "signature":"{}"}}"#,
        parts[1], parts[0], parts[2]
    );
    for (value, scheme) in [(format!("Bearer {json}"), "bearer"), (json.clone(), "bare")] {
        let expected = [format!("authorization {scheme} jws-json {json}")];
        assert_eq!(head("/", &[&format!("Authorization: {value}")]), expected);
    }
    // Other objects, other schemes, and what is cut off are what they were before.
    let cut = json.trim_end_matches('}');
    for value in [format!("Digest {json}"), "Bearer {\"a\":1}".to_owned(), format!("Bearer {cut}")]
    {
        let found = head("/", &[&format!("Authorization: {value}")]);
        assert!(found.iter().all(|one| !one.contains("jws")), "{found:?}");
    }
}

#[test]
fn several_tokens_in_one_field_or_in_several() {
    let (a, b) = (good("a"), good("b"));
    let both = [format!("authorization bearer jws {a}"), format!("authorization bearer jws {b}")];
    assert_eq!(head("/", &[&format!("Authorization: Bearer {a}, Bearer {b}")]), both);
    let fields = [format!("Authorization: Bearer {a}"), format!("authorization: bearer {b}")];
    assert_eq!(head("/", &[&fields[0], "Host: x", &fields[1]]), both);
}

#[test]
fn other_credentials_are_opaque_or_none() {
    let none: [&str; 0] = [];
    for (value, expected) in [
        ("Bearer abc", &["authorization bearer opaque abc"][..]),
        ("9944b09199c62bcf9418", &["authorization bare opaque 9944b09199c62bcf9418"]),
        ("Token 9944b0", &["authorization token opaque 9944b0"]),
        ("Bearer SG.abc.def", &["authorization bearer opaque SG.abc.def"]),
        ("Bearer v2.local.abc.def", &["authorization bearer opaque v2.local.abc.def"]),
        ("Bearer a.b.c", &["authorization bearer jws a.b.c"]),
        ("Bearer eyJhbGciOi", &["authorization bearer jws eyJhbGciOi"]),
        ("Bearer a.b.c.d.e", &["authorization bearer jwe a.b.c.d.e"]),
        ("Basic dXNlcjpwYXNz", &none),
        ("Bearer", &none),
        ("Negotiate", &none),
        ("Digest username=\"a\", realm=\"b\", nonce=\"c\"", &none),
        ("AWS4-HMAC-SHA256 Credential=A/b/c, SignedHeaders=host, Signature=00", &none),
        ("", &none),
        (", ,", &none),
    ] {
        assert_eq!(head("/", &[&format!("Authorization: {value}")]), expected, "{value}");
    }
}

#[test]
fn fields_of_the_config_and_dpop_proofs() {
    let t = good("a");
    let fields = [format!("X-API-Token: {t}"), format!("DPoP: {t}"), format!("X-Other: {t}")];
    assert_eq!(
        head("/", &[&fields[0], &fields[1], &fields[2]]),
        [format!("header:x-api-token bare jws {t}"), format!("dpop bare jws {t}")]
    );
    assert_eq!(head("/", &["x-api-token: bearer abc"]), ["header:x-api-token bearer opaque abc"]);
}

#[test]
fn websocket_protocols() {
    let t = good("a");
    let k8s = format!("base64url.bearer.authorization.k8s.io.{}", encode(&t));
    for (value, expected) in [
        (format!("bearer, {t}"), format!("bearer jws {t}")),
        (format!("access_token,{t}"), format!("bare jws {t}")),
        (format!("graphql-ws, {t}"), format!("bare jws {t}")),
        ("Bearer, abc".to_owned(), "bearer opaque abc".to_owned()),
        (format!("{k8s}, base64.binary.k8s.io"), format!("bearer jws {t}")),
    ] {
        assert_eq!(
            head("/", &[&format!("Sec-WebSocket-Protocol: {value}")]),
            [format!("websocket-protocol {expected}")]
        );
    }
    assert!(head("/", &["Sec-WebSocket-Protocol: graphql-ws, v1.a.b"]).is_empty());
}

#[test]
fn cookies_that_look_like_a_jwt() {
    let t = good("a");
    let value = format!(
        "Cookie: theme=dark; s={t};q=\"{t}\"; b=Bearer%20{t}; c=\"Bearer {t}\"; _ga=GA1.2.3.4; x"
    );
    assert_eq!(
        head("/", &[&value]),
        [
            format!("cookie:s bare jws {t}"),
            format!("cookie:q bare jws {t}"),
            format!("cookie:b bearer jws {t}"),
            format!("cookie:c bearer jws {t}"),
        ]
    );
    let hostile = format!("Cookie: {}\u{1b}[2J={t}", "n".repeat(100));
    let location = head("/", &[&hostile]).remove(0);
    assert!(location.starts_with(&format!("cookie:{}… ", "n".repeat(64))), "{location}");
    assert!(head("/", &["Cookie: s=a.b.c; t=eyJhbGciOiJIUzI1NiJ9; u=eyJh.eyJh"]).is_empty());
}

#[test]
fn query_parameters() {
    let t = good("a");
    let escaped = t.replace('.', "%2E").replace('e', "%65");
    for (query, expected) in [
        (format!("access_token={t}"), format!("query:access_token bare jws {t}")),
        (format!("a=b&token={t}#f"), format!("query:token bare jws {t}")),
        (format!("jwt={escaped}&x"), format!("query:jwt bare jws {t}")),
        (format!("id%5Ftoken={t}"), format!("query:id_token bare jws {t}")),
        ("access_token=abc".to_owned(), "query:access_token bare opaque abc".to_owned()),
    ] {
        assert_eq!(head(&format!("/path?{query}"), &[]), [expected], "{query}");
    }
    for query in
        ["token=abc", "access_token=", "access_token", "jwt=a.b.c", "x=%", "%=%zz", "Token=1"]
    {
        assert!(head(&format!("/?{query}"), &[]).is_empty(), "{query}");
    }
    assert!(head(&format!("/{t}"), &[]).is_empty());
    assert_eq!(*percent_decode(b"a%2"), *b"a%2");
    assert_eq!(*percent_decode(b"%41+%zz%"), *b"A %zz%");
}

#[test]
fn form_bodies() {
    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
    let t = good("a");
    let body = format!("grant_type=x&client_assertion={t}&access_token=abc&token={t}");
    let expected = [
        format!("form:client_assertion bare jws {t}"),
        "form:access_token bare opaque abc".to_owned(),
        format!("form:token bare jws {t}"),
    ];
    assert_eq!(found(&post(FORM, body.as_bytes(), true)), expected);
    assert_eq!(found(&post(&FORM.to_uppercase(), body.as_bytes(), true)), expected);
    // What is cut off is counted, not judged.
    let cut = post(FORM, body.as_bytes(), false);
    assert_eq!(found(&cut), expected[..2]);
    assert_eq!(extract(&cut, &[]).incomplete, 1);
    let elsewhere = format!("{body}&x=y");
    assert_eq!(extract(&post(FORM, elsewhere.as_bytes(), false), &[]).incomplete, 0);
    assert!(found(&post("text/plain", body.as_bytes(), true)).is_empty());
}

#[test]
fn json_bodies() {
    let t = good("a");
    let body = format!(
        r#"{{"user":{{"id":1,"access_token":"{t}"}},"list":[{{"j\u0077t":"{}"}}],"token":"abc","other":"{t}","assertion":7,"idToken":"{t}"}}"#,
        t.replace('.', "\\u002e")
    );
    let expected = [
        format!("json:access_token bare jws {t}"),
        format!("json:jwt bare jws {t}"),
        format!("json:idToken bare jws {t}"),
    ];
    for media_type in ["application/json", "application/vnd.api+json", "text/plain"] {
        assert_eq!(found(&post(media_type, body.as_bytes(), true)), expected);
    }
    let array = format!(" [{body}]");
    assert_eq!(found(&post("application/json", array.as_bytes(), true)), expected);
    // Every prefix gives the tokens that are whole in it, and no more.
    for end in 0..body.len() {
        let prefix = &body.as_bytes()[..end];
        let whole = [&*t, &t.replace('.', "\\u002e"), &t]
            .iter()
            .scan(0, |from, token| {
                let key = if token.contains('\\') { "t\":\"" } else { "oken\":\"" };
                let at = body[*from..].find(&format!("{key}{token}\""))? + *from;
                *from = at + key.len() + token.len() + 1;
                Some(*from)
            })
            .filter(|&done| done <= end)
            .count();
        let request = post("application/json", prefix, false);
        assert_eq!(found(&request), expected[..whole], "{end}");
    }
    let inside = body.find(&t).unwrap() + 9;
    let cut = post("application/json", &body.as_bytes()[..inside], false);
    assert_eq!(extract(&cut, &[]).incomplete, 1);
    assert_eq!(extract(&post("application/json", b"{\"token\"", true), &[]).incomplete, 0);
}

#[test]
fn jws_in_json_serialisation_and_bodies_that_are_a_token() {
    let t = good("a");
    let [h, p, s] = t.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let flat = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
    let general = format!(
        r#"{{"payload":"{p}","signatures":[{{"header":{{"alg":"HS256"}},"signature":"{s}"}}]}}"#
    );
    for jws in [flat, general] {
        let body = format!(" {jws}\n");
        assert_eq!(
            found(&post("application/jose+json", body.as_bytes(), true)),
            [format!("body bare jws-json {jws}")]
        );
        assert!(found(&post("application/json", body.as_bytes(), false)).is_empty());
    }
    let webhook = r#"{"payload":"abc","signature":"def","protected":"no"}"#;
    assert!(found(&post("application/json", webhook.as_bytes(), true)).is_empty());

    for media_type in ["application/jwt", "application/secevent+jwt", "Application/JOSE; a=b"] {
        let body = format!("{t}\r\n");
        assert_eq!(found(&post(media_type, body.as_bytes(), true)), [format!("body bare jws {t}")]);
        let cut = post(media_type, body.as_bytes(), false);
        assert_eq!((found(&cut).len(), extract(&cut, &[]).incomplete), (0, 1));
    }
}

#[test]
fn headers_with_white_space_before_the_object_are_known() {
    for header in
        ["{\"alg\":\"HS256\"}", " {\"alg\":\"HS256\"}", "\n{\"alg\":\"HS256\"}", "{ \"a\":1}"]
    {
        let t = jws(header, "{}");
        assert_eq!(head("/", &[&format!("Cookie: a={t}")]), [format!("cookie:a bare jws {t}")]);
    }
    let jwe = format!("{}.a.b.c.d", encode("{}"));
    assert_eq!(head("/", &[&format!("Cookie: a={jwe}")]), [format!("cookie:a bare jwe {jwe}")]);
}

#[test]
fn limits_count_what_they_leave_out() {
    let t = good("a");
    let count = |n: usize, field: &dyn Fn(usize) -> String| {
        let value: Vec<String> = (0..n).map(field).collect();
        value
    };
    let cookies = count(20, &|k| format!("c{k}={t}")).join("; ");
    let request = get("/", &[&format!("Cookie: {cookies}")]);
    let found = extract(&request, &[]);
    assert_eq!((found.candidates.len(), found.over_limit), (MAX_CANDIDATES, 4));

    let many = count(MAX_COOKIES, &|k| format!("c{k}=v")).join(";");
    let request = get("/", &[&format!("Cookie: {many}; t={t}")]);
    let found = extract(&request, &[]);
    assert_eq!((found.candidates.len(), found.over_limit), (0, 1));

    let many = "a=b&".repeat(MAX_PARAMETERS);
    let request = get(&format!("/?{many}token={t}"), &[]);
    assert_eq!(extract(&request, &[]).over_limit, 1);
    let many = "x y,".repeat(MAX_LIST);
    let request = get("/", &[&format!("Authorization: {many}Bearer {t}")]);
    assert_eq!(extract(&request, &[]).over_limit, 1);
}

#[test]
fn a_body_cannot_hide_its_token_behind_what_strict_readers_refuse() {
    let t = good("a");
    for before in
        ["\"a\":\"\\ud800\"".to_owned(), format!("\"a\":{}{}", "[".repeat(200), "]".repeat(200))]
    {
        let body = format!("{{{before},\"token\":\"{t}\"}}");
        assert_eq!(found(&post("application/json", body.as_bytes(), true)).len(), 1, "{before}");
    }
    let mut bytes = b"{\"a\":\"\xff\",\"token\":\"".to_vec();
    bytes.extend_from_slice(format!("{t}\"}}").as_bytes());
    assert_eq!(found(&post("application/json", &bytes, true)).len(), 1);
}

proptest! {
    #[test]
    fn any_request_is_searched_without_harm(
        target in "/[a-z?&=%+#._]{0,30}",
        value in "[ -~\t]{0,60}",
        body in vec(any::<u8>(), 0..60),
        complete in any::<bool>(),
        name in prop::sample::select(vec![
            "Authorization", "Cookie", "DPoP", "Sec-WebSocket-Protocol", "Content-Type", "X-API-Token",
        ]),
    ) {
        let line = format!("POST {target} HTTP/1.1");
        let field = format!("{name}: {value}");
        let _ = found(&request(&[&line, &field], &body, complete));
        for start in [&b"{"[..], b"{\"token\":\"", b"access_token=", b"[{\"payload\":\"eyJ\",\"signature\""] {
            let body = [start, &body].concat();
            for media_type in ["application/json", "application/x-www-form-urlencoded", "x/jwt"] {
                let _ = found(&post(media_type, &body, complete));
            }
        }
    }

    #[test]
    fn percent_encoding_is_resolved(bytes in vec(any::<u8>(), 0..30)) {
        let encoded: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
        prop_assert_eq!(&*percent_decode(encoded.as_bytes()), &bytes[..]);
    }
}
