//! How likely a request is an attack, 0 to 100, and why.
//!
//! [`Scorer`] weighs what the stages before it found: the [findings](crate::finding) about the
//! request and its tokens, what the payload model (`jotwatch-models`) makes of what the request
//! carries, and what the behaviour model makes of its [features](crate::features). [`fusion`] says
//! how they become one number.
//!
//! Pure: a request and its findings in, a [`Score`] out. Nothing is allocated for a request that
//! nothing speaks against.
#![forbid(unsafe_code)]

pub mod fusion;
pub mod input;
mod opinion;
mod plain;
mod proof;
#[cfg(test)]
mod tests;
mod values;

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use jotwatch_models::{
    behaviour::{BehaviourModel, BehaviourScore, Gate, Vector},
    payload::{Form, MAX_PARTS, PayloadModel, PayloadScore, Place, Scratch, Value},
};
use smallvec::SmallVec;

use self::values::Values;
pub(crate) use self::values::target_path;
pub use self::{
    opinion::{Label, Opinion, Opinions},
    proof::{PROVEN, is_proven},
};
use crate::{
    finding::{Finding, Severity},
    http::{ByShape, Request},
    redact,
    time::Time,
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
    /// The behaviour model.
    Behaviour,
    /// What somebody said of an event that is like it.
    Feedback,
}

impl Source {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Payload => "payload",
            Self::Behaviour => "behaviour",
            Self::Feedback => "feedback",
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

/// What is known of a subject's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Too little to be held against: behaviour raises no alert.
    Learning,
    /// Enough.
    Known,
}

impl Profile {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Known => "known",
        }
    }
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
    /// What is known of the subject's past; `None` where no token says who asks.
    pub profile: Option<Profile>,
    /// The payload model's answer, as it gives it.
    payload: f32,
    /// The payload model takes it for an attack.
    payload_suspects: bool,
    /// The behaviour model's probability; 0 where it was not asked, or says nothing.
    behaviour: f32,
    /// The behaviour model finds it suspicious.
    behaviour_suspects: bool,
    /// What somebody said of events of the same subject and route, and when this one happened.
    opinions: Option<(Arc<[Opinion]>, Time)>,
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

    /// What the payload model says, in a world where half of the requests are attacks.
    #[must_use]
    pub const fn payload_at_even_odds(&self) -> f32 {
        self.payload
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
        self.reasons.retain(|reason| !matches!(reason.source, Source::Finding | Source::Feedback));
        let mut weighed = fusion::Weighed::new(fusion::at_base(self.payload), self.behaviour);
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
        self.suspected = self.payload_suspects || self.behaviour_suspects;
        self.apply_opinions();
    }

    /// Takes into account what somebody said of events of the same subject and route, from now on.
    pub fn heed(&mut self, opinions: Arc<[Opinion]>, now: Time) {
        self.opinions = Some((opinions, now));
        self.apply_opinions();
    }

    /// See [`feedback`](crate::feedback) for which count, and what follows.
    fn apply_opinions(&mut self) {
        let Some((opinions, now)) = self.opinions.as_ref() else { return };
        // Nobody's opinion undoes a proof, or makes one.
        if self.value == fusion::CERTAIN {
            return;
        }
        let reasons = self.reasons.iter().map(|reason| (reason.source, reason.id));
        let in_force = |opinion: &&Opinion| opinion.until.is_none_or(|until| until > *now);
        let fits = |opinion: &&Opinion| opinion.fits(reasons.clone());
        let Some(opinion) = opinions.iter().filter(in_force).find(fits) else { return };
        let (id, score, suspected) = match opinion.label {
            Label::Benign => {
                self.value /= opinion::QUIETED;
                ("feedback-benign", self.value, false)
            }
            Label::Malicious => {
                let before = f32::from(self.value) / 100.0;
                self.value = fusion::percent(1.0 - (1.0 - before) * (1.0 - opinion::MARKED));
                ("feedback-malicious", fusion::percent(opinion::MARKED), true)
            }
        };
        self.suspected = suspected;
        let detail = opinion.to_string();
        // First: it says why the score is none that the others would give.
        self.reasons
            .insert(0, Reason { source: Source::Feedback, id, score: score.max(1), detail });
    }

    /// Adds what the behaviour model makes of the features, in the place of what it said of them
    /// before. What was found has to be weighed again behind it. Gives its answer; none where it
    /// is not asked, while the subject's profile is learning, and unless it is to be `exact`,
    /// where it is below [`fusion::LEAST`] and so counts as none: it costs less to know just that.
    pub fn behave(
        &mut self,
        scorer: &Scorer,
        vector: &Vector,
        exact: bool,
    ) -> Option<BehaviourScore> {
        self.behaviour_suspects = false;
        if self.behaviour > 0.0 {
            self.reasons.retain(|reason| reason.source != Source::Behaviour);
            self.behaviour = 0.0;
        }
        if vector.learning {
            self.profile = Some(Profile::Learning);
            return None;
        }
        self.profile = Some(Profile::Known);
        self.suspected = self.payload_suspects;
        let model = &scorer.models.behaviour;
        let answer = match exact {
            true => model.score(vector),
            false => model.score_above(&scorer.gate, vector)?,
        };
        self.behaviour_suspects = answer.is_suspicious;
        self.suspected |= answer.is_suspicious;
        if fusion::says(answer.probability) {
            self.behaviour = answer.probability;
            behaviour_reasons(&answer, &mut self.reasons);
        }
        Some(answer)
    }
}

