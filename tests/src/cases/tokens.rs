//! Cases of tokens: where they are found, and what is wrong with them.

use std::time::Duration;

use super::{CLIENT, Case, SERVER, get, ok, post, script, status, with_headers};
use crate::{
    capture::{Capture, Connection, Link},
    tokens::{
        self, HS256_HEADER as HEADER, SECRET, alg_none, bare as unsigned, base64url, claims, good,
        sized,
    },
};

const fn case(name: &'static str, about: &'static str, input: fn() -> Vec<u8>) -> Case {
    Case { name, about, config: None, input }
}

fn sign(header: &str, payload: &str) -> String {
    tokens::sign(header, payload, SECRET)
}

/// One request for each token, in turn on one connection, answered 200.
fn each(tokens: &[(&str, String)]) -> Vec<u8> {
    each_request(tokens.iter().map(|(name, token)| get(&format!("/{name}"), token)))
}

fn each_request(requests: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut c = Connection::new(CLIENT, SERVER);
    capture.handshake(&mut c);
    for request in requests {
        capture.exchange(&mut c, request, ok("{}"));
    }
    capture.close(&mut c);
    capture.into_bytes()
}

pub(super) const CASES: &[Case] = &[
    case("token-everywhere", "A forged token in every place where one is looked for.", || {
        let t = alg_none("admin");
        let field = |scheme: &str| {
            with_headers(&format!("/{scheme}"), &format!("Authorization: {scheme} {t}\r\n"))
        };
        let mut requests: Vec<String> =
            ["Bearer", "bEARER", "DPoP", "Token", "JWT"].map(field).to_vec();
        requests
            .push(with_headers("/white-space", &format!("authorization:\t Bearer \t {t} \t\r\n")));
        requests.push(with_headers("/bare", &format!("Authorization: {t}\r\n")));
        requests
            .push(with_headers("/cookie", &format!("Cookie: theme=dark; session={t}; x=1\r\n")));
        for name in ["access_token", "token", "jwt"] {
            requests.push(with_headers(&format!("/query?a=1&{name}={t}&b=2"), ""));
        }
        let form = "application/x-www-form-urlencoded";
        requests.push(post("/form", form, &format!("grant=x&access_token={t}")));
        requests.push(post("/json", "application/json", &format!(r#"{{"n":1,"token":"{t}"}}"#)));
        let websocket = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: bearer, {t}\r\n"
        );
        requests.push(with_headers("/websocket-protocol", &websocket));
        each_request(requests)
    }),
    Case {
        name: "kill-would-have",
        about: "What mode kill would have cut in a capture: a forgery, and what is let pass.",
        config: Some(concat!(
            "[enforcement]\nmode = \"kill\"\ndeny = [\"token\", \"address\"]\n",
            "[[enforcement.rule]]\nfinding = \"http-missing-host\"\naction = \"allow\"\n",
            "[[enforcement.rule]]\nfinding = \"token-in-query\"\naction = \"kill\"\n",
            "[enforcement.allow]\nroutes = [\"GET /health/{probe}\"]\n",
        )),
        input: || {
            let forged = alg_none("admin");
            each_request([
                get("/orders", &forged),
                get("/health/live?x=1", &forged),
                get("/health/../orders", &forged),
                with_headers(&format!("/orders?access_token={}", good("alice")), ""),
                get("/orders", &good("alice")),
                "GET /no-host HTTP/1.1\r\n\r\n".to_owned(),
            ])
        },
    },
    Case {
        name: "token-in-configured-header",
        about: "A header that the configuration names carries the token; another is not read.",
        config: Some("[tokens]\nheaders = [\"X-Access-Token\"]\n"),
        input: || {
            let t = alg_none("admin");
            each_request(
                ["X-Access-Token", "X-Other-Token"]
                    .map(|name| with_headers(&format!("/{name}"), &format!("{name}: {t}\r\n"))),
            )
        },
    },
    case("token-over-segments", "A token that is split over three segments.", || {
        script(|capture, c| {
            c.mss = 100;
            capture.exchange(c, get("/split", &alg_none("admin")), ok("{}"));
            capture.close(c);
        })
    }),
    case("alg-none", "`none` in several cases and disguises, signed and unsigned.", || {
        let header = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        let payload = claims("admin");
        each(&[
            ("none", unsigned(&header("none"), &payload)),
            ("None", unsigned(&header("None"), &payload)),
            ("NONE", unsigned(&header("NONE"), &payload)),
            ("nOnE", unsigned(&header("nOnE"), &payload)),
            ("escaped", unsigned(&header("n\\u006fne"), &payload)),
            ("with-signature", sign(&header("none"), &payload)),
            ("answered-later", unsigned(&header("none"), &claims("root"))),
        ])
    }),
    case("alg-none-rejected", "The same forgery, answered 401.", || {
        script(|capture, c| {
            capture.exchange(
                c,
                get("/admin", &alg_none("admin")),
                status("401 Unauthorized", "{}"),
            );
            capture.close(c);
        })
    }),
    case("duplicate-json-keys", "A member twice in the header, or in the claims.", || {
        each(&[
            ("header", sign(r#"{"alg":"HS256","typ":"JWT","alg":"none"}"#, &claims("alice"))),
            ("claims", sign(HEADER, r#"{"sub":"alice","exp":1767326400,"sub":"admin"}"#)),
            ("escaped", sign(HEADER, r#"{"sub":"alice","s\u0075b":"admin"}"#)),
            ("nested", sign(HEADER, r#"{"sub":"alice","realm":{"role":"user","role":"admin"}}"#)),
        ])
    }),
    case(
        "noncanonical-base64",
        "Padding, the other alphabet, spare bits that are not zero.",
        || {
            let plain = good("alice");
            // The last character of a signature of 32 bytes has two spare bits.
            let (rest, last) = plain.split_at(plain.len() - 1);
            let spare = base64url_neighbour(last);
            let parts: Vec<&str> = plain.split('.').collect();
            each(&[
                ("spare-bits", format!("{rest}{spare}")),
                ("padding", format!("{plain}=")),
                ("foreign", format!("{}.{}.{}", parts[0], parts[1], "+/".repeat(21) + "A")),
            ])
        },
    ),
    case("empty-signature", "An algorithm is named, but nothing is signed.", || {
        each(&[
            ("hs256", unsigned(HEADER, &claims("admin"))),
            ("rs256", unsigned(r#"{"alg":"RS256","kid":"1"}"#, &claims("admin"))),
        ])
    }),
    case("embedded-jwk", "The header brings its own key, as jwk or as x5c.", || {
        let key = r#"{"kty":"oct","k":"c2VjcmV0"}"#;
        each(&[
            ("jwk", sign(&format!(r#"{{"alg":"HS256","jwk":{key}}}"#), &claims("admin"))),
            ("x5c", sign(r#"{"alg":"RS256","x5c":["MIIBszCCARygAwIBAgI="]}"#, &claims("admin"))),
        ])
    }),
    case("unknown-crit", "crit with an unknown extension, empty, or of the wrong type.", || {
        let header = |crit: &str| format!(r#"{{"alg":"HS256","crit":{crit},"x-ext":1}}"#);
        each(&[
            ("unknown", sign(&header(r#"["x-ext"]"#), &claims("alice"))),
            ("empty", sign(&header("[]"), &claims("alice"))),
            ("string", sign(&header(r#""x-ext""#), &claims("alice"))),
        ])
    }),
    case("malformed-token", "The shape of a token whose parts do not decode.", || {
        let header = base64url(HEADER);
        let signature = base64url([7; 32]);
        each(&[
            (
                "header-no-json",
                format!("{}.{}.{signature}", base64url(b"{\"alg\":"), base64url(b"{}")),
            ),
            ("payload-no-json", format!("{header}.{}.{signature}", base64url(b"not json"))),
            ("payload-array", format!("{header}.{}.{signature}", base64url(b"[1]"))),
            ("four-parts", format!("{header}.{}.{signature}.{signature}", base64url(b"{}"))),
            ("no-payload", format!("{header}..{signature}")),
        ])
    }),
    case("oversize-token", "A token of 20 KiB, and one just of 8 KiB.", || {
        each(&[("20k", sized("alice", 20 << 10)), ("8k", sized("alice", 8 << 10))])
    }),
    case("deep-token", "Claims that nest 200 levels deep.", || {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        each(&[("deep", sign(HEADER, &deep))])
    }),
    case(
        "several-tokens",
        "Different tokens in one request; the same token twice; two Authorization fields.",
        || {
            let (a, b) = (good("alice"), good("admin"));
            each_request([
                with_headers(
                    "/differ",
                    &format!("Authorization: Bearer {a}\r\nCookie: session={b}\r\n"),
                ),
                with_headers(
                    "/same",
                    &format!("Authorization: Bearer {a}\r\nCookie: session={a}\r\n"),
                ),
                with_headers(
                    "/two",
                    &format!("Authorization: Bearer {a}\r\nAuthorization: Bearer {b}\r\n"),
                ),
                with_headers(
                    &format!("/query?access_token={b}"),
                    &format!("Authorization: Bearer {a}\r\n"),
                ),
            ])
        },
    ),
    case("benign-traffic", "Ordinary requests of many kinds: no event may come of them.", benign),
];

/// A character whose spare bits differ but that stands for the same signature bytes.
fn base64url_neighbour(last: &str) -> char {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.iter().position(|&c| last.as_bytes() == [c]).expect("base64url");
    char::from(alphabet[at ^ 1])
}

fn benign() -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut flows: Vec<Connection> = (0..4)
        .map(|k| Connection::new(&format!("192.0.2.{}:{}", 10 + k, 40_000 + k), SERVER))
        .collect();
    for c in &mut flows {
        capture.handshake(c);
    }
    for round in 0..6 {
        for (k, c) in flows.iter_mut().enumerate() {
            let token = good(&format!("user-{k}"));
            let (request, response) = match round {
                0 => (get("/items?page=2&sort=name", &token), ok(r#"[{"id":1}]"#)),
                1 => (with_headers("/health", ""), ok("{}")),
                2 => (
                    post("/items", "application/json", r#"{"name":"a.b.c","price":1.5}"#),
                    status("201 Created", "{}"),
                ),
                3 => (
                    with_headers("/page", "Cookie: theme=dark; sid=0123456789abcdef\r\n"),
                    ok(&"x".repeat(5_000)),
                ),
                4 => (
                    with_headers("/basic", "Authorization: Basic YWxpY2U6c2VjcmV0\r\n"),
                    status("403 Forbidden", "{}"),
                ),
                _ => (
                    get("/static/app.min.js", &token),
                    "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned(),
                ),
            };
            capture.exchange(c, request, response);
            capture.wait(Duration::from_millis(40));
        }
    }
    for c in &mut flows {
        capture.close(c);
    }
    capture.into_bytes()
}
