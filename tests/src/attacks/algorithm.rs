//! The algorithm that a token claims for itself (RFC 8725, sections 2.1, 3.1 and 3.2).

use super::{Case, Class, Credential, Step, World};
use crate::{
    signer::{self, Signer, hmac_tag, pem},
    tokens,
};

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    none(out);
    not_allowed(out);
    confusion(out);
    unsupported(out);
    family(out);
}

fn case(name: String, finds: &[&'static str], attack: String, twin: String) -> Case {
    Case::refused(Class::Algorithm, name, finds, attack, twin)
}

fn none(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    for spelled in
        ["none", "None", "NONE", "nOnE", r"\u006eone", r"n\u004fne", " none", r"none\u0000"]
    {
        let header = good.header_json().replace("RS256", spelled);
        let forged = tokens::bare(&header, &good.claims_json());
        out.push(case(format!("alg {spelled:?}, unsigned"), &["alg-none"], forged, good.sign()));
    }
    let header = good.header_json().replace("RS256", "none");
    let forged = good.sign_header(&header);
    out.push(case("alg none, a signature kept".into(), &["alg-none"], forged, good.sign()));
    let header = good.header_json().replace("\"RS256\"", "\"RS256\",\"alg\":\"none\"");
    out.push(case(
        "alg twice, none the second".into(),
        &["alg-none", "token-duplicate-key"],
        good.sign_header(&header),
        good.sign(),
    ));
}

/// Real signatures by the issuer's real keys, with algorithms that it does not use.
fn not_allowed(out: &mut Vec<Case>) {
    let strict = |alg| Credential::new(alg).claim("iss", "https://es.example");
    let twin = strict("ES256").sign();
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "EdDSA"] {
        let name = format!("{alg} where ES256 alone is allowed");
        out.push(case(name, &["alg-not-allowed"], strict(alg).sign(), twin.clone()));
    }
    for alg in ["HS256", "HS384", "HS512"] {
        let secret = tokens::SECRET;
        let good = Credential::new("RS256");
        let forged =
            good.clone().header("alg", alg).sign_with(|input| hmac_tag(secret, alg, input));
        let name = format!("{alg} where the issuer has public keys alone");
        out.push(case(name, &["alg-not-allowed"], forged, good.sign()));
    }
}

/// Each form in which an attacker has the public key, as the secret of an HMAC.
fn confusion(out: &mut Vec<Case>) {
    let keys = signer::issuer();
    let mut add = |alg: &str, hs: &str, form: &str, secret: &[u8]| {
        let good = Credential::new(alg);
        let forged = good.clone().header("alg", hs).sign_with(|input| hmac_tag(secret, hs, input));
        let name = format!("{hs} with the {alg} key as {form}");
        out.push(case(name, &["alg-confusion"], forged, good.sign()));
    };
    let spki_pem = |key: &Signer| pem("PUBLIC KEY", &key.spki());
    let rsa_pem = spki_pem(&keys.rsa);
    add("RS256", "HS256", "PEM", rsa_pem.as_bytes());
    add("RS256", "HS384", "PEM", rsa_pem.as_bytes());
    add("RS256", "HS512", "PEM", rsa_pem.as_bytes());
    add("RS256", "HS256", "PEM without its last line end", rsa_pem.trim_end().as_bytes());
    add("PS256", "HS256", "DER", &keys.rsa.spki());
    add("RS256", "HS256", "PKCS#1 PEM", pem("RSA PUBLIC KEY", &keys.rsa.pkcs1()).as_bytes());
    add("RS256", "HS256", "PKCS#1 DER", &keys.rsa.pkcs1());
    add("ES256", "HS256", "PEM", spki_pem(&keys.p256).as_bytes());
    add("ES384", "HS384", "DER", &keys.p384.spki());
    add("EdDSA", "HS256", "PEM", spki_pem(&keys.ed).as_bytes());
}

fn unsupported(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    for alg in ["rs256", "RS257", "HMAC"] {
        let forged = good.sign_header(&good.header_json().replace("RS256", alg));
        out.push(case(format!("alg {alg}"), &["alg-unsupported"], forged, good.sign()));
    }
}

/// A key id that has signed with one family, and now with another.
fn family(out: &mut Vec<Case>) {
    let seen = Credential::new("RS256").sign();
    let next = Credential::new("RS256").claim("jti", "t-2");
    let mut add = |name: &str, finds: &[&'static str], attack: String| {
        let dialogue =
            |second: &str| vec![Step::bearer(&seen), Step::bearer(second).at(5).status(403)];
        out.push(
            Case::new(Class::Algorithm, name, finds, dialogue(&attack), dialogue(&next.sign()))
                .ends("attempt"),
        );
    };
    let hs = next.clone().header("alg", "HS256");
    add(
        "a kid that signed RS256 signs HS256",
        &["alg-family-changed", "alg-not-allowed"],
        hs.sign_with(|input| hmac_tag(tokens::SECRET, "HS256", input)),
    );
    let es = next.clone().header("alg", "ES256");
    add(
        "a kid that signed RS256 signs ES256",
        &["alg-family-changed", "alg-not-allowed"],
        es.sign_with(|input| signer::attacker().p256.sign("ES256", input)),
    );
}
