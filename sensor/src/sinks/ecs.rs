//! Events in the Elastic Common Schema. What it has no field for stands under `jotwatch`, as
//! docs/events.md names it.
//!
//! Source: ECS field reference 8.11 (`published/ecs.json` holds what the tests compare with).

use serde_json::Value;

use super::format::{Document, Origin, View, rest};
use crate::finding::Severity;

/// The version of the schema.
pub(super) const VERSION: &str = "8.11.0";

/// Members that have fields of their own.
const PLACED: [&str; 8] =
    ["id", "time", "schema", "client", "server", "request", "response", "score"];

/// How grave, in the numbers of Elastic's own detections.
const fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

/// An event of docs/events.md as a document of the schema.
pub(super) fn from_event(event: &Value, origin: &Origin) -> Value {
    let view = View(event);
    let mut to = Document::default();
    to.maybe("@timestamp", view.text("/time"));
    to.set("ecs.version", VERSION);
    to.set("message", view.message());
    about(&view, &mut to);
    ends(&view, &mut to);
    request(&view, &mut to);
    if let Some((id, detail)) = view.finding() {
        to.set("rule.id", id.as_str());
        to.set("rule.name", id.as_str());
        to.set("rule.description", id.summary());
        to.set("rule.ruleset", "jotwatch");
        to.set("event.code", id.as_str());
        to.set("event.reason", detail);
    }
    to.maybe("process.pid", view.number("/service/pid"));
    to.maybe("process.name", view.text("/service/command"));
    to.maybe("service.name", view.text("/service/command"));
    to.maybe("service.address", view.text("/service/listen"));
    to.set("observer.vendor", "Jotwatch");
    to.set("observer.product", "jotwatch");
    to.set("observer.type", "sensor");
    to.set("observer.version", origin.version);
    if !origin.host.is_empty() {
        to.set("observer.hostname", origin.host.as_str());
        to.set("host.name", origin.host.as_str());
        to.set("host.hostname", origin.host.as_str());
    }
    to.set("jotwatch", rest(event, &PLACED));
    to.into()
}

/// `event.*`
fn about(view: &View<'_>, to: &mut Document) {
    to.maybe("event.id", view.text("/id"));
    to.set("event.module", "jotwatch");
    to.set("event.provider", "jotwatch");
    let kind = view.text("/kind").unwrap_or_default();
    to.set("event.dataset", format!("jotwatch.{kind}"));
    to.set("event.kind", if view.is_detection() { "alert" } else { "event" });
    to.set("event.severity", severity(view.severity()));
    to.maybe("event.risk_score", view.number("/score"));
    let (action, outcome) = match kind {
        "request" => {
            let outcome = view.text("/outcome").unwrap_or_default();
            let said = match outcome {
                "bypass" | "accepted" => "success",
                "attempt" | "error" => "failure",
                _ => "unknown",
            };
            (format!("request-{outcome}"), said)
        }
        "flow" => (format!("flow-{}", view.text("/reason").unwrap_or_default()), "unknown"),
        "sensor" => (view.text("/state").unwrap_or_default().to_owned(), "success"),
        "audit" => (view.text("/change").unwrap_or_default().to_owned(), "success"),
        _ => ("key-seen".to_owned(), "unknown"),
    };
    to.set("event.action", action);
    to.set("event.outcome", outcome);
    let (mut categories, mut types) = classes(view, kind);
    if view.is_detection() {
        categories.push("intrusion_detection");
    }
    if view.is_cut() {
        types.push("denied");
    } else if view.is_spared() {
        types.push("allowed");
    }
    to.list("event.category", categories);
    to.list("event.type", types);
    to.maybe("event.created", view.text("/time"));
    to.maybe("event.start", view.text("/joined/since").or(view.text("/since")));
    to.maybe("event.end", view.text("/joined/since").and(view.text("/time")));
    let latency = view.number("/response/latency_us");
    // Nanoseconds.
    to.maybe("event.duration", latency.map(|latency| latency.saturating_mul(1_000)));
}

/// `event.category` and `event.type`.
fn classes(view: &View<'_>, kind: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    match kind {
        "request" => (vec!["api", "web"], vec!["access"]),
        "flow" => (vec!["network"], vec!["connection", "protocol"]),
        "sensor" => {
            let state = match view.text("/state") {
                Some("started") => "start",
                Some("stopped") => "end",
                Some("config-reloaded") => "change",
                _ => "info",
            };
            (vec!["process"], vec![state])
        }
        "audit" => {
            let change = view.text("/change").unwrap_or_default();
            let change = match change.rsplit_once('-').map_or(change, |(_, verb)| verb) {
                "add" => "creation",
                "remove" | "flush" => "deletion",
                _ => "change",
            };
            (vec!["configuration"], vec![change])
        }
        _ => (vec!["authentication"], vec!["info"]),
    }
}

/// Who speaks with whom: `source` and `destination` as the packets have it, `client` as a trusted
/// proxy says.
fn ends(view: &View<'_>, to: &mut Document) {
    let peer = view.text("/client/ip");
    let forwarded = view.text("/client/forwarded_for");
    let port = view.number("/client/port");
    for (name, ip, port) in [
        ("source", peer, port),
        ("client", forwarded.or(peer), port.filter(|_| forwarded.is_none())),
        ("destination", view.text("/server/ip"), view.number("/server/port")),
        ("server", view.text("/server/ip"), view.number("/server/port")),
    ] {
        to.maybe(&format!("{name}.ip"), ip);
        to.maybe(&format!("{name}.address"), ip);
        to.maybe(&format!("{name}.port"), port);
    }
    to.maybe("client.as.number", view.number("/client/asn"));
    to.maybe("network.forwarded_ip", forwarded);
    let mut addresses: Vec<&str> =
        [peer, forwarded, view.text("/server/ip")].into_iter().flatten().collect();
    addresses.sort_unstable();
    addresses.dedup();
    if !addresses.is_empty() {
        let v6 = peer.is_some_and(|ip| ip.contains(':'));
        to.set("network.type", if v6 { "ipv6" } else { "ipv4" });
        to.set("network.transport", "tcp");
    }
    to.list("related.ip", addresses);
}

/// What was asked and answered, and as whom.
fn request(view: &View<'_>, to: &mut Document) {
    to.maybe("http.request.method", view.text("/request/method"));
    to.maybe("http.request.bytes", view.number("/request/bytes"));
    to.maybe("http.response.status_code", view.number("/response/status"));
    to.maybe("http.response.bytes", view.number("/response/bytes"));
    to.maybe("user_agent.original", view.text("/request/user_agent"));
    to.maybe("url.original", view.text("/request/path"));
    let (path, query) = view.target();
    to.maybe("url.path", path);
    to.maybe("url.query", query);
    let (host, port) = view.host();
    to.maybe("url.domain", host);
    to.maybe("url.port", port);
    to.list("related.hosts", host.into_iter().collect());
    if view.text("/request/method").is_some() {
        to.set("network.protocol", "http");
    }
    to.maybe("user.id", view.subject());
    let subjects = view.list("/tokens").iter();
    let subjects = subjects.filter_map(|token| token.pointer("/claims/sub")?.as_str());
    let mut subjects: Vec<&str> = subjects.collect();
    subjects.sort_unstable();
    subjects.dedup();
    to.list("related.user", subjects);
}
