//! Sinks as a whole.

mod delivery;
mod file_sinks;
mod messages;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::UdpSocket,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
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

/// Files alone.
pub(super) fn files(file: Vec<FileConfig>) -> SinksConfig {
    SinksConfig { stdout: false, file, syslog: Vec::new(), ..SinksConfig::default() }
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
