//! A token in other hands: replay, relay and tampering.

use serde_json::json;

use super::{Case, Class, Credential, Step, World};
use crate::{signer, tokens::base64url};

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    addresses(out);
    agents(out);
    networks(out);
    once(out);
    relay(out);
    tampering(out);
}

/// Where Ann goes, and where the thief is.
const PHONE: &str = "203.0.113.77";
const THIEF: &str = "198.51.100.66";

fn addresses(out: &mut Vec<Case>) {
    let token = Credential::new("RS256").sign();
    let keyless = Credential::keyless().sign();
    let cookie = |token: &str| Step::fields(format!("Cookie: theme=dark; session={token}\r\n"));
    let here = || Step::bearer(&token);
    let mut add = |name: &str, attack: Vec<Step>, twin: Vec<Step>| {
        let finds = &["token-replayed-address"];
        out.push(Case::new(Class::Replay, name, finds, attack, twin).ends("accepted"));
    };
    add(
        "another address two minutes later",
        vec![here(), here().at(120).from(THIEF)],
        vec![here(), here().at(50).from(PHONE)],
    );
    add(
        "the old address after the grace",
        vec![here(), here().at(30).from(PHONE), here().at(200)],
        vec![here(), here().at(30).from(PHONE), here().at(80)],
    );
    add(
        "two places by turns",
        vec![here(), here().at(100).from(THIEF), here().at(110), here().at(120).from(THIEF)],
        vec![here(), here().at(10).from(PHONE), here().at(20), here().at(30).from(PHONE)],
    );
    add(
        "an IPv6 address of another link",
        vec![here().from("2001:db8:1::7"), here().from("2001:db8:2::7").at(90)],
        vec![here().from("2001:db8:1::7"), here().from("2001:db8:1::ffff:8").at(90)],
    );
    add(
        "the other IP version in another's hands",
        vec![
            here(),
            here().from("2001:db8:66::1").at(300),
            here().at(301).from(THIEF),
            here().at(400),
        ],
        vec![here(), here().from("2001:db8:66::1").at(300), here().at(301), here().at(400)],
    );
    // The owner is at home by both IP versions, and uses both on.
    let home = || vec![here(), here().from("2001:db8:1::7").at(30), here().at(100)];
    let ends = |mut steps: Vec<Step>, step: Step| {
        steps.push(step);
        steps
    };
    add(
        "a third place beside both IP versions",
        ends(home(), here().at(300).from(THIEF)),
        ends(home(), here().at(140).from(PHONE)),
    );
    add(
        "a late move, and the owner goes on",
        vec![
            here(),
            here().from("2001:db8:1::7").at(30),
            here().at(300).from(THIEF),
            here().at(400),
        ],
        vec![
            here(),
            here().from("2001:db8:1::7").at(30),
            here().at(300).from(PHONE),
            here().from("2001:db8:1::7").at(400),
        ],
    );
    add("hours later", vec![here(), here().at(3_000).from(THIEF)], vec![here(), here().at(3_000)]);
    add(
        "in a cookie",
        vec![cookie(&token), cookie(&token).at(120).from(THIEF)],
        vec![cookie(&token), cookie(&token).at(50).from(PHONE)],
    );
    add(
        "from a cookie into a field",
        vec![cookie(&token), here().at(120).from(THIEF)],
        vec![cookie(&token), here().at(120)],
    );
    add(
        "without a key",
        vec![Step::bearer(&keyless), Step::bearer(&keyless).at(120).from(THIEF)],
        vec![Step::bearer(&keyless), Step::bearer(&keyless).at(50).from(PHONE)],
    );
    const PROXIES: [&str; 14] = [
        "203.0.113.1",
        "203.0.113.2",
        "203.0.113.3",
        "203.0.113.4",
        "203.0.113.5",
        "203.0.113.6",
        "203.0.113.7",
        "203.0.113.8",
        "203.0.113.9",
        "203.0.113.10",
        "203.0.113.11",
        "203.0.113.12",
        "203.0.113.13",
        "203.0.113.14",
    ];
    let through = |count: usize| {
        PROXIES
            .iter()
            .zip(0..)
            .take(count)
            .map(|(proxy, n)| here().from(proxy).at(n * 20))
            .collect()
    };
    add("each request through another proxy", through(13), through(12));
}

fn agents(out: &mut Vec<Case>) {
    let token = Credential::new("PS384").sign();
    let here = || Step::bearer(&token);
    let mut add = |name: &str, finds: &[&'static str], attack: Vec<Step>, twin: Vec<Step>| {
        out.push(Case::new(Class::Replay, name, finds, attack, twin).ends("accepted"));
    };
    add(
        "another user agent at the same address",
        &["token-replayed-user-agent"],
        vec![here(), here().at(20).agent("curl/8.5.0")],
        vec![here(), here().at(20)],
    );
    add(
        "another address and user agent",
        &["token-replayed-address", "token-replayed-user-agent"],
        vec![here(), here().at(120).from(THIEF).agent("python-requests/2.32")],
        vec![here(), here().at(50).from(PHONE)],
    );
    add(
        "another user agent within the grace",
        &["token-replayed-user-agent"],
        vec![here(), here().at(20).from(THIEF).agent("curl/8.5.0")],
        vec![here(), here().at(20).from(PHONE)],
    );
}

