//! What is kept over a restart.

use std::os::unix::fs::chown;

use super::*;

fn cache_file(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("keys")).unwrap().map(|file| file.unwrap().path());
    let mut files = files.filter(|path| path.extension().unwrap() == "json");
    let file = files.next().unwrap();
    assert!(files.next().is_none());
    file
}

/// Fetches `sets` one behind the other and stops.
fn keep(dir: &Path, url_of: &Server, sets: &[String]) -> String {
    let url = url_of.url("/jwks");
    let serve = |set: &String| url_of.all(Reply::json(set).header("ETag", "\"a\""));
    serve(&sets[0]);
    let keyring = start(from_url(&url), eager(dir));
    for (nth, set) in sets.iter().enumerate() {
        serve(set);
        wait("a set", || keyring.generation() == nth as u64 + 1);
    }
    wait("the cache", || status(&keyring).source == KeysFrom::Network);
    // The last fetch has ended, or never will write.
    let before = url_of.requests().len();
    wait("another fetch", || url_of.requests().len() > before + 1);
    url
}

#[test]
fn a_restart_needs_no_network() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let url = keep(dir.path(), &server, &[set("1"), set("2"), set("3")]);
    let file = cache_file(dir.path());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir.path().join("keys"))), (0o600, 0o700));

    // Still with the validators of then.
    server.all(Reply::status(304));
    let keyring = start(from_url(&url), settings(dir.path()));
    assert_eq!(kids(&keyring), ["3", "2", "1"]);
    wait("the server's word", || status(&keyring).source == KeysFrom::Network);
    assert_eq!(keyring.generation(), 0);
    drop((keyring, server));

    let keyring = start(from_url(&url), settings(dir.path()));
    assert_eq!(kids(&keyring), ["3", "2", "1"]);
    wait_for_error(&keyring, "refused");
    let status = status(&keyring);
    assert_eq!((status.source, status.keys, status.old_keys), (KeysFrom::Cache, 3, 2));
    assert!(status.last_success.is_some());
    assert_eq!(kids(&keyring), ["3", "2", "1"]);
}

#[test]
fn another_configuration_finds_no_keys_of_this_one() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let url = keep(dir.path(), &server, &[set("1")]);
    server.all(Reply::status(500));
    let other_url = from_url(&format!("{url}2"));
    let mut other_issuer = from_url(&url);
    other_issuer.issuer = None;
    for config in [other_url, other_issuer, by_discovery(&server.url(""))] {
        assert!(kids(&start(config, settings(dir.path()))).is_empty());
    }
    let mut smaller = settings(dir.path());
    smaller.max_bytes = 16;
    assert!(kids(&start(from_url(&url), smaller)).is_empty());
    assert_eq!(kids(&start(from_url(&url), settings(dir.path()))), ["1"]);
}

#[test]
fn a_torn_or_foreign_cache_is_passed_over() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let url = keep(dir.path(), &server, &[set("1")]);
    drop(server);
    let file = cache_file(dir.path());
    let whole = fs::read(&file).unwrap();
    let starts_with = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        kids(&start(from_url(&url), settings(dir.path())))
    };
    assert_eq!(starts_with(&whole), ["1"]);
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        assert!(cache::load(&file).is_err(), "{len}");
    }
    assert!(starts_with(&whole[..whole.len() / 2]).is_empty());
    assert!(starts_with(&vec![0; whole.len()]).is_empty());
    let text = String::from_utf8(whole.clone()).unwrap();
    assert!(starts_with(text.replace("\"version\":1", "\"version\":2").as_bytes()).is_empty());
    assert!(starts_with(text.replace("P-256", "P-257").as_bytes()).is_empty());
    // A set that was fetched from elsewhere than this configuration would fetch from.
    let elsewhere = text.replace("127.0.0.1", "127.0.0.2");
    assert!(elsewhere != text && starts_with(elsewhere.as_bytes()).is_empty());
    // Others could have put keys into it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(starts_with(&whole).is_empty());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can give a file away.
    if chown(&file, Some(12_345), None).is_ok() {
        assert!(starts_with(&whole).is_empty());
        chown(&file, Some(0), None).unwrap();
    }
    assert_eq!(starts_with(&whole), ["1"]);
    // A validator that no header could carry would make every request fail.
    assert_eq!(fetch::Validators::new(Some("a\nb".into()), None), fetch::Validators::default());
}

