//! Cases of what is over: revoked tokens, ended sessions, and proofs of possession.

use std::time::Duration;

use super::{CLIENT, Case, File, SERVER, get, ok, post, status, with_headers};
use crate::{
    capture::{Capture, Connection, Link},
    tokens::{
        HS256_HEADER, SECRET, base64url, ed25519, ed25519_jwk, good, sha256, sign, thumbprint,
    },
};

const FORM: &str = "application/x-www-form-urlencoded";

/// The issuer of the cases signs with key 1.
const ISSUER: &str =
    "[[issuer]]\nissuer = \"https://issuer.example\"\nkey_files = [\"issuer.jwk\"]\n";

const LISTED: &str = "[revocation]\nlist_file = \"revoked\"\n";

fn issuer_key() -> Vec<u8> {
    ed25519_jwk(1).into_bytes()
}

/// An access token of a session.
fn access(subject: &str, session: &str) -> String {
    let claims = format!(
        r#"{{"iss":"https://issuer.example","sub":"{subject}","sid":"{session}","aud":"api","iat":1767322800,"exp":1767326400,"jti":"{subject}-{session}"}}"#
    );
    ed25519(1, r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims)
}

/// A logout token for a session, signed with key `key`.
fn logout(key: u8, session: &str) -> String {
    let claims = format!(
        r#"{{"iss":"https://issuer.example","aud":"app","sub":"alice","sid":"{session}","iat":1767323045,"exp":1767323165,"jti":"out-{key}-{session}","events":{{"http://schemas.openid.net/event/backchannel-logout":{{}}}}}}"#
    );
    ed25519(key, r#"{"alg":"EdDSA","typ":"logout+jwt"}"#, &claims)
}

/// A token is used, something is posted and answered, and the token is used again later.
fn used_around(capture: &mut Capture, c: &mut Connection, token: &str, post: &str, answer: &str) {
    capture.exchange(c, get("/before", token), ok("{}"));
    capture.exchange(c, post, answer);
    capture.exchange(c, get("/under-way", token), ok("{}"));
    capture.wait(Duration::from_secs(6));
    capture.exchange(c, get("/after", token), ok("{}"));
    capture.close(c);
}

fn revoked(answer: &str) -> Vec<u8> {
    let answer = status(answer, "");
    let token = good("alice");
    script_with(|capture, c| {
        let body = format!("token={token}&token_type_hint=access_token");
        used_around(capture, c, &token, &post("/oauth2/revoke", FORM, &body), &answer);
    })
}

fn logged_out(key: u8, session: &str) -> Vec<u8> {
    script_with(|capture, c| {
        let body = format!("logout_token={}", logout(key, session));
        let post = post("/backchannel-logout", FORM, &body);
        used_around(capture, c, &access("alice", "s1"), &post, &ok(""));
    })
}

fn script_with(run: impl FnOnce(&mut Capture, &mut Connection)) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut c = Connection::new(CLIENT, SERVER);
    capture.handshake(&mut c);
    run(&mut capture, &mut c);
    capture.into_bytes()
}

/// What the list of the cases holds.
fn list() -> Vec<u8> {
    let fingerprint =
        jotwatch::fingerprint_key::REPLAY.fingerprint(access("by-print", "s9").as_bytes());
    format!(
        "# what leaked\n{{\"fingerprint\":\"{fingerprint}\"}}\n{{\"jti\":\"by-jti-s9\"}}\n\
        {{\"iss\":\"https://issuer.example\",\"jti\":\"by-own-jti-s9\"}}\n\
        {{\"iss\":\"https://issuer.example\",\"sub\":\"by-sub\"}}\n\
        {{\"iss\":\"https://issuer.example\",\"sid\":\"s8\"}}\n\
        {{\"iss\":\"https://other.example\",\"sub\":\"alice\"}}\n"
    )
    .into_bytes()
}

fn uses(tokens: &[(&str, &str)]) -> Vec<u8> {
    script_with(|capture, c| {
        for (subject, session) in tokens {
            capture.exchange(c, get(&format!("/{subject}"), &access(subject, session)), ok("{}"));
        }
        capture.close(c);
    })
}

/// An access token that is bound to key 7.
fn bound() -> String {
    let claims = format!(
        r#"{{"iss":"https://issuer.example","sub":"alice","aud":"api","iat":1767322800,"exp":1767326400,"cnf":{{"jkt":"{}"}}}}"#,
        thumbprint(7)
    );
    sign(HS256_HEADER, &claims, SECRET)
}

/// A proof of key `key` for `GET https://api.example/PATH` with [`bound`].
fn proof(key: u8, path: &str, jti: &str) -> String {
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{}}}"#, ed25519_jwk(key));
    let ath = base64url(sha256(bound().as_bytes()));
    let claims = format!(
        r#"{{"jti":"{jti}","htm":"GET","htu":"https://api.example/{path}","iat":1767323045,"ath":"{ath}"}}"#
    );
    ed25519(key, &header, &claims)
}

