//! How often something took how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in seconds; what is over the last has a bucket of its own.
pub const BOUNDS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
    3_600.0,
];

/// Counts of durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// By bucket, the one without a bound last.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All of them together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many up to each bound, and all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> + '_ {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [0.0, 0.5, 0.6, 1.0, 9_999.0, 1e9] {
            histogram.record(Duration::from_secs_f64(millis / 1_000.0));
        }
        assert_eq!(histogram.count(), 6);
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[0], (Some(0.000_5), 2));
        assert_eq!(cumulative[1], (Some(0.001), 4));
        assert_eq!(cumulative[13], (Some(10.0), 5));
        assert_eq!(cumulative[15], (Some(3_600.0), 5));
        assert_eq!(cumulative[16], (None, 6));
        assert!((histogram.sum - 1_000_009.999_1 - 0.002).abs() < 1.0);
    }
}
