//! Events in the Open Cybersecurity Schema Framework. What it has no attribute for stands under
//! `unmapped`, as docs/events.md names it.
//!
//! - what has findings, or is suspected by a model: Detection Finding (2004);
//! - a request without: API Activity (6003); a connection without: Network Activity (4001);
//! - the sensor itself: Application Lifecycle (6002); a change by people: Entity Management (3004).
//!
//! Source: the schema in version 1.5.0 (`published/ocsf.json` holds what the tests compare with).

use serde_json::{Value, json};

use super::format::{Document, Origin, View, rest};
use crate::{finding::Severity, time::Time};

/// The version of the schema.
pub(super) const VERSION: &str = "1.5.0";

/// Members that have attributes of their own, in every class.
const PLACED: [&str; 7] = ["id", "time", "schema", "client", "server", "request", "score"];

/// The methods that `http_request.http_method` may have.
const METHODS: [&str; 8] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"];

/// A class of events, as the schema numbers it.
struct Class {
    uid: u32,
    name: &'static str,
    category: u32,
    category_name: &'static str,
}

const DETECTION: Class =
    Class { uid: 2004, name: "Detection Finding", category: 2, category_name: "Findings" };
const ENTITY: Class = Class {
    uid: 3004,
    name: "Entity Management",
    category: 3,
    category_name: "Identity & Access Management",
};
const NETWORK: Class =
    Class { uid: 4001, name: "Network Activity", category: 4, category_name: "Network Activity" };
const LIFECYCLE: Class = Class {
    uid: 6002,
    name: "Application Lifecycle",
    category: 6,
    category_name: "Application Activity",
};
const API: Class =
    Class { uid: 6003, name: "API Activity", category: 6, category_name: "Application Activity" };

const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// Milliseconds since 1970.
fn millis(time: Option<&str>) -> Option<u64> {
    Some(Time::parse(time?).ok()?.unix_nanos() / 1_000_000)
}

/// An event of docs/events.md as an event of the schema.
pub(super) fn from_event(event: &Value, origin: &Origin) -> Value {
    let view = View(event);
    let mut to = Document::default();
    match view.text("/kind") {
        Some("sensor") => lifecycle(&view, origin, &mut to),
        Some("audit") => change(&view, &mut to),
        Some("request") if !view.is_detection() => api_activity(&view, &mut to),
        Some("flow") if !view.is_detection() => {
            let refused = view.is_cut();
            class(&mut to, &NETWORK, if refused { (5, "Refuse") } else { (6, "Traffic") });
            traffic(&view, &mut to);
            controlled(&view, &mut to);
        }
        _ => detection(&view, origin, &mut to),
    }
    let (severity_id, severity) = severity(view.severity());
    to.set("severity_id", severity_id);
    to.set("severity", severity);
    to.set("time", millis(view.text("/time")).unwrap_or_default());
    to.set("message", view.message());
    if let Some(joined) = view.number("/joined/count") {
        to.set("count", joined.saturating_add(1));
        to.maybe("start_time", millis(view.text("/joined/since")));
        to.maybe("end_time", millis(view.text("/time")));
    } else {
        to.maybe("start_time", millis(view.text("/since")));
    }
    metadata(&view, origin, &mut to);
    to.set("unmapped", rest(event, &PLACED));
    to.into()
}

fn class(to: &mut Document, class: &Class, (activity, name): (u32, &str)) {
    to.set("class_uid", class.uid);
    to.set("class_name", class.name);
    to.set("category_uid", class.category);
    to.set("category_name", class.category_name);
    to.set("activity_id", activity);
    to.set("activity_name", name);
    to.set("type_uid", class.uid * 100 + activity);
    to.set("type_name", format!("{}: {name}", class.name));
}

fn metadata(view: &View<'_>, origin: &Origin, to: &mut Document) {
    to.set("metadata.version", VERSION);
    to.set("metadata.product", product(origin));
    to.maybe("metadata.uid", view.text("/id"));
    to.maybe("metadata.original_time", view.text("/time"));
    to.maybe("metadata.log_name", view.text("/kind"));
    to.set("metadata.log_provider", "jotwatch");
    to.maybe("metadata.log_version", view.text("/schema"));
    to.maybe("metadata.event_code", view.finding().map(|(id, _)| id.as_str()));
    to.set("metadata.profiles", ["host", "security_control"].as_slice());
    if !origin.host.is_empty() {
        // 0: what kind of host it is is not known.
        to.set("device", json!({ "hostname": origin.host, "type_id": 0, "type": "Unknown" }));
    }
}

