use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> Address {
    Address::of(text.parse().unwrap())
}

/// The rules in words, over the whole history and without limits: for each address the time of
/// its arrival order, and whether it is current, superseded at a time, or contested.
#[derive(Default)]
struct Oracle {
    history: Vec<(Second, String, u32, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Current,
    /// Current, and the other family joined then.
    Silent(Second),
    Since(Second),
    Contested,
}

impl Standing {
    fn is_current(self) -> bool {
        matches!(self, Self::Current | Self::Silent(_))
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    Fine,
    Returned,
    Appeared,
    Late,
}

impl Oracle {
    /// Replays the whole history and says what the last use is.
    fn say(&self, grace: Second) -> Said {
        let mut standing: Vec<(String, Standing, u32)> = Vec::new();
        let mut last = 0;
        let mut said = Said::Fine;
        for (now, address, asn, own) in &self.history {
            let family = |a: &str| a.contains(':');
            let current = |s: &[(String, Standing, u32)], fam: Option<bool>| {
                s.iter()
                    .rev()
                    .find(|(a, st, _)| st.is_current() && fam.is_none_or(|f| family(a) == f))
                    .map(|(_, st, n)| (*st, *n))
            };
            let here = current(&standing, Some(family(address)));
            let any = current(&standing, None);
            let other_net = any.as_ref().is_some_and(|(_, n)| *n != 0 && *asn != 0 && n != asn);
            let pairs = here.is_none() && *own && !other_net;
            let known = standing.iter().position(|(a, ..)| a == address);
            let in_time = now - last <= grace;
            let late = match here {
                Some((Standing::Silent(t), _)) if *own && !other_net => Some(t),
                _ => None,
            };
            said = match known {
                None if standing.is_empty() => Said::Fine,
                None if standing.len() >= MAX_ADDRESSES => Said::Appeared,
                None if in_time || pairs => {
                    for (_, st, _) in standing.iter_mut().filter(|(_, st, _)| st.is_current()) {
                        if !pairs {
                            *st = Standing::Since(*now);
                        } else if in_time && *st == Standing::Current {
                            *st = Standing::Silent(*now);
                        }
                    }
                    Said::Fine
                }
                None if late.is_some() => Said::Late,
                None => Said::Appeared,
                Some(k) => match standing[k].1 {
                    Standing::Current | Standing::Silent(_) => Said::Fine,
                    Standing::Since(t) if now - t <= grace || pairs => Said::Fine,
                    _ => Said::Returned,
                },
            };
            if said == Said::Late {
                for (a, st, _) in &mut standing {
                    if st.is_current() && family(a) == family(address) {
                        *st = Standing::Since(late.unwrap());
                    }
                }
            } else if said != Said::Fine {
                standing.iter_mut().for_each(|(_, st, _)| *st = Standing::Contested);
            }
            match known {
                None => {
                    if standing.len() == MAX_ADDRESSES {
                        let gone = standing.iter().position(|(_, st, _)| !st.is_current());
                        standing.remove(gone.unwrap_or(0));
                    }
                    standing.push((address.clone(), Standing::Current, *asn));
                }
                Some(k) => {
                    if *asn != 0 {
                        standing[k].2 = *asn;
                    }
                    // Revived where its family has nobody, or after a finding; but one that could
                    // pair and still lingers leaves the place to its family's next address.
                    let lingers = matches!(standing[k].1, Standing::Since(t) if now - t <= grace);
                    let left = matches!(standing[k].1, Standing::Silent(t) if now - t > grace);
                    if said != Said::Fine || left || (here.is_none() && !(lingers && pairs)) {
                        standing[k].1 = Standing::Current;
                    }
                }
            }
            last = *now;
        }
        said
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn agrees_with_the_whole_history(
        grace in 0_u32..100,
        uses in prop::collection::vec((0_u32..150, 0_usize..15, 0_u32..3, any::<bool>()), 1..60),
    ) {
        const ADDRESSES: [&str; 15] = [
            "192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.2",
            "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "2001:db8::1", "2001:db8:1::1", "2001:db8:2::1",
        ];
        let mut oracle = Oracle::default();
        let mut clients = Clients::default();
        let (mut now, mut last) = (1 << 20, 1 << 20);
        for (pass, at, asn, own_agent) in uses {
            now += pass;
            oracle.history.push((now, ADDRESSES[at].to_owned(), asn, own_agent));
            let sighting = Sighting { now, last, address: ip(ADDRESSES[at]), asn, own_agent };
            let said = match clients.seen(sighting, grace, MAX_ADDRESSES) {
                Move::Fine { .. } => Said::Fine,
                Move::Returned { .. } => Said::Returned,
                Move::Appeared { .. } => Said::Appeared,
                Move::Late { .. } => Said::Late,
            };
            prop_assert_eq!(said, oracle.say(grace));
            prop_assert!(clients.0.len() <= MAX_ADDRESSES);
            last = now;
        }
    }
}

/// Uses as (second, address); the agent is the token's own, networks are not known. Gives the
/// seconds at which something is found.
fn found(uses: &[(Second, &str)]) -> Vec<Second> {
    let mut clients = Clients::default();
    let mut last = 0;
    let mut found = Vec::new();
    for &(at, address) in uses {
        let now = (1 << 20) + at;
        let sighting = Sighting { now, last, address: ip(address), asn: 0, own_agent: true };
        let step = clients.seen(sighting, 60, MAX_ADDRESSES);
        if matches!(step, Move::Returned { .. } | Move::Appeared { .. }) {
            found.push(at);
        }
        last = now;
    }
    found
}

const A: &str = "192.0.2.1";
const B: &str = "198.51.100.7";
const C: &str = "203.0.113.9";

#[test]
fn a_client_that_moves_is_forgiven_and_a_token_that_is_shared_is_not() {
    let none: [Second; 0] = [];
    assert_eq!(found(&[(0, A), (5_000, A)]), none);
    // The NAT rebinds, and old connections linger.
    assert_eq!(found(&[(0, A), (30, B), (50, A), (90, A), (91, B), (9_000, B)]), none);
    // One second more is a return.
    assert_eq!(found(&[(0, A), (30, B), (91, A)]), [91]);
    // A long way, each step within the grace.
    assert_eq!(found(&[(0, A), (60, B), (120, C), (121, B), (180, C)]), none);
    // The new address comes too late for a move.
    assert_eq!(found(&[(0, A), (60, B)]), none);
    assert_eq!(found(&[(0, A), (61, B), (62, B)]), [61]);
    // A thief beside the owner: from the grace on each switch is found.
    assert_eq!(
        found(&[(0, A), (30, B), (60, A), (95, A), (96, B), (97, A), (98, A)]),
        [95, 96, 97]
    );
}

#[test]
fn dual_stack_clients_alternate_for_ever() {
    let none: [Second; 0] = [];
    let v6 = "2001:db8::1";
    // Hosts change addresses within their /64.
    let uses: Vec<_> =
        (0..50).map(|k| (k * 500, [A, v6, "2001:db8::dead:beef"][k as usize % 3])).collect();
    assert_eq!(found(&uses), none);
    // The IPv4 side's NAT rebinds while IPv6 stays.
    assert_eq!(found(&[(0, A), (5, v6), (60, B), (300, v6), (600, B), (900, v6)]), none);
    // Both move, first one, later the other.
    let other = "2001:db8:77::1";
    assert_eq!(found(&[(0, A), (5, v6), (60, B), (90, other), (600, B), (900, other)]), none);
    // IPv4 moves, and IPv6 is seen again only after a pause.
    assert_eq!(found(&[(0, A), (5, v6), (60, B), (600, other), (660, B)]), none);
    // A second IPv6 network after a pause is a finding.
    assert_eq!(found(&[(0, A), (5, v6), (300, other)]), [300]);
    // IPv4-mapped addresses are the IPv4 address.
    assert_eq!(found(&[(0, A), (5_000, "::ffff:192.0.2.1")]), none);
}

/// A connection by the old IPv6 address goes on for a while behind a move by IPv4: that makes the
/// old address none of the client's own again, or its new IPv6 address would be a stranger's.
#[test]
fn a_superseded_address_that_lingers_leaves_room_for_the_new_one() {
    let none: [Second; 0] = [];
    let (old, new) = ("2001:db8::1", "2001:db8:77::1");
    assert_eq!(found(&[(0, A), (5, old), (30, B), (40, old), (300, new), (400, B)]), none);
    // The same with the versions exchanged.
    assert_eq!(found(&[(0, old), (5, A), (30, new), (40, A), (300, B), (400, new)]), none);
    // One that is used on behind the grace was not left behind: a third is found.
    assert_eq!(found(&[(0, A), (5, old), (30, B), (40, old), (95, old), (300, new)]), [300]);
}

/// First seen by the version that it had not used, a client that moved looks like one that uses
/// both at home, until its old address stays silent. What then comes is told without alarm; where
/// the networks are known it is no news at all.
#[test]
fn a_move_that_the_other_version_saw_first_is_no_alarm() {
    let said = |uses: &[(Second, &str, u32)]| {
        let mut clients = Clients::default();
        let mut last = 0;
        let mut said = Vec::new();
        for &(at, address, asn) in uses {
            let now = (1 << 20) + at;
            let use_ = Sighting { now, last, address: ip(address), asn, own_agent: true };
            said.push(match clients.seen(use_, 60, MAX_ADDRESSES) {
                Move::Fine { .. } => '.',
                Move::Late { .. } => 'l',
                Move::Returned { .. } => 'r',
                Move::Appeared { .. } => 'a',
            });
            last = now;
        }
        said.into_iter().collect::<String>()
    };
    let v6 = "2001:db8::1";
    assert_eq!(said(&[(0, A, 1), (30, v6, 2), (300, B, 2), (600, B, 2)]), "....");
    assert_eq!(said(&[(0, A, 0), (30, v6, 0), (300, B, 0), (600, B, 0), (700, v6, 0)]), "..l..");
    // The same with the versions exchanged.
    assert_eq!(said(&[(0, v6, 0), (30, A, 0), (300, "2001:db8:7::1", 0), (600, A, 0)]), "..l.");
    // Old connections linger within the grace.
    assert_eq!(said(&[(0, A, 0), (30, v6, 0), (80, A, 0), (300, B, 0), (400, B, 0)]), "...l.");
    // The old address is used on: both are at home, and the third is a stranger's.
    assert_eq!(said(&[(0, A, 0), (30, v6, 0), (95, A, 0), (300, B, 0)]), "...a");
    // Who was robbed goes on: from then on each switch is found.
    let robbed = [(0, A, 0), (30, v6, 0), (300, B, 0), (400, A, 0), (500, B, 0), (501, v6, 0)];
    assert_eq!(said(&robbed), "..lrrr");
    // Only once: the next address is a stranger's.
    assert_eq!(said(&[(0, A, 0), (30, v6, 0), (300, B, 0), (600, C, 0)]), "..la");
    // Known networks that differ, and a user agent of another, are no move.
    assert_eq!(said(&[(0, A, 1), (30, v6, 1), (300, B, 2)]), "..a");
    // After a pause the other version may be a thief's: what follows is found.
    assert_eq!(said(&[(0, A, 0), (300, v6, 0), (600, B, 0)]), "..a");
}

#[test]
fn a_token_from_too_many_addresses_is_not_forgiven_a_further_one() {
    let addresses: Vec<String> = (0..=MAX_ADDRESSES).map(|k| format!("192.0.2.{k}")).collect();
    let uses: Vec<_> =
        addresses.iter().enumerate().map(|(k, a)| (k as u32 * 10, a.as_str())).collect();
    assert_eq!(found(&uses), [120]);
}

#[test]
fn addresses_are_shown_as_people_write_them() {
    assert_eq!(ip("192.0.2.1").to_string(), "192.0.2.1");
    assert_eq!(ip("2001:db8:1:2:3::4").to_string(), "2001:db8:1:2::/64");
    for text in ["192.0.2.1", "2001:db8::", "::1"] {
        assert_eq!(Address::from_bits(ip(text).to_bits()), ip(text));
    }
    assert!(ip("192.0.2.1").near(ip("192.0.2.200")) && !ip("192.0.2.1").near(ip("192.0.3.1")));
    assert!(ip("2001:db8:1:2::").near(ip("2001:db8:1:3::")));
    assert!(!ip("2001:db8:1::").near(ip("2001:db8:2::")) && !ip("192.0.2.1").near(ip("::1")));
}
