//! How many requests are answered.

use std::time::{Duration, Instant};

/// A bucket of so many requests that fills in a second.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant, per_second: u32) -> Self {
        Self { left: f64::from(per_second), at: now }
    }

    /// Takes one out, or says how long it takes until there is one.
    pub(super) fn take(&mut self, now: Instant, per_second: u32) -> Result<(), Duration> {
        let rate = f64::from(per_second.max(1));
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.left = (self.left + filled).min(rate);
        self.at = self.at.max(now);
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / rate));
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_a_second_fills() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, 10);
        for _ in 0..10 {
            assert_eq!(bucket.take(start, 10), Ok(()));
        }
        let wait = bucket.take(start, 10).unwrap_err();
        assert!((0.099..=0.101).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(bucket.take(start + Duration::from_millis(50), 10).is_err());
        assert_eq!(bucket.take(start + Duration::from_millis(101), 10), Ok(()));
        // No more than a second's is saved up, and a lower rate holds at once.
        let later = start + Duration::from_secs(60);
        let taken = (0..20).filter(|_| bucket.take(later, 5).is_ok()).count();
        assert_eq!(taken, 5);
        assert!(bucket.take(start, 5).is_err(), "a clock that goes back fills nothing");
    }
}
