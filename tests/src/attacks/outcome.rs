//! What the service made of a forgery: its answer joined with the finding.

use super::{Case, Class, Credential, Step, World};
use crate::{
    signer::{self, hmac_tag, pem},
    tokens::{self, strip_signature},
};

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    let public_key = pem("PUBLIC KEY", &signer::issuer().rsa.spki());
    let confused = good.clone().header("alg", "HS256");
    let es = Credential::new("ES256");
    let token = good.sign();
    let forgeries = [
        (
            "alg-none",
            tokens::bare(&good.header_json().replace("RS256", "none"), &good.claims_json()),
        ),
        ("signature-empty", strip_signature(&token)),
        ("signature-invalid", good.sign_by(&signer::attacker().rsa)),
        ("signature-malformed", good.sign_with(|_| vec![7; 200])),
        ("signature-psychic", es.sign_with(|_| vec![0; 64])),
        ("alg-confusion", confused.sign_with(|i| hmac_tag(public_key.as_bytes(), "HS256", i))),
    ];
    for (find, forged) in &forgeries {
        for (status, also, outcome) in [
            (200, Some("bypass-confirmed"), "bypass"),
            (401, None, "attempt"),
            (500, Some("anomalous-answer"), "error"),
        ] {
            let finds: Vec<&'static str> = [Some(*find), also].into_iter().flatten().collect();
            let play = |token: &str| vec![Step::bearer(token).status(status)];
            let name = format!("{find} answered {status}");
            out.push(
                Case::new(Class::Outcome, name, &finds, play(forged), play(&token)).ends(outcome),
            );
        }
    }
    let (_, forged) = &forgeries[2];
    let mut add = |name: &str, status, also: Option<&'static str>, outcome, path: &str| {
        let finds: Vec<&'static str> =
            [Some("signature-invalid"), also].into_iter().flatten().collect();
        let play = |token: &str| vec![Step::bearer(token).status(status).route("GET", path)];
        out.push(Case::new(Class::Outcome, name, &finds, play(forged), play(&token)).ends(outcome));
    };
    add("204", 204, Some("bypass-confirmed"), "bypass", "/orders");
    add("403", 403, None, "attempt", "/orders");
    add("404 says nothing", 404, None, "unclear", "/orders");
    add("503", 503, Some("anomalous-answer"), "error", "/orders");
    add("no answer", 0, None, "unanswered", "/orders");
    add("a public route proves no bypass", 200, None, "accepted", "/health");
    // Proven by the signature alone: no key is known.
    let made = Credential::keyless();
    let seen = made.sign();
    let next = made.claim("jti", "t-2");
    let parts: Vec<&str> = seen.split('.').collect();
    let tampered = format!("{}.{}.{}", parts[0], tokens::base64url(next.claims_json()), parts[2]);
    let play = |second: &str| vec![Step::bearer(&seen), Step::bearer(second).at(3)];
    out.push(
        Case::new(
            Class::Outcome,
            "token-tampered answered 200",
            &["token-tampered", "bypass-confirmed"],
            play(&tampered),
            play(&next.sign()),
        )
        .ends("bypass"),
    );
}
