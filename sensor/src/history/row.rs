//! One scored exchange: as the pipeline hands it over, and as a line of the history.

use std::fmt::Write as _;

use jotwatch_models::behaviour::{Vector, WIDTH, schema_hash};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{event::EventId, finding::FindingId, pipeline::Assessed, score::Source, time::Time};

/// The format of a line; rises when a member changes its meaning.
pub const VERSION: u32 = 1;

/// Findings that a line names; more change nothing for who learns from it.
pub(super) const MAX_FINDINGS: usize = 16;

/// Longest line that is read: the values of all features with every digit take a third of it.
pub const MAX_LINE: usize = 16 << 10;

/// An exchange with what was made of it, once that is known. Holds no token, no name and no part
/// of the request.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The name of its event, whether or not one went out.
    pub event: EventId,
    /// When the first byte of the request passed.
    pub at: Time,
    /// A keyed hash of who asked.
    pub subject: u128,
    /// A keyed hash of service, method and route.
    pub route: u64,
    /// What the service answered, where it did.
    pub status: Option<u16>,
    /// The score.
    pub score: u8,
    /// A model was sure enough to tell somebody.
    pub suspected: bool,
    /// An event went out.
    pub told: bool,
    /// A finding [proves](crate::score::is_proven) an attack.
    pub proven: bool,
    /// What the payload model said, where half of the requests are attacks.
    pub payload: f32,
    /// What the behaviour model said of the vector; `None` where it was not asked.
    pub behaviour: Option<f32>,
    /// What was found, each once.
    pub findings: SmallVec<[FindingId; 4]>,
    /// What the score rests on, the gravest first.
    pub reasons: SmallVec<[(Source, &'static str); 4]>,
    /// The features.
    pub vector: Vector,
}

impl From<&Assessed<'_>> for Scored {
    fn from(assessed: &Assessed<'_>) -> Self {
        let mut findings = SmallVec::new();
        for finding in &assessed.findings {
            if !findings.contains(&finding.id) {
                findings.push(finding.id);
            }
        }
        let reasons = assessed.score.reasons().iter().map(|reason| (reason.source, reason.id));
        Self {
            event: assessed.event,
            at: assessed.at,
            subject: assessed.watched.subject,
            route: assessed.watched.route,
            status: assessed.status,
            score: assessed.score.value,
            suspected: assessed.score.suspected,
            told: assessed.told,
            proven: assessed.proven,
            payload: assessed.score.payload_at_even_odds(),
            behaviour: assessed.behaviour.map(|behaviour| behaviour.probability),
            findings,
            // What people said is no reason of its own: of what they say next, it is none either.
            reasons: reasons.filter(|(source, _)| *source != Source::Feedback).collect(),
            vector: assessed.watched.vector,
        }
    }
}

impl Scored {
    /// Whether anything speaks against it: such exchanges are few, and all of them are kept.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        self.told || self.suspected || self.proven || self.score > 0 || !self.findings.is_empty()
    }

    /// The same as a line holds it; it stands for `weight` exchanges.
    #[must_use]
    pub fn row(&self, weight: u32) -> Row {
        let findings = self.findings.iter().take(MAX_FINDINGS).map(|id| id.as_str().to_owned());
        let reasons = self.reasons.iter().map(|&(source, id)| reason_name(source, id));
        Row {
            version: VERSION,
            features: FeatureHash(schema_hash()),
            event: hex(&self.event.0),
            time: self.at.to_string(),
            subject: hex(&self.subject.to_be_bytes()),
            route: hex(&self.route.to_be_bytes()),
            status: self.status,
            weight,
            learning: self.vector.learning,
            told: self.told,
            proven: self.proven,
            suspected: self.suspected,
            score: self.score,
            payload: self.payload,
            behaviour: self.behaviour,
            findings: findings.collect(),
            reasons: reasons.collect(),
            values: self.vector.values().iter().map(|v| (!v.is_nan()).then_some(*v)).collect(),
        }
    }
}

