use super::{Learner, Lesson};
use crate::{
    capture::Direction,
    http::{Body, Chunk, Connection, Events, HttpEvent, Limits, Request, Response},
    time::Time,
};

const JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn request(head: &str) -> Request {
    let mut events = Events::default();
    let chunk = Chunk::Data(head.as_bytes());
    let limits = Limits::default();
    Connection::new(false).push(Direction::ToServer, Time::EPOCH, chunk, &limits, &mut events);
    match events.take().into_iter().next() {
        Some(HttpEvent::Request { request, .. }) => *request,
        other => panic!("{other:?}"),
    }
}

fn get(target: &str, host: &str) -> Request {
    request(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn set() -> String {
    format!("{{\"keys\":[{JWK}]}}")
}

fn read(learner: &mut Learner, request: &Request, body: &str, complete: bool) -> Lesson {
    let response = Response { status: 200, first_byte: Time::EPOCH, findings: Vec::new() };
    learner.read(request, &response, &Body { bytes: body.into(), complete })
}

/// Whose keys are learned of a good key set in this place.
fn issuer(request: &Request) -> Option<String> {
    match read(&mut Learner::new([]), request, &set(), true) {
        Lesson::Keys { issuer, keys } if keys.len() == 1 => Some(issuer.into()),
        Lesson::Unattributed => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_set_belongs_to_the_issuer_right_above_it() {
    for (target, host, due) in [
        ("/.well-known/jwks.json", "id.example", "id.example"),
        ("/.well-known/jwks.json", "ID.Example:80", "id.example"),
        ("/.well-known/jwks.json", "id.example:443", "id.example"),
        ("/.well-known/jwks.json", "id.example:8080", "id.example:8080"),
        ("/.well-known/jwks", "[::1]:8080", "[::1]:8080"),
        ("/a/b/.well-known/keys", "id.example", "id.example/a/b"),
        ("http://id.example/a/.well-known/jwks.json", "other.example", "id.example/a"),
    ] {
        assert_eq!(issuer(&get(target, host)).as_deref(), Some(due), "{target} {host}");
    }
}

#[test]
fn a_key_set_in_any_other_place_teaches_nothing() {
    for target in [
        "/",
        "/jwks.json",
        "/uploads/mine.json",
        "/.well-known/jwks.json?x=1",
        "/.well-known/jwks.json/x",
        "/.well-known/jwks.jsonx",
        "/x?y=/.well-known/jwks.json",
        "/x?y=/.well-known/jwks.json/",
        "/x?/.well-known/jwks.json/x",
    ] {
        assert_eq!(issuer(&get(target, "id.example")), None, "{target}");
    }
    for host in ["", "id.example/x", "id example", "u@id.example", "id.example?", "\u{e4}.example"]
    {
        assert_eq!(issuer(&get("/.well-known/jwks.json", host)), None, "{host}");
    }
    for head in [
        "GET /.well-known/jwks.json HTTP/1.1\r\n\r\n",
        "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /.well-known/jwks.json HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /.well-known/jwks.json HTTP/1.1\nHost: a\n\n",
    ] {
        assert_eq!(issuer(&request(head)), None, "{head}");
    }
}

#[test]
fn discovery_leads_to_the_set_where_it_stands_where_it_must() {
    let sets = |learner: &mut Learner, target: &str, host: &str| {
        matches!(read(learner, &get(target, host), &set(), true), Lesson::Keys { .. })
    };
    let document = |issuer: &str| {
        format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://keys.example/certs?v=1"}}"#)
    };
    for (target, issuer, good) in [
        ("/.well-known/openid-configuration", "https://id.example", true),
        ("/.well-known/openid-configuration", "https://id.example/", true),
        ("/a/.well-known/openid-configuration", "https://id.example/a", true),
        ("/.well-known/oauth-authorization-server/a", "https://id.example/a", true),
        ("/.well-known/oauth-authorization-server", "https://id.example", true),
        // Of another issuer than the place says.
        ("/a/.well-known/openid-configuration", "https://id.example", false),
        ("/.well-known/openid-configuration", "https://victim.example", false),
        ("/.well-known/oauth-authorization-servers", "https://id.example", false),
        ("/uploads/openid-configuration", "https://id.example", false),
    ] {
        let mut learner = Learner::new([]);
        assert!(!sets(&mut learner, "/certs?v=1", "keys.example"));
        let lesson = read(&mut learner, &get(target, "id.example"), &document(issuer), true);
        assert_eq!(matches!(lesson, Lesson::Announced(_)), good, "{target} {issuer}: {lesson:?}");
        assert_eq!(sets(&mut learner, "/certs?v=1", "keys.example"), good);
        assert!(!sets(&mut learner, "/certs", "keys.example"));
        assert!(!sets(&mut learner, "/certs?v=1", "id.example"));
    }
    let mut learner =
        Learner::new([("https://id.example/", "http://keycloak:8080/realms/x/certs")]);
    match read(&mut learner, &get("/realms/x/certs", "keycloak:8080"), &set(), true) {
        Lesson::Keys { issuer, .. } => assert_eq!(&*issuer, "id.example"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_set_is_not_read_and_no_prefix_of_one_is_a_set() {
    let request = get("/.well-known/jwks.json", "id.example");
    let mut learner = Learner::new([]);
    assert!(matches!(read(&mut learner, &request, &set(), false), Lesson::Incomplete));
    let set = format!(r#"{{"keys":[{JWK},{}]}}"#, JWK.replace("\"1\"", "\"2\""));
    for len in 0..set.len() {
        let lesson = read(&mut learner, &request, &set[..len], true);
        assert!(matches!(lesson, Lesson::Unusable), "{len}: {lesson:?}");
    }
    for body in [
        "[]",
        "{}",
        JWK,
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":["a"]}"#,
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
        "-----BEGIN PUBLIC KEY-----",
    ] {
        let lesson = read(&mut learner, &request, body, true);
        assert!(matches!(lesson, Lesson::Unusable), "{body}: {lesson:?}");
    }
    let document = get("/.well-known/openid-configuration", "id.example");
    for body in ["{", "{}", r#"{"issuer":"https://id.example"}"#, "[]"] {
        let lesson = read(&mut learner, &document, body, true);
        assert!(matches!(lesson, Lesson::Unusable), "{body}: {lesson:?}");
    }
}