/// Autonomous systems and trusted proxies.
fn networks(out: &mut Vec<Case>) {
    let token = Credential::new("RS256").sign();
    let here = |client| Step::bearer(&token).from(client);
    let mut add = |name: &str, finds: &[&'static str], attack: Vec<Step>, twin: Vec<Step>| {
        out.push(Case::new(Class::Replay, name, finds, attack, twin).ends("accepted"));
    };
    add(
        "another network",
        &["token-replayed-address", "token-replayed-network"],
        vec![here("100.64.1.7"), here("100.64.2.7").at(120)],
        vec![here("100.64.1.7"), here("100.64.2.7").at(50)],
    );
    let behind = |client: &str| {
        Step::fields(format!("Authorization: Bearer {token}\r\nX-Forwarded-For: {client}\r\n"))
            .from("198.51.100.130")
    };
    add(
        "another address behind a trusted proxy",
        &["token-replayed-address"],
        vec![behind("192.0.2.10"), behind("203.0.113.99").at(120)],
        vec![behind("192.0.2.10"), behind("203.0.113.99, 192.0.2.10").at(120)],
    );
    add(
        "another network behind a trusted proxy",
        &["token-replayed-address", "token-replayed-network"],
        vec![behind("100.64.1.7"), behind("100.64.2.7").at(120)],
        vec![behind("100.64.1.7"), behind("100.64.1.7").at(120)],
    );
}

/// What may be used once.
fn once(out: &mut Vec<Case>) {
    let assertion = |jti: &str| {
        let token = Credential::new("RS256").claim("jti", jti).sign();
        let kind = "application/x-www-form-urlencoded";
        Step::post(kind, format!("grant_type=client_credentials&client_assertion={token}"))
            .route("POST", "/token")
    };
    let mut add = |name: &str, attack: Vec<Step>, twin: Vec<Step>| {
        out.push(Case::new(Class::Replay, name, &["proof-replayed"], attack, twin));
    };
    add(
        "a client's assertion again",
        vec![assertion("a-1"), assertion("a-1").at(40)],
        vec![assertion("a-1"), assertion("a-2").at(40)],
    );
    let keyless = |jti: &str, sub: &str| {
        Step::bearer(Credential::keyless().claim("jti", jti).claim("sub", sub).sign())
    };
    out.push(Case::new(
        Class::Replay,
        "another token under the same jti",
        &["jti-reused"],
        vec![keyless("j-1", "ann"), keyless("j-1", "bob").at(5)],
        vec![keyless("j-1", "ann"), keyless("j-2", "bob").at(5)],
    ));
    let forged = Credential::new("RS256").claim("sub", "root").sign_by(&signer::attacker().rsa);
    let genuine = Credential::new("RS256").claim("sub", "root").claim("jti", "t-9").sign();
    out.push(Case::new(
        Class::Replay,
        "a forged token under a real one's jti",
        &["jti-reused", "signature-invalid"],
        vec![Step::bearer(Credential::new("RS256").sign()), Step::bearer(forged).at(5).status(401)],
        vec![
            Step::bearer(Credential::new("RS256").sign()),
            Step::bearer(genuine).at(5).status(401),
        ],
    ));
}

/// A token of one service shown to another on the same host.
fn relay(out: &mut Vec<Case>) {
    let both = json!(["orders", "billing"]);
    let mut add = |name: &str, attack: Vec<Step>, twin: Vec<Step>| {
        out.push(Case::new(Class::Relay, name, &["token-relayed"], attack, twin));
    };
    for alg in ["RS256", "ES384", "EdDSA", "HS256"] {
        let one = Credential::new(alg).sign();
        let two = Credential::new(alg).claim("aud", both.clone()).sign();
        let play = |t: &str| vec![Step::bearer(t), Step::bearer(t).at(5).to(8081)];
        add(&format!("{alg}: from orders to billing"), play(&one), play(&two));
    }
    let one = Credential::new("RS256").claim("aud", "billing").sign();
    let two = Credential::new("RS256").claim("aud", both.clone()).sign();
    let back = |t: &str| vec![Step::bearer(t).to(8081), Step::bearer(t).at(5)];
    add("from billing to orders", back(&one), back(&two));
    let refused = |t: &str| vec![Step::bearer(t).to(8081), Step::bearer(t).at(5).status(401)];
    add("from billing to orders, refused", refused(&one), refused(&two));
    let late = |t: &str| vec![Step::bearer(t).to(8081), Step::bearer(t).at(1_800)];
    add("half an hour later", late(&one), late(&two));
    let cookie = |t: &str| Step::fields(format!("Cookie: session={t}\r\n"));
    let stolen = |t: &str| vec![Step::bearer(t).to(8081), cookie(t).at(5)];
    add("from a field into a cookie", stolen(&one), stolen(&two));
    let keyless = |aud| Credential::keyless().claim("aud", aud).sign();
    let (one, two) = (keyless(json!("orders")), keyless(both.clone()));
    let play = |t: &str| vec![Step::bearer(t), Step::bearer(t).at(5).to(8081)];
    add("without a key", play(&one), play(&two));
    // The orders service itself passes Ann's token on.
    let on = |t: &str| vec![Step::bearer(t), Step::bearer(t).at(1).from("198.51.100.20").to(8081)];
    let one = Credential::new("ES256").sign();
    let two = Credential::new("ES256").claim("aud", both).sign();
    add("passed on by the service that it was shown to", on(&one), on(&two));
    learned(&mut add);
}

