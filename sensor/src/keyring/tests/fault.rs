//! What a server can do wrong, and that the old keys stay in force.

use super::*;

/// Each fault behind a good set: the reason is told, nothing else changes, and the next good
/// answer ends it.
#[test]
fn whatever_comes_back_the_old_set_stays() {
    let dir = TempDir::new().unwrap();
    let good = set("1");
    let server = Server::start(Reply::json(&good));
    let other_host = server.url("/other").replace("127.0.0.1", "localhost");
    let mut settings = eager(dir.path());
    settings.total = Duration::from_millis(150);
    let max = settings.max_bytes as usize;
    let keyring = start(from_url(&server.url("/jwks")), settings);
    wait("keys", || kids(&keyring) == ["1"]);
    for path in ["/a", "/b", "/c"] {
        server.at(path, Reply::to(&server.url("/jwks")));
    }
    server.at("/other", Reply::json(&set("forged")));
    let long = format!("{}{}", set("forged"), " ".repeat(10 << 20));
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = |body: &str| Reply::json(body).header("Transfer-Encoding", "chunked");
    let forged = set("forged");
    let half = &forged[..forged.len() / 2];
    let secret = r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}"#;
    let encryption = jwk("forged").replace("\"kid\"", "\"use\":\"enc\",\"kid\"");

    for (reply, reason) in [
        (Reply::status(500), "answered 500"),
        (Reply::status(204), "answered 204"),
        (Reply::status(401), "answered 401"),
        // Nothing was asked conditionally.
        (Reply::status(304), "answered 304"),
        (Reply::json("<!doctype html><title>Log in</title>"), "no JSON key set"),
        (Reply::json("-----BEGIN PUBLIC KEY-----"), "no JSON key set"),
        (Reply::json(""), "no JSON key set"),
        (Reply::json("{\"error\":\"oops\"}"), "neither a JWK Set"),
        (Reply::json("{\"keys\":[]}"), "no key that can verify"),
        (Reply::json("{\"keys\":{}}"), "malformed"),
        (Reply::json(&set_of(&["{}", "7"])), "no key that can verify"),
        (Reply::json(&set_of(&[secret])), "no key that can verify"),
        (Reply::json(&set_of(&[&encryption])), "no key that can verify"),
        (Reply::json(&long), "the answer is over 65536 bytes"),
        (chunked(&chunk(&long)), "the answer is over 65536 bytes"),
        (Reply::json(&"{".repeat(max - 1)), "malformed"),
        // Half a set: the body ends too early, or the JSON does.
        (Reply::json(half), "malformed"),
        (Reply::json(&forged).promising(forged.len() + 9), "end of file"),
        (Reply::json(&forged).promising(forged.len() / 2), "malformed"),
        (chunked(&chunk(&forged)), "end of file"),
        (Reply::json(&forged).header("X", &"x".repeat(20 << 10)), "header"),
        (Reply::json(&forged).delayed(SECOND), "no whole answer in time"),
        (Reply::json(&forged).dripping(Duration::from_millis(20)), "no whole answer in time"),
        (Reply::to(&server.url("/jwks")), "a loop"),
        (Reply::to(&server.url("/a")), "a loop"),
        (Reply::to(&other_host), "localhost"),
        (Reply::to("//localhost/x"), "localhost is not an allowed host"),
        (Reply::to("http://169.254.169.254/x"), "169.254.169.254 is not an allowed host"),
        (Reply::to(&server.url("/other").replace("127", "user@127")), "user information"),
        (Reply::to("file:///etc/passwd"), "redirected: not an absolute URL"),
        (Reply::status(307), "leads nowhere"),
    ] {
        // The reason of the last case is gone before this one is waited for.
        server.all(Reply::json(&good));
        wait("recovery", || status(&keyring).last_error.is_none());
        server.all(reply);
        wait_for_error(&keyring, reason);
        let status = status(&keyring);
        assert_eq!((keyring.generation(), kids(&keyring)), (1, vec!["1".into()]), "{reason}");
        assert_eq!((status.keys, status.source), (1, KeysFrom::Network));
    }
    assert!(!server.requests().iter().any(|request| request.contains("localhost")));

    drop(server);
    wait_for_error(&keyring, "refused");
    assert_eq!((keyring.generation(), kids(&keyring)), (1, vec!["1".into()]));
}

#[test]
fn more_redirects_than_allowed_are_no_loop_and_refused() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    for (from, to) in [("/1", "/2"), ("/2", "/3"), ("/3", "/4"), ("/4", "/5")] {
        server.at(from, Reply::to(to));
    }
    let keyring = start(from_url(&server.url("/1")), settings(dir.path()));
    wait_for_error(&keyring, "redirects");
    let keyring = start(from_url(&server.url("/2")), settings(dir.path()));
    wait("keys", || kids(&keyring) == ["1"]);
}

#[test]
fn an_allowed_host_may_be_redirected_to() {
    let dir = TempDir::new().unwrap();
    let other = Server::start(Reply::json(&set("1")));
    let server = Server::start(Reply::to(&other.url("/k")));
    // Another port is another host.
    let keyring = start(from_url(&server.url("/")), settings(dir.path()));
    wait_for_error(&keyring, "is not an allowed host");
    assert!(other.requests().is_empty());
    let mut settings = settings(dir.path());
    settings.allowed_hosts = vec![Host::parse(other.url("").split("//").nth(1).unwrap()).unwrap()];
    let keyring = start(from_url(&server.url("/")), settings);
    wait("keys", || kids(&keyring) == ["1"]);
}

#[test]
fn plain_http_is_refused_unless_allowed() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(Reply::json(&set("1")));
    let mut settings = settings(dir.path());
    settings.allow_http = false;
    let keyring = start(from_url(&server.url("/")), settings);
    thread::sleep(Duration::from_millis(50));
    assert!(server.requests().is_empty() && kids(&keyring).is_empty());
}

#[test]
fn one_issuer_in_trouble_harms_no_other() {
    let dir = TempDir::new().unwrap();
    let bad = Server::start(Reply::status(503));
    let good = Server::start(Reply::json(&set("1")));
    let mut any = from_url(&good.url("/"));
    any.issuer = None;
    let configs = [from_url(&bad.url("/")), any];
    let keyring = Keyring::start_with(&configs, settings(dir.path())).unwrap();
    wait("keys", || keyring.current().of(None).is_some_and(|keys| keys.keys.len() == 1));
    wait_for_error(&keyring, "answered 503");
    assert!(keyring.current().of(Some("id")).is_some_and(|keys| keys.keys.is_empty()));
    // An issuer without a table is the second one's.
    keyring.unknown_kid(Some("other"), "2");
    wait("a fetch", || good.requests().len() == 2);
}
