//! Alerts arrive in a real rsyslog as they were sent: over a local socket, UDP, TCP and TLS, and
//! again after it was killed and restarted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test, also what stands outside of its functions"
)]

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jotwatch::sinks::{BodyFormat, Sinks, SyslogConfig};
use jotwatch_tests::{
    delivery::{alert, sinks, through_kills},
    services::{
        NotInstalled, free_loopback,
        rsyslog::{Rsyslog, Setup, Tls},
    },
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(20);

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn start(address: String, dir: &Path, name: &str) -> Sinks {
    let syslog = SyslogConfig {
        address: address.try_into().unwrap(),
        hostname: Some("web1".to_owned()),
        ..SyslogConfig::default()
    };
    sinks(syslog, &dir.join(name)).unwrap()
}

/// What was started, or `None` where rsyslog is not installed and need not be.
fn installed<T>(started: anyhow::Result<T>) -> Option<T> {
    match started {
        Err(error)
            if error.is::<NotInstalled>()
                && std::env::var_os("JOTWATCH_REQUIRE_SERVICES").is_none() =>
        {
            eprintln!("skipped: {error}");
            None
        }
        started => Some(started.unwrap()),
    }
}

fn check(line: &str, input: &str, number: u64) {
    let event = alert(number);
    let fields = line.split('\t').collect::<Vec<_>>();
    let [from, pri, time, hostname, app, pid, msgid, data, msg] = fields.as_slice() else {
        panic!("{line}")
    };
    assert_eq!((*from, *pri, *hostname), (input, "82", "web1"));
    assert_eq!(*time, event.at.to_string());
    assert_eq!((*app, *msgid), ("jotwatch", "request"));
    assert_eq!(*pid, std::process::id().to_string());
    assert!(data.starts_with("[jotwatch@32473 id=\"") && data.ends_with("\"]"), "{data}");
    assert!(data.contains(r#"client="[2001:db8::7\]:51234""#), "{data}");
    let mut sent = Vec::new();
    event.write(&mut sent);
    assert_eq!(
        serde_json::from_str::<Value>(msg).unwrap(),
        serde_json::from_slice::<Value>(&sent).unwrap()
    );
}

#[test]
fn alerts_arrive_intact() {
    let dir = tempfile::tempdir().unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Some(rsyslog) = installed(Rsyslog::start(dir.path(), port)) else { return };

    let local = start(dir.path().join("log").display().to_string(), dir.path(), "local");
    for number in 0..50 {
        local.send(alert(number));
    }
    wait("50 lines from the socket", || rsyslog.lines().len() == 50);
    for (number, line) in rsyslog.lines().iter().enumerate() {
        check(line, "imuxsock", number as u64);
    }

    // What is not confirmed yet would come again after the kill.
    wait("the confirmation", || local.status()[0].delivered == 50);

    let udp = start(format!("udp://{port}"), dir.path(), "udp");
    udp.send(alert(50));
    wait("a line over UDP", || rsyslog.lines().len() == 51);
    check(&rsyslog.lines()[50], "imudp", 50);

    // Killed: what is sent now waits, and arrives at the next one.
    drop(rsyslog);
    fs::remove_file(dir.path().join("out")).unwrap();
    for number in 60..70 {
        local.send(alert(number));
    }
    wait("the sink to notice", || local.status()[0].failing);
    let rsyslog = Rsyslog::start(dir.path(), port).unwrap();
    wait("10 lines after the restart", || rsyslog.lines().len() == 10);
    for (number, line) in rsyslog.lines().iter().enumerate() {
        check(line, "imuxsock", 60 + number as u64);
    }
    for (sinks, delivered) in [(local, 60), (udp, 1)] {
        let status = sinks.shutdown(DEADLINE).remove(0);
        assert_eq!((status.delivered, status.dropped, status.queued), (delivered, [0; 5], 0));
    }
}

#[test]
fn nothing_is_missing_after_kills_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let (count, kills) = (20_000, 3);
    let arrived = through_kills(dir.path(), free_loopback().unwrap(), count, kills, 6);
    let Some(arrived) = installed(arrived) else { return };
    // What was on its way at a kill comes twice, no more.
    assert!(arrived.repeated <= kills as u64 * 512, "{arrived:?}");
}

/// An authority, and certificates of it in files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: PathBuf,
    dir: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = dir.join(format!("{name}.pem"));
        fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), pem, dir: dir.to_owned() }
    }

    /// Certificate and key for a name.
    fn certify(&self, name: &str) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["pem", "key"].map(|end| self.dir.join(format!("{name}.{end}")));
        fs::write(&paths[0], certificate.pem()).unwrap();
        fs::write(&paths[1], key.serialize_pem()).unwrap();
        fs::set_permissions(&paths[1], fs::Permissions::from_mode(0o600)).unwrap();
        paths
    }
}

