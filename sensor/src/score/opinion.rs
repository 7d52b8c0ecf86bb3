//! What somebody thinks of events, as the score takes it: see [`feedback`](crate::feedback).

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Source;
use crate::time::Time;

/// What somebody says an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Harmless.
    Benign,
    /// An attack.
    Malicious,
}

impl Label {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Malicious => "malicious",
        }
    }
}

/// Like what somebody called malicious: the probability of an attack by that alone.
pub(super) const MARKED: f32 = 0.90;

/// Like what somebody called benign: the score is divided by this.
pub(super) const QUIETED: u8 = 4;

/// What somebody thinks of an event, as far as the like of it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The event's id.
    pub event: String,
    /// What it was.
    pub label: Label,
    /// Since when somebody thinks so.
    pub since: Time,
    /// Until when it counts.
    pub until: Option<Time>,
    /// What its score rested on, the gravest first, as `source:id`.
    pub reasons: Vec<String>,
}

impl std::fmt::Display for Opinion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { event, label, since, until, .. } = self;
        write!(f, "like event {event}, which somebody called {} at {since}", label.as_str())?;
        match until {
            Some(until) => write!(f, "; counts until {until}"),
            None => Ok(()),
        }
    }
}

impl Opinion {
    /// Whether an exchange of the same subject and route, with these reasons, the gravest first,
    /// is like the event.
    #[must_use]
    pub fn fits<'r>(&self, reasons: impl Iterator<Item = (Source, &'r str)> + Clone) -> bool {
        let named = |text: &str, (source, id): (Source, &str)| {
            text.split_once(':') == Some((source.as_str(), id))
        };
        let known = |reason| self.reasons.iter().any(|text| named(text, reason));
        match self.label {
            Label::Malicious => {
                let gravest = self.reasons.first();
                gravest.is_some_and(|text| reasons.clone().any(|reason| named(text, reason)))
            }
            Label::Benign => {
                let mut looked_at: smallvec::SmallVec<[Source; 4]> = smallvec::SmallVec::new();
                let mut fits = false;
                for (source, id) in reasons {
                    // The lesser reasons of a model change with every request.
                    if source != Source::Finding && looked_at.contains(&source) {
                        continue;
                    }
                    looked_at.push(source);
                    if !known((source, id)) {
                        return false;
                    }
                    fits = true;
                }
                fits
            }
        }
    }
}

/// What follows from labels, by subject and route.
#[derive(Clone, Debug, Default)]
pub struct Opinions {
    by_place: HashMap<(u128, u64), Arc<[Opinion]>>,
}

impl Opinions {
    /// The opinions of events, each with its subject and route.
    #[must_use]
    pub fn new(opinions: impl IntoIterator<Item = ((u128, u64), Opinion)>) -> Self {
        let mut by_place: HashMap<(u128, u64), Vec<Opinion>> = HashMap::new();
        for (place, opinion) in opinions {
            by_place.entry(place).or_default().push(opinion);
        }
        let sorted = by_place.into_iter().map(|(place, mut opinions)| {
            // The last word counts: also where a benign event and a malicious one are alike.
            opinions.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.event.cmp(&b.event)));
            (place, opinions.into())
        });
        Self { by_place: sorted.collect() }
    }

    /// What somebody thinks of events of this subject and route, the latest first.
    #[must_use]
    pub fn of(&self, subject: u128, route: u64) -> Option<Arc<[Opinion]>> {
        if self.by_place.is_empty() {
            return None;
        }
        self.by_place.get(&(subject, route)).map(Arc::clone)
    }

    /// How many subjects' routes there are opinions of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(label: Label, reasons: &[&str]) -> Opinion {
        Opinion {
            event: "e".into(),
            label,
            since: Time::EPOCH,
            until: None,
            reasons: reasons.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    const EXPIRED: (Source, &str) = (Source::Finding, "token-expired");
    const RELAYED: (Source, &str) = (Source::Finding, "token-relayed");
    const QUOTE: (Source, &str) = (Source::Payload, "quote-or");
    const COMMENT: (Source, &str) = (Source::Payload, "comment");

    #[test]
    fn benign_quiets_what_shows_nothing_new() {
        let benign = opinion(Label::Benign, &["payload:quote-or", "finding:token-expired"]);
        let fits = |reasons: &[(Source, &'static str)]| benign.fits(reasons.iter().copied());
        assert!(fits(&[QUOTE, EXPIRED]) && fits(&[EXPIRED, QUOTE]));
        assert!(fits(&[QUOTE]) && fits(&[EXPIRED]));
        assert!(fits(&[QUOTE, EXPIRED, COMMENT]), "a lesser reason of the same model");
        assert!(!fits(&[COMMENT, QUOTE]), "another gravest");
        assert!(!fits(&[QUOTE, EXPIRED, RELAYED]), "a finding more");
        assert!(!fits(&[]), "nothing to be quieted");
        // The name alone is not enough.
        assert!(!fits(&[(Source::Finding, "quote-or")]));
    }

    #[test]
    fn malicious_marks_what_shares_its_gravest_reason() {
        let malicious = opinion(Label::Malicious, &["payload:quote-or", "finding:token-expired"]);
        let fits = |reasons: &[(Source, &'static str)]| malicious.fits(reasons.iter().copied());
        assert!(fits(&[RELAYED, QUOTE]) && fits(&[QUOTE]));
        assert!(!fits(&[EXPIRED]) && !fits(&[]));
        let bare = opinion(Label::Malicious, &[]);
        assert!(!bare.fits([QUOTE].into_iter()) && !bare.fits([].into_iter()));
    }
}
