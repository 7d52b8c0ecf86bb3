//! The shapes that events can be delivered in.

use std::{borrow::Cow, sync::OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ecs, ocsf};
use crate::finding::{FindingId, Severity};

/// The shape of an event on its way to a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// As docs/events.md has it.
    #[default]
    Json,
    /// Elastic Common Schema.
    Ecs,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

/// Who tells of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The name of the host; empty where it is not known.
    pub(crate) host: String,
    /// The version of the sensor.
    pub(crate) version: &'static str,
}

impl Origin {
    /// This process.
    pub(crate) fn own() -> &'static Self {
        static OWN: OnceLock<Origin> = OnceLock::new();
        OWN.get_or_init(|| Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

impl Format {
    /// An event's line in this shape, without a line feed. What is no event stays as it is.
    pub(super) fn line<'a>(self, line: &'a [u8], origin: &Origin) -> Cow<'a, [u8]> {
        if self == Self::Json {
            return Cow::Borrowed(line);
        }
        let Ok(event @ Value::Object(_)) = serde_json::from_slice(line) else {
            return Cow::Borrowed(line);
        };
        Cow::Owned(self.value(event, origin).to_string().into_bytes())
    }

    /// An event in this shape.
    pub(super) fn value(self, event: Value, origin: &Origin) -> Value {
        match self {
            Self::Json => event,
            Self::Ecs => ecs::from_event(&event, origin),
            Self::Ocsf => ocsf::from_event(&event, origin),
        }
    }
}

/// What the shapes of others ask of an event in the same way.
pub(super) struct View<'a>(pub(super) &'a Value);

impl<'a> View<'a> {
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// A number, where receivers keep it in 64 bits with a sign.
    pub(super) fn number(&self, pointer: &str) -> Option<i64> {
        let number = self.0.pointer(pointer)?;
        number.as_u64().map(|number| i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(super) fn list(&self, pointer: &str) -> &'a [Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Of a list of objects, the texts of one member.
    pub(super) fn texts(&self, list: &str, member: &str) -> Vec<&'a str> {
        self.list(list).iter().filter_map(|each| each.get(member)?.as_str()).collect()
    }

    pub(super) fn severity(&self) -> Severity {
        let name = self.text("/severity").unwrap_or_default();
        let all = Severity::ALL.iter();
        all.copied().find(|each| each.as_str() == name).unwrap_or(Severity::Info)
    }

    /// The gravest finding: findings stand in no order.
    pub(super) fn finding(&self) -> Option<(FindingId, &'a str)> {
        let known = self.list("/findings").iter().filter_map(|finding| {
            let name = finding.get("id")?.as_str()?;
            let id = FindingId::ALL.iter().copied().find(|id| id.as_str() == name)?;
            Some((id, finding.get("detail").and_then(Value::as_str).unwrap_or_default()))
        });
        // Of equals the first.
        known.reduce(|best, each| match each.0.severity() > best.0.severity() {
            true => each,
            false => best,
        })
    }

    /// Whether there is something that somebody should look into.
    pub(super) fn is_detection(&self) -> bool {
        !self.list("/findings").is_empty() || !self.list("/reasons").is_empty()
    }

    /// Whether the connection was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.text("/reason") == Some("refused")
            || self.text("/enforcement/action") == Some("reset")
                && self.0.pointer("/enforcement/dry_run") == Some(&Value::Bool(false))
    }

    /// Whether the allowlist forbade to cut it.
    pub(super) fn is_spared(&self) -> bool {
        self.text("/enforcement/action") == Some("spared")
    }

    /// The subject of a token that a key vouches for: what others claim is only a claim.
    pub(super) fn subject(&self) -> Option<&'a str> {
        self.list("/tokens").iter().find_map(|token| {
            token.get("verified_by")?;
            token.pointer("/claims/sub")?.as_str()
        })
    }

    /// Path and query of the request target, where it has a path (RFC 9112, section 3.2.1).
    pub(super) fn target(&self) -> (Option<&'a str>, Option<&'a str>) {
        let Some(target) = self.text("/request/path") else { return (None, None) };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        (path.starts_with('/').then_some(path), query)
    }

    /// Name and port of the `Host` field.
    pub(super) fn host(&self) -> (Option<&'a str>, Option<u16>) {
        let Some(host) = self.text("/request/host") else { return (None, None) };
        let port = host.rsplit_once(':').and_then(|(name, port)| {
            let whole = !name.contains(':') || name.ends_with(']');
            let digits = whole && port.bytes().all(|b| b.is_ascii_digit());
            Some((name, digits.then(|| port.parse().ok())??))
        });
        let (name, port) = port.map_or((host, None), |(name, port)| (name, Some(port)));
        (Some(name).filter(|name| !name.is_empty()), port)
    }

    /// One sentence for people.
    pub(super) fn message(&self) -> String {
        let kind = self.text("/kind").unwrap_or("event");
        let what = match self.finding() {
            Some((id, "")) => id.summary().to_owned(),
            Some((id, detail)) => format!("{} ({id}: {detail})", id.summary()),
            None => match self.list("/reasons").first() {
                Some(reason) => {
                    let of = |name| reason.get(name).and_then(Value::as_str).unwrap_or_default();
                    format!("Suspected by {}: {} {}", of("source"), of("id"), of("detail"))
                }
                None => {
                    let said = ["/state", "/change", "/reason", "/verdict"];
                    let said = said.iter().find_map(|name| self.text(name)).unwrap_or_default();
                    format!("{kind}: {said}")
                }
            },
        };
        match (self.text("/request/method"), self.text("/request/path")) {
            (Some(method), Some(path)) => format!("{what} {method} {path}"),
            _ => what,
        }
    }
}

/// Puts nested members in place by dotted names, and leaves out what is not there.
#[derive(Default)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let mut at = &mut self.0;
        let mut rest = name;
        while let Some((head, tail)) = rest.split_once('.') {
            let next = at.entry(head).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { return };
            (at, rest) = (next, tail);
        }
        at.insert(rest.to_owned(), value.into());
    }

    pub(super) fn maybe(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A list; an empty one is left out.
    pub(super) fn list<T: Into<Value>>(&mut self, name: &str, values: Vec<T>) {
        if !values.is_empty() {
            self.set(name, values);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Self {
        Self::Object(document.0)
    }
}

/// What of an event has no place in the shape of others: all of it but these members.
pub(super) fn rest(event: &Value, placed: &[&str]) -> Value {
    let members = event.as_object().into_iter().flatten();
    let left = members.filter(|(name, _)| !placed.contains(&name.as_str()));
    Value::Object(left.map(|(name, value)| (name.clone(), value.clone())).collect())
}
