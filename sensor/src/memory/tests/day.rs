//! A benign day from a seeded generator: nothing above `info`.
//!
//! Subjects with one or two devices, some dual-stack, that come back after pauses, refresh their
//! tokens (sometimes two pages at once), roam within the grace, log out and in again; an issuer
//! whose clock is off by up to 50 s and whose keys change at noon; a gateway that passes tokens on
//! to a service behind it; DPoP proofs; events up to a second out of order.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::LazyLock,
};

use super::*;

/// Times of the day are milliseconds.
const HOUR: u64 = 3_600_000;
const SUBJECTS: u32 = if cfg!(debug_assertions) { 300 } else { 10_000 };

/// xorshift64*, which is enough for a test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

static AUDIENCES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["api".to_owned()]);

#[derive(Clone)]
struct Token {
    name: String,
    session: String,
    issued: u64,
    expires: u64,
    skew: i64,
    few_scopes: bool,
}

struct Event {
    at: u64,
    subject: u32,
    device: u32,
    token: Token,
    client: IpAddr,
    asn: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Gateway,
    Behind,
    Learned,
    Proof,
    Logout,
}

struct Device {
    v4: Ipv4Addr,
    v6: Option<Ipv6Addr>,
    asn: u32,
    old: Option<(Ipv4Addr, u32, u64)>,
}

impl Device {
    fn place(&mut self, dice: &mut Dice, dual: bool) {
        let network = dice.below(40_000) as u32;
        self.asn = 64_512 + network % 50;
        self.v4 = Ipv4Addr::from_bits(0x0b00_0000 + network * 200 + dice.below(200) as u32);
        self.v6 =
            dual.then(|| Ipv6Addr::from_bits(0x2a00_u128 << 112 | u128::from(network) << 80 | 1));
    }
}

fn day(subjects: u32) -> Vec<Event> {
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let mut events = Vec::new();
    for subject in 0..subjects {
        for device in 0..1 + dice.below(2) as u32 {
            let dual = dice.one_in(3);
            let nobody = Device { v4: Ipv4Addr::UNSPECIFIED, v6: None, asn: 0, old: None };
            let mut at_device = nobody;
            let mut now = dice.below(20 * HOUR);
            let mut made = 0;
            // A few sittings, each at one place or on the way.
            for sitting in 0..1 + dice.below(3) {
                at_device.place(&mut dice, dual);
                at_device.old = None;
                let session = format!("s{subject}.{device}.{sitting}");
                let end = now + HOUR / 6 + dice.below(2 * HOUR);
                let mut tokens: Vec<Token> = Vec::new();
                let mut roams = 0;
                while now < end.min(23 * HOUR) {
                    if tokens.iter().all(|t| t.expires < now + 30_000) {
                        // A page that refreshes in parallel gets two. They go the new way: one that
                        // began at the new address and came from the old one would be a theft.
                        tokens.clear();
                        at_device.old = None;
                        roams = 0;
                        for _ in 0..1 + u64::from(dice.one_in(4)) {
                            made += 1;
                            let skew = dice.below(101) as i64 - 50;
                            tokens.push(Token {
                                name: format!("t{subject}.{device}.{made}"),
                                session: session.clone(),
                                issued: now,
                                expires: now + HOUR / 4,
                                skew,
                                few_scopes: dice.one_in(5),
                            });
                        }
                    }
                    let parallel = 1 + dice.below(3);
                    for k in 0..parallel {
                        let token = &tokens[dice.below(tokens.len() as u64) as usize];
                        let old = at_device.old.filter(|o| now < o.2 && k > 0);
                        let v6 = at_device.v6.filter(|_| old.is_none() && dice.one_in(2));
                        let (client, asn) = match (old, v6) {
                            (Some((v4, asn, _)), _) => (IpAddr::V4(v4), asn),
                            (_, Some(v6)) => (IpAddr::V6(v6), at_device.asn),
                            _ => (IpAddr::V4(at_device.v4), at_device.asn),
                        };
                        let at = now + dice.below(300);
                        let event = |at, place, client| Event {
                            at,
                            subject,
                            device,
                            token: token.clone(),
                            client,
                            asn,
                            place,
                        };
                        if dice.one_in(3) {
                            events.push(event(at, Place::Learned, client));
                        } else {
                            events.push(event(at, Place::Gateway, client));
                            if dice.one_in(2) {
                                let host = IpAddr::from([10, 0, 0, 1]);
                                events.push(event(at + 2_000, Place::Behind, host));
                            }
                        }
                        if dice.one_in(8) {
                            events.push(event(at, Place::Proof, client));
                        }
                    }
                    // Often soon again, sometimes after a long pause; who roams does so at once.
                    if roams < 5 && dice.one_in(40) {
                        roams += 1;
                        // The token that goes along was in use until then.
                        tokens.truncate(1);
                        let token = tokens[0].clone();
                        let (v4, asn) = (at_device.v4, at_device.asn);
                        let step = |at, client: &Device| Event {
                            at,
                            subject,
                            device,
                            token: token.clone(),
                            client: client.v4.into(),
                            asn: client.asn,
                            place: Place::Gateway,
                        };
                        now += 500;
                        events.push(step(now, &at_device));
                        now += 1_000 + dice.below(40_000);
                        let dual = dual && dice.one_in(2);
                        at_device.place(&mut dice, dual);
                        at_device.old = Some((v4, asn, now + 50_000));
                        events.push(step(now, &at_device));
                        now += 1_000;
                    } else if dice.one_in(10) {
                        now += 60_000 + dice.below(400_000);
                    } else {
                        now += 500 + dice.below(20_000);
                    }
                }
                if let Some(token) = tokens.first().filter(|_| dice.one_in(3)) {
                    events.push(Event {
                        at: now + 3_000,
                        subject,
                        device,
                        token: token.clone(),
                        client: at_device.v4.into(),
                        asn: at_device.asn,
                        place: Place::Logout,
                    });
                    // Requests that were under way.
                    events.push(Event {
                        at: now + 4_000,
                        subject,
                        device,
                        token: token.clone(),
                        client: at_device.v4.into(),
                        asn: at_device.asn,
                        place: Place::Gateway,
                    });
                }
                now += 10_000 + dice.below(3 * HOUR);
                if now >= 22 * HOUR {
                    break;
                }
            }
        }
    }
    events.sort_by_key(|e| e.at);
    events
}