/// A reason as lines and labels name it: `payload:sql-tautology`.
#[must_use]
pub fn reason_name(source: Source, id: &str) -> String {
    format!("{}:{id}", source.as_str())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of the feature schema that values were made for, as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureHash(pub u64);

impl Serialize for FeatureHash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for FeatureHash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        unhex(&text, 16)
            .and_then(|hash| hash.try_into().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("features is not 16 hexadecimal digits"))
    }
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// [`VERSION`].
    pub version: u32,
    /// What the values were made for.
    pub features: FeatureHash,
    /// The event's id, 32 hexadecimal digits.
    pub event: String,
    /// RFC 3339.
    pub time: String,
    /// A keyed hash of who asked, 32 hexadecimal digits.
    pub subject: String,
    /// A keyed hash of service, method and route, 16 hexadecimal digits.
    pub route: String,
    /// What the service answered.
    #[serde(default)]
    pub status: Option<u16>,
    /// For how many exchanges the line stands.
    pub weight: u32,
    /// The subject's profile was too young to be held against.
    pub learning: bool,
    /// An event went out.
    pub told: bool,
    /// An attack was proven.
    pub proven: bool,
    /// A model was sure enough to tell somebody.
    pub suspected: bool,
    /// The score.
    pub score: u8,
    /// What the payload model said.
    pub payload: f32,
    /// What the behaviour model said.
    #[serde(default)]
    pub behaviour: Option<f32>,
    /// What was found.
    pub findings: Vec<String>,
    /// What the score rests on, the gravest first, as `source:id`.
    pub reasons: Vec<String>,
    /// The features, by their order in docs/features.md; null where absent.
    pub values: Vec<Option<f32>>,
}

/// Why a line is none of the history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// No JSON, or a member is missing or of another type.
    #[error("not a line of the history: {0}")]
    Shape(String),
    /// Another version of the format.
    #[error("a line of version {found}, this build reads {VERSION}")]
    Version {
        /// The line's.
        found: u32,
    },
    /// The values are of other features.
    #[error(
        "written for other features: schema {found:016x}, this build has {own:016x}; \
         start a new history with this build"
    )]
    Schema {
        /// The line's.
        found: u64,
        /// This build's.
        own: u64,
    },
    /// A member has a value that none of ours has.
    #[error("`{0}` is not what the history writes")]
    Value(&'static str),
}

impl RowError {
    /// What serde_json found, without what stood in the line.
    pub(crate) fn shape(error: &serde_json::Error) -> Self {
        Self::Shape(plain(error))
    }
}

impl Row {
    /// Reads a line, without its end.
    ///
    /// # Errors
    /// [`RowError`]; it shows nothing of the line but names of members.
    pub fn parse(line: &[u8]) -> Result<Self, RowError> {
        /// What can be said of a line of any version.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
            features: FeatureHash,
        }
        let row: Self = match serde_json::from_slice(line) {
            Ok(row) => row,
            Err(error) => {
                // Of another version or schema more may differ.
                if let Ok(Head { version, features }) = serde_json::from_slice(line) {
                    check_head(version, features)?;
                }
                return Err(RowError::shape(&error));
            }
        };
        row.check()?;
        Ok(row)
    }

    /// Whether the members hold what the history writes.
    ///
    /// # Errors
    /// [`RowError`], of the first that does not.
    pub fn check(&self) -> Result<(), RowError> {
        check_head(self.version, self.features)?;
        let good = [
            ("values", self.values.len() == WIDTH),
            ("weight", self.weight > 0),
            ("event", self.event_id().is_some()),
            ("subject", self.subject_hash().is_some()),
            ("route", self.route_hash().is_some()),
            ("time", self.at().is_some()),
        ];
        match good.iter().find(|(_, good)| !good) {
            Some((name, _)) => Err(RowError::Value(name)),
            None => Ok(()),
        }
    }

    /// Writes the line with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Into memory, and no member has keys that are no strings: it can't fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> Option<EventId> {
        parse_event(&self.event)
    }

    /// The subject.
    #[must_use]
    pub fn subject_hash(&self) -> Option<u128> {
        unhex(&self.subject, 32)
    }

    /// The route.
    #[must_use]
    pub fn route_hash(&self) -> Option<u64> {
        unhex(&self.route, 16).and_then(|route| route.try_into().ok())
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Option<Time> {
        Time::parse(&self.time).ok()
    }

    /// The features; what lies outside of a feature's range is put to its edge.
    #[must_use]
    pub fn vector(&self) -> Vector {
        let mut values = [f32::NAN; WIDTH];
        for (to, from) in values.iter_mut().zip(&self.values) {
            *to = from.unwrap_or(f32::NAN);
        }
        Vector::from_values(&values, self.learning)
    }
}

fn check_head(version: u32, features: FeatureHash) -> Result<(), RowError> {
    if version != VERSION {
        return Err(RowError::Version { found: version });
    }
    let own = schema_hash();
    if features.0 != own {
        return Err(RowError::Schema { found: features.0, own });
    }
    Ok(())
}

/// What serde_json says, without the place in the line and without what stood there.
fn plain(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            crate::redact::text(text).into_owned()
        }
        serde_json::error::Category::Eof => "it is cut off".to_owned(),
        _ => format!("no JSON from byte {} on", error.column()),
    }
}

