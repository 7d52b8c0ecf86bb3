//! What answers mean, and receivers behind TLS.

use std::{fs, sync::Arc};

use super::{
    super::{
        SinksConfig,
        tests::{files, numbered, start, wait},
    },
    *,
};
use crate::{
    finding::Severity,
    testing::{
        authority::Authority,
        server::{Reply as Answer, Server},
    },
};

#[test]
fn a_status_says_what_to_do() {
    for (status, due) in [
        (200, Class::Arrived),
        (204, Class::Arrived),
        (302, Class::Misdirected),
        (400, Class::Refused),
        (401, Class::Misdirected),
        (403, Class::Misdirected),
        (408, Class::Later),
        (413, Class::Refused),
        (422, Class::Refused),
        (429, Class::Later),
        (500, Class::Later),
        (503, Class::Later),
        (100, Class::Later),
        (999, Class::Later),
    ] {
        assert_eq!(class(status), due, "{status}");
    }
}

#[test]
fn one_that_is_refused_holds_up_no_other() {
    let record = |number: u64| Record {
        sequence: number,
        severity: if number == 4 { Severity::High } else { Severity::Low },
        line: number.to_string().into_bytes().into(),
    };
    let batch: Vec<Record> = (0..10).map(record).collect();
    for most in [1, 2, 3, 10, 64] {
        let (mut refused, mut arrived) = ([0; Severity::ALL.len()], Vec::new());
        let delivered = deliver(&batch, most, &mut refused, |records| {
            assert!(records.len() <= most);
            let numbers: Vec<u64> = records.iter().map(|record| record.sequence).collect();
            if numbers.contains(&4) {
                return Ok(Reply::Refused(400));
            }
            if numbers.contains(&8) {
                return Err(io::Error::other("gone"));
            }
            arrived.extend(numbers);
            Ok(Reply::Arrived(Vec::new()))
        });
        let (taken, result) = delivered;
        assert!(result.is_err() && refused == [0, 0, 0, 1, 0], "{most}");
        // All that were taken, but the refused one, in order.
        let due: Vec<u64> = (0..taken as u64).filter(|&number| number != 4).collect();
        assert_eq!(arrived, due, "{most}");
        assert!((6..=8).contains(&taken), "{most}: {taken}");
    }
}

#[test]
fn a_receiver_may_ask_for_a_pause_within_bounds() {
    let of = |value: &'static str| {
        let headers = [(header::RETRY_AFTER, HeaderValue::from_static(value))];
        retry_after(&headers.into_iter().collect())
    };
    assert_eq!(of("7"), Some(Duration::from_secs(7)));
    assert_eq!(of("999999999"), Some(RETRY_AFTER_MAX));
    assert_eq!(of("-1"), None);
    assert_eq!(of("Fri, 31 Dec 2027 23:59:59 GMT"), None);
    assert_eq!(retry_after(&HeaderMap::new()), None);
}

/// Both kinds of receivers at this server, with its authority and a client's files.
fn receivers(
    server: &Server,
    ca: &Path,
    client: Option<&[std::path::PathBuf; 2]>,
) -> [SinksConfig; 2] {
    let client = client.map_or(String::new(), |[cert, key]| {
        format!("client_cert_file = {cert:?}\nclient_key_file = {key:?}\n")
    });
    ["webhook", "otlp"].map(|kind| {
        let url = server.url("");
        let text = format!(
            "stdout = false\nsyslog = []\n[[{kind}]]\nurl = \"{url}\"\n\
             ca_file = {ca:?}\n{client}"
        );
        toml::from_str(&text).unwrap()
    })
}

