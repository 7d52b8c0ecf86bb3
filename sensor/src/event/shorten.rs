//! An event's line within a limit: what does not fit is left out member by member, never in the
//! middle of one.

use serde_json::{Map, Value};

use super::text::head;
use crate::finding::Severity;

/// Every event fits into this many bytes when it is shortened.
pub const EVENT_MIN: usize = 1024;

/// Members that are text of others, which a shorter one may stand for.
const TEXTS: [&str; 17] = [
    "method",
    "path",
    "host",
    "location",
    "scheme",
    "alg",
    "kid",
    "typ",
    "command",
    "issuer",
    "file",
    "token_key",
    "address",
    "subject",
    "route",
    "model",
    "version",
];

/// What a line leaves out.
#[derive(Clone, Copy)]
struct Cut {
    /// User agent and cgroup.
    context: bool,
    /// Bytes of each text.
    text: usize,
    /// Bytes of each detail.
    detail: usize,
    findings: usize,
    tokens: usize,
    causes: usize,
}

/// Claims go first, in all of them.
const STEPS: [Cut; 5] = [
    Cut { context: true, text: 1 << 20, detail: 256, findings: 32, tokens: 16, causes: 64 },
    Cut { context: false, text: 512, detail: 256, findings: 32, tokens: 16, causes: 64 },
    Cut { context: false, text: 128, detail: 64, findings: 16, tokens: 4, causes: 32 },
    Cut { context: false, text: 48, detail: 0, findings: 8, tokens: 1, causes: 16 },
    Cut { context: false, text: 12, detail: 0, findings: 2, tokens: 0, causes: 4 },
];

/// The event as JSON of at most `limit` bytes, or of [`EVENT_MIN`] where that is more: without
/// claims, then without user agent and cgroup, then with shorter texts and details, fewer tokens
/// and findings, the gravest. It says `"shortened":true`; its members are in the order of their
/// names. What is no event comes back as it is.
#[must_use]
pub fn shorten(event: &Value, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for cut in STEPS {
        let mut event = event.clone();
        if let Value::Object(members) = &mut event {
            cut.event(members);
            members.insert("shortened".to_owned(), Value::Bool(true));
        }
        // Writing a value to memory does not fail.
        out = serde_json::to_vec(&event).unwrap_or_default();
        if out.len() <= limit {
            break;
        }
    }
    out
}

impl Cut {
    /// Nothing but what the schema requires.
    const fn bare(self) -> bool {
        self.tokens == 0
    }

    fn event(self, event: &mut Map<String, Value>) {
        if self.bare() {
            event.remove("profile");
            event.remove("reasons");
        }
        // Of a flow it is a name of ours.
        if event.get("kind").is_some_and(|kind| kind == "audit") {
            self.text_of(event, "reason");
        }
        self.object(event);
        if self.bare() {
            event.remove("lost_events");
        }
        for name in ["loss", "lost_events"] {
            if let Some(Value::Object(causes)) = event.get_mut(name) {
                let names = causes.keys().skip(self.causes).cloned().collect::<Vec<_>>();
                for name in names {
                    causes.remove(&name);
                }
            }
        }
        if let Some(Value::Object(enforcement)) = event.get_mut("enforcement") {
            if self.bare() {
                for name in ["denied", "deny_seconds", "score", "allowed_by"] {
                    enforcement.remove(name);
                }
            }
            if let Some(Value::Array(reasons)) = enforcement.get_mut("reasons") {
                reasons.truncate(if self.bare() { 1 } else { self.findings });
            }
        }
    }

    /// Texts, lists and details, at any depth.
    fn object(self, object: &mut Map<String, Value>) {
        object.remove("claims");
        if !self.context {
            object.remove("user_agent");
            object.remove("cgroup");
        }
        for name in TEXTS {
            self.text_of(object, name);
        }
        match object.get_mut("detail") {
            Some(_) if self.detail == 0 => drop(object.remove("detail")),
            Some(Value::String(detail)) => within(detail, self.detail),
            _ => {}
        }
        for (name, value) in object.iter_mut() {
            match value {
                Value::Object(inner) => self.object(inner),
                Value::Array(elements) => {
                    match name.as_str() {
                        "findings" => gravest(elements, self.findings),
                        "reasons" => elements.truncate(self.findings),
                        "tokens" => elements.truncate(self.tokens),
                        _ => {}
                    }
                    for element in elements {
                        if let Value::Object(inner) = element {
                            self.object(inner);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn text_of(self, object: &mut Map<String, Value>, name: &str) {
        if let Some(Value::String(text)) = object.get_mut(name) {
            within(text, self.text);
        }
    }
}

fn within(text: &mut String, limit: usize) {
    if let (kept, false) = head(text, limit) {
        *text = format!("{kept}…");
    }
}

/// Keeps the gravest, those of one severity in their order, where not all may stay.
fn gravest(findings: &mut Vec<Value>, most: usize) {
    if findings.len() > most {
        let rank = |finding: &Value| {
            let name = finding.get("severity").and_then(Value::as_str);
            Severity::ALL.iter().position(|known| Some(known.as_str()) == name)
        };
        findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding)));
        findings.truncate(most);
    }
}