/// A reload starts a new keyring while the old one's thread may still write.
#[test]
fn writers_at_once_tear_nothing() {
    let dir = TempDir::new().unwrap();
    let path = cache::path(&dir.path().join("keys"), None, "");
    thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let set = writer.to_string().repeat(10_000 * (writer + 1));
                for _ in 0..10 {
                    cache::store(path, &cache::Cached::new(String::new(), 0, set.clone())).unwrap();
                    let read = cache::load(path).unwrap().unwrap().set;
                    assert_eq!(read.len() % 10_000, 0);
                }
            });
        }
    });
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
}

#[test]
fn a_folder_that_can_not_be_written_only_costs_the_memory() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("keys"), "a file").unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let keyring = start(from_url(&server.url("/")), settings(dir.path()));
    wait("keys", || kids(&keyring) == ["1"]);
}

/// The wall clock of this test, in seconds.
static CLOCK: AtomicU64 = AtomicU64::new(2_000_000_000);

#[test]
fn a_clock_that_is_set_back_or_forward_moves_no_schedule() {
    let clock = || Time::from_unix_secs(CLOCK.load(Ordering::Relaxed));
    let dir = TempDir::new().unwrap();
    let (one, two) = (set("1"), set("2"));
    let server = Server::start(Reply::json(&one));
    let mut eager = eager(dir.path());
    eager.wall = clock;
    let mut settings = settings(dir.path());
    settings.wall = clock;
    let url = server.url("/");
    let keyring = start(from_url(&url), eager);
    wait("keys", || kids(&keyring) == ["1"]);
    for clock in [0, 1_000, 4_000_000_000, 1_900_000_000] {
        CLOCK.store(clock, Ordering::Relaxed);
        let before = server.requests().len();
        wait("further fetches", || server.requests().len() > before + 3);
        let status = status(&keyring);
        assert!(status.last_error.is_none() && kids(&keyring) == ["1"]);
    }
    server.all(Reply::json(&two));
    wait("a rotation", || kids(&keyring) == ["2", "1"]);
    drop(keyring);
    server.all(Reply::status(500));

    // What was kept is from long ago: the current set serves, old keys are over.
    CLOCK.store(3_000_000_000, Ordering::Relaxed);
    assert_eq!(kids(&start(from_url(&url), settings.clone())), ["2"]);

    // What was kept is from the future: it serves, and its old keys no longer than due.
    CLOCK.store(1_000_000_000, Ordering::Relaxed);
    settings.keep = Duration::from_millis(300);
    let began = Instant::now();
    let keyring = start(from_url(&url), settings.clone());
    assert_eq!(kids(&keyring), ["2", "1"]);
    wait("the end of the old key", || kids(&keyring) == ["2"]);
    assert!(began.elapsed() >= settings.keep);
    drop(keyring);
}

#[test]
fn earlier_sets_are_bounded() {
    use rotation::{FetchedSet, MAX_EARLIER, Rotation};

    let read = |text: String| FetchedSet::read(text.into_bytes()).unwrap();
    let now = Instant::now();
    let mut rotation = Rotation::default();
    let stable = jwk("stable");
    for kid in 0..30 {
        let set = read(set_of(&[&jwk(&kid.to_string()), &stable]));
        rotation.replace(set, now + kid * SECOND, Time::EPOCH, 3_600 * SECOND);
    }
    let (keys, old) = rotation.keys();
    assert_eq!((keys.len(), old), (MAX_EARLIER + 2, MAX_EARLIER));
    assert_eq!(keys[0].kid(), Some("29"));
    assert_eq!(keys[2].kid(), Some("28"));
    // A key that comes back under its name is current again, and there once.
    let back = read(set_of(&[&stable]));
    rotation.replace(back, now + 40 * SECOND, Time::EPOCH, 3_600 * SECOND);
    assert_eq!(rotation.keys().0.len(), MAX_EARLIER + 1);
    assert_eq!(rotation.next_expiry(), Some(now + (23 + 3_600) * SECOND));
    assert!(!rotation.expire(now + 3_600 * SECOND));
    assert!(rotation.expire(now + 3_640 * SECOND) && rotation.keys().1 == 0);
}

#[test]
fn a_secret_in_a_set_is_not_shown() {
    let text = set_of(&[&jwk("a"), r#"{"kty":"oct","k":"hmac-7d20e9b4c6f80000"}"#]);
    let mut rotation = rotation::Rotation::default();
    let set = rotation::FetchedSet::read(text.into_bytes()).unwrap();
    rotation.replace(set, Instant::now(), Time::EPOCH, SECOND);
    crate::redact::debug_tests::silent(&rotation);
}
