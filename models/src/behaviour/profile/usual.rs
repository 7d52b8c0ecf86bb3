//! What is usual: a mean and a mean absolute deviation that decay, and that nobody moves fast.

use super::{math, wire::wire};

/// Values from which on the usual is held to its pace; until then it is their plain mean.
pub(super) const WARM: u32 = 8;

/// The least mean absolute deviation that a value is held against: what never varied may double
/// without being more than two usual deviations off.
const SPREAD_FLOOR: f32 = 0.4;

/// What the deviation is taken for before the first one is known.
const SPREAD_FIRST: f32 = 1.0;

/// A normal distribution's standard deviation over its mean absolute deviation: √(π/2).
const DEVIATIONS: f32 = 1.2533;

/// Steps of what is stored: of a logarithm to base 2, a thousandth.
const STEPS: f32 = 1024.0;

/// How fast the usual follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(f32);

impl Pace {
    /// A subject's own, a value a window: half of it is younger than 11 windows.
    pub(super) const OWN: Self = Self(1.0 / 16.0);
    /// What many subjects share.
    pub(super) const SHARED: Self = Self(1.0 / 64.0);

    /// How far one value may move mean and deviation once they are warm, on the scale of log2: as
    /// far as a value that is twice the usual. A burst moves what it is held against by 4.4% a
    /// window and not more, whatever its size.
    const fn most(self) -> f32 {
        self.0
    }
}

/// A value between 0 and 64 in a thousandth's steps.
pub(super) fn fixed(value: f32) -> u16 {
    (value * STEPS + 0.5) as u16
}

pub(super) fn unfixed(value: u16) -> f32 {
    f32::from(value) / STEPS
}

/// Of values on the scale of log2, 0..64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usual {
    mean: u16,
    /// 0 where nothing was learned.
    spread: u16,
}

wire!(Usual { mean: u16, spread: u16 });

impl Usual {
    /// Takes a value into account, `seen` of its like behind it.
    pub(super) fn learn(&mut self, value: f32, seen: u32, pace: Pace) {
        if self.spread == 0 {
            *self = Self { mean: fixed(value), spread: fixed(SPREAD_FIRST) };
            return;
        }
        let (mean, spread) = (unfixed(self.mean), unfixed(self.spread));
        let delta = value - mean;
        let growth = delta.abs() - spread;
        let (move_, widen) = if seen < WARM {
            // The first deviation counts as one value.
            (delta / (seen as f32 + 1.0), growth / (seen as f32 + 2.0))
        } else {
            let most = pace.most();
            ((delta * pace.0).clamp(-most, most), (growth * pace.0).clamp(-most, most))
        };
        self.mean = fixed(mean + move_);
        self.spread = fixed(spread + widen).max(1);
    }

    /// How many usual deviations the value lies off; none where nothing was learned.
    pub(super) fn z(self, value: f32) -> Option<f32> {
        let spread = unfixed(self.spread).max(SPREAD_FLOOR) * DEVIATIONS;
        (self.spread != 0).then(|| (value - unfixed(self.mean)) / spread)
    }

    /// How far the value lies above the usual one; none where nothing was learned.
    pub(super) fn over(self, value: f32) -> Option<f32> {
        (self.spread != 0).then(|| value - unfixed(self.mean))
    }

    /// The same for a plain number, which is taken on the scale of log2(1+x).
    pub(super) fn over_of(self, count: f32) -> Option<f32> {
        self.over(math::log2_1p(count))
    }

    /// [`Usual::z`] for a plain number, which is taken on the scale of log2(1+x).
    pub(super) fn z_of(self, count: f32) -> Option<f32> {
        self.z(math::log2_1p(count))
    }
}

/// A count that halves every [`Weight::HALF_LIFE`] hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Weight {
    count: f32,
    hour: u32,
}

wire!(Weight { count: f32, hour: u32 });

impl Weight {
    /// Two weeks: what was usual last month still counts a quarter.
    pub(super) const HALF_LIFE: f32 = 14.0 * 24.0;

    /// The count at an hour; hours before the last are taken for it.
    pub(super) fn at(self, hour: u32) -> f32 {
        let passed = hour.saturating_sub(self.hour);
        if passed == 0 {
            return self.count;
        }
        self.count * math::exp2_neg(-(passed as f32) / Self::HALF_LIFE)
    }

    /// Adds one.
    pub(super) fn add(&mut self, hour: u32) {
        *self = Self { count: self.at(hour) + 1.0, hour: hour.max(self.hour) };
    }
}

/// log2((n+1)/(k+1)), at least 0.
pub(super) fn surprise(k: f32, n: f32) -> f32 {
    math::log2((n + 1.0) / (k + 1.0)).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn learned(values: impl IntoIterator<Item = f32>) -> Usual {
        let mut usual = Usual::default();
        for (seen, value) in (0..).zip(values) {
            usual.learn(value, seen, Pace::OWN);
        }
        usual
    }

    #[test]
    fn nothing_learned_is_not_zero() {
        assert_eq!(Usual::default().z(3.0), None);
        assert!(learned([3.0]).z(3.0).unwrap().abs() < 1e-3);
    }

    #[test]
    fn the_first_values_are_their_plain_mean() {
        let values = [1.0, 5.0, 3.0, 7.0, 2.0, 6.0, 4.0, 4.0];
        for n in 1..=values.len() {
            let mean = values[..n].iter().sum::<f32>() / n as f32;
            let usual = learned(values[..n].iter().copied());
            assert!((unfixed(usual.mean) - mean).abs() < 0.01, "{n}");
        }
    }

    #[test]
    fn a_normal_deviation_is_one() {
        // Mean 10; twelve values of a uniform sum, with deviation 1.
        let mut state = 1_u64;
        let mut normal = || {
            (0..12).fold(-6.0_f32, |sum, _| {
                state = super::super::mix(state, 1);
                sum + (state >> 40) as f32 / (1_u64 << 24) as f32
            })
        };
        let usual = learned((0..4000).map(|_| 10.0 + normal()));
        assert!((unfixed(usual.mean) - 10.0).abs() < 0.7, "{usual:?}");
        let z = usual.z(13.0).unwrap() - usual.z(10.0).unwrap();
        assert!((2.0..4.2).contains(&z), "{z}");
    }

    proptest! {
        #[test]
        fn one_window_moves_what_is_warm_by_a_bounded_step(
            values in prop::collection::vec(0.0_f32..64.0, 9..60),
            burst in 0.0_f32..64.0,
        ) {
            for pace in [Pace::OWN, Pace::SHARED] {
                let before = learned(values.iter().copied());
                let mut after = before;
                after.learn(burst, WARM, pace);
                let step = 1.0 / STEPS;
                prop_assert!((unfixed(after.mean) - unfixed(before.mean)).abs() <= pace.most() + step);
                prop_assert!((unfixed(after.spread) - unfixed(before.spread)).abs() <= pace.most() + step);
            }
        }

        /// Against the sum over all that was added.
        #[test]
        fn weights_halve_in_their_time(hours in prop::collection::vec(0_u32..5000, 1..80)) {
            let mut hours = hours;
            hours.sort_unstable();
            let mut weight = Weight::default();
            hours.iter().for_each(|hour| weight.add(*hour));
            let last = *hours.last().unwrap();
            for now in [last, last + 1, last + 336, last + 4000] {
                let want: f64 = hours
                    .iter()
                    .map(|hour| (-f64::from(now - hour) / f64::from(Weight::HALF_LIFE)).exp2())
                    .sum();
                prop_assert!((f64::from(weight.at(now)) - want).abs() < 1e-3 * want.max(1.0));
            }
        }
    }
}
