use std::ops::RangeInclusive;

use super::Action;
use crate::{
    finding::{Finding, FindingId, Severity},
    score::is_proven,
};

/// Scores that a rule is for, both ends included.
pub type ScoreRange = RangeInclusive<u8>;

/// What a finding asks for that no rule fits.
#[must_use]
pub fn default_action(finding: &Finding) -> Action {
    if is_proven(finding) { Action::Kill } else { Action::Alert }
}

/// `[[enforcement.rule]]`: what is done about findings or scores that fit it. Where it has
/// several conditions, all of them hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Fits this finding only.
    pub finding: Option<FindingId>,
    /// Fits findings of this severity or above only.
    pub severity: Option<Severity>,
    /// Fits requests of these scores, and no finding.
    pub score: Option<ScoreRange>,
    /// What is done.
    pub action: Action,
}

impl Rule {
    pub(super) fn fits(&self, finding: &Finding) -> bool {
        self.score.is_none()
            && self.finding.is_none_or(|id| id == finding.id)
            && self.severity.is_none_or(|least| finding.severity >= least)
    }

    pub(super) fn fits_score(&self, score: u8) -> bool {
        self.score.as_ref().is_some_and(|range| range.contains(&score))
    }
}
