//! A line of the file of labels.

use serde::{Deserialize, Serialize};

use crate::{
    history::{MAX_LINE, Row, RowError, parse_event},
    score::Label,
    time::Time,
};

/// The format of a line; rises when a member changes its meaning.
const VERSION: u32 = 1;

/// Bytes of a note that are kept.
pub const MAX_NOTE: usize = 512;

/// A label, or the end of one. A file may also be written by hand or by other tools: then `event`
/// and `label` are enough for `jotwatch train`, which takes the row from the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format.
    #[serde(default = "version")]
    pub version: u32,
    /// The event's id, 32 hexadecimal digits.
    pub event: String,
    /// What it was; null where the label before is taken back.
    pub label: Option<Label>,
    /// When that was said, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Until when it counts for the like of it, RFC 3339; for good when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why, in the words of who said it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Who said it: a user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The exchange, so that it is still known when the history has gone on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Row>,
}

const fn version() -> u32 {
    VERSION
}

/// Why a line is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No JSON, or a member is missing or of another type.
    #[error("no label: {0}")]
    Shape(RowError),
    /// Another version of the format.
    #[error("a label of version {found}, this build reads {VERSION}")]
    Version {
        /// The line's.
        found: u32,
    },
    /// A member has a value that none of ours has.
    #[error("`{0}` is not what a label has")]
    Value(&'static str),
    /// Its row is none.
    #[error("the label's row: {0}")]
    Row(RowError),
}

impl Record {
    /// A label, or with `None` the end of one.
    #[must_use]
    pub fn new(event: String, label: Option<Label>, at: Time) -> Self {
        Self {
            version: VERSION,
            event,
            label,
            at: Some(at.to_string()),
            until: None,
            note: String::new(),
            uid: None,
            row: None,
        }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// [`RecordError`]; it shows nothing of the line but names of members.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let read = serde_json::from_slice::<Self>(line);
        let record = read.map_err(|error| RecordError::Shape(RowError::shape(&error)))?;
        if record.version != VERSION {
            return Err(RecordError::Version { found: record.version });
        }
        parse_event(&record.event).ok_or(RecordError::Value("event"))?;
        for (name, time) in [("at", &record.at), ("until", &record.until)] {
            if time.as_ref().is_some_and(|time| Time::parse(time).is_err()) {
                return Err(RecordError::Value(name));
            }
        }
        if let Some(row) = &record.row {
            row.check().map_err(RecordError::Row)?;
            if row.event != record.event {
                return Err(RecordError::Value("row"));
            }
        }
        Ok(record)
    }

    /// Writes the line with its end.
    ///
    /// # Errors
    /// It would be longer than a line may be.
    pub fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let before = out.len();
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        if out.len() - before > MAX_LINE {
            out.truncate(before);
            return Err(std::io::Error::other("a label longer than its line may be"));
        }
        Ok(())
    }

    /// When it was said.
    #[must_use]
    pub fn since(&self) -> Option<Time> {
        self.at.as_deref().and_then(|at| Time::parse(at).ok())
    }

    /// Until when it counts for the like of it.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        self.until.as_deref().and_then(|until| Time::parse(until).ok())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{feedback::DEFAULT_TERM, history::scored};

    /// What somebody said of the `n`th exchange, at a time in seconds.
    pub(in crate::feedback) fn record(n: u64, label: Option<Label>, at: u64) -> Record {
        let row = scored(n).row(1);
        let at = Time::from_unix_secs(at);
        Record {
            until: Some((at + DEFAULT_TERM).to_string()),
            row: Some(row.clone()),
            ..Record::new(row.event, label, at)
        }
    }

    #[test]
    fn a_label_comes_back_and_a_bare_one_is_enough() {
        let mut before = record(3, Some(Label::Malicious), 77);
        before.note = "INC-7".into();
        let mut line = Vec::new();
        before.write(&mut line).unwrap();
        line.pop();
        let after = Record::parse(&line).unwrap();
        assert_eq!(after, before);
        assert_eq!(after.since(), Some(Time::from_unix_secs(77)));
        for end in 0..line.len() {
            assert!(Record::parse(&line[..end]).is_err(), "{end}");
        }
        let id = "0123456789abcdef0123456789abcdef";
        let bare = format!("{{\"event\":\"{id}\",\"label\":\"benign\"}}");
        let bare = Record::parse(bare.as_bytes()).unwrap();
        assert_eq!((bare.label, &bare.row, bare.since()), (Some(Label::Benign), &None, None));
    }

    #[test]
    fn what_is_no_label_is_refused_by_name() {
        let mut line = Vec::new();
        record(3, Some(Label::Benign), 77).write(&mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        let with = |from: &str, to: &str| {
            assert!(line.contains(from), "{from}");
            Record::parse(line.trim_end().replacen(from, to, 1).as_bytes()).unwrap_err()
        };
        assert_eq!(with("{\"version\":1", "{\"version\":3"), RecordError::Version { found: 3 });
        assert_eq!(with("\"event\":\"0", "\"event\":\"1"), RecordError::Value("row"));
        assert_eq!(with("\"event\":\"0", "\"event\":\"x"), RecordError::Value("event"));
        assert_eq!(with("\"at\":\"1", "\"at\":\"y"), RecordError::Value("at"));
        let row = with("\"row\":{\"version\":1", "\"row\":{\"version\":9");
        assert_eq!(row, RecordError::Row(RowError::Version { found: 9 }));
        let label = with("\"benign\"", "\"unsure\"").to_string();
        assert!(label.starts_with("no label: "), "{label}");
    }
}
