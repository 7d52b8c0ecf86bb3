use std::{sync::Arc, time::Duration};

use super::{
    super::{keys_tests::hs256, tests::Bench},
    *,
};
use crate::{keys::Key, token::validate::Policy};

/// Keys of no certain issuer under these names.
fn keys(names: &[&str]) -> Arc<KeyStore> {
    let key = |name: &&str| {
        let secret = format!("the secret of {name}, which is long enough");
        Arc::new(
            Key::from_secret(secret.as_bytes(), Some(name), crate::keys::KeySource::Url).unwrap(),
        )
    };
    let mut store = KeyStore::new();
    store.add(None, names.iter().map(key));
    Arc::new(store)
}

fn mark(number: u64) -> FetchMark {
    FetchMark { source: 0, number }
}

/// Where keys are fetched, and the first fetch brought the key `old`.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.pipeline.trust(keys(&["old"]), Arc::new(Policy::default()));
    bench.out.fetching = Some(mark(1));
    bench.connect(40_000);
    bench
}

impl Bench {
    fn exchange(&mut self, token: &str, status: u16) {
        self.request(token);
        self.response(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
    }

    fn fetched(&mut self, number: u64) -> usize {
        let before = self.out.events.len();
        self.pipeline.fetched(mark(number), &mut self.out);
        self.out.events.len() - before
    }

    fn last(&self) -> (Severity, &Finding) {
        let event = self.out.events.last().unwrap();
        let Body::Key(key) = &event.body else { panic!("{event:?}") };
        (event.severity, &key.findings[0])
    }

    fn unknown(&self) -> [u64; 4] {
        let stats = self.pipeline.stats().unknown_keys;
        [stats.arrived, stats.missing, stats.unanswered, stats.dropped]
    }
}

#[test]
fn an_invented_key_is_told_of_once_its_set_was_fetched_behind_it() {
    let mut bench = bench();
    let forged = hs256("whatever", "invented");
    bench.exchange(&forged, 401);
    // The fetch that was under way may just have missed it.
    assert_eq!(bench.fetched(1), 0);
    assert_eq!(bench.fetched(2), 1);
    let (severity, finding) = bench.last();
    assert_eq!((severity, finding.id), (Severity::Medium, FindingId::KidUnknown));
    // Each fetch tells of what came before it.
    bench.out.fetching = Some(mark(2));
    assert_eq!((bench.fetched(2), bench.fetched(3)), (0, 0));
    bench.exchange(&forged, 403);
    bench.exchange(&forged, 200);
    bench.exchange(&hs256("whatever", "another"), 200);
    assert_eq!(bench.fetched(3), 2);
    let shown = format!("{:?}", bench.out.events);
    assert!(shown.contains("in 2 requests, and the service accepted it"), "{shown}");
    assert_eq!(bench.last().0, Severity::High);
    assert_eq!(bench.unknown(), [0, 3, 0, 0]);
    assert_eq!(bench.key_events(), ["kid-unknown"; 3]);
    assert!(!shown.contains(forged.rsplit('.').next().unwrap()));
}

#[test]
fn a_rotation_raises_nothing() {
    let mut bench = bench();
    let secret = "the secret of new, which is long enough";
    bench.exchange(&hs256(secret, "new"), 200);
    bench.pipeline.trust(keys(&["new", "old"]), Arc::new(Policy::default()));
    assert_eq!(bench.fetched(2), 0);
    bench.exchange(&hs256(secret, "new"), 200);
    assert_eq!(bench.fetched(3), 0);
    assert_eq!(bench.unknown(), [1, 0, 0, 0]);
    assert!(bench.out.events.is_empty(), "{:?}", bench.out.events);
}

#[test]
fn what_nobody_can_tell_raises_nothing() {
    // The server is down.
    let mut down = bench();
    down.exchange(&hs256("whatever", "invented"), 200);
    down.pass(MAX_WAIT + Duration::from_secs(1));
    assert_eq!((down.fetched(2), down.unknown()), (0, [0, 0, 1, 0]));
    // Another issuer's keys came; and a new keyring counts anew.
    let mut other = bench();
    other.exchange(&hs256("whatever", "invented"), 200);
    other.pipeline.fetched(FetchMark { source: 1, number: 9 }, &mut other.out);
    other.pipeline.forget_unknown_keys();
    assert_eq!((other.fetched(9), other.unknown()), (0, [0, 0, 1, 0]));
    // A key without a name may be anybody's.
    let mut nameless = bench();
    nameless.exchange(&hs256("whatever", "invented"), 200);
    let mut store = KeyStore::clone(&keys(&["old"]));
    let key = Key::from_secret(&[7; 32], None, crate::keys::KeySource::Url).unwrap();
    store.add(None, [Arc::new(key)]);
    nameless.pipeline.trust(Arc::new(store), Arc::new(Policy::default()));
    assert_eq!((nameless.fetched(2), nameless.unknown()), (0, [1, 0, 0, 0]));
    // Nothing is fetched.
    let mut files = bench();
    files.out.fetching = None;
    files.exchange(&hs256("whatever", "invented"), 200);
    assert_eq!((files.fetched(2), files.unknown()), (0, [0; 4]));
}

#[test]
fn names_that_wait_are_bounded_in_number_and_length() {
    let mut bench = bench();
    for number in 0..MAX_WAITING + 5 {
        bench.exchange(&hs256("whatever", &number.to_string()), 401);
    }
    assert_eq!(bench.unknown(), [0, 0, 0, 5]);
    assert_eq!(bench.fetched(2), MAX_WAITING);
    // A name may be as long as it likes: it is no way around.
    bench.exchange(&hs256("whatever", &"é".repeat(1_500)), 401);
    assert_eq!(bench.fetched(3), 1);
}