/// What a service takes was learned from what it accepted.
fn learned(add: &mut impl FnMut(&str, Vec<Step>, Vec<Step>)) {
    let token = |number: u64, aud: &str| {
        let subject = format!("user-{}", number % 10);
        let token = Credential::new("EdDSA").claim("sub", subject).claim("aud", aud);
        token.claim("jti", format!("l-{number}")).sign()
    };
    let taught: Vec<Step> =
        (0..40).map(|n| Step::bearer(token(n, "shelf")).to(8083).at(n)).collect();
    let with = |aud: &str, taught: &[Step]| {
        let token = token(100, aud);
        let mut steps = taught.to_vec();
        // The twin's audience is the learning service's own: it is shown there first.
        let first = if aud == "orders" { 8080 } else { 8083 };
        steps.extend([Step::bearer(&token).to(first).at(50), Step::bearer(&token).to(8083).at(55)]);
        steps
    };
    add("to a service whose audience was learned", with("orders", &taught), with("shelf", &taught));
}

/// One signature over two tokens.
fn tampering(out: &mut Vec<Case>) {
    let swap = |token: &str, header: Option<String>, claims: Option<String>| {
        let parts: Vec<&str> = token.split('.').collect();
        let header = header.map_or_else(|| parts[0].to_owned(), base64url);
        let claims = claims.map_or_else(|| parts[1].to_owned(), base64url);
        format!("{header}.{claims}.{}", parts[2])
    };
    let made = Credential::keyless();
    let mut add = |name: &str, made: &Credential, changed: Credential, in_header: bool| {
        let seen = made.sign();
        let forged = if in_header {
            swap(&seen, Some(changed.header_json()), None)
        } else {
            swap(&seen, None, Some(changed.claims_json()))
        };
        let play = |second: &str| vec![Step::bearer(&seen), Step::bearer(second).at(3).status(403)];
        let keyless = made.claims_json().contains("keyless");
        let finds: &[&'static str] =
            if keyless { &["token-tampered"] } else { &["signature-invalid", "token-tampered"] };
        out.push(
            Case::new(Class::Tampering, name, finds, play(&forged), play(&changed.sign()))
                .ends("attempt"),
        );
    };
    let next = |made: &Credential| made.clone().claim("jti", "t-2");
    add("another subject", &made, next(&made).claim("sub", "root"), false);
    add("a longer life", &made, next(&made).claim("exp", 4_000_000_000_u64), false);
    add("another issue", &made, next(&made).claim("iat", super::START), false);
    add("an earlier beginning", &made, next(&made).claim("nbf", 0), false);
    add("another audience", &made, next(&made).claim("aud", json!(["orders", "stock"])), false);
    // The claims are the same, and a jti would name both.
    let made = made.no_claim("jti");
    add("another kid", &made, made.clone().header("kid", "k-2"), true);
    add("another typ", &made, made.clone().header("typ", "JWT"), true);
    add("a further header parameter", &made, made.clone().header("ctx", "1"), true);
    for alg in ["HS256", "RS256", "PS512", "ES256", "EdDSA"] {
        let made = Credential::new(alg);
        let name = format!("{alg}: another subject under a known key");
        add(&name, &made, next(&made).claim("sub", "bob"), false);
    }
    // The forged copy comes first, and the real one shows which of the two it was.
    let real = Credential::new("RS256");
    let token = real.sign();
    let forged = swap(&token, None, Some(next(&real).claim("sub", "bob").claims_json()));
    out.push(Case::new(
        Class::Tampering,
        "the forged copy first",
        &["signature-invalid", "token-tampered"],
        vec![Step::bearer(forged).status(401), Step::bearer(&token).at(9)],
        vec![
            Step::bearer(next(&real).claim("sub", "bob").sign()).status(401),
            Step::bearer(&token).at(9),
        ],
    ));
}