#[test]
fn a_benign_day_raises_nothing_above_info() {
    let config = MemoryConfig { tokens: 200_000, subjects: 20_000, ..MemoryConfig::default() };
    let mut memory = Memory::new(SECRET, config);
    let host = |port| SocketAddr::new([10, 0, 0, 1].into(), port);
    let service = |name, port, audiences| ServiceUse {
        server: host(port),
        cgroup: 7,
        name: Some(name),
        audiences,
    };
    let mut dice = Dice(99);
    let events = day(SUBJECTS);
    assert!(events.len() > SUBJECTS as usize * 50, "{}", events.len());
    let (mut moves, mut ended) = (0, 0);
    for (n, event) in events.iter().enumerate() {
        let Event { subject, device, token, .. } = event;
        let now = at(0) + std::time::Duration::from_millis(event.at + 60_000 - dice.below(1_000));
        let sub = format!("user {subject}");
        if event.place == Place::Logout {
            let session = &token.session;
            memory.revoked(now, &Revocation::Session { issuer: "issuer", session });
            ended += 1;
            continue;
        }
        let secs = |ms: u64| START as i64 + 60 + ms as i64 / 1_000 + token.skew;
        // At noon the issuer's key changes, and with it the algorithm.
        let new_key = token.issued > 12 * HOUR;
        let is_proof = event.place == Place::Proof;
        let proof = format!("proof {n}");
        let name = if is_proof { &proof } else { &token.name };
        let behind = event.place == Place::Behind;
        let used = Use {
            check: if subject % 4 == 0 { Check::Unverifiable } else { Check::Verified },
            purpose: if is_proof { Purpose::SingleUse } else { Purpose::Access },
            issuer: Some("issuer"),
            subject: Some(&sub),
            id: Some(name),
            session: Some(&token.session),
            audiences: &["api", "inner"],
            issued: Some(secs(token.issued)),
            expires: Some(secs(token.expires)),
            key_id: Some(if new_key { "k2" } else { "k1" }),
            algorithm: Some(if new_key { "ES256" } else { "RS256" }),
            // At first all, later sometimes fewer: a first token of few scopes would grow.
            scopes: if token.few_scopes && !token.name.ends_with(".1") && subject % 4 != 0 {
                &["read"]
            } else {
                &["read", "write"]
            },
            roles: &["user"],
            tenant: Some("acme"),
            asn: (!behind).then_some(event.asn),
            user_agent: Some(if behind { 77 } else { u64::from(100 + device) }),
            ..Use::new(
                keys(name, name),
                event.client,
                match event.place {
                    Place::Behind => service("inner", 9090, &[]),
                    Place::Learned => service("learned", 7070, &[]),
                    _ => service("gateway", 443, &AUDIENCES),
                },
            )
        };
        let seen = memory.observe(now, &used);
        moves += usize::from(seen.addresses > 1);
        let bad: Vec<_> = seen.findings.iter().filter(|f| f.severity > Severity::Info).collect();
        assert!(bad.is_empty(), "event {n} of {}: {bad:?}, {}", events.len(), event.client);
        memory.answered(now, seen.handle, 200);
    }
    // The day is no idle one.
    assert!(moves > events.len() / 20 && ended > SUBJECTS as usize / 10, "{moves} {ended}");
    assert_eq!(memory.counters().tokens_forgotten.size, 0);
    assert!(memory.counters().tokens_forgotten.age > 0);
}
