//! Holds every event in the shapes of others to what those have published.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    ecs,
    format::{Format, Origin},
    ocsf,
};
use crate::{
    event::{Body, samples},
    finding::Severity,
};

const ECS: &str = include_str!("published/ecs.json");
const OCSF: &str = include_str!("published/ocsf.json");

fn origin() -> Origin {
    Origin { host: "web1".into(), version: "0.1.0" }
}

/// Every sample, and variants that the mappings tell apart.
fn events() -> Vec<Value> {
    let mut events = samples::all();
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "GET\u{7}"] {
        for (outcome, target, host) in [
            ("accepted", "/a?b=c?d", "[2001:db8::1]:8443"),
            ("attempt", "http://other.example/x", "api.example:"),
            ("error", "*", "api.example:99999"),
        ] {
            let mut event = samples::request();
            event.severity = Severity::Info;
            if let Body::Request(request) = &mut event.body {
                request.findings.clear();
                request.score = None;
                request.outcome = outcome;
                request.forwarded_for = Some("203.0.113.9".parse().unwrap());
                request.request = crate::event::RequestView::new(
                    method.as_bytes(),
                    target.as_bytes(),
                    Some(host.as_bytes()),
                    None,
                    1,
                );
                for token in &mut request.tokens {
                    token.verified_by = Some("configured");
                }
            }
            events.push(event);
        }
    }
    let mut values: Vec<Value> = Vec::new();
    for event in events {
        let mut line = Vec::new();
        event
            .write_joined(&mut line, Some(crate::event::Joined { count: 3, since: samples::at() }));
        values.push(serde_json::from_slice(&line).unwrap());
        line.clear();
        event.write(&mut line);
        values.push(serde_json::from_slice(&line).unwrap());
    }
    // Suspected by a model alone, and cut, spared, or not.
    for source in ["payload", "behaviour", "feedback"] {
        let mut event: Value = values.first().unwrap().clone();
        event["findings"] = serde_json::json!([]);
        event["reasons"] =
            serde_json::json!([{"source": source, "id": "rate", "score": 70, "detail": "9 times"}]);
        for (action, dry_run) in
            [("reset", false), ("reset", true), ("gone", false), ("spared", false)]
        {
            event["enforcement"] = serde_json::json!({
                "mode": "kill", "action": action, "dry_run": dry_run, "reasons": []
            });
            values.push(event.clone());
        }
    }
    values
}

fn leaves<'a>(prefix: &str, value: &'a Value, to: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                if name != "jotwatch" {
                    leaves(&name, value, to);
                }
            }
        }
        leaf => to.push((prefix.to_owned(), leaf)),
    }
}

fn ecs_type(kind: &str, value: &Value) -> bool {
    match kind {
        "keyword" | "wildcard" | "match_only_text" => value.is_string(),
        // Elasticsearch's long has a sign.
        "long" => value.as_i64().is_some(),
        "float" => value.is_number(),
        "ip" => value.as_str().is_some_and(|ip| ip.parse::<IpAddr>().is_ok()),
        "date" => value.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()),
        _ => false,
    }
}

#[test]
fn every_event_in_ecs_is_of_fields_that_elastic_has_published() {
    let published: Value = serde_json::from_str(ECS).unwrap();
    assert_eq!(published["version"], ecs::VERSION);
    let fields = published["fields"].as_object().unwrap();
    for event in events() {
        let document = Format::Ecs.value(event.clone(), &origin());
        let mut found = Vec::new();
        leaves("", &document, &mut found);
        for (name, value) in &found {
            let field = fields.get(name).unwrap_or_else(|| panic!("{name} is no field: {event}"));
            let kind = field["type"].as_str().unwrap();
            let values = match value {
                Value::Array(values) => {
                    assert!(field["array"] == true && !values.is_empty(), "{name}: {value}");
                    values.iter().collect()
                }
                value => {
                    assert!(field["array"] != true, "{name} is a list: {value}");
                    vec![*value]
                }
            };
            for value in values {
                assert!(ecs_type(kind, value), "{name} is {kind}: {value}");
                if let Some(allowed) = field["allowed"].as_object() {
                    assert!(allowed.contains_key(value.as_str().unwrap()), "{name}: {value}");
                }
            }
        }
        for (name, field) in fields {
            let there = found.iter().any(|(found, _)| found == name);
            assert!(field["required"] != true || there, "{name} is missing: {document}");
        }
        // A type belongs to one of the categories.
        let texts = |name: &str| -> Vec<String> {
            serde_json::from_value(document["event"][name].clone()).unwrap()
        };
        for kind in texts("type") {
            let expected = texts("category").iter().any(|category| {
                let types = fields["event.category"]["allowed"][category].as_array().unwrap();
                types.iter().any(|expected| *expected == kind.as_str())
            });
            assert!(expected, "{kind} is no type of {:?}", texts("category"));
        }
        assert_eq!(document["event"]["id"], event["id"]);
        assert_eq!(document["jotwatch"]["findings"], event["findings"], "nothing is lost");
    }
}

fn ocsf_type(kind: &str, value: &Value) -> bool {
    match kind {
        "integer_t" | "long_t" | "timestamp_t" => value.as_i64().is_some(),
        "port_t" => value.as_u64().is_some_and(|port| port <= 65_535),
        "boolean_t" => value.is_boolean(),
        "ip_t" => value.as_str().is_some_and(|ip| ip.parse::<IpAddr>().is_ok()),
        "json_t" => true,
        "string_t" | "url_t" | "hostname_t" | "username_t" | "process_name_t"
        | "resource_uid_t" => value.is_string(),
        _ => false,
    }
}