#[test]
fn tls_takes_a_certificate_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let other = Authority::new(dir.path(), "other");
    let [cert, key] = authority.certify("localhost");
    let tcp = free_loopback().unwrap();
    let tls = Tls { ca: authority.pem.clone(), cert, key, client: "sensor.example".to_owned() };
    let setup = Setup { tcp: Some(tcp), tls: Some(tls), ..Setup::default() };
    let Some(rsyslog) = installed(Rsyslog::start_with(dir.path(), &setup)) else { return };

    let [cert, key] = authority.certify("sensor.example");
    let good = SyslogConfig {
        address: format!("tls://localhost:{}", tcp.port()).try_into().unwrap(),
        hostname: Some("web1".to_owned()),
        ca_file: Some(authority.pem),
        client_cert_file: Some(cert),
        client_key_file: Some(key),
        ..SyslogConfig::default()
    };
    let running = sinks(good.clone(), &dir.path().join("good")).unwrap();
    for number in 0..1000 {
        running.send(alert(number));
    }
    wait("1000 alerts over TLS", || running.status()[0].delivered == 1000);
    let lines = rsyslog.lines();
    assert_eq!(lines.len(), 1000);
    for (number, line) in lines.iter().enumerate() {
        check(line, "imtcp", number as u64);
    }
    let status = running.shutdown(DEADLINE).remove(0);
    assert_eq!((status.errors, status.last_error), (0, None));

    // An authority that did not certify the receiver, and a certificate that it does not accept.
    let [foreign_cert, foreign_key] = other.certify("foreign.example");
    for (name, bad, says) in [
        (
            "ca",
            SyslogConfig { ca_file: Some(other.pem), ..good.clone() },
            "TLS: invalid peer certificate: UnknownIssuer",
        ),
        (
            "client",
            SyslogConfig {
                client_cert_file: Some(foreign_cert),
                client_key_file: Some(foreign_key),
                ..good
            },
            "the receiver",
        ),
    ] {
        let running = sinks(bad, &dir.path().join(name)).unwrap();
        running.send(alert(0));
        wait("the error", || running.status()[0].last_error.is_some());
        let status = running.shutdown(Duration::ZERO).remove(0);
        assert_eq!((status.delivered, status.queued), (0, 1), "{name}");
        let said = status.last_error.unwrap();
        assert!(said.contains(says), "{name}: {said}");
    }
    assert_eq!(rsyslog.lines().len(), 1000);
}

#[test]
fn cef_and_leef_pass_through() {
    let dir = tempfile::tempdir().unwrap();
    let tcp = free_loopback().unwrap();
    let setup = Setup { tcp: Some(tcp), ..Setup::default() };
    let Some(rsyslog) = installed(Rsyslog::start_with(dir.path(), &setup)) else { return };
    for (i, (format, begins)) in [
        (BodyFormat::Cef, "CEF:0|Jotwatch|Jotwatch|"),
        (BodyFormat::Leef, "LEEF:2.0|Jotwatch|Jotwatch|"),
        (BodyFormat::Text, "critical: alert \"GET\" \"/gr\\u{fc}"),
    ]
    .into_iter()
    .enumerate()
    {
        let syslog = SyslogConfig {
            address: format!("tcp://{tcp}").try_into().unwrap(),
            format,
            app_name: "tokens".to_owned(),
            ..SyslogConfig::default()
        };
        let running = sinks(syslog, &dir.path().join(i.to_string())).unwrap();
        running.send(alert(0));
        wait("a line", || rsyslog.lines().len() == i + 1);
        let line = rsyslog.lines().remove(i);
        let msg = line.splitn(9, '\t').last().unwrap();
        assert!(msg.starts_with(begins) && line.contains("\ttokens\t"), "{line}");
        drop(running.shutdown(DEADLINE));
    }
}
