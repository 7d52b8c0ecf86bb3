use std::sync::Arc;

use super::tests::{Bench, Gathered};
use crate::{
    capture::{Direction, TcpFlags},
    event::Body,
    keys::KeyStore,
    token::validate::Policy,
    weak::WeakSecrets,
};

const JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// A token that is signed with this secret.
pub(super) fn hs256(secret: &str, kid: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
    let header = B64.encode(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#));
    let input = format!("{header}.{}", B64.encode(r#"{"exp":4000000000}"#));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
    format!("{input}.{}", B64.encode(tag.as_ref()))
}

impl Bench {
    fn get(&mut self, target: &str, answer: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: id.example\r\n\r\n");
        self.segment(Direction::ToServer, request.as_bytes(), TcpFlags::default());
        self.response(answer);
    }

    /// `ids` of the key events so far.
    pub(super) fn key_events(&self) -> Vec<&'static str> {
        let id = |event: &crate::event::Event| match &event.body {
            Body::Key(key) => Some(key.findings[0].id.as_str()),
            _ => None,
        };
        self.out.events.iter().filter_map(id).collect()
    }

    fn kids(&self) -> Vec<String> {
        self.pipeline.learned().map(|(_, key, _)| key.kid().unwrap().to_owned()).collect()
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const SET: &str = "/.well-known/jwks.json";

#[test]
fn learned_keys_outlast_new_configured_ones_and_end_with_the_switch() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.get(SET, &ok(&format!("{{\"keys\":[{JWK}]}}")));
    assert_eq!(bench.kids(), ["1"]);
    bench.get(SET, &ok(&format!("{{\"keys\":[{JWK}]}}")));
    let changed = JWK.replace("11qY", "12qY");
    bench.get(SET, &ok(&format!("{{\"keys\":[{changed}]}}")));
    bench.get(SET, &ok(&format!("{{\"keys\":[{changed}]}}")));
    // An Ed25519 key is any 32 bytes.
    assert_eq!(bench.key_events(), ["learned-key-changed"]);
    bench.get(SET, &ok("{\"keys\":[{\"kty\""));
    bench.get("/uploads/x", &ok(&format!("{{\"keys\":[{changed}]}}")));
    let stats = bench.pipeline.stats().key_sets;
    assert_eq!((stats.read, stats.learned, stats.changed), (4, 1, 1));
    assert_eq!((stats.unusable, stats.unattributed, stats.incomplete), (1, 1, 0));

    bench.pipeline.trust(Arc::default(), Arc::default());
    assert_eq!(bench.kids(), ["1"]);
    let mut configured = KeyStore::new();
    configured.add(Some("https://id.example"), []);
    bench.pipeline.trust(Arc::new(configured), Arc::default());
    assert!(bench.kids().is_empty());
    bench.pipeline.trust(Arc::default(), Arc::default());
    // Where all issuers are configured, one that is not has nothing to teach.
    let closed = Policy { known_issuers_only: true, ..Policy::default() };
    bench.pipeline.trust(Arc::default(), Arc::new(closed));
    bench.get(SET, &ok(&format!("{{\"keys\":[{JWK}]}}")));
    assert!(bench.kids().is_empty());
    bench.pipeline.trust(Arc::default(), Arc::default());
    bench.get(SET, &ok(&format!("{{\"keys\":[{JWK}]}}")));
    assert_eq!(bench.kids(), ["1"]);
    let settings = super::Settings { learn: false, ..bench.settings() };
    bench.pipeline.reconfigure(settings);
    assert!(bench.kids().is_empty());
}

/// A set that is too large, or of which a piece was lost, teaches nothing and is counted.
#[test]
fn half_a_set_teaches_nothing() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    let long = format!("{{\"keys\":[{JWK},{}]}}", " ".repeat(70 << 10));
    bench.get(SET, &ok(&long));
    assert_eq!((bench.pipeline.stats().key_sets.incomplete, bench.kids().len()), (1, 0));
    assert_eq!(bench.pipeline.stats().held_bytes, 0);
}

fn with_list(bench: &mut Bench, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    std::fs::write(&path, words).unwrap();
    let list = WeakSecrets::load(&path).unwrap();
    bench.pipeline.reconfigure(bench.settings().with_weak_secrets(Some(list)));
}

#[test]
fn a_secret_is_tried_once_and_only_on_what_a_service_accepted() {
    let mut bench = Bench::new();
    with_list(&mut bench, "word\nsecret\n");
    bench.connect(40_000);
    let (weak, strong) = (hs256("secret", "1"), hs256("strong", "2"));
    let mut exchange = |token: &str, status: &str| {
        bench.request(token);
        bench.response(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        (bench.key_events().len(), bench.pipeline.stats().secrets.tried)
    };
    assert_eq!(exchange(&weak, "401"), (0, 0));
    assert_eq!(exchange(&strong, "200"), (0, 1));
    // The token is known by now, and its sample with it.
    assert_eq!(exchange(&weak, "200"), (1, 2));
    assert_eq!(exchange(&weak, "200"), (1, 2));
    assert_eq!(bench.key_events(), ["weak-secret"]);
    let shown = format!("{:?}", bench.out.events);
    assert!(!shown.contains("secret\"") && !shown.contains("word"), "{shown}");
    // Another list is another try.
    with_list(&mut bench, "strong\n");
    bench.request(&strong);
    bench.response("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.key_events().len(), 2);
}

#[test]
fn without_a_list_nothing_is_kept_or_tried() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request(&hs256("secret", "1"));
    bench.response("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.pipeline.stats().secrets, Default::default());
    let Gathered { events, .. } = &bench.out;
    assert!(events.iter().all(|event| !matches!(event.body, Body::Key(_))));
}
