//! The trained artifact: a fixed header, weights, and a checksum over both.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `JWPAYLD` and NUL |
//! | 4 | format version, little-endian as everything |
//! | 8 | hash of the feature schema |
//! | 4 | number of weights |
//! | 4 | bias, in steps |
//! | 4 | the margin from which on a request is taken for an attack, in steps |
//! | 4 | number of knots of the calibration |
//! | 16 × (4 + 4) | knots: margin and log-odds, in steps; zero behind the last |
//! | 2 × n | weights, in steps |
//! | 32 | SHA-256 of all before |

use sha2::{Digest, Sha256};

use super::{
    NO_EVIDENCE,
    curve::{Curve, MAX_KNOTS},
    keywords, schema,
};
use crate::artifact::{CHECKSUM, Flaw, Header, seal, take};

const MAGIC: [u8; 8] = *b"JWPAYLD\0";
const VERSION: u32 = 2;
/// Bytes in front of the weights.
const HEADER: usize = Header::SIZE + 4 + 4 + 4 + 4 + 8 * MAX_KNOTS;
/// Bytes of an artifact.
const WANTED: usize = HEADER + 2 * schema::WIDTH + CHECKSUM;

/// To be raised when a detector changes its meaning under the same name.
const SCHEMA_VERSION: u32 = 2;

/// Weights are whole numbers of this: fine enough to be lost in the calibration, coarse enough
/// that rounding in the last place of the training does not reach the file.
const STEP: f64 = 1.0 / 1024.0;

/// Why bytes are no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The file starts with something else.
    #[error("no payload model: it does not start as one")]
    Magic,
    /// Another version of the format.
    #[error("payload model of format {found}, this build reads {VERSION}")]
    Version {
        /// The file's.
        found: u32,
    },
    /// Trained for other features.
    #[error(
        "payload model for other features: schema {found:016x}, this build has {own:016x}; train it anew"
    )]
    Schema {
        /// The file's.
        found: u64,
        /// This build's.
        own: u64,
    },
    /// Cut off or with something behind.
    #[error("payload model is torn: {found} bytes, {wanted} expected")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        wanted: usize,
    },
    /// Changed after it was written.
    #[error("payload model is damaged: the checksum is wrong")]
    Checksum,
    /// A number that no training gives.
    #[error("payload model has {0}, which is no finite number in range")]
    Number(&'static str),
}

/// What training finds and scoring uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One a feature, by place in the schema.
    pub weights: Vec<f32>,
    /// The margin of a piece in front of its features.
    pub bias: f32,
    /// From margins to log-odds.
    pub curve: Curve,
    /// The margin from which on a request is taken for an attack.
    pub threshold: f32,
}

/// A hash of everything that gives a weight its meaning.
#[must_use]
pub fn schema_hash() -> u64 {
    let mut hash = Sha256::new();
    hash.update(SCHEMA_VERSION.to_le_bytes());
    for feature in schema::FEATURES {
        hash.update(feature.id);
        hash.update([0]);
    }
    for (kind, cats, words) in keywords::GROUPS {
        hash.update([*kind]);
        hash.update(cats.to_le_bytes());
        hash.update(words);
        hash.update([0]);
    }
    for word in keywords::HANDLERS {
        hash.update(word);
        hash.update([0]);
    }
    hash.update([
        schema::TOKEN_BUCKETS.trailing_zeros() as u8,
        schema::CHAR_BUCKETS.trailing_zeros() as u8,
    ]);
    let digest = hash.finalize();
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    u64::from_le_bytes(first)
}

/// `value` in steps.
fn steps<T: TryFrom<i64>>(value: f64) -> Option<T> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "out of range becomes the nearest, which T refuses"
    )]
    let whole = (value / STEP).round() as i64;
    if value.is_finite() { T::try_from(whole).ok() } else { None }
}

/// What so many steps are.
#[expect(clippy::cast_possible_truncation, reason = "an f32 is what scores are made of")]
fn value_of(steps: i32) -> f32 {
    (f64::from(steps) * STEP) as f32
}

