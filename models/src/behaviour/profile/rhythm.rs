//! When a subject is active: counts in windows that slide, intervals, and hours of the week.

use super::{
    math,
    usual::{fixed, unfixed},
    wire::{Wire, wire},
};

/// A number of things that stays at its greatest value.
pub(super) trait Count: Copy + Default + Wire + TryFrom<u32> + Into<u32> {
    /// The greatest value.
    const MOST: Self;
}

impl Count for u16 {
    const MOST: Self = Self::MAX;
}

impl Count for u32 {
    const MOST: Self = Self::MAX;
}

/// A count in a window and in the one before it.
///
/// The last window's length up to now is read as all of this window and a part of the one before,
/// as if that had been filled evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sliding<T> {
    pub(super) now: T,
    before: T,
}

impl<T: Count> Sliding<T> {
    pub(super) fn add(&mut self, more: u32) {
        self.now = T::try_from(self.now.into().saturating_add(more)).unwrap_or(T::MOST);
    }

    /// In the last window's length, of which `past` (0..=1) lies in this window.
    pub(super) fn last(self, past: f32) -> f32 {
        self.now.into() as f32 + self.before.into() as f32 * (1.0 - past)
    }

    /// A window is over, and `windows - 1` with nothing in them.
    pub(super) fn roll(&mut self, windows: u64) {
        let before = if windows == 1 { self.now } else { T::default() };
        *self = Self { now: T::default(), before };
    }
}

impl<T: Wire> Wire for Sliding<T> {
    const SIZE: usize = 2 * T::SIZE;

    fn put(&self, out: &mut Vec<u8>) {
        self.now.put(out);
        self.before.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self { now: T::take(from)?, before: T::take(from)? })
    }
}

/// A mean of the latest values: each counts a sixteenth, the first ones evenly.
pub(super) fn latest(mean: f32, value: f32, seen: u8) -> f32 {
    const SHARE: f32 = 1.0 / 16.0;
    mean + (value - mean) * SHARE.max(1.0 / (f32::from(seen) + 1.0))
}

/// How evenly requests follow on each other within a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals {
    mean: u16,
    spread: u16,
    seen: u8,
}

wire!(Intervals { mean: u16, spread: u16, seen: u8 });

impl Intervals {
    /// Intervals after which their spread says something.
    const ENOUGH: u8 = 8;

    /// An interval in milliseconds.
    pub(super) fn see(&mut self, interval_ms: u64) {
        let value = math::log2_1p(interval_ms as f32);
        let mean = if self.seen == 0 { value } else { unfixed(self.mean) };
        let spread = latest(unfixed(self.spread), (value - mean).abs(), self.seen);
        self.mean = fixed(latest(mean, value, self.seen));
        self.spread = fixed(spread);
        self.seen = self.seen.saturating_add(1);
    }

    /// A session is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// The mean absolute deviation of the latest intervals, on the scale of log2.
    pub(super) fn spread(self) -> Option<f32> {
        (self.seen >= Self::ENOUGH).then(|| unfixed(self.spread))
    }
}

/// Steps of two hours in a week.
const STEPS: usize = 84;
const STEPS_A_DAY: usize = 12;

/// The hours of the week in which a subject is active, in steps of two hours, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Week {
    /// Active hours a step, 4 bits each; all halve when one is full.
    steps: [u8; STEPS / 2],
    total: u16,
}

wire!(Week { steps: [u8; STEPS / 2], total: u16 });

impl Default for Week {
    fn default() -> Self {
        Self { steps: [0; STEPS / 2], total: 0 }
    }
}

impl Week {
    /// Where an hour since 1970 lies in its week.
    const fn step(hour: u64) -> usize {
        (hour % (7 * 24) / 2) as usize
    }

    fn count(&self, step: usize) -> u8 {
        let byte = self.steps.get(step / 2).copied().unwrap_or_default();
        byte >> (step % 2 * 4) & 15
    }

    /// The subject was active in an hour that is over.
    pub(super) fn learn(&mut self, hour: u64) {
        let step = Self::step(hour);
        if self.count(step) == 15 {
            self.total = 0;
            for byte in &mut self.steps {
                *byte = *byte >> 1 & 0x77;
                self.total += u16::from(*byte & 15) + u16::from(*byte >> 4);
            }
        }
        if let Some(byte) = self.steps.get_mut(step / 2) {
            *byte += 1 << (step % 2 * 4);
            self.total = self.total.saturating_add(1);
        }
    }

