//! The features of one request.

use super::schema::{FEATURES, Index, WIDTH};

/// One value a feature, in the order of [`FEATURES`]. What is absent is NaN.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    values: [f32; WIDTH],
    /// The subject's profile is too young to be held against: what needs history is absent, and
    /// nothing of behaviour alone may alert.
    pub learning: bool,
}

impl Default for Vector {
    fn default() -> Self {
        Self { values: [f32::NAN; WIDTH], learning: true }
    }
}

impl Vector {
    /// A vector of values by place in [`FEATURES`], each put to the nearest in its range.
    #[must_use]
    pub fn from_values(values: &[f32; WIDTH], learning: bool) -> Self {
        let mut vector = Self { learning, ..Self::default() };
        for ((to, feature), value) in vector.values.iter_mut().zip(&FEATURES).zip(values) {
            *to = value.clamp(feature.low, feature.high);
        }
        vector
    }

    /// The values by place in [`FEATURES`]; each is NaN or in its feature's range.
    #[must_use]
    pub const fn values(&self) -> &[f32; WIDTH] {
        &self.values
    }

    /// The value of a feature; none where it is absent.
    #[must_use]
    pub fn get(&self, feature: Index) -> Option<f32> {
        self.values.get(feature as usize).copied().filter(|v| !v.is_nan())
    }

    /// Sets a feature to the nearest value in its range; NaN makes it absent.
    #[inline]
    pub fn set(&mut self, feature: Index, value: f32) {
        if let Some(to) = self.values.get_mut(feature as usize) {
            *to = Self::in_range(feature, value);
        }
    }

    /// The nearest value in the feature's range; NaN for NaN.
    #[inline]
    pub(super) fn in_range(feature: Index, value: f32) -> f32 {
        FEATURES.get(feature as usize).map_or(value, |f| value.clamp(f.low, f.high))
    }

    /// Sets a feature, or makes it absent.
    #[inline]
    pub fn set_option(&mut self, feature: Index, value: Option<f32>) {
        self.set(feature, value.unwrap_or(f32::NAN));
    }

    /// Any values.
    #[cfg(test)]
    pub(super) const fn of(values: [f32; WIDTH]) -> Self {
        Self { values, learning: true }
    }

    /// Makes absent what compares with the subject's own past, while that is learned.
    pub(super) fn keep_apart_from_history(&mut self) {
        if self.learning {
            for (value, feature) in self.values.iter_mut().zip(&FEATURES) {
                if feature.history {
                    *value = f32::NAN;
                }
            }
        }
    }

    /// All absent.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_zero_and_nothing_leaves_its_range() {
        let mut vector = Vector::default();
        assert!(vector.values().iter().all(|v| v.is_nan()));
        assert_eq!(vector.get(Index::TokenAge), None);
        vector.set(Index::TokenAge, 0.0);
        assert_eq!(vector.get(Index::TokenAge), Some(0.0));
        vector.set(Index::TokenAge, f32::INFINITY);
        assert_eq!(vector.get(Index::TokenAge), Some(32.0));
        vector.set(Index::TokenAge, -1.0);
        assert_eq!(vector.get(Index::TokenAge), Some(0.0));
        vector.set_option(Index::TokenAge, None);
        assert_eq!(vector.get(Index::TokenAge), None);
        let mut values = [f32::NAN; WIDTH];
        values[Index::TokenAge as usize] = f32::INFINITY;
        let vector = Vector::from_values(&values, false);
        assert_eq!(vector.get(Index::TokenAge), Some(32.0));
        assert_eq!(vector.values().iter().filter(|v| v.is_nan()).count(), WIDTH - 1);
        assert!(!vector.learning);
    }
}
