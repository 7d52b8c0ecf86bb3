//! Alerts arrive at receivers over HTTP that are down, answer with errors, hang and come back: all,
//! in order, with ids to deduplicate by, and signed; and no secret shows up anywhere.
#![expect(
    clippy::unwrap_used,
    reason = "all of this file is a test, also what stands outside of its functions"
)]

use std::{
    fs::{self, Permissions},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jotwatch::{
    event::Event,
    sinks::{
        Sinks, SinksConfig,
        otlp::messages::{Answer as OtlpAnswer, ExportLogs, PartialSuccess, Value as Any},
    },
    time::Time,
};
use jotwatch_tests::{
    delivery::{alert_of, unjoined},
    receiver::{Answer, Got, Receiver},
};
use prost::Message as _;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);
const SECRET: &str = "0123456789abcdef-s3cret-0123456789abcdef";
const CREDENTIAL: &str = "Splunk 5p1unk-7oken";

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn alert(number: u64) -> Event {
    let at = Time::from_unix_nanos(1_795_251_600_000_001_000 + number * 1_000);
    alert_of(number, at, &format!("/orders/{number:04}?q=\"\\é"))
}

fn line(event: &Event) -> Value {
    let mut line = Vec::new();
    event.write(&mut line);
    serde_json::from_slice(&line).unwrap()
}

/// Sinks of this configuration, and files that it may name.
fn start(dir: &Path, config: &str) -> Sinks {
    let private = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o600)).unwrap();
    };
    private("secret", SECRET);
    private("credential", &format!("{CREDENTIAL}\n"));
    fs::write(dir.join("template"), "{\"event\": {{}},\n \"host\": \"<{{/request/host}}>\"}")
        .unwrap();
    let config = config.replace("DIR", &dir.display().to_string());
    let config: SinksConfig =
        toml::from_str(&format!("stdout = false\nsyslog = []\n{config}")).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("5p1unk") && !shown.contains("hidden"));
    Sinks::start(&config, &unjoined(&dir.join("events"))).unwrap().0
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Checks the signature as a receiver does.
fn verify(got: &Got) {
    let header = got.headers.get("x-jotwatch-signature").unwrap();
    let (time, signature) = header.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_700_000_000);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&got.body);
    let due: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(signature, due);
}

/// The ids of what arrived, each once, as often as it came first.
fn ids(got: &[Got]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for got in got.iter().filter(|got| got.answered == Some(200)) {
        for id in got.headers.get("x-jotwatch-id").unwrap().split(',') {
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
    ids
}

#[test]
fn whatever_the_receiver_does_all_arrive_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let address = free();
    let sinks = start(
        dir.path(),
        &format!(
            "[[webhook]]\nurl = \"http://{address}/hidden?k=hidden\"\ntimeout_seconds = 1\n\
             secret_file = \"DIR/secret\"\nheader_files = {{ Authorization = \"DIR/credential\" }}\n"
        ),
    );
    let status = || sinks.status().remove(0);
    let due: Vec<Value> = (0..90).map(|number| line(&alert(number))).collect();
    // It is down.
    for number in 0..30 {
        sinks.send(alert(number));
    }
    wait("a failure", || status().errors >= 3);
    // It is broken, hangs, takes and says nothing, and asks for a pause.
    let mut got = Vec::new();
    for answer in [
        Answer::status(500),
        Answer::Hang,
        Answer::Close,
        Answer::Status(429, vec![("Retry-After", "1".to_owned())], Vec::new()),
        Answer::Status(302, vec![("Location", format!("http://{address}/elsewhere"))], Vec::new()),
        Answer::status(401),
    ] {
        let receiver = Receiver::start(address, answer.clone()).unwrap();
        wait(&format!("{answer:?}"), || !receiver.got().is_empty());
        got.extend(receiver.got());
    }
    // It works, and goes again in the middle.
    let receiver = Receiver::start(address, Answer::status(200)).unwrap();
    for number in 30..60 {
        sinks.send(alert(number));
    }
    wait("some", || receiver.got().len() > 10);
    got.extend({
        let before = receiver.got();
        receiver.answer(Answer::Close);
        wait("a delivery or its end", || {
            receiver.got().len() > before.len() || status().queued == 0
        });
        let all = receiver.got();
        drop(receiver);
        all
    });
    for number in 60..90 {
        sinks.send(alert(number));
    }
    let receiver = Receiver::start(address, Answer::status(200)).unwrap();
    wait("all", || status().delivered == 90 && status().queued == 0);
    got.extend(receiver.got());

    let wanted: Vec<&str> = due.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids(&got), wanted, "all, in order");
    for got in &got {
        verify(got);
        assert_eq!(got.target, "/hidden?k=hidden", "no redirect is followed");
        assert_eq!(got.headers.get("authorization").unwrap(), CREDENTIAL);
        assert_eq!(got.headers.get("content-type").unwrap(), "application/json");
        let event: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(event["id"], got.headers.get("x-jotwatch-id").unwrap().as_str());
        assert!(due.contains(&event));
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.refused, status.dropped), ([0; 5], [0; 5]));
    // Neither the status nor what is kept on disk tells a secret.
    let mut told = serde_json::to_string(&status).unwrap();
    for file in walk(&dir.path().join("events")) {
        told += &String::from_utf8_lossy(&fs::read(file).unwrap());
    }
    for secret in ["s3cret", "5p1unk", "hidden"] {
        assert!(!told.contains(secret), "{told}");
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_refused_event_is_counted_and_holds_up_no_other() {
    for (batch, kind) in [(1, "application/json"), (7, "application/x-ndjson")] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(free(), Answer::Unless("/orders/0005")).unwrap();
        let sinks = start(
            dir.path(),
            &format!("[[webhook]]\nurl = \"http://{}/\"\nbatch = {batch}\n", receiver.address()),
        );
        for number in 0..20 {
            sinks.send(alert(number));
        }
        let status = || sinks.status().remove(0);
        wait("all", || status().delivered == 19);
        assert_eq!(status().refused, [0, 0, 0, 0, 1]);
        assert_eq!(sinks.delivery().lost.receiver_refused, [0, 0, 0, 0, 1]);
        assert_eq!(status().queued, 0);
        let due = (0..20).filter(|&number| number != 5).map(|number| line(&alert(number)));
        let due: Vec<String> = due.map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids(&receiver.got()), due);
        for got in receiver.got() {
            assert_eq!(got.headers.get("content-type").unwrap(), kind);
            assert!(!got.headers.contains_key("x-jotwatch-signature"));
            assert!(got.body.split(|&b| b == b'\n').count() <= batch);
        }
    }
}

