//! systemd's journal, over its native protocol: every member that one looks for is a field.
//!
//! Source: systemd's "Native Journal Protocol" (docs/JOURNAL_NATIVE_PROTOCOL.md) and
//! `systemd.journal-fields(7)`.

use std::{io, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{
    local::{self, Local},
    outlet::Outlet,
    syslog::{
        severity_code,
        text::{claim, findings, sentence, subject, text},
    },
};
use crate::{
    event::{EVENT_MIN, Filter, shorten},
    journal::Record,
};

/// Bytes of a value that the field `JOTWATCH_EVENT` begins to leave members out at: journald
/// compresses what is longer than 512 bytes, and the kernel takes about 200 KiB in a datagram.
const EVENT_MAX: usize = 64 << 10;
/// `authpriv`: for journald that passes on to syslog.
const FACILITY: &str = "10";

/// A journal of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournaldConfig {
    /// Its socket. Default `/run/systemd/journal/socket`.
    pub path: PathBuf,
    /// `SYSLOG_IDENTIFIER`, what `journalctl -t` asks for. Default `jotwatch`.
    #[serde(deserialize_with = "super::config::app_name")]
    pub identifier: String,
    /// Which events it gets.
    pub filter: Filter,
}

impl Default for JournaldConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/run/systemd/journal/socket"),
            identifier: "jotwatch".to_owned(),
            filter: Filter::default(),
        }
    }
}

/// `MESSAGE_ID`: one for each kind of event, made up once and for good.
fn message_id(kind: &str) -> Option<&'static str> {
    match kind {
        "request" => Some("7a40badb99c64c679570319da09e986f"),
        "flow" => Some("c41c92c16cb34bfc85c4f45d631c7688"),
        "key" => Some("849a4d4bd6844d5bacf92ff6ee6b21a9"),
        "sensor" => Some("dfcebe07e8d74b96bfac4e6b60e9abe8"),
        "audit" => Some("726061c715aa41fd95fb7b5580948456"),
        _ => None,
    }
}

/// Fields that are members of an event, and where they are.
const MEMBERS: [(&str, &str); 31] = [
    ("JOTWATCH_ID", "/id"),
    ("JOTWATCH_TIME", "/time"),
    ("JOTWATCH_KIND", "/kind"),
    ("JOTWATCH_SEVERITY", "/severity"),
    ("JOTWATCH_VERDICT", "/verdict"),
    ("JOTWATCH_OUTCOME", "/outcome"),
    ("JOTWATCH_SCORE", "/score"),
    ("JOTWATCH_ACTION", "/enforcement/action"),
    ("JOTWATCH_CLIENT_IP", "/client/ip"),
    ("JOTWATCH_CLIENT_PORT", "/client/port"),
    ("JOTWATCH_FORWARDED_FOR", "/client/forwarded_for"),
    ("JOTWATCH_SERVER_IP", "/server/ip"),
    ("JOTWATCH_SERVER_PORT", "/server/port"),
    ("JOTWATCH_SERVICE", "/service/command"),
    ("JOTWATCH_SERVICE_PID", "/service/pid"),
    ("JOTWATCH_SERVICE_CGROUP", "/service/cgroup"),
    ("JOTWATCH_METHOD", "/request/method"),
    ("JOTWATCH_PATH", "/request/path"),
    ("JOTWATCH_HOST", "/request/host"),
    ("JOTWATCH_USER_AGENT", "/request/user_agent"),
    ("JOTWATCH_STATUS", "/response/status"),
    ("JOTWATCH_TOKEN", "/tokens/0/fingerprint"),
    ("JOTWATCH_KID", "/tokens/0/kid"),
    ("JOTWATCH_TOKEN", "/token"),
    ("JOTWATCH_KID", "/kid"),
    ("JOTWATCH_ISSUER", "/issuer"),
    ("JOTWATCH_STATE", "/state"),
    ("JOTWATCH_CHANGE", "/change"),
    ("JOTWATCH_REASON", "/reason"),
    ("JOTWATCH_FILE", "/file"),
    ("JOTWATCH_JOINED", "/joined/count"),
];

