//! Alerts arrive in a real rsyslog as they were sent: over a local socket and over UDP, and again
//! after it was killed and restarted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this file is a test, also what stands outside of its functions"
)]

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use jotwatch::{
    capture::FlowKey,
    event::{
        Body, Event, EventIds, Kind, RequestEvent, RequestView, ResponseView, Verdict, severity,
    },
    finding::{Finding, FindingId},
    journal::Keep,
    sinks::{Delivery, Sinks, SinksConfig, SyslogConfig},
    time::Time,
};
use jotwatch_tests::services::{NotInstalled, rsyslog::Rsyslog};
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

fn alert(number: u64) -> Event {
    let at = Time::from_unix_nanos(1_795_251_600_000_001_000);
    let client = "[2001:db8::7]:51234".parse().unwrap();
    let server = "[2001:db8::1]:8080".parse().unwrap();
    let flow = FlowKey { client, server, scope: 0 };
    let findings = vec![Finding::new(FindingId::AlgNone, "alg is \"none\"")];
    let request = RequestView::new(
        b"GET",
        "/grüße?q=%00\"]\\\t\x01".as_bytes(),
        Some(b"api.example"),
        Some(b"\xff\xfe evil"),
        812,
    );
    Event {
        id: EventIds::new(&[1; 16]).id(Kind::Request, Some(&flow), at, number),
        at,
        severity: severity(&findings),
        body: Body::Request(Box::new(RequestEvent {
            enforcement: None,
            verdict: Verdict::Alert,
            client,
            forwarded_for: None,
            asn: None,
            server,
            service: None,
            exchange: number,
            request,
            response: Some(ResponseView { status: 200, latency_us: 7, bytes: 99 }),
            score: None,
            outcome: "bypass",
            tokens: Vec::new(),
            findings,
        })),
    }
}

fn start(address: String, dir: &Path, name: &str) -> Sinks {
    let syslog = SyslogConfig {
        address: address.try_into().unwrap(),
        hostname: Some("web1".to_owned()),
        ..SyslogConfig::default()
    };
    let config = SinksConfig {
        stdout: false,
        file: Vec::new(),
        syslog: vec![syslog],
        ..SinksConfig::default()
    };
    let delivery = Delivery {
        dir: dir.join(name),
        keep: Keep { bytes: 64 << 20, age: Duration::from_secs(3600) },
        join: Duration::ZERO,
        key: [1; 16],
    };
    Sinks::start(&config, &delivery).unwrap().0
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
    let rsyslog = match Rsyslog::start(dir.path(), port) {
        Err(error)
            if error.is::<NotInstalled>()
                && std::env::var_os("JOTWATCH_REQUIRE_SERVICES").is_none() =>
        {
            println!("skipped: {error}");
            return;
        }
        started => started.unwrap(),
    };

    let local = start(dir.path().join("log").display().to_string(), dir.path(), "local");
    for number in 0..50 {
        local.send(alert(number));
    }
    wait("50 lines from the socket", || rsyslog.lines().len() == 50);
    for (number, line) in rsyslog.lines().iter().enumerate() {
        check(line, "imuxsock", number as u64);
    }

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
