//! Events as log records of the OpenTelemetry protocol, in binary protobuf over HTTP.
//!
//! Source: OTLP 1.x, "OTLP/HTTP"; the numbers of severities are those that the logs data model
//! gives to syslog's (appendix B).

pub mod messages;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use serde::Deserialize;
use serde_json::{Value, json};

use self::messages::{
    Answer, ExportLogs, LogRecord, Resource, ResourceLogs, Scope, ScopeLogs, attributes,
};
use super::{
    format::{Origin, View},
    http::{self, Poster, Reply, Target},
    outlet::Outlet,
    worker::BATCH_MAX,
};
use crate::{
    event::{BySeverity, Filter},
    finding::Severity,
    journal::Record,
    time::Time,
};

/// What requests and answers are made of.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
/// The default of `interval_seconds`.
pub(crate) const INTERVAL_DEFAULT: u64 = 60;

/// A receiver of the OpenTelemetry protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct OtlpConfig {
    /// The receiver, without `/v1/logs`.
    pub target: Target,
    /// Whether it gets events.
    pub logs: bool,
    /// How often it gets metrics; never where absent.
    pub metrics: Option<Duration>,
    /// Which events it gets.
    pub filter: Filter,
}

http::keys! {
    /// The keys of `[[sinks.otlp]]`.
    struct Keys {
        #[serde(default = "yes")]
        logs: bool,
        #[serde(default)]
        metrics: bool,
        interval_seconds: Option<u64>,
        #[serde(default)]
        filter: Filter,
    }
}

const fn yes() -> bool {
    true
}

impl TryFrom<Keys> for OtlpConfig {
    type Error = String;

    fn try_from(mut keys: Keys) -> Result<Self, String> {
        let interval = keys.interval_seconds.unwrap_or(INTERVAL_DEFAULT);
        if !(1..=3_600).contains(&interval) {
            return Err(format!("interval_seconds must be from 1 to 3600, not {interval}"));
        }
        if keys.interval_seconds.is_some() && !keys.metrics {
            return Err("interval_seconds is for metrics = true".to_owned());
        }
        let target = keys.target()?;
        // Once, so that it does not fail later.
        target.url.join("/v1/metrics")?;
        Ok(Self {
            target,
            logs: keys.logs,
            metrics: keys.metrics.then(|| Duration::from_secs(interval)),
            filter: keys.filter,
        })
    }
}

impl OtlpConfig {
    /// Opens what sends one kind of signal.
    ///
    /// # Errors
    /// As [`Poster::new`].
    pub(crate) fn poster(&self, path: &str) -> io::Result<Poster> {
        let url = self.target.url.join(path).map_err(io::Error::other)?;
        Ok(Poster::new(&Target { url, ..self.target.clone() })?)
    }
}

/// What is sent, and where.
pub(super) struct Otlp {
    config: OtlpConfig,
    poster: Poster,
    refused: BySeverity,
}

impl Otlp {
    /// Reads the files that the config names; connects with the first event.
    ///
    /// # Errors
    /// One of them can't be read or is not private.
    pub(super) fn new(config: &OtlpConfig) -> io::Result<Self> {
        let poster = config.poster("/v1/logs")?;
        Ok(Self { config: config.clone(), poster, refused: Default::default() })
    }
}

impl Outlet for Otlp {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        let Self { config, poster, refused } = self;
        let mut rejected = 0;
        let delivered = http::deliver(batch, BATCH_MAX, refused, |records| {
            let body = export(records, now(), Origin::own()).encode_to_vec();
            let reply = poster.post(PROTOBUF, &[], &body)?;
            if let Reply::Arrived(answer) = &reply {
                rejected += partial(answer, &config.target).min(records.len());
            }
            Ok(reply)
        });
        // Which ones it did not take is not told: the gravest count.
        let (arrived, _) = batch.split_at(delivered.0.min(batch.len()));
        let mut gravest: Vec<&Record> = arrived.iter().collect();
        gravest.sort_by_key(|record| std::cmp::Reverse(record.severity));
        for record in gravest.into_iter().take(rejected) {
            http::refuse(refused, std::slice::from_ref(record));
        }
        delivered
    }

    fn refused(&mut self) -> BySeverity {
        std::mem::take(&mut self.refused)
    }

    fn files(&self) -> Vec<&Path> {
        self.config.target.files()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.poster = self.config.poster("/v1/logs")?;
        Ok(())
    }
}

/// How many of what arrived the receiver did not take.
pub(crate) fn partial(answer: &[u8], target: &Target) -> usize {
    let Ok(Answer { partial_success: Some(partial) }) = Answer::decode(answer) else { return 0 };
    if partial.rejected > 0 || !partial.error_message.is_empty() {
        let said: String = partial.error_message.escape_debug().take(200).collect();
        tracing::warn!("{}: {} not taken: {said}", target.url, partial.rejected);
    }
    usize::try_from(partial.rejected).unwrap_or(0)
}

pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// What the records are of.
pub(crate) fn resource(origin: &Origin) -> Resource {
    let mut members = BTreeMap::from([
        ("service.name", json!("jotwatch")),
        ("service.version", json!(origin.version)),
    ]);
    if !origin.host.is_empty() {
        members.insert("host.name", json!(origin.host));
    }
    Resource { attributes: attributes(members) }
}