/// What requests are scored with.
#[derive(Clone, Debug)]
pub struct Models {
    /// Whether a request carries an attack.
    pub payload: Arc<PayloadModel>,
    /// Whether a subject behaves as if it were somebody else, or up to something.
    pub behaviour: Arc<BehaviourModel>,
}

impl Models {
    /// Those that are built in.
    ///
    /// # Errors
    /// In a build whose artifacts are for other features, which tests of `jotwatch-models` forbid.
    pub fn built_in() -> anyhow::Result<Self> {
        Ok(Self {
            payload: PayloadModel::embedded().context("the built-in payload model")?.into(),
            behaviour: BehaviourModel::embedded().context("the built-in behaviour model")?.into(),
        })
    }
}

/// Scores what requests carry, one at a time: the part of a score that needs the request alone.
pub struct PayloadScorer {
    model: Arc<PayloadModel>,
    scratch: Scratch,
    /// Header fields of which the payload model has nothing to say.
    harmless: ByShape<()>,
}

/// Scores requests, one at a time.
pub struct Scorer {
    models: Models,
    /// Passes behaviour over that counts as none.
    gate: Gate,
    payload: PayloadScorer,
}

/// Bytes of a target that has fewer parts for the payload model than are left beside those of
/// [`MAX_HARMLESS_PARTS`]: a byte of a query makes one part at most, and the path is one.
const MAX_SHORT_TARGET: usize = MAX_PARTS / 2 - 1;

/// Parts of header fields that may be remembered as harmless.
const MAX_HARMLESS_PARTS: usize = MAX_PARTS / 2;

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer").finish_non_exhaustive()
    }
}

impl Scorer {
    /// A scorer with these models.
    #[must_use]
    pub fn new(models: Models) -> Self {
        // A model may suspect below what counts.
        let floor = fusion::LEAST.min(models.behaviour.calibration.threshold);
        let gate = Gate::new(&models.behaviour, floor);
        let payload = PayloadScorer::new(&models);
        Self { models, gate, payload }
    }

    /// Scores a request with what was found of it and of its tokens. [`Score::behave`] adds its
    /// behaviour.
    pub fn score<'a>(
        &mut self,
        request: &Request,
        tokens: &TokenReport,
        evidence: impl Iterator<Item = Evidence<'a>>,
    ) -> Score {
        let mut score = self.payload(request, tokens);
        score.weigh(evidence);
        score
    }

    /// The part of the score that needs the request and its tokens' claims alone, see
    /// [`PayloadScorer`].
    pub fn payload(&mut self, request: &Request, tokens: &TokenReport) -> Score {
        self.payload.score(request, tokens)
    }
}

