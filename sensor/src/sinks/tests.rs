use std::{
    fs,
    io::{BufRead, BufReader},
    net::UdpSocket,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener},
    },
    path::Path,
};

use serde_json::Value;

use super::{outlet::Outlet as _, *};
use crate::{
    capture::Service,
    event::{Body, Filter, RequestView, Text, samples, shorten},
    finding::{Finding, FindingId},
    journal::Record,
};

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A message, taken apart strictly after the grammar of RFC 5424, section 6.
#[derive(Debug)]
pub(super) struct Parsed {
    pri: u8,
    timestamp: String,
    hostname: String,
    app_name: String,
    procid: String,
    msgid: String,
    sd_id: String,
    params: Vec<(String, String)>,
    pub(super) msg: String,
}

impl Parsed {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn event(&self) -> Value {
        serde_json::from_str(&self.msg).unwrap_or_else(|e| panic!("{e}: {}", self.msg))
    }
}

fn until<'a>(rest: &mut &'a str, end: char) -> &'a str {
    let (field, behind) = rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} in {rest}"));
    *rest = behind;
    field
}

/// A field of `1*max` PRINTUSASCII and the space behind it.
fn field(rest: &mut &str, max: usize) -> String {
    let field = until(rest, ' ');
    assert!((1..=max).contains(&field.len()), "{field}");
    assert!(field.bytes().all(|b| (33..=126).contains(&b)), "{field}");
    field.to_owned()
}

/// SD-NAME.
fn sd_name(name: &str) -> String {
    assert!((1..=32).contains(&name.len()), "{name}");
    assert!(name.bytes().all(|b| (33..=126).contains(&b) && !b"=]\" ".contains(&b)), "{name}");
    name.to_owned()
}

pub(super) fn parse(message: &[u8]) -> Parsed {
    let mut rest = std::str::from_utf8(message).unwrap();
    rest = rest.strip_prefix('<').unwrap();
    let pri = until(&mut rest, '>');
    assert!(pri == "0" || !pri.starts_with('0'));
    let pri = pri.parse::<u8>().unwrap();
    assert!(pri <= 191);
    assert_eq!(until(&mut rest, ' '), "1");
    let timestamp = field(&mut rest, 32);
    assert!(timestamp.parse::<jiff::Timestamp>().is_ok() && timestamp.ends_with('Z'));
    let (hostname, app_name) = (field(&mut rest, 255), field(&mut rest, 48));
    let (procid, msgid) = (field(&mut rest, 128), field(&mut rest, 32));
    rest = rest.strip_prefix('[').unwrap();
    let sd_id = sd_name(until(&mut rest, ' '));
    let mut params = Vec::new();
    loop {
        let name = sd_name(until(&mut rest, '='));
        rest = rest.strip_prefix('"').unwrap();
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    c @ ('"' | '\\' | ']') => value.push(c),
                    c => panic!("escape of {c:?}"),
                },
                (_, ']') => panic!("a bare ] in {rest}"),
                (_, c) => value.push(c),
            }
        };
        params.push((name, value));
        rest = &rest[end + 1..];
        match rest.strip_prefix(' ') {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest = rest.strip_prefix("] ").unwrap();
    // MSG-ANY: no byte order mark, therefore nothing over ASCII unless the format says so; and one
    // line.
    assert!(!rest.contains('\n'), "{rest}");
    let utf8 = rest.starts_with("CEF:0|") || rest.starts_with("LEEF:2.0|");
    assert!(utf8 || rest.bytes().all(|b| (32..=126).contains(&b)), "{rest}");
    Parsed {
        pri,
        timestamp,
        hostname,
        app_name,
        procid,
        msgid,
        sd_id,
        params,
        msg: rest.to_owned(),
    }
}

/// Nothing is joined, and everything is kept.
pub(super) fn delivery(dir: &Path) -> Delivery {
    let keep = Keep { bytes: 64 << 20, age: Duration::from_secs(3600) };
    Delivery { dir: dir.join("events"), keep, join: Duration::ZERO, key: [7; 16] }
}

pub(super) fn start(config: &SinksConfig, dir: &Path) -> (Sinks, Vec<String>) {
    Sinks::start(config, &delivery(dir)).unwrap()
}

