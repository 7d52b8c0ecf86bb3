//! An event as people read it, from its JSON.

use std::fmt::Write as _;

use serde_json::Value;

/// The string at a place; empty where there is none.
pub(super) fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `IP:PORT` of `client` or `server`, an IPv6 address in brackets; empty where there is none.
pub(super) fn address(event: &Value, end: &str) -> String {
    let Some(end) = event.get(end) else { return String::new() };
    let (ip, port) = (text(end, "/ip"), end.get("port").and_then(Value::as_u64).unwrap_or(0));
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Who asks: whom a trusted proxy names, or the other end of the connection.
pub(super) fn client(event: &Value) -> &str {
    match text(event, "/client/forwarded_for") {
        "" => text(event, "/client/ip"),
        named => named,
    }
}

/// The command behind the service where it is known, its address else.
pub(super) fn service(event: &Value) -> String {
    match text(event, "/service/command") {
        "" => address(event, "server"),
        command => command.to_owned(),
    }
}

/// `sub` of the first token that shows it.
pub(super) fn subject(event: &Value) -> Option<&str> {
    let tokens = event.get("tokens")?.as_array()?;
    tokens.iter().find_map(|token| token.pointer("/claims/sub")?.as_str())
}

/// The findings' names, or the reasons' of what a model alone suspects.
pub(super) fn causes(event: &Value) -> String {
    let names = |list: &str| {
        let list = event.get(list).and_then(Value::as_array).into_iter().flatten();
        let mut names = list.map(|one| text(one, "/id")).collect::<Vec<_>>();
        names.dedup();
        names.join(", ")
    };
    let findings = names("findings");
    if findings.is_empty() { names("reasons") } else { findings }
}

/// What happened, without when and how grave it is.
pub(super) fn what(event: &Value) -> String {
    let mut out = String::new();
    match text(event, "/kind") {
        "request" => {
            let status = event.pointer("/response/status").map(ToString::to_string);
            let _ = write!(
                out,
                "{} {} {} from {}: {}",
                text(event, "/request/method"),
                text(event, "/request/path"),
                status.as_deref().unwrap_or("unanswered"),
                client(event),
                causes(event)
            );
        }
        "sensor" => {
            let _ = write!(out, "sensor {}", text(event, "/state"));
            let lost = event.get("loss").and_then(Value::as_object).into_iter().flatten();
            for (cause, count) in lost {
                let _ = write!(out, " {cause}={count}");
            }
        }
        "audit" => {
            let _ = write!(out, "{}", text(event, "/change"));
            for place in ["/entry/kind", "/entry/address", "/entry/subject", "/reason", "/model"] {
                match text(event, place) {
                    "" => {}
                    value => drop(write!(out, " {value}")),
                }
            }
        }
        kind => {
            let _ = write!(out, "{kind} {} from {}", text(event, "/reason"), client(event));
            match causes(event).as_str() {
                "" => {}
                causes => drop(write!(out, ": {causes}")),
            }
        }
    }
    if let Some(count) = event.pointer("/joined/count") {
        let _ = write!(out, " (and {count} more)");
    }
    out
}

/// An event in full, a line for each thing to know, for `--id` and for `top`.
pub(super) fn whole(event: &Value) -> Vec<String> {
    let mut lines = vec![
        format!("{} {} {}", text(event, "/time"), text(event, "/severity"), text(event, "/kind")),
        format!("id        {}", text(event, "/id")),
        format!("what      {}", what(event)),
    ];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<9} {value}"));
        }
    };
    add("verdict", text(event, "/verdict").to_owned());
    add("outcome", text(event, "/outcome").to_owned());
    if let Some(enforcement) = event.get("enforcement") {
        let dry = enforcement.get("dry_run").and_then(Value::as_bool) == Some(true);
        let dry = if dry { ", dry run" } else { "" };
        let (mode, action) = (text(enforcement, "/mode"), text(enforcement, "/action"));
        add("done", format!("{action} in mode {mode}{dry}"));
    }
    add("client", address(event, "client"));
    add("named", text(event, "/client/forwarded_for").to_owned());
    add("server", address(event, "server"));
    add("service", text(event, "/service/command").to_owned());
    add("host", text(event, "/request/host").to_owned());
    add("agent", text(event, "/request/user_agent").to_owned());
    if let Some(latency) = event.pointer("/response/latency_us") {
        let bytes = event.pointer("/response/bytes").map(ToString::to_string);
        add("answer", format!("{} bytes after {latency} µs", bytes.unwrap_or_default()));
    }
    if let Some(score) = event.get("score") {
        let profile = text(event, "/profile");
        let profile = if profile.is_empty() { "none" } else { profile };
        add("score", format!("{score} (profile: {profile})"));
    }
    for (list, name) in [("reasons", "because"), ("findings", "finding")] {
        for one in event.get(list).and_then(Value::as_array).into_iter().flatten() {
            let rank = match one.get("score") {
                Some(score) => score.to_string(),
                None => text(one, "/severity").to_owned(),
            };
            add(name, format!("{rank} {}: {}", text(one, "/id"), text(one, "/detail")));
        }
    }
    for token in event.get("tokens").and_then(Value::as_array).into_iter().flatten() {
        add("token", format!("{} in {}", text(token, "/fingerprint"), text(token, "/location")));
        add("deny key", text(token, "/deny_key").to_owned());
        let header = ["alg", "kid", "typ"].iter().filter_map(|name| {
            let value = token.get(*name)?.as_str()?;
            Some(format!("{name}={value}"))
        });
        add("header", header.collect::<Vec<_>>().join(" "));
        if let Some(claims) = token.get("claims") {
            add("claims", claims.to_string());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn every_event_reads_as_a_line_and_in_full() {
        for event in samples::all() {
            let mut line = Vec::new();
            event.write(&mut line);
            let value = serde_json::from_slice::<Value>(&line).unwrap();
            let what = what(&value);
            assert!(!what.is_empty() && !what.contains('\n'), "{what}");
            let whole = whole(&value);
            assert!(whole.len() >= 3 && whole.iter().all(|line| !line.contains('\n')));
            assert!(whole.iter().all(|line| !line.contains("eyJ")), "{whole:?}");
        }
    }

    #[test]
    fn a_request_reads_as_who_did_what() {
        let mut line = Vec::new();
        samples::request().write(&mut line);
        let event = serde_json::from_slice::<Value>(&line).unwrap();
        let what = what(&event);
        assert!(what.starts_with("GET /"), "{what}");
        assert!(what.ends_with("from 192.0.2.7: alg-none, token-in-query"), "{what}");
        assert_eq!((service(&event).as_str(), client(&event)), ("nginx", "192.0.2.7"));
        assert_eq!(address(&event, "server"), "198.51.100.2:8080");
    }
}
