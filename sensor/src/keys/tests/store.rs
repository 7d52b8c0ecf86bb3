use super::*;

fn named(signer: &Signer, kid: &str, source: KeySource) -> Arc<Key> {
    let jwk = String::from_utf8(signer.forms[0].1.clone()).unwrap();
    let jwk = jwk.replace('}', &format!(r#","kid":"{kid}"}}"#));
    parse_keys(jwk.as_bytes(), source).unwrap().keys.remove(0)
}

fn of(alg: Algorithm, nth: usize) -> &'static Signer {
    signers().iter().filter(|signer| signer.algs.contains(&alg)).nth(nth).unwrap()
}

#[test]
fn a_token_is_tried_with_the_key_that_it_names_or_with_all_that_fit() {
    use Algorithm::{Es256, Hs256, Rs256};
    let rsa = named(of(Rs256, 0), "1", KeySource::File);
    let other_rsa = named(of(Rs256, 1), "2", KeySource::File);
    let ec = named(of(Es256, 0), "3", KeySource::File);
    let nameless = only_key(&of(Rs256, 0).forms[0].1);
    let shared = named(of(Rs256, 1), "1", KeySource::File);
    let mut store = KeyStore::new();
    assert!(store.is_empty());
    let nothing = store.candidates(Some("i"), Some("1"), Rs256);
    assert!(nothing.keys.is_empty() && nothing.unfit.is_none());
    drop(nothing);
    store.add(Some("i"), [&rsa, &other_rsa, &ec, &nameless].map(Arc::clone));
    store.add(None, [Arc::clone(&shared)]);

    let tried = |issuer, kid, alg| {
        let found = store.candidates(issuer, kid, alg);
        (found.keys.into_iter().map(Arc::clone).collect::<Vec<_>>(), found.kid)
    };
    let is = |found: (Vec<Arc<Key>>, KidMatch), keys: &[&Arc<Key>], kid| {
        assert_eq!(found.1, kid);
        assert_eq!(found.0.len(), keys.len());
        assert!(found.0.iter().zip(keys).all(|(found, due)| Arc::ptr_eq(found, due)));
    };
    is(tried(Some("i"), Some("1"), Rs256), &[&rsa], KidMatch::Exact);
    is(tried(Some("j"), Some("1"), Rs256), &[&shared], KidMatch::Exact);
    is(tried(None, Some("1"), Rs256), &[&shared], KidMatch::Exact);
    is(tried(None, Some("2"), Rs256), &[&shared], KidMatch::Unknown);
    let all = [&nameless, &rsa, &other_rsa];
    is(tried(Some("i"), None, Rs256), &all, KidMatch::Absent);
    is(tried(Some("i"), Some("9"), Rs256), &all, KidMatch::Unknown);
    is(tried(Some("i"), None, Es256), &[&ec], KidMatch::Absent);

    // An RSA key used for HS256: nothing to try, and the reason is known.
    let confused = store.candidates(Some("i"), Some("1"), Hs256);
    assert!(confused.keys.is_empty());
    let (key, unfit) = confused.unfit.unwrap();
    assert!(Arc::ptr_eq(key, &rsa) && unfit == Unfit::Type);
}

#[test]
fn tries_are_bounded_and_what_is_left_is_counted() {
    let key = only_key(&of(Algorithm::Es256, 0).forms[0].1);
    let mut store = KeyStore::new();
    store.add(None, vec![key; MAX_TRIES + 3]);
    let found = store.candidates(None, None, Algorithm::Es256);
    assert_eq!((found.keys.len(), found.untried), (MAX_TRIES, 3));
}

#[test]
fn replacing_keys_gives_the_old_ones_back() {
    let old = only_key(&of(Algorithm::Es256, 0).forms[0].1);
    let mut store = KeyStore::new();
    store.add(Some("i"), [Arc::clone(&old)]);
    let back = store.replace(Some("i"), vec![]);
    assert!(back.len() == 1 && Arc::ptr_eq(&back[0], &old));
    assert!(store.candidates(Some("i"), None, Algorithm::Es256).keys.is_empty());
}

const NOW: Time = Time::from_unix_secs(1_700_000_000);

#[test]
fn the_first_learned_key_of_a_name_stays() {
    let first = named(of(Algorithm::Es256, 0), "1", KeySource::Learned);
    let forged = named(of(Algorithm::Es256, 1), "1", KeySource::Learned);
    let other_family = named(of(Algorithm::Rs256, 0), "1", KeySource::Learned);
    let next = named(of(Algorithm::Es256, 1), "2", KeySource::Learned);
    let secret = named(of(Algorithm::Hs256, 0), "3", KeySource::Learned);
    let configured = named(of(Algorithm::Es256, 0), "4", KeySource::File);
    let mut store = KeyStore::new();

    let learned = store.learn("i", [&first, &first].map(Arc::clone), NOW);
    assert_eq!((learned.added, learned.changed.len(), learned.refused), (1, 0, 0));
    let learned = store.learn(
        "i",
        [&forged, &other_family, &next, &secret, &configured].map(Arc::clone),
        NOW,
    );
    assert_eq!((learned.added, learned.refused), (1, 2));
    assert_eq!(learned.changed.len(), 2);
    assert!(Arc::ptr_eq(&learned.changed[0], &forged));

    let found = store.candidates(Some("i"), Some("1"), Algorithm::Es256);
    assert!(found.keys.len() == 1 && Arc::ptr_eq(found.keys[0], &first));
    drop(found);
    // Another issuer's pins are its own.
    assert_eq!(store.learn("j", [forged], NOW).added, 1);

    // What the operator configured is not added to.
    store.add(Some("i"), [configured]);
    let found = store.candidates(Some("i"), Some("1"), Algorithm::Es256);
    assert!(found.kid == KidMatch::Unknown && found.keys.len() == 1);
    assert_eq!(found.keys[0].kid(), Some("4"));
}

#[test]
fn learning_is_bounded() {
    let signer = of(Algorithm::Es256, 0);
    let mut store = KeyStore::new();
    let keys =
        (0..MAX_LEARNED_KEYS + 2).map(|kid| named(signer, &kid.to_string(), KeySource::Learned));
    let learned = store.learn("i", keys, NOW);
    assert_eq!((learned.added, learned.refused), (MAX_LEARNED_KEYS, 2));
    let key = named(signer, "1", KeySource::Learned);
    let added: usize = (0..MAX_LEARNED_ISSUERS + 7)
        .map(|issuer| store.learn(&issuer.to_string(), [Arc::clone(&key)], NOW).added)
        .sum();
    assert_eq!(added, MAX_LEARNED_ISSUERS - 1);
}

#[test]
fn what_is_not_served_for_long_makes_room() {
    let [first, second] = [0, 1].map(|k| of(Algorithm::Es256, k));
    let key = |k: usize, signer| named(signer, &k.to_string(), KeySource::Learned);
    let mut store = KeyStore::new();
    store.learn("i", (0..MAX_LEARNED_KEYS).map(|k| key(k, first)), NOW);
    let later = NOW + LEARNED_KEEP;
    // The first one is served again; the second one is the oldest then.
    assert_eq!(store.learn("i", [key(0, first)], later).added, 0);
    assert_eq!(store.learn("i", [key(99, first)], later).added, 1);
    let pinned = |store: &mut KeyStore, k| store.learn("i", [key(k, second)], later).changed.len();
    assert_eq!((pinned(&mut store, 0), pinned(&mut store, 99)), (1, 1));
    // Told once.
    assert_eq!(pinned(&mut store, 0), 0);
    assert_eq!(store.learned().filter(|(.., key, _)| key.kid() == Some("1")).count(), 0);
    for issuer in 0..MAX_LEARNED_ISSUERS {
        store.learn(&issuer.to_string(), [key(0, first)], later);
    }
    assert_eq!(store.learn("more", [key(0, first)], later).refused, 1);
    assert_eq!(store.learn("more", [key(0, first)], later + LEARNED_KEEP).added, 1);
}

#[test]
fn a_learned_key_is_found_by_any_spelling_of_its_issuer_and_put_back_as_it_was() {
    let signer = of(Algorithm::Es256, 0);
    let mut store = KeyStore::new();
    assert_eq!(store.learn("id.example/a", [named(signer, "1", KeySource::Learned)], NOW).added, 1);
    let found = |store: &KeyStore, issuer| {
        !store.candidates(Some(issuer), Some("1"), Algorithm::Es256).keys.is_empty()
    };
    for issuer in ["https://id.example/a", "HTTP://ID.example:80/a/", "https://id.example:443/a"] {
        assert!(found(&store, issuer), "{issuer}");
    }
    for issuer in ["https://id.example/A", "https://id.example", "https://id.example:80/a", ""] {
        assert!(!found(&store, issuer), "{issuer}");
    }
    let pin = Pin { seen: NOW, other: Some([7; 32]) };
    let mut restored = KeyStore::new();
    for (issuer, key, _) in store.learned() {
        let jwk = key.to_jwk().unwrap();
        let key = parse_keys(jwk.as_bytes(), KeySource::Learned).unwrap().keys.remove(0);
        assert!(restored.restore(issuer, key, pin));
    }
    assert!(found(&restored, "https://id.example/a"));
    assert!(restored.learned().all(|(.., kept)| *kept == pin));

    // An issuer that gets keys of its own has no learned ones any more.
    let mut next = KeyStore::new();
    next.add(Some("https://id.example/a/"), []);
    next.inherit(&restored);
    assert!(!found(&next, "https://id.example/a"));
    assert_eq!(
        next.learn("id.example/a", [named(signer, "1", KeySource::Learned)], NOW).refused,
        1
    );
}
