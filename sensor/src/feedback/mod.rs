//! What people think of events, and what follows for those that are like them.
//!
//! A label stands for good: it is what `jotwatch train` learns from. What follows for the score
//! ends, after 90 days unless somebody says otherwise, and is narrow. An exchange is *like* a
//! labelled one where it is of the same subject and the same route, and
//!
//! - of a benign one: each of its findings was found there, and of each model its gravest reason is
//!   among the reasons there. It shows nothing graver than what somebody has looked at and found
//!   harmless. Its score is a quarter, and no model raises an alert.
//! - of a malicious one: the gravest reason there is among its reasons. It counts as an attack by
//!   [`MARKED`], beside all else that speaks against it, and raises an alert.
//!
//! What is proven is neither: its score is 100 whatever anybody thinks.
#![forbid(unsafe_code)]

mod file;
mod record;

use std::{collections::HashSet, sync::Arc, time::Duration};

use jotwatch_models::behaviour::Vector;

pub use self::{
    file::LabelFile,
    record::{MAX_NOTE, Record, RecordError},
};
use crate::{
    history::Row,
    score::{Label, Opinion, Opinions},
};

/// Labels that are kept: a person gives some dozen a day, and each takes a line of the history.
pub const MAX_LABELS: usize = 10_000;

/// How long a label counts for the like of its event, unless somebody says otherwise.
pub const DEFAULT_TERM: Duration = Duration::from_secs(90 * 86_400);

/// All labels in force.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// By event.
    records: std::collections::BTreeMap<String, Record>,
}

/// A label more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_LABELS} labels are kept already; remove some, or set the file aside and train from it"
)]
pub struct Full;

impl Labels {
    /// Takes a record: a label takes the place of the one before of the same event, the end of one
    /// removes it. Gives the one before.
    ///
    /// # Errors
    /// [`Full`]; nothing is changed.
    pub fn take(&mut self, record: Record) -> Result<Option<Record>, Full> {
        self.admits(&record)?;
        if record.label.is_none() {
            return Ok(self.records.remove(&record.event));
        }
        Ok(self.records.insert(record.event.clone(), record))
    }

    /// Those without the labels of exchanges of these subjects, and of these events.
    #[must_use]
    pub fn without(&self, subjects: &HashSet<u128>, events: &HashSet<String>) -> Self {
        let stays = |record: &&Record| {
            let subject = record.row.as_ref().and_then(Row::subject_hash);
            !events.contains(&record.event)
                && subject.is_none_or(|subject| !subjects.contains(&subject))
        };
        let kept = self.records.values().filter(stays);
        Self { records: kept.map(|record| (record.event.clone(), record.clone())).collect() }
    }

    /// Whether there is room for a record.
    ///
    /// # Errors
    /// [`Full`].
    pub fn admits(&self, record: &Record) -> Result<(), Full> {
        let room = self.records.len() < MAX_LABELS || self.records.contains_key(&record.event);
        if room || record.label.is_none() { Ok(()) } else { Err(Full) }
    }

    /// The label of an event.
    #[must_use]
    pub fn get(&self, event: &str) -> Option<&Record> {
        self.records.get(event)
    }

    /// All of them, by event.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.values()
    }

    /// What follows for the like of them.
    #[must_use]
    pub fn opinions(&self) -> Opinions {
        let of = |record: &Record| {
            let (label, row) = (record.label?, record.row.as_ref()?);
            let opinion = Opinion {
                event: record.event.clone(),
                label,
                since: record.since()?,
                until: record.until(),
                reasons: row.reasons.clone(),
            };
            Some(((row.subject_hash()?, row.route_hash()?), opinion))
        };
        Opinions::new(self.records.values().filter_map(of))
    }

    /// The vectors of labelled exchanges, and whether they were malicious.
    #[must_use]
    pub fn vectors(&self) -> Arc<[(Vector, bool)]> {
        let labelled = self.records.values().filter_map(|record| {
            let malicious = record.label? == Label::Malicious;
            record.row.as_ref().map(|row: &Row| (row.vector(), malicious))
        });
        labelled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{record::tests::record, *};
    use crate::time::Time;

    #[test]
    fn the_last_word_counts_and_an_end_removes() {
        let mut labels = Labels::default();
        labels.take(record(1, Some(Label::Benign), 100)).unwrap();
        labels.take(record(4, Some(Label::Malicious), 200)).unwrap();
        // 1 and 4 are of one subject; 2 is of another.
        labels.take(record(2, Some(Label::Benign), 50)).unwrap();
        let row = record(1, None, 0).row.unwrap();
        let place = (row.subject_hash().unwrap(), row.route_hash().unwrap());
        let opinions = labels.opinions();
        assert_eq!(opinions.len(), 2);
        let found = opinions.of(place.0, place.1).unwrap();
        assert_eq!(
            found.iter().map(|o| o.label).collect::<Vec<_>>(),
            [Label::Malicious, Label::Benign]
        );
        assert_eq!(found[0].until, Some(Time::from_unix_secs(200 + 90 * 86_400)));
        assert!(opinions.of(place.0 + 1, place.1).is_none());
        assert!(opinions.of(place.0, place.1 + 1).is_none());
        let before = labels.take(record(4, None, 300)).unwrap().unwrap();
        assert_eq!(before.label, Some(Label::Malicious));
        assert_eq!(labels.opinions().of(place.0, place.1).unwrap().len(), 1);
        assert_eq!(labels.vectors().len(), 2);
        assert!(labels.take(record(9, None, 300)).unwrap().is_none());
    }

    #[test]
    fn there_is_a_bound_and_another_word_on_an_event_fits_within() {
        let mut labels = Labels::default();
        for n in 0..MAX_LABELS as u64 {
            labels.take(record(n, Some(Label::Benign), n)).unwrap();
        }
        assert_eq!(labels.take(record(10_000_000, Some(Label::Benign), 1)), Err(Full));
        labels.take(record(7, Some(Label::Malicious), 1)).unwrap();
        labels.take(record(7, None, 1)).unwrap();
        labels.take(record(10_000_000, Some(Label::Benign), 1)).unwrap();
        assert_eq!(labels.iter().len(), MAX_LABELS);
    }
}