fn file(path: &Path) -> FileConfig {
    FileConfig {
        path: path.to_owned(),
        max_bytes: None,
        max_hours: None,
        keep: KEEP_DEFAULT,
        format: Format::Json,
        filter: Filter::default(),
    }
}

pub(super) fn line(event: &Event) -> Vec<u8> {
    let mut line = Vec::new();
    event.write(&mut line);
    line
}

pub(super) fn only(syslog: SyslogConfig) -> SinksConfig {
    SinksConfig { stdout: false, syslog: vec![syslog], ..SinksConfig::default() }
}

pub(super) fn local(path: &Path) -> SyslogConfig {
    SyslogConfig { address: SyslogAddress::Unix(path.to_owned()), ..SyslogConfig::default() }
}

pub(super) fn receiver(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

pub(super) fn receive(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let len = socket.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

/// An event with its own number in it.
pub(super) fn numbered(number: u64) -> Event {
    let mut event = samples::request();
    let Body::Request(body) = &mut event.body else { unreachable!() };
    body.exchange = number;
    event
}

/// Waits until the first sink's status is as wanted.
pub(super) fn wait(sinks: &Sinks, wanted: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let start = Instant::now();
    loop {
        let status = sinks.status().remove(0);
        if wanted(&status) {
            return status;
        }
        assert!(start.elapsed() < DEADLINE, "{status:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_local_receiver_gets_rfc_5424() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = receiver(&path);
    let (sinks, warnings) = start(
        &only(SyslogConfig {
            hostname: Some("web 1\u{e9}".to_owned()),
            facility: Facility::try_from("local3".to_owned()).unwrap(),
            ..local(&path)
        }),
        dir.path(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    for event in samples::all() {
        let whole = line(&event);
        sinks.send(event.clone());
        let message = receive(&socket);
        assert!(message.len() <= MESSAGE_DEFAULT);
        let parsed = parse(&message);
        let code = syslog::severity_code(event.severity.as_str());
        assert_eq!(parsed.pri, 19 * 8 + code);
        assert_eq!(parsed.timestamp, event.at.to_string());
        assert_eq!((parsed.hostname.as_str(), parsed.app_name.as_str()), ("web1", "jotwatch"));
        assert_eq!(parsed.procid, std::process::id().to_string());
        assert_eq!(parsed.msgid, event.kind().as_str());
        assert_eq!(parsed.sd_id, "jotwatch@32473");
        let json = parsed.event();
        assert_eq!(parsed.param("id"), json["id"].as_str());
        assert_eq!(parsed.param("severity"), json["severity"].as_str());
        if let Body::Request(body) = &event.body {
            assert_eq!(parsed.param("server"), Some(body.server.to_string().as_str()));
        }
        if json.get("shortened").is_none() {
            assert_eq!(json, serde_json::from_slice::<Value>(&whole).unwrap());
        }
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.name, format!("syslog:{}", path.display()));
    assert_eq!(
        (status.delivered, status.queued, status.errors),
        (samples::all().len() as u64, 0, 0)
    );
    assert_eq!(status.dropped, [0; 5]);
}

#[test]
fn structured_data_names_what_one_filters_by() {
    let parsed = parse(
        syslog::Format::new(&SyslogConfig::default())
            .message(&line(&samples::request()))
            .unwrap()
            .as_bytes(),
    );
    let pairs = parsed.params.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
    assert_eq!(
        pairs,
        "id=bb11609bc1e9c40eec141d627a651eaa severity=critical verdict=alert method=GET status=200 \
         client=192.0.2.7:51234 server=198.51.100.2:8080 service=nginx score=100 \
         findings=alg-none,token-in-query"
    );
    assert_eq!(parsed.pri, 82);
}

#[test]
fn a_token_in_any_text_stays_inside() {
    let token = samples::TOKEN;
    let spoiled = format!("x {token} y");
    let text = || Text::new(spoiled.as_bytes(), 1000);
    let mut event = samples::request();
    let Body::Request(body) = &mut event.body else { unreachable!() };
    let bytes = spoiled.as_bytes();
    body.request = RequestView::new(bytes, bytes, Some(bytes), Some(bytes), 0);
    body.service = Some(Arc::new(Service {
        command: Some(spoiled.clone()),
        cgroup: Some(spoiled.clone()),
        ..Service::default()
    }));
    body.findings = vec![Finding::new(FindingId::AlgNone, spoiled.clone())];
    let view = &mut body.tokens[0];
    view.location = text();
    (view.scheme, view.alg) = (Some(text()), Some(text()));
    (view.kid, view.typ) = (Some(text()), Some(text()));
    view.claims.push(&spoiled, &serde_json::json!({ spoiled.clone(): [spoiled.clone()] }));
    view.findings.clone_from(&body.findings);

    let formats = [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef];
    let mut outputs = formats
        .map(|format| SyslogConfig { format, ..SyslogConfig::default() })
        .map(|config| syslog::Format::new(&config).message(&line(&event)).unwrap())
        .to_vec();
    let mut entry = Vec::new();
    journald::fields(&mut entry, &serde_json::from_slice(&line(&event)).unwrap(), &[], "x");
    outputs.push(String::from_utf8_lossy(&entry).into_owned());
    for limit in [usize::MAX, 2000, 1000] {
        let whole = serde_json::from_slice(&line(&event)).unwrap();
        outputs.push(String::from_utf8(shorten(&whole, limit)).unwrap());
    }
    for part in token.split('.') {
        for output in &outputs {
            assert!(
                !output.contains(part) && !output.contains(&part[part.len() - 8..]),
                "{output}"
            );
        }
    }
    assert!(outputs[0].matches("[redacted]").count() > 10, "{}", outputs[0]);
}

#[test]
fn every_message_fits_the_least_limit() {
    let config = SyslogConfig {
        message_bytes: MESSAGE_MIN,
        hostname: Some("h".repeat(300)),
        ..SyslogConfig::default()
    };
    let format = syslog::Format::new(&config);
    let mut events = samples::all();
    // Text that grows most when it is written as ASCII.
    let mut wide = samples::hostile();
    let Body::Request(body) = &mut wide.body else { unreachable!() };
    let text = "\u{e9}".repeat(4000);
    let text = text.as_bytes();
    body.request = RequestView::new(text, text, Some(text), Some(text), u64::MAX);
    events.push(wide);
    for event in events {
        let message = format.message(&line(&event)).unwrap();
        assert!(message.len() <= MESSAGE_MIN, "{}: {message}", message.len());
        assert_eq!(parse(message.as_bytes()).event()["kind"], event.kind().as_str());
    }
}

#[test]
fn a_udp_receiver_gets_messages() {
    let dir = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let (sinks, warnings) = start(
        &only(SyslogConfig {
            address: address.clone().try_into().unwrap(),
            ..SyslogConfig::default()
        }),
        dir.path(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    let mut buffer = [0; 65_536];
    for event in [samples::request(), samples::hostile()] {
        sinks.send(event);
        let len = socket.recv(&mut buffer).unwrap();
        assert!(len <= MESSAGE_DEFAULT);
        assert_eq!(parse(&buffer[..len]).event()["kind"], "request");
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.name, status.delivered), (format!("syslog:{address}"), 2));
}

#[test]
fn a_stream_receiver_gets_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let (sinks, warnings) = start(&only(local(&path)), dir.path());
    assert_eq!(warnings, Vec::<String>::new());
    for number in 0..3 {
        sinks.send(numbered(number));
    }
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let lines = BufReader::new(stream).lines().take(3).map(Result::unwrap).collect::<Vec<_>>();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(parse(line.as_bytes()).event()["exchange"], number);
    }
}

#[test]
fn a_receiver_that_comes_late_or_restarts_gets_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (sinks, warnings) = start(&only(local(&path)), dir.path());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains(path.to_str().unwrap()), "{warnings:?}");
    for number in 0..5 {
        sinks.send(numbered(number));
    }
    let status = wait(&sinks, |status| status.failing && status.errors > 1);
    assert_eq!((status.delivered, status.queued), (0, 5));
    assert!(status.last_error.is_some());

    let socket = receiver(&path);
    for number in 0..5 {
        assert_eq!(parse(&receive(&socket)).event()["exchange"], number);
    }
    wait(&sinks, |status| status.delivered == 5 && !status.failing);

    drop(socket);
    fs::remove_file(&path).unwrap();
    for number in 5..8 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.failing);
    let socket = receiver(&path);
    for number in 5..8 {
        assert_eq!(parse(&receive(&socket)).event()["exchange"], number);
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (8, [0; 5], 0));
}

#[test]
fn what_is_over_the_limit_of_the_journal_is_counted_by_severity() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 1 << 20, age: Duration::from_secs(3600) };
    let delivery = Delivery { keep, ..delivery(dir.path()) };
    let config = only(local(&dir.path().join("nobody")));
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    let mut event = samples::request();
    event.severity = Severity::Low;
    // Far more than is held on disk and in memory.
    let count = 30_000;
    for number in 0..count {
        sinks.send(event.clone());
        if number % 1000 == 0 {
            let sent = number + 1;
            let start = Instant::now();
            while sinks.delivery().journal.appended < sent {
                assert!(start.elapsed() < DEADLINE);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    for _ in 0..10 {
        sinks.send(samples::request());
    }
    let start = Instant::now();
    while sinks.delivery().journal.appended < count + 10 {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(1));
    }
    let status = sinks.shutdown(Duration::from_millis(100)).remove(0);
    let [info, low, medium, high, critical] = status.dropped;
    assert_eq!((info, medium, high, critical), (0, 0, 0, 0));
    assert!(low > count / 2, "{low}");
    assert_eq!((status.delivered, status.queued + low), (0, count + 10));

    // The next start delivers what is left, in order, and no more.
    let socket = receiver(&dir.path().join("nobody"));
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    let left = count - low;
    for number in 0..left + 10 {
        let severity = if number < left { "low" } else { "critical" };
        assert_eq!(parse(&receive(&socket)).param("severity"), Some(severity), "{number}");
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (left + 10, [0; 5], 0));
}

#[test]
fn sinks_get_what_their_filter_lets_pass() {
    let dir = tempfile::tempdir().unwrap();
    let grave = FileConfig {
        filter: Filter { severity: Some(Severity::Critical), ..Filter::default() },
        ..file(&dir.path().join("grave"))
    };
    let config = SinksConfig {
        stdout: false,
        file: vec![grave, file(&dir.path().join("all"))],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let (sinks, _) = start(&config, dir.path());
    let mut grave = 0;
    for event in samples::all() {
        grave += u64::from(event.severity == Severity::Critical);
        sinks.send(event);
    }
    let all = samples::all().len() as u64;
    assert!(0 < grave && grave < all);
    let status = sinks.shutdown(DEADLINE);
    let got = status.iter().map(|sink| (sink.delivered, sink.queued)).collect::<Vec<_>>();
    assert_eq!(got, [(grave, 0), (all, 0)]);
    let lines = fs::read_to_string(dir.path().join("grave")).unwrap();
    assert!(lines.lines().all(|line| line.contains(r#""severity":"critical""#)));
}

#[test]
fn alerts_of_one_cause_are_joined_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![file(&path)],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let join = Duration::from_secs(3600);
    let delivery = Delivery { join, ..delivery(dir.path()) };
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    for number in 0..1000 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.delivered == 1);
    // At once, and what is held back with the end.
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.delivered, 2);
    let lines = fs::read_to_string(&path).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.collect::<Vec<_>>();
    assert_eq!((&events[0]["exchange"], events[0].get("joined")), (&0.into(), None));
    assert_eq!((&events[1]["exchange"], &events[1]["joined"]["count"]), (&999.into(), &998.into()));
}

#[test]
fn what_is_held_back_outlasts_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![file(&path)],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let join = Duration::from_secs(3600);
    let delivery = Delivery { join, ..delivery(dir.path()) };
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    for number in 0..100 {
        sinks.send(numbered(number));
    }
    let held = delivery.dir.join("held");
    let start = Instant::now();
    while !held.exists() {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(5));
    }
    // As it is found behind a kill: the files as they are now, and nobody at work on them.
    let after = dir.path().join("after");
    fs::create_dir_all(after.join("places")).unwrap();
    for from in [delivery.dir.clone(), delivery.dir.join("places")] {
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_file() {
                fs::copy(&entry, after.join(entry.strip_prefix(&delivery.dir).unwrap())).unwrap();
            }
        }
    }
    drop(sinks.shutdown(DEADLINE));
    fs::remove_file(&path).unwrap();
    let (sinks, _) = Sinks::start(&config, &Delivery { dir: after, ..delivery }).unwrap();
    wait(&sinks, |status| status.delivered >= 1);
    drop(sinks.shutdown(DEADLINE));
    let lines = fs::read_to_string(&path).unwrap();
    let last = serde_json::from_str::<Value>(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["exchange"], &last["joined"]["count"]), (&99.into(), &98.into()));
}