fn product(origin: &Origin) -> Value {
    json!({ "name": "jotwatch", "vendor_name": "Jotwatch", "version": origin.version })
}

fn detection(view: &View<'_>, origin: &Origin, to: &mut Document) {
    class(to, &DETECTION, (1, "Create"));
    to.set("status_id", 1);
    to.set("status", "New");
    to.set("is_alert", true);
    to.maybe("risk_score", view.number("/score"));
    let mut info = Document::default();
    info.maybe("uid", view.text("/id"));
    info.set("product", product(origin));
    info.maybe("created_time", millis(view.text("/time")));
    info.maybe("first_seen_time", millis(view.text("/joined/since").or(view.text("/time"))));
    info.maybe("last_seen_time", millis(view.text("/time")));
    let mut types = view.texts("/findings", "id");
    types.sort_unstable();
    types.dedup();
    info.list("types", types);
    info.list("data_sources", view.texts("/tokens", "location"));
    match view.finding() {
        Some((id, detail)) => {
            info.set("title", id.summary());
            info.set("desc", detail);
            info.set("analytic", analytic(id.as_str(), Some(id.summary()), (1, "Rule")));
        }
        None => {
            let reason = view.list("/reasons").first();
            let of = |name| reason.and_then(|reason| reason.get(name)?.as_str());
            let id = of("id").unwrap_or("unknown");
            let kind = match of("source") {
                Some("behaviour") => (2, "Behavioral"),
                Some("payload") => (4, "Learning (ML/DL)"),
                Some("finding") => (1, "Rule"),
                _ => (99, "Other"),
            };
            info.set("title", format!("Suspected: {id}"));
            info.maybe("desc", of("detail"));
            info.set("analytic", analytic(id, None, kind));
        }
    }
    to.set("finding_info", info);
    let mut evidence = Document::default();
    traffic(view, &mut evidence);
    if let Some(request) = http_request(view) {
        evidence.set("http_request", request);
        evidence.maybe("http_response", http_response(view));
        evidence.set("api", api(view));
    }
    if let Some(subject) = view.subject() {
        evidence.set("actor", json!({ "user": { "uid": subject, "name": subject } }));
    }
    evidence.maybe("process", process(view));
    if !evidence.is_empty() {
        to.set("evidences", vec![Value::from(evidence)]);
    }
    controlled(view, to);
}

fn analytic(id: &str, desc: Option<&str>, (type_id, kind): (u32, &str)) -> Value {
    let mut to = Document::default();
    to.set("uid", id);
    to.set("name", id);
    to.maybe("desc", desc);
    to.set("type_id", type_id);
    to.set("type", kind);
    to.into()
}

/// What was done about it: the attributes of the profile `security_control`.
fn controlled(view: &View<'_>, to: &mut Document) {
    let (action, name, disposition, said) = match () {
        () if view.is_cut() => (2, "Denied", 21, "Reset"),
        () if view.is_spared() => (1, "Allowed", 1, "Allowed"),
        () => (3, "Observed", 15, "Detected"),
    };
    to.set("action_id", action);
    to.set("action", name);
    to.set("disposition_id", disposition);
    to.set("disposition", said);
}

fn api_activity(view: &View<'_>, to: &mut Document) {
    let activity = match view.text("/request/method") {
        Some("POST") => (1, "Create"),
        Some("GET" | "HEAD") => (2, "Read"),
        Some("PUT" | "PATCH") => (3, "Update"),
        Some("DELETE") => (4, "Delete"),
        _ => (99, "Other"),
    };
    class(to, &API, activity);
    let (status_id, status) = match view.text("/outcome") {
        Some("accepted" | "bypass") => (1, "Success"),
        Some("attempt" | "error") => (2, "Failure"),
        _ => (0, "Unknown"),
    };
    to.set("status_id", status_id);
    to.set("status", status);
    to.maybe("risk_score", view.number("/score"));
    to.set("api", api(view));
    to.set(
        "actor",
        match view.subject() {
            Some(subject) => json!({ "user": { "uid": subject, "name": subject } }),
            None => json!({ "app_name": view.text("/request/user_agent").unwrap_or("unknown") }),
        },
    );
    traffic(view, to);
    to.maybe("http_request", http_request(view));
    to.maybe("http_response", http_response(view));
    controlled(view, to);
}

