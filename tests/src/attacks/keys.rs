//! Keys that were learned from traffic, and secrets that stand in a list.
//!
//! What is told of a key is an event of its own kind; what is told of a token stands on its
//! request.

use serde_json::{Value, json};

use super::{Case, Class, Credential, Step, World, run::REMOTE};
use crate::signer::{self, Signer, hmac_tag, pem};

/// What [`World`] lists as weak.
pub(super) const WEAK: [&str; 4] = ["secret", "changeme", "letmein-letmein", "correct horse"];
/// The secret of `https://weak.example`, which is in the list.
pub(super) const CONFIGURED: &str = WEAK[2];

/// The algorithms of which a public key can be learned.
const LEARNED: [&str; 5] = ["RS256", "PS384", "ES256", "ES512", "EdDSA"];
const SET: &str = "/.well-known/jwks.json";

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    changed(out);
    mismatch(out);
    weak(out);
    missing(out);
}

fn case(name: String, find: &'static str, attack: Vec<Step>, twin: Vec<Step>) -> Case {
    Case::new(Class::Keys, name, &[find], attack, twin)
}

/// A JWK under another name.
fn named(kid: &str, key: &Signer) -> Value {
    let mut jwk = key.jwk();
    jwk["kid"] = kid.into();
    jwk
}

/// The keyless issuer's host serves a key set in clear.
fn served(keys: &[Value]) -> Step {
    Step::fields("").route("GET", SET).host("keyless.example").reply(&json!({ "keys": keys }))
}

/// A key set in clear with another key under a name that is pinned.
fn changed(out: &mut Vec<Case>) {
    for alg in LEARNED {
        let (own, other) = (signer::issuer().of(alg), signer::attacker().of(alg));
        let play = |second: &[Value]| vec![served(&[named("k-1", own)]), served(second).at(60)];
        out.push(case(
            format!("{alg}: another key under a pinned name, beside a rotation"),
            "learned-key-changed",
            play(&[named("k-1", other)]),
            play(&[named("k-2", other), named("k-1", own)]),
        ));
    }
    let (own, other) = (&signer::issuer().p256, &signer::attacker().p256);
    // By the address that discovery announced.
    let discovery = |issuer: &str| {
        let document = json!({ "issuer": issuer, "jwks_uri": "https://keyless.example/certs" });
        let path = "/.well-known/openid-configuration";
        Step::fields("").route("GET", path).host("keyless.example").reply(&document)
    };
    let play = |issuer: &str, key: &Signer| {
        vec![
            served(&[named("k-1", own)]),
            discovery(issuer).at(5),
            served(&[named("k-1", key)]).route("GET", "/certs").at(10),
        ]
    };
    out.push(case(
        "another key where discovery points to".into(),
        "learned-key-changed",
        play("https://keyless.example", other),
        play("https://keyless.example", own),
    ));
}

/// A token that the key which was learned for its name did not make.
fn mismatch(out: &mut Vec<Case>) {
    for alg in LEARNED {
        let good =
            Credential::new(alg).claim("iss", "https://keyless.example").header("kid", "k-1");
        let own = signer::issuer().of(alg);
        let play = |token: &str, status| {
            vec![served(&[named("k-1", own)]), Step::bearer(token).at(5).status(status)]
        };
        let (forged, twin) = (good.sign_by(signer::attacker().of(alg)), good.sign());
        for (status, outcome) in [(403, "attempt"), (200, "accepted")] {
            let (attack, twin) = (play(&forged, status), play(&twin, status));
            let name = format!("{alg}: not of the learned key, answered {status}");
            out.push(case(name, "learned-key-mismatch", attack, twin).ends(outcome));
        }
        // The pin outlasts a set with the attacker's key.
        let swapped = |token: &str, key: &Signer| {
            vec![
                served(&[named("k-1", own)]),
                served(&[named("k-1", key)]).at(5),
                Step::bearer(token).at(10),
            ]
        };
        let finds = &["learned-key-changed", "learned-key-mismatch"];
        let name = format!("{alg}: the learned key replaced, and used");
        let attack = swapped(&forged, signer::attacker().of(alg));
        out.push(Case::new(Class::Keys, name, finds, attack, swapped(&twin, own)));
    }
    let good = Credential::keyless();
    let own = &signer::issuer().p256;
    let play =
        |token: &str| vec![served(&[named("k-1", own)]), Step::bearer(token).at(5).status(403)];
    let hs = good.clone().header("alg", "HS256");
    for (name, find, secret) in [
        ("an HMAC under a learned key's name", "learned-key-mismatch", b"guessed".to_vec()),
        (
            "an HMAC with a learned key",
            "alg-confusion",
            pem("PUBLIC KEY", &own.spki()).into_bytes(),
        ),
    ] {
        let forged = hs.sign_with(|input| hmac_tag(&secret, "HS256", input));
        out.push(case(name.into(), find, play(&forged), play(&good.sign())).ends("attempt"));
    }
}

/// An accepted token whose secret everybody can guess.
fn weak(out: &mut Vec<Case>) {
    let strong = "a secret that stands in no list, and is long enough";
    let unknown = Credential::keyless();
    let signed = |base: &Credential, alg: &str, secret: &str| {
        let token = base.clone().header("alg", alg);
        token.sign_with(|input| hmac_tag(secret.as_bytes(), alg, input))
    };
    for alg in ["HS256", "HS384", "HS512"] {
        for secret in WEAK {
            let name = format!("{alg} with the secret {secret:?}");
            let play = |secret| vec![Step::bearer(signed(&unknown, alg, secret))];
            out.push(case(name, "weak-secret", play(secret), play(strong)));
        }
    }
    // What a service refuses is not the issuer's: it says nothing, and uses up no try.
    let play = |first, second| {
        vec![
            Step::bearer(signed(&unknown, "HS256", first)).status(401),
            Step::bearer(signed(&unknown.clone().claim("jti", "t-2"), "HS256", second)).at(5),
        ]
    };
    let attack = play(strong, WEAK[0]);
    out.push(case(
        "behind one that was refused".into(),
        "weak-secret",
        attack,
        play(WEAK[0], strong),
    ));
    // Told of a key that is configured as well.
    let own = unknown.clone().claim("iss", "https://weak.example").no_header("kid");
    let attack = vec![Step::bearer(signed(&own, "HS256", CONFIGURED))];
    let twin = vec![Step::bearer(Credential::new("HS256").sign())];
    out.push(case("the secret of a configured issuer".into(), "weak-secret", attack, twin));
}

/// A key that is not among its issuer's even after they were fetched again.
fn missing(out: &mut Vec<Case>) {
    for alg in LEARNED {
        let good = Credential::new(alg).claim("iss", REMOTE);
        let forged = good.clone().header("kid", "invented").sign_by(signer::attacker().of(alg));
        for (status, answer) in [(401, "refused"), (200, "accepted")] {
            let play = |token: &str| vec![Step::bearer(token).status(status)];
            let name = format!("{alg}: a key that no fetch brings, {answer}");
            out.push(case(name, "kid-unknown", play(&forged), play(&good.sign())));
        }
    }
}
