//! The contract, held by a server on a unix socket or a loopback address and a pipeline behind it.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{OPENAPI, QUEUE, Server, Settings, Vouched};
use crate::{
    capture::FlowKey,
    config::{self, Config},
    event::Event,
    fingerprint_key,
    pipeline::{Output, Pipeline, Settings as PipelineSettings, Vouching},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

struct Discard;

impl Output for Discard {
    fn event(&mut self, _: Event) {}
}

/// A server on a unix socket; `more` are keys of `[rest]`.
struct Stand {
    dir: TempDir,
    server: Mutex<Server>,
}

fn config(dir: &Path, more: &str) -> Config {
    let (socket, key) = (dir.join("s.sock"), dir.join("key"));
    if !key.exists() {
        fs::write(&key, KEY).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    }
    let text =
        format!("[rest]\nlisten = \"unix:{}\"\nkey_file = {key:?}\n{more}", socket.display());
    config::parse(&text, Path::new("c.toml")).unwrap()
}

impl Stand {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&config(dir.path(), more).rest).unwrap().unwrap();
        Self { dir, server: Mutex::new(server) }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("s.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends one request and reads until the server hangs up.
    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read(&mut stream)
    }

    fn post(&self, body: &str) -> Answer {
        self.send(&request(KEY, body))
    }

    /// Answers calls as the daemon does while `run` goes on.
    fn scoring<T>(&self, run: impl FnOnce() -> T) -> T {
        let settings = PipelineSettings::new(
            &Config::default(),
            fingerprint_key::REPLAY,
            fingerprint_key::REPLAY_SALT,
        );
        let models = Config::default().scoring.models().unwrap();
        let mut pipeline = Pipeline::new(settings.with_models(models));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let calls: Vec<_> = self.server.lock().unwrap().pending(QUEUE).collect();
                    for call in calls {
                        let (Vouched { request, claims, client, service }, answering) = call.open();
                        let nobody = IpAddr::from([0, 0, 0, 0]);
                        let client = SocketAddr::new(client.unwrap_or(nobody), 0);
                        let flow = FlowKey { client, server: (nobody, 0).into(), scope: 0 };
                        let vouching =
                            Vouching { claims: &claims, service: service.as_deref(), learn: true };
                        let assessment =
                            pipeline.describe_as(&flow, request, Some(&vouching), &mut Discard);
                        answering.answer(&assessment);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            // Also where an expectation of `run` fails.
            struct Done<'a>(&'a AtomicBool);
            impl Drop for Done<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _done = Done(&done);
            run()
        })
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn request(key: &str, body: &str) -> String {
    format!(
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read(stream: &mut impl std::io::Read) -> Answer {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// As `PostAsJsonAsync` of .NET sends it: in chunks, every claim as text, absent ones as `null` or
/// empty.
#[test]
fn claims_as_text_in_a_chunked_body_are_taken() {
    let stand = Stand::new("");
    let described = json!({
        "userId": "ann", "issuer": "https://id.example", "tokenId": null, "issuedAt": "900",
        "expiresAt": "1000", "roles": [], "scopes": null, "ipAddress": "::ffff:192.0.2.1",
        "method": "GET", "path": "/orders", "userAgent": "", "service": "orders",
    });
    assert!(schema("Request").is_valid(&described));
    let body = described.to_string();
    let (first, rest) = body.split_at(20);
    let request = format!(
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
        first.len(),
        rest.len()
    );
    let answer = stand.scoring(|| stand.send(&request));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["reasons"][0]["id"], "token-expired", "{}", answer.body);
}

/// What the description says of this, resolved within itself.
fn schema(name: &str) -> jsonschema::Validator {
    let mut whole: Value = serde_json::from_str(OPENAPI).unwrap();
    whole["$ref"] = format!("#/components/schemas/{name}").into();
    jsonschema::validator_for(&whole).unwrap()
}

#[test]
fn a_described_request_is_scored_and_both_ends_are_as_described() {
    let stand = Stand::new("");
    let (asked, answered, problem) = (schema("Request"), schema("Score"), schema("Problem"));
    let ordinary = json!({
        "userId": "ann", "ipAddress": "192.0.2.1", "issuedAt": 1, "roles": ["user"],
        "path": "/orders?page=2", "method": "GET", "userAgent": "curl/8", "unknown": {"a": 1},
        "claims": {"tenant": "a", "x": null}, "tokenId": null,
    });
    let attack =
        json!({"userId": "eve", "path": "/items?id=1'+UNION+SELECT+password+FROM+users--"});
    let expired = json!({"userId": "ann", "expiresAt": "2020-01-01T00:00:00Z"});
    stand.scoring(|| {
        for (described, suspicious, reason) in [
            (&ordinary, false, None),
            (&attack, true, Some("payload")),
            (&expired, true, Some("finding")),
        ] {
            assert!(asked.is_valid(described), "{described}");
            let answer = stand.post(&described.to_string());
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
            let score = answer.json();
            assert!(answered.is_valid(&score), "{score}");
            assert_eq!(score["isSuspicious"], suspicious, "{score}");
            assert_eq!(score["reasons"][0]["source"].as_str(), reason, "{score}");
        }
        // What is refused is refused by the description, too, and says which field it is.
        for (described, field) in [
            (json!({"userId": 7}), "userId"),
            (json!({"userId": "a", "roles": [1]}), "roles"),
            (json!({"userId": "a", "issuedAt": true}), "issuedAt"),
            (json!({"userId": "a", "claims": 1}), "claims"),
            (json!({"userId": "a", "path": []}), "path"),
            (json!([]), ""),
        ] {
            assert!(!asked.is_valid(&described), "{described}");
            let answer = stand.post(&described.to_string());
            assert_eq!(answer.status, 422, "{}", answer.body);
            assert!(answer.head.contains("content-type: application/problem+json"));
            let body = answer.json();
            assert!(problem.is_valid(&body), "{body}");
            assert_eq!(body["field"], field, "{body}");
        }
        for (described, field) in
            [(json!({}), "userId"), (json!({"userId": "a", "ipAddress": "x"}), "ipAddress")]
        {
            let answer = stand.post(&described.to_string());
            assert_eq!((answer.status, &answer.json()["field"]), (422, &json!(field)));
        }
    });
    let status = stand.server.lock().unwrap().status();
    assert_eq!((status.scored, status.suspicious, status.refused[&422]), (3, 2, 8));
}

#[test]
fn every_member_that_is_read_stands_in_the_description() {
    let whole: Value = serde_json::from_str(OPENAPI).unwrap();
    let described = whole["components"]["schemas"]["Request"]["properties"].as_object().unwrap();
    // Each of them, with a type that none takes, is a wrong type: so it is read.
    for name in described.keys() {
        let mut value = json!({"userId": "a"});
        value[name] = json!([[]]);
        let error = Vouched::from_json(&value, crate::time::Time::EPOCH).unwrap_err();
        assert_eq!(&error.field, name);
    }
    // And nothing else is: the names that the reader asks for are these.
    let source = include_str!("input.rs").split("#[cfg(test)]").next().unwrap();
    let read = source.split('"').skip(1).step_by(2).filter(|text| {
        let name = text.chars().all(|c| c.is_ascii_alphabetic());
        name && (described.contains_key(*text) || text.chars().any(|c| c.is_ascii_uppercase()))
    });
    for name in read.filter(|name| !["GET", "RFC", "JSON", "IP"].contains(name)) {
        assert!(described.contains_key(name), "{name}");
    }
}

#[test]
fn what_is_no_request_for_a_score_has_its_status() {
    let stand = Stand::new("max_body_bytes = 1024\n");
    let problem = schema("Problem");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let unkeyed = "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Content-Length: 2\r\n\r\n{}";
    let twice = request(KEY, "{}")
        .replace("Connection: close", &format!("Connection: close\r\nAuthorization: Bearer {KEY}"));
    let chunked = format!(
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n",
        "a".repeat(2_048)
    );
    for (request, status, header) in [
        (request(KEY, "{\"userId\": \"eyJhbGciOiJub25lIn0"), 400, ""),
        (request(KEY, "\u{7f}"), 400, ""),
        (request(KEY, &"[".repeat(1_000)), 400, ""),
        (unkeyed.to_owned(), 401, "www-authenticate: bearer realm=\"jotwatch\""),
        (request("0123456789abcdef0123456789abcdeF", "{}"), 401, "www-authenticate: bearer"),
        (request("", "{}"), 401, "www-authenticate: bearer"),
        (twice, 401, "www-authenticate: bearer"),
        (request(KEY, &" ".repeat(1_025)), 413, ""),
        (chunked, 413, ""),
        (get("/v1/score"), 405, "allow: post"),
        (get("/"), 404, ""),
        (get("/v1/score/x"), 404, ""),
    ] {
        let answer = stand.send(&request);
        assert_eq!(answer.status, status, "{}\n{}", answer.head, answer.body);
        assert!(answer.head.contains(header), "{}", answer.head);
        let body = answer.json();
        assert!(problem.is_valid(&body) && body["status"] == status, "{body}");
        for secret in [KEY, "eyJ"] {
            assert!(!answer.body.contains(secret), "{body}");
        }
    }
    assert_eq!(stand.send(&get("/healthz")).json(), json!({"status": "ok"}));
    let described = stand.send(&get("/openapi.json"));
    assert_eq!(described.json()["openapi"], "3.1.0");
    // A head that is no HTTP, and one that never ends.
    assert_eq!(stand.send("nothing\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(40 << 10));
    assert!(matches!(stand.send(&long).status, 431 | 0));
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let stand = Stand::new("requests_per_second = 3\n");
    let statuses: Vec<u16> = (0..3).map(|_| stand.post("[]").status).collect();
    assert_eq!(statuses, [422; 3]);
    // A slow machine refills the bucket meanwhile, but not for ever.
    let last = (0..200).map(|_| stand.post("[]")).find(|answer| answer.status == 429).unwrap();
    assert!(last.head.contains("retry-after: 1"), "{}", last.head);
    // Those who guess keys do not take the place of those who have it.
    let wrong = |_| stand.send(&request(&"x".repeat(32), "{}")).status;
    let guesses: Vec<u16> = (0..200).map(wrong).collect();
    assert!(guesses.contains(&429) && guesses[0] == 401, "{guesses:?}");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(stand.post("[]").status, 422);
}

#[test]
fn nobody_waits_for_a_daemon_that_is_behind() {
    let stand = Stand::new("timeout_seconds = 1\nconnections = 1000\n");
    let body = json!({"userId": "a"}).to_string();
    // Nobody answers: what fits the queue waits for its time, what does not is told at once.
    let begun = Instant::now();
    let mut waiting: Vec<_> = (0..QUEUE)
        .map(|_| {
            let mut stream = stand.connect();
            stream.write_all(request(KEY, &body).as_bytes()).unwrap();
            stream
        })
        .collect();
    let answers: Vec<Answer> = waiting.iter_mut().map(read).collect();
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert!(answers.iter().all(|answer| answer.head.contains("retry-after: 1")));
    assert!(answers.iter().any(|answer| answer.body.contains("no score in time")));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let full = stand.post(&body);
    assert_eq!(full.status, 503);
    assert!(full.body.contains("too many requests wait"), "{}", full.body);
    // Those that have gone are not scored any more.
    let calls: Vec<_> = stand.server.lock().unwrap().pending(QUEUE).collect();
    assert_eq!(calls.len(), QUEUE);
    assert!(calls.iter().all(|call| !call.is_wanted()));
    stand.scoring(|| assert_eq!(stand.post(&body).status, 200));
}

#[test]
fn a_call_wakes_who_answers_it_and_so_does_one_that_is_left() {
    let stand = Stand::new("timeout_seconds = 20\n");
    let server = stand.server.lock().unwrap();
    let wakes = |limit: Duration| {
        let mut fds = [PollFd::from_borrowed_fd(server.waiting(), PollFlags::IN)];
        let limit = Timespec::try_from(limit).unwrap();
        rustix::event::poll(&mut fds, Some(&limit)).unwrap() == 1
    };
    let (long, now) = (Duration::from_secs(20), Duration::ZERO);
    assert!(!wakes(now));
    let ask = || {
        let mut stream = stand.connect();
        stream.write_all(request(KEY, r#"{"userId":"ann"}"#).as_bytes()).unwrap();
        stream
    };
    let _callers = [ask(), ask(), ask()];
    // All of them are there in all likelihood, and only one is taken at a time.
    std::thread::sleep(Duration::from_millis(200));
    let mut calls = Vec::new();
    while calls.len() < 3 {
        assert!(wakes(long), "{} calls", calls.len());
        calls.extend(server.pending(1));
    }
    assert_eq!(server.pending(1).count(), 0);
    assert!(!wakes(now));
    let _another = ask();
    assert!(wakes(long));
    assert_eq!(server.pending(QUEUE).count(), 1);
    assert!(!wakes(now));
}

#[test]
fn slow_callers_are_hung_up_on_and_take_no_place() {
    let stand = Stand::new("timeout_seconds = 1\nconnections = 4\n");
    // One says nothing, one a part of a head, one a part of a body, one drips.
    let mut slow: Vec<UnixStream> = (0..4).map(|_| stand.connect()).collect();
    slow[1].write_all(b"POST /v1/score HTTP/1.1\r\nHo").unwrap();
    let part = request(KEY, &"a".repeat(100));
    slow[2].write_all(&part.as_bytes()[..part.len() - 50]).unwrap();
    let mut refused = stand.connect();
    assert_eq!(read(&mut refused).status, 503, "no place is left");
    let begun = Instant::now();
    let dripping = &mut slow[3];
    while begun.elapsed() < Duration::from_secs(10) && dripping.write_all(b"A").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "it drips on");
    let statuses: Vec<u16> = slow[..3].iter_mut().map(|stream| read(stream).status).collect();
    assert_eq!(statuses[2], 408, "{statuses:?}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(stand.post("[]").status, 422, "there is a place again");
    assert_eq!(stand.server.lock().unwrap().status().connections_refused, 1);
}

#[test]
fn another_key_is_in_force_without_another_socket() {
    let stand = Stand::new("");
    let key = stand.dir.path().join("key");
    let other = KEY.replace('0', "9");
    fs::write(&key, &other).unwrap();
    let config = config(stand.dir.path(), "max_body_bytes = 1024\n").rest;
    {
        let server = stand.server.lock().unwrap();
        assert!(server.listens_as(&config).unwrap());
        server.reconfigure(Settings::load(&config).unwrap().unwrap());
    }
    assert_eq!(stand.post("[]").status, 401);
    assert_eq!(stand.send(&request(&other, "[]")).status, 422);
    assert_eq!(stand.send(&request(&other, &" ".repeat(2_000))).status, 413);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let error = format!("{:#}", Settings::load(&config).unwrap_err());
    assert!(error.contains("others may read it") && !error.contains("9123"), "{error}");
}

#[test]
fn the_socket_is_private_and_goes_with_its_server() {
    let stand = Stand::new("");
    let path = stand.dir.path().join("s.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (dir, server) = (stand.dir, stand.server);
    drop(server);
    assert!(!path.exists());
    // A group may be let in; what is no socket is left alone.
    let gid = rustix::process::getegid().as_raw();
    let server = Server::start(&config(dir.path(), &format!("group = \"{gid}\"\n")).rest).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    // Another one in its place is not taken away with it.
    let later = Server::start(&config(dir.path(), "").rest).unwrap();
    drop(server);
    assert!(path.exists());
    drop(later);
    assert!(!path.exists());
    fs::write(&path, "a file").unwrap();
    let error = format!("{:#}", Server::start(&config(dir.path(), "").rest).unwrap_err());
    assert!(error.contains("something else is in its place"), "{error}");
    let error = config(dir.path(), "group = \"no such group\"\n").rest;
    assert!(format!("{:#}", Server::start(&error).unwrap_err()).contains("no such group"));
}

#[test]
fn a_loopback_address_serves_as_well() {
    let dir = tempfile::tempdir().unwrap();
    config(dir.path(), "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = dir.path().join("key");
    let text = format!("[rest]\nlisten = \"{free}\"\nkey_file = {key:?}\n");
    let config = config::parse(&text, Path::new("c.toml")).unwrap();
    let server = Server::start(&config.rest).unwrap().unwrap();
    let mut stream = TcpStream::connect(free).unwrap();
    stream.write_all(request(KEY, "[]").as_bytes()).unwrap();
    assert_eq!(read(&mut stream).status, 422);
    let error = format!("{:#}", Server::start(&config.rest).unwrap_err());
    assert!(error.contains(&format!("rest.listen {free}")), "{error}");
    assert_eq!(server.status().listen, free.to_string());
}
