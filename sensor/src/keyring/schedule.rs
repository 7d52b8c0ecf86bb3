//! When keys are fetched. Only the monotonic clock counts: a wall clock that is set back or
//! forward moves nothing.

use std::time::{Duration, Instant};

/// What [`Schedule`] goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The longest time between two fetches.
    pub(super) refresh: Duration,
    /// The shortest time between two fetches that an unknown `kid` asked for, and the shortest
    /// that `max-age` may ask for.
    pub(super) unknown_kid: Duration,
    /// The wait behind the first failure. It doubles with each further one, up to `refresh`.
    pub(super) retry: Duration,
}

/// When one issuer's keys are fetched.
#[derive(Debug)]
pub(super) struct Schedule {
    next: Instant,
    failures: u32,
    asked: Option<Instant>,
}

impl Schedule {
    /// The first fetch is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, failures: 0, asked: None }
    }

    /// When the next fetch is due; `wanted` is whether an unknown `kid` asks for one.
    pub(super) fn due(&self, wanted: bool, now: Instant, pace: &Pace) -> Instant {
        if !wanted {
            return self.next;
        }
        self.next.min(self.asked.map_or(now, |asked| asked + pace.unknown_kid))
    }

    /// The next fetch that no unknown `kid` hastens.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self, wanted: bool, now: Instant) {
        if wanted {
            self.asked = Some(now);
        }
    }

    /// The fetch brought a set. `chance` is from 0 to 1: it spreads the fetches of many sensors
    /// over a tenth of the time.
    pub(super) fn succeeded(
        &mut self,
        now: Instant,
        max_age: Option<Duration>,
        pace: &Pace,
        chance: f64,
    ) {
        self.failures = 0;
        let least = pace.unknown_kid.min(pace.refresh);
        let wait = max_age.unwrap_or(pace.refresh).clamp(least, pace.refresh);
        self.next = now + wait.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 10.0);
    }

    /// The fetch brought nothing. The wait is spread over its second half.
    pub(super) fn failed(&mut self, now: Instant, pace: &Pace, chance: f64) {
        let doubled = pace.retry.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(pace.refresh);
        self.next = now + wait.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        refresh: Duration::from_secs(3_600),
        unknown_kid: Duration::from_secs(60),
        retry: Duration::from_secs(5),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn max_age_counts_within_bounds() {
        let now = Instant::now();
        for (max_age, wait) in
            [(None, 3_600), (Some(600), 600), (Some(0), 60), (Some(u64::MAX), 3_600)]
        {
            let mut schedule = Schedule::new(now);
            assert_eq!(schedule.next(), now);
            schedule.succeeded(now, max_age.map(seconds), &PACE, 0.0);
            assert_eq!(schedule.next(), now + seconds(wait), "{max_age:?}");
            schedule.succeeded(now, max_age.map(seconds), &PACE, 1.0);
            assert_eq!(schedule.next(), now + seconds(wait).mul_f64(0.9), "{max_age:?}");
        }
    }

    #[test]
    fn waits_double_behind_failures_up_to_the_refresh() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        for wait in [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600] {
            schedule.failed(now, &PACE, 0.0);
            assert_eq!(schedule.next(), now + seconds(wait));
        }
        for _ in 0..100 {
            schedule.failed(now, &PACE, 1.0);
            assert_eq!(schedule.next(), now + seconds(1_800));
        }
        schedule.succeeded(now, None, &PACE, 0.0);
        schedule.failed(now, &PACE, 1.0);
        assert_eq!(schedule.next(), now + seconds(5).mul_f64(0.5));
    }

    /// Also where the server fails: unknown `kid`s come from whoever sends tokens.
    #[test]
    fn unknown_kids_hasten_one_fetch_a_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.begin(false, start);
        schedule.succeeded(start, None, &PACE, 0.0);
        let mut fetches = Vec::new();
        for second in 0..1_000 {
            let now = start + seconds(second);
            assert_eq!(schedule.due(false, now, &PACE), schedule.next());
            if schedule.due(true, now, &PACE) <= now {
                fetches.push(second);
                schedule.begin(true, now);
                if second % 120 == 0 {
                    schedule.succeeded(now, None, &PACE, 0.0);
                } else {
                    schedule.failed(now, &Pace { retry: PACE.refresh, ..PACE }, 0.0);
                }
            }
        }
        assert_eq!(fetches, (0..1_000).step_by(60).collect::<Vec<_>>());
    }
}