/// An event's id out of 32 hexadecimal digits.
#[must_use]
pub fn parse_event(text: &str) -> Option<EventId> {
    unhex(text, 32).map(|id| EventId(id.to_be_bytes()))
}

/// The number that `digits` lower-case hexadecimal digits stand for.
fn unhex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use jotwatch_models::behaviour::Index;

    use super::*;

    /// An exchange of some subject, told apart by `n`.
    pub(crate) fn scored(n: u64) -> Scored {
        let mut vector = Vector::default();
        vector.learning = false;
        vector.set(Index::TokenAge, 3.25 + (n % 7) as f32);
        vector.set(Index::RateHourZ, -0.1);
        Scored {
            event: EventId(u128::from(n).to_be_bytes()),
            at: Time::from_unix_secs(1_700_000_000 + n),
            subject: u128::from(n % 3) << 64 | 0xabc,
            route: 0x1234_5678_9abc_def0,
            status: Some(200),
            score: 0,
            suspected: false,
            told: false,
            proven: false,
            payload: 0.0,
            behaviour: Some(0.015),
            findings: SmallVec::new(),
            reasons: SmallVec::new(),
            vector,
        }
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let mut scored = scored(77);
        scored.findings.push(FindingId::TokenExpired);
        scored.reasons.push((Source::Finding, "token-expired"));
        let row = scored.row(8);
        let mut line = Vec::new();
        row.write(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(line.len() < MAX_LINE / 8, "{}", line.len());
        let read = Row::parse(&line).unwrap();
        assert_eq!(read, row);
        assert_eq!(read.event_id(), Some(scored.event));
        assert_eq!(read.subject_hash(), Some(scored.subject));
        assert_eq!(read.route_hash(), Some(scored.route));
        assert_eq!(read.at(), Some(scored.at));
        assert_eq!(read.reasons, ["finding:token-expired"]);
        let (before, after) = (scored.vector.values(), *read.vector().values());
        for (before, after) in before.iter().zip(after) {
            assert_eq!(before.to_bits(), after.to_bits());
        }
        assert!(!read.vector().learning);
    }

    #[test]
    fn the_longest_line_fits() {
        let mut scored = scored(1);
        scored.vector = Vector::from_values(&[-1.234_567_9e-6; WIDTH], true);
        scored.findings = FindingId::ALL.iter().copied().collect();
        scored.reasons =
            std::iter::repeat_n((Source::Finding, "http-content-length-and-transfer-encoding"), 8)
                .collect();
        let mut line = Vec::new();
        scored.row(u32::MAX).write(&mut line);
        assert!(line.len() < MAX_LINE / 2, "{}", line.len());
    }

    #[test]
    fn what_is_no_line_is_refused_and_no_prefix_is_one() {
        let mut line = Vec::new();
        scored(5).row(1).write(&mut line);
        let line = String::from_utf8(line).unwrap();
        let line = line.trim_end();
        for end in 0..line.len() {
            assert!(Row::parse(&line.as_bytes()[..end]).is_err(), "{end}");
        }
        let with = |from: &str, to: &str| {
            assert!(line.contains(from), "{from}");
            Row::parse(line.replacen(from, to, 1).as_bytes()).map(|_| ()).unwrap_err()
        };
        assert_eq!(with("\"version\":1", "\"version\":2"), RowError::Version { found: 2 });
        let own = schema_hash();
        let other = with(&format!("{own:016x}"), "00000000000000ff");
        assert_eq!(other, RowError::Schema { found: 255, own });
        assert!(other.to_string().contains("00000000000000ff"), "{other}");
        assert_eq!(with("\"values\":[", "\"values\":[null,"), RowError::Value("values"));
        assert_eq!(with("\"weight\":1", "\"weight\":0"), RowError::Value("weight"));
        assert_eq!(with("\"event\":\"0", "\"event\":\"g"), RowError::Value("event"));
        assert_eq!(with("\"route\":\"1", "\"route\":\"+"), RowError::Value("route"));
        assert_eq!(with("\"subject\":\"0", "\"subject\":\"+"), RowError::Value("subject"));
        assert_eq!(with("\"time\":\"2", "\"time\":\"x"), RowError::Value("time"));
        let told = with("\"told\":false", "\"told\":\"eyJ\"").to_string();
        assert!(told.contains("boolean") && !told.contains("line 1"), "{told}");
        assert!(matches!(with("\"score\":0", "\"score\":1e3"), RowError::Shape(_)));
    }
}
