//! The behaviour model: three forests, what they say together, and its artifact.
//!
//! The random forest and the boosted trees have learned what attacks look like, the isolation
//! forest how rare a vector is. A logistic function joins the three, and a monotone curve of
//! straight pieces, fitted on worlds that none has seen, makes a probability of it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `JWBEHAV` and NUL |
//! | 4 | format version, little-endian as everything |
//! | 8 | hash of the feature schema |
//! | 5 × 4 | intercept, weights of the random forest, of the boosted trees and of the anomaly, length of a path in chance |
//! | 4 | threshold on the probability |
//! | 2 | number of knots of the curve |
//! | 8 × n | knots: log-odds and probability, both rising |
//! | … | the random forest, the boosted trees, the isolation forest ([`super::forest`]) |
//! | 32 | SHA-256 of all before |

use super::{
    forest::{Forest, ForestError},
    schema::{FEATURES, Feature, WIDTH, schema_hash},
    vector::Vector,
};
use crate::artifact::{Flaw, Header, seal, take};

/// Bytes of an artifact that are read: the release's limit for models.
pub const MAX_ARTIFACT: usize = 16 << 20;

/// Reasons that a score carries.
pub const MAX_REASONS: usize = 5;

/// The probability from which on a score carries its reasons; below, nobody asks for them.
pub const EXPLAINED_FROM: f32 = 0.05;

/// Knots of the calibration's curve.
pub const MAX_KNOTS: usize = 256;

const MAGIC: [u8; 8] = *b"JWBEHAV\0";
const VERSION: u32 = 2;

/// The model that is built in.
static EMBEDDED: &[u8] = include_bytes!("../../artifacts/behaviour.model");

/// Why bytes are no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The file starts with something else.
    #[error("no behaviour model: it does not start as one")]
    Magic,
    /// Another version of the format.
    #[error("behaviour model of format {found}, this build reads {VERSION}")]
    Version {
        /// The file's.
        found: u32,
    },
    /// Trained for other features.
    #[error(
        "behaviour model for other features: schema {found:016x}, this build has {own:016x}; train it anew"
    )]
    Schema {
        /// The file's.
        found: u64,
        /// This build's.
        own: u64,
    },
    /// Cut off, with something behind, or above [`MAX_ARTIFACT`].
    #[error("behaviour model is torn: {found} bytes")]
    Length {
        /// Bytes there are.
        found: usize,
    },
    /// Changed after it was written.
    #[error("behaviour model is damaged: the checksum is wrong")]
    Checksum,
    /// A number that no training gives.
    #[error("behaviour model has {0}, which no training gives")]
    Number(&'static str),
    /// A forest that is none.
    #[error("behaviour model has a forest that is none: {0}")]
    Forest(#[from] ForestError),
}

/// What the forests say of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answers {
    /// The random forest: log-odds of an attack at even odds, the mean of its trees'.
    pub evidence: f32,
    /// The boosted trees: their log-odds of an attack, without a prior.
    pub boosted: f32,
    /// How soon the isolation forest is alone with it: a half for what is like all others, up to 1.
    pub anomaly: f32,
}

/// How the forests' answers become a probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Log-odds where no forest says anything.
    pub intercept: f32,
    /// Weight of what the random forest says.
    pub forest: f32,
    /// Weight of what the boosted trees say.
    pub boosted: f32,
    /// Weight of the anomaly.
    pub anomaly: f32,
    /// Mean length of a path to a vector that is like all others: the anomaly there is a half.
    pub usual_path: f32,
    /// Joined log-odds and the probability there, both rising; straight between, level beyond.
    pub curve: Vec<(f32, f32)>,
    /// The probability from which on a request is suspicious.
    pub threshold: f32,
}

impl Calibration {
    /// The joined log-odds.
    #[must_use]
    pub fn margin(&self, said: &Answers) -> f32 {
        self.intercept
            + self.forest * said.evidence
            + self.boosted * said.boosted
            + self.anomaly * said.anomaly
    }

    /// The probability for joined log-odds.
    #[must_use]
    pub fn probability(&self, margin: f32) -> f32 {
        let above = self.curve.partition_point(|knot| knot.0 < margin);
        let below = above.checked_sub(1).and_then(|at| self.curve.get(at));
        match (below, self.curve.get(above)) {
            (Some(low), Some(high)) => {
                let part = (margin - low.0) / (high.0 - low.0);
                low.1 + part * (high.1 - low.1)
            }
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 0.0,
        }
    }

