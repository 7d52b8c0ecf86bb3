//! What is counted of events on their way from the pipeline to the journal.

use super::{Body, Event};
use crate::{finding::FindingId, histogram::Histogram, time::Time};

/// What is counted of events on their way from the pipeline to the journal.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct EventTally {
    /// Findings in events, by id, before alerts are joined.
    pub findings: std::collections::BTreeMap<String, u64>,
    /// From the first byte of a request, or what else an event is about, to its event.
    pub latency: Histogram,
}

/// Counts events. A daemon has one, on the thread of its pipeline.
#[derive(Debug, Default)]
pub struct Tally {
    findings: Vec<u64>,
    latency: Histogram,
}

impl Tally {
    /// Counts an event that is made `now`.
    pub fn count(&mut self, event: &Event, now: Time) {
        let findings = match &event.body {
            Body::Request(request) => &request.findings,
            Body::Flow(flow) => &flow.findings,
            Body::Key(key) => &key.findings,
            _ => return,
        };
        self.findings.resize(FindingId::ALL.len(), 0);
        for finding in findings {
            if let Some(count) = self.findings.get_mut(finding.id as usize) {
                *count += 1;
            }
        }
        self.latency.record(now.since(event.at));
    }

    /// What was counted; findings that never were are left out.
    #[must_use]
    pub fn counts(&self) -> EventTally {
        let counted = FindingId::ALL.iter().zip(&self.findings).filter(|(_, count)| **count > 0);
        EventTally {
            findings: counted.map(|(id, count)| (id.as_str().to_owned(), *count)).collect(),
            latency: self.latency.clone(),
        }
    }
}
