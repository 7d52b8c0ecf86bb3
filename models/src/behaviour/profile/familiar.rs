//! What a subject is used to: a few names, each with the hours in which it was seen.
//!
//! A name counts once an hour however often it is used, and not before the hour after: who uses
//! something a thousand times in a burst has not made it familiar.

use super::{usual, wire::Wire};

/// Hours in which the name was seen, decayed.
const WEIGHT: u8 = 0x3f;
/// It was seen in the hour before; that hour does not count yet.
const BEFORE: u8 = 0x40;
/// It was seen in this hour.
const NOW: u8 = 0x80;

/// At most `N` names, latest first. The least familiar makes room, so that who comes under ever
/// new names displaces none that is familiar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Familiar<const N: usize> {
    tags: [u16; N],
    /// 0 where there is none.
    marks: [u8; N],
    /// Hours in which anything was seen, decayed as the weights.
    hours: u8,
}

/// How familiar a name was before it was seen now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sight {
    /// Hours in which the name was seen, and in which anything was.
    hours: [u8; 2],
    /// Not seen in this hour.
    pub(super) first_this_hour: bool,
}

impl Sight {
    /// Not seen before the last hours.
    pub(super) const fn is_new(self) -> bool {
        let [of_it, _] = self.hours;
        of_it == 0
    }

    /// See [`usual::surprise`], of hours.
    pub(super) fn surprise(self) -> f32 {
        let [of_it, all] = self.hours;
        usual::surprise(of_it.into(), all.into())
    }
}

impl<const N: usize> Default for Familiar<N> {
    fn default() -> Self {
        Self { tags: [0; N], marks: [0; N], hours: 0 }
    }
}

impl<const N: usize> Familiar<N> {
    /// How many names of one hour are told apart without fail.
    pub(super) const EXACT: u16 = N as u16;

    /// A name is seen, by 16 bits of its hash: a collision makes one in thousands look familiar.
    pub(super) fn see(&mut self, tag: u16) -> Sight {
        let known = self.tags.iter().zip(&self.marks).position(|(t, mark)| *t == tag && *mark != 0);
        let at = known.unwrap_or_else(|| {
            let weakest = self.weakest();
            if let (Some(to), Some(mark)) =
                (self.tags.get_mut(weakest), self.marks.get_mut(weakest))
            {
                (*to, *mark) = (tag, 0);
            }
            weakest
        });
        if at != 0
            && let (Some(tags), Some(marks)) = (self.tags.get_mut(..=at), self.marks.get_mut(..=at))
        {
            tags.rotate_right(1);
            marks.rotate_right(1);
        }
        let mark = self.marks.first().copied().unwrap_or_default();
        if let Some(first) = self.marks.first_mut() {
            *first |= NOW;
        }
        Sight { hours: [mark & WEIGHT, self.hours], first_this_hour: mark & NOW == 0 }
    }

    /// The least familiar, of equals the one that was not seen for longest.
    fn weakest(&self) -> usize {
        let mut least = (u8::MAX, 0);
        for (at, mark) in self.marks.iter().enumerate() {
            // Seen now goes before seen in the hour before, and both before a free place.
            let rank = (mark & WEIGHT) << 2 | mark >> 6;
            if rank <= least.0 {
                least = (rank, at);
            }
        }
        least.1
    }

    /// An hour with something in it is over, `hours` ago: more than one if none followed on it.
    pub(super) fn roll(&mut self, hours: u64) {
        self.turn();
        if hours > 1 {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.hours += u8::from(self.marks.iter().any(|mark| mark & BEFORE != 0));
        let halve = self.hours >= WEIGHT;
        if halve {
            self.hours = self.hours.div_ceil(2);
        }
        for mark in &mut self.marks {
            let weight = (*mark & WEIGHT) + u8::from(*mark & BEFORE != 0);
            let weight = if halve { weight.div_ceil(2) } else { weight };
            *mark = weight | if *mark & NOW != 0 { BEFORE } else { 0 };
        }
    }
}

impl<const N: usize> Wire for Familiar<N> {
    const SIZE: usize = 3 * N + 1;

    fn put(&self, out: &mut Vec<u8>) {
        self.tags.put(out);
        self.marks.put(out);
        self.hours.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let all =
            Self { tags: Wire::take(from)?, marks: Wire::take(from)?, hours: u8::take(from)? };
        let known = |mark: &u8| mark & WEIGHT <= all.hours;
        (all.hours < WEIGHT && all.marks.iter().all(known)).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Counts hours in lists of all that was seen.
    #[derive(Default)]
    struct Oracle {
        seen: BTreeMap<u16, BTreeSet<u64>>,
    }

    impl Oracle {
        /// Hours that count at `now`: those before the hour before.
        fn hours(&self, tag: u16, now: u64) -> usize {
            self.seen.get(&tag).map_or(0, |hours| hours.range(..now.saturating_sub(1)).count())
        }

        fn all(&self, now: u64) -> usize {
            let all: BTreeSet<u64> = self.seen.values().flatten().copied().collect();
            all.range(..now.saturating_sub(1)).count()
        }
    }

    proptest! {
        /// As long as nothing decays and nothing makes room.
        #[test]
        fn counts_the_hours_before(steps in prop::collection::vec((0_u64..4, 0_u16..6), 1..55)) {
            let mut familiar = Familiar::<6>::default();
            let mut oracle = Oracle::default();
            let mut hour = 0;
            for (pass, tag) in steps {
                if pass > 0 && !oracle.seen.is_empty() {
                    familiar.roll(pass);
                    hour += pass;
                }
                let sight = familiar.see(tag);
                let (k, n) = (oracle.hours(tag, hour), oracle.all(hour));
                prop_assert_eq!(sight.is_new(), k == 0);
                prop_assert!((sight.surprise() - usual::surprise(k as f32, n as f32)).abs() < 1e-6);
                let hours = oracle.seen.entry(tag).or_default();
                prop_assert_eq!(sight.first_this_hour, hours.insert(hour));
            }
        }
    }

    #[test]
    fn who_rotates_names_displaces_none_that_is_familiar() {
        let mut familiar = Familiar::<4>::default();
        for _ in 0..20 {
            for tag in [1, 2, 3] {
                familiar.see(tag);
            }
            familiar.roll(1);
        }
        for tag in 100..1000 {
            assert!(familiar.see(tag).is_new());
        }
        for tag in [1, 2, 3] {
            assert!(!familiar.see(tag).is_new());
        }
    }

    #[test]
    fn a_burst_makes_nothing_familiar() {
        let mut familiar = Familiar::<4>::default();
        for _ in 0..40 {
            familiar.see(1);
            familiar.roll(1);
        }
        familiar.see(1);
        let before = familiar.see(9);
        for _ in 0..1000 {
            assert_eq!(familiar.see(9).surprise(), before.surprise());
        }
        assert!(before.surprise() > 5.0, "{before:?}");
    }

    #[test]
    fn what_is_old_fades_and_is_not_lost() {
        let mut familiar = Familiar::<4>::default();
        for hour in 0..500 {
            if hour < 30 {
                familiar.see(2);
            }
            familiar.see(1);
            familiar.roll(1);
            assert!(familiar.hours < WEIGHT);
        }
        let old = familiar.see(2);
        assert!(!old.is_new() && old.surprise() > 3.0, "{old:?}");
    }
}