fn lifecycle(view: &View<'_>, origin: &Origin, to: &mut Document) {
    let activity = match view.text("/state") {
        Some("started") => (3, "Start"),
        Some("stopped") => (4, "Stop"),
        Some("config-reloaded") => (8, "Update"),
        _ => (99, "Other"),
    };
    class(to, &LIFECYCLE, activity);
    to.set("app", product(origin));
}

fn change(view: &View<'_>, to: &mut Document) {
    let change = view.text("/change").unwrap_or_default();
    let activity = match change.rsplit_once('-').map_or(change, |(_, verb)| verb) {
        "add" => (1, "Create"),
        "remove" | "flush" => (4, "Delete"),
        _ => (3, "Update"),
    };
    class(to, &ENTITY, activity);
    to.maybe("comment", view.text("/reason"));
    let kind = view
        .text("/entry/kind")
        .unwrap_or_else(|| change.split_once('-').map_or(change, |(list, _)| list));
    let names =
        ["/entry/token_key", "/entry/address", "/entry/subject", "/entry/issuer", "/entry/route"];
    let name = names.iter().chain(&["/event", "/model", "/file"]).find_map(|name| view.text(name));
    let cookie = view.number("/entry/cookie").map(|cookie| cookie.to_string());
    let name = name.map(str::to_owned).or(cookie).unwrap_or_else(|| kind.to_owned());
    to.set("entity", json!({ "name": name, "type": kind, "type_id": 99 }));
    if let Some(uid) = view.number("/by/uid") {
        let mut actor = Document::default();
        actor.set("user.uid", uid.to_string());
        actor.maybe("process.pid", view.number("/by/pid"));
        to.set("actor", actor);
    }
}

/// `src_endpoint`, `dst_endpoint`.
fn traffic(view: &View<'_>, to: &mut Document) {
    if let Some(ip) = view.text("/client/ip") {
        let forwarded = view.text("/client/forwarded_for");
        let mut client = Document::default();
        client.set("ip", forwarded.unwrap_or(ip));
        match forwarded {
            None => client.maybe("port", view.number("/client/port")),
            Some(_) => client.set("intermediate_ips", vec![ip]),
        }
        if let Some(number) = view.number("/client/asn") {
            client.set("autonomous_system", json!({ "number": number }));
        }
        to.set("src_endpoint", client);
    }
    if let Some(ip) = view.text("/server/ip") {
        let mut server = Document::default();
        server.set("ip", ip);
        server.maybe("port", view.number("/server/port"));
        server.maybe("svc_name", view.text("/service/command"));
        to.set("dst_endpoint", server);
    }
}

fn process(view: &View<'_>) -> Option<Value> {
    let mut to = Document::default();
    to.set("pid", view.number("/service/pid")?);
    to.maybe("name", view.text("/service/command"));
    Some(to.into())
}

fn api(view: &View<'_>) -> Value {
    let mut to = Document::default();
    let of = |name| view.text(name).unwrap_or_default();
    let (path, _) = view.target();
    let path = path.unwrap_or_else(|| of("/request/path"));
    to.set("operation", format!("{} {path}", of("/request/method")));
    to.set("request.uid", of("/id"));
    to.maybe("response.code", view.number("/response/status"));
    to.maybe("service.name", view.text("/service/command"));
    to.into()
}

fn http_request(view: &View<'_>) -> Option<Value> {
    let method = view.text("/request/method")?;
    let mut to = Document::default();
    to.maybe("http_method", Some(method).filter(|method| METHODS.contains(method)));
    to.maybe("user_agent", view.text("/request/user_agent"));
    to.maybe("length", view.number("/request/bytes"));
    to.list("x_forwarded_for", view.text("/client/forwarded_for").into_iter().collect());
    let (path, query) = view.target();
    let (host, port) = view.host();
    to.maybe("url.url_string", view.text("/request/path"));
    to.maybe("url.path", path);
    to.maybe("url.query_string", query);
    to.maybe("url.hostname", host);
    to.maybe("url.port", port);
    Some(to.into())
}

fn http_response(view: &View<'_>) -> Option<Value> {
    let mut to = Document::default();
    to.set("code", view.number("/response/status")?);
    to.maybe("length", view.number("/response/bytes"));
    // Milliseconds.
    to.maybe("latency", view.number("/response/latency_us").map(|latency| latency / 1_000));
    Some(to.into())
}
