//! Receivers behind TLS: who is believed, what is shown, and what is confirmed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{
    super::super::{
        Sinks, SyslogConfig,
        tests::{DEADLINE, delivery, numbered, only, parse, start, wait},
    },
    streams::frames,
};
use crate::testing::authority::Authority;

type Got = Arc<Mutex<Vec<u64>>>;

/// Reads every connection to its end, and says goodbye.
fn receiver(config: Arc<ServerConfig>, address: &str) -> (SocketAddr, Got) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let got = Got::default();
    let read = Arc::clone(&got);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, socket.unwrap());
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).is_err() {
                continue;
            }
            let numbers = frames(&mut bytes)
                .iter()
                .map(|frame| parse(frame).event()["exchange"].as_u64().unwrap())
                .collect::<Vec<_>>();
            assert!(bytes.is_empty());
            read.lock().unwrap().extend(numbers);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, got)
}

fn tls(host: &str, address: SocketAddr, ca: PathBuf) -> SyslogConfig {
    SyslogConfig {
        address: format!("tls://{host}:{}", address.port()).try_into().unwrap(),
        ca_file: Some(ca),
        ..SyslogConfig::default()
    }
}

#[test]
fn a_receiver_of_the_authority_gets_everything() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("a");
    let clients = Authority::new("clients");
    let ca = authority.write(dir.path(), "ca.pem");
    let (address, got) = receiver(authority.server("localhost", Some(&clients)), "127.0.0.1:0");
    let [cert, key] = clients.client(dir.path(), "sensor");
    let config = SyslogConfig {
        client_cert_file: Some(cert),
        client_key_file: Some(key),
        ..tls("localhost", address, ca)
    };
    let (sinks, _) = start(&only(config), dir.path());
    for number in 0..1200 {
        sinks.send(numbered(number));
    }
    let status = wait(&sinks, |status| status.delivered == 1200);
    assert_eq!((status.errors, status.last_error), (0, None));
    assert_eq!(*got.lock().unwrap(), (0..1200).collect::<Vec<_>>());
    drop(sinks.shutdown(DEADLINE));
}

#[test]
fn a_stranger_gets_nothing_and_the_error_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let ca = authority.write(dir.path(), "ca.pem");
    for (i, (config, says)) in [
        (other.server("localhost", None), "UnknownIssuer"),
        (authority.server("elsewhere.example", None), "not valid for name"),
        // TLS 1.3: the receiver refuses what we show after our side of the handshake.
        (authority.server("localhost", Some(&other)), "CertificateRequired"),
    ]
    .into_iter()
    .enumerate()
    {
        let (address, got) = receiver(config, "127.0.0.1:0");
        let state = dir.path().join(i.to_string());
        let (sinks, _) = start(&only(tls("localhost", address, ca.clone())), &state);
        sinks.send(numbered(0));
        let status =
            wait(&sinks, |status| status.last_error.as_ref().is_some_and(|e| e.contains(says)));
        assert!(status.last_error.unwrap().starts_with("TLS: "));
        assert_eq!(status.delivered, 0);
        let status = sinks.shutdown(std::time::Duration::ZERO).remove(0);
        assert_eq!((status.delivered, status.queued), (0, 1));
        assert!(got.lock().unwrap().is_empty());
    }
}

#[test]
fn files_that_can_not_be_used_are_named_and_their_content_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("a");
    let ca = authority.write(dir.path(), "ca.pem");
    let [cert, key] = authority.client(dir.path(), "one");
    let [_, foreign] = authority.client(dir.path(), "two");
    let exposed = dir.path().join("exposed.key");
    fs::copy(&key, &exposed).unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o640)).unwrap();
    let junk = dir.path().join("junk");
    fs::write(&junk, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
    fs::set_permissions(&junk, fs::Permissions::from_mode(0o600)).unwrap();
    let missing = dir.path().join("missing");
    let address = "127.0.0.1:1".parse().unwrap();
    for (ca, cert, key, says) in [
        (&missing, &cert, &key, format!("ca_file {}: No such file", missing.display())),
        (&junk, &cert, &key, format!("ca_file {}: no certificates", junk.display())),
        (&ca, &junk, &key, format!("client_cert_file {}: no certificates", junk.display())),
        (&ca, &cert, &missing, format!("client_key_file {}: No such", missing.display())),
        (&ca, &cert, &junk, format!("client_key_file {}: no private key", junk.display())),
        (&ca, &cert, &exposed, format!("client_key_file {}: others may", exposed.display())),
        (&ca, &cert, &foreign, format!("client_key_file {}: not the key of", foreign.display())),
        (&ca, &cert, &dir.path().to_owned(), "not a regular file".to_owned()),
    ] {
        let config = SyslogConfig {
            client_cert_file: Some(cert.clone()),
            client_key_file: Some(key.clone()),
            ..tls("localhost", address, ca.clone())
        };
        let Err(error) = Sinks::start(&only(config), &delivery(dir.path())) else { panic!() };
        let said = error.to_string();
        assert!(
            said.contains(&says) && said.starts_with("sink syslog:tls://localhost:1: "),
            "{said}"
        );
        assert!(!said.contains("c2VjcmV0") && !said.contains("BEGIN"), "{said}");
    }
}