#[test]
fn other_sinks_take_over_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, gone, new) =
        (dir.path().join("kept"), dir.path().join("gone"), dir.path().join("new"));
    let config = |files: &[&Path]| SinksConfig {
        stdout: false,
        file: files.iter().map(|path| file(path)).collect(),
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let (mut sinks, _) = start(&config(&[&gone, &kept]), dir.path());
    sinks.send(numbered(0));
    wait(&sinks, |status| status.delivered == 1);
    let bad = config(&[&kept, Path::new("/nonexistent/x")]);
    assert!(sinks.prepare(&bad).is_err());
    assert_eq!(sinks.status().len(), 2);
    let (prepared, _) = sinks.prepare(&config(&[&kept, &new])).unwrap();
    sinks.apply(prepared).unwrap();
    sinks.send(numbered(1));
    let status = sinks.shutdown(DEADLINE);
    let names = status.iter().map(|sink| (sink.name.as_str(), sink.delivered)).collect::<Vec<_>>();
    let name = |path: &Path| format!("file:{}", path.display());
    assert_eq!(names, [(name(&kept).as_str(), 2), (name(&new).as_str(), 1)]);
    assert_eq!(fs::read_to_string(&gone).unwrap().lines().count(), 1);
}

#[test]
fn a_file_is_set_aside_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let len = line(&numbered(0)).len() as u64 + 1;
    let rotated = FileConfig { max_bytes: Some(len * 3), keep: 2, ..file(&path) };
    let config = SinksConfig {
        stdout: false,
        file: vec![rotated],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let (sinks, _) = start(&config, dir.path());
    for number in 0..9 {
        sinks.send(numbered(number));
        wait(&sinks, |status| status.delivered == number + 1);
    }
    drop(sinks.shutdown(DEADLINE));
    let numbers = |name: &str| {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|event| event["exchange"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("events.json"), [6, 7, 8]);
    assert_eq!(numbers("events.json.1"), [3, 4, 5]);
    assert_eq!(numbers("events.json.2"), [0, 1, 2]);
    assert!(!dir.path().join("events.json.3").exists());
}

#[test]
fn a_sink_that_hangs_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    // Nobody reads from it: the kernel's queue fills, then writing waits.
    let _socket = receiver(&path);
    let file = dir.path().join("events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![self::file(&file)],
        syslog: vec![local(&path)],
        ..SinksConfig::default()
    };
    let (sinks, _) = start(&config, dir.path());
    for number in 0..2000 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.delivered == 2000);
    let hung = sinks.status().remove(1);
    assert!(hung.delivered < 2000 && hung.queued > 0, "{hung:?}");
    let status = sinks.shutdown(Duration::from_millis(10));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2000);
    let [_, hung] = status.as_slice() else { panic!() };
    assert_eq!(hung.delivered + hung.queued + hung.dropped.iter().sum::<u64>(), 2000);
}

