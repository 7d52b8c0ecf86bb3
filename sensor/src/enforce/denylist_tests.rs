use std::{collections::HashMap, path::Path};

use proptest::prelude::*;

use super::{AddError, Denylist, MAX_SUBJECTS, MAX_VERDICT_NETWORKS, REFRESH_STEP, RemoveError};
use crate::{
    enforce::{
        entry::{Denied, Source, Written},
        file_list::FileList,
        tables::{Lookup, MemoryTables, Tables as _, TokenKey},
    },
    networks,
    policy::Name,
    time::Time,
};

fn at(secs: u64) -> Time {
    Time::from_unix_secs(1_700_000_000 + secs)
}

fn token(n: u64) -> Denied {
    Denied::Token(TokenKey([n, n]))
}

fn network(text: &str) -> Denied {
    Denied::Network(networks::parse(text).unwrap())
}

fn subject(issuer: Option<&str>, subject: &str) -> Denied {
    let (issuer, subject) = (issuer.map(str::to_owned), subject.to_owned());
    Written::Subject { issuer, subject }.denied().unwrap()
}

fn file(text: &str) -> FileList {
    FileList::parse(text.as_bytes(), Path::new("feed.txt"), at(0)).unwrap()
}

fn add(list: &mut Denylist, denied: &Denied, until: Option<u64>, source: Source) {
    list.add(at(0), denied, until.map(at), "why", source).unwrap();
}

#[test]
fn every_kind_is_denied_with_its_terms_until_its_end() {
    let mut list = Denylist::default();
    let name = |issuer, subject| Name { issuer, subject: Some(subject) };
    add(&mut list, &token(1), Some(10), Source::Verdict);
    add(&mut list, &network("10.0.0.0/8"), None, Source::Operator);
    add(&mut list, &subject(Some("i"), "s"), Some(20), Source::Operator);
    add(&mut list, &Denied::Flow(7), Some(10), Source::Verdict);
    let terms = list.token(at(9), TokenKey([1, 1])).unwrap();
    assert_eq!((terms.until, terms.reason, terms.source), (Some(at(10)), "why", Source::Verdict));
    assert_eq!(list.token(at(10), TokenKey([1, 1])), None);
    assert!(list.address(at(99), "10.2.3.4".parse().unwrap()).is_some());
    assert!(list.address(at(99), "11.2.3.4".parse().unwrap()).is_none());
    assert!(list.subject(at(9), name(Some("i"), "s")).is_some());
    assert!(list.subject(at(9), name(Some("j"), "s")).is_none());
    assert!(list.subject(at(9), name(None, "s")).is_none());
    assert_eq!(list.expire(at(10)), 2);
    assert_eq!(list.expire(at(20)), 1);
    let counts = list.counts();
    assert_eq!((counts.tokens, counts.networks, counts.flows, counts.subjects), (0, 1, 0, 0));
    // Of any issuer.
    add(&mut list, &subject(None, "t"), None, Source::Operator);
    assert!(list.subject(at(0), name(Some("j"), "t")).is_some());
    assert_eq!(list.add(at(5), &token(2), Some(at(5)), "", Source::Operator), Err(AddError::Past));
}

#[test]
fn a_verdict_does_not_shorten_what_a_person_said() {
    let mut list = Denylist::default();
    add(&mut list, &token(1), None, Source::Operator);
    add(&mut list, &token(1), Some(10), Source::Verdict);
    assert_eq!(list.token(at(99), TokenKey([1, 1])).unwrap().source, Source::Operator);
    // A person may.
    add(&mut list, &token(1), Some(5), Source::Operator);
    assert_eq!(list.token(at(6), TokenKey([1, 1])), None);
    assert_eq!(list.expire(at(5)), 1);
    assert_eq!(list.expire(at(99)), 0);
}

#[test]
fn what_is_removed_is_gone_unless_a_file_has_it() {
    let mut list = Denylist::default();
    list.replace_files(vec![file("10.0.0.1\ntoken-key 00000000000000010000000000000001")]).unwrap();
    assert_eq!(list.remove(&token(9)), Err(RemoveError::Absent));
    assert_eq!(list.remove(&token(1)), Err(RemoveError::InFile("feed.txt".into())));
    add(&mut list, &token(9), None, Source::Operator);
    add(&mut list, &network("10.9.9.9/16"), None, Source::Operator);
    assert_eq!(list.remove(&token(9)), Ok(()));
    assert_eq!(list.remove(&network("10.9.0.0/16")), Ok(()));
    assert_eq!(list.counts().tokens + list.counts().networks, 0);
    add(&mut list, &token(9), None, Source::Operator);
    add(&mut list, &token(8), Some(9), Source::Verdict);
    assert_eq!(list.flush(Some(Source::Verdict)), 1);
    assert_eq!(list.flush(None), 1);
    assert!(list.token(at(0), TokenKey([1, 1])).is_some(), "files stay");
}

