//! The attacks and their twins.

use super::{
    attacks::{
        BANK, Case,
        Step::{self, Restart, Revoke, Teach},
        from, ok, service, token, unchecked,
    },
    *,
};

pub(super) fn cases() -> Vec<Case> {
    use FindingId::*;
    use Severity::{Critical, High, Medium};
    let mut cases = Vec::new();
    let mut case = |name, id, least, attack, twin| {
        cases.push(Case { name, id, least, attack, twin });
    };
    let t = token("t");
    let with_scopes = |name, scopes| Use { scopes, ..token(name) };
    let with_roles = |name, roles| Use { roles, ..token(name) };
    let bank = |audiences| service("bank", 9090, audiences);

    // Replay.
    case(
        "another address after a pause",
        TokenReplayedAddress,
        Medium,
        vec![ok(0, t), ok(61, from("203.0.113.9", t))],
        vec![ok(0, t), ok(60, from("203.0.113.9", t))],
    );
    case(
        "the old address comes back",
        TokenReplayedAddress,
        Medium,
        vec![ok(0, t), ok(30, from("203.0.113.9", t)), ok(91, t)],
        vec![ok(0, t), ok(30, from("203.0.113.9", t)), ok(90, t)],
    );
    case(
        "across a restart",
        TokenReplayedAddress,
        Medium,
        vec![ok(0, t), Restart, ok(100, from("203.0.113.9", t))],
        vec![ok(0, t), Restart, ok(100, t)],
    );
    case(
        "thief with another agent in another network",
        TokenReplayedAddress,
        High,
        vec![
            ok(0, t),
            ok(600, Use { user_agent: Some(99), asn: Some(1), ..from("203.0.113.9", t) }),
        ],
        vec![ok(0, t), ok(600, t)],
    );
    case(
        "another network",
        TokenReplayedNetwork,
        Medium,
        vec![ok(0, t), ok(600, Use { asn: Some(65_551), ..from("203.0.113.9", t) })],
        vec![ok(0, t), ok(50, Use { asn: Some(65_551), ..from("203.0.113.9", t) })],
    );
    case(
        "another user agent at the same address",
        TokenReplayedUserAgent,
        Medium,
        vec![ok(0, t), ok(5, Use { user_agent: Some(99), ..t })],
        vec![ok(0, t), ok(5, Use { user_agent: None, ..t })],
    );
    case(
        "another user agent at another address",
        TokenReplayedUserAgent,
        High,
        vec![ok(0, t), ok(600, Use { user_agent: Some(99), ..from("203.0.113.9", t) })],
        vec![ok(0, t), ok(600, t)],
    );
    case(
        "IPv6 with a foreign agent",
        TokenReplayedAddress,
        Medium,
        vec![ok(0, t), ok(600, Use { user_agent: Some(99), ..from("2001:db8::9", t) })],
        vec![ok(0, t), ok(600, from("2001:db8::9", t))],
    );
    case(
        "re-encoded signature does not make a new token",
        TokenReplayedAddress,
        Medium,
        vec![
            ok(0, t),
            ok(
                600,
                Use { token: TokenKeys { fingerprint: 5, ..t.token }, ..from("203.0.113.9", t) },
            ),
        ],
        vec![ok(0, t), ok(600, Use { token: TokenKeys { fingerprint: 5, ..t.token }, ..t })],
    );
    case(
        "two tokens with one jti, one of them unverified",
        JtiReused,
        High,
        vec![
            ok(0, Use { id: Some("1"), ..t }),
            ok(5, unchecked(Use { id: Some("1"), ..token("u") })),
        ],
        vec![
            ok(0, Use { id: Some("1"), ..t }),
            ok(5, unchecked(Use { id: Some("2"), ..token("u") })),
        ],
    );
    case(
        "two unverified tokens with one jti",
        JtiReused,
        Medium,
        vec![
            ok(0, unchecked(Use { id: Some("1"), ..t })),
            ok(5, unchecked(Use { id: Some("1"), ..token("u") })),
        ],
        vec![
            ok(0, unchecked(Use { id: Some("1"), ..t })),
            ok(
                5,
                Use {
                    purpose: Purpose::Identity,
                    ..unchecked(Use { id: Some("1"), ..token("u") })
                },
            ),
        ],
    );
    case(
        "jti of another issuer's token",
        JtiReused,
        Medium,
        vec![
            ok(0, unchecked(Use { id: Some("1"), ..t })),
            ok(5, unchecked(Use { id: Some("1"), ..token("u") })),
        ],
        vec![
            ok(0, unchecked(Use { id: Some("1"), ..t })),
            ok(
                5,
                unchecked(Use {
                    id: Some("1"),
                    issuer: Some("https://other.example"),
                    ..token("u")
                }),
            ),
        ],
    );

    // Proofs.
    let proof = |name, id| Use { purpose: Purpose::SingleUse, id, ..token(name) };
    case(
        "DPoP proof again",
        ProofReplayed,
        High,
        vec![ok(0, proof("p", Some("a"))), ok(0, proof("p", Some("a")))],
        vec![ok(0, proof("p", Some("a"))), ok(0, proof("q", Some("b")))],
    );
    case(
        "another proof with the same jti",
        ProofReplayed,
        High,
        vec![ok(0, proof("p", Some("a"))), ok(300, proof("q", Some("a")))],
        vec![
            ok(0, proof("p", Some("a"))),
            ok(300, Use { issuer: Some("another key"), ..proof("q", Some("a")) }),
        ],
    );
    case(
        "proof again after a restart",
        ProofReplayed,
        High,
        vec![ok(0, proof("p", Some("a"))), Restart, ok(300, proof("p", Some("a")))],
        vec![ok(0, proof("p", Some("a"))), Restart, ok(300, proof("q", Some("b")))],
    );
    case(
        "nonce again",
        ProofReplayed,
        High,
        vec![
            ok(0, Use { nonce: Some("n"), ..proof("p", None) }),
            ok(9, Use { nonce: Some("n"), ..proof("q", None) }),
        ],
        vec![
            ok(0, Use { nonce: Some("n"), ..proof("p", None) }),
            ok(9, Use { nonce: Some("m"), ..proof("q", None) }),
        ],
    );
    case(
        "a proof without any name again",
        ProofReplayed,
        High,
        vec![ok(0, proof("p", None)), ok(9, proof("p", None))],
        vec![ok(0, proof("p", None)), ok(9, proof("q", None))],
    );
    case(
        "nobody uses up another's jti with a bad signature",
        ProofReplayed,
        High,
        vec![ok(0, proof("p", Some("a"))), ok(1, proof("q", Some("a")))],
        vec![
            ok(0, Use { check: Check::Bad, ..proof("p", Some("a")) }),
            ok(1, proof("q", Some("a"))),
        ],
    );

    // Relay.
    case(
        "a shop's token at the bank",
        TokenRelayed,
        High,
        vec![ok(0, t), ok(5, Use { service: bank(&BANK), ..t })],
        vec![
            ok(0, Use { audiences: &["shop", "bank"], ..t }),
            ok(5, Use { audiences: &["shop", "bank"], service: bank(&BANK), ..t }),
        ],
    );
    case(
        "relayed from the host itself",
        TokenRelayed,
        High,
        vec![
            ok(0, t),
            ok(1, Use { service: bank(&BANK), user_agent: Some(5), ..from("10.0.0.1", t) }),
        ],
        vec![
            ok(0, Use { audiences: &["shop", "bank"], ..t }),
            ok(
                1,
                Use {
                    audiences: &["shop", "bank"],
                    service: bank(&BANK),
                    user_agent: Some(5),
                    ..from("10.0.0.1", t)
                },
            ),
        ],
    );
    let taught = || vec![Teach(service("shop", 8080, &[]), &["shop"]), Teach(bank(&[]), &["bank"])];
    let then = |mut steps: Vec<Step>, more: Vec<Step>| {
        steps.extend(more);
        steps
    };
    let learned = |used: Use<'static>, service| Use { service, ..used };
    case(
        "relayed to a service whose audiences were learned",
        TokenRelayed,
        High,
        then(
            taught(),
            vec![ok(9, learned(t, service("shop", 8080, &[]))), ok(12, learned(t, bank(&[])))],
        ),
        vec![
            Teach(service("shop", 8080, &[]), &["shop"]),
            Teach(bank(&[]), &["bank", "shop"]),
            ok(9, learned(t, service("shop", 8080, &[]))),
            ok(12, learned(t, bank(&[]))),
        ],
    );
    case(
        "forwarded by a service of this host, unlearned",
        TokenRelayed,
        Medium,
        then(
            taught(),
            vec![
                ok(9, learned(t, service("shop", 8080, &[]))),
                ok(12, learned(from("127.0.0.1", t), bank(&[]))),
            ],
        ),
        vec![
            Teach(service("shop", 8080, &[]), &["shop"]),
            ok(9, learned(t, service("shop", 8080, &[]))),
            ok(12, learned(from("127.0.0.1", t), bank(&[]))),
        ],
    );

    // Tampering.
    let forged = Use { token: keys("admin", "t"), ..t };
    case(
        "payload changed, no key",
        TokenTampered,
        Critical,
        vec![ok(0, unchecked(t)), Step::Use(5, unchecked(forged), 401)],
        vec![ok(0, unchecked(t)), Step::Use(5, unchecked(token("u")), 401)],
    );
    case(
        "payload changed, verified original",
        TokenTampered,
        Critical,
        vec![ok(0, t), Step::Use(5, Use { check: Check::Bad, ..forged }, 401)],
        vec![ok(0, t), Step::Use(5, token("u"), 401)],
    );
    case(
        "the forgery came first",
        TokenTampered,
        Critical,
        vec![ok(0, unchecked(forged)), ok(5, t), ok(6, unchecked(forged))],
        vec![ok(0, unchecked(token("u"))), ok(5, t), ok(6, unchecked(token("u")))],
    );
    case(
        "across a restart",
        TokenTampered,
        Critical,
        vec![ok(0, unchecked(t)), Restart, ok(5, unchecked(forged))],
        vec![ok(0, unchecked(t)), Restart, ok(5, unchecked(t))],
    );
    let short = |name| {
        let keys = TokenKeys { signature_len: 8, ..keys(name, "t") };
        unchecked(Use { token: keys, ..t })
    };
    case(
        "a placeholder is no signature",
        TokenTampered,
        Critical,
        vec![ok(0, unchecked(t)), ok(5, unchecked(forged))],
        vec![ok(0, short("t")), ok(5, short("admin"))],
    );

    // Algorithm family.
    let hs = |name| Use { algorithm: Some("HS256"), check: Check::Bad, ..token(name) };
    case(
        "RS256 becomes HS256",
        AlgFamilyChanged,
        High,
        vec![ok(0, t), ok(5, hs("h"))],
        vec![ok(0, t), ok(5, Use { algorithm: Some("RS512"), ..token("h") })],
    );
    case(
        "another key id may be of another family",
        AlgFamilyChanged,
        High,
        vec![ok(0, t), ok(5, unchecked(hs("h")))],
        vec![ok(0, t), ok(5, Use { key_id: Some("k2"), ..unchecked(hs("h")) })],
    );
    let eight = |last: Use<'static>| {
        (0..8)
            .map(|k| ok(k, unchecked(token(&format!("e{k}")))))
            .chain([ok(9, unchecked(last))])
            .collect()
    };
    case(
        "RS256 many times without a key",
        AlgFamilyChanged,
        High,
        eight(hs("h")),
        eight(Use { algorithm: Some("PS256"), ..token("h") }),
    );
    case(
        "none for a known key id",
        AlgFamilyChanged,
        High,
        vec![ok(0, t), ok(5, unchecked(Use { algorithm: Some("nOnE"), ..token("n") }))],
        vec![ok(0, t), ok(5, unchecked(token("n")))],
    );

    // Escalation.
    case(
        "role grows in an unverified token",
        RoleEscalated,
        High,
        vec![
            ok(0, with_roles("a", &["user"])),
            ok(5, unchecked(with_roles("b", &["user", "admin"]))),
        ],
        vec![
            ok(0, with_roles("a", &["user", "admin"])),
            ok(5, unchecked(with_roles("b", &["user"]))),
        ],
    );
    case(
        "admin granted by the issuer",
        RoleEscalated,
        Medium,
        vec![ok(0, with_roles("a", &["user"])), ok(5, with_roles("b", &["user", "realm-admin"]))],
        vec![ok(0, with_roles("a", &["realm-admin"])), ok(5, with_roles("b", &["realm-admin"]))],
    );
    case(
        "group grows",
        RoleEscalated,
        High,
        vec![
            ok(0, Use { groups: &["staff"], ..t }),
            ok(5, unchecked(Use { groups: &["finance"], ..token("u") })),
        ],
        vec![
            ok(0, Use { groups: &["staff", "finance"], ..t }),
            ok(5, unchecked(Use { groups: &["finance"], ..token("u") })),
        ],
    );
    case(
        "scope grows in an unverified token",
        ScopeEscalated,
        Medium,
        vec![
            ok(0, with_scopes("a", &["read"])),
            ok(5, unchecked(with_scopes("b", &["read", "write"]))),
        ],
        vec![ok(0, with_scopes("a", &["read"])), ok(5, with_scopes("b", &["read", "write"]))],
    );
    case(
        "fewer scopes, then all again",
        ScopeEscalated,
        Medium,
        vec![
            ok(0, with_scopes("a", &["read"])),
            ok(1, with_scopes("b", &["read"])),
            ok(5, unchecked(with_scopes("c", &["orders:*"]))),
        ],
        vec![
            ok(0, with_scopes("a", &["read", "orders:*"])),
            ok(1, with_scopes("b", &["read"])),
            ok(5, unchecked(with_scopes("c", &["orders:*"]))),
        ],
    );
    case(
        "a forged token teaches nothing",
        RoleEscalated,
        High,
        vec![
            ok(0, with_roles("a", &["user"])),
            ok(1, Use { check: Check::Bad, ..with_roles("b", &["admin"]) }),
            ok(5, Use { check: Check::Bad, ..with_roles("c", &["admin"]) }),
        ],
        vec![
            ok(0, with_roles("a", &["user", "admin"])),
            ok(5, unchecked(with_roles("c", &["admin"]))),
        ],
    );
    case(
        "an ID token has no scopes",
        ScopeEscalated,
        Medium,
        vec![
            ok(0, unchecked(with_scopes("a", &[]))),
            ok(5, unchecked(with_scopes("b", &["write"]))),
        ],
        vec![
            ok(0, unchecked(Use { purpose: Purpose::Identity, ..with_scopes("a", &[]) })),
            ok(5, unchecked(with_scopes("b", &["write"]))),
        ],
    );
    case(
        "tenant changes",
        TenantChanged,
        High,
        vec![
            ok(0, Use { tenant: Some("red"), ..t }),
            ok(5, unchecked(Use { tenant: Some("blue"), ..token("u") })),
        ],
        vec![
            ok(0, Use { tenant: Some("red"), ..t }),
            ok(5, unchecked(Use { tenant: Some("red"), ..token("u") })),
        ],
    );
    case(
        "another subject's role",
        RoleEscalated,
        High,
        vec![ok(0, with_roles("a", &["user"])), ok(5, unchecked(with_roles("b", &["owner"])))],
        vec![
            ok(0, with_roles("a", &["user"])),
            ok(5, unchecked(Use { subject: Some("bob"), ..with_roles("b", &["owner"]) })),
        ],
    );

    // After the end.
    let named = Use { id: Some("1"), session: Some("s"), ..t };
    let issuer = "https://issuer.example";
    let by_id = Revocation::Id { issuer: Some(issuer), id: "1" };
    let by_session = Revocation::Session { issuer, session: "s" };
    let by_subject = Revocation::Subject { issuer, subject: "alice" };
    for (name, what) in [
        ("revoked", Revocation::Token(named.token)),
        ("revoked by jti", by_id),
        ("session ended", by_session),
        ("subject logged out", by_subject),
    ] {
        case(
            name,
            TokenUsedAfterRevocation,
            Medium,
            vec![ok(0, named), Revoke(100, what), ok(106, named)],
            // Under way when it happened.
            vec![ok(0, named), Revoke(100, what), ok(105, named)],
        );
    }
    case(
        "revoked and stolen",
        TokenUsedAfterRevocation,
        High,
        vec![ok(0, named), Revoke(20, by_id), ok(50, from("203.0.113.9", named))],
        vec![
            ok(0, named),
            Revoke(20, by_session),
            ok(50, from("203.0.113.9", Use { session: Some("s2"), id: Some("2"), ..token("u") })),
        ],
    );
    case(
        "logged in again under a clock that is behind",
        TokenUsedAfterRevocation,
        Medium,
        vec![ok(0, t), Revoke(100, by_subject), ok(110, t)],
        vec![
            ok(0, t),
            Revoke(100, by_subject),
            ok(110, Use { issued: Some(START as i64 + 55), ..token("u") }),
        ],
    );
    case(
        "an old token that was never seen",
        TokenUsedAfterRevocation,
        Medium,
        vec![Revoke(1_000, by_subject), ok(1_010, t)],
        vec![Revoke(1_000, by_subject), ok(1_010, Use { issued: Some(START as i64 + 1_005), ..t })],
    );
    case(
        "revoked across a restart",
        TokenUsedAfterRevocation,
        Medium,
        vec![ok(0, named), Revoke(20, by_id), Restart, ok(50, named)],
        vec![ok(0, named), Revoke(20, by_id), Restart, ok(50, Use { id: Some("2"), ..token("u") })],
    );
    cases
}
