//! How likely a request is an attack, 0 to 100, and why.
//!
//! [`Scorer`] weighs what the stages before it found: the [findings](crate::finding) about the
//! request and its tokens, and what the payload model (`jotwatch-models`) makes of what the
//! request carries. [`fusion`] says how they become one number.
//!
//! Pure: a request and its findings in, a [`Score`] out. Nothing is allocated for a request that
//! nothing speaks against.
#![forbid(unsafe_code)]

pub mod fusion;
pub mod input;
mod proof;
#[cfg(test)]
mod tests;
mod values;

use std::{fmt, sync::Arc};

use jotwatch_models::payload::{
    Form, ModelError, PayloadModel, PayloadScore, Place, Scratch, Value,
};
use smallvec::SmallVec;

pub use self::proof::{PROVEN, is_proven};
use self::values::Values;
use crate::{
    finding::{Finding, Severity},
    http::Request,
    redact,
    token::TokenReport,
};

/// Reasons that a score names.
pub const MAX_REASONS: usize = 8;

/// What a reason rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Something that was found, see docs/findings.md.
    Finding,
    /// The payload model.
    Payload,
}

impl Source {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Payload => "payload",
        }
    }
}

/// One reason for a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What it rests on.
    pub source: Source,
    /// The stable name: of a finding, or of a feature of a model.
    pub id: &'static str,
    /// What the score would be with its source alone.
    pub score: u8,
    /// What was seen, and where; credentials redacted.
    pub detail: String,
}

/// A finding about a request.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// It is about the request, or about a token that speaks for its sender. What is found of a
    /// token that a request merely carries, such as one that a gateway asks the authorization
    /// server about, proves nothing against the sender.
    pub of_credentials: bool,
}

/// How likely a request is an attack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// 0 to 100; 100 where an attack is proven, and only there.
    pub value: u8,
    /// A model is sure enough to tell somebody, whatever was found.
    pub suspected: bool,
    /// Bytes of the request that were not looked at, past the payload model's limits.
    pub unscored: usize,
    /// The payload model's probability; 0 where it saw nothing.
    payload: f32,
    /// What it rests on, the gravest first; empty where nothing speaks against the request.
    reasons: SmallVec<[Reason; 0]>,
}

impl Score {
    /// What it rests on, the gravest first, at most [`MAX_REASONS`]; empty where nothing speaks
    /// against the request.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        self.reasons.get(..MAX_REASONS).unwrap_or(&self.reasons)
    }

    /// How grave it is where nothing was found: a model can be wrong.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        /// From here on a model is nearly sure.
        const HIGH: u8 = 95;
        match self.suspected {
            true if self.value >= HIGH => Severity::High,
            true => Severity::Medium,
            false => Severity::Info,
        }
    }

    /// Weighs what was found, in the place of what was weighed before: an answer adds findings and
    /// changes how grave others are.
    pub fn weigh<'a>(&mut self, evidence: impl Iterator<Item = Evidence<'a>>) {
        self.reasons.retain(|reason| reason.source != Source::Finding);
        let mut weighed = fusion::Weighed::new(self.payload);
        for Evidence { finding, of_credentials } in evidence {
            let score = weighed.add_finding(finding, of_credentials);
            let known = self.reasons.iter().any(|reason| reason.id == finding.id.as_str());
            // No more of them than there are names of findings.
            if score > 0 && !known {
                self.reasons.push(Reason {
                    source: Source::Finding,
                    id: finding.id.as_str(),
                    score,
                    detail: redact::text(&finding.detail).into_owned(),
                });
            }
        }
        // Stable: of equal ones the first that was found.
        self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.score));
        self.value = weighed.score();
    }
}

/// What requests are scored with.
#[derive(Clone, Debug)]
pub struct Models {
    /// Whether a request carries an attack.
    pub payload: Arc<PayloadModel>,
}

impl Models {
    /// Those that are built in.
    ///
    /// # Errors
    /// [`ModelError`], in a build whose artifacts are for other features, which a test of
    /// `jotwatch-models` forbids.
    pub fn built_in() -> Result<Self, ModelError> {
        Ok(Self { payload: PayloadModel::embedded()?.into() })
    }
}

/// Scores requests, one at a time.
pub struct Scorer {
    payload: Arc<PayloadModel>,
    scratch: Scratch,
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer").finish_non_exhaustive()
    }
}

impl Scorer {
    /// A scorer with these models.
    #[must_use]
    pub fn new(models: Models) -> Self {
        Self { payload: models.payload, scratch: Scratch::default() }
    }

    /// Scores a request with what was found of it and of its tokens.
    pub fn score<'a>(
        &mut self,
        request: &Request,
        tokens: &TokenReport,
        evidence: impl Iterator<Item = Evidence<'a>>,
    ) -> Score {
        let values = Values::of(request);
        let mut payload = self.payload.score(values.as_slice(), &mut self.scratch);
        let mut in_claim = false;
        if let Some(claims) = self.claims(tokens)
            && (!says(&payload) || claims.probability > payload.probability)
        {
            (payload, in_claim) = (PayloadScore { unscored: payload.unscored, ..claims }, true);
        }
        let mut score = Score {
            suspected: payload.is_attack,
            unscored: payload.unscored,
            payload: if says(&payload) { payload.probability } else { 0.0 },
            ..Score::default()
        };
        let alone = fusion::percent(score.payload);
        if alone > 0 {
            let place = match payload.value {
                _ if in_claim => "a claim".to_owned(),
                at => at.map(|at| values.place(at)).unwrap_or_default(),
            };
            payload_reasons(&payload, &place, alone, &mut score.reasons);
        }
        score.weigh(evidence);
        score
    }

    /// The worst of the tokens' claims, where there is anything to tell of them.
    fn claims(&mut self, tokens: &TokenReport) -> Option<PayloadScore> {
        let mut worst: Option<PayloadScore> = None;
        let known = tokens.tokens.iter().filter_map(|token| token.decoded.as_ref());
        for known in known.filter(|known| !known.is_harmless()) {
            let bytes = known.claims().map(|claims| claims.raw()).unwrap_or_default();
            let claims = Value { place: Place::Claim, form: Form::Json, bytes };
            let score = self.payload.score(&[claims], &mut self.scratch);
            if !says(&score) {
                known.note_harmless();
            } else if worst.is_none_or(|worst| score.probability > worst.probability) {
                worst = Some(score);
            }
        }
        worst
    }
}

/// Whether the model says anything of the request. Without evidence its answer is its base rate, and
/// what is hardly above that is met in every other usual request.
fn says(payload: &PayloadScore) -> bool {
    payload.value.is_some() && payload.probability >= fusion::LEAST
}

/// What the payload model's score rests on: the class and the place, then each structure.
fn payload_reasons(
    payload: &PayloadScore,
    place: &str,
    score: u8,
    reasons: &mut SmallVec<[Reason; 0]>,
) {
    let class = payload.class.map_or("attack", |class| class.id());
    for (rank, reason) in payload.reasons.iter().flatten().enumerate() {
        let means = reason.feature.means;
        let detail = match rank {
            0 if payload.excerpt.bytes().is_empty() => format!("{class} in {place}: {means}"),
            0 => {
                let excerpt = payload.excerpt.to_string();
                format!("{class} in {place}: {means}: {}", redact::text(&excerpt))
            }
            _ => means.to_owned(),
        };
        // The structures behind the first only add to it.
        let score = if rank == 0 { score } else { score / 2 };
        reasons.push(Reason { source: Source::Payload, id: reason.feature.id, score, detail });
    }
}
