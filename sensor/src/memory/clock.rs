//! Time for tables that outlive a wall clock that is set back.

use std::time::Duration;

use crate::time::Time;

/// A second of the memory's own time, which never runs backwards.
pub(super) type Second = u32;

/// Where the memory's own time begins: larger than any grace, so that 0 is always long ago.
const START: Second = 1 << 20;
/// Events of different connections may be this much out of order without the clock being set back.
const REORDER: Duration = Duration::from_secs(5);
/// The longest step forward that is believed; enough to end everything that is remembered.
const MAX_STEP: Duration = Duration::from_secs(400 * 86_400);

/// Own time follows the wall clock forwards, stands still where the wall clock is set back, and
/// goes on from there: what is remembered neither freezes nor dies with a wrong clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) wall: Time,
    /// Own time in nanoseconds.
    pub(super) own: u64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { wall: Time::EPOCH, own: START as u64 * 1_000_000_000 }
    }

    /// Takes the wall clock's `now`.
    pub(super) fn advance(&mut self, now: Time) -> Second {
        if now >= self.wall {
            if self.wall != Time::EPOCH {
                let step = now.since(self.wall).min(MAX_STEP);
                self.own =
                    self.own.saturating_add(u64::try_from(step.as_nanos()).unwrap_or(u64::MAX));
            }
            self.wall = now;
        } else if self.wall.since(now) > REORDER {
            self.wall = now;
        }
        self.second()
    }

    /// The wall clock was set by so many nanoseconds: own time does not notice.
    pub(super) fn set(&mut self, by: i64) {
        if self.wall != Time::EPOCH {
            self.wall = self.wall.moved(by);
        }
    }

    pub(super) fn second(&self) -> Second {
        Second::try_from(self.own / 1_000_000_000).unwrap_or(Second::MAX - 1)
    }

    /// Own time of a wall clock time in seconds since the epoch (`exp`).
    pub(super) fn of_wall(&self, secs: i64) -> Second {
        let wall = i64::try_from(self.wall.unix_secs()).unwrap_or(i64::MAX);
        let there = i64::from(self.second()).saturating_add(secs.saturating_sub(wall));
        Second::try_from(there.max(0)).unwrap_or(Second::MAX - 1)
    }
}

/// Whole seconds of a configured duration, rounded up.
pub(super) fn seconds(duration: Duration) -> Second {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    Second::try_from(whole).unwrap_or(Second::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_stands_still_and_goes_on() {
        let mut clock = Clock::new();
        let at = |secs: u64| Time::from_unix_secs(1_800_000_000 + secs);
        let start = clock.advance(at(0));
        assert_eq!(clock.advance(at(100)), start + 100);
        // Out of order: neither back nor counted twice.
        assert_eq!(clock.advance(at(97)), start + 100);
        assert_eq!(clock.advance(at(101)), start + 101);
        // Set back by a day.
        assert_eq!(clock.advance(Time::from_unix_secs(1_799_900_000)), start + 101);
        assert_eq!(clock.advance(Time::from_unix_secs(1_799_900_010)), start + 111);
        // Set ahead to the end of time, and back.
        assert!(clock.advance(Time::from_unix_nanos(u64::MAX)) > start + 300 * 86_400);
        let ahead = clock.advance(at(0));
        assert_eq!(clock.advance(at(60)), ahead + 60);
        assert_eq!(clock.of_wall(1_800_000_000 + 90), ahead + 90);
        assert_eq!(clock.of_wall(i64::MIN), 0);
    }

    #[test]
    fn a_clock_that_is_said_to_be_set_moves_nothing() {
        let year = 365 * 86_400;
        let mut clock = Clock::new();
        clock.set(1_000);
        let start = clock.advance(Time::from_unix_secs(1_800_000_000));
        clock.set(year * 1_000_000_000);
        let later = 1_800_000_000 + year as u64 + 10;
        assert_eq!(clock.advance(Time::from_unix_secs(later)), start + 10);
        assert_eq!(clock.of_wall(later as i64 + 5), start + 15);
        clock.set(-year * 1_000_000_000);
        assert_eq!(clock.advance(Time::from_unix_secs(1_800_000_020)), start + 20);
    }
}
