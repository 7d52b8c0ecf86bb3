//! Tokens that are over, and clients behind proxies.

use std::path::Path;

use super::*;
use crate::{
    clients::Clients,
    config::parse,
    keys::{KeySource, KeyStore, parse_keys},
    memory::{Lost, Memory},
    revocation::RevocationList,
    token::{
        testing::{jwk, sign},
        validate::Policy,
    },
};

/// What passes between a client and the service, in turn.
fn posts(bench: &mut Bench, path: &str, body: &str, answer: &str) {
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    bench.segment(Direction::ToServer, text.as_bytes(), TcpFlags::default());
    bench.response(answer);
}

/// {"alg":"HS256"} and {"sub":"a"}
const GOOD: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlIG9mIHNvbWUgbGVuZ3RoLCAzMiBieXQ";

#[test]
fn a_token_ends_where_the_service_says_that_it_revoked_it() {
    const NO: &str = "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n";
    let form = format!("token={GOOD}&token_type_hint=access_token");
    for (path, answer, ended) in [
        ("/oauth2/revoke", OK, true),
        ("/realms/x/protocol/openid-connect/revoke/?a=b", OK, true),
        ("/connect/revocation", OK, true),
        ("/oauth2/revoke", NO, false),
        ("/oauth2/introspect", OK, false),
        ("/oauth2/not-revoke", OK, false),
    ] {
        let mut bench = Bench::new();
        bench.connect(40_000);
        bench.request(GOOD);
        bench.response(OK);
        posts(&mut bench, path, &form, answer);
        // What was under way is forgiven.
        bench.request(GOOD);
        bench.response(OK);
        bench.pass(Duration::from_secs(6));
        bench.request(GOOD);
        bench.response(OK);
        let expected: &[_] =
            if ended { &[(vec!["token-used-after-revocation"], "accepted")] } else { &[] };
        assert_eq!(said(&bench), expected, "{path}");
        // Another token is another token, whatever its claims.
        bench.request(&GOOD.replace("c2ln", "c2lo"));
        bench.response(OK);
        assert_eq!(said(&bench).len(), expected.len(), "{path}");
    }
}

#[test]
fn what_ended_is_over_after_a_restart_too() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request(GOOD);
    bench.response(OK);
    posts(&mut bench, "/revoke", &format!("token={GOOD}"), OK);
    let mut state = Vec::new();
    bench.pipeline.memory().begin_snapshot(&mut state).unwrap();
    while bench.pipeline.memory().write_changes(100, &mut state).unwrap() > 0 {}
    let settings = Settings::new(&Config::default(), FingerprintKey::new([7; 16]), [1; 16]);
    let (memory, lost) = Memory::restore(settings.memory_secret, settings.memory, &state).unwrap();
    assert_eq!(lost, Lost::default());
    let mut after = Bench::new();
    after.now = bench.now + Duration::from_secs(60);
    after.pipeline.remember(memory);
    after.connect(40_000);
    after.request(GOOD);
    after.response(OK);
    assert_eq!(said(&after), [(vec!["token-used-after-revocation"], "accepted")]);
}

#[test]
fn the_list_ends_tokens_at_once_and_can_be_taken_back() {
    let fingerprint = FingerprintKey::new([7; 16]).fingerprint(GOOD.as_bytes());
    let list = format!("{{\"fingerprint\":\"{fingerprint}\"}}");
    let list = RevocationList::parse(list.as_bytes()).unwrap();
    let mut bench = Bench::new();
    bench.connect(40_000);
    for (list, events) in [(&list, 1), (&RevocationList::default(), 1)] {
        bench.pipeline.revoke(list);
        bench.request(GOOD);
        bench.response(OK);
        assert_eq!(said(&bench).len(), events);
    }
    assert_eq!(said(&bench), [(vec!["token-used-after-revocation"], "accepted")]);
}

