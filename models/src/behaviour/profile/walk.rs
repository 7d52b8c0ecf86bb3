//! Whether a subject walks through the numbers of objects.

use super::{super::Route, math, wire::wire};

/// Steps between two object numbers that belong to a walk.
const STRIDE: u64 = 100;

/// Requests that a route may be ahead of another before its walk is dropped for the other's.
const MOST_VOTES: u16 = 32;

/// Objects after which the part of their span says something.
const ENOUGH: f32 = 4.0;

/// The walk on the route whose objects the subject asks for most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Walk {
    /// The last number, its low and its high half: a profile is full of small numbers, and one wide
    /// one would widen it all.
    last: [u32; 2],
    /// How far below that the least number of this hour lies; [`u32::MAX`] also for more.
    below: u32,
    /// The greatest less the least; [`u32::MAX`] also for more.
    span: u32,
    /// Different numbers in this hour; 0 where there was none.
    found: f32,
    /// Part of the route's hash.
    route: u16,
    /// The majority vote of Boyer and Moore: what is asked for in between does not end a walk.
    votes: u16,
    /// Steps in one direction, below 0 downwards.
    run: i16,
}

impl Walk {
    /// An object of a route is asked for, `new` objects by count.
    pub(super) fn see(&mut self, route: u16, object: u64, new: f32) {
        if object >= Route::OPAQUE {
            return;
        }
        if self.route != route {
            if self.votes > 0 {
                self.votes -= 1;
                return;
            }
            *self = Self { last: halves(object), route, ..Self::default() };
        }
        self.votes = (self.votes + 1).min(MOST_VOTES);
        let last = self.last();
        let step = object.abs_diff(last);
        let direction = if object > last { 1 } else { -1 };
        if step > STRIDE {
            self.run = 0;
        } else if step != 0 {
            // Some requests overtake others: a step back costs two, not all. Who goes back as often
            // as forth gets nowhere.
            self.run = if self.run.signum() != -direction {
                self.run.saturating_add(direction)
            } else if self.run.unsigned_abs() > 2 {
                self.run + 2 * direction
            } else {
                direction
            };
        }
        let (low, high) = if self.found == 0.0 {
            (object, object)
        } else {
            let low = last.saturating_sub(self.below.into());
            (low.min(object), low.saturating_add(self.span.into()).max(object))
        };
        let near = |far: u64| u32::try_from(far).unwrap_or(u32::MAX);
        (self.below, self.span) = (near(object - low), near(high - low));
        self.last = halves(object);
        self.found = (self.found + new).max(1.0);
    }

    const fn last(&self) -> u64 {
        let [low, high] = self.last;
        (high as u64) << 32 | low as u64
    }

    /// Steps of the present run.
    pub(super) const fn run(&self) -> u16 {
        self.run.unsigned_abs()
    }

    /// log2 of the part of the span that was asked for, at most 0.
    pub(super) fn density(&self) -> Option<f32> {
        let part = self.found / (self.span as f32 + 1.0);
        (self.found >= ENOUGH).then(|| math::log2(part).min(0.0))
    }

    /// An hour is over, and `hours - 1` with nothing in them.
    pub(super) const fn roll(&mut self, hours: u64) {
        if hours > 1 {
            self.votes = 0;
            self.run = 0;
        }
        self.found = 0.0;
    }
}

/// The low and the high half of a number.
#[expect(clippy::cast_possible_truncation, reason = "halves")]
const fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

wire!(Walk { last: [u32; 2], below: u32, span: u32, found: f32, route: u16, votes: u16, run: i16 });

#[cfg(test)]
mod tests {
    use super::{
        super::{distinct::Many, mix},
        *,
    };

    fn walked(objects: impl IntoIterator<Item = u64>) -> Walk {
        let (mut walk, mut many) = (Walk::default(), Many::default());
        for object in objects {
            let new = many.add(mix(7, object));
            walk.see(1, object, new);
        }
        walk
    }

    #[test]
    fn a_run_grows_with_each_step_up_or_down() {
        assert_eq!(walked(100..151).run(), 50);
        assert_eq!(walked((100..151).rev()).run(), 50);
        assert_eq!(walked((0..51).map(|k| 1000 + k * 10)).run(), 50);
        assert_eq!(walked([5; 40]).run(), 0);
        assert_eq!(walked((0..40).map(|k| mix(k, 0) >> 20)).run(), 0);
    }

    #[test]
    fn who_overtakes_does_not_end_a_run() {
        let pairs = (0..100_u64).flat_map(|k| [4 * k, 4 * k + 1, 4 * k + 3, 4 * k + 2]);
        assert!(walked(pairs).run() > 90);
        let mostly = (0..100).map(|k| if k % 10 == 9 { k - 2 } else { k + 1 });
        assert!(walked(mostly).run() > 60);
        let about = (0..300).map(|k| 500 + mix(k, 1) % 50);
        assert!(walked(about).run() < 16);
    }

    #[test]
    fn a_shuffled_walk_is_dense_and_own_objects_are_not() {
        let shuffled = walked((0..97_u64).map(|k| 5000 + k * 31 % 97));
        assert!(shuffled.density().unwrap() > -0.7, "{shuffled:?}");
        let own = walked([17, 90_210, 4_711, 650_000, 81].into_iter().cycle().take(60));
        assert!(own.density().unwrap() < -14.0, "{own:?}");
        assert_eq!(walked([1, 2, 1, 2]).density(), None);
    }

    #[test]
    fn what_is_asked_for_in_between_does_not_end_a_walk() {
        let mut walk = Walk::default();
        for k in 0..60 {
            walk.see(1, 100 + k, 1.0);
            if k % 3 == 0 {
                walk.see(2, 9, 0.0);
            }
        }
        assert_eq!(walk.run(), 59);
        // A route that is used more takes its place.
        (0..80).for_each(|k| walk.see(2, k, 1.0));
        assert!(walk.route == 2 && walk.run() > 30);
    }

    #[test]
    fn the_greatest_numbers_are_numbers_and_hashes_are_none() {
        let top = Route::OPAQUE - 1;
        let mut walk = walked([top - 2, 0, top, Route::OPAQUE, u64::MAX, top - 1]);
        assert_eq!((walk.last(), walk.span, walk.run()), (top - 1, u32::MAX, 1));
        walk.roll(1);
        assert_eq!(walk.density(), None);
        walk.see(1, top, 1.0);
        assert_eq!((walk.below, walk.span, walk.run()), (0, 0, 1));
        walk.roll(2);
        assert_eq!((walk.votes, walk.run()), (0, 0));
    }
}