    /// The least joined log-odds at which the probability may reach `floor`; infinite where none or
    /// all do.
    pub(super) fn least_margin(&self, floor: f32) -> f32 {
        let at = self.curve.partition_point(|knot| knot.1 < floor);
        match (at.checked_sub(1).and_then(|below| self.curve.get(below)), self.curve.get(at)) {
            (Some(low), Some(high)) => {
                low.0 + (floor - low.1) / (high.1 - low.1) * (high.0 - low.0)
            }
            (None, _) => f32::NEG_INFINITY,
            (_, None) => f32::INFINITY,
        }
    }

    fn is_good(&self) -> bool {
        let numbers = [
            self.intercept,
            self.forest,
            self.boosted,
            self.anomaly,
            self.usual_path,
            self.threshold,
        ];
        numbers.iter().all(|n| n.is_finite())
            && self.usual_path > 0.0
            && (0.0..=1.0).contains(&self.threshold)
            && (1..=MAX_KNOTS).contains(&self.curve.len())
            && self.curve.iter().all(|k| k.0.is_finite() && (0.0..=1.0).contains(&k.1))
            && self
                .curve
                .iter()
                .zip(self.curve.iter().skip(1))
                .all(|(a, b)| a.0 < b.0 && a.1 <= b.1)
    }
}

/// A feature and what it speaks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// The feature.
    pub feature: &'static Feature,
    /// Its value; NaN where that it is absent is the reason.
    pub value: f32,
    /// Log-odds that it adds, before the calibration's curve; above 0.
    pub contribution: f32,
}

/// What a request's behaviour looks like.
#[derive(Clone, Copy, Debug)]
pub struct BehaviourScore {
    /// The calibrated probability of an attack.
    pub probability: f32,
    /// Whether that is at the threshold or above, and the profile is past learning.
    pub is_suspicious: bool,
    /// What the forests say, not calibrated.
    pub answers: Answers,
    /// What speaks most for an attack, heaviest first; none below [`EXPLAINED_FROM`].
    pub reasons: [Option<Reason>; MAX_REASONS],
}

/// The model.
#[derive(Clone, Debug, PartialEq)]
pub struct BehaviourModel {
    /// Log-odds of attacks, the mean of the trees'.
    pub forest: Forest,
    /// Log-odds of attacks, the sum of the trees', each of which stands with as many times its
    /// part as there are trees.
    pub boosted: Forest,
    /// Lengths of paths.
    pub isolation: Forest,
    /// What becomes of both.
    pub calibration: Calibration,
}