pub(crate) fn scope(origin: &Origin) -> Scope {
    Scope { name: "jotwatch".to_owned(), version: origin.version.to_owned() }
}

fn export(records: &[Record], now: u64, origin: &Origin) -> ExportLogs {
    let records = records.iter().map(|record| {
        let event = serde_json::from_slice(&record.line).unwrap_or_default();
        log_record(&event, now)
    });
    let logs = ScopeLogs { scope: Some(scope(origin)), log_records: records.collect() };
    let logs = ResourceLogs { resource: Some(resource(origin)), scope_logs: vec![logs] };
    ExportLogs { resource_logs: vec![logs] }
}

/// An event: whole as the body, and what it is searched by as attributes, under the names of
/// OpenTelemetry's semantic conventions where they have one.
fn log_record(event: &Value, now: u64) -> LogRecord {
    let view = View(event);
    let (number, text) = match view.severity() {
        Severity::Info => (9, "info"),
        Severity::Low => (10, "low"),
        Severity::Medium => (13, "medium"),
        Severity::High => (17, "high"),
        Severity::Critical => (18, "critical"),
    };
    let at = view.text("/time").and_then(|time| Time::parse(time).ok());
    let mut members = BTreeMap::new();
    let peer = view.text("/client/ip");
    let (path, query) = view.target();
    for (name, value) in [
        ("client.address", view.text("/client/forwarded_for").or(peer)),
        ("network.peer.address", peer),
        ("server.address", view.text("/server/ip")),
        ("http.request.method", view.text("/request/method")),
        ("url.path", path),
        ("url.query", query),
        ("user_agent.original", view.text("/request/user_agent")),
        ("user.id", view.subject()),
        ("process.executable.name", view.text("/service/command")),
        ("jotwatch.event.id", view.text("/id")),
        ("jotwatch.verdict", view.text("/verdict")),
        ("jotwatch.outcome", view.text("/outcome")),
        ("jotwatch.finding", view.finding().map(|(id, _)| id.as_str())),
    ] {
        if let Some(value) = value {
            members.insert(name, json!(value));
        }
    }
    for (name, pointer) in [
        ("network.peer.port", "/client/port"),
        ("server.port", "/server/port"),
        ("http.response.status_code", "/response/status"),
        ("process.pid", "/service/pid"),
        ("jotwatch.score", "/score"),
    ] {
        if let Some(value) = view.number(pointer) {
            members.insert(name, json!(value));
        }
    }
    LogRecord {
        time_unix_nano: at.map_or(0, Time::unix_nanos),
        observed_time_unix_nano: now,
        severity_number: number,
        severity_text: text.to_owned(),
        body: Some(event.into()),
        attributes: attributes(members),
        event_name: format!("jotwatch.{}", view.text("/kind").unwrap_or("event")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn what_was_encoded_is_read_back_whole() {
        let origin = Origin { host: "web1".into(), version: "1.2.3" };
        let records: Vec<Record> = samples::all()
            .iter()
            .enumerate()
            .map(|(i, event)| {
                let mut line = Vec::new();
                event.write(&mut line);
                Record { sequence: i as u64, severity: event.severity, line: line.into() }
            })
            .collect();
        let sent = export(&records, 7, &origin);
        let bytes = sent.encode_to_vec();
        assert_eq!(ExportLogs::decode(&*bytes).unwrap(), sent);
        let logs = &sent.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(logs.len(), records.len());
        for (log, event) in logs.iter().zip(samples::all()) {
            assert_eq!(log.time_unix_nano, event.at.unix_nanos() / 1_000 * 1_000);
            assert_eq!(log.severity_text, event.severity.as_str());
            assert!(log.event_name.starts_with("jotwatch.") && log.observed_time_unix_nano == 7);
        }
    }

    #[test]
    fn an_answer_says_how_many_were_not_taken() {
        let target = target();
        let answer = |rejected| {
            let partial = messages::PartialSuccess { rejected, error_message: "no".into() };
            Answer { partial_success: Some(partial) }.encode_to_vec()
        };
        assert_eq!(partial(&answer(3), &target), 3);
        for bytes in [&answer(0)[..], &answer(-1), b"", b"\xff\xff", b"{}"] {
            assert_eq!(partial(bytes, &target), 0);
        }
    }

    fn target() -> Target {
        let config: OtlpConfig =
            toml::from_str("url = \"https://otel.example:4318/base/\"").unwrap();
        config.target
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("url = \"http://otel.example\"", "allow_http"),
            ("url = \"https://otel.example\"\ninterval_seconds = 7", "metrics = true"),
            ("url = \"https://o.example\"\nmetrics = true\ninterval_seconds = 0", "from 1 to 3600"),
            ("url = \"https://o.example\"\nmetric = true", "unknown field"),
            ("logs = true", "missing field `url`"),
            ("url = \"https://o.example/?k=v\"", "it has no query"),
        ] {
            let error = toml::from_str::<OtlpConfig>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(target().url.join("/v1/logs").is_ok());
    }
}