fn proven(path: &str, proof: &str) -> String {
    let lines = format!("Authorization: DPoP {}\r\nDPoP: {proof}\r\n", bound());
    with_headers(&format!("/{path}"), &lines)
}

fn requests(requests: Vec<String>) -> Vec<u8> {
    script_with(|capture, c| {
        for request in requests {
            capture.exchange(c, request, ok("{}"));
        }
        capture.close(c);
    })
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "token-after-revocation",
        about: "A token is revoked on the wire (RFC 7009) and used 6 s later; one use was under way.",
        config: None,
        input: || revoked("200 OK"),
    },
    Case {
        name: "benign-revocation-refused",
        about: "The same, but the revocation is refused: the token goes on.",
        config: None,
        input: || revoked("400 Bad Request"),
    },
    Case {
        name: "token-after-logout",
        about: "A session is ended by back-channel logout, and a token of it used 6 s later.",
        config: Some(ISSUER),
        input: || logged_out(1, "s1"),
    },
    Case {
        name: "benign-logout-elsewhere",
        about: "The same with a logout token for another session of the subject.",
        config: Some(ISSUER),
        input: || logged_out(1, "s2"),
    },
    Case {
        name: "logout-token-forged",
        about: "The same with a logout token under another key: it is found, and ends nothing.",
        config: Some(ISSUER),
        input: || logged_out(2, "s1"),
    },
    Case {
        name: "token-listed",
        about: "Tokens that the list names by fingerprint, jti, (iss, jti), (iss, sub) and (iss, sid).",
        config: Some(LISTED),
        input: || {
            uses(&[
                ("by-print", "s9"),
                ("by-jti", "s9"),
                ("by-own-jti", "s9"),
                ("by-sub", "s9"),
                ("by-sid", "s8"),
            ])
        },
    },
    Case {
        name: "benign-not-listed",
        about: "Tokens beside those that the list names.",
        config: Some(LISTED),
        input: || uses(&[("alice", "s1"), ("bob", "s9"), ("carol", "s7")]),
    },
    Case {
        name: "dpop-misused",
        about: "Proofs replayed, for another method, path, host or token, of another key, or missing.",
        config: None,
        input: || {
            let other_method = "POST /a HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0\r\n";
            let own = |jti| proof(7, "a", jti);
            let lines = |token: &str, proof: &str| {
                format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n")
            };
            requests(vec![
                proven("a", &own("1")),
                proven("a", &own("1")),
                format!("{other_method}{}\r\n", lines(&bound(), &own("2"))),
                proven("b", &own("3")),
                proven("a", &own("4")).replace("Host: api", "Host: other"),
                with_headers("/a", &lines(&good("bob"), &own("5"))),
                proven("a", &proof(8, "a", "6")),
                get("/a", &bound()),
                with_headers("/a", &format!("Authorization: DPoP {}\r\n", bound())),
            ])
        },
    },
    Case {
        name: "benign-dpop",
        about: "A bound token with a fresh proof for each request.",
        config: None,
        input: || {
            requests(vec![
                proven("a", &proof(7, "a", "1")),
                proven("a?page=2", &proof(7, "a", "2")),
                proven("b", &proof(7, "b", "3")),
            ])
        },
    },
    Case {
        name: "token-of-another-type",
        about: "A proof and a logout token offered as access tokens.",
        config: Some(ISSUER),
        input: || {
            requests(vec![get("/proof", &proof(7, "a", "1")), get("/logout", &logout(1, "s1"))])
        },
    },
    Case {
        name: "encrypted-token",
        about: "Five parts where the one configured issuer signs.",
        config: Some(ISSUER),
        input: encrypted,
    },
    Case {
        name: "benign-encrypted-token",
        about: "The same where the issuer says that it encrypts.",
        config: Some(
            "[[issuer]]\nissuer = \"https://issuer.example\"\nkey_files = [\"issuer.jwk\"]\n\
            encrypted = true\n",
        ),
        input: encrypted,
    },
];

fn encrypted() -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [br#"{"alg":"dir","enc":"A256GCM"}"#, b"", &[1; 12], &[2; 64], &[3; 16]];
    requests(vec![get("/encrypted", &parts.map(base64url).join("."))])
}

pub(super) const FILES: &[File] = &[
    ("token-after-logout", "issuer.jwk", issuer_key),
    ("benign-logout-elsewhere", "issuer.jwk", issuer_key),
    ("logout-token-forged", "issuer.jwk", issuer_key),
    ("token-of-another-type", "issuer.jwk", issuer_key),
    ("encrypted-token", "issuer.jwk", issuer_key),
    ("benign-encrypted-token", "issuer.jwk", issuer_key),
    ("token-listed", "revoked", list),
    ("benign-not-listed", "revoked", list),
];