impl BehaviourModel {
    /// The model that is built in.
    ///
    /// # Errors
    /// [`ModelError`], if this build's features are not those it was trained for; a test of the
    /// crate sees to it that a release's are.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::from_bytes(EMBEDDED)
    }

    /// As bytes of an artifact.
    ///
    /// # Errors
    /// [`ModelError::Number`] for a calibration that is none.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let calibration = &self.calibration;
        if !calibration.is_good() {
            return Err(ModelError::Number("a calibration"));
        }
        let mut out = header().start();
        for number in [
            calibration.intercept,
            calibration.forest,
            calibration.boosted,
            calibration.anomaly,
            calibration.usual_path,
            calibration.threshold,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(calibration.curve.len() as u16).to_le_bytes());
        for (margin, probability) in &calibration.curve {
            out.extend_from_slice(&margin.to_le_bytes());
            out.extend_from_slice(&probability.to_le_bytes());
        }
        self.forest.write(&mut out);
        self.boosted.write(&mut out);
        self.isolation.write(&mut out);
        seal(&mut out);
        Ok(out)
    }

    /// From the bytes of an artifact.
    ///
    /// # Errors
    /// See [`ModelError`]; nothing of a file that is refused is used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let torn = ModelError::Length { found: bytes.len() };
        let mut rest =
            header().open(bytes, |len| len <= MAX_ARTIFACT).map_err(|flaw| match flaw {
                Flaw::Magic => ModelError::Magic,
                Flaw::Version(found) => ModelError::Version { found },
                Flaw::Schema(found) => ModelError::Schema { found, own: schema_hash() },
                Flaw::Length => torn.clone(),
                Flaw::Checksum => ModelError::Checksum,
            })?;
        let mut float = || take(&mut rest).map(f32::from_le_bytes).ok_or(torn.clone());
        let (intercept, forest) = (float()?, float()?);
        let (boosted, anomaly) = (float()?, float()?);
        let (usual_path, threshold) = (float()?, float()?);
        let knots = u16::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
        if usize::from(knots) > MAX_KNOTS {
            return Err(ModelError::Number("a curve of too many knots"));
        }
        let mut curve = Vec::with_capacity(usize::from(knots));
        for _ in 0..knots {
            let margin = f32::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
            let probability = f32::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
            curve.push((margin, probability));
        }
        let calibration =
            Calibration { intercept, forest, boosted, anomaly, usual_path, curve, threshold };
        if !calibration.is_good() {
            return Err(ModelError::Number("a calibration"));
        }
        let forest = Forest::read(&mut rest)?;
        let boosted = Forest::read(&mut rest)?;
        let isolation = Forest::read(&mut rest)?;
        if !rest.is_empty() {
            return Err(torn);
        }
        Ok(Self { forest, boosted, isolation, calibration })
    }

    /// What the forests say, without more.
    #[must_use]
    pub fn answers(&self, values: &[f32; WIDTH]) -> Answers {
        Answers {
            evidence: self.forest.mean(values),
            boosted: self.boosted.mean(values),
            anomaly: self.anomaly(self.isolation.mean(values)),
        }
    }

    /// The anomaly of a mean length of paths.
    pub(super) fn anomaly(&self, path: f32) -> f32 {
        (-path / self.calibration.usual_path).exp2()
    }

    /// Scores one request.
    #[must_use]
    pub fn score(&self, vector: &Vector) -> BehaviourScore {
        self.score_with(self.answers(vector.values()), vector)
    }

    /// The same where it is known what the forests say.
    pub(super) fn score_with(&self, answers: Answers, vector: &Vector) -> BehaviourScore {
        let values = vector.values();
        let margin = self.calibration.margin(&answers);
        let probability = self.calibration.probability(margin);
        let reasons = if probability >= EXPLAINED_FROM {
            self.reasons(values, answers.anomaly)
        } else {
            [None; MAX_REASONS]
        };
        BehaviourScore {
            probability,
            is_suspicious: probability >= self.calibration.threshold && !vector.learning,
            answers,
            reasons,
        }
    }

    /// What the features add to the log-odds, the greatest [`MAX_REASONS`] above 0.
    ///
    /// The isolation forest's paths are scaled to the log-odds that its whole answer is worth
    /// against the answer it gives to a vector that it knows nothing of.
    fn reasons(&self, values: &[f32; WIDTH], anomaly: f32) -> [Option<Reason>; MAX_REASONS] {
        let calibration = &self.calibration;
        let mut shares = [0.0; WIDTH];
        self.forest.attribute(values, calibration.forest, &mut shares);
        self.boosted.attribute(values, calibration.boosted, &mut shares);
        let base = self.isolation.base();
        let usual = (-base / calibration.usual_path).exp2();
        let path = -anomaly.log2() * calibration.usual_path;
        let worth = calibration.anomaly * (anomaly - usual);
        if path != base {
            self.isolation.attribute(values, worth / (path - base), &mut shares);
        }
        let mut reasons: [Option<Reason>; MAX_REASONS] = [None; MAX_REASONS];
        for ((feature, value), contribution) in FEATURES.iter().zip(values).zip(shares) {
            // No number here is NaN, but a comparison must not hang on it.
            if contribution.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
                continue;
            }
            let rank = reasons.iter().position(|r| r.is_none_or(|r| r.contribution < contribution));
            if let Some(lower) = rank.and_then(|rank| reasons.get_mut(rank..)) {
                lower.rotate_right(1);
                if let Some(slot) = lower.first_mut() {
                    *slot = Some(Reason { feature, value: *value, contribution });
                }
            }
        }
        reasons
    }
}

