//! What people say of events, while the daemon runs.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{Daemon, lists, now};
use crate::{
    control::{FeedbackAnswer, FeedbackRequest, LabelCounts, LabelList, ListedLabel, MAX_LISTED},
    event::{AuditEvent, Peer},
    feedback::{LabelFile, Labels, MAX_NOTE, Record},
    history::{HistoryFile, Row, find_row, parse_event},
    redact,
    score::Label,
    time::Time,
};

/// How long the history is searched for an event: less than the asker waits for.
const SEARCH: Duration = Duration::from_secs(2);

/// Labels that count for the like of their event for longer than this are for good, or a mistake.
const MAX_SECONDS: u64 = 315_360_000;

const DAY_S: u64 = 86_400;

/// The labels and their file.
#[derive(Debug)]
pub(super) struct Feedback {
    file: LabelFile,
    labels: Labels,
}

impl Feedback {
    pub(super) fn new((file, labels): (LabelFile, Labels)) -> Self {
        Self { file, labels }
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn counts(&self, now: Time) -> LabelCounts {
        let mut counts = LabelCounts::default();
        for record in self.labels.iter() {
            match record.label {
                Some(Label::Benign) => counts.benign += 1,
                Some(Label::Malicious) => counts.malicious += 1,
                None => {}
            }
            counts.ended += u64::from(record.until().is_some_and(|until| until <= now));
        }
        counts
    }

    /// Forgets the labels of exchanges of these subjects, and of these events; gives how many.
    pub(super) fn forget(
        &mut self,
        subjects: &HashSet<u128>,
        events: &HashSet<String>,
    ) -> anyhow::Result<u64> {
        let kept = self.labels.without(subjects, events);
        let forgotten = self.labels.iter().len() - kept.iter().len();
        self.file.write_anew(&kept)?;
        self.labels = kept;
        Ok(forgotten as u64)
    }

    /// Keeps a record, on the disk first.
    fn keep(&mut self, record: Record) -> anyhow::Result<()> {
        self.labels.admits(&record)?;
        self.file.append(&record).context("not kept, nothing is changed")?;
        self.labels.take(record)?;
        Ok(())
    }
}

impl Daemon {
    /// Does what `feedback` asks.
    pub(super) fn feedback(
        &mut self,
        request: &FeedbackRequest,
        by: Peer,
    ) -> anyhow::Result<serde_json::Value> {
        match request {
            FeedbackRequest::Add { event, label, note, seconds } => {
                self.add_label(event, *label, note, *seconds, by)
            }
            FeedbackRequest::Remove { event } => self.remove_label(event, by),
            FeedbackRequest::List { limit } => {
                let mut labels: Vec<ListedLabel> =
                    self.feedback.labels.iter().filter_map(listed).collect();
                labels.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.event.cmp(&b.event)));
                let total = labels.len();
                labels.truncate((*limit).min(MAX_LISTED));
                Ok(serde_json::to_value(LabelList { labels, total })?)
            }
        }
    }

    fn add_label(
        &mut self,
        event: &str,
        label: Label,
        note: &str,
        seconds: Option<u64>,
        by: Peer,
    ) -> anyhow::Result<serde_json::Value> {
        let id = parse_event(event).context("an event's id is 32 hexadecimal digits")?;
        let configured = u64::from(*self.config.scoring.feedback_days.get_ref()) * DAY_S;
        let seconds = seconds.unwrap_or(configured);
        ensure!((1..=MAX_SECONDS).contains(&seconds), "it counts for 1 second to ten years");
        ensure!(note.len() <= MAX_NOTE, "a note has {MAX_NOTE} bytes at most");
        let row = self.row_of(event)?;
        if label == Label::Benign && row.proven {
            let why = row.reasons.first().map_or("", |reason| reason);
            bail!("event {event} is a proven attack ({why}): nothing quiets that");
        }
        let now = now();
        let until = now + Duration::from_secs(seconds);
        // What somebody pastes as a note may be the token itself.
        let note = redact::text(note).into_owned();
        let record = Record {
            until: Some(until.to_string()),
            note: note.clone(),
            uid: Some(by.uid),
            row: Some(row.clone()),
            ..Record::new(event.to_owned(), Some(label), now)
        };
        self.feedback.keep(record)?;
        self.heed();
        self.audit(AuditEvent {
            change: "feedback-add",
            event: Some(id),
            label: Some(label),
            until: Some(until),
            reason: Some(note),
            by: Some(by),
            ..lists::nothing()
        });
        let until = Some(until.to_string());
        let answer = FeedbackAnswer { event: event.to_owned(), label, until, reasons: row.reasons };
        Ok(serde_json::to_value(answer)?)
    }

    fn remove_label(&mut self, event: &str, by: Peer) -> anyhow::Result<serde_json::Value> {
        let known = self.feedback.labels.get(event);
        let known = known.with_context(|| format!("nobody has said anything of event {event}"))?;
        let reasons = known.row.as_ref().map(|row| row.reasons.clone()).unwrap_or_default();
        let label = known.label.context("a label without one")?;
        self.feedback
            .keep(Record { uid: Some(by.uid), ..Record::new(event.to_owned(), None, now()) })?;
        self.heed();
        self.audit(AuditEvent {
            change: "feedback-remove",
            event: parse_event(event),
            label: Some(label),
            by: Some(by),
            ..lists::nothing()
        });
        let answer = FeedbackAnswer { event: event.to_owned(), label, until: None, reasons };
        Ok(serde_json::to_value(answer)?)
    }

    /// Has everybody act on the labels as they are now.
    pub(super) fn heed(&mut self) {
        self.pipeline.heed(Arc::new(self.feedback.labels().opinions()));
        self.recorder.label(self.feedback.labels().vectors());
    }

    /// The exchange of an event: as it was labelled before, as it is remembered, or as the history
    /// has it.
    fn row_of(&mut self, event: &str) -> anyhow::Result<Row> {
        let known = self.feedback.labels.get(event).and_then(|record| record.row.clone());
        let recent = || {
            let found = parse_event(event).and_then(|id| self.recorder.find(id));
            found.map(|scored| scored.row(1))
        };
        if let Some(row) = known.or_else(recent) {
            return Ok(row);
        }
        let files: Vec<PathBuf> = match &self.config.scoring.history.file {
            Some(path) => vec![path.clone(), HistoryFile::aside(path)],
            None => Vec::new(),
        };
        let (own, end) = (event.to_owned(), Instant::now() + SEARCH);
        let searched = !files.is_empty();
        let found = self.meanwhile(move || find_row(&files, &own, end))?;
        found.with_context(|| {
            let history = if searched { " or in the history" } else { "" };
            format!(
                "event {event} is not among the latest{history}: it is older, still under way, or \
                 of a request without a token"
            )
        })
    }
}

fn listed(record: &Record) -> Option<ListedLabel> {
    let row = record.row.as_ref();
    Some(ListedLabel {
        event: record.event.clone(),
        label: record.label?,
        time: row.map(|row| row.time.clone()),
        at: record.at.clone(),
        until: record.until.clone(),
        note: record.note.clone(),
        reasons: row.map(|row| row.reasons.clone()).unwrap_or_default(),
    })
}
