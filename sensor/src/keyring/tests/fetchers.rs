//! Several issuers at once, and what is logged of them.

use std::{io, sync::Mutex};

use super::*;
use crate::keyring::{
    fetch::{Client, KEY_SETS},
    remote::Remote,
};

fn named(name: &str, url: &str) -> IssuerConfig {
    IssuerConfig { issuer: Some(Spanned::new(0..0, name.into())), ..from_url(url) }
}

fn has_keys(keyring: &Keyring, issuer: &str) -> bool {
    keyring.current().of(Some(issuer)).is_some_and(|keys| !keys.keys.is_empty())
}

#[test]
fn servers_that_hang_delay_no_other_issuer() {
    let dir = TempDir::new().unwrap();
    let slow = Server::start(Reply::json(&set("1")).delayed(4 * SECOND));
    let quick = Server::start(Reply::json(&set("2")));
    let mut issuers: Vec<_> =
        (0..MAX_FETCHERS - 1).map(|k| named(&format!("slow-{k}"), &slow.url("/"))).collect();
    issuers.push(named("quick", &quick.url("/")));
    let began = Instant::now();
    let keyring = Keyring::start_with(&issuers, settings(dir.path())).unwrap();
    wait("the quick one's keys", || has_keys(&keyring, "quick"));
    assert!(!has_keys(&keyring, "slow-0"), "{:?}", began.elapsed());
    // Also when an unknown key id asks while the others still hang.
    keyring.unknown_kid(Some("quick"), "3");
    wait("a second fetch", || quick.requests().len() == 2);
    // One after the other, the slow ones alone would take 28 s.
    assert!(began.elapsed() < 8 * SECOND);
}

#[test]
fn no_more_fetches_than_allowed_run_at_once_and_all_come_in_turn() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")).delayed(SECOND));
    let count = MAX_FETCHERS + 5;
    let issuers: Vec<_> =
        (0..count).map(|k| named(&k.to_string(), &server.url(&format!("/{k}")))).collect();
    let keyring = Keyring::start_with(&issuers, settings(dir.path())).unwrap();
    wait("the first fetches", || server.requests().len() == MAX_FETCHERS);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.requests().len(), MAX_FETCHERS);
    wait("all keys", || (0..count).all(|k| has_keys(&keyring, &k.to_string())));
    // Each once.
    assert_eq!(server.requests().len(), count);
}

/// Lines of the log of the thread that writes here.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_server_that_stays_down_is_logged_once_a_change() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::status(503));
    let settings = settings(dir.path());
    let client = Client::new(&settings, KEY_SETS).unwrap();
    let mut remote = Remote::new(0, &from_url(&server.url("/")), &settings, &client).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, tracing lets whichever thread comes first to a message decide
    // whether anyone wants it, and other tests' threads have no subscriber.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(subscriber, || {
        let mut fetch = |times: usize| {
            for _ in 0..times {
                remote.refresh(&client, &settings, 0.5);
            }
            log.lines()
        };
        let lines = fetch(20);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("answered 503"), "{lines:#?}");
        // Another reason is a change; so is the end of it, which is said once too.
        server.all(Reply::json("{}"));
        assert_eq!(fetch(20).len(), 2);
        server.all(Reply::json(&set("1")));
        let lines = fetch(20);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[2].contains("are fetched again") && lines[3].contains("changed"));
        server.all(Reply::status(503));
        assert_eq!(fetch(20).len(), 5);
    });
}
