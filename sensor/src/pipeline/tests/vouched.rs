//! Requests whose token somebody else has verified, and does not show.

use super::*;
use crate::{
    finding::FindingId,
    http::Request,
    keys::{KeySource, KeyStore, parse_keys},
    pipeline::{Assessment, Vouching},
    score::Models,
    token::{
        testing::{jwk, sign},
        validate::Policy,
    },
};

const AT: u64 = 1_700_000_000;
const CLERK: &str = r#"{"iss":"i","sub":"ann","jti":"t1","roles":["clerk"],"exp":1700000600}"#;
const ADMIN: &str =
    r#"{"iss":"i","sub":"ann","jti":"t2","roles":["clerk","admin"],"exp":1700000600}"#;

fn bench() -> Bench {
    let mut bench = Bench::with(|settings| settings.models = Some(Models::built_in().unwrap()));
    let mut keys = KeyStore::new();
    keys.add(Some("i"), parse_keys(jwk(1).as_bytes(), KeySource::File).unwrap().keys);
    bench.pipeline.trust(Arc::new(keys), Arc::new(Policy::default()));
    bench
}

fn request(field: Option<(&[u8], &[u8])>) -> Request {
    Request::from_parts(b"GET", b"/orders/1", field, Vec::new(), Time::from_unix_secs(AT))
}

/// The token itself, in its request.
fn shown(bench: &mut Bench, claims: &str) -> Assessment {
    let token = format!("Bearer {}", sign(1, r#"{"alg":"EdDSA","typ":"JWT"}"#, claims));
    let (flow, request) = (bench.key(), request(Some((b"authorization", token.as_bytes()))));
    bench.pipeline.describe(&flow, request, &mut bench.out)
}

fn vouched(bench: &mut Bench, claims: &str, learn: bool) -> Assessment {
    let vouching = Vouching { claims: claims.as_bytes(), service: None, learn };
    let flow = bench.key();
    bench.pipeline.describe_as(&flow, request(None), Some(&vouching), &mut bench.out)
}

fn ids(assessment: &Assessment) -> Vec<FindingId> {
    assessment.findings.iter().map(|finding| finding.id).collect()
}

#[test]
fn the_subject_is_the_one_that_the_wire_knows() {
    let mut bench = bench();
    assert_eq!(ids(&shown(&mut bench, CLERK)), []);
    assert_eq!(ids(&vouched(&mut bench, ADMIN, true)), [FindingId::RoleEscalated]);
    let profiles = bench.pipeline.features().stats();
    assert_eq!((profiles.subjects, profiles.others), (1, 0));
    assert_eq!(profiles.learning, 2);
    // And the other way round.
    let mut bench = self::bench();
    assert_eq!(ids(&vouched(&mut bench, CLERK, true)), []);
    assert_eq!(ids(&shown(&mut bench, ADMIN)), [FindingId::RoleEscalated]);
    assert_eq!(bench.pipeline.features().stats().subjects, 1);
}

#[test]
fn what_is_not_to_be_learned_leaves_no_trace() {
    let mut bench = bench();
    shown(&mut bench, CLERK);
    let state = |bench: &mut Bench| {
        let memory = format!("{:?}", bench.pipeline.memory().counters());
        (memory, format!("{:?}", bench.pipeline.features().stats()))
    };
    let before = state(&mut bench);
    for _ in 0..10 {
        assert_eq!(ids(&vouched(&mut bench, ADMIN, false)), []);
    }
    assert_eq!(state(&mut bench), before);
    assert_eq!(bench.pipeline.stats().described, 11);
    // So the first that is learned is the first.
    assert_eq!(ids(&vouched(&mut bench, ADMIN, true)), [FindingId::RoleEscalated]);
    assert_ne!(state(&mut bench), before);
}

#[test]
fn claims_are_judged_without_a_policy() {
    let mut bench = bench();
    for (claims, due) in [
        (r#"{"sub":"ann"}"#.to_owned(), None),
        // Neither the issuer, nor a proof of possession, nor the lifetime is ours to ask for.
        (r#"{"iss":"x","sub":"b","cnf":{"jkt":"k"},"iat":1,"exp":9999999999}"#.to_owned(), None),
        (r#"{"sub":"c","exp":1600000000}"#.to_owned(), Some(FindingId::TokenExpired)),
        (r#"{"sub":"d","nbf":1800000000}"#.to_owned(), Some(FindingId::TokenNotYetValid)),
        (r#"{"sub":"1' OR '1'='1"}"#.to_owned(), Some(FindingId::ClaimInjection)),
        (
            format!(r#"{{"sub":"e","exp":1600000000,"x":{:?}}}"#, "y ".repeat(30_000)),
            Some(FindingId::TokenExpired),
        ),
        // Not even JSON: nobody, and nothing is found.
        ("{".to_owned(), Some(FindingId::TokenMalformed)),
    ] {
        for learn in [false, true] {
            let found = ids(&vouched(&mut bench, &claims, learn));
            assert_eq!(found, due.into_iter().collect::<Vec<_>>(), "{claims:.80}");
        }
    }
}
