//! Messages after RFC 5424.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    super::{BodyFormat, Facility, MESSAGE_MIN, SyslogConfig},
    keyed,
    text::{endpoint, findings, sentence, text},
};
use crate::event::{EVENT_MIN, shorten};

/// The id of our structured data. 32473 is the enterprise number that RFC 5612 keeps for
/// documentation; the project has none of its own.
const SD_ID: &str = "jotwatch@32473";
/// Bytes of `HOSTNAME` (RFC 5424, section 6).
const HOSTNAME_MAX: usize = 255;
/// Bytes of a field of the header that the event brings (RFC 5424, section 6: `MSGID` has 32, and a
/// `TIMESTAMP` can't have more).
const HEADER_FIELD_MAX: usize = 32;
/// Bytes of the structured data's parameters: those of a sensor's own event are well below. With
/// the header it leaves room for a body in [`MESSAGE_MIN`].
const SD_MAX: usize = 1024;
/// Findings named in the structured data; the message has them all.
const SD_FINDINGS_MAX: usize = 4;
/// Bytes of the service's command in the structured data; the kernel keeps 15.
const SD_COMMAND_MAX: usize = 32;

/// The severity of RFC 5424, table 2: critical, error, warning, notice, informational.
pub(in crate::sinks) fn severity_code(severity: &str) -> u8 {
    match severity {
        "critical" => 2,
        "high" => 3,
        "medium" => 4,
        "low" => 5,
        _ => 6,
    }
}

/// What all messages of one sink have in common.
pub(in crate::sinks) struct Format {
    facility: Facility,
    hostname: String,
    app_name: String,
    body: BodyFormat,
    pid: u32,
    limit: usize,
}

impl Format {
    pub(in crate::sinks) fn new(config: &SyslogConfig) -> Self {
        let hostname = match &config.hostname {
            Some(name) => name.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let mut hostname = hostname.chars().filter(char::is_ascii_graphic).collect::<String>();
        hostname.truncate(HOSTNAME_MAX);
        if hostname.is_empty() {
            hostname.push('-');
        }
        Self {
            facility: config.facility,
            hostname,
            app_name: config.app_name.clone(),
            body: config.format,
            pid: std::process::id(),
            limit: config.message_bytes,
        }
    }

    /// Messages of at most this many bytes from now on.
    pub(super) fn shrink(&mut self) {
        self.limit = (self.limit / 2).max(MESSAGE_MIN);
    }

    /// The message of an event, at most `limit` bytes and without line ends; `None` of what is no
    /// event.
    ///
    /// JSON is in ASCII, other characters as `\u` escapes: RFC 5424 wants a byte order mark before
    /// UTF-8, and JSON forbids one. Text is ASCII. CEF and LEEF are UTF-8 as their specifications
    /// say, without a mark, which would hide what they begin with (`MSG-ANY`).
    pub(in crate::sinks) fn message(&self, line: &[u8]) -> Option<String> {
        let event = serde_json::from_slice::<Value>(line).ok()?;
        let mut out = String::with_capacity(line.len() + 512);
        let severity = text(&event, "/severity");
        let pri = self.facility.code() * 8 + severity_code(severity);
        let _ = write!(
            out,
            "<{pri}>1 {} {} {} {} {} [{SD_ID}",
            header(text(&event, "/time")),
            self.hostname,
            self.app_name,
            self.pid,
            header(text(&event, "/kind"))
        );
        out.push_str(&structured_data(&event));
        out.push_str("] ");
        let room = self.limit.saturating_sub(out.len());
        let start = out.len();
        let mut whole = self.body(&mut out, &event, line, room);
        let mut limit = room;
        while !whole && limit >= EVENT_MIN {
            out.truncate(start);
            let line = shorten(&event, limit);
            let event = serde_json::from_slice::<Value>(&line).ok()?;
            whole = self.body(&mut out, &event, &line, room);
            // Escapes are longer than what they stand for.
            limit = match limit {
                EVENT_MIN => 0,
                _ => (limit / 2).max(EVENT_MIN),
            };
        }
        // Every event of the sensor's own fits; one that someone has changed is cut.
        out.truncate(out.floor_char_boundary(self.limit));
        Some(out)
    }

    /// Appends an event, as JSON also in `line`; whether all of it takes at most `room` bytes.
    fn body(&self, out: &mut String, event: &Value, line: &[u8], room: usize) -> bool {
        let start = out.len();
        match self.body {
            BodyFormat::Json => ascii(out, line),
            BodyFormat::Text => {
                out.push_str(&sentence(event));
                if out.len() - start > room {
                    // All of it is ASCII.
                    out.truncate(start + room.saturating_sub(3));
                    out.push_str("...");
                    return false;
                }
            }
            BodyFormat::Cef => return keyed::cef(out, event, room),
            BodyFormat::Leef => return keyed::leef(out, event, room),
        }
        out.len() - start <= room
    }
}

/// A field of the header, where it can be one: printable ASCII (RFC 5424, section 6). The sensor's own
/// words are, but an event that is read again may have been changed.
fn header(word: &str) -> &str {
    let is_field = (1..=HEADER_FIELD_MAX).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_graphic());
    if is_field { word } else { "-" }
}

/// The parameters that a receiver filters by, each with a blank before it.
fn structured_data(event: &Value) -> String {
    let mut out = String::new();
    for name in ["id", "severity", "verdict"] {
        if let Some(Value::String(value)) = event.get(name) {
            param(&mut out, name, value);
        }
    }
    if let Some(method) = event.pointer("/request/method").and_then(Value::as_str) {
        param(&mut out, "method", method);
    }
    if let Some(status) = event.pointer("/response/status") {
        param(&mut out, "status", &status.to_string());
    }
    let by_kind = match text(event, "/kind") {
        "flow" => "reason",
        "sensor" => "state",
        "audit" => "change",
        _ => "",
    };
    if let Some(Value::String(value)) = event.get(by_kind) {
        param(&mut out, by_kind, value);
    }
    for name in ["client", "server"] {
        if let Some(end) = event.get(name) {
            param(&mut out, name, &endpoint(end));
        }
    }
    if let Some(command) = event.pointer("/service/command").and_then(Value::as_str) {
        param(&mut out, "service", &command[..command.floor_char_boundary(SD_COMMAND_MAX)]);
    }
    if let Some(score) = event.get("score") {
        param(&mut out, "score", &score.to_string());
    }
    let mut named = findings(event);
    if !named.is_empty() {
        named.truncate(SD_FINDINGS_MAX);
        param(&mut out, "findings", &named.join(","));
    }
    if let Some(count) = event.pointer("/joined/count") {
        param(&mut out, "joined", &count.to_string());
    }
    out
}

/// A parameter, where there is room: `"`, `\` and `]` escaped (RFC 5424, section 6.3.3), blanks for
/// control characters.
fn param(out: &mut String, name: &str, value: &str) {
    let before = out.len();
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        // Where messages are lines, a line end would end this one (RFC 6587, section 3.4.2).
        out.push(if c.is_control() { ' ' } else { c });
    }
    out.push('"');
    if out.len() > SD_MAX {
        out.truncate(before);
    }
}

/// Appends JSON with everything over printable ASCII as `\u` escapes (RFC 8259, section 7, whose
/// strings have no other controls).
fn ascii(out: &mut String, json: &[u8]) {
    for c in String::from_utf8_lossy(json).chars() {
        if c < '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}
