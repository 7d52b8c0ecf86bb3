//! The trained artifact: a fixed header, weights, and a checksum over both.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `JWPAYLD` and NUL |
//! | 4 | format version, little-endian as everything |
//! | 8 | hash of the feature schema |
//! | 4 | number of weights |
//! | 4 | bias, in steps |
//! | 4 + 4 | calibration: slope and intercept, `f32` |
//! | 4 | threshold on the calibrated probability, `f32` |
//! | 2 × n | weights, in steps |
//! | 32 | SHA-256 of all before |

use sha2::{Digest, Sha256};

use super::{keywords, schema};
use crate::artifact::{CHECKSUM, Flaw, Header, seal, take};

const MAGIC: [u8; 8] = *b"JWPAYLD\0";
const VERSION: u32 = 1;
/// Bytes in front of the weights.
const HEADER: usize = Header::SIZE + 4 + 4 + 8 + 4;
/// Bytes of an artifact.
const WANTED: usize = HEADER + 2 * schema::WIDTH + CHECKSUM;

/// To be raised when a detector changes its meaning under the same name.
const SCHEMA_VERSION: u32 = 1;

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
    /// Slope of the calibration: log-odds a unit of margin.
    pub slope: f32,
    /// Log-odds at margin 0.
    pub intercept: f32,
    /// The calibrated probability from which on a request is taken for an attack.
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
        for value in [self.slope, self.intercept, self.threshold] {
            out.extend_from_slice(&value.to_le_bytes());
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
        let bias = i32::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
        let mut float = |name| {
            let value = f32::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
            if value.is_finite() { Ok(value) } else { Err(ModelError::Number(name)) }
        };
        let (slope, intercept, threshold) =
            (float("its slope")?, float("its intercept")?, float("its threshold")?);
        if slope <= 0.0 || !(0.0..=1.0).contains(&threshold) {
            return Err(ModelError::Number("its calibration"));
        }
        let mut weights = Vec::with_capacity(schema::WIDTH);
        while weights.len() < schema::WIDTH {
            let weight = i16::from_le_bytes(take(&mut rest).ok_or(torn.clone())?);
            weights.push(f32::from(weight) * STEP as f32);
        }
        #[expect(clippy::cast_possible_truncation, reason = "an f32 is what scores are made of")]
        let bias = (f64::from(bias) * STEP) as f32;
        Ok(Self { weights, bias, slope, intercept, threshold })
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
        Weights { weights, bias: -2.5, slope: 1.25, intercept: -0.5, threshold: 0.9 }
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
        other[8] = 2;
        assert_eq!(Weights::from_bytes(&other), Err(ModelError::Version { found: 2 }));
        other[8] = 1;
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
        let nan = Weights { slope: f32::NAN, ..weights() };
        assert_eq!(
            Weights::from_bytes(&nan.to_bytes().unwrap()),
            Err(ModelError::Number("its slope"))
        );
    }
}
