//! An event as one line for people, and what the other formats say in words.

use std::fmt::Write as _;

use serde_json::Value;

use crate::finding::FindingId;

/// A member that is text; empty where there is none.
pub(in crate::sinks) fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The findings' ids, the gravest first, each once.
pub(in crate::sinks) fn findings(event: &Value) -> Vec<&str> {
    let findings = event.get("findings").and_then(Value::as_array);
    let named = findings.into_iter().flatten().map(|f| (text(f, "/severity"), text(f, "/id")));
    let mut named =
        named.map(|(severity, id)| (super::severity_code(severity), id)).collect::<Vec<_>>();
    named.sort_unstable();
    named.dedup();
    named.into_iter().map(|(_, id)| id).collect()
}

/// `IP:PORT` of an end, an IPv6 address in brackets.
pub(in crate::sinks) fn endpoint(end: &Value) -> String {
    let ip = text(end, "/ip");
    let port = end.get("port").and_then(Value::as_u64).unwrap_or_default();
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// Who the first token that says so was issued to: its claim `sub`, where the config lets it be
/// shown.
pub(in crate::sinks) fn subject(event: &Value) -> Option<String> {
    claim(event, "sub")
}

/// A claim of the first token that has it.
pub(in crate::sinks) fn claim(event: &Value, name: &str) -> Option<String> {
    let tokens = event.get("tokens").and_then(Value::as_array)?;
    let claim = tokens.iter().find_map(|token| token.get("claims")?.get(name))?;
    match claim {
        Value::String(claim) => Some(claim.clone()),
        Value::Number(claim) => Some(claim.to_string()),
        _ => None,
    }
}

/// What kind of event it is, as a stable name, and in words: the gravest finding, or else the
/// kind of event with its `reason`, `state` or `change`.
pub(in crate::sinks) fn class(event: &Value) -> (String, String) {
    if let Some(&gravest) = findings(event).first() {
        let known = FindingId::ALL.iter().find(|id| id.as_str() == gravest);
        let words = known.map_or(gravest, |id| id.summary().trim_end_matches('.'));
        return (gravest.to_owned(), words.to_owned());
    }
    let kind = text(event, "/kind");
    let (detail, words) = match kind {
        "request" => ("", "Suspicious request"),
        "flow" => ("/reason", "Connection that can't be read"),
        "key" => ("", "Key of an issuer"),
        "sensor" => ("/state", "State of the sensor"),
        "audit" => ("/change", "Change of what is denied, allowed or known"),
        _ => ("", "Event"),
    };
    match text(event, detail) {
        "" => (kind.to_owned(), words.to_owned()),
        _ if detail.is_empty() => (kind.to_owned(), words.to_owned()),
        detail => (format!("{kind}-{detail}"), format!("{words}: {detail}")),
    }
}

/// The event as one line of ASCII for people. What others have sent stands in quotation marks,
/// with `"` and `\` behind a `\` and all but printable ASCII as `\u{…}`: no terminal obeys it, and
/// nothing in it looks like the sensor's own words.
pub(in crate::sinks) fn sentence(event: &Value) -> String {
    let mut out = String::new();
    let _ = write!(out, "{}: ", text(event, "/severity"));
    match text(event, "/kind") {
        "request" => request(&mut out, event),
        "sensor" => {
            let _ = write!(out, "sensor {} {}", text(event, "/version"), text(event, "/state"));
            for (name, count) in event.get("loss").and_then(Value::as_object).into_iter().flatten()
            {
                let _ = write!(out, ", {name} {count}");
            }
        }
        "audit" => audit(&mut out, event),
        kind => {
            let _ = write!(out, "{kind}");
            if kind == "flow" {
                let _ = write!(out, " {}", text(event, "/reason"));
            }
            for (name, pointer) in [("issuer", "/issuer"), ("key", "/kid"), ("algorithm", "/alg")] {
                member(&mut out, event, name, pointer);
            }
            ends(&mut out, event);
        }
    }
    let details = event.get("findings").and_then(Value::as_array).into_iter().flatten();
    for (i, finding) in details.enumerate() {
        out.push_str(if i == 0 { ": " } else { ", " });
        out.push_str(text(finding, "/id"));
        if let Some(detail) = finding.get("detail").and_then(Value::as_str) {
            out.push(' ');
            quote(&mut out, detail);
        }
    }
    if let Some(subject) = subject(event) {
        out.push_str("; subject ");
        quote(&mut out, &subject);
    }
    if let Some(count) = event.pointer("/joined/count") {
        let _ = write!(out, "; and {count} more since {}", text(event, "/joined/since"));
    }
    let _ = write!(out, "; id {}", text(event, "/id"));
    if out.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return out;
    }
    // The sensor's own words in an event that is read again, and that someone has changed.
    let mut line = String::with_capacity(out.len());
    out.chars().for_each(|c| printable(&mut line, c));
    line
}

fn request(out: &mut String, event: &Value) {
    let _ = write!(out, "{} ", text(event, "/verdict"));
    quote(out, text(event, "/request/method"));
    out.push(' ');
    quote(out, text(event, "/request/path"));
    member(out, event, "host", "/request/host");
    ends(out, event);
    match event.pointer("/response/status") {
        Some(status) => {
            let _ = write!(out, " answered {status}");
        }
        None => out.push_str(" not answered"),
    }
    let _ = write!(out, " ({})", text(event, "/outcome"));
    if let Some(score) = event.get("score") {
        let _ = write!(out, " score {score}");
    }
    if let Some(action) = event.pointer("/enforcement/action").and_then(Value::as_str) {
        let _ = write!(out, " action {action}");
    }
}

fn audit(out: &mut String, event: &Value) {
    let _ = write!(out, "{}", text(event, "/change"));
    for (name, value) in event.get("entry").and_then(Value::as_object).into_iter().flatten() {
        let _ = write!(out, " {name} ");
        match value {
            Value::String(value) => quote(out, value),
            value => quote(out, &value.to_string()),
        }
    }
    for (name, pointer) in [("file", "/file"), ("reason", "/reason"), ("model", "/model")] {
        member(out, event, name, pointer);
    }
    if let Some(uid) = event.pointer("/by/uid") {
        let _ = write!(out, " by uid {uid}");
    }
}

fn ends(out: &mut String, event: &Value) {
    for (word, name) in [("from", "client"), ("to", "server")] {
        if let Some(end) = event.get(name) {
            let _ = write!(out, " {word} {}", endpoint(end));
        }
    }
    member(out, event, "of", "/service/command");
}

fn member(out: &mut String, event: &Value, name: &str, pointer: &str) {
    if let Some(value) = event.pointer(pointer).and_then(Value::as_str) {
        let _ = write!(out, " {name} ");
        quote(out, value);
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ => printable(out, c),
        }
    }
    out.push('"');
}

/// All but printable ASCII as `\u{…}`.
fn printable(out: &mut String, c: char) {
    match c {
        ' '..='~' => out.push(c),
        _ => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}
