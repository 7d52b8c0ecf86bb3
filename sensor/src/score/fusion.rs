//! How findings and models become one number.
//!
//! - What is [proven](super::is_proven) is 100, whatever the models think. Nothing else is 100.
//! - A finding stands for a probability of an attack by its severity: critical 0.99, high 0.85,
//!   medium 0.50, low 0.15, info none. The gravest counts; findings of one request have one cause
//!   too often to be added up.
//! - A model's calibrated probability holds for a share of attacks among the requests that it was
//!   calibrated on. All are brought to one: [`BASE`], of a hundred requests one is an attack. The
//!   behaviour model was calibrated there; the payload model's odds, which hold where half of the
//!   requests are attacks, are divided by 99 ([`at_base`]).
//! - A probability below [`LEAST`] counts as none.
//! - Findings and models look at different things, so each counts as a cause of its own: the score
//!   is one hundred times `1 - (1 - findings) × (1 - payload) × (1 - behaviour)`, rounded down, at
//!   most 99.
//!
//! So with one source alone the score is that source's probability in percent, and 90 of a model
//! alone means what 90 % means on its held-out data, in traffic of which 1 % are attacks.

use crate::finding::{Finding, Severity};

use super::is_proven;

/// The highest score that is not proven.
pub const UNPROVEN: u8 = 99;

/// The share of attacks among the requests for which all probabilities hold. More than most hosts
/// see: an attack is then rather less likely than its score says.
pub const BASE: f32 = 0.01;

/// A model's probability below counts as none: five times the base rate is met in usual requests.
pub const LEAST: f32 = 0.05;

/// The score of what is proven.
pub const CERTAIN: u8 = 100;

/// What a finding of a severity stands for.
const fn probability_of(severity: Severity) -> f32 {
    match severity {
        Severity::Critical => 0.99,
        Severity::High => 0.85,
        Severity::Medium => 0.50,
        Severity::Low => 0.15,
        Severity::Info => 0.0,
    }
}

/// A probability as a score: in percent, rounded down, at most [`UNPROVEN`].
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=99")]
pub fn percent(probability: f32) -> u8 {
    // A last place that got lost (0.85 as 0.84999…) shall not cost a whole percent.
    const ROUNDING: f32 = 1e-4;
    (probability * 100.0 + ROUNDING).clamp(0.0, f32::from(UNPROVEN)) as u8
}

/// A probability that holds where half of the requests are attacks, where [`BASE`] of them are.
#[must_use]
pub fn at_base(even: f32) -> f32 {
    // Not by odds, which are infinite at 1.
    let (attack, benign) = (even * BASE, (1.0 - even) * (1.0 - BASE));
    attack / (attack + benign)
}

/// Whether a model's probability at [`BASE`] says anything.
#[must_use]
pub fn says(probability: f32) -> bool {
    probability >= LEAST
}

/// What has been weighed so far of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weighed {
    proven: bool,
    findings: f32,
    payload: f32,
    behaviour: f32,
}

impl Weighed {
    /// With what the models say, at [`BASE`].
    #[must_use]
    pub fn new(payload: f32, behaviour: f32) -> Self {
        let told = |probability| if says(probability) { probability } else { 0.0 };
        Self { payload: told(payload), behaviour: told(behaviour), ..Self::default() }
    }

    /// Adds a finding; returns the score that it would have alone. One that is not about the
    /// sender's credentials proves nothing.
    pub fn add_finding(&mut self, finding: &Finding, of_credentials: bool) -> u8 {
        let probability = probability_of(finding.severity);
        self.findings = self.findings.max(probability);
        if of_credentials && is_proven(finding) {
            self.proven = true;
            return CERTAIN;
        }
        percent(probability)
    }

    /// The score of all of it.
    #[must_use]
    pub fn score(&self) -> u8 {
        if self.proven {
            return CERTAIN;
        }
        percent(1.0 - (1.0 - self.findings) * (1.0 - self.payload) * (1.0 - self.behaviour))
    }
}