#[test]
fn files_are_replaced_whole_and_the_tables_follow() {
    let mut list = Denylist::default();
    let mut tables = MemoryTables::new();
    let denied = |tables: &MemoryTables, client: &str, n: u64| {
        let client = client.parse().unwrap();
        let token = Some(TokenKey([n, n]));
        tables.denied(at(1), &Lookup { cookie: 1, client, token }).is_some()
    };
    let key = |n: u64| format!("token-key {n:016x}{n:016x}\n");
    list.replace_files(vec![file(&(key(1) + &key(2) + "10.0.0.0/8")), file("10.0.0.0/8")]).unwrap();
    while list.refresh(at(1), &mut tables) {}
    assert!(denied(&tables, "1.1.1.1", 1) && denied(&tables, "10.1.1.1", 9));
    // In a file and by a person: it goes when both are gone.
    add(&mut list, &token(2), None, Source::Operator);
    list.replace_files(vec![file(&key(3))]).unwrap();
    while list.refresh(at(1), &mut tables) {}
    assert!(!denied(&tables, "1.1.1.1", 1) && denied(&tables, "1.1.1.1", 2));
    assert!(denied(&tables, "1.1.1.1", 3) && !denied(&tables, "10.1.1.1", 9));
    list.remove(&token(2)).unwrap();
    while list.refresh(at(1), &mut tables) {}
    assert!(!denied(&tables, "1.1.1.1", 2));
    // Other tables are filled with the same.
    let mut others = MemoryTables::new();
    list.resend();
    while list.refresh(at(1), &mut others) {}
    assert_eq!(others.counts(), tables.counts());
}

#[test]
fn a_large_file_reaches_the_tables_step_by_step() {
    let text: String =
        (0..REFRESH_STEP as u64 * 2 + 5).map(|n| format!("token-key {n:032x}\n")).collect();
    let mut list = Denylist::default();
    list.replace_files(vec![file(&text)]).unwrap();
    let mut tables = MemoryTables::new();
    assert!(list.refresh(at(0), &mut tables));
    assert_eq!(tables.counts().denied_tokens, REFRESH_STEP as u64);
    assert!(list.refresh(at(0), &mut tables));
    assert!(!list.refresh(at(0), &mut tables));
    assert_eq!(tables.counts().denied_tokens, REFRESH_STEP as u64 * 2 + 5);
    assert_eq!(list.counts().table_failures, 0);
}

#[test]
fn the_room_of_people_is_not_taken_by_verdicts() {
    let mut list = Denylist::default();
    let nth = |n: usize| network(&std::net::Ipv4Addr::from_bits(n as u32).to_string());
    for n in 0..MAX_VERDICT_NETWORKS + 10 {
        add(&mut list, &nth(n), Some(100 + n as u64), Source::Verdict);
    }
    let counts = list.counts();
    assert_eq!((counts.networks, counts.displaced), (MAX_VERDICT_NETWORKS as u64, 10));
    // Those that would have ended first gave way.
    assert!(list.address(at(1), std::net::Ipv4Addr::from_bits(9).into()).is_none());
    assert!(list.address(at(1), std::net::Ipv4Addr::from_bits(10).into()).is_some());
    for n in 0..MAX_SUBJECTS {
        add(&mut list, &subject(None, &n.to_string()), None, Source::Operator);
    }
    let one_more = list.add(at(0), &subject(None, "x"), None, "", Source::Operator);
    assert!(matches!(one_more, Err(AddError::Full { .. })), "{one_more:?}");
}

proptest! {
    /// Whatever is added, removed, flushed and expired: the tables say what the list says, and the
    /// list says what a plain map says.
    #[test]
    fn list_and_tables_agree_with_a_plain_map(
        steps in prop::collection::vec((0_u8..8, 0_u64..6, 1_u64..40, any::<bool>()), 0..80)
    ) {
        let mut list = Denylist::default();
        let mut tables = MemoryTables::new();
        let mut plain: HashMap<u64, (Option<u64>, bool)> = HashMap::new();
        let mut now = 0;
        for (step, n, span, verdict) in steps {
            match step {
                0..=3 => {
                    let until = (verdict || span % 3 > 0).then_some(now + span);
                    let source = if verdict { Source::Verdict } else { Source::Operator };
                    list.add(at(now), &token(n), until.map(at), "", source).unwrap();
                    let stays = plain.get(&n).is_some_and(|&(end, by_verdict)| {
                        verdict && !by_verdict && end.is_none_or(|end| now < end)
                    });
                    if !stays {
                        plain.insert(n, (until, verdict));
                    }
                }
                4 => {
                    prop_assert_eq!(list.remove(&token(n)).is_ok(), plain.remove(&n).is_some());
                }
                5 if span == 1 => {
                    prop_assert_eq!(list.flush(None), plain.len());
                    plain.clear();
                }
                _ => {
                    now += span / 4;
                    let before = plain.len();
                    plain.retain(|_, (end, _)| end.is_none_or(|end| now < end));
                    prop_assert_eq!(list.expire(at(now)), before - plain.len());
                }
            }
            while list.refresh(at(now), &mut tables) {}
            for n in 0..6 {
                let due = plain.get(&n).is_some_and(|(end, _)| end.is_none_or(|end| now < end));
                let key = TokenKey([n, n]);
                prop_assert_eq!(list.token(at(now), key).is_some(), due);
                let segment =
                    Lookup { cookie: 1, client: [1, 1, 1, 1].into(), token: Some(key) };
                prop_assert_eq!(tables.denied(at(now), &segment).is_some(), due);
            }
            prop_assert_eq!(list.counts().tokens, plain.len() as u64);
            prop_assert_eq!(list.entries().count(), plain.len());
        }
    }
}
