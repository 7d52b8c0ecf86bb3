//! Proofs of possession (RFC 9449), and the tokens that they belong to.

use serde_json::{Value, json};

use super::{Case, Class, Credential, START, Step};
use crate::tokens::{base64url, ed25519, ed25519_jwk, sha256, thumbprint};

/// Ann's key, and the thief's.
const OWN: u8 = 7;
const OTHER: u8 = 8;

/// A proof before it is signed: a good one unless something is changed.
#[derive(Clone)]
struct Proof {
    key: u8,
    typ: &'static str,
    claims: Value,
}

impl Proof {
    fn new(token: &str, jti: &str) -> Self {
        let claims = json!({
            "jti": jti, "htm": "GET", "htu": "https://shop.example/orders", "iat": START,
            "ath": base64url(sha256(token.as_bytes())),
        });
        Self { key: OWN, typ: "dpop+jwt", claims }
    }

    fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    fn sign(&self) -> String {
        let jwk = ed25519_jwk(self.key);
        let header = format!(r#"{{"typ":"{}","alg":"EdDSA","jwk":{jwk}}}"#, self.typ);
        ed25519(self.key, &header, &self.claims.to_string())
    }
}

fn shown(token: &str, proof: &Proof) -> Step {
    let proof = proof.sign();
    Step::fields(format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"))
}

pub(super) fn cases(out: &mut Vec<Case>) {
    let token = Credential::new("ES256").claim("cnf", json!({ "jkt": thumbprint(OWN) })).sign();
    let good = |jti: &str| Proof::new(&token, jti);
    let mut add = |name: &str, find: &'static str, attack: Vec<Step>, twin: Vec<Step>| {
        out.push(Case::new(Class::Replay, name, &[find], attack, twin));
    };
    let replayed = "proof-replayed";
    add(
        "a proof of possession again",
        replayed,
        vec![shown(&token, &good("p-1")), shown(&token, &good("p-1")).at(2)],
        vec![shown(&token, &good("p-1")), shown(&token, &good("p-2")).at(2)],
    );
    add(
        "a proof of possession again from elsewhere",
        replayed,
        vec![shown(&token, &good("p-1")), shown(&token, &good("p-1")).at(30).from("198.51.100.66")],
        vec![shown(&token, &good("p-1")), shown(&token, &good("p-2")).at(30).from("203.0.113.77")],
    );
    let later = |jti: &str| good(jti).claim("iat", START + 290);
    add(
        "another proof under the same jti",
        replayed,
        vec![shown(&token, &good("p-1")), shown(&token, &later("p-1")).at(290)],
        vec![shown(&token, &good("p-1")), shown(&token, &later("p-2")).at(290)],
    );
    let one = |proof: &Proof| vec![shown(&token, proof)];
    let twin = || one(&good("p-1"));
    let mismatch = "dpop-proof-mismatch";
    add("a proof for another method", mismatch, one(&good("p-1").claim("htm", "POST")), twin());
    for htu in ["https://shop.example/admin", "https://evil.example/orders"] {
        let name = format!("a proof for {htu}");
        add(&name, mismatch, one(&good("p-1").claim("htu", htu)), twin());
    }
    let ath = base64url(sha256(b"another token"));
    add("a proof for another token", mismatch, one(&good("p-1").claim("ath", ath)), twin());
    let invalid = "dpop-proof-invalid";
    add("a proof made long ago", invalid, one(&good("p-1").claim("iat", START - 400)), twin());
    add("a proof made in the future", invalid, one(&good("p-1").claim("iat", START + 400)), twin());
    let broken = "dpop-binding-broken";
    add("a proof of the thief's key", broken, one(&Proof { key: OTHER, ..good("p-1") }), twin());
    let bare = Step::fields(format!("Authorization: DPoP {token}\r\n"));
    add("a bound token without a proof", broken, vec![bare], twin());
    add("a bound token as a bearer token", broken, vec![Step::bearer(&token)], twin());
    // What is due in its own field is no token.
    let offered = Step::fields(format!("Authorization: DPoP {}\r\n", good("p-1").sign()));
    out.push(Case::new(
        Class::Header,
        "a proof of possession shown as a token",
        &["dpop-binding-broken", "header-embedded-key", "issuer-unknown", "typ-wrong"],
        vec![offered],
        twin(),
    ));
    // By its type it is none, and so its key does not belong there.
    out.push(Case::new(
        Class::Header,
        "a proof of another type",
        &[invalid, "header-embedded-key"],
        one(&Proof { typ: "JWT", ..good("p-1") }),
        twin(),
    ));
}
