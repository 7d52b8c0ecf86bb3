//! Cases of issuers' keys: learned from traffic, changed in it, and weak ones.

use super::{CLIENT, Case, SERVER, get, ok, status};
use crate::{
    capture::{Capture, Connection, Link},
    tokens::{SECRET, claims, ed25519, ed25519_jwk, sign},
};

/// Number of the issuer's Ed25519 key.
const ISSUER: u8 = 1;
/// Number of the attacker's.
const ATTACKER: u8 = 2;

/// A token of `https://id.example` that key `number` signed.
fn token(kid: &str, subject: &str, number: u8) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#);
    let claims = format!(
        r#"{{"iss":"https://id.example","sub":"{subject}","aud":"api","iat":1767322800,"exp":1767326400}}"#
    );
    ed25519(number, &header, &claims)
}

/// A JWK Set of public keys, each a `kid` and a key's number.
fn key_set(keys: &[(&str, u8)]) -> String {
    let named = |&(kid, number): &(&str, u8)| {
        ed25519_jwk(number).replacen('{', &format!(r#"{{"kid":"{kid}","#), 1)
    };
    format!(r#"{{"keys":[{}]}}"#, keys.iter().map(named).collect::<Vec<_>>().join(","))
}

/// Requests and their answers, in turn on one connection.
fn dialogue(exchanges: impl IntoIterator<Item = (String, String)>) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut c = Connection::new(CLIENT, SERVER);
    capture.handshake(&mut c);
    for (request, answer) in exchanges {
        capture.exchange(&mut c, request, answer);
    }
    capture.close(&mut c);
    capture.into_bytes()
}

/// A GET of a document on the issuer's host.
fn document(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: id.example\r\nAccept: application/json\r\n\r\n")
}

/// A request whose token shows in an event whatever is found of it, as it stands in the query.
fn shown(path: &str, token: &str) -> (String, String) {
    (super::with_headers(&format!("/{path}?access_token={token}"), ""), ok("{}"))
}

const SET: &str = "/.well-known/jwks.json";
/// Also what is only worth knowing raises an event.
const SHOW_ALL: Option<&str> = Some("[events]\nmin_severity = \"info\"\n");

pub(super) const CASES: &[Case] = &[
    Case {
        name: "learned-keys",
        about: "A key set in clear, tokens before and behind it, then another key under a known id.",
        config: SHOW_ALL,
        input: || {
            let (good, forged) = (token("1", "alice", ISSUER), token("1", "admin", ATTACKER));
            let set = |keys: &[(&str, u8)]| (document(SET), ok(&key_set(keys)));
            dialogue([
                shown("unverified", &good),
                set(&[("1", ISSUER)]),
                shown("verified", &good),
                shown("forged", &forged),
                // A rotation is none of the attacker's: a new name.
                set(&[("2", ATTACKER), ("1", ISSUER)]),
                set(&[("1", ATTACKER)]),
                set(&[("1", ATTACKER)]),
                shown("still-verified", &good),
                shown("still-forged", &forged),
            ])
        },
    },
    Case {
        name: "learned-keys-elsewhere",
        about: "A key set where its issuer need not have put it teaches nothing; discovery tells.",
        config: SHOW_ALL,
        input: || {
            let own = token("evil", "admin", ATTACKER);
            let evil = key_set(&[("evil", ATTACKER)]);
            let discovery = |issuer: &str| {
                ok(&format!(
                    r#"{{"issuer":"{issuer}","jwks_uri":"https://id.example/oauth/certs"}}"#
                ))
            };
            dialogue([
                (document("/uploads/mine.json"), ok(&evil)),
                (document("/uploads/.well-known/jwks.json"), ok(&evil)),
                (document(&format!("{SET}?x=1")), ok(&evil)),
                (document(SET), status("404 Not Found", &evil)),
                (document("/oauth/certs"), ok(&key_set(&[("1", ISSUER)]))),
                (
                    document("/uploads/.well-known/openid-configuration"),
                    discovery("https://id.example"),
                ),
                (document("/oauth/certs"), ok(&evil)),
                shown("not-learned", &own),
                (document("/.well-known/openid-configuration"), discovery("https://id.example/")),
                (document("/oauth/certs"), ok(&key_set(&[("1", ISSUER)]))),
                shown("learned", &token("1", "alice", ISSUER)),
                shown("still-not-learned", &own),
            ])
        },
    },
    Case {
        name: "learned-keys-off",
        about: "The same key set and tokens where learning is turned off.",
        config: Some("[events]\nmin_severity = \"info\"\n[keys]\nlearn = false\n"),
        input: || {
            dialogue([
                (document(SET), ok(&key_set(&[("1", ISSUER)]))),
                shown("good", &token("1", "alice", ISSUER)),
                shown("forged", &token("1", "admin", ATTACKER)),
                (document(SET), ok(&key_set(&[("1", ATTACKER)]))),
            ])
        },
    },
    Case {
        name: "weak-secret",
        about: "HS256 with a secret of the list, and twins that differ in the secret alone.",
        config: Some("[tokens]\nweak_secrets_file = \"weak-secrets.txt\"\n"),
        input: || {
            let signed = |kid: &str, secret: &[u8]| {
                let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#);
                get(&format!("/{kid}"), &sign(&header, &claims("alice"), secret))
            };
            let refused = || status("401 Unauthorized", "{}");
            dialogue([
                (signed("twin", SECRET), ok("{}")),
                (signed("weak", b"changeme"), ok("{}")),
                // Told once for each key.
                (signed("weak", b"changeme"), ok("{}")),
                // What no service accepted says nothing of the issuer's secret, and uses up no try.
                (signed("refused", b"changeme"), refused()),
                (signed("later", SECRET), refused()),
                (signed("later", b"secret"), ok("{}")),
            ])
        },
    },
];
