//! What takes more than a sequence of uses to show.

use super::{
    attacks::{BANK, SHOP, from, service, token, unchecked},
    *,
};

#[test]
fn what_a_token_keeps_is_said_with_every_use() {
    let mut memory = Memory::new(SECRET, small());
    memory.observe(at(0), &unchecked(token("t")));
    let forged = unchecked(Use { token: keys("admin", "t"), ..token("t") });
    for secs in 1..4 {
        let seen = memory.observe(at(secs), &forged);
        let ids: Vec<_> = seen.findings.iter().map(|f| (f.id, f.severity)).collect();
        assert_eq!(ids, [(FindingId::TokenTampered, Severity::Critical)]);
        let bypass = outcome(&seen.findings, 200).unwrap();
        assert_eq!((bypass.id, bypass.severity), (FindingId::BypassConfirmed, Severity::Critical));
        assert_eq!(outcome(&seen.findings, 500).unwrap().id, FindingId::AnomalousAnswer);
        assert_eq!(outcome(&seen.findings, 401), None);
        assert_eq!(Outcome::of(&seen.findings, Some(403)), Outcome::Refused);
        assert_eq!(Outcome::of(&seen.findings, None), Outcome::Unanswered);
    }
    // A key comes and says that it was the other way round.
    let real = memory.observe(at(5), &Use { check: Check::Verified, ..forged });
    assert!(!is_forged(&real.findings));
    assert_eq!(outcome(&real.findings, 200), None);
}

#[test]
fn listed_revocations_come_and_go() {
    let mut memory = Memory::new(SECRET, small());
    let t = Use { id: Some("1"), ..token("t") };
    let found = |memory: &mut Memory| {
        let seen = memory.observe(at(0), &t).findings;
        seen.iter().map(|f| (f.id, f.severity)).collect::<Vec<_>>()
    };
    let revoked = vec![(FindingId::TokenUsedAfterRevocation, Severity::High)];
    assert_eq!(found(&mut memory), []);
    for what in [
        Revocation::Fingerprint(t.token.fingerprint),
        Revocation::Token(t.token),
        Revocation::Id { issuer: None, id: "1" },
        Revocation::Id { issuer: t.issuer, id: "1" },
        Revocation::Subject { issuer: t.issuer.unwrap(), subject: "alice" },
    ] {
        memory.set_listed([what]);
        assert_eq!(found(&mut memory), revoked, "{what:?}");
        memory.set_listed([]);
        assert_eq!(found(&mut memory), []);
    }
}

#[test]
fn what_a_service_grants_after_all_is_not_said_again() {
    let mut memory = Memory::new(SECRET, small());
    let has = |seen: &Observation| seen.findings.iter().any(|f| f.id == FindingId::ScopeEscalated);
    memory.observe(at(0), &unchecked(Use { scopes: &["a"], ..token("t") }));
    let grown = |name| unchecked(Use { scopes: &["a", "b"], ..token(name) });
    let refused = memory.observe(at(1), &grown("u"));
    assert!(has(&refused));
    memory.answered(at(1), refused.handle, 403);
    let granted = memory.observe(at(2), &grown("v"));
    assert!(has(&granted));
    memory.answered(at(2), granted.handle, 200);
    assert!(!has(&memory.observe(at(3), &grown("w"))));
}

#[test]
fn nothing_is_forgotten_below_the_limit_and_a_flood_is_counted() {
    let mut memory = Memory::new(SECRET, MemoryConfig { tokens: 3_000, ..small() });
    let used = |name: &str| Use { subject: None, ..token(name) };
    for k in 0..3_000 {
        memory.observe(at(k), &used(&format!("t{k}")));
    }
    assert_eq!(memory.counters().tokens_forgotten, Forgotten::default());
    for k in 0..3_000 {
        assert!(!memory.observe(at(3_000), &used(&format!("t{k}"))).first_use);
    }
    // Made-up tokens beyond the limit displace each other, not what a key verified.
    for k in 0..20_000 {
        memory.observe(at(3_000), &unchecked(used(&format!("made up {k}"))));
    }
    let counters = memory.counters();
    assert_eq!((counters.tokens, counters.tokens_forgotten.size), (3_000, 20_000));
    let kept = (0..3_000)
        .filter(|k| memory.tokens.table.find(used(&format!("t{k}")).token.identity()).is_some())
        .count();
    assert!(kept >= 3_000 * 3 / 4 - 1, "{kept}");
    // Past their ends all go, by age.
    for _ in 0..1_000 {
        memory.tick(at(200_000));
    }
    assert_eq!(memory.counters().tokens, 0);
    assert_eq!(memory.counters().tokens_forgotten, Forgotten { size: 20_000, age: 3_000 });
}

#[test]
fn a_clock_set_back_finds_nothing_and_forgets_nothing() {
    let mut memory = Memory::new(SECRET, small());
    let t = token("t");
    memory.observe(at(10_000), &t);
    assert_eq!(memory.observe(at(0), &t).findings, []);
    assert_eq!(memory.observe(at(30), &from("203.0.113.9", t)).findings, []);
    assert_eq!(memory.observe(at(500), &t).findings.len(), 1);
    assert_eq!(memory.observe(Time::EPOCH, &t).findings, []);
    memory.observe(Time::from_unix_nanos(u64::MAX), &t);
    memory.observe(at(0), &t);
    assert!(!memory.observe(at(0), &t).first_use);
}

#[test]
fn services_on_this_host_may_call_each_other() {
    let mut memory = Memory::new(SECRET, small());
    let both = |service, client, agent| Use {
        audiences: &["shop", "bank"],
        service,
        user_agent: Some(agent),
        ..from(client, token("t"))
    };
    for secs in (0..5_000).step_by(100) {
        for used in [
            both(service("shop", 8080, &SHOP), "192.0.2.1", 11),
            both(service("bank", 9090, &BANK), "127.0.0.1", 77),
            both(service("bank", 9090, &BANK), "10.0.0.1", 78),
        ] {
            assert_eq!(memory.observe(at(secs), &used).findings, []);
        }
    }
}

#[test]
fn details_show_no_more_than_a_name_of_a_privilege() {
    let mut memory = Memory::new(SECRET, small());
    memory.observe(at(0), &Use { roles: &["user"], ..token("t") });
    let long = "x\u{1b}[2J".repeat(100);
    let used = Use { roles: &[&long], check: Check::Unverifiable, ..token("u") };
    let seen = memory.observe(at(1), &used);
    let detail = &seen.findings.first().unwrap().detail;
    assert!(detail.len() < 200 && !detail.contains('\u{1b}'), "{detail}");
}
