//! How many different things there were, without a list of them.
//!
//! Both sketches count as they go: what changes the sketch adds one over the chance that something
//! new does (Cohen, "All-Distances Sketches, Revisited", 2015; Ting, "Streamed Approximate
//! Counting of Distinct Elements", 2014), which beats reading the sketch afterwards.

use super::wire::{Wire, wire};

/// Parts of one that [`Few`] counts in.
const PARTS: u32 = 16;

/// Different things in an hour, up to some three times its `32·W` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Few<const W: usize> {
    bits: [u32; W],
    now: u16,
    before: u16,
}

impl<const W: usize> Default for Few<W> {
    fn default() -> Self {
        Self { bits: [0; W], now: 0, before: 0 }
    }
}

impl<const W: usize> Few<W> {
    /// Something by its hash; whether it is new in this hour, as far as the bits tell.
    pub(super) fn add(&mut self, hash: u64) -> bool {
        let size = 32 * W as u32;
        let bit = (hash % u64::from(size)) as u32;
        let set: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        let Some(word) = self.bits.get_mut((bit / 32) as usize) else { return false };
        let mask = 1 << (bit % 32);
        if *word & mask != 0 {
            return false;
        }
        *word |= mask;
        let more = PARTS * size / (size - set).max(1);
        self.now = self.now.saturating_add(u16::try_from(more).unwrap_or(u16::MAX));
        true
    }

    /// Something by its hash; `first` whether it is new in this hour, by who knows it exactly for
    /// up to `exact` things.
    pub(super) fn add_known(&mut self, hash: u64, first: bool, exact: u16) {
        let before = self.now;
        self.add(hash);
        if before < exact * PARTS as u16 {
            self.now = before + if first { PARTS as u16 } else { 0 };
        }
    }

    /// In this hour.
    pub(super) fn hour(&self) -> f32 {
        f32::from(self.now) / PARTS as f32
    }

    /// In the last hour, of which `past` (0..=1) lies in this one.
    pub(super) fn last(&self, past: f32) -> f32 {
        self.hour().max(f32::from(self.before) / PARTS as f32 * (1.0 - past))
    }

    /// An hour is over, and `hours - 1` with nothing in them.
    pub(super) fn roll(&mut self, hours: u64) {
        let before = if hours == 1 { self.now } else { 0 };
        *self = Self { before, ..Self::default() };
    }
}

impl<const W: usize> Wire for Few<W> {
    const SIZE: usize = 4 * W + 4;

    fn put(&self, out: &mut Vec<u8>) {
        self.bits.put(out);
        self.now.put(out);
        self.before.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(Self { bits: Wire::take(from)?, now: Wire::take(from)?, before: Wire::take(from)? })
    }
}

/// Different things in a day, and how many of them came in the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Many {
    /// 32 registers of 4 bits: the longest run of zeros, as HyperLogLog's.
    registers: [u8; 16],
    day: f32,
    now: f32,
    before: f32,
}

wire!(Many { registers: [u8; 16], day: f32, now: f32, before: f32 });

/// The most that a register holds.
const LONGEST: u32 = 15;

impl Many {
    /// Something by its hash; how many new things of the day it stands for.
    pub(super) fn add(&mut self, hash: u64) -> f32 {
        let at = (hash % 32) as usize;
        let rank = ((hash >> 5).trailing_zeros() + 1).min(LONGEST) as u8;
        let Some(byte) = self.registers.get(at / 2).copied() else { return 0.0 };
        let shift = at % 2 * 4;
        if byte >> shift & 15 >= rank {
            return 0.0;
        }
        // The chance that something new changes a register of r is 2⁻ʳ, and 0 at the end.
        let chance = |r: u8| if r == LONGEST as u8 { 0.0 } else { 1.0 / f32::from(1_u16 << r) };
        let changed: f32 = self.registers.iter().map(|b| chance(b & 15) + chance(b >> 4)).sum();
        let more = 32.0 / changed.max(1e-3);
        if let Some(to) = self.registers.get_mut(at / 2) {
            *to = byte & !(15 << shift) | rank << shift;
        }
        self.day += more;
        self.now += more;
        more
    }

    /// In this day.
    pub(super) const fn day(&self) -> f32 {
        self.day
    }

    /// New of the day in this hour.
    pub(super) const fn hour(&self) -> f32 {
        self.now
    }

    /// New of the day in the last hour, of which `past` (0..=1) lies in this one.
    pub(super) fn last(&self, past: f32) -> f32 {
        self.now + self.before * (1.0 - past)
    }

    /// An hour is over, and `hours - 1` with nothing in them.
    pub(super) const fn roll(&mut self, hours: u64) {
        self.before = if hours == 1 { self.now } else { 0.0 };
        self.now = 0.0;
    }

    /// A day is over.
    pub(super) const fn roll_day(&mut self) {
        self.registers = [0; 16];
        self.day = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::mix, *};

    #[test]
    fn few_are_counted_nearly_exactly() {
        for n in [1, 2, 3, 5, 10, 30, 60, 100] {
            let mut error = 0.0_f32;
            for seed in 0..200 {
                let (mut few, mut seen) = (Few::<2>::default(), HashSet::new());
                for k in 0..3 * n {
                    let thing = mix(seed, k % n);
                    let new = seen.insert(thing);
                    assert!(!few.add(thing) || new, "what was seen is not new");
                }
                error += (few.hour() - n as f32) / n as f32;
            }
            assert!((error / 200.0).abs() < 0.08, "{n}: {error}");
        }
    }

    #[test]
    fn what_is_known_is_counted_exactly() {
        for seed in 0..500 {
            let mut few = Few::<1>::default();
            for k in 0..24_u64 {
                few.add_known(mix(seed, k % 8), k < 8, 8);
            }
            assert_eq!(few.hour(), 8.0);
            few.add_known(mix(seed, 8), true, 8);
            assert!(few.hour() <= 10.0);
        }
    }

    #[test]
    fn many_are_counted_within_a_fifth() {
        for n in [1_u64, 2, 5, 20, 100, 1000, 20_000, 200_000] {
            let (mut bias, mut square) = (0.0, 0.0);
            let rounds = 40;
            for seed in 0..rounds {
                let mut many = Many::default();
                for k in 0..n {
                    many.add(mix(seed, k));
                    many.add(mix(seed, k / 2));
                }
                let error = f64::from(many.day()) / n as f64 - 1.0;
                bias += error / rounds as f64;
                square += error * error / rounds as f64;
            }
            assert!(bias.abs() < 0.1 && square.sqrt() < 0.25, "{n}: {bias} {}", square.sqrt());
        }
    }

    #[test]
    fn hours_and_days_end() {
        let mut many = Many::default();
        let (mut few, whole) = (Few::<1>::default(), 0.0);
        assert!(many.add(mix(1, 1)) > 0.0 && few.add(1) && !few.add(1));
        many.roll(1);
        few.roll(1);
        assert_eq!(many.add(mix(1, 1)), 0.0, "not new in the day");
        assert_eq!((many.last(whole), many.hour()), (many.day(), 0.0));
        assert_eq!((few.last(0.0), few.last(0.75), few.hour()), (1.0, 0.25, 0.0));
        assert!(few.add(1));
        many.roll_day();
        assert!(many.add(mix(1, 1)) > 0.0);
        many.roll(2);
        few.roll(2);
        assert_eq!((many.last(0.0), few.last(0.0)), (0.0, 0.0));
        (0..1000).for_each(|k| {
            few.add(k);
        });
        assert!(few.hour() > 60.0);
    }
}