#[test]
fn only_a_logout_token_that_validates_ends_a_session() {
    let header = r#"{"alg":"EdDSA","typ":"logout+jwt"}"#;
    let now = 1_700_000_000;
    let claims = format!(
        r#"{{"iss":"i","aud":"rp","sub":"u","iat":{now},"jti":"1","sid":"s","events":{{"http://schemas.openid.net/event/backchannel-logout":{{}}}}}}"#
    );
    let access = |sid: &str| {
        let claims = format!(r#"{{"iss":"i","sub":"u","sid":"{sid}","iat":{now}}}"#);
        sign(1, r#"{"alg":"EdDSA"}"#, &claims)
    };
    let run = |posted: &[String], answer: &str, token: &str| {
        let mut bench = Bench::new();
        let mut keys = KeyStore::new();
        keys.add(Some("i"), parse_keys(jwk(1).as_bytes(), KeySource::File).unwrap().keys);
        bench.pipeline.trust(Arc::new(keys), Arc::new(Policy::default()));
        bench.connect(40_000);
        bench.request(token);
        bench.response(OK);
        for posted in posted {
            posts(&mut bench, "/logout", &format!("logout_token={posted}"), answer);
            bench.pass(Duration::from_secs(6));
        }
        bench.out.events.clear();
        bench.request(token);
        bench.response(OK);
        !said(&bench).is_empty()
    };
    let good = || vec![sign(1, header, &claims)];
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
    assert!(run(&good(), OK, &access("s")) && run(&good(), no_content, &access("s")));
    assert!(!run(&good(), OK, &access("t")), "another session of the subject goes on");
    assert!(!run(&good(), "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", &access("s")));
    // Without a session all of the subject's tokens end.
    let whole = claims.replace(r#""sid":"s","#, "");
    assert!(run(&[sign(1, header, &whole)], OK, &access("t")));
    for header in [r#"{"alg":"EdDSA"}"#, r#"{"alg":"EdDSA","typ":"JWT"}"#] {
        assert!(run(&[sign(1, header, &claims)], OK, &access("s")), "{header}");
    }
    // What is no logout token, or nobody's.
    for (key, header, claims) in [
        (2, header.to_owned(), claims.clone()),
        (1, header.replace("EdDSA", "none"), claims.clone()),
        (1, header.replace("logout+jwt", "at+jwt"), claims.clone()),
        (1, header.to_owned(), claims.replace("events", "event")),
        (1, header.to_owned(), claims.replace("backchannel", "frontchannel")),
        (1, header.to_owned(), claims.replace("{}", "7")),
        (1, header.to_owned(), claims.replace("\"jti\"", "\"nonce\":\"n\",\"jti\"")),
        (1, header.to_owned(), claims.replace("\"jti\"", "\"x\"")),
        (1, header.to_owned(), claims.replace("\"iat\"", "\"x\"")),
        (1, header.to_owned(), claims.replace("\"aud\"", "\"x\"")),
        (1, header.to_owned(), claims.replace("\"iss\":\"i\"", "\"iss\":\"j\"")),
        (1, header.to_owned(), claims.replace("\"sid\"", "\"x\"").replace("\"sub\"", "\"y\"")),
        (1, header.to_owned(), claims.replace(&format!("{now}"), &format!("{}", now - 601))),
        (1, header.to_owned(), claims.replace("\"jti\"", &format!("\"exp\":{},\"jti\"", now - 61))),
    ] {
        assert!(!run(&[sign(key, &header, &claims)], OK, &access("s")), "{header} {claims}");
    }
}

#[test]
fn clients_are_told_behind_a_trusted_proxy_and_no_other() {
    // The peer of the bench is 10.0.0.1.
    for (config, told) in [
        ("trusted_proxies = [\"10.0.0.0/24\"]", Some("203.0.113.9")),
        ("trusted_proxies = [\"10.0.1.0/24\"]", None),
        ("trusted_proxies = [\"10.0.0.1/32\"]\nproxy_header = \"forwarded\"", None),
        ("", None),
    ] {
        let config = format!("[clients]\n{config}\n");
        let config = parse(&config, Path::new("c")).unwrap();
        let mut bench = Bench::new();
        bench.pipeline.locate(Clients::load(&config.clients).unwrap().into());
        bench.connect(40_000);
        for (address, token) in [("203.0.113.7", GOOD), ("203.0.113.9", GOOD), ("x", UNSIGNED)] {
            let text = format!(
                "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1, {address}\r\n\
                Authorization: Bearer {token}\r\n\r\n"
            );
            bench.segment(Direction::ToServer, text.as_bytes(), TcpFlags::default());
            bench.response(OK);
            bench.pass(Duration::from_secs(100));
        }
        let clients = |event: &Event| match &event.body {
            Body::Request(request) => request.forwarded_for.map(|client| client.to_string()),
            _ => None,
        };
        let clients: Vec<Option<String>> = bench.out.events.iter().map(clients).collect();
        let mut expected = Vec::new();
        if told.is_some() {
            expected.push((vec!["token-replayed-address"], "accepted"));
        }
        expected.push((vec!["alg-none", "bypass-confirmed"], "bypass"));
        assert_eq!(said(&bench), expected);
        // The last names nobody.
        assert_eq!(clients.first().and_then(|c| c.as_deref()), told);
        assert_eq!(clients.last().unwrap(), &None);
    }
}