#[test]
fn a_file_is_private_appended_to_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![file(&path)],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    for round in 1..=2 {
        let (sinks, _) = start(&config, dir.path());
        sinks.send(samples::request());
        let status = sinks.shutdown(DEADLINE).remove(0);
        assert_eq!((status.name, status.delivered), (format!("file:{}", path.display()), 1));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), round);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let (sinks, _) = start(&config, dir.path());
    sinks.send(samples::request());
    wait(&sinks, |status| status.delivered == 1);
    let rotated = dir.path().join("events.json.1");
    fs::rename(&path, &rotated).unwrap();
    sinks.reopen();
    // Opened anew without an event that asks for it.
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(2));
    }
    for event in samples::all() {
        sinks.send(event);
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.delivered, 1 + samples::all().len() as u64);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 3);
    let mut expected = Vec::new();
    for event in samples::all() {
        event.write_line(&mut Vec::new(), &mut expected).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn a_file_that_can_not_be_opened_is_one_clear_line() {
    let path = Path::new("/nonexistent/dir/events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![file(path)],
        syslog: Vec::new(),
        ..SinksConfig::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = Sinks::start(&config, &delivery(dir.path())) else { panic!() };
    let line = error.to_string();
    assert!(line.starts_with("sink file:/nonexistent/dir/events.json: can't open"), "{line}");
    assert!(!line.contains('\n'));
}

#[test]
fn a_write_that_tears_a_line_is_completed() {
    // A pipe that takes no more stands for a full disk.
    let (reader, writer) = io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut lines = lines::Lines::over(std::os::fd::OwnedFd::from(writer).into()).unwrap();
    let record = |number| Record {
        sequence: number,
        severity: Severity::High,
        line: line(&numbered(number)).into(),
    };
    let batch = (0..200).map(record).collect::<Vec<_>>();
    let mut reader = reader;
    let (mut taken, mut failures, mut read) = (0, 0, Vec::new());
    while taken < batch.len() {
        let (more, result) = lines.deliver(&batch[taken..]);
        taken += more;
        if result.is_err() {
            failures += 1;
            let mut some = [0; 5000];
            let len = io::Read::read(&mut reader, &mut some).unwrap();
            read.extend_from_slice(&some[..len]);
        }
    }
    while lines.deliver(&[]).1.is_err() {
        let mut some = [0; 5000];
        let len = io::Read::read(&mut reader, &mut some).unwrap();
        read.extend_from_slice(&some[..len]);
    }
    drop(lines);
    io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert!(failures > 10);
    let text = String::from_utf8(read).unwrap();
    let numbers = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["exchange"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[test]
fn the_config_is_strict() {
    let config = toml::from_str::<SinksConfig>("").unwrap();
    assert_eq!(config, SinksConfig::default());
    assert!(config.stdout);
    assert_eq!(config.syslog[0].address.to_string(), "/dev/log");
    assert_eq!(config.syslog[0].facility.code(), 10);

    let config = toml::from_str::<SinksConfig>(
        "stdout = false\n[[file]]\npath = '/x'\n[[syslog]]\naddress = 'udp://[::1]:514'\n\
         facility = 'local0'\nmessage_bytes = 2048\nhostname = 'h'\n",
    )
    .unwrap();
    assert_eq!(
        config.syslog[0].address,
        SyslogAddress::Udp(HostPort { host: "::1".to_owned(), port: 514 })
    );
    assert_eq!(config.syslog[0].facility.code(), 16);
    assert!(toml::from_str::<SinksConfig>("syslog = []").unwrap().syslog.is_empty());

    for (bad, says) in [
        ("stout = true", "unknown field `stout`"),
        ("[[file]]\npath = '/x'\nmode = 7", "unknown field `mode`"),
        ("[[file]]", "missing field `path`"),
        ("[[syslog]]\nport = 7", "unknown field `port`"),
        ("[[syslog]]\naddress = 'tcp://h'", "tcp://HOST:PORT"),
        ("[[syslog]]\naddress = 'tls://[::1'", "tls://HOST[:PORT]"),
        ("[[syslog]]\naddress = 'tls://'", "tls://HOST[:PORT]"),
        ("[[syslog]]\naddress = 'tls://a b'", "tls://HOST[:PORT]"),
        ("[[syslog]]\naddress = 'http://h:1'", "udp://HOST:PORT"),
        ("[[syslog]]\nformat = 'xml'", "unknown variant `xml`"),
        ("[[syslog]]\napp_name = 'a b'", "\"a b\" is not 1 to 48 printable"),
        ("[[syslog]]\napp_name = ''", "is not 1 to 48 printable"),
        ("[[syslog]]\nca_file = '/x'", "ca_file is for addresses that begin with tls://"),
        ("[[syslog]]\naddress = 'tls://h'\nclient_cert_file = '/x'", "needs client_key_file"),
        ("[[syslog]]\naddress = 'tls://h'\nclient_key_file = '/x'", "needs client_cert_file"),
        ("[[journald]]\nsocket = 'x'", "unknown field `socket`"),
        ("[[syslog]]\naddress = 'udp://h'", "udp://HOST:PORT"),
        ("[[syslog]]\naddress = 'udp://h:99999'", "udp://HOST:PORT"),
        ("[[syslog]]\nfacility = 'locale0'", "unknown syslog facility \"locale0\""),
        ("[[syslog]]\nfacility = ''", "unknown syslog facility"),
        ("[[syslog]]\nmessage_bytes = 100", "message_bytes is 100"),
    ] {
        let error = toml::from_str::<SinksConfig>(bad).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("line"), "{error}");
    }
}