fn header() -> Header {
    Header { magic: MAGIC, version: VERSION, schema: schema_hash() }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{
        super::{
            forest::tests::{some, vector},
            schema::Index,
        },
        *,
    };
    use crate::artifact::CHECKSUM;

    fn model() -> BehaviourModel {
        BehaviourModel {
            forest: Forest::new(&some(2, 1)).unwrap(),
            boosted: Forest::new(&some(2, 4)).unwrap(),
            isolation: Forest::new(&some(1, 7)).unwrap(),
            calibration: Calibration {
                intercept: -4.0,
                forest: 1.5,
                boosted: 0.5,
                anomaly: 2.0,
                usual_path: 10.0,
                curve: vec![(-9.0, 0.001), (0.0, 0.5), (4.0, 0.99)],
                threshold: 0.9,
            },
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let bytes = model().to_bytes().unwrap();
        assert_eq!(BehaviourModel::from_bytes(&bytes), Ok(model()));
    }

    #[test]
    fn torn_and_damaged_is_refused() {
        let bytes = model().to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(BehaviourModel::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(BehaviourModel::from_bytes(&changed).is_err(), "{at}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(BehaviourModel::from_bytes(&longer), Err(ModelError::Checksum));
        let mut other = bytes;
        other[8] = 1;
        assert_eq!(BehaviourModel::from_bytes(&other), Err(ModelError::Version { found: 1 }));
        other[8] = VERSION as u8;
        other[12] ^= 1;
        assert!(matches!(BehaviourModel::from_bytes(&other), Err(ModelError::Schema { .. })));
        assert_eq!(BehaviourModel::from_bytes(b"something else"), Err(ModelError::Magic));
    }

    /// With a checksum that fits, so that what is behind it is looked at.
    #[test]
    fn what_no_training_gives_is_refused() {
        let bytes = model().to_bytes().unwrap();
        let with = |at: usize, bytes_there: &[u8]| {
            let mut body = bytes[..bytes.len() - CHECKSUM].to_vec();
            body[at..at + bytes_there.len()].copy_from_slice(bytes_there);
            let sum = Sha256::digest(&body);
            body.extend_from_slice(&sum);
            BehaviourModel::from_bytes(&body)
        };
        let number = Err(ModelError::Number("a calibration"));
        assert_eq!(with(20, &f32::NAN.to_le_bytes()), number);
        assert_eq!(with(36, &0_f32.to_le_bytes()), number);
        assert_eq!(with(40, &1.5_f32.to_le_bytes()), number);
        // The second knot below the first.
        assert_eq!(with(46 + 8, &(-10_f32).to_le_bytes()), number);
        // A forest of more nodes than there are.
        assert!(matches!(with(46 + 24, &[255]), Err(ModelError::Forest(_))));
        assert_eq!(with(0, b"J"), Ok(model()));
        let mut wild = model();
        wild.calibration.curve[1].1 = 0.0;
        assert_eq!(wild.to_bytes(), Err(ModelError::Number("a calibration")));
    }

    #[test]
    fn the_curve_is_straight_between_its_knots() {
        let calibration = model().calibration;
        assert_eq!(calibration.probability(-20.0), 0.001);
        assert_eq!(calibration.probability(20.0), 0.99);
        assert!((calibration.probability(2.0) - 0.745).abs() < 1e-6);
        let mut last = 0.0;
        for n in -100..100 {
            let now = calibration.probability(n as f32 / 10.0);
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn reasons_are_ranked_and_above_zero() {
        let model = model();
        for seed in 0..200 {
            let values = vector(seed);
            let reasons = model.reasons(&values, model.answers(&values).anomaly);
            let weights: Vec<f32> = reasons.iter().flatten().map(|r| r.contribution).collect();
            assert!(weights.iter().all(|w| *w > 0.0));
            assert!(weights.is_sorted_by(|a, b| a >= b), "{weights:?}");
        }
    }

    #[test]
    fn a_learning_profile_raises_no_alert() {
        let mut model = model();
        model.calibration.curve = vec![(0.0, 1.0)];
        let mut vector = Vector::default();
        vector.set(Index::TokenAge, 1.0);
        assert!(vector.learning && !model.score(&vector).is_suspicious);
        vector.learning = false;
        assert!(model.score(&vector).is_suspicious);
    }

    #[test]
    fn the_model_that_is_built_in_loads() {
        let model = BehaviourModel::embedded().unwrap();
        assert!(EMBEDDED.len() < MAX_ARTIFACT);
        assert!(!model.score(&Vector::default()).is_suspicious);
    }
}
