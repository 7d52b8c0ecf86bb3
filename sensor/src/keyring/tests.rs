//! A keyring against a server that does everything wrong.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tempfile::TempDir;
use toml::Spanned;

use super::*;
use crate::{
    keys::{Algorithm, KeyStore},
    testing::{
        authority::Authority,
        server::{Reply, Server},
    },
};

mod fault;
mod fetchers;
mod file;
mod kept;
mod tls;

const SECOND: Duration = Duration::from_secs(1);
/// How long anything is waited for; only a failure takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A new EC key as a public JWK.
fn jwk(kid: &str) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    format!(r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{x}","y":"{y}"}}"#)
}

fn set_of(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn set(kid: &str) -> String {
    set_of(&[&jwk(kid)])
}

/// Everything an hour away but the first fetch and what a failure brings.
fn settings(dir: &Path) -> Settings {
    Settings {
        connect: SECOND,
        total: 5 * SECOND,
        max_bytes: 64 << 10,
        pace: Pace {
            refresh: 3_600 * SECOND,
            unknown_kid: 3_600 * SECOND,
            retry: Duration::from_millis(10),
        },
        keep: 3_600 * SECOND,
        cache_dir: dir.join("keys"),
        allow_http: true,
        allowed_hosts: Vec::new(),
        ca_file: None,
        wall,
    }
}

/// As [`settings`], with a fetch every few milliseconds.
fn eager(dir: &Path) -> Settings {
    let mut settings = settings(dir);
    settings.pace.refresh = Duration::from_millis(10);
    settings
}

fn from_url(url: &str) -> IssuerConfig {
    IssuerConfig {
        issuer: Some(Spanned::new(0..0, "id".into())),
        jwks_url: Some(Spanned::new(0..0, url.into())),
        ..IssuerConfig::default()
    }
}

fn by_discovery(issuer: &str) -> IssuerConfig {
    IssuerConfig {
        issuer: Some(Spanned::new(0..0, issuer.into())),
        discovery: Spanned::new(0..0, true),
        ..IssuerConfig::default()
    }
}

fn start(config: IssuerConfig, settings: Settings) -> Keyring {
    Keyring::start_with(&[config], settings).unwrap()
}

/// The names of the keys in force.
fn kids(keyring: &Keyring) -> Vec<String> {
    let current = keyring.current();
    let keys = &current.issuers()[0].keys;
    keys.iter().map(|key| key.kid().unwrap_or_default().to_owned()).collect()
}

fn status(keyring: &Keyring) -> IssuerStatus {
    keyring.status().remove(0)
}

#[track_caller]
fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !until() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn wait_for_error(keyring: &Keyring, part: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !status(keyring).last_error.is_some_and(|error| error.contains(part)) {
        let status = status(keyring);
        assert!(Instant::now() < deadline, "in vain: {part}; {status:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_set_is_fetched_and_put_in_force() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let keyring = start(from_url(&server.url("/jwks?q")), settings(dir.path()));
    wait("keys", || keyring.generation() == 1);
    assert_eq!(kids(&keyring), ["1"]);
    let current = keyring.current();
    assert_eq!((current.generation(), current.issuers().len()), (1, 1));
    assert!(current.of(Some("id")).is_some_and(|keys| !keys.has_secret()));
    assert!(current.of(None).is_none());
    let mut store = KeyStore::new();
    current.apply(&mut store);
    assert_eq!(store.candidates(Some("id"), Some("1"), Algorithm::Es256).keys.len(), 1);

    wait("status", || status(&keyring).source == KeysFrom::Network);
    let status = status(&keyring);
    assert_eq!((status.issuer.as_deref(), status.keys, status.old_keys), (Some("id"), 1, 0));
    assert!(status.last_error.is_none());
    let (last, next) = (status.last_success.unwrap(), status.next_refresh.unwrap());
    assert!(last < next, "{last} {next}");
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /jwks?q HTTP/1.1\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("if-none-match"), "{request}");
}

#[test]
fn one_bad_key_spoils_no_other_and_a_published_secret_is_no_key() {
    let dir = TempDir::new().unwrap();
    let bad = r#"{"kty":"EC","crv":"P-256","kid":"bad","x":"AA","y":"AA"}"#;
    let secret = r#"{"kty":"oct","kid":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}"#;
    let server = Server::start(Reply::json(&set_of(&[bad, &jwk("1"), secret, "7", &jwk("2")])));
    let keyring = start(from_url(&server.url("/")), settings(dir.path()));
    wait("keys", || status(&keyring).source == KeysFrom::Network);
    assert_eq!(kids(&keyring), ["1", "2"]);
    assert_eq!(status(&keyring).rejected, 3);
}

#[test]
fn discovery_finds_the_set_at_either_place() {
    for path in [
        "/tenant/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/tenant",
    ] {
        let dir = TempDir::new().unwrap();
        let server = Server::start(Reply::status(404));
        let issuer = server.url("/tenant");
        let keyring = start(by_discovery(&issuer), settings(dir.path()));
        wait_for_error(&keyring, "answered 404");
        let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{}"}}"#, server.url("/k"));
        server.at(path, Reply::json(&document));
        server.at("/k", Reply::json(&set("1")));
        wait("keys", || kids(&keyring) == ["1"]);
    }
}

#[test]
fn a_discovery_document_must_be_of_its_issuer_and_lead_to_its_host() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let issuer = server.url("");
    let keyring = start(by_discovery(&issuer), settings(dir.path()));
    let other_host = server.url("/k").replace("127.0.0.1", "localhost");
    let user = server.url("/k").replace("127.0.0.1", "user@127.0.0.1");
    let slash = format!("{issuer}/");
    for (claimed, jwks_uri, error) in [
        (slash.as_str(), server.url("/k"), "of another issuer"),
        ("https://id.example", server.url("/k"), "of another issuer"),
        (&issuer, other_host, "jwks_uri: localhost:"),
        (&issuer, "http://169.254.169.254/latest".into(), "169.254.169.254 is not an allowed"),
        (&issuer, user, "user information"),
        (&issuer, "file:///etc/passwd".into(), "jwks_uri: redirected: not an absolute URL"),
        (&issuer, "/k".into(), "not an absolute URL"),
    ] {
        let document = format!(r#"{{"issuer":"{claimed}","jwks_uri":"{jwks_uri}"}}"#);
        server.at("/.well-known/openid-configuration", Reply::json(&document));
        wait_for_error(&keyring, error);
    }
    assert!(server.requests().iter().all(|request| !request.contains("GET /k")));
    assert!(kids(&keyring).is_empty());
}

#[test]
fn an_unknown_kid_brings_one_fetch_in_its_time() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let mut settings = settings(dir.path());
    let pace = Duration::from_millis(250);
    settings.pace.unknown_kid = pace;
    let keyring = start(from_url(&server.url("/")), settings);
    wait("keys", || status(&keyring).source == KeysFrom::Network);

    let began = Instant::now();
    // A known kid and an issuer that is not configured ask for nothing.
    assert_eq!(keyring.unknown_kid(Some("id"), "1"), None);
    assert_eq!(keyring.unknown_kid(Some("other"), "2"), None);
    assert_eq!(keyring.unknown_kid(None, "2"), None);
    let number = || keyring.fetched().map(|mark| mark.number).collect::<Vec<_>>();
    wait("the first fetch's number", || number() == [1]);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(server.requests().len(), 1);

    server.all(Reply::json(&set("2")));
    assert_eq!(keyring.unknown_kid(Some("id"), "2"), Some(FetchMark { source: 0, number: 1 }));
    wait("the first", || kids(&keyring) == ["2", "1"]);
    wait("the second fetch's number", || number() == [2]);
    let mut calls = 0_u64;
    while began.elapsed() < Duration::from_millis(900) {
        keyring.unknown_kid(Some("id"), &calls.to_string().repeat(2));
        calls += 1;
    }
    let fetches = server.requests().len() - 1;
    let most = began.elapsed().div_duration_f64(pace) as usize + 1;
    assert!((2..=most).contains(&fetches), "{fetches} fetches for {calls} calls");
}

#[test]
fn an_unchanged_set_is_not_sent_again() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(
        Reply::json(&set("1"))
            .header("ETag", "\"a\"")
            .header("Last-Modified", "Sat, 21 Nov 2026 09:00:00 GMT"),
    );
    let keyring = start(from_url(&server.url("/")), eager(dir.path()));
    wait("keys", || keyring.generation() == 1);
    server.all(Reply::status(304));
    let before = server.requests().len();
    wait("conditional requests", || server.requests().len() > before + 3);
    let request = server.requests().pop().unwrap().to_lowercase();
    assert!(request.contains("\r\nif-none-match: \"a\"\r\n"), "{request}");
    assert!(request.contains("\r\nif-modified-since: sat, 21 nov 2026"), "{request}");
    assert_eq!((keyring.generation(), kids(&keyring)), (1, vec!["1".to_owned()]));
    assert_eq!(status(&keyring).last_error, None);
    // A new set drops the validators of the old one.
    server.all(Reply::json(&set("2")));
    wait("new keys", || keyring.generation() == 2);
    let before = server.requests().len();
    wait("more requests", || server.requests().len() > before + 1);
    assert!(!server.requests().pop().unwrap().to_lowercase().contains("if-"));
}