#[test]
fn bodies_have_the_shape_that_is_asked_for() {
    for (keys, due) in [
        ("format = \"ecs\"", "/event/id"),
        ("format = \"ocsf\"", "/metadata/uid"),
        ("template_file = \"DIR/template\"", "/event/id"),
        ("batch = 3\nbatch_as = \"array\"", "/0/id"),
        ("batch = 3\ntemplate_file = \"DIR/template\"\nbatch_as = \"array\"", "/0/event/id"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(free(), Answer::status(204)).unwrap();
        let config = format!("[[webhook]]\nurl = \"http://{}/\"\n{keys}\n", receiver.address());
        let sinks = start(dir.path(), &config);
        sinks.send(alert(1));
        wait("it", || sinks.status()[0].delivered == 1);
        let body: Value = serde_json::from_slice(&receiver.got()[0].body).unwrap();
        assert_eq!(body.pointer(due), Some(&line(&alert(1))["id"]), "{keys}: {body}");
        if keys.contains("template") {
            assert!(body.to_string().contains("<api.example>"), "{body}");
        }
    }
}

#[test]
fn log_records_arrive_over_the_opentelemetry_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let address = free();
    let sinks = start(
        dir.path(),
        &format!(
            "[[otlp]]\nurl = \"http://{address}\"\nheader_files = {{ api-key = \"DIR/credential\" }}\n"
        ),
    );
    let status = || sinks.status().remove(0);
    for number in 0..100 {
        sinks.send(alert(number));
    }
    wait("a failure", || status().failing);
    let partial = PartialSuccess { rejected: 1, error_message: "too old".to_owned() };
    let answer = OtlpAnswer { partial_success: Some(partial) };
    let receiver = Receiver::start(address, Answer::status(503)).unwrap();
    wait("an attempt", || !receiver.got().is_empty());
    receiver.answer(Answer::Status(200, Vec::new(), answer.encode_to_vec()));
    wait("all", || status().queued == 0);
    let mut posts = 0;
    let mut ids = Vec::new();
    for got in receiver.got().iter().filter(|got| got.answered == Some(200)) {
        posts += 1;
        assert_eq!(got.target, "/v1/logs");
        assert_eq!(got.headers.get("content-type").unwrap(), "application/x-protobuf");
        assert_eq!(got.headers.get("api-key").unwrap(), CREDENTIAL);
        let logs = ExportLogs::decode(&*got.body).unwrap();
        let resource = logs.resource_logs[0].resource.as_ref().unwrap();
        assert!(resource.attributes.iter().any(|attribute| attribute.key == "service.name"
            && attribute.value.as_ref().unwrap().value == Some(Any::String("jotwatch".into()))));
        for record in &logs.resource_logs[0].scope_logs[0].log_records {
            let id = record.attributes.iter().find(|a| a.key == "jotwatch.event.id").unwrap();
            let Some(Any::String(id)) = id.value.clone().unwrap().value else { panic!() };
            assert_eq!((record.severity_number, &*record.severity_text), (18, "critical"));
            assert!(matches!(record.body.as_ref().unwrap().value, Some(Any::Object(_))));
            ids.push(id);
        }
    }
    let due: Vec<Value> = (0..100).map(|number| line(&alert(number))["id"].clone()).collect();
    assert_eq!(ids, due, "all, in order, once: no answer was lost");
    // One of each request was not taken, as the receiver said.
    assert_eq!(status().refused.iter().sum::<u64>(), posts);
    assert_eq!(status().delivered, 100 - posts);
}