    /// log2 of how much rarer the subject is active about this hour than if all were alike. The
    /// step itself counts most, its neighbours half, the other days' a quarter of that: a week is
    /// long, and days are alike before weeks are.
    pub(super) fn surprise(&self, hour: u64) -> f32 {
        let step = Self::step(hour);
        let mut near = 0.0;
        for day in 0..7 {
            let at = step + day * STEPS_A_DAY;
            let here = f32::from(self.count(at % STEPS));
            let about = self.count((at + 1) % STEPS) + self.count((at + STEPS - 1) % STEPS);
            let weight = if day == 0 { 1.0 } else { 0.25 };
            near += weight * (here + 0.5 * f32::from(about));
        }
        // What the weights of one week's steps add up to: (1 + 6/4) · (1 + 2/2).
        let even = f32::from(self.total) * 5.0 / STEPS as f32;
        math::log2((even + 1.0) / (near + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the list of all that was counted.
        #[test]
        fn windows_slide_over_what_was_counted(
            steps in prop::collection::vec((0_u64..250, 1_u32..5), 1..60),
        ) {
            const WINDOW: u64 = 100;
            let mut sliding = Sliding::<u32>::default();
            let mut all: Vec<(u64, u32)> = Vec::new();
            let mut now = 1_000;
            for (pass, more) in steps {
                let windows = (now + pass) / WINDOW - now / WINDOW;
                if windows > 0 {
                    sliding.roll(windows);
                }
                now += pass;
                sliding.add(more);
                all.push((now, more));
                let within = |window: u64| -> u32 {
                    all.iter().filter(|(at, _)| at / WINDOW == window).map(|(_, n)| n).sum()
                };
                let past = (now % WINDOW) as f32 / WINDOW as f32;
                let (this, before) = (within(now / WINDOW), within(now / WINDOW - 1));
                prop_assert_eq!(sliding.now, this);
                let want = this as f32 + before as f32 * (1.0 - past);
                prop_assert!((sliding.last(past) - want).abs() < 1e-3);
            }
        }

        #[test]
        fn the_week_counts_active_hours(hours in prop::collection::vec(0_u64..2000, 0..300)) {
            let mut week = Week::default();
            let mut counts = [0_u16; STEPS];
            for hour in hours {
                let at = (hour / 2 % 84) as usize;
                if counts[at] == 15 {
                    counts.iter_mut().for_each(|c| *c /= 2);
                }
                counts[at] += 1;
                week.learn(hour);
                prop_assert!((0..STEPS).all(|s| u16::from(week.count(s)) == counts[s]));
                prop_assert_eq!(week.total, counts.iter().sum::<u16>());
            }
        }
    }

    #[test]
    fn counts_stay_at_their_greatest() {
        let mut sliding = Sliding::<u16>::default();
        sliding.add(u32::MAX);
        sliding.add(1);
        assert_eq!(sliding.now, u16::MAX);
        let mut sliding = Sliding::<u32>::default();
        sliding.add(u32::MAX);
        sliding.add(1);
        assert_eq!(sliding.now, u32::MAX);
    }

    #[test]
    fn a_machine_is_even_and_a_person_is_not() {
        let (mut machine, mut person) = (Intervals::default(), Intervals::default());
        for k in 0..40_u64 {
            assert_eq!(machine.spread().is_some(), k >= 8);
            machine.see(1000 + k % 5);
            person.see([200, 30_000, 900, 4_000, 90][(k % 5) as usize]);
        }
        assert!(machine.spread().unwrap() < 0.05, "{machine:?}");
        assert!(person.spread().unwrap() > 1.5, "{person:?}");
        person.end();
        assert_eq!(person.spread(), None);
    }

    #[test]
    fn nights_are_rare_for_who_works_by_day() {
        let mut week = Week::default();
        assert_eq!(week.surprise(3), 0.0);
        for day in 0..28 {
            if day % 7 < 5 {
                (8..18).for_each(|hour| week.learn(day * 24 + hour));
            }
        }
        let day = 28 * 24;
        let (noon, night) = (week.surprise(day + 12), week.surprise(day + 2));
        let (weekend, weekend_night) = (week.surprise(day + 132), week.surprise(day + 122));
        assert!(noon < -0.8 && night > 2.0, "{noon} {night}");
        assert!(noon < weekend && weekend < weekend_night, "{weekend} {weekend_night}");
    }
}