impl PayloadScorer {
    /// A scorer with the payload model of these.
    #[must_use]
    pub fn new(models: &Models) -> Self {
        let (scratch, harmless) = (Scratch::default(), ByShape::default());
        Self { model: Arc::clone(&models.payload), scratch, harmless }
    }

    /// What the payload model makes of a request and of its tokens' claims. [`Score::weigh`] adds
    /// what was found, and has to be asked behind it in any case.
    pub fn score(&mut self, request: &Request, tokens: &TokenReport) -> Score {
        // What is left out had nothing to add, and would not be beyond the limits of the model.
        let shape = request.shape().filter(|_| request.target().len() <= MAX_SHORT_TARGET);
        let mut payload = if shape.and_then(|shape| self.harmless.get(shape)).is_some() {
            let (values, len) = values::of_target(request);
            self.model.score(values.get(..len).unwrap_or(&values), &mut self.scratch)
        } else {
            let values = Values::of(request);
            let payload = self.model.score(values.as_slice(), &mut self.scratch);
            if let Some(shape) = shape
                && payload.value.is_none()
                && payload.unscored == 0
                && values.header_parts() <= MAX_HARMLESS_PARTS
            {
                self.harmless.note(shape, ());
            }
            payload
        };
        let mut in_claim = false;
        if let Some(claims) = self.claims(tokens)
            && (!says(&payload) || claims.probability > payload.probability)
        {
            (payload, in_claim) = (PayloadScore { unscored: payload.unscored, ..claims }, true);
        }
        let mut score = Score {
            suspected: payload.is_attack,
            unscored: payload.unscored,
            payload: payload.probability,
            payload_suspects: payload.is_attack,
            ..Score::default()
        };
        if says(&payload) {
            let alone = fusion::percent(fusion::at_base(payload.probability));
            let place = match payload.value {
                _ if in_claim => "a claim".to_owned(),
                at => at.map(|at| Values::of(request).place(at)).unwrap_or_default(),
            };
            payload_reasons(&payload, &place, alone, &mut score.reasons);
        }
        score
    }

    /// The worst of the tokens' claims, where there is anything to tell of them.
    fn claims(&mut self, tokens: &TokenReport) -> Option<PayloadScore> {
        let mut worst: Option<PayloadScore> = None;
        let known = tokens.tokens.iter().filter_map(|token| token.decoded.as_ref());
        for known in known.filter(|known| !known.is_harmless()) {
            let bytes = known.claims().map(|claims| claims.raw()).unwrap_or_default();
            let claims = Value { place: Place::Claim, form: Form::Json, bytes };
            let score = self.model.score(&[claims], &mut self.scratch);
            if !says(&score) {
                known.note_harmless();
            } else if worst.is_none_or(|worst| score.probability > worst.probability) {
                worst = Some(score);
            }
        }
        worst
    }
}

/// Whether the payload model says anything of the request.
fn says(payload: &PayloadScore) -> bool {
    payload.value.is_some() && fusion::says(fusion::at_base(payload.probability))
}

/// What the behaviour model's score rests on, the heaviest first.
fn behaviour_reasons(answer: &BehaviourScore, reasons: &mut SmallVec<[Reason; 0]>) {
    let alone = fusion::percent(answer.probability);
    let heaviest = answer.reasons.iter().flatten().map(|reason| reason.contribution).next();
    for reason in answer.reasons.iter().flatten() {
        // The first has the whole, the others as much as they weigh beside it.
        let share = reason.contribution / heaviest.unwrap_or(reason.contribution);
        let score = fusion::percent(answer.probability * share).clamp(1, alone.max(1));
        let detail = plain::words(reason.feature, reason.value);
        reasons.push(Reason { source: Source::Behaviour, id: reason.feature.id, score, detail });
    }
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
