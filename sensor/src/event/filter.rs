//! Which events one wants, told from their lines.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};

use crate::finding::{FindingId, Severity};

/// Conditions on events; all that are given must hold. What an event does not have, like the
/// score of one about the sensor itself, fails a condition on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// This grave or graver.
    pub severity: Option<Severity>,
    /// A score of at least this, 0 to 100.
    #[serde(deserialize_with = "score")]
    pub score: Option<u8>,
    /// One of these findings.
    #[serde(deserialize_with = "findings")]
    pub findings: Vec<String>,
    /// One of these services: a command, a cgroup's path, or `ADDRESS:PORT`.
    pub services: Vec<String>,
}

fn score<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let score = u8::deserialize(from)?;
    if score > 100 {
        return Err(de::Error::custom(format_args!("score is {score}, not between 0 and 100")));
    }
    Ok(Some(score))
}

fn findings<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let known = FindingId::ALL.iter().map(|id| id.as_str()).collect::<Vec<_>>();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(de::Error::custom(format_args!(
            "unknown finding {unknown:?}, see docs/findings.md"
        ))),
        None => Ok(names),
    }
}

/// What of an event's line conditions ask for.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    /// How grave it is.
    pub severity: Severity,
    /// When it happened, RFC 3339 in UTC.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    score: Option<u8>,
    #[serde(borrow, default)]
    findings: Vec<Named<'a>>,
    #[serde(borrow)]
    server: Option<End<'a>>,
    #[serde(borrow)]
    service: Option<Service<'a>>,
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    ip: Cow<'a, str>,
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Service<'a> {
    #[serde(borrow)]
    command: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cgroup: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    /// Of a line that an event was written as; `None` of anything else.
    #[must_use]
    pub fn of(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

impl Filter {
    /// Whether it lets everything pass.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn passes(&self, event: &Head<'_>) -> bool {
        let findings = || event.findings.iter().any(|finding| self.finding(&finding.id));
        self.severity.is_none_or(|least| event.severity >= least)
            && self.score.is_none_or(|least| event.score.is_some_and(|score| score >= least))
            && (self.findings.is_empty() || findings())
            && (self.services.is_empty() || self.serves(event))
    }

    fn finding(&self, id: &str) -> bool {
        self.findings.iter().any(|wanted| wanted == id)
    }

    fn serves(&self, event: &Head<'_>) -> bool {
        let is =
            |name: Option<&Cow<'_, str>>, wanted: &str| name.is_some_and(|name| name == wanted);
        let service = event.service.as_ref();
        let address = event.server.as_ref().map(|end| match end.ip.contains(':') {
            true => Cow::Owned(format!("[{}]:{}", end.ip, end.port)),
            false => Cow::Owned(format!("{}:{}", end.ip, end.port)),
        });
        self.services.iter().any(|wanted| {
            is(address.as_ref(), wanted)
                || is(service.and_then(|service| service.command.as_ref()), wanted)
                || is(service.and_then(|service| service.cgroup.as_ref()), wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn filter(text: &str) -> Filter {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn line() -> Vec<u8> {
        let mut line = Vec::new();
        samples::request().write(&mut line);
        line
    }

    #[test]
    fn every_condition_counts() {
        let line = line();
        let event = Head::of(&line).unwrap();
        for (text, wanted) in [
            ("", true),
            ("severity = \"critical\"", true),
            ("findings = [\"alg-none\"]", true),
            ("findings = [\"proof-replayed\"]", false),
            ("findings = [\"proof-replayed\", \"token-in-query\"]", true),
            ("services = [\"nginx\"]", true),
            ("services = [\"198.51.100.2:8080\"]", true),
            ("services = [\"198.51.100.2:80\", \"ngin\"]", false),
            ("severity = \"low\"\nservices = [\"other\"]", false),
        ] {
            assert_eq!(filter(text).passes(&event), wanted, "{text}");
        }
        assert!(filter("").is_open() && !filter("score = 0").is_open());
    }

    #[test]
    fn an_event_without_what_is_asked_for_is_not_wanted() {
        let line = br#"{"severity":"low","time":"2026-01-01T00:00:00Z","kind":"sensor"}"#;
        let event = Head::of(line).unwrap();
        assert!(filter("severity = \"low\"").passes(&event));
        assert!(!filter("severity = \"medium\"").passes(&event));
        for text in ["score = 0", "findings = [\"alg-none\"]", "services = [\"nginx\"]"] {
            assert!(!filter(text).passes(&event), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("score = 101", "score is 101"),
            ("findings = [\"alg-non\"]", "unknown finding \"alg-non\""),
            ("severity = \"grave\"", "unknown variant"),
            ("sevrity = \"low\"", "unknown field"),
        ] {
            let error = toml::from_str::<Filter>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn lines_that_are_no_events_have_no_head() {
        for line in [&b"{}"[..], b"\0\0\0", b"{\"severity\":\"low\"", b"[]"] {
            assert!(Head::of(line).is_none());
        }
    }
}
