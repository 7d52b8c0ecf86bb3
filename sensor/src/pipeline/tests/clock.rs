//! The wall clock is set while connections are under way, by a year forward or a day back.

use super::*;
use crate::{
    keys::{KeySource, KeyStore, parse_keys},
    token::{
        testing::{jwk, sign},
        validate::Policy,
    },
};

const DAY: i64 = 86_400_000_000_000;
/// Forward a year, back a day, and back to what it was.
const STEPS: [i64; 3] = [365 * DAY, -DAY, -364 * DAY];

impl Bench {
    fn set_clock(&mut self, by: i64) {
        self.pipeline.clock_set(by);
        self.now = self.now.moved(by);
        self.pass(Duration::ZERO);
    }
}

#[test]
fn an_alert_waits_for_its_answer_as_long_as_before() {
    for by in STEPS {
        let mut bench = Bench::new();
        bench.connect(40_000);
        bench.request(UNSIGNED);
        bench.pass(Duration::from_secs(1));
        bench.set_clock(by);
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.answers(), [], "{by}: too early");
        bench.response("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(bench.answers(), [Some((401, 38))], "{by}");
        let bounds = bench.out.exchanges[0].contains("\"latency_us\":2000000");
        assert!(bounds, "{by}: {}", bench.out.exchanges[0]);

        bench.request(UNSIGNED);
        bench.pass(Duration::from_secs(1));
        bench.set_clock(by);
        bench.pass(Duration::from_secs(6));
        assert_eq!(bench.answers().len(), 2, "{by}: it waits for ever");
    }
}

#[test]
fn bytes_that_nobody_confirms_wait_as_long_as_before() {
    for by in STEPS {
        let mut bench = Bench::new();
        bench.request(UNSIGNED);
        bench.pass(Duration::from_millis(100));
        bench.set_clock(by);
        bench.pass(Duration::from_millis(100));
        assert_eq!(bench.pipeline.stats().requests, 0, "{by}: too early");
        bench.pass(Duration::from_millis(400));
        assert_eq!(bench.pipeline.stats().requests, 1, "{by}: it waits for ever");
    }
}

#[test]
fn connections_stay_and_end_when_they_are_idle() {
    for by in STEPS {
        let mut bench = Bench::new();
        bench.connect(40_000);
        bench.request("opaque-credential");
        bench.set_clock(by);
        assert_eq!(bench.pipeline.stats().flows_open, 1, "{by}: forgotten");
        bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(bench.out.exchanges.len(), 1, "{by}");
        let idle = bench.settings().idle;
        bench.pass(idle - Duration::from_secs(1));
        assert_eq!(bench.pipeline.stats().flows_open, 1, "{by}");
        bench.pass(Duration::from_secs(2));
        assert_eq!(bench.pipeline.stats().flows_open, 0, "{by}: it stays for ever");
    }
}

/// `exp` and `nbf` are by the wall clock as it is set, and no token is forgotten for it.
#[test]
fn tokens_are_judged_by_the_clock_as_it_is_set() {
    let mut bench = Bench::new();
    let mut keys = KeyStore::new();
    keys.add(Some("i"), parse_keys(jwk(1).as_bytes(), KeySource::File).unwrap().keys);
    bench.pipeline.trust(Arc::new(keys), Arc::new(Policy::default()));
    bench.connect(40_000);
    let claims = r#"{"iss":"i","sub":"ann","nbf":1699999000,"exp":1700000600}"#;
    let token = sign(1, r#"{"alg":"EdDSA","typ":"JWT"}"#, claims);
    let mut found = Vec::new();
    for by in [0, 365 * DAY, -366 * DAY, DAY] {
        bench.set_clock(by);
        bench.request(&token);
        bench.response("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
        found.push(said(&bench).into_iter().flat_map(|(ids, _)| ids).collect::<Vec<_>>());
        bench.out.events.clear();
    }
    assert_eq!(found, [vec![], vec!["token-expired"], vec!["token-not-yet-valid"], vec![]]);
    assert_eq!(bench.pipeline.memory().counters().tokens, 1);
}