#[test]
fn max_age_is_honoured() {
    let dir = TempDir::new().unwrap();
    let reply = Reply::json(&set("1")).header("Cache-Control", "public, Max-Age=1");
    let server = Server::start(reply);
    let mut settings = settings(dir.path());
    settings.pace.unknown_kid = SECOND;
    let keyring = start(from_url(&server.url("/")), settings);
    wait("a second fetch", || server.requests().len() == 2);
    drop(keyring);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn old_keys_serve_for_a_while_behind_a_rotation() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (jwk("1"), jwk("2"));
    let server = Server::start(Reply::json(&set_of(&[&one])));
    let mut settings = eager(dir.path());
    settings.keep = Duration::from_millis(400);
    let keyring = start(from_url(&server.url("/")), settings);
    wait("the first set", || kids(&keyring) == ["1"]);
    server.all(Reply::json(&set_of(&[&one, &two])));
    wait("the second set", || kids(&keyring) == ["1", "2"]);
    wait("status", || status(&keyring).old_keys == 0);
    server.all(Reply::json(&set_of(&[&two])));
    let rotated = Instant::now();
    wait("the third set", || kids(&keyring) == ["2", "1"]);
    wait("status", || status(&keyring).old_keys == 1);
    wait("the end of the old key", || kids(&keyring) == ["2"]);
    assert!(rotated.elapsed() >= Duration::from_millis(400), "{:?}", rotated.elapsed());
    wait("status", || status(&keyring).old_keys == 0);
}

#[test]
fn nothing_waits_for_the_network() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")).delayed(4 * SECOND));
    let began = Instant::now();
    let keyring = start(from_url(&server.url("/")), settings(dir.path()));
    wait("a request", || server.requests().len() == 1);
    keyring.unknown_kid(Some("id"), "9");
    assert_eq!(status(&keyring).source, KeysFrom::Nowhere);
    assert!(keyring.current().issuers()[0].keys.is_empty());
    drop(keyring);
    assert!(began.elapsed() < 4 * SECOND);
}