impl Weights {
    /// As bytes of an artifact.
    ///
    /// # Errors
    /// [`ModelError::Number`], if a weight is not finite or beyond ±32; [`ModelError::Length`], if
    /// there is not one weight a feature.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        if self.weights.len() != schema::WIDTH {
            return Err(ModelError::Length { found: self.weights.len(), wanted: schema::WIDTH });
        }
        let mut out = header().start();
        out.extend_from_slice(&(schema::WIDTH as u32).to_le_bytes());
        let bias: i32 = steps(self.bias.into()).ok_or(ModelError::Number("its bias"))?;
        out.extend_from_slice(&bias.to_le_bytes());
        let threshold: i32 =
            steps(self.threshold.into()).ok_or(ModelError::Number("its threshold"))?;
        out.extend_from_slice(&threshold.to_le_bytes());
        let knots = self.curve.knots();
        out.extend_from_slice(&(knots.len() as u32).to_le_bytes());
        for at in 0..MAX_KNOTS {
            let (margin, odds) = knots.get(at).copied().unwrap_or_default();
            for value in [margin, odds] {
                let value: i32 =
                    steps(value.into()).ok_or(ModelError::Number("its calibration"))?;
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        for weight in &self.weights {
            let weight: i16 = steps((*weight).into()).ok_or(ModelError::Number("a weight"))?;
            out.extend_from_slice(&weight.to_le_bytes());
        }
        seal(&mut out);
        Ok(out)
    }

    /// From the bytes of an artifact.
    ///
    /// # Errors
    /// See [`ModelError`]; nothing of a file that is refused is used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let torn = ModelError::Length { found: bytes.len(), wanted: WANTED };
        let mut rest = header().open(bytes, |len| len == WANTED).map_err(|flaw| match flaw {
            Flaw::Magic => ModelError::Magic,
            Flaw::Version(found) => ModelError::Version { found },
            Flaw::Schema(found) => ModelError::Schema { found, own: schema_hash() },
            Flaw::Length => torn.clone(),
            Flaw::Checksum => ModelError::Checksum,
        })?;
        let count = u32::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
        if count as usize != schema::WIDTH {
            return Err(torn);
        }
        let mut whole = || take(&mut rest).map(i32::from_le_bytes).ok_or(torn.clone());
        let bias = value_of(whole()?);
        let threshold = value_of(whole()?);
        if threshold <= NO_EVIDENCE {
            return Err(ModelError::Number("its threshold"));
        }
        let count = whole()?;
        let mut knots = Vec::with_capacity(MAX_KNOTS);
        for at in 0..MAX_KNOTS as i32 {
            match (whole()?, whole()?) {
                (margin, odds) if at < count => knots.push((value_of(margin), value_of(odds))),
                (0, 0) => {}
                _ => return Err(ModelError::Number("its calibration")),
            }
        }
        let curve = Curve::new(knots)
            .filter(|curve| i32::try_from(curve.knots().len()) == Ok(count))
            .ok_or(ModelError::Number("its calibration"))?;
        let mut weights = Vec::with_capacity(schema::WIDTH);
        while weights.len() < schema::WIDTH {
            let weight = i16::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
            weights.push(f32::from(weight) * STEP as f32);
        }
        Ok(Self { weights, bias, curve, threshold })
    }
}

fn header() -> Header {
    Header { magic: MAGIC, version: VERSION, schema: schema_hash() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let weights = (0..schema::WIDTH).map(|n| (n % 64) as f32 / 32.0 - 1.0).collect();
        let curve = Curve::new(vec![(-6.0, -4.5), (-1.0, -4.5), (0.5, 1.25), (4.0, 7.0)]).unwrap();
        Weights { weights, bias: -2.5, curve, threshold: 0.75 }
    }

    #[test]
    fn comes_back_as_it_was() {
        let bytes = weights().to_bytes().unwrap();
        assert_eq!(Weights::from_bytes(&bytes), Ok(weights()));
        assert_eq!(Weights::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
    }

    #[test]
    fn torn_and_damaged_is_refused() {
        let bytes = weights().to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(Weights::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Weights::from_bytes(&changed).is_err(), "{at}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(Weights::from_bytes(&longer), Err(ModelError::Length { .. })));
        let mut other = bytes;
        other[8] = 1;
        assert_eq!(Weights::from_bytes(&other), Err(ModelError::Version { found: 1 }));
        other[8] = 2;
        other[12] ^= 1;
        assert!(matches!(Weights::from_bytes(&other), Err(ModelError::Schema { .. })));
        assert_eq!(Weights::from_bytes(b"something else"), Err(ModelError::Magic));
    }

    #[test]
    fn what_no_training_gives_is_refused() {
        let mut wild = weights();
        wild.weights[3] = f32::NAN;
        assert_eq!(wild.to_bytes(), Err(ModelError::Number("a weight")));
        wild.weights[3] = 33.0;
        assert_eq!(wild.to_bytes(), Err(ModelError::Number("a weight")));
        let nan = Weights { threshold: f32::NAN, ..weights() };
        assert_eq!(nan.to_bytes(), Err(ModelError::Number("its threshold")));
        // Sealed, but wrong: a threshold that every request is at, and calibrations that fall, have
        // no knot, more than there is room for, or something behind the last.
        let good = weights().to_bytes().unwrap();
        let threshold = Header::SIZE + 8;
        let (count, knots) = (threshold + 4, threshold + 8);
        for (at, value, what) in [
            (threshold, -6 * 1024, "its threshold"),
            (count, 0, "its calibration"),
            (count, 3, "its calibration"),
            (count, -1, "its calibration"),
            (count, 17, "its calibration"),
            (knots + 4, 9 * 1024, "its calibration"),
            (knots + 8, -7 * 1024, "its calibration"),
            (knots + 8 * 15, 1, "its calibration"),
        ] {
            let mut wrong = good.clone();
            wrong[at..at + 4].copy_from_slice(&i32::to_le_bytes(value));
            wrong.truncate(WANTED - CHECKSUM);
            seal(&mut wrong);
            assert_eq!(Weights::from_bytes(&wrong), Err(ModelError::Number(what)), "{at} {value}");
        }
    }
}