/// A journal that events go to.
pub(super) struct Journald {
    path: PathBuf,
    identifier: String,
    socket: Option<Local>,
    buffer: Vec<u8>,
}

impl Journald {
    pub(super) fn new(config: &JournaldConfig) -> Self {
        Self {
            path: config.path.clone(),
            identifier: config.identifier.clone(),
            socket: None,
            buffer: Vec::new(),
        }
    }

    /// Connects, to tell early that it is not there.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        self.socket = Some(Local::connect(&self.path)?);
        Ok(())
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(Local::connect(&self.path)?),
        };
        let mut limit = EVENT_MAX;
        let mut shorter = (line.len() > limit).then(|| shorten(&event, limit));
        loop {
            self.buffer.clear();
            match &shorter {
                None => fields(&mut self.buffer, &event, line, &self.identifier),
                Some(line) => {
                    let Ok(event) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
                    fields(&mut self.buffer, &event, line, &self.identifier);
                }
            }
            match socket.send(&self.buffer) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && limit > EVENT_MIN => {
                    limit = (limit / 2).max(EVENT_MIN);
                    shorter = Some(shorten(&event, limit));
                }
                result => return result,
            }
        }
    }
}

impl Outlet for Journald {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        for (done, record) in batch.iter().enumerate() {
            if let Err(error) = self.send(&record.line) {
                self.socket = None;
                return (done, Err(error));
            }
        }
        (batch.len(), Ok(()))
    }

    fn window(&self) -> usize {
        local::WINDOW
    }

    fn confirm(&mut self) -> io::Result<()> {
        match self.socket.take() {
            Some(socket) => {
                self.socket = Some(socket.confirm()?);
                Ok(())
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = None;
        Ok(())
    }
}

/// Writes the entry of an event, whose JSON is `line`.
pub(super) fn fields(out: &mut Vec<u8>, event: &Value, line: &[u8], identifier: &str) {
    field(out, "MESSAGE", sentence(event).as_bytes());
    field(out, "PRIORITY", severity_code(text(event, "/severity")).to_string().as_bytes());
    field(out, "SYSLOG_IDENTIFIER", identifier.as_bytes());
    field(out, "SYSLOG_FACILITY", FACILITY.as_bytes());
    if let Some(id) = message_id(text(event, "/kind")) {
        field(out, "MESSAGE_ID", id.as_bytes());
    }
    for (name, pointer) in MEMBERS {
        match event.pointer(pointer) {
            Some(Value::String(value)) => field(out, name, value.as_bytes()),
            Some(Value::Number(value)) => field(out, name, value.to_string().as_bytes()),
            _ => {}
        }
    }
    // A field may come more than once.
    for finding in findings(event) {
        field(out, "JOTWATCH_FINDING", finding.as_bytes());
    }
    if let Some(subject) = subject(event) {
        field(out, "JOTWATCH_SUBJECT", subject.as_bytes());
    }
    if let Some(issuer) = claim(event, "iss") {
        field(out, "JOTWATCH_ISSUER", issuer.as_bytes());
    }
    field(out, "JOTWATCH_EVENT", line);
}

/// A field: with its length where its value has a line feed.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path, thread, time::Duration};

    use super::{
        super::{
            SinksConfig,
            tests::{DEADLINE, line, numbered, receive, receiver, start, wait},
        },
        *,
    };
    use crate::event::samples;

    /// An entry, taken apart strictly: values in their order by field.
    fn parse(mut entry: &[u8]) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut fields = BTreeMap::<String, Vec<Vec<u8>>>::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|&b| b == b'\n' || b == b'=').unwrap();
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            // journal_field_valid() of systemd.
            let valid = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            assert!((1..=64).contains(&name.len()) && name.bytes().all(valid), "{name}");
            assert!(name.as_bytes()[0].is_ascii_uppercase(), "{name}");
            let with_length = entry[end] == b'\n';
            entry = &entry[end + 1..];
            let len = match with_length {
                true => {
                    let (len, rest) = entry.split_at(8);
                    entry = rest;
                    u64::from_le_bytes(len.try_into().unwrap()) as usize
                }
                false => entry.iter().position(|&b| b == b'\n').unwrap(),
            };
            fields.entry(name).or_default().push(entry[..len].to_vec());
            assert_eq!(entry[len], b'\n');
            entry = &entry[len + 1..];
        }
        fields
    }

    fn config(path: &Path) -> SinksConfig {
        let journald = JournaldConfig { path: path.to_owned(), ..JournaldConfig::default() };
        SinksConfig {
            stdout: false,
            syslog: Vec::new(),
            journald: vec![journald],
            ..SinksConfig::default()
        }
    }

    #[test]
    fn every_event_is_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = receiver(&path);
        let (sinks, warnings) = start(&config(&path), dir.path());
        assert!(warnings.is_empty());
        for event in samples::all() {
            sinks.send(event.clone());
            let fields = parse(&receive(&socket));
            let one = |name: &str| match fields[name].as_slice() {
                [one] => String::from_utf8(one.clone()).unwrap(),
                _ => panic!("{name}"),
            };
            let whole = serde_json::from_slice::<Value>(&line(&event)).unwrap();
            let told = serde_json::from_str::<Value>(&one("JOTWATCH_EVENT")).unwrap();
            if told.get("shortened").is_none() {
                assert_eq!(told, whole);
            }
            assert_eq!(one("JOTWATCH_ID"), text(&whole, "/id"));
            assert_eq!(one("SYSLOG_IDENTIFIER"), "jotwatch");
            assert_eq!(one("PRIORITY"), severity_code(event.severity.as_str()).to_string());
            assert_eq!(one("MESSAGE_ID").len(), 32);
            assert!(one("MESSAGE").is_ascii());
            if let Some(Value::String(path)) = told.pointer("/request/path") {
                assert_eq!(one("JOTWATCH_PATH"), *path);
            }
        }
        let status = sinks.shutdown(DEADLINE).remove(0);
        assert_eq!(status.delivered, samples::all().len() as u64);
        assert_eq!(status.name, format!("journald:{}", path.display()));
    }

    #[test]
    fn a_line_feed_makes_no_field() {
        let mut event = serde_json::from_slice::<Value>(&line(&samples::request())).unwrap();
        let evil = "/x\nPRIORITY=0\nJOTWATCH_ID=fake";
        event["request"]["path"] = evil.into();
        event["request"]["host"] = evil.into();
        event["tokens"][0]["claims"]["sub"] = evil.into();
        let mut entry = Vec::new();
        fields(&mut entry, &event, b"{\n}", "x");
        let fields = parse(&entry);
        assert_eq!((fields["PRIORITY"].len(), fields["JOTWATCH_ID"].len()), (1, 1));
        for name in ["JOTWATCH_PATH", "JOTWATCH_HOST", "JOTWATCH_SUBJECT"] {
            assert_eq!(fields[name], [evil.as_bytes().to_vec()]);
        }
        assert_eq!(fields["JOTWATCH_EVENT"], [b"{\n}".to_vec()]);
        assert_eq!(fields["JOTWATCH_FINDING"], [b"alg-none".to_vec(), b"token-in-query".to_vec()]);
    }

    #[test]
    fn what_a_datagram_can_not_hold_is_shortened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = receiver(&path);
        let mut journald = Journald::new(&JournaldConfig { path, ..JournaldConfig::default() });
        journald.probe().unwrap();
        journald.socket.as_ref().unwrap().limit(16 << 10);
        let json = line(&samples::hostile());
        assert!(json.len() > 16 << 10);
        journald.send(&json).unwrap();
        let fields = parse(&receive(&socket));
        let told = serde_json::from_slice::<Value>(&fields["JOTWATCH_EVENT"][0]).unwrap();
        assert_eq!(told["shortened"], true);
    }

    #[test]
    fn it_waits_for_a_journal_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (sinks, warnings) = start(&config(&path), dir.path());
        assert_eq!(warnings.len(), 1);
        sinks.send(numbered(0));
        wait(&sinks, |status| status.failing);
        thread::sleep(Duration::from_millis(10));
        let socket = receiver(&path);
        assert!(parse(&receive(&socket)).contains_key("MESSAGE"));
        wait(&sinks, |status| status.delivered == 1);
    }
}