#[test]
fn receivers_behind_tls_are_known_and_know_us() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new("a"), Authority::new("clients"));
    let ca = authority.write(dir.path(), "ca.pem");
    let client = clients.client(dir.path(), "sensor");
    let tls = authority.server("127.0.0.1", Some(&clients));
    for i in 0..2 {
        let server = Server::bind(Answer::status(200), Some(Arc::clone(&tls)));
        let config = &receivers(&server, &ca, Some(&client))[i];
        let (sinks, _) = start(config, &dir.path().join(i.to_string()));
        for number in 0..3 {
            sinks.send(numbered(number));
        }
        let status = wait(&sinks, |status| status.delivered == 3);
        assert_eq!((status.errors, status.refused), (0, [0; 5]), "{status:?}");
        let target = ["POST / HTTP/1.1", "POST /v1/logs HTTP/1.1"][i];
        assert!(server.requests().iter().all(|head| head.starts_with(target)));
        let ids = server.bodies().concat();
        for number in 0..3 {
            let line = super::super::tests::line(&numbered(number));
            let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let id = event["id"].as_str().unwrap().as_bytes();
            assert!(ids.windows(id.len()).any(|part| part == id), "{number}");
        }
    }
}

#[test]
fn strangers_get_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let ca = authority.write(dir.path(), "ca.pem");
    let foreign = other.client(dir.path(), "foreign");
    for (i, (tls, client, says)) in [
        (other.server("127.0.0.1", None), None, "UnknownIssuer"),
        (authority.server("elsewhere.example", None), None, "not valid for name"),
        (authority.server("127.0.0.1", Some(&authority)), None, "CertificateRequired"),
        (authority.server("127.0.0.1", Some(&authority)), Some(&foreign), "received fatal alert"),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::bind(Answer::status(200), Some(tls));
        for (kind, config) in receivers(&server, &ca, client).iter().enumerate() {
            let (sinks, _) = start(config, &dir.path().join(format!("{i}-{kind}")));
            sinks.send(numbered(0));
            let status = wait(&sinks, |status| status.last_error.is_some());
            assert!(status.last_error.as_ref().unwrap().contains(says), "{says}: {status:?}");
            assert_eq!((status.delivered, status.queued), (0, 1));
        }
        assert!(server.requests().is_empty());
    }
}

#[test]
fn files_that_are_replaced_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new("a"), Authority::new("clients"));
    let ca = authority.write(dir.path(), "ca.pem");
    let used = ["used.pem", "used.key"].map(|name| dir.path().join(name));
    let use_those = |from: &[std::path::PathBuf; 2]| {
        for (from, to) in from.iter().zip(&used) {
            let fresh = to.with_extension("new");
            fs::copy(from, &fresh).unwrap();
            fs::rename(&fresh, to).unwrap();
        }
    };
    // One that the receiver does not know, then half of one, then one that it knows.
    use_those(&authority.client(dir.path(), "foreign"));
    let tls = authority.server("127.0.0.1", Some(&clients));
    let server = Server::bind(Answer::status(200), Some(tls));
    let [config, _] = receivers(&server, &ca, Some(&used));
    let (sinks, _) = start(&config, dir.path());
    sinks.send(numbered(0));
    wait(&sinks, |status| status.failing);
    fs::write(&used[0], "-----BEGIN CERTI").unwrap();
    wait(&sinks, |status| {
        status.last_error.as_ref().is_some_and(|error| error.contains("client_cert_file"))
    });
    use_those(&clients.client(dir.path(), "known"));
    let status = wait(&sinks, |status| status.delivered == 1);
    assert_eq!((status.failing, status.queued), (false, 0));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn files_that_can_not_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "s3cret").unwrap();
    let none = dir.path().join("none");
    for (keys, said) in [
        (format!("header_files = {{ a = {none:?} }}"), "header_files"),
        // Others may read it.
        (format!("header_files = {{ a = {secret:?} }}"), "header_files"),
        (format!("ca_file = {secret:?}"), "ca_file"),
        (format!("client_cert_file = {secret:?}\nclient_key_file = {none:?}"), "client_cert_file"),
    ] {
        let text = format!("[[webhook]]\nurl = \"https://h.example/\"\n{keys}\n");
        let config: SinksConfig = toml::from_str(&text).unwrap();
        let Err(error) = Poster::new(&config.webhook[0].target) else { panic!("{keys}") };
        let error = error.to_string();
        assert!(error.starts_with(&format!("{said} {}", dir.path().display())), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert!(files(Vec::new()).check_files().is_ok());
        let bad = config.check_files().unwrap_err();
        assert_eq!((bad.table, bad.index, bad.key()), ("webhook", 0, Some(said)));
    }
}
