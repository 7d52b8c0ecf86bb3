//! The labels to learn from.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context as _, ensure};

use crate::{
    feedback::Record,
    history::{Lines, Progress, Row},
    score::Label,
};

/// Labels that are read at most: ten times what a daemon keeps.
const MAX_LABELS: usize = 100_000;

/// What people said, by event.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    labels: HashMap<String, (Label, Option<Row>)>,
}

impl Wanted {
    /// Reads the files; the last word on an event counts.
    ///
    /// # Errors
    /// A file can't be read, or a line is no label; the error names both.
    pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut wanted = Self::default();
        for path in files {
            let mut lines = Lines::open(path, &Progress::default())?;
            while let Some((line, text)) = lines.next_line()? {
                let place = || format!("{}:{line}", path.display());
                let record = Record::parse(text).with_context(place)?;
                match record.label {
                    None => {
                        wanted.labels.remove(&record.event);
                    }
                    Some(label) => {
                        // A later word without the row is about the row that is known.
                        let before = wanted.labels.remove(&record.event);
                        let row = record.row.or(before.and_then(|(_, row)| row));
                        wanted.labels.insert(record.event, (label, row));
                    }
                }
                ensure!(
                    wanted.labels.len() <= MAX_LABELS,
                    "{}: more than {MAX_LABELS} labels",
                    place()
                );
            }
        }
        Ok(wanted)
    }

    /// What an event was, where somebody said so.
    pub(super) fn of(&self, event: &str) -> Option<Label> {
        self.labels.get(event).map(|(label, _)| *label)
    }

    /// All labels, by event, with the rows that came with them.
    pub(super) fn sorted(&self) -> Vec<(&str, Label, Option<&Row>)> {
        let all = self.labels.iter().map(|(event, (label, row))| (&**event, *label, row.as_ref()));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(event, ..)| *event);
        all
    }
}
