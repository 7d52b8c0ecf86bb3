//! Events for people: one JSON line of the sensor in, one or two lines of text out.

use std::fmt::Write as _;

use serde_json::Value;

/// Characters of a request target that are shown.
const PATH_WIDTH: usize = 48;
/// Digits of a token's fingerprint that are shown.
const FINGERPRINT_WIDTH: usize = 8;

/// An event as text without a final line end, or the line itself if it is none. Colour is
/// ANSI's.
pub(crate) fn line(json: &str, colour: bool) -> String {
    let Ok(event) = serde_json::from_str::<Value>(json) else { return plain(json) };
    let mut out = String::new();
    let severity = event["severity"].as_str().unwrap_or("?");
    let style = match severity {
        _ if !colour => "",
        "critical" => "\x1b[1;31m",
        "high" => "\x1b[31m",
        "medium" => "\x1b[33m",
        _ => "\x1b[2m",
    };
    let reset = if colour { "\x1b[0m" } else { "" };
    let what = match event["kind"].as_str() {
        Some("request") => request(&event),
        Some("flow") => format!(
            "connection from {} is not readable: {}",
            endpoint(&event["client"]),
            text(&event["reason"])
        ),
        Some("sensor") => sensor(&event),
        _ => plain(json),
    };
    // Writing to a string does not fail.
    let _ = write!(out, "{style}{:<8}{reset} {what}", severity.to_uppercase());
    for finding in event["findings"].as_array().into_iter().flatten() {
        let detail = match text(&finding["detail"]) {
            detail if detail.is_empty() => detail,
            detail => format!(": {detail}"),
        };
        let _ = write!(out, "\n         {style}{}{reset}{detail}", text(&finding["id"]));
    }
    out
}

/// The client's port of a request event, and the names of its findings.
pub(crate) fn findings(json: &str) -> Option<(u16, Vec<String>)> {
    let event: Value = serde_json::from_str(json).ok()?;
    let port = u16::try_from(event["client"]["port"].as_u64()?).ok()?;
    let ids = event["findings"].as_array()?.iter().map(|finding| text(&finding["id"]));
    Some((port, ids.collect()))
}

/// Whether this event says that the sensor watches now.
pub(crate) fn is_started(json: &str) -> bool {
    serde_json::from_str::<Value>(json)
        .is_ok_and(|event| event["kind"] == "sensor" && event["state"] == "started")
}

fn request(event: &Value) -> String {
    let request = &event["request"];
    let mut out = format!("{} {}", text(&request["method"]), shorten(&request["path"]));
    let _ = match event["response"]["status"].as_u64() {
        Some(status) => write!(out, " -> {status}"),
        None => write!(out, " -> no answer"),
    };
    let service = &event["service"];
    if let Some(pid) = service["pid"].as_u64() {
        let _ = write!(out, "  by {}[{pid}]", text(&service["command"]));
    }
    let _ = write!(out, "  from {}", endpoint(&event["client"]));
    for token in event["tokens"].as_array().into_iter().flatten() {
        let fingerprint = text(&token["fingerprint"]);
        let short: String = fingerprint.chars().take(FINGERPRINT_WIDTH).collect();
        let _ = write!(out, "  token {short}");
        if let Some(subject) = token["claims"]["sub"].as_str() {
            let _ = write!(out, " of {}", plain(subject));
        }
    }
    out
}

fn sensor(event: &Value) -> String {
    let mut out = format!("sensor {}", text(&event["state"]));
    for (cause, count) in event["loss"].as_object().into_iter().flatten() {
        let _ = write!(out, "  {}: {count}", plain(cause));
    }
    out
}

fn endpoint(end: &Value) -> String {
    match text(&end["ip"]) {
        ip if ip.contains(':') => format!("[{ip}]:{}", end["port"]),
        ip => format!("{ip}:{}", end["port"]),
    }
}

fn shorten(path: &Value) -> String {
    let path = text(path);
    if path.chars().count() <= PATH_WIDTH {
        return path;
    }
    path.chars().take(PATH_WIDTH).chain(['…']).collect()
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

/// Text without characters that would steer a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let shown = if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
            shown.chars().collect::<Vec<_>>()
        })
        .collect()
}