/// Holds an object to its definition.
fn conforms(published: &Value, definition: &Value, value: &Value, at: &str, profiles: &[String]) {
    let attributes = definition["attributes"].as_object().unwrap();
    let members = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
    for (name, attribute) in attributes {
        let ours = attribute["profile"].as_str().is_none_or(|of| profiles.iter().any(|p| p == of));
        let there = members.contains_key(name);
        assert!(attribute["required"] != true || !ours || there, "{at}.{name} is missing: {value}");
        assert!(ours || !there, "{at}.{name} is of a profile that is not applied");
    }
    if let Some(names) = definition["constraints"]["at_least_one"].as_array() {
        let any = names.iter().any(|name| members.contains_key(name.as_str().unwrap()));
        assert!(any, "{at} has none of {names:?}");
    }
    for (name, value) in members {
        let at = format!("{at}.{name}");
        let attribute = attributes.get(name).unwrap_or_else(|| panic!("{at} is no attribute"));
        let kind = attribute["type"].as_str().unwrap();
        assert_eq!(value.is_array(), attribute["array"] == true, "{at}: {value}");
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            if let Some(allowed) = attribute["enum"].as_array() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert!(allowed.iter().any(|each| *each == text.as_str()), "{at}: {value}");
            }
            match (attribute["object"] == true, kind) {
                (true, "object") => assert!(value.is_object(), "{at}"),
                (true, kind) => {
                    let definition = &published["objects"][kind];
                    conforms(published, definition, value, &at, profiles);
                }
                (false, kind) => assert!(ocsf_type(kind, value), "{at} is {kind}: {value}"),
            }
        }
    }
}

#[test]
fn every_event_in_ocsf_is_of_a_class_that_is_published() {
    let published: Value = serde_json::from_str(OCSF).unwrap();
    assert_eq!(published["version"], ocsf::VERSION);
    let classes = published["classes"].as_object().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for event in events() {
        let value = Format::Ocsf.value(event.clone(), &origin());
        let uid = value["class_uid"].as_u64().unwrap();
        seen.insert(uid);
        let (name, class) = classes.iter().find(|(_, class)| class["uid"] == uid).unwrap();
        let profiles: Vec<String> =
            serde_json::from_value(value["metadata"]["profiles"].clone()).unwrap();
        conforms(&published, class, &value, name, &profiles);
        assert_eq!(value["category_uid"], class["category_uid"]);
        let activity = value["activity_id"].as_u64().unwrap();
        assert_eq!(value["type_uid"], uid * 100 + activity);
        assert_eq!(value["metadata"]["uid"], event["id"]);
        assert_eq!(value["unmapped"]["findings"], event["findings"], "nothing is lost");
        let at: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(value["time"], at.as_millisecond());
    }
    assert_eq!(Vec::from_iter(seen), [2004, 3004, 4001, 6002, 6003]);
}

#[test]
fn a_cut_connection_is_denied_and_one_that_would_be_is_not() {
    let of = |action: &str, dry_run: bool| {
        let event = serde_json::json!({"kind": "request", "enforcement": {
            "mode": "kill", "action": action, "dry_run": dry_run, "reasons": []
        }, "findings": [{"id": "alg-none", "severity": "critical"}]});
        let ocsf = Format::Ocsf.value(event.clone(), &origin());
        let ecs = Format::Ecs.value(event, &origin());
        (ocsf["action"].clone(), ocsf["disposition"].clone(), ecs["event"]["type"].clone())
    };
    let json = serde_json::json!([
        of("reset", false),
        of("reset", true),
        of("gone", false),
        of("spared", false)
    ]);
    assert_eq!(
        json,
        serde_json::json!([
            ["Denied", "Reset", ["access", "denied"]],
            ["Observed", "Detected", ["access"]],
            ["Observed", "Detected", ["access"]],
            ["Allowed", "Allowed", ["access", "allowed"]],
        ])
    );
}

#[test]
fn who_claims_to_be_somebody_without_a_key_that_says_so_is_not_a_user() {
    let of = |verified: &str| {
        let event = serde_json::json!({"kind": "request", "tokens": [
            {"claims": {"sub": "alice"}, "verified_by": verified}], "findings": []});
        let mut event = event;
        if verified.is_empty() {
            event["tokens"][0].as_object_mut().unwrap().remove("verified_by");
        }
        let ecs = Format::Ecs.value(event, &origin());
        (ecs["user"]["id"].clone(), ecs["related"]["user"][0].clone())
    };
    assert_eq!(of("configured"), ("alice".into(), "alice".into()));
    assert_eq!(of(""), (Value::Null, "alice".into()));
}

#[test]
fn what_is_no_event_stays_as_it_is() {
    for line in [&b"\0\0"[..], b"[]", b"7", b""] {
        for format in [Format::Json, Format::Ecs, Format::Ocsf] {
            assert_eq!(&*format.line(line, &origin()), line);
        }
    }
    // Whatever it lacks.
    for event in [serde_json::json!({}), serde_json::json!({"kind": 7, "findings": {"id": []}})] {
        Format::Ecs.value(event.clone(), &origin());
        Format::Ocsf.value(event, &origin());
    }
}
